//! What the connections to Dropbox did over time, sampled from the stand-in's request log.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::dropbox::Dropbox;
use crate::http::{Exchange, Traffic};

/// One line of the timeline.
const SLOT: Duration = Duration::from_millis(100);

/// A recording that goes on.
pub struct Timeline {
    stop: Sender<()>,
    recorder: JoinHandle<String>,
}

impl Timeline {
    /// Begins to record.
    pub fn record(dropbox: &Dropbox) -> Self {
        let traffic = Arc::clone(dropbox.traffic());
        let (stop, stopped) = channel();
        let recorder = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut text = String::from("  time       MB/s  sending  answering  begun  of them\n");
            let mut before = Sample::default();
            while stopped.recv_timeout(SLOT) == Err(RecvTimeoutError::Timeout) {
                let now = Sample::of(&traffic);
                let begun_now = &now.routes[before.routes.len().min(now.routes.len())..];
                let _ = writeln!(
                    text,
                    "{:6.2} s  {:8.1}  {:7}  {:9}  {:5}  {}",
                    begun.elapsed().as_secs_f64(),
                    (now.body_bytes - before.body_bytes) as f64 / 1e6 / SLOT.as_secs_f64(),
                    now.sending,
                    now.answering,
                    begun_now.len(),
                    other_than_bytes(begun_now),
                );
                before = now;
            }
            text
        });
        Self { stop, recorder }
    }

    /// Ends the recording and returns its lines.
    pub fn stop(self) -> String {
        drop(self.stop);
        self.recorder.join().unwrap_or_default()
    }
}

/// The requests that carry no content are rare enough to be named.
fn other_than_bytes(routes: &[String]) -> String {
    let named: Vec<&str> = routes
        .iter()
        .map(String::as_str)
        .filter(|route| !route.ends_with("/append_v2"))
        .collect();
    named.join(" ")
}

#[derive(Default)]
struct Sample {
    body_bytes: u64,
    /// Requests whose body is still on its way.
    sending: usize,
    /// Requests that wait for their answer.
    answering: usize,
    routes: Vec<String>,
}

impl Sample {
    fn of(traffic: &Traffic) -> Self {
        let mut sample = Self::default();
        for exchange in traffic.requests() {
            sample.body_bytes += exchange.body_bytes;
            if exchange.status.is_none() {
                if exchange.body_bytes < announced(&exchange) {
                    sample.sending += 1;
                } else {
                    sample.answering += 1;
                }
            }
            sample.routes.push(exchange.route);
        }
        sample
    }
}

fn announced(exchange: &Exchange) -> u64 {
    exchange
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0)
}
