//! The host's web front for one plugin: login, form, log, menu, dashboard, and the plugin's own page.
//!
//! Paths are those of UISP's CRM where they are public: `/crm/current-user` and
//! `/crm/_plugins/<name>/public.php`. Limitation: the form has no token against forged requests.

mod cgi;
mod pages;
mod users;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use url::form_urlencoded;

pub use users::{SESSION_COOKIES, Sessions, User};

use super::manifest::{MenuItem, Widget};
use super::{Manifest, Plugin};
use crate::http::{Head, Request, Response};

/// Everything that a browser sees of the host below `/crm/`.
#[derive(Debug)]
pub struct Site {
    plugin: Mutex<Plugin>,
    /// What "Update" installs again.
    zip: PathBuf,
    sessions: Sessions,
    /// What the last click led to, shown once.
    message: Mutex<String>,
    /// A link beside the menu, as label and address.
    extra_link: Option<(String, String)>,
}

/// A logged-in user who looks at a page.
struct Visitor {
    user: User,
    manifest: Manifest,
}

impl Visitor {
    fn may_view_plugins(&self) -> bool {
        matches!(self.user, User::Admin | User::Viewer)
    }

    fn plugin_path(&self) -> String {
        format!("/crm/system/plugins/{}", self.manifest.name)
    }

    fn public_php(&self) -> String {
        format!("/crm/_plugins/{}/public.php", self.manifest.name)
    }

    fn target(&self, item: &MenuItem) -> String {
        match item.query.as_str() {
            "" => self.public_php(),
            query => format!("{}?{query}", self.public_php()),
        }
    }

    /// The menu items with their numbers. The host shows them whatever the permissions.
    fn menu(&self) -> impl Iterator<Item = (usize, &MenuItem)> {
        let is_client = self.user == User::Client;
        let items = self.manifest.menu.iter().enumerate();
        items.filter(move |(_, item)| item.is_for_clients == is_client)
    }

    fn widgets(&self) -> impl Iterator<Item = &Widget> {
        let position = match self.user {
            User::Client => "client-zone/dashboard",
            _ => "dashboard",
        };
        let widgets = self.manifest.widgets.iter();
        widgets.filter(move |widget| widget.position == position)
    }
}

impl Site {
    /// A front for a plugin that was installed from `zip`.
    #[must_use]
    pub fn new(plugin: Plugin, zip: &Path) -> Self {
        Self {
            plugin: Mutex::new(plugin),
            zip: zip.to_owned(),
            sessions: Sessions::default(),
            message: Mutex::default(),
            extra_link: None,
        }
    }

    /// Adds a link beside the menu.
    #[must_use]
    pub fn with_link(mut self, label: &str, href: &str) -> Self {
        self.extra_link = Some((label.to_owned(), href.to_owned()));
        self
    }

    /// The plugin.
    pub fn plugin(&self) -> MutexGuard<'_, Plugin> {
        lock(&self.plugin)
    }

    /// What the next plugin page shows above the form.
    pub fn set_message(&self, message: &str) {
        message.clone_into(&mut lock(&self.message));
    }

    /// Answers a request below `/crm/`.
    ///
    /// # Errors
    /// The request's body cannot be read.
    pub fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let mut body = Vec::new();
        request.body.read_to_end(&mut body)?;
        let answer = self.answer(request.head, &body);
        Ok(answer.unwrap_or_else(|error| Response::text(500, format!("{error:#}"))))
    }

    pub(super) fn answer(&self, head: &Head, body: &[u8]) -> Result<Response> {
        let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let form = form.as_slice();
        let plugin = self.plugin().clone();
        let visitor = self.sessions.user(head).map(|user| Visitor {
            user,
            manifest: plugin.manifest().clone(),
        });
        let name = &plugin.manifest().name;
        let path = head.path().strip_prefix("/crm").unwrap_or_default();
        // Not protected by the host: the plugin looks after itself.
        if let Some(path) = path.strip_prefix(&format!("/_plugins/{name}/")) {
            return public(&plugin, head, path, body);
        }
        match (head.method.as_str(), path) {
            (_, "/current-user") => return Ok(self.sessions.current_user(head)),
            ("POST", "/login") => return self.log_in(form),
            ("POST", "/logout") => return Ok(log_out()),
            (_, "/login") => return Ok(Response::html(200, pages::login(self))),
            _ => {}
        }
        let Some(visitor) = visitor else {
            return Ok(redirect("/crm/login"));
        };
        // Assumption: the page of a plugin is known by the number that `ucrm.json` names.
        if path == "/system/plugins/1" {
            return Ok(redirect(&visitor.plugin_path()));
        }
        if let Some(page) = path.strip_prefix(&format!("/system/plugins/{name}")) {
            return Ok(self.plugin_page(&head.method, page, &visitor, &plugin, form));
        }
        if path == "/" {
            return Ok(Response::html(200, pages::dashboard(self, &visitor)));
        }
        let item = path.strip_prefix("/menu/").and_then(|wanted| {
            let mut menu = visitor.menu();
            menu.find(|(number, _)| number.to_string() == wanted)
        });
        Ok(match item {
            Some((_, item)) => Response::html(200, pages::menu_page(self, &visitor, item)),
            None => self.refuse(404, &visitor, "There is no such page."),
        })
    }

    /// The page with form and log, for those who may see it, and its buttons.
    fn plugin_page(
        &self,
        method: &str,
        page: &str,
        visitor: &Visitor,
        plugin: &Plugin,
        form: &[(String, String)],
    ) -> Response {
        match (method, page, visitor.user) {
            _ if !visitor.may_view_plugins() => {
                self.refuse(403, visitor, "You may not see this page.")
            }
            ("POST", action, User::Admin) => {
                let message = self.act(action, form);
                self.set_message(&message.unwrap_or_else(|error| error.to_string()));
                redirect(&visitor.plugin_path())
            }
            ("GET", "", _) => {
                let message = std::mem::take(&mut *lock(&self.message));
                Response::html(200, pages::plugin_page(self, visitor, plugin, &message))
            }
            ("GET", "/log", _) => Response::html(200, pages::log(plugin)),
            _ => self.refuse(403, visitor, "You may not do this."),
        }
    }

    fn act(&self, action: &str, form: &[(String, String)]) -> Result<String> {
        Ok(match action {
            "/save" => {
                // Not under the lock: the hook may take a while, and the log can be read meanwhile.
                let plugin = self.plugin().clone();
                plugin.submit_form(form)?;
                "Saved.".to_owned()
            }
            "/enable" => {
                self.plugin().enable()?;
                "Enabled.".to_owned()
            }
            "/execute" => {
                self.plugin().request_execution()?;
                "The run is planned; its lines appear in the log.".to_owned()
            }
            "/update" => {
                self.plugin().update(&self.zip)?;
                "Updated.".to_owned()
            }
            _ => bail!("There is no such button."),
        })
    }

    fn log_in(&self, form: &[(String, String)]) -> Result<Response> {
        let name = form.iter().find(|(key, _)| key == "user");
        let name = name.map_or("", |(_, name)| name);
        let Some(user) = User::ALL.into_iter().find(|user| user.name() == name) else {
            bail!("There is no user {name}.");
        };
        // One more than plugins may pass on, as browsers have many.
        let mut cookies = self.sessions.log_in(user);
        cookies.push(("theme", "plain".to_owned()));
        let response = redirect("/crm/");
        Ok(cookies.iter().fold(response, |response, (name, value)| {
            let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
            response.with_header("Set-Cookie", cookie)
        }))
    }

    fn refuse(&self, status: u16, visitor: &Visitor, text: &str) -> Response {
        Response::html(status, pages::refusal(self, visitor, text))
    }
}

/// What the web server serves of a plugin without asking anybody: what is linked into its root.
fn public(plugin: &Plugin, head: &Head, path: &str, body: &[u8]) -> Result<Response> {
    let file = plugin.web().join(path);
    if path == "public.php" && file.is_file() {
        return cgi::public_php(plugin, &file, head, body);
    }
    let is_plain = path.split('/').all(|part| {
        !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    });
    if is_plain && path.starts_with("public/") && file.is_file() {
        let kind = match file.extension().and_then(|extension| extension.to_str()) {
            Some("css") => "text/css",
            Some("html") => "text/html",
            Some("js") => "text/javascript",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        return Ok(Response::bytes(200, kind, std::fs::read(file)?));
    }
    Ok(Response::text(404, "There is no such page."))
}

fn log_out() -> Response {
    let response = redirect("/crm/login");
    SESSION_COOKIES.iter().fold(response, |response, name| {
        response.with_header("Set-Cookie", format!("{name}=; Path=/; Max-Age=0"))
    })
}

fn redirect(path: &str) -> Response {
    Response::empty(302).with_header("Location", path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
