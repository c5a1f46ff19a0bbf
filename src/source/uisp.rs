//! UISP's API as a source of backups.
//!
//! `GET nms/backups` lists them, `GET nms/backups/{id}` is the file, `GET nms/settings` names the
//! timezone; header `x-auth-token`. Assumption: fields that UISP does not document are ignored, and
//! only `state` = `success` is a backup that can be copied.

use std::collections::BTreeSet;
use std::io::{self, Read};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use url::Url;

use super::{Backup, Download, Error, Listing, Source};
use crate::backup_id::BackupId;
use crate::clock::Stop;
use crate::http::retry::with_retry;
use crate::http::{self, Body, Client, Patience, Peer, Response, Trust};
use crate::secret::Secret;

/// Largest list or settings answer that is read: 100,000 backups have about 30 MB.
const JSON_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// How much of a foreign text goes into a message.
const EXCERPT_CHARS: usize = 200;
/// How much of a download is looked at before it is taken for a backup.
const SNIFF_BYTES: usize = 512;
/// Problems of a list that are described one by one.
const PROBLEMS_MAX: usize = 20;

/// UISP's API at one address.
#[derive(Debug)]
pub struct Uisp {
    http: Client,
    base: Url,
    token: Secret,
    stop: Stop,
}

impl Uisp {
    /// A client for the API at `base`, which ends in `/api/v2.1/`.
    ///
    /// # Errors
    /// [`http::Error`] if trust cannot be set up.
    pub fn new(base: Url, token: Secret, stop: Stop) -> Result<Self, http::Error> {
        // The host's own certificate is self-signed; nobody sits between us and this machine.
        let trust = if base.scheme() == "https" && http::is_this_machine(&base) {
            Trust::AnyCertificate
        } else {
            Trust::Roots
        };
        Ok(Self {
            http: Client::new(trust, Peer::Host)?,
            base,
            token,
            stop,
        })
    }

    /// Ends every request in flight.
    pub fn shutdown(&self) {
        self.http.shutdown();
    }

    /// The list of backups, in any state.
    ///
    /// # Errors
    /// [`Error`] unless the answer is a JSON list; rows that are not usable are no error, see
    /// [`Listing::problems`].
    pub fn list(&self) -> Result<Listing, Error> {
        let body = self.json("nms/backups")?;
        let rows = match serde_json::from_slice(&body) {
            Ok(Value::Array(rows)) => rows,
            Ok(_) => return Err(unexpected("a list of backups", "other JSON", &body)),
            Err(error) => return Err(unexpected("a list of backups", error, &body)),
        };
        Ok(parse_rows(&rows))
    }

    /// The timezone of the server's settings.
    ///
    /// # Errors
    /// A text that says why it is not known.
    pub fn timezone(&self) -> Result<Tz, String> {
        let body = self
            .json("nms/settings")
            .map_err(|error| error.to_string())?;
        let settings: Value = serde_json::from_slice(&body)
            .map_err(|error| unexpected("JSON", error, &body).to_string())?;
        let name = settings
            .get("timezone")
            .and_then(Value::as_str)
            .ok_or("UISP's settings name no timezone")?;
        name.trim().parse().map_err(|_| {
            let name = http::excerpt(name.as_bytes(), 60);
            format!("UISP's settings name a timezone that is not known, \"{name}\"")
        })
    }

    /// Fetches a small JSON document.
    fn json(&self, path: &str) -> Result<Vec<u8>, Error> {
        with_retry(&self.stop, path, || {
            let (url, response) = self.get(path, Patience::Call, None)?;
            if response.status != 200 {
                return Err(status_error(response));
            }
            response
                .bytes(JSON_BYTES_MAX)
                .map_err(|cause| Error::Network { url, cause })
        })
    }

    fn get(
        &self,
        path: &str,
        patience: Patience,
        range: Option<&str>,
    ) -> Result<(String, Response), Error> {
        let url = format!("{}{path}", self.base);
        let mut headers = vec![("x-auth-token", self.token.expose())];
        headers.extend(range.map(|range| ("Range", range)));
        let sent = self.http.send(
            patience,
            ureq::http::Method::GET,
            &url,
            &headers,
            Body::Empty,
        );
        match sent {
            Ok(response) => Ok((url, response)),
            Err(cause) => Err(Error::Network { url, cause }),
        }
    }
}

impl Source for Uisp {
    fn name(&self) -> &'static str {
        "UISP"
    }

    fn open(&self, id: &BackupId, offset: u64) -> Result<Download, Error> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let path = format!("nms/backups/{id}");
        let (url, response) = self.get(&path, Patience::Transfer, range.as_deref())?;
        let (begins, length) = match response.status {
            200 => (0, response.content_length()),
            206 => content_range(&response, offset)?,
            _ => return Err(status_error(response)),
        };
        let media_type = response.header("content-type").unwrap_or_default();
        let is_text = ["text/html", "application/json"]
            .iter()
            .any(|text| media_type.to_ascii_lowercase().starts_with(text));
        if is_text {
            let media_type = media_type.to_owned();
            let body = response.error_body();
            return Err(unexpected("a backup", media_type, &body));
        }
        let mut reader = response.into_reader();
        let mut start = Vec::new();
        if begins == 0 {
            (&mut reader)
                .take(SNIFF_BYTES as u64)
                .read_to_end(&mut start)
                .map_err(|error| Error::Network {
                    url,
                    cause: http::Error::Network(error.to_string()),
                })?;
            if start.is_empty() {
                return Err(Error::Unexpected {
                    expected: "a backup",
                    found: "nothing at all".into(),
                });
            }
            if looks_like_an_error_page(&start) {
                return Err(unexpected("a backup", "a page or message", &start));
            }
        }
        Ok(Download {
            reader: Box::new(io::Cursor::new(start).chain(reader)),
            offset: begins,
            length,
        })
    }
}

/// Where a 206 begins, and the whole length if it says so.
fn content_range(response: &Response, asked: u64) -> Result<(u64, Option<u64>), Error> {
    let header = response.header("content-range").unwrap_or_default();
    let parsed = (|| {
        let (range, length) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let begins: u64 = range.split_once('-')?.0.trim().parse().ok()?;
        Some((begins, length.trim().parse().ok()))
    })();
    match parsed {
        Some((begins, length)) if begins == asked => Ok((begins, length)),
        _ => Err(Error::Unexpected {
            expected: "the rest of a backup",
            found: format!("Content-Range {}", http::excerpt(header.as_bytes(), 60)),
        }),
    }
}

fn status_error(response: Response) -> Error {
    let status = response.status;
    if matches!(status, 401 | 403) {
        return Error::Unauthorized { status };
    }
    Error::Status {
        status,
        excerpt: http::excerpt(&response.error_body(), EXCERPT_CHARS),
    }
}

fn unexpected(expected: &'static str, found: impl ToString, body: &[u8]) -> Error {
    Error::Unexpected {
        expected,
        found: format!(
            "{}; it begins with {}",
            found.to_string(),
            http::excerpt(body, EXCERPT_CHARS)
        ),
    }
}

/// A login page or an error message that came with status 200 and no honest media type. A backup
/// is a compressed archive, so printable text is never the start of one.
fn looks_like_an_error_page(start: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(start) else {
        return false;
    };
    let text = text.trim_start().to_ascii_lowercase();
    ["<!doctype", "<html", "<?xml", "{\""]
        .iter()
        .any(|mark| text.starts_with(mark))
}

/// Sorts the rows of the list into usable backups and problems.
fn parse_rows(rows: &[Value]) -> Listing {
    let mut listing = Listing::default();
    let mut known = BTreeSet::new();
    let mut problems = 0;
    for (index, row) in rows.iter().enumerate() {
        let parsed = parse_row(row).and_then(|backup| {
            if known.insert(backup.id.clone()) {
                Ok(backup)
            } else {
                Err(format!("its id {} stands in another row too", backup.id))
            }
        });
        match parsed {
            Ok(backup) => listing.backups.push(backup),
            Err(problem) => {
                problems += 1;
                if problems <= PROBLEMS_MAX {
                    listing
                        .problems
                        .push(format!("row {}: {problem}", index + 1));
                }
            }
        }
    }
    if problems > PROBLEMS_MAX {
        let more = problems - PROBLEMS_MAX;
        listing.problems.push(format!("and {more} more rows"));
    }
    listing
}

fn parse_row(row: &Value) -> Result<Backup, String> {
    let text = |field: &str| match row.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim()),
        Some(_) => Err(format!("its {field} is no text")),
        None => Err(format!("it has no {field}")),
    };
    let id = text("id")?;
    let id = BackupId::parse(id).map_err(|error| {
        let id = http::excerpt(id.as_bytes(), 40);
        format!("its id \"{id}\" is not usable, {error}")
    })?;
    let state = text("state")?;
    let created_at = text("createdAt")?;
    let created_at = parse_time(created_at).ok_or_else(|| {
        let time = http::excerpt(created_at.as_bytes(), 40);
        format!("its createdAt \"{time}\" is no ISO 8601 time")
    })?;
    Ok(Backup {
        id,
        finished: state == "success",
        created_at,
    })
}

/// ISO 8601 in the forms that servers write: `T` or a space, with or without seconds and fraction,
/// `Z`, `+01:00`, `+0100` or `+01`. A time without offset is taken as UTC.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim().replacen(' ', "T", 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return in_range(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text, format) {
            return in_range(time.to_utc());
        }
    }
    let text = text.trim_end_matches(['Z', 'z']);
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return in_range(time.and_utc());
        }
    }
    None
}

/// A file name has room for four digits of year, in any timezone.
fn in_range(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let last = NaiveDate::from_ymd_opt(9999, 1, 1)?;
    (first..last).contains(&time.date_naive()).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_strict_about_three_fields_and_blind_to_others() {
        let listing = parse_rows(&[
            json!({"id":"a","state":"success","createdAt":"2020-12-04T17:28:00.123Z","size":1}),
            json!({"id":"b","state":"in-progress","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"c","state":"something new","createdAt":"2020-12-04 17:28"}),
        ]);
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let finished: Vec<bool> = listing.backups.iter().map(|b| b.finished).collect();
        assert_eq!(finished, [true, false, false]);
    }

    #[test]
    fn one_bad_row_does_not_hide_the_good_ones() {
        let good = json!({"id":"a","state":"success","createdAt":"2020-12-04T17:28:00Z"});
        for bad in [
            json!(null),
            json!("a"),
            json!({"state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":7,"state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"../x","state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","state":"","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","state":"success"}),
            json!({"id":"b","state":"success","createdAt":"yesterday"}),
            json!({"id":"b","state":"success","createdAt":1607102880}),
            good.clone(),
            json!({"id":"A","state":"success","createdAt":"2020-12-04T17:28:00Z"}),
        ] {
            let listing = parse_rows(&[good.clone(), bad.clone()]);
            assert_eq!(listing.backups.len(), 1, "{bad}");
            assert_eq!(listing.problems.len(), 1, "{bad}");
        }
    }

    #[test]
    fn problems_are_counted_not_listed_without_end() {
        let listing = parse_rows(&vec![json!(null); 1000]);
        assert_eq!(listing.problems.len(), PROBLEMS_MAX + 1);
        assert!(listing.problems.last().unwrap().contains("980 more"));
    }

    #[test]
    fn every_iso_form_of_a_time_is_read() {
        for text in [
            "2020-12-04T17:28:00Z",
            "2020-12-04T17:28:00.000Z",
            "2020-12-04 17:28:00",
            "2020-12-04T17:28",
            "2020-12-04T17:28Z",
            "2020-12-04T18:28:00+01:00",
            "2020-12-04T18:28:00.0+0100",
            "2020-12-04T18:28:00+01",
            "2020-12-04T13:28-0400",
        ] {
            let time = parse_time(text).map(|time| time.to_rfc3339());
            assert_eq!(time.as_deref(), Some("2020-12-04T17:28:00+00:00"), "{text}");
        }
        for text in [
            "",
            "now",
            "2020-13-04T17:28:00Z",
            "12345-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn pages_and_messages_are_no_backups() {
        for page in [
            "<!DOCTYPE html><p>Log in",
            " \n<HTML>",
            "{\"statusCode\":401}",
            "<?xml ?>",
        ] {
            assert!(looks_like_an_error_page(page.as_bytes()), "{page}");
        }
        for backup in [
            &b"\x1f\x8b\x08\0"[..],
            b"PK\x03\x04",
            b"<html>\xff\xfe",
            b"backup",
        ] {
            assert!(!looks_like_an_error_page(backup), "{backup:?}");
        }
    }

    proptest! {
        #[test]
        fn no_row_and_no_time_panics(text in "\\PC{0,40}", id in any::<String>()) {
            let _ = parse_time(&text);
            let _ = parse_rows(&[json!({"id": id, "state": text, "createdAt": text})]);
            let _ = looks_like_an_error_page(text.as_bytes());
        }
    }
}
