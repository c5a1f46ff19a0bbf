//! What Dropbox answers instead of success, as types that say what to do.

use std::time::Duration;

use serde_json::Value;

use crate::clock::StopReason;
use crate::http::retry::{Retry, Retryable};
use crate::http::{self, Response};

/// How much of a foreign text goes into a message.
const EXCERPT_CHARS: usize = 200;

/// Why a call of Dropbox's API did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No complete answer; whether the call was carried out is unknown.
    #[error("Dropbox could not be reached ({route}: {cause})")]
    Network {
        /// Route of the call.
        route: &'static str,
        /// What went wrong below.
        cause: http::Error,
    },
    /// 5xx.
    #[error("Dropbox answered with a server error ({route}: status {status}, {excerpt})")]
    Server {
        /// Route of the call.
        route: &'static str,
        /// HTTP status.
        status: u16,
        /// Start of the body.
        excerpt: String,
    },
    /// 429, a server error that names a time, or `too_many_write_operations` wherever it stands.
    #[error("Dropbox asks to slow down ({route})")]
    Busy {
        /// Route of the call.
        route: &'static str,
        /// The wait that Dropbox asks for.
        retry_after: Option<Duration>,
    },
    /// 401 `expired_access_token`; the client renews the token before anybody sees this.
    #[error("the access token has expired ({route})")]
    ExpiredAccessToken {
        /// Route of the call.
        route: &'static str,
    },
    /// A legacy token that Dropbox does not accept, or that may not call the route.
    #[error("Dropbox does not accept the access token ({reason})")]
    LegacyTokenRefused {
        /// What Dropbox said.
        reason: String,
    },
    /// The token or the app has no right to call the route.
    #[error("the Dropbox app lacks the permission {scope} ({route})")]
    MissingScope {
        /// Route of the call.
        route: &'static str,
        /// Name of the permission in the App Console.
        scope: String,
    },
    /// Any other 401, or a token that Dropbox calls malformed.
    #[error("Dropbox does not accept the access token ({route}: {reason})")]
    AccessRefused {
        /// Route of the call.
        route: &'static str,
        /// Tag or text.
        reason: String,
    },
    /// The app itself is switched off.
    #[error("Dropbox says that the app is disabled ({route}: {reason})")]
    AppDisabled {
        /// Route of the call.
        route: &'static str,
        /// Dropbox's words.
        reason: String,
    },
    /// 403: account type, team policy, or the monthly upload quota of a team.
    #[error("Dropbox forbids the call for this account ({route}: {reason})")]
    Forbidden {
        /// Route of the call.
        route: &'static str,
        /// Tags, and Dropbox's message to the user if there is one.
        reason: String,
    },
    /// 409: the route's own error, as the chain of its tags.
    #[error("Dropbox refused {route}: {}", .failure.tags.join("/"))]
    Route {
        /// Route of the call.
        route: &'static str,
        /// The parsed error union.
        failure: RouteFailure,
    },
    /// 400, 404, 3xx and other answers that a correct client does not get.
    #[error("Dropbox rejected the request ({route}: status {status}, {excerpt})")]
    Rejected {
        /// Route of the call.
        route: &'static str,
        /// HTTP status.
        status: u16,
        /// Start of the body.
        excerpt: String,
    },
    /// A success whose body is not what the route promises.
    #[error("Dropbox's answer could not be understood ({route}: {cause})")]
    Malformed {
        /// Route of the call.
        route: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// Another version of a file came than the one that was asked for.
    #[error("the file was changed in Dropbox meanwhile")]
    OtherVersion,
    /// A job that Dropbox carries out in the background did not end in this run's time.
    #[error("Dropbox has not finished {route} in time")]
    Unfinished {
        /// Route of the job.
        route: &'static str,
    },
    /// The run had to stop before the call succeeded.
    #[error("the run was stopped")]
    Stopped(StopReason),
}

/// A route's error union.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFailure {
    /// `.tag`s from the outside in, such as `["path", "conflict", "file"]`.
    pub tags: Vec<String>,
    /// The offset named by `incorrect_offset`.
    pub correct_offset: Option<u64>,
}

/// What is in the way of a file that should be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A file at its path, another one or another version than the one that may be replaced.
    File,
    /// A folder at its path.
    Folder,
    /// A file where one of the folders above it should be.
    FileAbove,
}

impl RouteFailure {
    /// Parses the value of `error`, however it is nested: a member's value stands under a key named
    /// like its tag, a struct's fields stand beside the tag, `files/upload` uses `reason`.
    pub fn parse(error: &Value) -> Self {
        let mut failure = Self::default();
        let mut current = Some(error);
        // The deepest known chain has three members.
        for _ in 0..8 {
            match current {
                Some(Value::String(tag)) => {
                    failure.tags.push(tag.clone());
                    break;
                }
                Some(Value::Object(fields)) => {
                    let Some(tag) = fields.get(".tag").and_then(Value::as_str) else {
                        break;
                    };
                    failure.tags.push(tag.to_owned());
                    if let Some(offset) = fields.get("correct_offset").and_then(Value::as_u64) {
                        failure.correct_offset = Some(offset);
                    }
                    current = fields
                        .get(tag)
                        .filter(|inner| inner.is_object())
                        .or_else(|| fields.get("reason"));
                }
                _ => break,
            }
        }
        failure
    }

    /// Whether `tag` stands anywhere in the chain.
    pub fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

impl Error {
    /// Makes the error out of a failed entry of a batch, or of a 409's body.
    pub fn from_failure(route: &'static str, error: &Value) -> Self {
        let failure = RouteFailure::parse(error);
        if failure.has("too_many_write_operations") {
            return Self::Busy {
                route,
                retry_after: None,
            };
        }
        Self::Route { route, failure }
    }

    /// Makes the error out of an answer whose status is not 200.
    pub fn from_response(route: &'static str, response: Response) -> Self {
        let status = response.status;
        let (is_patience, retry_after) = (response.asks_for_patience(), response.retry_after());
        match response.error_body() {
            Ok(body) => Self::from_answer(route, status, is_patience, retry_after, &body),
            Err(cause) => Self::Network { route, cause },
        }
    }

    /// The same, out of the parts that count.
    pub fn from_answer(
        route: &'static str,
        status: u16,
        is_patience: bool,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let excerpt = http::excerpt(body, EXCERPT_CHARS);
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let error = json.as_ref().and_then(|json| json.get("error"));
        let tag = error.and_then(|error| match error {
            Value::String(tag) => Some(tag.as_str()),
            error => error.get(".tag").and_then(Value::as_str),
        });
        let says_disabled = says_disabled(body);
        match (status, error) {
            (400 | 401 | 403, _) if says_disabled => Self::AppDisabled {
                route,
                reason: excerpt,
            },
            (400, _) => Self::from_text(route, &String::from_utf8_lossy(body), excerpt),
            (401, _) => match tag {
                Some("expired_access_token") => Self::ExpiredAccessToken { route },
                Some("missing_scope") => Self::MissingScope {
                    route,
                    scope: error
                        .and_then(|error| error.get("required_scope"))
                        .and_then(Value::as_str)
                        .unwrap_or("(not named)")
                        .to_owned(),
                },
                _ => Self::AccessRefused {
                    route,
                    reason: tag.map_or(excerpt, str::to_owned),
                },
            },
            (403, _) => Self::Forbidden {
                route,
                reason: forbidden_reason(json.as_ref()).unwrap_or(excerpt),
            },
            (409, Some(error)) => Self::from_failure(route, error),
            _ if is_patience => Self::Busy {
                route,
                retry_after: retry_after.or_else(|| {
                    let seconds = error?.get("retry_after")?.as_f64()?;
                    Duration::try_from_secs_f64(seconds).ok()
                }),
            },
            (500.., _) => Self::Server {
                route,
                status,
                excerpt,
            },
            _ => Self::Rejected {
                route,
                status,
                excerpt,
            },
        }
    }

    /// Dropbox's 400s are plain text; three of them mean something to the admin.
    fn from_text(route: &'static str, text: &str, excerpt: String) -> Self {
        if let Some((_, rest)) = text.split_once("does not have the required scope '") {
            let scope = rest.split('\'').next().unwrap_or_default();
            return Self::MissingScope {
                route,
                scope: http::excerpt(scope.as_bytes(), EXCERPT_CHARS),
            };
        }
        let token_refused = text.contains("access token is malformed")
            || text.contains("Invalid authorization value");
        if token_refused {
            // The text may repeat the token.
            return Self::AccessRefused {
                route,
                reason: "the token is malformed".into(),
            };
        }
        Self::Rejected {
            route,
            status: 400,
            excerpt,
        }
    }

    /// Whether a lookup found nothing: `path/not_found` or `path_lookup/not_found`, nothing else.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Route { failure, .. } => matches!(
                failure.tags.as_slice(),
                [outer, inner, ..] if (outer == "path" || outer == "path_lookup") && inner == "not_found"
            ),
            _ => false,
        }
    }

    /// Whether the account is full.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Route { failure, .. } if failure.has("insufficient_space") || failure.has("insufficient_quota"))
    }

    /// What is in the way of the file, if that is why it was refused.
    pub fn conflict(&self) -> Option<Conflict> {
        let Self::Route { failure, .. } = self else {
            return None;
        };
        let tags = failure.tags.iter().map(String::as_str);
        let mut with = tags.skip_while(|tag| *tag != "conflict").skip(1);
        if !failure.has("conflict") {
            return None;
        }
        match with.next() {
            Some("folder") => Some(Conflict::Folder),
            Some("file_ancestor") => Some(Conflict::FileAbove),
            _ => Some(Conflict::File),
        }
    }

    /// Whether the name of the file is what Dropbox refuses: no other try stores it there.
    pub fn is_name_refused(&self) -> bool {
        const OF_NAMES: [&str; 3] = ["malformed_path", "disallowed_name", "restricted_content"];
        matches!(self, Self::Route { failure, .. } if OF_NAMES.iter().any(|tag| failure.has(tag)))
    }

    /// Whether the call may have been carried out all the same.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Server { .. } | Self::Malformed { .. } => true,
            Self::Route { failure, .. } => failure.has("internal_error"),
            _ => false,
        }
    }

    /// Whether no upload of this run can succeed, so that none needs to be tried.
    pub fn ends_all_uploads(&self) -> bool {
        match self {
            Self::Route { failure, .. } => {
                failure.has("insufficient_space")
                    || failure.has("no_write_permission")
                    || failure.has("access_restricted")
            }
            Self::MissingScope { .. }
            | Self::AccessRefused { .. }
            | Self::LegacyTokenRefused { .. }
            | Self::Forbidden { .. }
            | Self::AppDisabled { .. }
            | Self::ExpiredAccessToken { .. }
            | Self::Stopped(_) => true,
            _ => false,
        }
    }

    /// Whether the upload session is gone or does not hold what it should, so that the file starts
    /// from its beginning.
    pub fn is_session_lost(&self) -> bool {
        let Self::Route { failure, .. } = self else {
            return false;
        };
        let tags: Vec<&str> = failure.tags.iter().map(String::as_str).collect();
        matches!(
            tags.as_slice(),
            ["not_found" | "closed" | "incorrect_offset" | "concurrent_session_invalid_offset"]
                | [
                    "lookup_failed",
                    "not_found" | "not_closed" | "incorrect_offset"
                ]
                | ["concurrent_session_missing_data" | "concurrent_session_not_closed"]
        )
    }

    /// The offset up to which Dropbox has the session's data, where it says so.
    pub fn correct_offset(&self) -> Option<u64> {
        match self {
            Self::Route { failure, .. } => failure.correct_offset,
            _ => None,
        }
    }
}

/// Whether an answer says that the app is disabled, in whatever form: text or JSON.
pub(super) fn says_disabled(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    [
        "app is currently disabled",
        "app is disabled",
        "app has been disabled",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// The tags of a 403, and Dropbox's message to the user if there is one.
fn forbidden_reason(json: Option<&Value>) -> Option<String> {
    let json = json?;
    let tags = RouteFailure::parse(json.get("error")?).tags.join("/");
    let message = json.pointer("/user_message/text").and_then(Value::as_str);
    let message = message.map(|text| format!(", {}", http::excerpt(text.as_bytes(), 500)));
    (!tags.is_empty()).then(|| tags + &message.unwrap_or_default())
}

impl Retryable for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Network {
                cause: http::Error::Network(_),
                ..
            }
            | Self::Server { .. }
            // A body that broke off in a way that still parsed as HTTP.
            | Self::Malformed { .. } => Retry::Backoff,
            Self::Busy { retry_after, .. } => Retry::After(*retry_after),
            Self::Route { failure, .. }
                if failure.has("content_hash_mismatch") || failure.has("internal_error") =>
            {
                Retry::Backoff
            }
            _ => Retry::Never,
        }
    }

    fn stopped(reason: StopReason) -> Self {
        Self::Stopped(reason)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tags(error: Value) -> (String, Option<u64>) {
        let failure = RouteFailure::parse(&error);
        (failure.tags.join("/"), failure.correct_offset)
    }

    #[test]
    fn every_nesting_of_error_unions_is_understood() {
        let chain = |text: &str| (text.to_owned(), None);
        assert_eq!(
            tags(
                json!({".tag":"path","reason":{".tag":"insufficient_space"},"upload_session_id":"x"})
            ),
            chain("path/insufficient_space")
        );
        assert_eq!(
            tags(json!({".tag":"path","path":{".tag":"conflict","conflict":{".tag":"file"}}})),
            chain("path/conflict/file")
        );
        assert_eq!(
            tags(
                json!({".tag":"lookup_failed","lookup_failed":{".tag":"incorrect_offset","correct_offset":5}})
            ),
            ("lookup_failed/incorrect_offset".into(), Some(5))
        );
        assert_eq!(
            tags(json!({".tag":"path","reason":{".tag":"malformed_path","malformed_path":null}})),
            chain("path/malformed_path")
        );
        assert_eq!(tags(json!("reset")), chain("reset"));
        for strange in [json!(null), json!([]), json!({}), json!({".tag":1})] {
            assert_eq!(tags(strange), chain(""));
        }
    }

    #[test]
    fn only_a_lookups_not_found_means_missing() {
        let missing = |error| Error::from_failure("r", &error).is_not_found();
        assert!(missing(json!({".tag":"path","path":{".tag":"not_found"}})));
        assert!(missing(
            json!({".tag":"path_lookup","path_lookup":{".tag":"not_found"}})
        ));
        assert!(!missing(
            json!({".tag":"path","path":{".tag":"not_folder"}})
        ));
        assert!(!missing(json!({".tag":"not_found"})));
    }

    #[test]
    fn write_contention_is_patience_wherever_it_stands() {
        for error in [
            json!({".tag":"too_many_write_operations"}),
            json!({".tag":"path","path":{".tag":"too_many_write_operations"}}),
        ] {
            let error = Error::from_failure("r", &error);
            assert_eq!(error.retry(), Retry::After(None));
        }
    }

    #[test]
    fn a_lost_session_is_told_from_a_missing_path() {
        let lost = |error| Error::from_failure("r", &error).is_session_lost();
        assert!(lost(json!({".tag":"not_found"})));
        assert!(lost(json!({".tag":"closed"})));
        assert!(lost(
            json!({".tag":"lookup_failed","lookup_failed":{".tag":"not_found"}})
        ));
        assert!(!lost(json!({".tag":"path","path":{".tag":"not_found"}})));
    }
}
