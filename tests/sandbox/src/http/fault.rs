//! Faults that a test orders in advance: which request is hit, and what happens to it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One rule: what to do to the requests it matches. The first rule that matches a request wins.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which requests are hit.
    pub on: On,
    /// What happens to them.
    pub action: Action,
}

/// Selects requests by route label and by how many matching ones came before, counted from the moment
/// the rule was added.
#[derive(Debug, Clone)]
pub struct On {
    route: String,
    first: u64,
    last: u64,
}

impl On {
    /// The next request of this route. A label ending in `*` matches every label that begins so.
    pub fn next(route: &str) -> Self {
        Self::nth(route, 1)
    }

    /// Only the nth request of this route (1 = the next one).
    pub fn nth(route: &str, nth: u64) -> Self {
        Self {
            route: route.into(),
            first: nth,
            last: nth,
        }
    }

    /// The next `count` requests of this route.
    pub fn times(route: &str, count: u64) -> Self {
        Self {
            route: route.into(),
            first: 1,
            last: count,
        }
    }

    /// Every request of this route, from the nth on.
    pub fn from_nth(route: &str, nth: u64) -> Self {
        Self {
            route: route.into(),
            first: nth,
            last: u64::MAX,
        }
    }

    /// Every request of this route.
    pub fn every(route: &str) -> Self {
        Self::from_nth(route, 1)
    }

    fn covers_route(&self, route: &str) -> bool {
        covers(&self.route, route)
    }
}

/// Whether a label covers a route; one that ends in `*` covers every route that begins so.
pub(super) fn covers(label: &str, route: &str) -> bool {
    match label.strip_suffix('*') {
        Some(prefix) => route.starts_with(prefix),
        None => route == label,
    }
}

/// What happens to a request that a rule matches.
#[derive(Debug, Clone)]
pub enum Action {
    /// Reads the body, does nothing, answers this.
    Status {
        /// Status code.
        code: u16,
        /// Headers of the answer.
        headers: Vec<(String, String)>,
        /// Body of the answer.
        body: Vec<u8>,
    },
    /// Resets the connection before the body is read.
    ResetBeforeBody,
    /// Resets the connection after this many bytes of the request's body.
    ResetMidBody(u64),
    /// Carries the request out, then resets the connection without a word.
    AnswerLost,
    /// Sends the whole head, then this many bytes of the body, then closes the connection politely.
    TruncateResponse(u64),
    /// Ends the body after this many bytes without announcing any length, as if that were all: by the last chunk, as
    /// a proxy does that has lost its server, or by closing the connection.
    EndEarly {
        /// Bytes of the body.
        bytes: u64,
        /// By the last chunk, not by closing.
        chunked: bool,
    },
    /// Like `TruncateResponse`, but with a hard reset.
    ResetMidResponse(u64),
    /// Sends the head of the answer and then nothing, until the client or the server goes away.
    StallResponse,
    /// Carries the request out and then says nothing at all, until the client or the server goes away.
    NoAnswer,
    /// Sends the body in pieces of so many bytes, with a pause after each.
    SlowResponse {
        /// Bytes of a piece.
        bytes: usize,
        /// The pause.
        every: Duration,
    },
    /// Answers 302 with this location.
    Redirect(String),
    /// Waits, then carries the request out as usual.
    Delay(Duration),
    /// Carries the request out, then waits before it answers.
    DelayAnswer(Duration),
    /// Holds the request before its body is read, until the test opens the gate; then carries it out as usual.
    Hold(Gate),
    /// Carries the request out and holds the answer until the test opens the gate.
    HoldAnswer(Gate),
}

impl Action {
    /// A status with a JSON body.
    pub fn json(code: u16, body: &serde_json::Value) -> Self {
        Self::Status {
            code,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        }
    }

    /// A status with an HTML page, as gateways in front of a service answer.
    pub fn html(code: u16, page: &str) -> Self {
        Self::Status {
            code,
            headers: vec![("Content-Type".into(), "text/html".into())],
            body: page.as_bytes().to_vec(),
        }
    }

    /// A status with a plain text body.
    pub fn text(code: u16, text: &str) -> Self {
        Self::Status {
            code,
            headers: vec![("Content-Type".into(), "text/plain; charset=utf-8".into())],
            body: text.as_bytes().to_vec(),
        }
    }

    /// What the log says about it: bodies would only blow it up.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Status { code, .. } => format!("Status({code})"),
            Self::Hold(_) => "Hold".into(),
            Self::HoldAnswer(_) => "HoldAnswer".into(),
            other => format!("{other:?}"),
        }
    }

    /// The same action with a header added; only a `Status` has headers.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }
}

/// A gate between a test and a held request: the test learns that the request has arrived, and lets it go.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Debug, Default)]
struct GateState {
    reached: u64,
    open: bool,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every request go that waits now or comes later.
    pub fn open(&self) {
        let (state, changed) = &*self.inner;
        state.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        changed.notify_all();
    }

    /// Waits until a request stands at the gate; false when none came in time.
    pub fn wait_reached(&self, timeout: Duration) -> bool {
        let (state, changed) = &*self.inner;
        let guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = changed
            .wait_timeout_while(guard, timeout, |state| state.reached == 0)
            .unwrap_or_else(PoisonError::into_inner);
        guard.reached > 0
    }

    /// Stands at the gate until it opens or the server stops.
    pub(super) fn pass(&self, is_stopping: impl Fn() -> bool) {
        let (state, changed) = &*self.inner;
        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        guard.reached += 1;
        changed.notify_all();
        // The server's stop does not know the gates, so a waiting request looks for it now and then.
        while !guard.open && !is_stopping() {
            guard = changed
                .wait_timeout(guard, Duration::from_millis(20))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// The rules in force, each with the number of matching requests it has seen.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<(Fault, u64)>,
}

impl Rules {
    pub(super) fn add(&mut self, fault: Fault) {
        self.rules.push((fault, 0));
    }

    /// Removes every rule and says how many had never struck.
    pub(super) fn clear(&mut self) -> usize {
        let unused = self
            .rules
            .iter()
            .filter(|(fault, seen)| *seen < fault.on.first)
            .count();
        self.rules.clear();
        unused
    }

    /// The action for a request that arrives now. Every rule of the route counts it; one strikes.
    pub(super) fn strike(&mut self, route: &str) -> Option<Action> {
        let mut struck = None;
        for (fault, seen) in &mut self.rules {
            if !fault.on.covers_route(route) {
                continue;
            }
            *seen += 1;
            if struck.is_none() && (fault.on.first..=fault.on.last).contains(seen) {
                struck = Some(fault.action.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(faults: &[On]) -> Rules {
        let mut rules = Rules::default();
        for on in faults {
            rules.add(Fault {
                on: on.clone(),
                action: Action::AnswerLost,
            });
        }
        rules
    }

    #[test]
    fn a_rule_strikes_only_its_occurrences_of_its_route() {
        let mut rules = rules(&[On::nth("a", 2)]);
        let struck: Vec<bool> = ["a", "b", "a", "a"]
            .iter()
            .map(|route| rules.strike(route).is_some())
            .collect();
        assert_eq!(struck, [false, false, true, false]);
    }

    #[test]
    fn a_star_matches_by_beginning() {
        let mut rules = rules(&[On::every("files/*")]);
        assert!(rules.strike("files/upload").is_some());
        assert!(rules.strike("oauth2/token").is_none());
    }

    #[test]
    fn clearing_tells_what_never_struck() {
        let mut rules = rules(&[On::next("a"), On::next("b")]);
        rules.strike("a");
        assert_eq!(rules.clear(), 1);
    }
}
