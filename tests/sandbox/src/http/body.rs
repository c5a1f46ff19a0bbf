//! The body of a request as a stream: framed by length or in chunks, counted, and paced by the shaped line.

use super::connection::{Connection, malformed};
use super::link::Bucket;
use super::message::Head;
use super::stop::Stop;
use super::traffic::{Shape, Ticket, Traffic};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// What the head says about the body.
///
/// # Errors
/// Contradictory or unreadable framing headers: refusing them is what keeps request smuggling away from
/// real servers.
pub(super) fn framing(head: &Head) -> Result<Framing, String> {
    let lengths = head.header_count("content-length");
    match (head.header("transfer-encoding"), lengths) {
        (Some(_), 1..) => Err("both Content-Length and Transfer-Encoding".into()),
        (Some(coding), 0) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(coding), 0) => Err(format!("unknown transfer coding {coding:?}")),
        (None, 0) => Ok(Framing::Length(0)),
        (None, 1) => {
            let text = head.header("content-length").unwrap_or_default();
            let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse() {
                Ok(length) if is_digits => Ok(Framing::Length(length)),
                _ => Err(format!("unreadable Content-Length {text:?}")),
            }
        }
        (None, _) => Err("more than one Content-Length".into()),
    }
}

/// The stream of a request's body.
pub struct RequestBody<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) framing: Framing,
    pub(super) progress: Progress,
    pub(super) awaits_continue: bool,
    pub(super) pace: Pace<'a>,
    pub(super) log: (&'a Traffic, Ticket),
}

/// How far a body has been read.
#[derive(Debug, Default)]
pub(super) struct Progress {
    total: u64,
    chunk_left: u64,
    is_ended: bool,
}

/// How fast bytes may move.
pub(super) struct Pace<'a> {
    pub(super) shape: Option<Arc<Shape>>,
    pub(super) own: Option<Bucket>,
    pub(super) stop: &'a Stop,
}

impl Pace<'_> {
    /// The largest piece to move at once.
    pub(super) fn piece_bytes(&self) -> usize {
        self.buckets()
            .map(Bucket::piece_bytes)
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Waits until the line has carried so many bytes.
    pub(super) fn wait_for(&self, bytes: usize) {
        let wait = self.buckets().map(|bucket| bucket.book(bytes)).max();
        if let Some(wait) = wait.filter(|wait| wait.as_millis() > 0) {
            self.stop.sleep(wait);
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let total = self.shape.as_ref().and_then(|shape| shape.total.as_ref());
        total.into_iter().chain(self.own.as_ref())
    }
}

impl RequestBody<'_> {
    /// The announced length; `None` for a chunked body.
    pub fn announced_bytes(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    /// Reads the rest and throws it away, so that the connection can carry the next request.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }

    /// How many bytes may be read before the framing has to be looked at again; 0 at the end.
    fn readable(&mut self) -> io::Result<u64> {
        match self.framing {
            Framing::Length(length) => Ok(length - self.progress.total),
            Framing::Chunked if self.progress.is_ended => Ok(0),
            Framing::Chunked if self.progress.chunk_left > 0 => Ok(self.progress.chunk_left),
            Framing::Chunked => {
                if self.progress.total > 0 && !self.connection.read_line()?.is_empty() {
                    return Err(malformed("a chunk is longer than it said"));
                }
                let line = self.connection.read_line()?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16)
                    .map_err(|_| malformed("a chunk has no readable size"))?;
                if size == 0 {
                    while !self.connection.read_line()?.is_empty() {}
                    self.progress.is_ended = true;
                }
                self.progress.chunk_left = size;
                Ok(size)
            }
        }
    }
}

impl Read for RequestBody<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if std::mem::take(&mut self.awaits_continue) {
            self.connection
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.connection.flush()?;
        }
        let readable = usize::try_from(self.readable()?).unwrap_or(usize::MAX);
        if readable == 0 {
            return Ok(0);
        }
        let want = out.len().min(readable).min(self.pace.piece_bytes());
        let count = self.connection.read(&mut out[..want])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pace.wait_for(count);
        self.progress.total += count as u64;
        self.progress.chunk_left = self.progress.chunk_left.saturating_sub(count as u64);
        let (traffic, ticket) = self.log;
        traffic.update(ticket, |exchange| {
            exchange.body_bytes += count as u64;
            let mut sum = crc32fast::Hasher::new_with_initial(exchange.body_sum);
            sum.update(&out[..count]);
            exchange.body_sum = sum.finalize();
        });
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        Head {
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..Head::default()
        }
    }

    #[test]
    fn framing_is_read_strictly() {
        assert_eq!(framing(&head(&[])), Ok(Framing::Length(0)));
        assert_eq!(
            framing(&head(&[("Content-Length", "7")])),
            Ok(Framing::Length(7))
        );
        assert_eq!(
            framing(&head(&[("Transfer-Encoding", "chunked")])),
            Ok(Framing::Chunked)
        );
        for refused in [
            vec![("Content-Length", "+7")],
            vec![("Content-Length", "")],
            vec![("Content-Length", "7"), ("Content-Length", "7")],
            vec![("Content-Length", "7"), ("Transfer-Encoding", "chunked")],
            vec![("Transfer-Encoding", "gzip")],
        ] {
            assert!(framing(&head(&refused)).is_err(), "{refused:?}");
        }
    }
}
