//! One connection as bytes: plain or TLS, with the buffer between the head and the body of a request.

use super::message::Head;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Heads above this are refused; Dropbox's longest legitimate one carries a token of a few KiB and an argument.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// A TCP socket that the server can shut down while the connection's thread uses it.
#[derive(Debug, Clone)]
pub(super) struct Socket(pub(super) Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Wire {
    Plain(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
}

/// Why no request head could be read.
#[derive(Debug)]
pub(super) enum HeadError {
    /// What came is no HTTP/1.1 request.
    Malformed(String),
    /// The connection is gone.
    Gone,
}

/// A connection with its read buffer.
pub(super) struct Connection {
    wire: Wire,
    socket: Socket,
    buffer: Vec<u8>,
    consumed: usize,
}

impl Connection {
    pub(super) fn new(socket: Socket, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        socket.0.set_nodelay(true)?;
        let wire = match tls {
            None => Wire::Plain(socket.clone()),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                Wire::Tls(Box::new(StreamOwned::new(session, socket.clone())))
            }
        };
        Ok(Self {
            wire,
            socket,
            buffer: Vec::new(),
            consumed: 0,
        })
    }

    /// Reads the head of the next request; `None` when the client has closed in between.
    pub(super) fn read_head(&mut self) -> Result<Option<Head>, HeadError> {
        loop {
            let unread = &self.buffer[self.consumed..];
            if !unread.is_empty()
                && let Some((head, length)) = parse_head(unread)?
            {
                self.consumed += length;
                return Ok(Some(head));
            }
            if unread.len() > HEAD_BYTES_MAX {
                return Err(HeadError::Malformed("the head is too large".into()));
            }
            let is_between = unread.is_empty();
            match self.fill() {
                Ok(0) if is_between => return Ok(None),
                Ok(0) | Err(_) => return Err(HeadError::Gone),
                Ok(_) => {}
            }
        }
    }

    /// Reads one line of a chunked body's framing, without its line end.
    pub(super) fn read_line(&mut self) -> io::Result<String> {
        loop {
            let unread = &self.buffer[self.consumed..];
            if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&unread[..end]).into_owned();
                self.consumed += end + 2;
                return Ok(line);
            }
            if unread.len() > 1_024 {
                return Err(malformed("a line of the chunked framing is too long"));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + 8 * 1024, 0);
        let result = match &mut self.wire {
            Wire::Plain(socket) => socket.read(&mut self.buffer[filled..]),
            Wire::Tls(stream) => stream.read(&mut self.buffer[filled..]),
        };
        self.buffer
            .truncate(filled + *result.as_ref().unwrap_or(&0));
        result
    }

    /// Waits until the client closes, or the server shuts the socket.
    pub(super) fn wait_for_the_end(&mut self) {
        let mut scrap = [0; 1_024];
        while matches!(self.read(&mut scrap), Ok(count) if count > 0) {}
    }

    /// Closes politely: what was written arrives, then the end.
    pub(super) fn close(self) {
        let _ = self.socket.0.shutdown(std::net::Shutdown::Both);
    }

    /// Closes with a TCP reset: the client sees an error, and unsent bytes are dropped.
    pub(super) fn reset(self) {
        // A socket that lingers for no time is reset when its last handle is dropped, which is now: the
        // server's list holds it weakly.
        let _ = socket2::SockRef::from(&*self.socket.0).set_linger(Some(Duration::ZERO));
    }
}

impl Read for Connection {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let unread = &self.buffer[self.consumed..];
        if !unread.is_empty() {
            let count = unread.len().min(out.len());
            out[..count].copy_from_slice(&unread[..count]);
            self.consumed += count;
            return Ok(count);
        }
        match &mut self.wire {
            Wire::Plain(socket) => socket.read(out),
            Wire::Tls(stream) => stream.read(out),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

pub(super) fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The head and its length in bytes, or `None` when it is not whole yet.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(HeadError::Malformed(error.to_string())),
    };
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        is_http_1_0: request.version == Some(0),
        headers: request
            .headers
            .iter()
            .map(|header| {
                let value = header.value.iter().map(|byte| char::from(*byte)).collect();
                (header.name.to_owned(), value)
            })
            .collect(),
    };
    if !head.target.starts_with('/') {
        return Err(HeadError::Malformed("the target is no path".into()));
    }
    if head.header_count("host") != 1 && !head.is_http_1_0 {
        return Err(HeadError::Malformed("not exactly one Host header".into()));
    }
    Ok(Some((head, length)))
}
