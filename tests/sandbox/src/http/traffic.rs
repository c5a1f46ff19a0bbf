//! What a stand-in saw and what it is to do next: the request log, the fault rules and the line to imitate.

use super::fault::{Action, Fault, Rules, covers};
use super::link::{Bucket, Link};
use super::message::Head;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One request as the server saw it.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Position in the order of arrival since the server started, from 0.
    pub index: usize,
    /// Which connection carried it; equal numbers mean a connection was kept alive.
    pub connection: u64,
    /// The route's label, for example `files/upload_session/append_v2`.
    pub route: String,
    /// The method.
    pub method: String,
    /// The `Host` header.
    pub host: String,
    /// Path and query as sent.
    pub target: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// Bytes of request body read so far.
    pub body_bytes: u64,
    /// Their CRC-32.
    pub body_sum: u32,
    /// Status of the answer; `None` while there is none, or when it was lost on purpose.
    pub status: Option<u16>,
    /// Bytes of response body sent so far.
    pub response_bytes: u64,
    /// The fault that struck, for example `Status(503)` or `AnswerLost`.
    pub fault: Option<String>,
}

impl Exchange {
    /// The first header of that name, whatever the letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// The request log, the fault rules and the shaped line; shared by the listeners of one stand-in.
#[derive(Debug, Default)]
pub struct Traffic {
    log: Mutex<Log>,
    logged: Condvar,
    rules: Mutex<Rules>,
    shape: Mutex<Option<Arc<Shape>>>,
}

#[derive(Debug, Default)]
struct Log {
    /// Entries that were cleared away; an index stays valid when the log is cleared.
    cleared: usize,
    /// Connections that were opened.
    opened: usize,
    entries: Vec<Exchange>,
}

/// A `Link` ready for use.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) link: Link,
    pub(super) total: Option<Bucket>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// Orders a fault.
    pub fn inject(&self, fault: Fault) {
        locked(&self.rules).add(fault);
    }

    /// Takes all fault rules back and says how many of them had never struck.
    pub fn clear_faults(&self) -> usize {
        locked(&self.rules).clear()
    }

    /// Shapes all further requests; `Link::default()` takes the shape off.
    pub fn set_link(&self, link: Link) {
        *locked(&self.shape) = Some(Arc::new(Shape {
            link,
            total: link.bytes_per_second_total.map(Bucket::new),
        }));
    }

    /// A copy of the log, in order of arrival.
    pub fn requests(&self) -> Vec<Exchange> {
        locked(&self.log).entries.clone()
    }

    /// The labels of all requests, in order of arrival.
    pub fn routes(&self) -> Vec<String> {
        locked(&self.log)
            .entries
            .iter()
            .map(|e| e.route.clone())
            .collect()
    }

    /// How many requests of a route came, or of all that a label ending in `*` covers.
    pub fn count(&self, route: &str) -> usize {
        locked(&self.log)
            .entries
            .iter()
            .filter(|e| covers(route, &e.route))
            .count()
    }

    /// Bytes of request bodies that a route received.
    pub fn body_bytes(&self, route: &str) -> u64 {
        locked(&self.log)
            .entries
            .iter()
            .filter(|e| e.route == route)
            .map(|e| e.body_bytes)
            .sum()
    }

    /// How many connections were opened, also those that carried no request.
    pub fn opened_connections(&self) -> usize {
        locked(&self.log).opened
    }

    /// Waits until so many connections were opened; `false` if that takes too long.
    pub fn wait_for_connections(&self, timeout: Duration, number: usize) -> bool {
        let log = locked(&self.log);
        let (log, _) = self
            .logged
            .wait_timeout_while(log, timeout, |log| log.opened < number)
            .unwrap_or_else(PoisonError::into_inner);
        log.opened >= number
    }

    pub(super) fn note_connection(&self) {
        locked(&self.log).opened += 1;
        self.logged.notify_all();
    }

    /// How many connections carried a request.
    pub fn connections(&self) -> usize {
        let log = locked(&self.log);
        let mut connections: Vec<u64> = log.entries.iter().map(|e| e.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        connections.len()
    }

    /// Empties the log. Requests that are under way finish unlogged.
    pub fn clear_log(&self) {
        let mut log = locked(&self.log);
        log.cleared += log.entries.len();
        log.entries.clear();
    }

    /// Waits until the log satisfies `wanted`; false when it does not in time.
    pub fn wait_for(&self, timeout: Duration, wanted: impl Fn(&[Exchange]) -> bool) -> bool {
        let log = locked(&self.log);
        let (log, _) = self
            .logged
            .wait_timeout_while(log, timeout, |log| !wanted(&log.entries))
            .unwrap_or_else(PoisonError::into_inner);
        wanted(&log.entries)
    }

    /// Enters a request and returns its ticket and the fault that strikes it.
    pub(super) fn begin(
        &self,
        head: &Head,
        route: &str,
        connection: u64,
    ) -> (Ticket, Option<Action>) {
        let action = locked(&self.rules).strike(route);
        let mut log = locked(&self.log);
        let index = log.cleared + log.entries.len();
        log.entries.push(Exchange {
            index,
            connection,
            route: route.to_owned(),
            method: head.method.clone(),
            host: head.host().to_owned(),
            target: head.target.clone(),
            headers: head.headers.clone(),
            fault: action.as_ref().map(Action::label),
            ..Exchange::default()
        });
        self.logged.notify_all();
        (Ticket { index }, action)
    }

    pub(super) fn update(&self, ticket: Ticket, change: impl FnOnce(&mut Exchange)) {
        let mut log = locked(&self.log);
        let position = ticket.index.checked_sub(log.cleared);
        if let Some(exchange) = position.and_then(|at| log.entries.get_mut(at)) {
            change(exchange);
            self.logged.notify_all();
        }
    }

    pub(super) fn shape(&self) -> Option<Arc<Shape>> {
        locked(&self.shape).clone()
    }
}

/// Names one entry of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    index: usize,
}
