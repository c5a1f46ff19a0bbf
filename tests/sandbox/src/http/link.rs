//! Shapes traffic like a line with a latency and a bandwidth, for benchmarks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line to imitate; zero or `None` means no limit. Bodies are shaped, heads are not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Added before each answer.
    pub per_request_latency: Duration,
    /// Added before each TLS handshake, as the round trips of a new connection over a long way do.
    pub per_handshake_latency: Duration,
    /// What one connection can carry, as a TCP window over a long way does.
    pub bytes_per_second_per_connection: Option<u64>,
    /// What all connections together can carry.
    pub bytes_per_second_total: Option<u64>,
}

/// Hands out time: whoever wants to move bytes is told how long to wait first.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

/// What may accumulate while nobody moves bytes, so that late wake-ups do not cost throughput.
const SLACK: Duration = Duration::from_millis(20);

impl Bucket {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Books `bytes` and returns how long to wait for them.
    pub(super) fn book(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        if *free_at < earliest {
            *free_at = earliest;
        }
        *free_at += Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        free_at.saturating_duration_since(now)
    }

    /// A piece that takes about five milliseconds, within the sizes one call moves well.
    pub(super) fn piece_bytes(&self) -> usize {
        usize::try_from(self.bytes_per_second / 200)
            .unwrap_or(usize::MAX)
            .clamp(1_460, 64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booked_time_adds_up_to_the_rate() {
        let begun = Instant::now();
        let bucket = Bucket::new(1_000_000);
        let mut wait = Duration::ZERO;
        for _ in 0..100 {
            wait = bucket.book(10_000);
        }
        // One megabyte at one megabyte a second, less the slack.
        assert!(wait + begun.elapsed() >= Duration::from_secs(1) - SLACK);
        assert!(wait <= Duration::from_secs(1));
    }
}
