//! Who is logged in: sessions by cookie, and `current-user`, which plugins ask.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::http::{Head, Response};

/// The cookies of a session: the only ones that a plugin may pass on.
pub const SESSION_COOKIES: [&str; 3] = ["PHPSESSID", "nms-crm-php-session-id", "nms-session"];

/// Kinds of users that a plugin has to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// May do everything.
    Admin,
    /// May look at plugins, no more.
    Viewer,
    /// An admin who may not see plugins.
    WithoutPlugins,
    /// A customer in the client zone.
    Client,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Admin,
        Self::Viewer,
        Self::WithoutPlugins,
        Self::Client,
    ];

    /// The login name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::WithoutPlugins => "billing",
            Self::Client => "client",
        }
    }

    /// What sets this user apart, for people who choose one.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Admin => "an admin who may edit plugins",
            Self::Viewer => "an admin who may view plugins",
            Self::WithoutPlugins => "an admin without permission for plugins",
            Self::Client => "a customer, in the client zone",
        }
    }

    /// What the host answers about this user.
    ///
    /// Assumption: an empty map of permissions is a list, as PHP writes empty arrays.
    fn describe(self) -> Value {
        let plugins = match self {
            Self::Admin => "edit",
            Self::Viewer => "view",
            Self::WithoutPlugins => "denied",
            Self::Client => {
                return json!({
                    "userId": 1001, "username": self.name(), "isClient": true, "clientId": 1,
                    "userGroup": null, "permissions": [], "specialPermissions": [], "locale": "en_US",
                });
            }
        };
        json!({
            "userId": 1, "username": self.name(), "isClient": false, "clientId": null, "userGroup": "Admin Group",
            "permissions": {"system/plugins": plugins, "system/settings": "view", "billing/invoices": "edit"},
            "specialPermissions": {"special/view_financial_information": "allow"}, "locale": "en_US",
        })
    }
}

/// All sessions of a host.
#[derive(Debug, Default)]
pub struct Sessions {
    users: Mutex<HashMap<String, User>>,
}

/// Numbered across the process, so that no session of one host is valid at another.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Sessions {
    /// Logs a user in; returns the cookies, as name and value.
    pub fn log_in(&self, user: User) -> Vec<(&'static str, String)> {
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let value = format!("test-session-{number}");
        self.users().insert(value.clone(), user);
        SESSION_COOKIES.map(|name| (name, value.clone())).into()
    }

    /// The user whose browser sent this; it may have cookies of others, too.
    pub fn user(&self, head: &Head) -> Option<User> {
        let cookies = cookies(head);
        let mut values = SESSION_COOKIES.iter().map(|name| {
            let cookie = cookies.iter().find(|(known, _)| known == name);
            cookie.map(|(_, value)| *value)
        });
        let first = values.next().flatten()?;
        // The same session in all of them, as the host set it.
        if !values.all(|value| value == Some(first)) {
            return None;
        }
        self.users().get(first).copied()
    }

    /// Answers `current-user`: 400 for a cookie that is none of a plugin's business, 403 for nobody.
    pub fn current_user(&self, head: &Head) -> Response {
        let foreign = cookies(head)
            .into_iter()
            .find(|(name, _)| !SESSION_COOKIES.contains(name));
        if let Some((name, _)) = foreign {
            return Response::text(400, format!("the cookie {name:?} must not be passed on"));
        }
        match self.user(head) {
            Some(user) => Response::json(200, &user.describe()),
            None => Response::json(403, &json!({"code": 403, "message": "Access denied."})),
        }
    }

    fn users(&self) -> std::sync::MutexGuard<'_, HashMap<String, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cookies(head: &Head) -> Vec<(&str, &str)> {
    head.headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(cookie: &str) -> Head {
        Head {
            headers: vec![("Cookie".into(), cookie.into())],
            ..Head::default()
        }
    }

    #[test]
    fn only_the_three_cookies_of_one_session_make_a_user() {
        let sessions = Sessions::default();
        let line = |cookies: &[(&str, String)]| {
            let cookies = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            cookies.collect::<Vec<_>>().join("; ")
        };
        let admin = sessions.log_in(User::Admin);
        let client = sessions.log_in(User::Client);
        let whole = line(&admin);
        assert_eq!(sessions.user(&head(&whole)), Some(User::Admin));
        assert_eq!(sessions.user(&head(&line(&admin[..2]))), None);
        assert_eq!(
            sessions.user(&head(&line(&[&admin[..2], &client[2..]].concat()))),
            None
        );
        assert_eq!(sessions.current_user(&head(&whole)).status, 200);
        assert_eq!(sessions.current_user(&head("PHPSESSID=x")).status, 403);
        let foreign = format!("{whole}; theme=dark");
        assert_eq!(sessions.user(&head(&foreign)), Some(User::Admin));
        assert_eq!(sessions.current_user(&head(&foreign)).status, 400);
    }
}
