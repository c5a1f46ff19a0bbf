//! The server under the stand-ins: framing, keep-alive, TLS, and every fault it can be told to commit.

use crate::client::{Client, host_of};
use sandbox::http::{
    Action, Body, ConnectProxy, Fault, Gate, Handler, Head, Leaf, Link, On, Request, Response,
    Server, ServerOptions, TestCa, TlsConfig,
};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Far above what any step takes; only a test that fails waits so long.
const LONG: Duration = Duration::from_secs(20);

/// Answers with what it was sent; `/chunked` without announcing the length, `/early` without reading.
#[derive(Default)]
struct Echo {
    carried_out: AtomicUsize,
}

impl Handler for Echo {
    fn route(&self, head: &Head) -> String {
        head.path().trim_start_matches('/').to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let mut body = Vec::new();
        if request.head.path() != "/early" {
            request.body.read_to_end(&mut body)?;
        }
        self.carried_out.fetch_add(1, Ordering::SeqCst);
        if request.head.path() == "/chunked" {
            return Ok(Response {
                status: 200,
                headers: Vec::new(),
                body: Body::Stream {
                    reader: Box::new(io::Cursor::new(body)),
                    length: None,
                },
            });
        }
        Ok(Response::bytes(200, "application/octet-stream", body))
    }
}

fn start_with(tls: Option<TlsConfig>) -> (Server, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    let options = ServerOptions {
        tls,
        ..ServerOptions::default()
    };
    let server = Server::start(options, Arc::clone(&echo) as Arc<dyn Handler>).unwrap();
    (server, echo)
}

fn start() -> (Server, Arc<Echo>) {
    start_with(None)
}

fn inject(server: &Server, on: On, action: Action) {
    server.traffic().inject(Fault { on, action });
}

#[test]
fn bodies_of_both_framings_arrive_whole_on_one_connection() {
    let (server, _) = start();
    let mut client = Client::plain(&server.url());
    let big = vec![7; 300_000];
    assert_eq!(client.send("POST", "/a", &[], &big).unwrap().body, big);
    client
        .raw(b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n")
        .unwrap();
    assert_eq!(client.reply().unwrap().text(), "hello world");
    assert_eq!(
        client.send("POST", "/chunked", &[], &big).unwrap().body,
        big
    );
    assert_eq!(client.send("GET", "/c", &[], b"").unwrap().body, b"");
    assert_eq!(server.traffic().routes(), ["a", "b", "chunked", "c"]);
    assert_eq!(server.traffic().connections(), 1);
    assert_eq!(server.traffic().body_bytes("a"), 300_000);
    assert_eq!(server.traffic().requests()[0].status, Some(200));
}

#[test]
fn a_client_that_expects_100_continue_gets_it() {
    let (server, _) = start();
    let mut client = Client::plain(&server.url());
    let head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.raw(head).unwrap();
    assert_eq!(client.reply_head().unwrap().0, 100);
    client.raw(b"ok").unwrap();
    assert_eq!(client.reply().unwrap().text(), "ok");
}

#[test]
fn a_final_answer_instead_of_100_continue_ends_the_connection() {
    let (server, _) = start();
    let mut client = Client::plain(&server.url());
    let head =
        b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.raw(head).unwrap();
    let reply = client.reply().unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(client.rest().unwrap().is_empty());
}

#[test]
fn an_unread_body_does_not_disturb_the_next_request() {
    let (server, _) = start();
    let mut client = Client::plain(&server.url());
    let reply = client.send("POST", "/early", &[], &[1; 100_000]).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(
        client.send("POST", "/a", &[], b"next").unwrap().text(),
        "next"
    );
}

#[test]
fn malformed_requests_are_refused() {
    let (server, _) = start();
    for request in [
        &b"nonsense\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    ] {
        let mut client = Client::plain(&server.url());
        client.raw(request).unwrap();
        let reply = client.reply().unwrap();
        assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(request));
    }
}

#[test]
fn a_status_is_answered_in_place_of_the_handler() {
    let (server, echo) = start();
    inject(
        &server,
        On::nth("a", 2),
        Action::json(429, &serde_json::json!({})).with_header("Retry-After", "7"),
    );
    inject(
        &server,
        On::next("b"),
        Action::Redirect("http://elsewhere/".into()),
    );
    let mut client = Client::plain(&server.url());
    assert_eq!(client.send("POST", "/a", &[], b"x").unwrap().status, 200);
    let refused = client.send("POST", "/a", &[], b"x").unwrap();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("7"));
    assert_eq!(client.send("POST", "/a", &[], b"x").unwrap().status, 200);
    let redirect = client.send("POST", "/b", &[], b"x").unwrap();
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.header("location"), Some("http://elsewhere/"));
    assert_eq!(echo.carried_out.load(Ordering::SeqCst), 2);
    assert_eq!(server.traffic().clear_faults(), 0);
}

#[test]
fn resets_and_lost_answers_differ_in_what_was_carried_out() {
    let (server, echo) = start();
    for (action, carried_out, body_bytes) in [
        (Action::ResetBeforeBody, 0, 0),
        (Action::ResetMidBody(10), 0, 10),
        (Action::AnswerLost, 1, 100),
    ] {
        let name = format!("{action:?}");
        inject(&server, On::next("a"), action);
        server.traffic().clear_log();
        echo.carried_out.store(0, Ordering::SeqCst);
        let mut client = Client::plain(&server.url());
        assert!(client.send("POST", "/a", &[], &[1; 100]).is_err(), "{name}");
        assert_eq!(
            echo.carried_out.load(Ordering::SeqCst),
            carried_out,
            "{name}"
        );
        let logged = &server.traffic().requests()[0];
        assert_eq!(logged.body_bytes, body_bytes, "{name}");
        assert_eq!(logged.status, None, "{name}");
        assert!(logged.fault.is_some(), "{name}");
    }
}

#[test]
fn a_truncated_answer_has_a_whole_head() {
    let (server, _) = start();
    inject(&server, On::times("*", 2), Action::TruncateResponse(10));
    let mut client = Client::plain(&server.url());
    client
        .raw(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz")
        .unwrap();
    let (status, headers) = client.reply_head().unwrap();
    assert_eq!(status, 200);
    assert!(headers.contains(&("Content-Length".into(), "26".into())));
    assert_eq!(client.rest().unwrap(), b"abcdefghij");

    let mut client = Client::plain(&server.url());
    client
        .raw(b"POST /chunked HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz")
        .unwrap();
    client.reply_head().unwrap();
    // The chunk is whole, its end is missing.
    assert_eq!(client.rest().unwrap(), b"a\r\nabcdefghij\r\n");
}

#[test]
fn a_reset_in_the_answer_is_no_polite_end() {
    let (server, _) = start();
    inject(&server, On::next("a"), Action::ResetMidResponse(10));
    let mut client = Client::plain(&server.url());
    let error = client.send("POST", "/a", &[], &[1; 100_000]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_stalled_answer_ends_when_the_server_does() {
    let (server, _) = start();
    inject(&server, On::next("stall"), Action::StallResponse);
    inject(&server, On::next("silent"), Action::NoAnswer);
    let mut stalled = Client::plain(&server.url());
    stalled
        .raw(b"POST /stall HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert_eq!(stalled.reply_head().unwrap().0, 200);
    let mut silent = Client::plain(&server.url());
    silent
        .raw(b"POST /silent HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert!(server.traffic().wait_for(LONG, |log| log.len() == 2));
    drop(server);
    assert!(stalled.rest().unwrap().is_empty());
    assert!(silent.reply_head().is_err());
}

#[test]
fn a_gate_holds_a_request_until_the_test_says() {
    let (server, echo) = start();
    let (before, after) = (Gate::new(), Gate::new());
    inject(&server, On::next("before"), Action::Hold(before.clone()));
    inject(
        &server,
        On::next("after"),
        Action::HoldAnswer(after.clone()),
    );
    let url = server.url();
    let first = std::thread::spawn({
        let url = url.clone();
        move || {
            Client::plain(&url)
                .send("POST", "/before", &[], b"1")
                .unwrap()
        }
    });
    assert!(before.wait_reached(LONG));
    assert_eq!(echo.carried_out.load(Ordering::SeqCst), 0);
    before.open();
    assert_eq!(first.join().unwrap().text(), "1");
    let second = std::thread::spawn(move || Client::plain(&url).send("POST", "/after", &[], b"2"));
    assert!(after.wait_reached(LONG));
    assert_eq!(echo.carried_out.load(Ordering::SeqCst), 2);
    after.open();
    assert_eq!(second.join().unwrap().unwrap().text(), "2");
}

#[test]
fn dropping_the_server_frees_a_held_request_and_its_port() {
    let (server, _) = start();
    let gate = Gate::new();
    inject(&server, On::next("a"), Action::Hold(gate.clone()));
    let url = server.url();
    let held = std::thread::spawn({
        let url = url.clone();
        move || Client::plain(&url).send("POST", "/a", &[], b"1")
    });
    assert!(gate.wait_reached(LONG));
    drop(server);
    assert!(held.join().unwrap().is_err());
    assert!(TcpStream::connect(host_of(&url)).is_err());
}

#[test]
fn slow_answers_and_delays_take_at_least_their_time() {
    let (server, _) = start();
    let pause = Duration::from_millis(30);
    inject(
        &server,
        On::next("slow"),
        Action::SlowResponse {
            bytes: 10,
            every: pause,
        },
    );
    inject(&server, On::next("late"), Action::Delay(pause * 3));
    let mut client = Client::plain(&server.url());
    // Three pieces have two pauses between them.
    for (route, least) in [("/slow", pause * 2), ("/late", pause * 3)] {
        let begun = Instant::now();
        let reply = client.send("POST", route, &[], &[1; 30]).unwrap();
        assert_eq!(reply.body, [1; 30]);
        assert!(begun.elapsed() >= least, "{route}");
    }
}

#[test]
fn a_shaped_line_is_no_faster_than_it_says() {
    let (server, _) = start();
    server.traffic().set_link(Link {
        per_request_latency: Duration::from_millis(20),
        bytes_per_second_per_connection: Some(1_000_000),
        ..Link::default()
    });
    let mut client = Client::plain(&server.url());
    let begun = Instant::now();
    client.send("POST", "/early", &[], &[1; 200_000]).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(180));
}

#[test]
fn tls_serves_the_names_of_its_certificate_in_both_versions() {
    let ca = TestCa::new().unwrap();
    let (server, _) = start_with(Some(
        ca.issue(&Leaf::of(["example.test", "127.0.0.1"])).unwrap(),
    ));
    assert!(server.url().starts_with("https://"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for name in ["example.test", "127.0.0.1"] {
            let stream = TcpStream::connect(server.address()).unwrap();
            let mut client = Client::tls(stream, name, ca.pem(), &[version]).unwrap();
            assert_eq!(client.send("POST", "/a", &[], b"x").unwrap().text(), "x");
        }
    }
}

#[test]
fn tls_clients_refuse_wrong_names_expired_leaves_and_strangers() {
    let ca = TestCa::new().unwrap();
    let stranger = TestCa::new().unwrap();
    let expired = Leaf {
        is_expired: true,
        ..Leaf::of(["example.test"])
    };
    for (config, why) in [
        (
            ca.issue(&Leaf::of(["other.test"])).unwrap(),
            "NotValidForName",
        ),
        (ca.issue(&expired).unwrap(), "Expired"),
        (
            stranger.issue(&Leaf::of(["example.test"])).unwrap(),
            "UnknownIssuer",
        ),
        (
            sandbox::http::self_signed(&Leaf::of(["example.test"])).unwrap(),
            "InvalidCertificate",
        ),
    ] {
        let (server, _) = start_with(Some(config));
        let stream = TcpStream::connect(server.address()).unwrap();
        let versions = [&rustls::version::TLS13];
        let Err(error) = Client::tls(stream, "example.test", ca.pem(), &versions) else {
            panic!("accepted, though {why}");
        };
        assert!(format!("{error:?}").contains(why), "{error:?}");
    }
}

#[test]
fn the_ca_file_holds_the_certificate() {
    let ca = TestCa::new().unwrap();
    assert_eq!(std::fs::read_to_string(ca.pem_path()).unwrap(), ca.pem());
}

#[test]
fn the_proxy_carries_real_names_to_loopback_and_refuses_others() {
    let ca = TestCa::new().unwrap();
    let (server, _) = start_with(Some(ca.issue(&Leaf::of(["api.example.test"])).unwrap()));
    let name = "api.example.test:443".to_owned();
    let proxy = ConnectProxy::start([(name, server.address())]).unwrap();
    let connect = |target: &str| {
        let mut stream = TcpStream::connect(host_of(&proxy.url())).unwrap();
        write!(
            stream,
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).unwrap())
    };
    let (stream, answer) = connect("api.example.test:443");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let versions = [&rustls::version::TLS13];
    let mut client = Client::tls(stream, "api.example.test", ca.pem(), &versions).unwrap();
    assert_eq!(client.send("POST", "/a", &[], b"x").unwrap().text(), "x");
    assert_eq!(server.traffic().requests()[0].host, "api.example.test");
    assert!(
        connect("other.example.test:443")
            .1
            .starts_with("HTTP/1.1 403")
    );
    assert_eq!(
        proxy.asked(),
        ["api.example.test:443", "other.example.test:443"]
    );
}
