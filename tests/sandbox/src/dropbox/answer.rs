//! Answers and refusals in Dropbox's forms.

use super::arguments::BadArgument;
use crate::http::{Body, Response};
use serde_json::{Value, json};
use std::io::{self, Read};

/// What a route returns when all is well.
pub(super) enum Answer {
    /// JSON in the body.
    Json(Value),
    /// Metadata in a header, the file in the body.
    File {
        metadata: Value,
        etag: String,
        reader: Box<dyn Read + Send>,
        length: u64,
        /// `Content-Range` of a partial answer.
        range: Option<String>,
    },
    /// The client's copy is still good.
    NotModified,
}

/// What a route returns when it refuses.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 400 with plain text, without the leading `Error in call to ...`.
    BadInput(String),
    /// 400 with plain text, complaint about the argument.
    BadArgument(String),
    /// 401 with an error of the authorization.
    Unauthorized(Value),
    /// 409 with the route's own error.
    Route(Value),
    /// 429 because another commit holds the namespace.
    WriteContention,
    /// 413 without JSON, as a gateway in front of Dropbox answers.
    TooLargeAtTheEdge,
    /// 416 for a range that the file does not have.
    RangeNotSatisfiable(u64),
    /// The client went away.
    Gone(io::Error),
}

impl From<BadArgument> for Refusal {
    fn from(bad: BadArgument) -> Self {
        Self::BadArgument(bad.0)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A union member without a value.
pub(super) fn tag(name: &str) -> Value {
    json!({ ".tag": name })
}

/// A union member whose value is a union or a primitive: nested under a key named like the tag.
pub(super) fn nested(name: &str, value: Value) -> Value {
    json!({ ".tag": name, name: value })
}

/// A union member whose value is a struct: its fields stand beside the tag.
pub(super) fn flattened(name: &str, fields: Value) -> Value {
    let mut value = tag(name);
    if let (Value::Object(target), Value::Object(fields)) = (&mut value, fields) {
        target.extend(fields);
    }
    value
}

impl Answer {
    pub(super) fn into_response(self) -> Response {
        match self {
            Self::Json(value) => Response::json(200, &value),
            Self::NotModified => Response::empty(304),
            Self::File {
                metadata,
                etag,
                reader,
                length,
                range,
            } => {
                let status = if range.is_some() { 206 } else { 200 };
                let mut response = Response {
                    status,
                    headers: vec![
                        ("Content-Type".into(), "application/octet-stream".into()),
                        ("Dropbox-API-Result".into(), header_safe(&metadata)),
                        ("ETag".into(), etag),
                        ("Accept-Ranges".into(), "bytes".into()),
                    ],
                    body: Body::Stream {
                        reader,
                        length: Some(length),
                    },
                };
                if let Some(range) = range {
                    response = response.with_header("Content-Range", range);
                }
                response
            }
        }
    }
}

impl Refusal {
    /// The response to a call of `function` whose argument came in `place`. `serial` varies the dots at
    /// the end of `error_summary`, which clients must not rely on.
    pub(super) fn into_response(
        self,
        function: &str,
        place: &str,
        serial: u64,
    ) -> io::Result<Response> {
        let call = format!("Error in call to API function \"{function}\": ");
        Ok(match self {
            Self::BadInput(text) => Response::text(400, format!("{call}{text}")),
            Self::BadArgument(text) => Response::text(400, format!("{call}{place}: {text}")),
            Self::Unauthorized(error) => Response::json(401, &envelope(error, serial)),
            Self::Route(error) => Response::json(409, &envelope(error, serial)),
            Self::WriteContention => {
                Response::json(429, &write_contention(serial)).with_header("Retry-After", "1")
            }
            Self::TooLargeAtTheEdge => {
                Response::html(413, "<html><h1>413 Request Entity Too Large</h1></html>")
            }
            Self::RangeNotSatisfiable(size) => {
                Response::empty(416).with_header("Content-Range", format!("bytes */{size}"))
            }
            Self::Gone(error) => return Err(error),
        })
    }
}

/// The envelope of JSON errors.
pub(super) fn envelope(error: Value, serial: u64) -> Value {
    json!({ "error_summary": summary(&error, serial), "error": error })
}

/// In a 429 the error is a struct: `reason` is the union, and there is no tag at the top.
fn write_contention(serial: u64) -> Value {
    json!({
        "error_summary": format!("too_many_write_operations/{}", dots(serial)),
        "error": { "reason": tag("too_many_write_operations") },
    })
}

fn summary(error: &Value, serial: u64) -> String {
    let mut summary = String::new();
    let mut next = Some(error);
    while let Some(value) = next {
        let Some(name) = value.get(".tag").and_then(Value::as_str) else {
            break;
        };
        summary.push_str(name);
        summary.push('/');
        // `files/upload` puts its inner union under "reason", beside the tag.
        next = value.get(name).or_else(|| value.get("reason"));
    }
    summary + dots(serial)
}

fn dots(serial: u64) -> &'static str {
    &"..."[..(serial % 4) as usize]
}

/// JSON with everything but printable ASCII escaped, so that it may stand in a header.
pub(super) fn header_safe(value: &Value) -> String {
    let mut safe = String::new();
    for unit in value.to_string().encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(character @ ' '..='~') => safe.push(character),
            _ => safe.push_str(&format!("\\u{unit:04x}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_every_tag_and_ends_in_varying_dots() {
        let conflict = nested("conflict", tag("file"));
        let upload = flattened(
            "path",
            json!({"reason": conflict, "upload_session_id": "x"}),
        );
        assert_eq!(summary(&upload, 1), "path/conflict/file/.");
        let offset = flattened("incorrect_offset", json!({"correct_offset": 5}));
        assert_eq!(
            summary(&nested("lookup_failed", offset), 0),
            "lookup_failed/incorrect_offset/"
        );
    }

    #[test]
    fn headers_carry_escaped_utf_16_units() {
        assert_eq!(
            header_safe(&json!({"name": "\u{fc}\u{7f}\u{1f600}"})),
            r#"{"name":"\u00fc\u007f\ud83d\ude00"}"#
        );
    }
}
