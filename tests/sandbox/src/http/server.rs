//! The server: one listener, one thread a connection, one handler.

use super::body::{Framing, Pace, Progress, RequestBody, framing};
use super::connection::{Connection, HeadError, Socket};
use super::fault::Action;
use super::link::Bucket;
use super::message::{Body, Head, Response, reason};
use super::stop::Stop;
use super::tls::TlsConfig;
use super::traffic::{Ticket, Traffic};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

/// A request handed to a handler.
pub struct Request<'a> {
    /// Everything before the body.
    pub head: &'a Head,
    /// The body, to be read or left.
    pub body: RequestBody<'a>,
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The label under which a request is logged and faults are ordered.
    fn route(&self, head: &Head) -> String;

    /// Answers a request.
    ///
    /// # Errors
    /// Only errors of reading the body: the connection is then closed, with status 400 when the body's
    /// framing was malformed and without an answer when the client went away.
    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response>;
}

/// How a server is started.
pub struct ServerOptions {
    /// The loopback address to listen on.
    pub address: IpAddr,
    /// The port; 0 picks a free one.
    pub port: u16,
    /// TLS, or plain HTTP.
    pub tls: Option<TlsConfig>,
    /// The log, faults and line; several servers of one stand-in share them.
    pub traffic: Arc<Traffic>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            tls: None,
            traffic: Arc::default(),
        }
    }
}

/// A running server. Dropping it closes every connection and waits for its threads.
pub struct Server {
    address: SocketAddr,
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

struct Inner {
    handler: Arc<dyn Handler>,
    traffic: Arc<Traffic>,
    tls: Option<TlsConfig>,
    stop: Stop,
    /// Held weakly, so that a connection's thread can reset its socket by dropping the last handle.
    sockets: Mutex<Vec<Weak<TcpStream>>>,
}

/// Connections are numbered across all servers of the process, so that a shared log never mixes them up.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// Starts listening.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(options: ServerOptions, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let listener = TcpListener::bind((options.address, options.port))?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            handler,
            traffic: options.traffic,
            tls: options.tls,
            stop: Stop::default(),
            sockets: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let inner = Arc::clone(&inner);
            move || inner.accept(&listener)
        });
        Ok(Self {
            address,
            inner,
            acceptor: Some(acceptor),
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` or `https://`, address and port, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.inner.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// The log, the faults and the line.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.inner.traffic
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.stop.stop();
        // Wakes the acceptor, which looks at the stop signal before it serves.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Inner {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for stream in listener.incoming() {
            if self.stop.is_stopped() {
                break;
            }
            let Ok(stream) = stream else { continue };
            let stream = Arc::new(stream);
            {
                let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
                sockets.retain(|socket| socket.strong_count() > 0);
                sockets.push(Arc::downgrade(&stream));
            }
            threads.retain(|thread| !thread.is_finished());
            let inner = Arc::clone(self);
            threads.push(std::thread::spawn(move || inner.serve(Socket(stream))));
        }
        for socket in &*self.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Some(socket) = socket.upgrade() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn serve(&self, socket: Socket) {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        self.traffic.note_connection();
        let tls = self.tls.as_ref().map(|config| Arc::clone(&config.0));
        if tls.is_some()
            && let Some(shape) = self.traffic.shape()
        {
            self.stop.sleep(shape.link.per_handshake_latency);
        }
        let Ok(mut connection) = Connection::new(socket, tls) else {
            return;
        };
        while !self.stop.is_stopped() {
            match self.serve_one(&mut connection, number) {
                Ok(After::Next) => {}
                Ok(After::Close) | Err(_) => return connection.close(),
                Ok(After::Reset) => return connection.reset(),
            }
        }
    }

    fn serve_one(&self, connection: &mut Connection, number: u64) -> io::Result<After> {
        let (head, framing) = match connection.read_head() {
            Ok(None) | Err(HeadError::Gone) => return Ok(After::Close),
            Ok(Some(head)) => match framing(&head) {
                Ok(framing) => (head, framing),
                Err(why) => return self.refuse(connection, &head, number, &why),
            },
            Err(HeadError::Malformed(why)) => {
                return self.refuse(connection, &Head::default(), number, &why);
            }
        };
        let route = self.handler.route(&head);
        let (ticket, action) = self.traffic.begin(&head, &route, number);
        let shape = self.traffic.shape();
        let mut request = Request {
            head: &head,
            body: RequestBody {
                connection,
                framing,
                progress: Progress::default(),
                awaits_continue: head
                    .header("expect")
                    .is_some_and(|value| value.eq_ignore_ascii_case("100-continue")),
                pace: Pace {
                    own: shape
                        .as_ref()
                        .and_then(|shape| shape.link.bytes_per_second_per_connection)
                        .map(Bucket::new),
                    shape,
                    stop: &self.stop,
                },
                log: (&self.traffic, ticket),
            },
        };
        let response = match self.respond(&mut request, action.as_ref()) {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(After::Reset),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                request.body.awaits_continue = false;
                let response = Response::text(400, error.to_string());
                self.traffic.update(ticket, |e| e.status = Some(400));
                let pace = &request.body.pace;
                write_response(request.body.connection, &head, response, pace, None, true)?;
                return Ok(After::Close);
            }
            Err(error) => return Err(error),
        };
        match &action {
            Some(Action::AnswerLost) => return Ok(After::Reset),
            Some(Action::NoAnswer) => {
                request.body.connection.wait_for_the_end();
                return Ok(After::Close);
            }
            Some(Action::DelayAnswer(duration)) => self.stop.sleep(*duration),
            Some(Action::HoldAnswer(gate)) => gate.pass(|| self.stop.is_stopped()),
            _ => {}
        }
        // A client that waits for "100 Continue" and gets a final answer instead sends no body.
        let is_unread = request.body.awaits_continue && framing != Framing::Length(0);
        if let Some(shape) = &request.body.pace.shape
            && !shape.link.per_request_latency.is_zero()
        {
            self.stop.sleep(shape.link.per_request_latency);
        }
        self.traffic
            .update(ticket, |e| e.status = Some(response.status));
        let is_last = is_unread
            || head.is_http_1_0
            || head
                .header("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let RequestBody {
            connection, pace, ..
        } = request.body;
        let sent = Sent {
            traffic: &self.traffic,
            ticket,
            action: action.as_ref(),
        };
        let is_whole = write_response(connection, &head, response, &pace, Some(&sent), is_last)?;
        Ok(match &action {
            Some(Action::StallResponse) => {
                connection.wait_for_the_end();
                After::Close
            }
            Some(Action::ResetMidResponse(_)) => After::Reset,
            _ if is_last || !is_whole => After::Close,
            _ => After::Next,
        })
    }

    /// Everything up to the answer; `None` asks for a reset.
    fn respond(
        &self,
        request: &mut Request<'_>,
        action: Option<&Action>,
    ) -> io::Result<Option<Response>> {
        let ordered = match action {
            Some(Action::ResetBeforeBody) => return Ok(None),
            Some(Action::ResetMidBody(bytes)) => {
                io::copy(&mut (&mut request.body).take(*bytes), &mut io::sink())?;
                return Ok(None);
            }
            Some(Action::Status {
                code,
                headers,
                body,
            }) => Some(Response {
                status: *code,
                headers: headers.clone(),
                body: Body::Bytes(body.clone()),
            }),
            Some(Action::Redirect(location)) => {
                Some(Response::empty(302).with_header("Location", location))
            }
            Some(Action::Delay(duration)) => {
                self.stop.sleep(*duration);
                None
            }
            Some(Action::Hold(gate)) => {
                gate.pass(|| self.stop.is_stopped());
                None
            }
            _ => None,
        };
        let response = match ordered {
            Some(response) => response,
            None => self.handler.handle(request)?,
        };
        // An answer that comes early leaves body bytes on the line; most clients cannot read an answer
        // before they have sent everything, so the rest is taken in first.
        if !request.body.awaits_continue {
            request.body.drain()?;
        }
        Ok(Some(response))
    }

    /// Answers 400 to what is no proper request, logs it and closes.
    fn refuse(
        &self,
        connection: &mut Connection,
        head: &Head,
        number: u64,
        why: &str,
    ) -> io::Result<After> {
        let (ticket, _) = self.traffic.begin(head, "malformed", number);
        self.traffic.update(ticket, |e| e.status = Some(400));
        let pace = Pace {
            shape: None,
            own: None,
            stop: &self.stop,
        };
        let response = Response::text(400, format!("malformed request: {why}"));
        write_response(connection, head, response, &pace, None, true)?;
        Ok(After::Close)
    }
}

/// What becomes of the connection after a request.
enum After {
    Next,
    Close,
    Reset,
}

/// Where the progress of an answer is noted, and the fault that shapes it.
struct Sent<'a> {
    traffic: &'a Traffic,
    ticket: Ticket,
    action: Option<&'a Action>,
}

/// Writes an answer; false when it was not written whole, so that the connection cannot go on.
fn write_response(
    connection: &mut Connection,
    head: &Head,
    response: Response,
    pace: &Pace<'_>,
    sent: Option<&Sent<'_>>,
    is_last: bool,
) -> io::Result<bool> {
    let (mut reader, length): (Box<dyn Read + Send>, Option<u64>) = match response.body {
        Body::Bytes(bytes) => {
            let length = bytes.len() as u64;
            (Box::new(io::Cursor::new(bytes)), Some(length))
        }
        Body::Stream { reader, length } => (reader, length),
    };
    let action = sent.and_then(|sent| sent.action);
    let (length, is_chunked) = match action {
        Some(Action::EndEarly { chunked, .. }) => (None, *chunked),
        _ => (length, length.is_none()),
    };
    let mut out = format!(
        "HTTP/1.1 {} {}\r\n",
        response.status,
        reason(response.status)
    );
    for (name, value) in &response.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        _ if response.status == 304 => {}
        Some(length) => out.push_str(&format!("Content-Length: {length}\r\n")),
        None if is_chunked => out.push_str("Transfer-Encoding: chunked\r\n"),
        None => {}
    }
    if is_last {
        out.push_str("Connection: close\r\n");
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();

    let allowed = match action {
        Some(
            Action::TruncateResponse(bytes)
            | Action::ResetMidResponse(bytes)
            | Action::EndEarly { bytes, .. },
        ) => *bytes,
        Some(Action::StallResponse) => 0,
        _ => u64::MAX,
    };
    let (piece_bytes, pause) = match action {
        Some(Action::SlowResponse { bytes, every }) => ((*bytes).max(1), Some(*every)),
        _ => (64 * 1024, None),
    };
    if head.method == "HEAD" || response.status == 304 {
        connection.write_all(&out)?;
        connection.flush()?;
        return Ok(true);
    }

    let mut piece = vec![0; piece_bytes.min(pace.piece_bytes())];
    let mut total = 0;
    // The head goes out with the first piece, so that a small answer is one packet.
    let is_complete = loop {
        let want = piece
            .len()
            .min(usize::try_from(allowed - total).unwrap_or(usize::MAX));
        let count = if want == 0 {
            0
        } else {
            reader.read(&mut piece[..want])?
        };
        if count == 0 {
            break want > 0;
        }
        if is_chunked {
            out.extend_from_slice(format!("{count:x}\r\n").as_bytes());
        }
        out.extend_from_slice(&piece[..count]);
        if is_chunked {
            out.extend_from_slice(b"\r\n");
        }
        connection.write_all(&out)?;
        out.clear();
        total += count as u64;
        pace.wait_for(count);
        if let Some(sent) = sent {
            sent.traffic
                .update(sent.ticket, |e| e.response_bytes = total);
        }
        if let Some(pause) = pause {
            connection.flush()?;
            pace.stop.sleep(pause);
        }
    };
    let ends_early = matches!(action, Some(Action::EndEarly { .. }));
    if is_chunked && (is_complete || ends_early) {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    connection.write_all(&out)?;
    connection.flush()?;
    Ok(is_complete && length.is_none_or(|length| length == total))
}
