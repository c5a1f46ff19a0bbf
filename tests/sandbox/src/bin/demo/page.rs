//! A page that stands in for UISP's plugin page: form, "Execute manually" and log, and beside them
//! what the admin would see at UISP and in Dropbox. Works without scripts: the parts that change are
//! frames that reload themselves, so the form keeps what is being typed.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sandbox::host::{Plugin, Run};
use sandbox::http::{Handler, Head, Request, Response, Server, ServerOptions};
use url::form_urlencoded;

use crate::world::{APP_KEY, World, authorization_link, megabytes};

/// Serves the page until standard input is closed or somebody presses Ctrl-C.
pub fn serve(zip: &Path) -> Result<()> {
    let world = World::new()?;
    let plugin = Mutex::new(world.install(zip)?);
    let page = Arc::new(Page {
        world,
        plugin,
        message: Mutex::default(),
    });
    let server = Server::start(
        ServerOptions::default(),
        Arc::clone(&page) as Arc<dyn Handler>,
    )?;
    println!("\nThe plugin page: {}/  (Ctrl-C ends it)", server.url());

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let (closed, input_ends) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(closed);
    });

    // The real host looks for planned runs about once a minute; nobody should have to wait here.
    let mut run: Option<Run> = None;
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(current) = &mut run {
            if current.has_ended()? {
                run = None;
            }
        } else {
            run = page.start_planned_run();
        }
        if input_ends.recv_timeout(Duration::from_millis(300))
            == Err(RecvTimeoutError::Disconnected)
        {
            break;
        }
    }
    Ok(())
}

struct Page {
    world: World,
    plugin: Mutex<Plugin>,
    /// What the last click led to, shown once.
    message: Mutex<String>,
}

impl Page {
    fn plugin(&self) -> MutexGuard<'_, Plugin> {
        lock(&self.plugin)
    }

    fn start_planned_run(&self) -> Option<Run> {
        let started = self.plugin().start_requested();
        started.unwrap_or_else(|error| {
            *lock(&self.message) = error.to_string();
            None
        })
    }

    fn click(&self, path: &str, inputs: &[(String, String)]) -> Result<String> {
        let input = |key: &str| {
            inputs
                .iter()
                .find(|(known, _)| known == key)
                .map_or("", |(_, input)| input)
        };
        Ok(match path {
            "/save" => {
                self.plugin().submit_form(inputs)?;
                "Saved.".to_owned()
            }
            "/enable" => {
                self.plugin().enable()?;
                "Enabled.".to_owned()
            }
            "/execute" => {
                self.plugin().request_execution()?;
                "The run is planned; watch the log.".to_owned()
            }
            "/allow" => {
                let log = self.plugin().log();
                let link = authorization_link(&log).unwrap_or_default();
                match self.world.dropbox.allow(link) {
                    Ok(code) => format!("Dropbox shows this access code: {code}"),
                    Err(refusal) => format!("Dropbox refuses: {refusal}"),
                }
            }
            "/backup" => format!(
                "UISP made the backup {}.",
                self.world.add_backup(6_543_210).id
            ),
            "/delete" => {
                self.world.uisp.remove(input("id"));
                format!("UISP deleted the backup {}.", input("id"))
            }
            _ => "There is no such button.".to_owned(),
        })
    }

    fn main_page(&self) -> String {
        let plugin = self.plugin();
        let manifest = plugin.manifest();
        let inputs = plugin.form().unwrap_or_default();
        let mut form = String::new();
        for field in &manifest.fields {
            let input = inputs
                .iter()
                .find(|(key, _)| *key == field.key)
                .map_or("", |(_, input)| input);
            let (key, label, description) = (
                escape(&field.key),
                escape(&field.label),
                escape(&field.description),
            );
            let attributes = match (field.is_checkbox, input) {
                (true, "") => "type=\"checkbox\" value=\"1\"".to_owned(),
                (true, _) => "type=\"checkbox\" value=\"1\" checked".to_owned(),
                (false, input) => format!(
                    "type=\"text\" size=\"60\" autocomplete=\"off\" value=\"{}\"",
                    escape(input)
                ),
            };
            let mark = if field.is_required { " *" } else { "" };
            form += &format!(
                "<p><label><b>{label}{mark}</b><br><input name=\"{key}\" {attributes}></label><br><small>{description}</small></p>"
            );
        }
        let enable = if plugin.is_enabled() {
            String::new()
        } else {
            button("/enable", "Enable plugin", "")
        };
        let message = std::mem::take(&mut *lock(&self.message));
        document(
            "",
            &format!(
                "<h1>{} {}</h1><p class=\"message\">{}</p><div class=\"columns\"><section>\
                 <h2>Configuration</h2><form method=\"post\" action=\"/save\">{form}<button>Save</button></form>\
                 <p><small>In this demo: UISP's token is <code>{}</code>, the app key is <code>{APP_KEY}</code>. \
                 The form shows what was stored when the page was loaded: <a href=\"/\">load it again</a>.</small></p>\
                 </section><section><h2>Run</h2>{enable}{}{}\
                 <p><small>The link in the log can be opened as well; the browser then warns, because it does not know \
                 the demo's certificate authority.</small></p>\
                 <h2>Log</h2><iframe src=\"/log\" height=\"320\"></iframe>\
                 <h2>UISP's backups and the Dropbox folder</h2>{}<iframe src=\"/folders\" height=\"420\"></iframe>\
                 </section></div>",
                escape(&manifest.display_name),
                escape(&manifest.version),
                escape(&message),
                escape(&self.world.uisp.token()),
                button("/execute", "Execute manually", ""),
                button("/allow", "Open the log's link at Dropbox and allow", ""),
                button("/backup", "Let UISP make a backup", ""),
            ),
        )
    }

    fn log(&self) -> String {
        let plugin = self.plugin();
        let state = if plugin.is_running() {
            "running"
        } else {
            "not running"
        };
        document(
            RELOAD,
            &format!(
                "<p><small>{state}</small></p><pre>{}</pre>",
                escape(&plugin.log())
            ),
        )
    }

    fn folders(&self) -> String {
        let mut rows = String::new();
        for backup in self.world.uisp.backups() {
            let state = match self.world.mirrored(&backup) {
                Some(file) if file.size == backup.size => "mirrored",
                Some(_) => "mirrored with another size",
                None => "not mirrored",
            };
            let id = escape(&backup.id);
            let delete = button(
                "/delete",
                "Delete",
                &format!("<input type=\"hidden\" name=\"id\" value=\"{id}\">"),
            );
            rows += &format!(
                "<tr><td>{id}<td>{}<td>{state}<td>{delete}",
                megabytes(backup.size)
            );
        }
        let mut files = String::new();
        for file in self.world.dropbox.files() {
            let (path, size, hash) = (
                escape(&file.path),
                megabytes(file.size),
                &file.content_hash[..12],
            );
            files += &format!("<tr><td>{path}<td>{size}<td>{hash}..");
        }
        document(
            RELOAD,
            &format!("<h3>UISP</h3><table>{rows}</table><h3>Dropbox</h3><table>{files}</table>"),
        )
    }
}

const RELOAD: &str = "<meta http-equiv=\"refresh\" content=\"2\">";

impl Handler for Page {
    fn route(&self, head: &Head) -> String {
        head.path().to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let path = request.head.path().to_owned();
        if request.head.method == "POST" {
            let mut body = Vec::new();
            request.body.read_to_end(&mut body)?;
            let inputs: Vec<(String, String)> =
                form_urlencoded::parse(&body).into_owned().collect();
            *lock(&self.message) = self
                .click(&path, &inputs)
                .unwrap_or_else(|error| error.to_string());
            // The whole page is shown again, also when the button was in a frame.
            return Ok(Response::empty(302).with_header("Location", "/"));
        }
        Ok(match path.as_str() {
            "/" => Response::html(200, self.main_page()),
            "/log" => Response::html(200, self.log()),
            "/folders" => Response::html(200, self.folders()),
            _ => Response::text(404, "There is no such page."),
        })
    }
}

fn button(path: &str, label: &str, inputs: &str) -> String {
    format!(
        "<form class=\"button\" method=\"post\" action=\"{path}\" target=\"_top\">{inputs}<button>{label}</button></form> "
    )
}

fn document(head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{head}<title>Plugin page</title><style>\
         body{{font-family:sans-serif;margin:1em}}.columns{{display:flex;gap:2em}}section{{flex:1;min-width:0}}\
         .button{{display:inline}}.message{{color:#05a;min-height:1em;overflow-wrap:anywhere}}\
         iframe{{width:100%;border:1px solid #ccc}}pre{{white-space:pre-wrap;overflow-wrap:anywhere}}\
         input[type=text]{{width:95%}}td{{padding-right:1em}}</style><body>{body}</body></html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
