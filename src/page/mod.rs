//! The status page and the dashboard widget, for `public.php`: a request comes in through the environment, as
//! with CGI, and headers and body go to standard output.
//!
//! Nothing here changes anything: no lock is kept, no file is written, not even the log. The host does not
//! protect the page, so [`access`] asks it who is logged in; what to say is decided in [`report`], which is
//! pure, and [`view`] makes HTML of it.

pub mod access;
pub mod moments;
pub mod report;
pub mod view;

use std::io::{self, Write};

use crate::clock;
use crate::findings::from;
use crate::plugin::config;
use crate::plugin::lock::{self, Seen};
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::record::Record;
use crate::text;
use crate::zone::Zone;
use access::Visitor;
use moments::Moments;
use report::Facts;

/// A request, as CGI names its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    method: String,
    query: String,
    cookies: String,
}

impl Request {
    /// The request that the environment describes.
    pub fn from_environment() -> Self {
        let variable = |name| {
            let value = std::env::var_os(name).unwrap_or_default();
            value.to_string_lossy().into_owned()
        };
        Self {
            method: variable("REQUEST_METHOD"),
            query: variable("QUERY_STRING"),
            cookies: variable("HTTP_COOKIE"),
        }
    }

    /// Whether the dashboard's widget is asked for; `manifest.json` adds the parameter.
    fn is_for_widget(&self) -> bool {
        url::form_urlencoded::parse(self.query.as_bytes())
            .any(|(name, value)| name == "widget" && value == "1")
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
            write!(to, "Allow: GET, HEAD\r\n")?;
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
    let (status, rendered) = if !is_head && request.method != "GET" {
        ("405 Method Not Allowed", view::only_to_be_read())
    } else {
        match access::ask(folder, &request.cookies) {
            Visitor::Stranger => ("403 Forbidden", view::not_for_you()),
            Visitor::Unknown => ("503 Service Unavailable", view::nobody_to_ask()),
            Visitor::Admin => {
                let report = report::report(&facts(folder));
                let rendered = if request.is_for_widget() {
                    view::widget(&report)
                } else {
                    view::page(&report)
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

/// Everything that the page depends on, as it stands on disk.
fn facts(folder: &PluginFolder) -> Facts {
    let record = Record::read(&folder.record());
    let zone = record
        .as_ref()
        .ok()
        .and_then(|record| record.timezone.as_deref()?.parse().ok());
    let lock = lock::look(&folder.lock());
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
    }
}
