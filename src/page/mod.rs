//! The status page and the dashboard widget, for `public.php`: a request comes in through the environment, as
//! with CGI, and headers and body go to standard output.
//!
//! Looking changes nothing: no lock is kept, no file is written, not even the log. What a form asks for is done by
//! [`crate::run::orders`]; [`forms`] decides whether it counts. The host does not protect the page, so [`access`] asks it
//! who is logged in; what to say is decided in [`report`], which is pure, and [`view`] makes HTML of it.

pub mod access;
pub mod forms;
pub mod moments;
pub mod report;
pub mod view;

use std::io::{self, Read as _, Write};

use crate::clock;
use crate::findings::from;
use crate::plugin::PluginFolder;
use crate::plugin::config;
use crate::plugin::lock::{self, Seen};
use crate::plugin::log::{self as plugin_log, Echo};
use crate::plugin::ucrm;
use crate::record::Record;
use crate::run::orders::{self, Form, Refusal};
use crate::text;
use crate::zone::Zone;
use access::{Editor, Visitor};
use forms::Tokens;
use moments::Moments;
use report::Facts;

/// A request, as CGI names its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    method: String,
    query: String,
    cookies: String,
    /// The browser's word on which page sends a form.
    fetch_site: String,
    /// The same, from browsers that say less.
    origin: String,
    /// What the browser takes this site for.
    host: String,
    /// A form; nothing where there is more than one can have.
    body: Vec<u8>,
}

impl Request {
    /// The request that the environment describes.
    pub fn from_environment() -> Self {
        let variable = |name| {
            let value = std::env::var_os(name).unwrap_or_default();
            value.to_string_lossy().into_owned()
        };
        let method = variable("REQUEST_METHOD");
        let mut body = Vec::new();
        if method == "POST" {
            let limit = forms::BODY_BYTES_MAX + 1;
            let read = io::stdin().lock().take(limit).read_to_end(&mut body);
            if read.is_err() || body.len() as u64 == limit {
                body.clear();
            }
        }
        Self {
            method,
            query: variable("QUERY_STRING"),
            cookies: variable("HTTP_COOKIE"),
            fetch_site: variable("HTTP_SEC_FETCH_SITE"),
            origin: variable("HTTP_ORIGIN"),
            host: variable("HTTP_HOST"),
            body,
        }
    }

    /// Whether the dashboard's widget is asked for; `manifest.json` adds the parameter.
    fn is_for_widget(&self) -> bool {
        self.has("widget")
    }

    /// Whether the query has this name with the value 1.
    fn has(&self, wanted: &str) -> bool {
        url::form_urlencoded::parse(self.query.as_bytes())
            .any(|(name, value)| name == wanted && value == "1")
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: &'static str,
    body: String,
}

impl Response {
    /// Writes the answer as CGI does.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        write!(to, "Status: {}\r\n", self.status)?;
        for (name, value) in view::headers() {
            write!(to, "{name}: {value}\r\n")?;
        }
        if self.status.starts_with("405") {
            write!(to, "Allow: GET, HEAD, POST\r\n")?;
        }
        if self.status.starts_with("303") {
            // The page itself, whatever its address.
            write!(to, "Location: ?\r\n")?;
        }
        // Names from elsewhere stand in it; nothing may turn the direction of what is around them.
        let shown = |c| match c {
            '\n' => '\n',
            c if text::is_printable(c) => c,
            _ => ' ',
        };
        let body: String = self.body.chars().map(shown).collect();
        write!(to, "\r\n{body}")?;
        to.flush()
    }
}

/// Answers one request about the plugin in `folder`.
pub fn answer(folder: &PluginFolder, request: &Request) -> Response {
    let is_head = request.method == "HEAD";
    let is_post = request.method == "POST";
    let (status, rendered) = if !is_head && !is_post && request.method != "GET" {
        ("405 Method Not Allowed", view::not_understood())
    } else {
        match access::ask(folder, &request.cookies) {
            Visitor::Stranger => ("403 Forbidden", view::not_for_you()),
            Visitor::Unknown => ("503 Service Unavailable", view::nobody_to_ask()),
            Visitor::Admin(editor) if is_post => take_form(folder, request, editor.as_ref()),
            Visitor::Admin(editor) => {
                let facts = facts(folder, request);
                let report = report::report(&facts);
                let rendered = if request.is_for_widget() {
                    view::widget(&report)
                } else {
                    let now = facts.moments.now;
                    let tokens = editor.and_then(|editor| Tokens::new(folder, &editor, now));
                    view::page(&report, tokens.as_ref())
                };
                ("200 OK", rendered)
            }
        }
    };
    match rendered {
        Ok(_) if is_head => Response {
            status,
            body: String::new(),
        },
        Ok(body) => Response { status, body },
        Err(_) => Response {
            status: "500 Internal Server Error",
            body: String::new(),
        },
    }
}

/// Does what a form asks for, if it counts.
fn take_form(
    folder: &PluginFolder,
    request: &Request,
    editor: Option<&Editor>,
) -> (&'static str, askama::Result<String>) {
    let Some(editor) = editor else {
        return ("403 Forbidden", view::only_to_be_looked_at());
    };
    if !forms::is_from_here(request) {
        return ("403 Forbidden", view::from_elsewhere());
    }
    let Some(sent) = forms::read(&request.body) else {
        return ("400 Bad Request", view::not_understood());
    };
    let form = Form {
        user: &editor.user,
        login: &editor.login,
        token: &sent.token,
    };
    plugin_log::start(folder.log(), Echo::Terminal);
    match orders::carry_out(folder, &sent.order, &form) {
        Ok(()) => ("303 See Other", Ok(String::new())),
        Err(Refusal::Busy) => ("409 Conflict", view::busy()),
        Err(Refusal::Stale) => ("403 Forbidden", view::stale()),
        Err(Refusal::Changed) => ("409 Conflict", view::changed()),
        Err(Refusal::Impossible(finding)) => {
            ("503 Service Unavailable", view::impossible(&finding))
        }
    }
}

/// Everything that the page depends on, as it stands on disk.
fn facts(folder: &PluginFolder, request: &Request) -> Facts {
    let record = Record::read(&folder.record());
    let zone = record
        .as_ref()
        .ok()
        .and_then(|record| record.timezone.as_deref()?.parse().ok());
    let lock = lock::look(&folder.lock());
    let tried = record
        .as_ref()
        .ok()
        .and_then(|record| record.tried.as_ref());
    let is_changed = tried.is_some_and(|tried| *tried != config::fingerprints(&folder.config()));
    Facts {
        moments: Moments {
            now: clock::now(),
            zone: zone.unwrap_or(Zone::UTC),
        },
        settings: config::load(&folder.config()).map_err(|error| from::configuration(&error)),
        record,
        progress: match lock {
            Seen::Running { .. } => plugin_log::shown_progress(&folder.log()),
            Seen::Free | Seen::CutOff => Vec::new(),
        },
        lock,
        is_run_planned: folder.execution_request().exists(),
        is_changed,
        plugin_id: ucrm::plugin_id(&folder.ucrm()),
        shows_all: request.has("all"),
    }
}
