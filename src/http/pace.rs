//! An even upload rate over all connections.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Stop, Stopwatch};

/// Smallest piece that is let through at once.
const PIECE_BYTES_MIN: usize = 16 * 1024;
/// Pieces a second, at most; more would cost wake-ups and gain nothing.
const PIECES_PER_SECOND: f64 = 100.0;

/// Lets pieces through one after another, each in its slot of time. There is no saved-up credit, so
/// no burst follows a pause.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: f64,
    stop: Stop,
    clock: Stopwatch,
    /// When the next slot begins.
    next_slot: Mutex<Duration>,
}

impl Pace {
    /// A rate of `bytes_per_second`, which is more than zero.
    pub fn new(bytes_per_second: f64, stop: Stop) -> Self {
        Self {
            bytes_per_second,
            stop,
            clock: Stopwatch::start(),
            next_slot: Mutex::default(),
        }
    }

    /// How many bytes to let through at once.
    pub fn piece_bytes(&self) -> usize {
        // A rate beyond the address space has no use for pieces.
        let piece = self.bytes_per_second / PIECES_PER_SECOND;
        PIECE_BYTES_MIN.max(piece as usize)
    }

    /// Waits for the slot of a piece of `bytes`.
    ///
    /// # Errors
    /// When the run has to stop.
    pub fn wait_for(&self, bytes: usize) -> io::Result<()> {
        let length = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let now = self.clock.elapsed();
        let begins = {
            let mut next = self
                .next_slot
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let begins = (*next).max(now);
            *next = begins + length;
            begins
        };
        self.stop
            .sleep(begins.saturating_sub(now))
            .map_err(|_| io::Error::other("the run has to stop"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn slots_follow_one_another_without_credit() {
        let pace = Pace::new(1e9, Stop::new(Arc::default()));
        for _ in 0..100 {
            pace.wait_for(1_000_000).unwrap();
        }
        let scheduled = *pace.next_slot.lock().unwrap();
        assert!(scheduled >= Duration::from_millis(100), "{scheduled:?}");
        assert!(pace.clock.elapsed() >= Duration::from_millis(99));
    }

    #[test]
    fn a_run_that_has_to_stop_does_not_wait() {
        let pace = Pace::new(1.0, Stop::new(Arc::new(AtomicBool::new(true))));
        assert!(pace.wait_for(1_000_000).is_err());
    }
}
