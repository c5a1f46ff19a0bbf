//! `files/download`: one version of a file, read from wherever it is needed.

use std::io::{self, Read};

use serde_json::json;

use super::files::FileMetadata;
use super::{Dropbox, Error, header_safe, to_json};
use crate::http::retry::with_retry;
use crate::http::{self, Body, Patience, Response};

const ROUTE: &str = "files/download";

/// One version of a file on its way. An interruption does not end it: it goes on where it was.
pub struct Download<'a> {
    dropbox: &'a Dropbox,
    path: String,
    rev: String,
    size: u64,
    position: u64,
    stream: Option<Box<dyn Read + Send>>,
}

impl<'a> Download<'a> {
    /// Will read `file`, which is at `path`, from the byte `position` on.
    pub fn new(dropbox: &'a Dropbox, path: String, file: &FileMetadata, position: u64) -> Self {
        Self {
            dropbox,
            path,
            rev: file.rev.clone(),
            size: file.size,
            position,
            stream: None,
        }
    }

    /// Bytes that have been read, those before the beginning included.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next bytes into `buffer`; 0 at the end, never before it.
    ///
    /// # Errors
    /// [`Error`], once going on has been tried often enough; [`Error::OtherVersion`] if it is no
    /// longer that version.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let dropbox = self.dropbox;
        let count = with_retry(&dropbox.stop, ROUTE, || {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => self.open()?,
            };
            let count = read_some(&mut stream, &mut buffer[..wanted]).map_err(broken)?;
            self.stream = Some(stream);
            Ok::<_, Error>(count)
        })?;
        self.position += count as u64;
        Ok(count)
    }

    /// Opens the stream at the position.
    fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        let argument = header_safe(&to_json(ROUTE, &json!({"path": self.path}))?);
        let range = format!("bytes={}-", self.position);
        let mut headers = vec![("Dropbox-API-Arg", argument.as_str())];
        if self.position > 0 {
            headers.push(("Range", &range));
        }
        let host = &self.dropbox.hosts.content;
        let response = self
            .dropbox
            .send(ROUTE, host, Patience::Download, &headers, Body::Empty)?;
        if !matches!(response.status, 200 | 206) {
            return Err(match response.status {
                // The version that was asked for is longer.
                416 => Error::OtherVersion,
                _ => self.dropbox.explain(Error::from_response(ROUTE, response)),
            });
        }
        if rev_of(&response)? != self.rev {
            return Err(Error::OtherVersion);
        }
        let begins = match response.status {
            206 => {
                let range = response.content_range();
                range.ok_or_else(|| malformed("the range is missing"))?.0
            }
            _ => 0,
        };
        let mut stream: Box<dyn Read + Send> = Box::new(response.into_reader());
        let skipped = self
            .position
            .checked_sub(begins)
            .ok_or_else(|| malformed("it begins too late"))?;
        let passed = io::copy(&mut stream.by_ref().take(skipped), &mut io::sink());
        match passed.map_err(broken)? {
            count if count == skipped => Ok(stream),
            _ => Err(broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// At least one byte; the end of the stream is an error, because more was promised.
fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The version that an answer is of.
fn rev_of(response: &Response) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Described {
        rev: String,
    }
    let header = response.header("dropbox-api-result").unwrap_or_default();
    let described: Result<Described, _> = serde_json::from_str(header);
    described
        .map(|described| described.rev)
        .map_err(|_| malformed("it does not describe the file"))
}

fn malformed(cause: &str) -> Error {
    Error::Malformed {
        route: ROUTE,
        cause: cause.to_owned(),
    }
}

fn broken(error: io::Error) -> Error {
    Error::Network {
        route: ROUTE,
        cause: http::Error::Network(error.to_string()),
    }
}
