//! Who may see the page: the host is asked who is logged in, with the visitor's own session.
//!
//! Of the visitor's cookies only the host's three session cookies are passed on, and nothing else of the request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Stop;
use crate::http::{self, Body, Client, Patience, Peer, Trust};
use crate::plugin::{PluginFolder, ucrm};
use crate::secret::Secret;
use crate::text;

/// The cookies that make up a session of the host.
const SESSION_COOKIES: [&str; 3] = ["PHPSESSID", "nms-crm-php-session-id", "nms-session"];
/// The host's permission for the plugins' pages.
const PERMISSION: &str = "system/plugins";
/// Somebody waits for the page.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Largest answer that is read; real ones have a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Longest part of a login that is shown.
const LOGIN_CHARS_MAX: usize = 100;

/// Who asks for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// An admin who may view plugins, and perhaps edit them.
    Admin(Option<Editor>),
    /// Anybody else: a client, an admin without the permission, somebody who is not logged in.
    Stranger,
    /// The host could not be asked.
    Unknown,
}

/// An admin who may edit plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    /// What tells this user from all others.
    pub user: String,
    /// The login, to be shown.
    pub login: String,
}

/// The part of the host's answer that counts.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentUser {
    is_client: bool,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    user_id: Value,
    #[serde(default)]
    username: Value,
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
    fn visitor(&self) -> Visitor {
        let Permissions::Map(permissions) = &self.permissions else {
            return Visitor::Stranger;
        };
        match permissions.get(PERMISSION).map(String::as_str) {
            _ if self.is_client => Visitor::Stranger,
            Some("view") => Visitor::Admin(None),
            Some("edit") => Visitor::Admin(self.editor()),
            _ => Visitor::Stranger,
        }
    }

    /// None where the host does not say which user it is: nothing could be bound to that one then.
    fn editor(&self) -> Option<Editor> {
        let id = Some(&self.user_id).filter(|id| !id.is_null())?;
        let login = self.username.as_str().map(text::one_line);
        let login = login.filter(|login| !login.is_empty());
        let login = login.unwrap_or_else(|| format!("user {id}"));
        Some(Editor {
            user: format!("{id} {}", self.username),
            login: login.chars().take(LOGIN_CHARS_MAX).collect(),
        })
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
            Ok(user) => user.visitor(),
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
        let of = |answer: &str| {
            let user: CurrentUser = serde_json::from_str(answer).unwrap();
            user.visitor()
        };
        for (answer, may_view) in [
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
            let expected = if may_view {
                Visitor::Admin(None)
            } else {
                Visitor::Stranger
            };
            assert_eq!(of(answer), expected, "{answer}");
        }
        assert!(serde_json::from_str::<CurrentUser>(r#"{"permissions":{}}"#).is_err());
    }

    #[test]
    fn only_who_may_edit_and_has_a_number_is_an_editor() {
        let editor = |permission: &str, id: &str, name: &str| {
            let answer = format!(
                r#"{{"isClient":false,"userId":{id},"username":{name},"permissions":{{"system/plugins":"{permission}"}}}}"#
            );
            match serde_json::from_str::<CurrentUser>(&answer)
                .unwrap()
                .visitor()
            {
                Visitor::Admin(editor) => editor.map(|editor| (editor.user, editor.login)),
                _ => None,
            }
        };
        let admin = Some(("1 \"admin\"".to_owned(), "admin".to_owned()));
        assert_eq!(editor("edit", "1", "\"admin\""), admin);
        assert_eq!(editor("view", "1", "\"admin\""), None);
        assert_eq!(editor("edit", "null", "\"admin\""), None);
        let nameless = Some(("7 null".to_owned(), "user 7".to_owned()));
        assert_eq!(editor("edit", "7", "null"), nameless);
    }
}
