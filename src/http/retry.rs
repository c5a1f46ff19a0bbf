//! One retry loop for every request: which wait comes next is pure, the waiting is done here.

use std::fmt::Display;
use std::time::Duration;

use crate::clock::{Stop, StopReason, Stopwatch};

/// How an error wants to be treated; of several, the greatest serves all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// The same request would fail again.
    Never,
    /// A passing fault: wait, longer each time.
    Backoff,
    /// The server asks for patience; `Some` when it says how long.
    After(Option<Duration>),
}

/// An error that knows whether another try makes sense.
pub trait Retryable: Display {
    /// What to do after this error.
    fn retry(&self) -> Retry;
    /// The error that stands for a run that had to stop while it waited.
    fn stopped(reason: StopReason) -> Self;
}

/// Tries for a passing fault: with the waits below, about two minutes.
const ATTEMPTS_MAX: u32 = 7;
/// Tries while the server asks for patience without a word for how long; where it names a time, this many
/// tries may follow one another quickly.
const PATIENT_ATTEMPTS_MAX: u32 = 20;
/// Longest wait between two tries, where the server does not ask for more.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The wait before try number `attempt + 1`, or `None` to give up. Whoever asks for a time gets it as long as the
/// run goes on.
///
/// `attempt` counts the tries made so far, from 1; `jitter` lies in 0..1.
pub fn next_wait(retry: Retry, attempt: u32, jitter: f64, time_left: Duration) -> Option<Duration> {
    let doubled = Duration::from_secs(1 << attempt.clamp(1, 10).saturating_sub(1));
    let backoff = doubled.min(BACKOFF_MAX).mul_f64(0.5 + jitter / 2.0);
    let wait = match retry {
        Retry::Never => return None,
        Retry::Backoff if attempt >= ATTEMPTS_MAX => return None,
        Retry::After(None) if attempt >= PATIENT_ATTEMPTS_MAX => return None,
        Retry::Backoff | Retry::After(None) => backoff,
        Retry::After(Some(asked)) => {
            let floor = match attempt {
                ..=PATIENT_ATTEMPTS_MAX => Duration::ZERO,
                _ => backoff,
            };
            // A little more than asked, so that several lanes do not come back in the same instant.
            asked
                .max(floor)
                .saturating_add(Duration::from_secs_f64(jitter))
        }
    };
    // A try that has less time than was waited for it, up to a minute, would be cut short by the run's end.
    let needed = wait.saturating_add(wait.min(BACKOFF_MAX));
    (needed < time_left).then_some(wait)
}

/// Counts the tries of one operation: those that met a fault, and those that met a wish for patience.
#[derive(Debug)]
pub struct Tries {
    faults: u32,
    waits: u32,
    since: Stopwatch,
    patience: Duration,
}

impl Default for Tries {
    fn default() -> Self {
        Self::for_about(Duration::MAX)
    }
}

impl Tries {
    /// Tries that others wait behind: after `patience`, no further one is begun. A single wait that is asked for
    /// may be longer.
    pub fn for_about(patience: Duration) -> Self {
        Self {
            faults: 0,
            waits: 0,
            since: Stopwatch::start(),
            patience,
        }
    }

    /// The wait before the next try, or `None` to give up.
    pub fn next_wait(&mut self, retry: Retry, stop: &Stop) -> Option<Duration> {
        if self.since.elapsed() >= self.patience {
            return None;
        }
        let count = match retry {
            Retry::After(_) => &mut self.waits,
            Retry::Never | Retry::Backoff => &mut self.faults,
        };
        *count += 1;
        next_wait(retry, *count, fastrand::f64(), stop.time_left())
    }

    /// Waits before the next try of `what`, and tells the log of it; `false` to give up.
    ///
    /// # Errors
    /// Why the run must stop.
    pub fn wait(
        &mut self,
        retry: Retry,
        what: &str,
        cause: &dyn Display,
        stop: &Stop,
    ) -> Result<bool, StopReason> {
        let Some(wait) = self.next_wait(retry, stop) else {
            return Ok(false);
        };
        let (tries, wait_s) = (self.faults + self.waits, wait.as_secs_f64());
        log::debug!(
            "Try {tries} of {what} failed; the next one follows in {wait_s:.1} s. Cause: {cause}"
        );
        stop.sleep(wait)?;
        Ok(true)
    }
}

/// Repeats `operation` as its errors ask for.
///
/// # Errors
/// The last error, when it is permanent, when the tries are used up, or when the run must stop.
pub fn with_retry<T, E: Retryable>(
    stop: &Stop,
    what: &str,
    operation: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    with_tries(Tries::default(), stop, what, operation)
}

/// The same with as many tries as are given.
///
/// # Errors
/// As [`with_retry`].
pub fn with_tries<T, E: Retryable>(
    mut tries: Tries,
    stop: &Stop,
    what: &str,
    mut operation: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    loop {
        if let Some(reason) = stop.requested() {
            return Err(E::stopped(reason));
        }
        let error = match operation() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let goes_on = match stop.requested() {
            Some(reason) => Err(reason),
            None => tries.wait(error.retry(), what, &error, stop),
        };
        match goes_on {
            Ok(true) => {}
            Ok(false) => return Err(error),
            Err(reason) => return Err(ended(reason, error)),
        }
    }
}

/// Why an operation has ended with the run. A request that was cut short because the run has to stop is not a fault
/// of its own; a wish for patience that has used up the run's time is.
fn ended<E: Retryable>(reason: StopReason, error: E) -> E {
    match (reason, error.retry()) {
        (StopReason::TimeLimit, Retry::After(_)) => error,
        _ => E::stopped(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn permanent_errors_are_not_repeated() {
        assert_eq!(next_wait(Retry::Never, 1, 0.0, HOUR), None);
    }

    #[test]
    fn waits_double_up_to_a_minute_and_end() {
        let waits: Vec<u64> = (1..10)
            .map_while(|attempt| next_wait(Retry::Backoff, attempt, 1.0, HOUR))
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32]);
        let patient = (1..30).map_while(|n| next_wait(Retry::After(None), n, 1.0, HOUR));
        assert_eq!(patient.max(), Some(BACKOFF_MAX));
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let wait = |jitter| next_wait(Retry::Backoff, 4, jitter, HOUR);
        assert_eq!(wait(0.0), Some(Duration::from_secs(4)));
        assert_eq!(wait(1.0), Some(Duration::from_secs(8)));
    }

    #[test]
    fn the_servers_wish_wins_unless_it_is_absurd() {
        let asked = |seconds| Retry::After(Some(Duration::from_secs(seconds)));
        assert!(next_wait(asked(300), 1, 0.0, HOUR) >= Some(Duration::from_secs(300)));
        assert_eq!(next_wait(asked(86_400), 1, 0.0, HOUR), None);
        assert_eq!(next_wait(asked(u64::MAX), 1, 1.0, HOUR), None);
    }

    #[test]
    fn who_names_a_time_gets_it_as_often_as_asked_but_not_by_the_thousand() {
        let asked = |seconds| Retry::After(Some(Duration::from_secs(seconds)));
        assert!(next_wait(asked(1), 20, 0.0, HOUR) < Some(Duration::from_secs(2)));
        let waits: Duration = (1..70)
            .filter_map(|n| next_wait(asked(0), n, 0.5, HOUR))
            .sum();
        assert!(waits > HOUR / 2, "{waits:?}");
    }

    #[derive(Debug, PartialEq)]
    enum Fault {
        Busy,
        Cut,
        Stopped(StopReason),
    }

    impl Display for Fault {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl Retryable for Fault {
        fn retry(&self) -> Retry {
            match self {
                Self::Busy => Retry::After(None),
                _ => Retry::Backoff,
            }
        }

        fn stopped(reason: StopReason) -> Self {
            Self::Stopped(reason)
        }
    }

    #[test]
    fn patience_that_has_used_up_the_time_is_told_and_what_the_stop_itself_cut_short_is_not() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        for (fault, is_signal) in [
            (Fault::Busy, false),
            (Fault::Cut, false),
            (Fault::Busy, true),
        ] {
            let signalled = Arc::new(AtomicBool::new(false));
            let limit = if is_signal {
                HOUR
            } else {
                Duration::from_millis(5)
            };
            let stop = Stop::within(limit, Arc::clone(&signalled));
            let expected = match (&fault, is_signal) {
                (Fault::Busy, false) => Fault::Busy,
                (_, false) => Fault::Stopped(StopReason::TimeLimit),
                (_, true) => Fault::Stopped(StopReason::Signal),
            };
            let mut fault = Some(fault);
            let result: Result<(), Fault> = with_retry(&stop, "a test", || {
                while !is_signal && stop.requested().is_none() {
                    std::thread::yield_now();
                }
                signalled.store(is_signal, Ordering::Relaxed);
                Err(fault.take().unwrap())
            });
            assert_eq!(result, Err(expected));
        }
    }

    #[test]
    fn who_waits_for_others_gives_up_in_the_end() {
        let stop = Stop::within(HOUR, Default::default());
        let next = |patience| Tries::for_about(patience).next_wait(Retry::After(None), &stop);
        assert_eq!(next(Duration::ZERO), None);
        assert_ne!(next(HOUR), None);
    }

    #[test]
    fn nothing_is_begun_by_a_run_that_has_to_stop() {
        let signalled = std::sync::Arc::new(true.into());
        let stop = Stop::within(HOUR, signalled);
        let outcome: Result<(), Fault> = with_retry(&stop, "a test", || panic!("it was begun"));
        assert_eq!(outcome, Err(Fault::Stopped(StopReason::Signal)));
    }

    #[test]
    fn no_wait_reaches_past_the_runs_end() {
        let wait = |seconds| next_wait(Retry::Backoff, 5, 1.0, Duration::from_secs(seconds));
        assert_eq!(wait(32), None);
        assert_eq!(wait(33), Some(Duration::from_secs(16)));
        let asked = Retry::After(Some(Duration::from_secs(3000)));
        assert!(next_wait(asked, 1, 0.5, Duration::from_secs(3100)).is_some());
    }
}
