//! One HTTP client: timeouts, trust, proxy and size limits. It knows no endpoint.
//!
//! Redirects are never followed: no request of ours expects one, and credentials must not travel
//! to a host that an answer names.

mod ahead;
pub mod pace;
pub mod proxy;
pub mod retry;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use ureq::http;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;

use crate::clock;
use crate::secret;
use crate::text;
use ahead::Ahead;
use pace::Pace;

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A small request is over after this time; Dropbox's own SDK waits as long for silence.
const CALL_TIMEOUT: Duration = Duration::from_secs(100);
/// The same where nothing depends on the answer.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer may take hours, but not this long without a byte moving.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(100);
/// Between the last byte of an upload's body and its answer. The kernel may hold most of a chunk by
/// then, which takes minutes on a slow uplink that several connections share.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
/// Buffer for what a server on the internet answers.
const ANSWER_BUFFER_BYTES: usize = 16 * 1024;
/// Buffer for what it is sent; every connection has two, one before and one behind TLS.
const UPLOAD_BUFFER_BYTES: usize = 32 * 1024;
/// Requests in flight to one host, at most; their connections are kept open.
const CONNECTIONS_MAX: usize = 16;
/// How much of a foreign text is looked at for an excerpt.
const EXCERPT_BYTES_MAX: usize = 16 * 1024;
/// Largest body of an error answer that is read.
const ERROR_BODY_MAX: u64 = 64 * 1024;

/// Whom to trust at the other end of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The built-in public roots, and those in the file that `SSL_CERT_FILE` names.
    Roots,
    /// Any certificate. Only for a server on this very machine, see [`is_this_machine`].
    AnyCertificate,
}

impl Trust {
    /// For UISP at `url`: on this machine its certificate is self-signed, and nobody sits in between.
    pub fn in_host(url: &url::Url) -> Self {
        if url.scheme() == "https" && is_this_machine(url) {
            Self::AnyCertificate
        } else {
            Self::Roots
        }
    }
}

/// Whether an `https` URL points to this machine by one of the two names for which UISP's own SDK
/// skips verification (`localhost`, `127.0.0.1`).
pub fn is_this_machine(url: &url::Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
}

/// Whether an URL's host is on the loopback interface, where plain HTTP can be accepted.
pub fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why no complete answer arrived.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made, broke, or fell silent.
    #[error("{0}")]
    Network(String),
    /// The other end's certificate was not accepted, or TLS failed.
    #[error("{0}")]
    Tls(String),
    /// The client could not be set up or the answer was not HTTP.
    #[error("{0}")]
    Protocol(String),
}

impl From<ureq::Error> for Error {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::HostNotFound => {
                Self::Network("the host name could not be resolved".into())
            }
            ureq::Error::Timeout(which) => Self::Network(format!("no answer in time ({which})")),
            // rustls reports a refused certificate through `io::Error`.
            ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                Self::Tls(io.to_string())
            }
            ureq::Error::Io(io) => Self::Network(io.to_string()),
            ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => {
                Self::Network("the connection failed".into())
            }
            // A chunked body without its end, among others.
            ureq::Error::Protocol(cause) => Self::Network(format!("broken HTTP: {cause}")),
            ureq::Error::ConnectProxyFailed(cause) => {
                Self::Network(format!("the proxy refused the connection: {cause}"))
            }
            ureq::Error::Rustls(cause) => Self::Tls(cause.to_string()),
            ureq::Error::Tls(cause) => Self::Tls(cause.to_owned()),
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Nothing, and no `Content-Length` where the method needs none.
    Empty,
    /// These bytes.
    Bytes(&'a [u8]),
    /// These buffers, one behind the other, at the pace that is set.
    Parts(&'a [&'a [u8]]),
}

/// An answer whose body has not been read yet.
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    head: http::HeaderMap,
    body: ureq::Body,
}

impl Response {
    /// A header's value, if it is there and plain ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the server asks for patience: with 429, or with a server error that names a time.
    pub fn asks_for_patience(&self) -> bool {
        self.status == 429 || (self.status >= 500 && self.retry_after().is_some())
    }

    /// The wait that a `Retry-After` header asks for, in seconds or until a time by the server's clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        let seconds = match text.parse::<f64>() {
            Ok(seconds) => seconds,
            Err(_) => {
                let until = date(text)?;
                let now = self.date().unwrap_or_else(clock::now);
                (until - now).num_seconds() as f64
            }
        };
        (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e9)))
    }

    /// When it was answered, by the server's clock.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        date(self.header("date")?)
    }

    /// The announced length of the body in bytes.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Where the body of a 206 begins, and the length of the whole if it says so.
    pub fn content_range(&self) -> Option<(u64, Option<u64>)> {
        let header = self.header("content-range")?;
        let (range, length) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let begins = range.split_once('-')?.0.trim().parse().ok()?;
        Some((begins, length.trim().parse().ok()))
    }

    /// The whole body, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`Error::Network`] if it breaks off, [`Error::Protocol`] if it is longer than `limit`.
    pub fn bytes(self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(limit + 1);
        reader.read_to_end(&mut bytes).map_err(ureq::Error::from)?;
        if bytes.len() as u64 > limit {
            return Err(Error::Protocol(format!(
                "the answer is longer than {limit} bytes"
            )));
        }
        Ok(bytes)
    }

    /// The body of an error answer, at most its first 64 KiB.
    ///
    /// # Errors
    /// [`Error::Network`] if it breaks off: half an error answer says nothing.
    pub fn error_body(self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(ERROR_BODY_MAX);
        reader.read_to_end(&mut bytes).map_err(ureq::Error::from)?;
        Ok(bytes)
    }

    /// The body as a stream. A body shorter than announced ends in an error, not in silence.
    pub fn into_reader(self) -> impl Read + Send + 'static {
        self.body.into_reader()
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A server on the internet: the usual proxy variables count, and the uplink may be slow.
    Internet,
    /// The host's own API, reached over a container network.
    Host,
    /// A service on the internet that is only told something: nobody waits long for it.
    Monitor,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A small question and a small answer.
    Call,
    /// A body of any size, in either direction.
    Transfer,
    /// A small question and an answer of any size, from a server that has nothing to wait for.
    Download,
}

/// A client for one trust setting. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    call: ureq::Agent,
    transfer: ureq::Agent,
    download: ureq::Agent,
    ahead: Ahead,
    upload_pace: Option<Arc<Pace>>,
    proxy: Option<proxy::Named>,
}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the file named by `SSL_CERT_FILE` cannot be used.
    pub fn new(trust: Trust, peer: Peer) -> Result<Self, Error> {
        Self::within(CALL_TIMEOUT, trust, peer)
    }

    /// Makes a client for something that has to be over after `limit`: a small request takes no longer, and
    /// half of it is enough to connect. [`Client::shutdown`] alone does not end an attempt to connect.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn within(limit: Duration, trust: Trust, peer: Peer) -> Result<Self, Error> {
        let proxy = match peer {
            Peer::Internet | Peer::Monitor => proxy::from_environment()?,
            Peer::Host => None,
        };
        let connect_timeout = CONNECT_TIMEOUT.min(limit / 2);
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = match trust {
            Trust::AnyCertificate => tls.disable_verification(true).build(),
            Trust::Roots => tls.root_certs(roots()?).build(),
        };
        let ahead = Ahead::default();
        let agent = |patience| {
            let config = ureq::Agent::config_builder()
                .tls_config(tls.clone())
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(proxy.as_ref().map(|named| named.proxy.clone()))
                .user_agent(concat!("backup-sync-dropbox/", env!("CARGO_PKG_VERSION")))
                .max_idle_connections(CONNECTIONS_MAX)
                .max_idle_connections_per_host(CONNECTIONS_MAX)
                .timeout_connect(Some(clock::wall(connect_timeout)));
            let config = match patience {
                Patience::Call => {
                    let timeout = match peer {
                        Peer::Internet | Peer::Host => CALL_TIMEOUT,
                        Peer::Monitor => PING_TIMEOUT,
                    };
                    config.timeout_global(Some(clock::wall(timeout.min(limit))))
                }
                Patience::Transfer => config
                    .timeout_per_read(Some(clock::wall(match peer {
                        Peer::Internet => RESPONSE_TIMEOUT,
                        Peer::Monitor | Peer::Host => SILENCE_TIMEOUT,
                    })))
                    .timeout_per_write(Some(clock::wall(SILENCE_TIMEOUT))),
                Patience::Download => config
                    .timeout_per_read(Some(clock::wall(SILENCE_TIMEOUT)))
                    .timeout_per_write(Some(clock::wall(SILENCE_TIMEOUT))),
            };
            let config = match peer {
                // Answers are small, and each connection has buffers of its own.
                Peer::Internet | Peer::Monitor => config
                    .input_buffer_size(ANSWER_BUFFER_BYTES)
                    .output_buffer_size(UPLOAD_BUFFER_BYTES),
                Peer::Host => config,
            };
            ureq::Agent::with_parts(config.build(), ahead.clone(), DefaultResolver::default())
        };
        Ok(Self {
            call: agent(Patience::Call),
            transfer: agent(Patience::Transfer),
            download: agent(Patience::Download),
            ahead,
            upload_pace: None,
            proxy,
        })
    }

    /// The same client with a limit for the bodies of transfers that it sends.
    #[must_use]
    pub fn with_upload_pace(self, pace: Option<Pace>) -> Self {
        Self {
            upload_pace: pace.map(Arc::new),
            ..self
        }
    }

    /// Sends one request and returns the answer's head, whatever its status.
    ///
    /// # Errors
    /// Any [`Error`]; none of them means that the request was not carried out.
    pub fn send(
        &self,
        patience: Patience,
        method: http::Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Body<'_>,
    ) -> Result<Response, Error> {
        let agent = match patience {
            Patience::Call => &self.call,
            Patience::Transfer => &self.transfer,
            Patience::Download => &self.download,
        };
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let broken = |error: http::Error| Error::Protocol(error.to_string());
        let sent = match body {
            Body::Empty => agent.run(request.body(()).map_err(broken)?),
            Body::Bytes(bytes) => agent.run(request.body(bytes).map_err(broken)?),
            Body::Parts(parts) => {
                // A reader's length is unknown to ureq; with the header set, it keeps to it.
                let length: usize = parts.iter().map(|part| part.len()).sum();
                request = request.header("Content-Length", length.to_string());
                let mut reader = Parts {
                    parts,
                    offset: 0,
                    pace: self.upload_pace.as_deref(),
                };
                let body = ureq::SendBody::from_reader(&mut reader);
                agent.run(request.body(body).map_err(broken)?)
            }
        };
        let response = sent.map_err(|error| self.by_proxy(url, error.into()))?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            head: head.headers,
            body,
        })
    }

    /// Opens `count` connections to the server of `url`, each on a thread of its own, for requests that come soon. What
    /// comes of it is no concern of theirs: whoever finds no open connection opens one.
    pub fn open_ahead(&self, url: &url::Url, count: usize) {
        // A proxy has to be told of each request's target first; that is left to the request.
        if self.proxy_for(url.as_str()).is_some() {
            return;
        }
        let Ok(server) = url.as_str().parse::<http::Uri>() else {
            return;
        };
        for _ in 0..count {
            let (client, server) = (self.clone(), server.clone());
            std::thread::spawn(move || {
                if let Err(error) = client.ahead.open(server, client.call.config()) {
                    log::debug!("A connection could not be opened ahead: {error}");
                }
            });
        }
    }

    /// The variable that names the proxy by which `url` is asked, if there is one.
    pub fn proxy_for(&self, url: &str) -> Option<&'static str> {
        let named = self.proxy.as_ref()?;
        let url = url.parse().ok()?;
        (!named.proxy.is_no_proxy(&url)).then_some(named.variable)
    }

    /// A fault of the network, with a word about the proxy that may be the cause of it.
    fn by_proxy(&self, url: &str, error: Error) -> Error {
        match (error, self.proxy_for(url)) {
            (Error::Network(cause), Some(variable)) => Error::Network(format!(
                "{cause}; the proxy is the one that {variable} names"
            )),
            (error, _) => error,
        }
    }

    /// Ends every request in flight and refuses new ones; for a run that has to stop.
    pub fn shutdown(&self) {
        self.call.clone().shutdown();
        self.transfer.clone().shutdown();
        self.download.clone().shutdown();
    }
}

/// Reads several buffers as one body, at the pace that is set.
struct Parts<'a> {
    parts: &'a [&'a [u8]],
    offset: usize,
    pace: Option<&'a Pace>,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(part) = self.parts.first() {
            let rest = part.get(self.offset..).unwrap_or_default();
            if rest.is_empty() {
                self.parts = &self.parts[1..];
                self.offset = 0;
                continue;
            }
            let mut count = rest.len().min(buffer.len());
            if let Some(pace) = self.pace {
                count = count.min(pace.piece_bytes());
                pace.wait_for(count)?;
            }
            buffer[..count].copy_from_slice(&rest[..count]);
            self.offset += count;
            return Ok(count);
        }
        Ok(0)
    }
}

/// The roots to trust: the built-in ones, and those in the file that `SSL_CERT_FILE` names.
fn roots() -> Result<RootCerts, Error> {
    let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate::from_der(der));
    let Some(path) = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from) else {
        return Ok(RootCerts::from(built_in));
    };
    let unusable = |cause: String| {
        Error::Protocol(format!(
            "the certificate file {} (SSL_CERT_FILE) cannot be used: {cause}",
            path.display()
        ))
    };
    let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = built_in.collect();
    let count = certificates.len();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(unusable(error.to_string())),
        }
    }
    if certificates.len() == count {
        return Err(unusable("it holds no certificate".into()));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// A time as HTTP writes it. Its years have four digits (RFC 9110, 5.6.7), so that days can be added to it.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(date.to_utc()).filter(|date| date.year() <= 9999)
}

/// The first `limit` characters of a foreign text, on one line, printable and without secrets, for a
/// message.
pub fn excerpt(bytes: &[u8], limit: usize) -> String {
    let start = &bytes[..bytes.len().min(EXCERPT_BYTES_MAX)];
    let lossy = String::from_utf8_lossy(start);
    // Before anything is cut: half a secret would no longer be recognised.
    let redacted = secret::redact(&lossy);
    let words: Vec<&str> = redacted.split_whitespace().collect();
    let flat: String = words
        .join(" ")
        .chars()
        .filter(|&c| text::is_printable(c))
        .take(limit)
        .collect();
    if flat.is_empty() {
        "(an empty body)".into()
    } else {
        flat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_one_body() {
        let parts: [&[u8]; 3] = [b"ab", b"", b"cde"];
        let mut text = String::new();
        let mut reader = Parts {
            parts: &parts,
            offset: 0,
            pace: None,
        };
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
    }

    #[test]
    fn days_can_be_added_to_every_date() {
        let date = |year| date(&format!("01 Jan {year} 00:00:00 GMT"));
        assert!(date("2026").is_some());
        for year in ["262142", "10000", "-1", "99999999999999999999"] {
            assert_eq!(date(year), None, "{year}");
        }
    }

    #[test]
    fn only_two_names_mean_this_machine() {
        let here = |url: &str| is_this_machine(&url::Url::parse(url).unwrap());
        assert!(here("https://localhost/nms") && here("https://127.0.0.1:8443"));
        for other in [
            "https://unms/",
            "https://127.0.0.2/",
            "https://localhost.example/",
        ] {
            assert!(!here(other), "{other}");
        }
    }

    #[test]
    fn excerpts_are_short_plain_lines() {
        assert_eq!(excerpt(b"<html>\n\t<b>\x1b[31mno</b>", 12), "<html> <b>[3");
        assert_eq!(excerpt(b" \n", 10), "(an empty body)");
    }
}
