//! Connections that are opened before a request needs them, so that the first request of each finds the way to the
//! server and its certificate behind it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::time::{self, Instant as Moment};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, DefaultConnector, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use crate::clock;

/// What is older may have been forgotten by something on the way, without a word; ureq keeps its idle connections as
/// long.
const AGE_MAX: time::Duration = time::Duration::from_secs(15);
/// How long is looked whether a connection is closed, in milliseconds. What TLS itself has sent is read meanwhile.
const LOOK_MS: u64 = 1;

/// Handles by which a client that is shut down ends what goes on over a connection.
type Handles = Mutex<Vec<Weak<dyn ShutdownHandle>>>;

/// Connects as ureq does, but takes a connection that is open already where there is one.
#[derive(Clone, Default)]
pub struct Ahead(Arc<Inner>);

#[derive(Default)]
struct Inner {
    connector: DefaultConnector,
    open: Mutex<Vec<Open>>,
}

/// A connection that nobody has used yet.
struct Open {
    server: Uri,
    since: Moment,
    transport: Box<dyn Transport>,
    handles: Arc<Handles>,
}

impl Ahead {
    /// Opens a connection to `server`, as a request with `config` would do without a proxy, and keeps it for the first
    /// request there.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(&self, server: Uri, config: &Config) -> Result<(), Error> {
        let after = config.timeouts().connect;
        let timeout = NextTimeout {
            after: after.map_or(time::Duration::NotHappening, time::Duration::Exact),
            reason: Timeout::Connect,
            ..NextTimeout::default()
        };
        let resolver = DefaultResolver::default();
        let handles = Arc::<Handles>::default();
        let (kept, again) = (Arc::clone(&handles), self.clone());
        let details = ConnectionDetails {
            uri: &server,
            addrs: resolver.resolve(&server, config, timeout)?,
            config,
            request_level: false,
            resolver: &resolver,
            now: now(),
            timeout,
            current_time: Arc::new(now),
            run_connector: Arc::new(move |details| again.connect_now(details)),
            register_shutdown: Arc::new(move |handle| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(handle);
                Ok(())
            }),
        };
        let transport = self.connect_now(&details)?;
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Open {
            server,
            since: now(),
            transport,
            handles,
        });
        Ok(())
    }

    fn connect_now(&self, details: &ConnectionDetails<'_>) -> Result<Box<dyn Transport>, Error> {
        let transport = self.0.connector.connect(details, None)?;
        transport.ok_or(Error::ConnectionFailed)
    }

    /// A connection to the server of `uri` that is open already.
    fn take(&self, uri: &Uri) -> Option<Open> {
        loop {
            let mut candidate = {
                let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
                let is_there = |open: &Open| {
                    (open.server.scheme(), open.server.authority())
                        == (uri.scheme(), uri.authority())
                };
                let place = open.iter().position(is_there)?;
                open.swap_remove(place)
            };
            if now() < candidate.since + AGE_MAX && is_silent(&mut *candidate.transport) {
                return Some(candidate);
            }
        }
    }
}

/// The time as ureq counts it.
fn now() -> Moment {
    Moment::Exact(clock::instant())
}

/// Whether a server that was asked nothing says nothing: neither that it closes the connection nor anything else.
fn is_silent(transport: &mut dyn Transport) -> bool {
    let look = NextTimeout {
        after: time::Duration::from_millis(LOOK_MS),
        reason: Timeout::RecvResponse,
        ..NextTimeout::default()
    };
    matches!(transport.await_input(look), Err(Error::Timeout(_)))
}

impl Connector for Ahead {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(open) = self.take(details.uri) else {
            return self.connect_now(details).map(Some);
        };
        // A client that was shut down refuses them.
        let mut handles = open.handles.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in handles.drain(..) {
            (details.register_shutdown)(handle)?;
        }
        drop(handles);
        Ok(Some(open.transport))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use sandbox::http::{
        Action, Fault, Gate, Handler, Head, Leaf, On, Request, Response, Server, ServerOptions,
        TestCa,
    };
    use ureq::http::Method;

    use crate::http::{Body, Client, Error, Patience, Peer, Trust};

    /// How long a test waits for what must happen.
    const PATIENCE: Duration = Duration::from_secs(120);

    struct Yes;

    impl Handler for Yes {
        fn route(&self, _: &Head) -> String {
            "yes".into()
        }

        fn handle(&self, _: &mut Request<'_>) -> io::Result<Response> {
            Ok(Response::empty(200))
        }
    }

    /// A server, and whether it speaks TLS.
    fn serve(port: u16, has_tls: bool) -> Server {
        let ca = TestCa::new().unwrap();
        let leaf = Leaf::of(["127.0.0.1"]);
        let options = ServerOptions {
            port,
            tls: has_tls.then(|| ca.issue(&leaf).unwrap()),
            ..ServerOptions::default()
        };
        Server::start(options, Arc::new(Yes)).unwrap()
    }

    fn client() -> Client {
        Client::new(Trust::AnyCertificate, Peer::Host).unwrap()
    }

    fn open(client: &Client, server: &Server) {
        let uri = server.url().parse().unwrap();
        client.ahead.open(uri, client.call.config()).unwrap();
    }

    /// Waits until this machine has taken note that all connections to a port were closed at the other end.
    fn wait_until_closed(port: u16) {
        let port = format!(":{port:04X}");
        let is_open = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[2].ends_with(&port) && fields[3] == "01"
        };
        let since = Instant::now();
        while std::fs::read_to_string("/proc/net/tcp")
            .unwrap()
            .lines()
            .any(is_open)
        {
            assert!(since.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }

    fn ask(client: &Client, server: &Server) -> Result<u16, Error> {
        let url = server.url();
        let answer = client.send(Patience::Transfer, Method::GET, &url, &[], Body::Empty);
        answer.map(|answer| answer.status)
    }

    #[test]
    fn the_first_request_goes_over_the_open_connection() {
        for has_tls in [false, true] {
            let (server, client) = (serve(0, has_tls), client());
            open(&client, &server);
            for _ in 0..2 {
                assert_eq!(ask(&client, &server).unwrap(), 200);
            }
            assert_eq!(server.traffic().opened_connections(), 1, "TLS: {has_tls}");
        }
    }

    #[test]
    fn what_the_server_has_closed_meanwhile_is_passed_over() {
        for has_tls in [false, true] {
            let (server, client) = (serve(0, has_tls), client());
            open(&client, &server);
            open(&client, &server);
            let port = server.address().port();
            drop(server);
            wait_until_closed(port);
            let server = serve(port, has_tls);
            assert_eq!(ask(&client, &server).unwrap(), 200);
            assert_eq!(server.traffic().opened_connections(), 1, "TLS: {has_tls}");
        }
    }

    #[test]
    fn a_server_that_speaks_unasked_is_not_believed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (has_spoken, spoken) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let timeout = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
            let (mut early, _) = listener.accept().unwrap();
            io::Write::write_all(&mut early, timeout).unwrap();
            has_spoken.send(()).unwrap();
            let (mut late, _) = listener.accept().unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            io::Read::read(&mut late, &mut [0; 1000]).unwrap();
            io::Write::write_all(&mut late, answer).unwrap();
        });
        let (client, url) = (client(), format!("http://{address}/"));
        let uri = url.parse().unwrap();
        client.ahead.open(uri, client.call.config()).unwrap();
        spoken.recv_timeout(PATIENCE).unwrap();
        let answer = client.send(Patience::Call, Method::GET, &url, &[], Body::Empty);
        assert_eq!(answer.unwrap().status, 204);
        server.join().unwrap();
    }

    #[test]
    fn a_client_that_is_shut_down_ends_what_goes_on_over_it_and_takes_no_other() {
        for has_tls in [false, true] {
            let (server, client) = (serve(0, has_tls), client());
            open(&client, &server);
            let gate = Gate::new();
            let hold = Action::Hold(gate.clone());
            server.traffic().inject(Fault {
                on: On::next("yes"),
                action: hold,
            });
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| ask(&client, &server));
                assert!(gate.wait_reached(PATIENCE));
                open(&client, &server);
                client.shutdown();
                assert!(asked.join().unwrap().is_err());
            });
            assert!(ask(&client, &server).is_err());
            gate.open();
            assert!(server.traffic().wait_for_connections(PATIENCE, 2));
            assert_eq!(server.traffic().opened_connections(), 2);
        }
    }
}
