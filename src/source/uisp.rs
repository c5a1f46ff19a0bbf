//! UISP's API as a source of backups.
//!
//! `GET nms/backups` lists them, `GET nms/backups/{id}` is the file, `GET nms/settings` names the
//! timezone; header `x-auth-token`. Assumption: fields that UISP does not document are ignored, and
//! only `state` = `success` is a backup that can be copied (see [`rows::State`]).

use std::io::{self, Read};
use std::time::Duration;

use url::Url;

use super::{BLOCK_PATIENCE, Error, Kind, Listing, Source, Stream, rows};
use crate::backup_id::BackupId;
use crate::clock::{Stop, Stopwatch};
use crate::http::retry::with_retry;
use crate::http::{self, Body, Client, Patience, Peer, Response, Trust};
use crate::secret::Secret;
use crate::zone::Zone;

/// Largest list that is read: 100,000 backups have about 30 MB.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest answer that is read where a small one is expected.
const SMALL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A run goes on without the settings after this time.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How much of a foreign text goes into a message.
const EXCERPT_CHARS: usize = 200;
/// How much of a download is looked at before it is taken for a backup.
const SNIFF_BYTES: usize = 512;

/// The part of the settings that counts.
#[derive(serde::Deserialize)]
struct NmsSettings {
    timezone: Option<String>,
}

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
        Ok(Self {
            http: Client::new(Trust::in_host(&base), Peer::Host)?,
            base,
            token,
            stop,
        })
    }

    /// When the run has to stop.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The list of backups as it comes.
    pub(super) fn list_text(&self) -> Result<Vec<u8>, Error> {
        self.json("nms/backups", LIST_BYTES_MAX, &self.stop)
    }

    /// Sends one request without a body that changes something at UISP; one try.
    pub(super) fn post(&self, path: &str) -> Result<Vec<u8>, Error> {
        let method = ureq::http::Method::POST;
        let (url, response) = self.send(method, path, Patience::Call, None)?;
        if !(200..300).contains(&response.status) {
            return Err(status_error(url, response));
        }
        response
            .bytes(SMALL_BYTES_MAX)
            .map_err(|cause| Error::Network { url, cause })
    }

    /// Fetches a JSON document.
    fn json(&self, path: &str, limit: u64, stop: &Stop) -> Result<Vec<u8>, Error> {
        with_retry(stop, path, || {
            let (url, response) = self.get(path, Patience::Call, None)?;
            if response.status != 200 {
                return Err(status_error(url, response));
            }
            response
                .bytes(limit)
                .map_err(|cause| Error::Network { url, cause })
        })
    }

    fn get(
        &self,
        path: &str,
        patience: Patience,
        range: Option<&str>,
    ) -> Result<(String, Response), Error> {
        self.send(ureq::http::Method::GET, path, patience, range)
    }

    fn send(
        &self,
        method: ureq::http::Method,
        path: &str,
        patience: Patience,
        range: Option<&str>,
    ) -> Result<(String, Response), Error> {
        let url = format!("{}{path}", self.base);
        let mut headers = vec![("x-auth-token", self.token.expose())];
        headers.extend(range.map(|range| ("Range", range)));
        let sent = self
            .http
            .send(patience, method, &url, &headers, Body::Empty);
        match sent {
            Ok(response) => Ok((url, response)),
            Err(cause) => Err(Error::Network { url, cause }),
        }
    }
}

impl Source for Uisp {
    fn kind(&self) -> Kind {
        Kind::Uisp
    }

    fn list(&self) -> Result<Listing, Error> {
        let body = self.list_text()?;
        rows::parse(&body).map_err(|error| unexpected("a list of backups", error, &body))
    }

    fn timezone(&self) -> Result<Zone, String> {
        let stop = self.stop.for_at_most(SETTINGS_PATIENCE);
        let body = self
            .json("nms/settings", SMALL_BYTES_MAX, &stop)
            .map_err(|error| error.to_string())?;
        let settings: NmsSettings = serde_json::from_slice(&body)
            .map_err(|error| unexpected("usable settings", error, &body).to_string())?;
        let name = settings
            .timezone
            .ok_or("UISP's settings name no timezone")?;
        name.trim().parse().map_err(|_| {
            let name = http::excerpt(name.as_bytes(), 60);
            format!("UISP's settings name a timezone that is not known, \"{name}\"")
        })
    }

    fn shutdown(&self) {
        self.http.shutdown();
    }

    fn create(&self) -> Result<(), Error> {
        self.create_backup()
    }

    fn open(&self, id: &BackupId, offset: u64) -> Result<Stream, Error> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let path = format!("nms/backups/{id}");
        let (url, response) = self.get(&path, Patience::Transfer, range.as_deref())?;
        let (begins, length) = match response.status {
            200 => (0, response.content_length()),
            206 => content_range(&response, offset)?,
            _ => return Err(status_error(url, response)),
        };
        let media_type = response.header("content-type").unwrap_or_default();
        let is_text = ["text/html", "application/json"]
            .iter()
            .any(|text| media_type.to_ascii_lowercase().starts_with(text));
        if is_text {
            let media_type = media_type.to_owned();
            return Err(match response.error_body() {
                Ok(body) => unexpected("a backup", media_type, &body),
                Err(cause) => Error::Network { url, cause },
            });
        }
        let mut reader = response.into_reader();
        let mut start = Vec::new();
        if begins == 0 {
            start = sniff(&mut reader, url)?;
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
        Ok(Stream {
            reader: Box::new(io::Cursor::new(start).chain(reader)),
            offset: begins,
            length,
        })
    }
}

/// Where a 206 begins, and the whole length if it says so.
fn content_range(response: &Response, asked: u64) -> Result<(u64, Option<u64>), Error> {
    match response.content_range() {
        Some((begins, length)) if begins == asked => Ok((begins, length)),
        _ => {
            let header = response.header("content-range").unwrap_or_default();
            Err(Error::Unexpected {
                expected: "the rest of a backup",
                found: format!("Content-Range {}", http::excerpt(header.as_bytes(), 60)),
            })
        }
    }
}

fn status_error(url: String, response: Response) -> Error {
    let status = response.status;
    if matches!(status, 401 | 403) {
        return Error::Unauthorized { status };
    }
    if response.asks_for_patience() {
        let retry_after = response.retry_after();
        return Error::Busy {
            status,
            retry_after,
        };
    }
    match response.error_body() {
        Ok(body) => Error::Status {
            status,
            excerpt: http::excerpt(&body, EXCERPT_CHARS),
        },
        Err(cause) => Error::Network { url, cause },
    }
}

pub(super) fn unexpected(expected: &'static str, found: impl ToString, body: &[u8]) -> Error {
    Error::Unexpected {
        expected,
        found: format!(
            "{}; it begins with {}",
            found.to_string(),
            http::excerpt(body, EXCERPT_CHARS)
        ),
    }
}

/// The start of a download, for as long as a block may take.
fn sniff(reader: &mut impl Read, url: String) -> Result<Vec<u8>, Error> {
    let mut start = vec![0; SNIFF_BYTES];
    let mut filled = 0;
    let reading = Stopwatch::start();
    while filled < SNIFF_BYTES {
        match reader.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let cause = http::Error::Network(error.to_string());
                return Err(Error::Network { url, cause });
            }
        }
        if reading.elapsed() > BLOCK_PATIENCE {
            return Err(Error::TooSlow {
                read: filled as u64,
            });
        }
    }
    start.truncate(filled);
    Ok(start)
}

/// A login page or an error message that came with status 200 and the media type of a backup. A backup
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn no_start_of_a_download_panics(start in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = looks_like_an_error_page(&start);
        }
    }
}
