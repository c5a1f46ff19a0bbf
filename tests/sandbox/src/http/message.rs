//! Request heads and responses as plain values.

use std::io::Read;

/// The head of a request: everything before the body.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The method as sent, for example `POST`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Header names and values in the order they came; each byte of a value is one char (Latin-1),
    /// so that a non-ASCII byte stays visible to strict handlers.
    pub headers: Vec<(String, String)>,
    /// True for `HTTP/1.0`.
    pub is_http_1_0: bool,
}

impl Head {
    /// The first header of that name, whatever the letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// How often a header of that name was sent.
    pub fn header_count(&self, name: &str) -> usize {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The decoded query parameters, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The `Host` header, or an empty string.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }
}

/// What follows the head of a response.
pub enum Body {
    /// Bytes in memory, sent with their length.
    Bytes(Vec<u8>),
    /// A stream: with its length announced, or chunked when the length is `None`.
    Stream {
        /// Where the bytes come from.
        reader: Box<dyn Read + Send>,
        /// The announced length.
        length: Option<u64>,
    },
}

/// A response to one request.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers; `Content-Length`, `Transfer-Encoding` and `Connection` are added by the server.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

impl Response {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
        }
    }

    /// An answer with bytes of a content type.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: Body::Bytes(body.into()),
        }
    }

    /// A plain text answer.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", text.into())
    }

    /// An HTML page.
    pub fn html(status: u16, page: impl Into<String>) -> Self {
        Self::bytes(status, "text/html; charset=utf-8", page.into())
    }

    /// A JSON answer. The content type carries no charset: Dropbox's own SDK insists on exactly this.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::bytes(status, "application/json", value.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The reason phrase of a status code; only for people who read a trace.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Payload Too Large",
        416 => "Range Not Satisfiable",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
