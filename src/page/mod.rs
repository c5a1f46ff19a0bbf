//! The status page and the dashboard widget, for `public.php`: a request comes in through the environment, as
//! with CGI, and headers and body go to standard output.
//!
//! Nothing here changes anything: no lock is taken, no file is written, not even the log. The host does not
//! protect the page, so [`access`] asks it who is logged in; what to say is decided in [`report`], which is pure.

pub mod access;

use std::io::{self, Write};

use crate::plugin::PluginFolder;
use access::Visitor;

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
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    fn new(status: &'static str, title: &str, text: &str) -> Self {
        let body = format!("<!DOCTYPE html><title>{title}</title><h1>{title}</h1><p>{text}</p>");
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// Writes the answer as CGI does.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        write!(to, "Status: {}\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(to, "{name}: {value}\r\n")?;
        }
        write!(to, "\r\n{}", self.body)?;
        to.flush()
    }
}

/// Answers one request about the plugin in `folder`.
pub fn answer(folder: &PluginFolder, request: &Request) -> Response {
    let mut response = match request.method.as_str() {
        "GET" | "HEAD" => match access::ask(folder, &request.cookies) {
            Visitor::Admin => Response::new(
                "200 OK",
                "Backups in Dropbox",
                if request.is_for_widget() {
                    "widget"
                } else {
                    "page"
                },
            ),
            Visitor::Stranger => Response::new("403 Forbidden", "No access", ""),
            Visitor::Unknown => Response::new("503 Service Unavailable", "Not now", ""),
        },
        _ => Response::new("405 Method Not Allowed", "Only to be read", ""),
    };
    response
        .headers
        .push(("Content-Type", "text/html; charset=utf-8".into()));
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}
