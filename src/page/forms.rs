//! Forms of the page: who may send one, whether it comes from this very page, and what it asks for.
//!
//! Three things must agree: the host's word that the visitor may edit plugins, the browser's word that the page that
//! sends is of the same site, and a token that was shown to this visitor within the last hour and has not been used.

use chrono::{DateTime, Utc};

use super::Request;
use super::access::Editor;
use crate::plugin::PluginFolder;
use crate::plugin::key::{Key, Purpose};
use crate::record::Asked;
use crate::run::orders::Order;
use crate::secret::Secret;

/// Largest form that is read; a real one has less than a kilobyte. `launcher.php` reads no more either.
pub const BODY_BYTES_MAX: u64 = 8 * 1024;

/// The tokens for the forms of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// For a run.
    pub run: String,
    /// For an access code.
    pub connect: String,
    /// For the deletion of what is on hold.
    pub agree: String,
}

impl Tokens {
    /// New ones for this visitor; none before a run, or a save of the form, has made a key.
    pub fn new(folder: &PluginFolder, editor: &Editor, now: DateTime<Utc>) -> Option<Self> {
        let key = Key::read(&folder.page_key())?;
        let token = |asked: Asked| {
            let purpose = Purpose {
                user: &editor.user,
                action: asked.word(),
            };
            key.token(&purpose, now)
        };
        Some(Self {
            run: token(Asked::Run),
            connect: token(Asked::Connect),
            agree: token(Asked::Agree),
        })
    }
}

/// What a form asks for, and its token.
#[derive(Debug)]
pub struct Sent {
    /// What is to be done.
    pub order: Order,
    /// Shows that the form is one of ours.
    pub token: String,
}

/// Reads a form; none if it is none of ours.
pub fn read(body: &[u8]) -> Option<Sent> {
    let fields = || url::form_urlencoded::parse(body);
    let field = |wanted: &str| {
        let value = fields().find_map(|(name, value)| (name == wanted).then_some(value))?;
        Some(value.trim().to_owned())
    };
    let order = match field("do")?.as_str() {
        "run" => Order::Run,
        "connect" => Order::Connect(Secret::new(field("code")?)),
        // Without the tick nothing is agreed to.
        "agree" if field("sure").as_deref() == Some("yes") => Order::Agree(field("files")?),
        _ => return None,
    };
    let token = field("token")?;
    Some(Sent { order, token })
}

/// Whether the browser says that a page of this very site has sent the form.
///
/// Over plain HTTP to another machine browsers send no `Sec-Fetch-Site`, only `Origin`. Ports are left out, because web
/// servers in front of PHP pass on the name alone.
pub fn is_from_here(request: &Request) -> bool {
    if !request.fetch_site.is_empty() {
        return request.fetch_site == "same-origin";
    }
    let origin = url::Url::parse(&request.origin).ok();
    let here = url::Url::parse(&format!("http://{}/", request.host)).ok();
    match (&origin, &here) {
        (Some(origin), Some(here)) => origin.has_host() && origin.host() == here.host(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forms_of_the_page_are_read() {
        let read = |body: &str| read(body.as_bytes()).map(|sent| format!("{sent:?}"));
        assert!(read("do=run&token=t").unwrap().contains("Run"));
        let connect = read("do=connect&token=t&code=+fake-code%0A").unwrap();
        assert!(connect.contains("Connect") && !connect.contains("fake-code"));
        assert!(
            read("do=agree&token=t&files=d&sure=yes")
                .unwrap()
                .contains("Agree(\"d\")")
        );
        for body in [
            "",
            "do=run",
            "token=t",
            "do=other&token=t",
            "do=connect&token=t",
            "do=agree&token=t&files=d",
            "do=agree&token=t&files=d&sure=no",
            "do=agree&token=t&sure=yes",
            "{\"do\":\"run\",\"token\":\"t\"}",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_told_from_one_of_this_site() {
        let is_from_here = |fetch_site: &str, origin: &str, host: &str| {
            is_from_here(&Request {
                fetch_site: fetch_site.into(),
                origin: origin.into(),
                host: host.into(),
                ..Request::default()
            })
        };
        assert!(is_from_here("same-origin", "", "uisp.example"));
        for site in ["cross-site", "same-site", "none", "Same-Origin"] {
            assert!(
                !is_from_here(site, "https://uisp.example", "uisp.example"),
                "{site}"
            );
        }
        for (origin, host) in [
            ("http://192.0.2.7", "192.0.2.7"),
            ("http://192.0.2.7:8080", "192.0.2.7:8080"),
            ("https://uisp.example:8443", "uisp.example"),
            ("http://[2001:db8::1]:81", "[2001:db8::1]:81"),
            ("https://UISP.example", "uisp.example"),
        ] {
            assert!(is_from_here("", origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("", "uisp.example"),
            ("null", "uisp.example"),
            ("http://192.0.2.8", "192.0.2.7"),
            ("https://uisp.example.evil.example", "uisp.example"),
            ("https://evil.example", ""),
            ("file:///uisp.example", "uisp.example"),
            ("https://evil.example", "uisp.example@evil.example:x"),
        ] {
            assert!(!is_from_here("", origin, host), "{origin} {host}");
        }
    }
}
