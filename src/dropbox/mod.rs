//! A client for the part of Dropbox's API v2 that a mirror needs. It knows nothing of backups.

pub mod content_hash;
pub mod download;
mod error;
pub mod files;
pub mod oauth;
pub mod users;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

pub use error::{Conflict, Error, RouteFailure};

use crate::clock::Stop;
use crate::http::retry::{Retry, Retryable, Tries, with_retry};
use crate::http::{self, Body, Patience};
use crate::secret::Secret;

/// Largest JSON answer that is read; a page of 2,000 entries has about 1 MB.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where Dropbox is. The defaults are the public hosts; tests and proxies override them.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// `DROPBOX_API_URL`: calls with JSON in and out, and the token endpoint.
    pub api: Url,
    /// `DROPBOX_CONTENT_URL`: calls that carry file content.
    pub content: Url,
    /// `DROPBOX_WEB_URL`: the page on which the admin allows access.
    pub web: Url,
}

/// A host's address from the environment is not acceptable.
#[derive(Debug, thiserror::Error)]
#[error("{variable} holds no usable address ({cause})")]
pub struct InvalidHost {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub cause: String,
}

impl Hosts {
    /// The public hosts, or those that the environment names.
    ///
    /// # Errors
    /// [`InvalidHost`] for anything but https, or http on loopback: tokens travel there.
    pub fn from_environment() -> Result<Self, InvalidHost> {
        let host = |variable, public: &str| {
            let text = std::env::var(variable).ok();
            let text = text
                .as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty());
            let invalid = |cause: String| InvalidHost { variable, cause };
            let url =
                Url::parse(text.unwrap_or(public)).map_err(|error| invalid(error.to_string()))?;
            if url.scheme() == "https" || (url.scheme() == "http" && http::is_loopback(&url)) {
                Ok(url)
            } else {
                Err(invalid("it is neither https nor http on loopback".into()))
            }
        };
        Ok(Self {
            api: host("DROPBOX_API_URL", "https://api.dropboxapi.com")?,
            content: host("DROPBOX_CONTENT_URL", "https://content.dropboxapi.com")?,
            web: host("DROPBOX_WEB_URL", "https://www.dropbox.com")?,
        })
    }
}

impl Hosts {
    /// Asks both hosts of the API for a sign of life, without any authorization; returns the time that the
    /// first one's answer names, if it does.
    ///
    /// # Errors
    /// [`Error::Network`] of the first one that cannot be reached.
    pub fn reach(&self, http: &http::Client, stop: &Stop) -> Result<Option<DateTime<Utc>>, Error> {
        let mut times = Vec::new();
        for (route, host) in [
            ("the API host", &self.api),
            ("the content host", &self.content),
        ] {
            times.push(with_retry(stop, route, || {
                let url = host.as_str();
                let answered = http.send(
                    Patience::Call,
                    ureq::http::Method::GET,
                    url,
                    &[],
                    Body::Empty,
                );
                let answer = answered.map_err(|cause| Error::Network { route, cause })?;
                Ok::<_, Error>(answer.date())
            })?);
        }
        Ok(times.into_iter().flatten().next())
    }
}

/// What stands in for the account.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A long-lived token, as Dropbox no longer gives them, used as it is.
    LegacyToken(Secret),
    /// A refresh token, good for short-lived access tokens.
    RefreshToken {
        /// The app that the token belongs to.
        app: oauth::App,
        /// The token.
        refresh_token: Secret,
    },
}

/// Calls Dropbox's API for one account. All methods can be called from several threads.
#[derive(Debug)]
pub struct Dropbox {
    http: http::Client,
    hosts: Hosts,
    stop: Stop,
    credential: Credential,
    /// The current access token and how often it was replaced, so that of several calls that meet
    /// its end only one refreshes it.
    access: Mutex<Access>,
}

#[derive(Clone, Debug)]
struct Access {
    token: Arc<Secret>,
    generation: u32,
}

impl Dropbox {
    /// A client whose first access token is already there; see [`oauth`] for getting it.
    pub fn new(
        http: http::Client,
        hosts: Hosts,
        stop: Stop,
        credential: Credential,
        access_token: Secret,
    ) -> Self {
        Self {
            http,
            hosts,
            stop,
            credential,
            access: Mutex::new(Access {
                token: Arc::new(access_token),
                generation: 0,
            }),
        }
    }

    /// A call with JSON in and out.
    fn rpc<T: DeserializeOwned>(
        &self,
        route: &'static str,
        argument: &impl Serialize,
    ) -> Result<T, Error> {
        self.dated_rpc(route, argument).map(|(value, _)| value)
    }

    /// The same with the time that Dropbox's answer names.
    fn dated_rpc<T: DeserializeOwned>(
        &self,
        route: &'static str,
        argument: &impl Serialize,
    ) -> Result<(T, Option<DateTime<Utc>>), Error> {
        let body = to_json(route, argument)?;
        self.call(route, || {
            self.send(
                route,
                &self.hosts.api,
                Patience::Call,
                &[("Content-Type", "application/json")],
                Body::Bytes(body.as_bytes()),
            )
        })
    }

    /// The same, tried once.
    fn rpc_once<T: DeserializeOwned>(
        &self,
        route: &'static str,
        argument: &impl Serialize,
    ) -> Result<T, Error> {
        let body = to_json(route, argument)?;
        let sent = self.send(
            route,
            &self.hosts.api,
            Patience::Call,
            &[("Content-Type", "application/json")],
            Body::Bytes(body.as_bytes()),
        );
        self.parse(route, sent?)
    }

    /// A call with file content in and JSON out.
    fn upload<T: DeserializeOwned>(
        &self,
        route: &'static str,
        argument: &impl Serialize,
        content: &[&[u8]],
    ) -> Result<T, Error> {
        let argument = header_safe(&to_json(route, argument)?);
        // The content type is required even where the body is empty.
        let headers = [
            ("Content-Type", "application/octet-stream"),
            ("Dropbox-API-Arg", argument.as_str()),
        ];
        self.call(route, || {
            self.send(
                route,
                &self.hosts.content,
                Patience::Transfer,
                &headers,
                Body::Parts(content),
            )
        })
        .map(|(value, _)| value)
    }

    /// Repeats a call as its errors ask for, and parses the answer.
    fn call<T: DeserializeOwned>(
        &self,
        route: &'static str,
        send: impl Fn() -> Result<http::Response, Error>,
    ) -> Result<(T, Option<DateTime<Utc>>), Error> {
        with_retry(&self.stop, route, || {
            let response = send()?;
            let date = response.date();
            Ok((self.parse(route, response)?, date))
        })
    }

    fn parse<T: DeserializeOwned>(
        &self,
        route: &'static str,
        response: http::Response,
    ) -> Result<T, Error> {
        if response.status != 200 {
            return Err(self.explain(Error::from_response(route, response)));
        }
        let body = response
            .bytes(JSON_BYTES_MAX)
            .map_err(|cause| Error::Network { route, cause })?;
        serde_json::from_slice(&body).map_err(|error| Error::Malformed {
            route,
            cause: format!("{error}; it begins with {}", http::excerpt(&body, 80)),
        })
    }

    /// One request; repeated once with a new access token if the old one has expired.
    fn send(
        &self,
        route: &'static str,
        host: &Url,
        patience: Patience,
        headers: &[(&'static str, &str)],
        body: Body<'_>,
    ) -> Result<http::Response, Error> {
        let mut refreshed = false;
        loop {
            let access = self
                .access
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let bearer = format!("Bearer {}", access.token.expose());
            let mut all = vec![("Authorization", bearer.as_str())];
            all.extend_from_slice(headers);
            let url = format!("{}/2/{route}", host.as_str().trim_end_matches('/'));
            let response = self
                .http
                .send(patience, ureq::http::Method::POST, &url, &all, body)
                .map_err(|cause| Error::Network { route, cause })?;
            if response.status != 401 {
                return Ok(response);
            }
            let error = Error::from_response(route, response);
            if !matches!(error, Error::ExpiredAccessToken { .. }) {
                return Err(self.explain(error));
            }
            if refreshed {
                return Err(Error::AccessRefused {
                    route,
                    reason: "an access token that was just renewed counts as expired".into(),
                });
            }
            self.refresh(access.generation, error)?;
            refreshed = true;
        }
    }

    /// Marks the refusal of a legacy token as one, because its remedy is different.
    fn explain(&self, error: Error) -> Error {
        match (&self.credential, error) {
            (
                Credential::LegacyToken(_),
                error @ (Error::ExpiredAccessToken { .. }
                | Error::AccessRefused { .. }
                | Error::MissingScope { .. }),
            ) => Error::LegacyTokenRefused {
                reason: error.to_string(),
            },
            (_, error) => error,
        }
    }

    /// Replaces the access token, unless another thread has done so since `generation`.
    fn refresh(&self, generation: u32, expired: Error) -> Result<(), Error> {
        let Credential::RefreshToken { app, refresh_token } = &self.credential else {
            return Err(self.explain(expired));
        };
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if access.generation != generation {
            return Ok(());
        }
        let token = self.renewed(app, refresh_token)?;
        *access = Access {
            token: Arc::new(token),
            generation: generation.wrapping_add(1),
        };
        Ok(())
    }
}

impl Dropbox {
    /// A new access token. Patience is given here, where the others wait for the token, too: repeating the call
    /// would send its content again in vain.
    fn renewed(&self, app: &oauth::App, refresh_token: &Secret) -> Result<Secret, Error> {
        const ROUTE: &str = oauth::TOKEN_ROUTE;
        let mut tries = Tries::default();
        loop {
            let error = match oauth::refresh(&self.http, &self.hosts, app, refresh_token) {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            log::debug!("The access token could not be renewed: {error}");
            if let retry @ Retry::After(_) = error.retry()
                && let Some(wait) = tries.next_wait(retry, &self.stop)
            {
                self.stop.sleep(wait).map_err(Error::Stopped)?;
                continue;
            }
            return Err(match error {
                oauth::Error::Unavailable(cause) => Error::Network {
                    route: ROUTE,
                    cause,
                },
                oauth::Error::Busy { retry_after } => Error::Busy {
                    route: ROUTE,
                    retry_after,
                },
                oauth::Error::AppDisabled(reason) => Error::AppDisabled {
                    route: ROUTE,
                    reason,
                },
                error => Error::AccessRefused {
                    route: ROUTE,
                    reason: error.to_string(),
                },
            });
        }
    }
}

fn to_json(route: &'static str, argument: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(argument).map_err(|error| Error::Malformed {
        route,
        cause: format!("the argument cannot be written as JSON: {error}"),
    })
}

/// JSON that can stand in a header: DEL and everything beyond ASCII as `\uXXXX`.
/// Source: <https://www.dropbox.com/developers/reference/json-encoding>.
fn header_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && character != '\x7f' {
            safe.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_in_headers_are_ascii() {
        assert_eq!(
            header_safe("{\"field\": \"some_üñîcødé_and_\x7f\"}"),
            r#"{"field": "some_\u00fc\u00f1\u00eec\u00f8d\u00e9_and_\u007f"}"#
        );
        assert_eq!(header_safe("𝄞"), r"\ud834\udd1e");
    }
}
