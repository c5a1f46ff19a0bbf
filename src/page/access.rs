//! Who may see the page: the host is asked who is logged in, with the visitor's own session.
//!
//! Of the visitor's cookies only the host's three session cookies are passed on, and nothing else of the request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stop;
use crate::http::{self, Body, Client, Patience, Peer, Trust};
use crate::plugin::{PluginFolder, ucrm};
use crate::secret::Secret;

/// The cookies that make up a session of the host.
const SESSION_COOKIES: [&str; 3] = ["PHPSESSID", "nms-crm-php-session-id", "nms-session"];
/// The host's permission for the plugins' pages.
const PERMISSION: &str = "system/plugins";
/// Somebody waits for the page.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Largest answer that is read; real ones have a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Who asks for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// An admin who may view plugins.
    Admin,
    /// Anybody else: a client, an admin without the permission, somebody who is not logged in.
    Stranger,
    /// The host could not be asked.
    Unknown,
}

/// The part of the host's answer that counts.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentUser {
    is_client: bool,
    #[serde(default)]
    permissions: Permissions,
}

/// PHP writes an empty map as a list.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Permissions {
    Map(BTreeMap<String, String>),
    Other(serde::de::IgnoredAny),
}

impl Default for Permissions {
    fn default() -> Self {
        Self::Other(serde::de::IgnoredAny)
    }
}

impl CurrentUser {
    fn may_view_plugins(&self) -> bool {
        let Permissions::Map(permissions) = &self.permissions else {
            return false;
        };
        let permission = permissions.get(PERMISSION).map(String::as_str);
        !self.is_client && matches!(permission, Some("view" | "edit"))
    }
}

/// Asks the host whose session the cookies belong to. Without any, there is nobody to ask about.
pub fn ask(folder: &PluginFolder, cookies: &str) -> Visitor {
    let Some(session) = session(cookies) else {
        return Visitor::Stranger;
    };
    let Ok(url) = ucrm::current_user_url(&folder.ucrm()) else {
        return Visitor::Unknown;
    };
    let Ok(client) = Client::within(TIME_LIMIT, Trust::in_host(&url), Peer::Host) else {
        return Visitor::Unknown;
    };
    let stop = Stop::within(TIME_LIMIT, Arc::default());
    let answer = stop.watch(
        || client.shutdown(),
        || {
            let ask = || current_user(&client, url.as_str(), &session);
            ask().or_else(|error| match error {
                http::Error::Network(_) if stop.requested().is_none() => ask(),
                error => Err(error),
            })
        },
    );
    match answer {
        Ok((200, body)) => match serde_json::from_slice::<CurrentUser>(&body) {
            Ok(user) if user.may_view_plugins() => Visitor::Admin,
            Ok(_) => Visitor::Stranger,
            Err(_) => Visitor::Unknown,
        },
        Ok((401 | 403, _)) => Visitor::Stranger,
        Ok(_) | Err(_) => Visitor::Unknown,
    }
}

fn current_user(
    client: &Client,
    url: &str,
    session: &Secret,
) -> Result<(u16, Vec<u8>), http::Error> {
    let headers = [
        ("Cookie", session.expose()),
        ("Content-Type", "application/json"),
    ];
    let method = ureq::http::Method::GET;
    let response = client.send(Patience::Call, method, url, &headers, Body::Empty)?;
    Ok((response.status, response.bytes(ANSWER_BYTES_MAX)?))
}

/// The header that passes the session on: each cookie once, with nothing in its value that could end it.
fn session(cookies: &str) -> Option<Secret> {
    let pairs: Vec<(&str, &str)> = cookies
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='))
        .collect();
    let passed: Vec<String> = SESSION_COOKIES
        .iter()
        .filter_map(|name| {
            let (_, value) = pairs.iter().find(|(given, _)| given == name)?;
            let is_usual = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
            let value: String = value.chars().filter(is_usual).collect();
            (!value.is_empty()).then(|| format!("{name}={value}"))
        })
        .collect();
    (!passed.is_empty()).then(|| Secret::new(passed.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(cookies: &str) -> Option<String> {
        session(cookies).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn only_session_cookies_are_passed_on_each_once_and_cleaned() {
        let cookies =
            " theme=dark; nms-session=a-1; PHPSESSID=b2\r\nX: y,; PHPSESSID=other;nms-sessions=c";
        assert_eq!(
            passed(cookies).as_deref(),
            Some("PHPSESSID=b2Xy; nms-session=a-1")
        );
        for nothing in ["", "theme=dark", "PHPSESSID", "PHPSESSID=;nms-session= , "] {
            assert_eq!(passed(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_permission_counts_and_a_client_has_none() {
        for (answer, may) in [
            (
                r#"{"isClient":false,"permissions":{"system/plugins":"view"}}"#,
                true,
            ),
            (
                r#"{"isClient":false,"permissions":{"system/plugins":"edit"}}"#,
                true,
            ),
            (
                r#"{"isClient":false,"permissions":{"system/plugins":"denied"}}"#,
                false,
            ),
            (
                r#"{"isClient":true,"permissions":{"system/plugins":"edit"}}"#,
                false,
            ),
            (
                r#"{"isClient":false,"permissions":{"system":"edit"}}"#,
                false,
            ),
            (r#"{"isClient":false,"permissions":[]}"#, false),
            (r#"{"isClient":false}"#, false),
        ] {
            let user: CurrentUser = serde_json::from_str(answer).unwrap();
            assert_eq!(user.may_view_plugins(), may, "{answer}");
        }
        assert!(serde_json::from_str::<CurrentUser>(r#"{"permissions":{}}"#).is_err());
    }
}
