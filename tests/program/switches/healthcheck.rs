//! `healthcheckUrl`.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use sandbox::http::{Action, Fault, Handler, Head, On, Request, Response, Server, ServerOptions};
use sandbox::uisp::RawAnswer;
use serde_json::json;

use crate::support::World;

/// The part of the address that gives access.
const KEY: &str = "fake-check-key-0123456789";

/// A monitoring service: remembers method, path and body of every call.
pub struct Monitor {
    calls: Arc<Calls>,
    server: Server,
}

#[derive(Default)]
struct Calls(Mutex<Vec<(String, String, String)>>);

impl Handler for Calls {
    fn route(&self, head: &Head) -> String {
        head.path().to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let mut body = String::new();
        request.body.read_to_string(&mut body)?;
        let head = request.head;
        let call = (head.method.clone(), head.target.clone(), body);
        self.0.lock().unwrap().push(call);
        Ok(Response::text(200, "OK"))
    }
}

impl Monitor {
    /// A service that answers.
    pub fn start() -> Self {
        let calls = Arc::new(Calls::default());
        let options = ServerOptions {
            address: Ipv4Addr::LOCALHOST.into(),
            ..ServerOptions::default()
        };
        let server = Server::start(options, Arc::clone(&calls) as Arc<dyn Handler>).unwrap();
        Self { calls, server }
    }

    /// The address of a check.
    pub fn address(&self) -> String {
        format!("{}/ping/{KEY}", self.server.url())
    }

    /// The calls so far, as method and what follows the address; forgets them.
    pub fn take(&self) -> Vec<(String, String)> {
        let calls = std::mem::take(&mut *self.calls.0.lock().unwrap());
        let prefix = format!("/ping/{KEY}");
        calls
            .into_iter()
            .map(|(method, target, _)| (method, target.strip_prefix(&prefix).unwrap().to_owned()))
            .collect()
    }

    /// What it was told last.
    pub fn last_body(&self) -> String {
        self.calls.0.lock().unwrap().last().unwrap().2.clone()
    }
}

fn watched_world(monitor: &Monitor) -> World {
    let world = World::authorized();
    world.configure(json!({"healthcheckUrl": monitor.address()}));
    world.add_backups(1, 2, 1000);
    world
}

fn call(method: &str, rest: &str) -> (String, String) {
    (method.into(), rest.into())
}

#[test]
fn a_good_run_is_told_at_its_start_and_its_end() {
    let monitor = Monitor::start();
    let world = watched_world(&monitor);
    world.run_well();
    assert_eq!(monitor.take(), [call("GET", "/start"), call("GET", "")]);
}

#[test]
fn a_failed_run_is_told_with_its_last_error() {
    let monitor = Monitor::start();
    let world = watched_world(&monitor);
    let page = RawAnswer::html(200, "<html>Log in</html>");
    world.uisp.answer_list(Some(page));
    let ended = world.run_badly();
    assert!(!ended.log.contains(KEY), "{}", ended.log);
    let body = monitor.last_body();
    assert!(
        body.starts_with("UISP's list of backups could not be read"),
        "{body}"
    );
    assert_eq!(
        monitor.take(),
        [call("GET", "/start"), call("POST", "/fail")]
    );
}

#[test]
fn a_run_that_waits_or_was_stopped_is_silent() {
    let monitor = Monitor::start();
    let world = World::with_app(false);
    world.configure(json!({"healthcheckUrl": monitor.address()}));
    assert_eq!(world.run().code, Some(0));
    assert_eq!(monitor.take(), [call("GET", "/start")]);
}

#[test]
fn an_address_with_a_query_keeps_it() {
    let monitor = Monitor::start();
    let world = watched_world(&monitor);
    world.configure(json!({"healthcheckUrl": format!("{}/?msg=a%20b", monitor.address())}));
    world.run_well();
    let expected = [call("GET", "/start?msg=a%20b"), call("GET", "?msg=a%20b")];
    assert_eq!(monitor.take(), expected);
}

#[test]
fn a_service_that_is_dead_or_refuses_fails_no_run() {
    let monitor = Monitor::start();
    let world = watched_world(&monitor);
    let strikes = [
        Action::ResetBeforeBody,
        Action::NoAnswer,
        Action::AnswerLost,
        Action::text(404, "no such check"),
        Action::text(500, "down"),
        Action::Redirect("http://127.0.0.1:1/elsewhere".into()),
    ];
    for action in strikes {
        monitor.server.traffic().inject(Fault {
            on: On::every(&format!("/ping/{KEY}")),
            action,
        });
        let ended = world.run_well();
        ended.assert_line(&["WARNING: The monitoring service at 127.0.0.1 could not be told"]);
        assert!(ended.last_line().starts_with("Finished: "), "{}", ended.log);
        assert!(!ended.log.contains(KEY), "{}", ended.log);
        monitor.server.traffic().clear_faults();
    }
    // Nobody there at all.
    let address = monitor.address();
    drop(monitor);
    world.configure(json!({"healthcheckUrl": address}));
    let ended = world.run_well();
    ended.assert_line(&["WARNING: The monitoring service"]);
    assert!(!ended.log.contains(KEY), "{}", ended.log);
}

#[test]
fn the_address_is_in_no_file_but_the_configuration_and_goes_to_nobody_else() {
    let monitor = Monitor::start();
    let world = watched_world(&monitor);
    let mut command = world.command();
    command.env("RUST_LOG", "trace");
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains(KEY), "{}", ended.log);
    assert!(!world.state().to_string().contains(KEY));
    let service = monitor.server.traffic().requests();
    for request in service {
        for (name, value) in &request.headers {
            assert!(!value.contains("Bearer"), "{name}");
            assert!(!value.contains(&world.uisp.token()), "{name}");
        }
    }
}

#[test]
fn only_web_addresses_are_called() {
    let world = World::authorized();
    world.configure(json!({"healthcheckUrl": format!("ftp://127.0.0.1/{KEY}")}));
    let ended = world.run_badly();
    ended.assert_line(&[
        "ERROR: The configuration field \"healthcheckUrl\"",
        "https://",
    ]);
    assert!(!ended.log.contains(KEY), "{}", ended.log);
}
