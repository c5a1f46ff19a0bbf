//! How even the upload is under a limit, sampled from what the stand-in for Dropbox has received.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::dropbox::Dropbox;
use crate::http::Traffic;

/// How often the received bytes are counted.
const EVERY: Duration = Duration::from_millis(50);
/// The time over which the rate is promised.
const WINDOW_SECONDS: f64 = 60.0;

/// How an upload kept to its limit.
#[derive(Debug, Clone, Copy)]
pub struct Evenness {
    /// The limit in bytes a second.
    pub limit: f64,
    /// The slowest minute of the upload, as a share of the limit.
    pub least: f64,
    /// The fastest one.
    pub most: f64,
    /// What arrived beyond the limit, at most, over any time however short, in bytes.
    pub burst_bytes: f64,
}

/// Seconds since the beginning, and bytes received until then.
type Sample = (f64, f64);

/// A recording that goes on.
pub struct Recording {
    limit: f64,
    stop: Sender<()>,
    recorder: JoinHandle<Vec<Sample>>,
}

impl Recording {
    /// Begins to record an upload that is limited to so many bytes a second.
    pub fn start(dropbox: &Dropbox, limit: f64) -> Self {
        let traffic = Arc::clone(dropbox.traffic());
        let (stop, stopped) = channel();
        let recorder = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut samples = Vec::new();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let bytes = content_bytes(&traffic);
                samples.push((begun.elapsed().as_secs_f64(), bytes as f64));
            }
            samples
        });
        Self {
            limit,
            stop,
            recorder,
        }
    }

    /// Ends the recording; `None` if the upload was too short to say anything.
    pub fn stop(self) -> Option<Evenness> {
        drop(self.stop);
        let samples = self.recorder.join().unwrap_or_default();
        evenness(&samples, self.limit)
    }
}

fn content_bytes(traffic: &Traffic) -> u64 {
    let requests = traffic.requests();
    let content = requests
        .iter()
        .filter(|request| request.route.contains("upload_session"));
    content.map(|request| request.body_bytes).sum()
}

fn evenness(samples: &[Sample], limit: f64) -> Option<Evenness> {
    let (_, all) = *samples.last()?;
    // From the last sample without bytes to the first one with all of them.
    let from = samples.iter().rposition(|&(_, bytes)| bytes == 0.0)?;
    let to = samples.iter().position(|&(_, bytes)| bytes == all)?;
    let upload = samples.get(from..=to)?;
    let minutes = upload.iter().filter_map(|&(begin, before)| {
        let end = upload
            .iter()
            .find(|(time, _)| *time >= begin + WINDOW_SECONDS)?;
        Some((end.1 - before) / (end.0 - begin) / limit)
    });
    let mut least_ahead = f64::INFINITY;
    let mut burst_bytes: f64 = 0.0;
    for (time, bytes) in upload {
        let ahead = bytes - limit * time;
        least_ahead = least_ahead.min(ahead);
        burst_bytes = burst_bytes.max(ahead - least_ahead);
    }
    let (least, most) = minutes.fold((f64::INFINITY, 0.0_f64), |(least, most), share| {
        (least.min(share), most.max(share))
    });
    least.is_finite().then_some(Evenness {
        limit,
        least,
        most,
        burst_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_rate_is_the_limit_and_a_burst_is_seen() {
        let even: Vec<Sample> = (0..1000)
            .map(|n| (f64::from(n) / 10.0, f64::from(n) * 100.0))
            .collect();
        let found = evenness(&even, 1000.0).unwrap();
        assert!((found.least - 1.0).abs() < 0.001 && (found.most - 1.0).abs() < 0.001);
        assert!(found.burst_bytes < 0.001);

        let jump = |&(time, bytes): &Sample| {
            let more = if time > 50.0 { 5_000.0 } else { 0.0 };
            (time, bytes + more)
        };
        let uneven: Vec<Sample> = even.iter().map(jump).collect();
        let found = evenness(&uneven, 1000.0).unwrap();
        assert!((found.burst_bytes - 5_000.0).abs() < 200.0, "{found:?}");
        assert!(found.most > 1.08, "{found:?}");
    }

    #[test]
    fn less_than_a_minute_says_nothing() {
        let short: Vec<Sample> = (0..100).map(|n| (f64::from(n), 1.0)).take(50).collect();
        assert!(evenness(&short, 1.0).is_none());
    }
}
