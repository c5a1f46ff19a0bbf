//! Time: the only file that reads a clock or sleeps.
//!
//! `BACKUP_SYNC_CLOCK_SPEED` (tests only) makes the program's clock run faster than the wall's: at
//! 60, a wait of a minute takes a second and the run's time limit is reached after 55 seconds.
//! `BACKUP_SYNC_FILES_AGE` (tests only) makes files so many seconds older: the time of a change is the system's
//! own, and no test can set it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::io::Errno;

/// The host kills a run after one hour; past this age a run starts nothing new.
const WIND_DOWN_AFTER: Duration = Duration::from_secs(50 * 60);
/// By this age a run has stopped what it was doing and saved what it has.
const STOP_AFTER: Duration = Duration::from_secs(55 * 60);
/// What has not ended by this time after its limit, or after a signal, hangs somewhere in the kernel. It is longer
/// than what a run allows itself to come to its end, and shorter than what hosts allow between SIGTERM and SIGKILL.
const END_PATIENCE: Duration = Duration::from_secs(80);
/// The same on the wall's clock, which a busy machine needs when the program's own runs fast, in tests.
const END_PATIENCE_MIN: Duration = Duration::from_secs(5);
/// Last words may take so long; the disk of the log may be what hangs.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(5);
/// How often somebody who waits looks for a signal.
const SLEEP_SLICE: Duration = Duration::from_millis(50);

/// The current time.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The current instant on the wall's clock, for a library that asks for it.
pub fn instant() -> Instant {
    Instant::now()
}

/// The current time, for the ages of files.
pub fn now_for_files() -> DateTime<Utc> {
    let age = std::env::var("BACKUP_SYNC_FILES_AGE").ok();
    let age = age.and_then(|age| age.parse::<u32>().ok());
    now() + TimeDelta::seconds(age.unwrap_or_default().into())
}

/// The wall time that the program's duration `duration` takes; they differ only in tests.
pub fn wall(duration: Duration) -> Duration {
    duration.div_f64(speed())
}

fn speed() -> f64 {
    static SPEED: OnceLock<f64> = OnceLock::new();
    *SPEED.get_or_init(|| {
        std::env::var("BACKUP_SYNC_CLOCK_SPEED")
            .ok()
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|speed| (1.0..=1_000_000.0).contains(speed))
            .unwrap_or(1.0)
    })
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start, on the program's clock.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed().mul_f64(speed())
    }
}

/// Why a run ends before its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM or SIGINT.
    Signal,
    /// The time is up: the host's one-hour limit is near, or somebody waits.
    TimeLimit,
}

/// A flag that SIGTERM and SIGINT set from now on, instead of ending the process.
pub fn catch_signals() -> Arc<AtomicBool> {
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&signalled)) {
            log::debug!("Signal {signal} cannot be caught: {error}");
        }
    }
    signalled
}

/// Waits long and costs nothing meanwhile: signals end the wait, also that of a child that has ended.
#[derive(Debug)]
pub struct Alarm {
    rung: UnixStream,
}

impl Alarm {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system has no means left for it.
    pub fn new() -> io::Result<Self> {
        let (rung, bell) = UnixStream::pair()?;
        for signal in [
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGCHLD,
        ] {
            signal_hook::low_level::pipe::register(signal, bell.try_clone()?)?;
        }
        Ok(Self { rung })
    }

    /// Waits so long on the wall's clock, or until a signal comes.
    ///
    /// # Errors
    /// If the system does not let it wait.
    pub fn wait(&self, at_most: Duration) -> io::Result<()> {
        let shortest = Duration::from_millis(1);
        self.rung.set_read_timeout(Some(at_most.max(shortest)))?;
        match rustix::io::read(&self.rung, &mut [0_u8; 64]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells every part of a run when to stop, and carries the run's age.
#[derive(Clone, Debug)]
pub struct Stop {
    age: Stopwatch,
    wind_down_after: Duration,
    stop_after: Duration,
    signalled: Arc<AtomicBool>,
}

impl Stop {
    /// A run that starts now and stops early once `signalled` is set.
    pub fn new(signalled: Arc<AtomicBool>) -> Self {
        Self {
            age: Stopwatch::start(),
            wind_down_after: WIND_DOWN_AFTER,
            stop_after: STOP_AFTER,
            signalled,
        }
    }

    /// Something shorter than a run, that somebody waits for: it is over after `limit`.
    pub fn within(limit: Duration, signalled: Arc<AtomicBool>) -> Self {
        Self {
            wind_down_after: limit,
            stop_after: limit,
            ..Self::new(signalled)
        }
    }

    /// The same for a part of a run that it can do without: it is over after `limit` at the latest.
    #[must_use]
    pub fn for_at_most(&self, limit: Duration) -> Self {
        let over_after = self.age().saturating_add(limit);
        Self {
            wind_down_after: self.wind_down_after.min(over_after),
            stop_after: self.stop_after.min(over_after),
            ..self.clone()
        }
    }

    /// How long the run has been going on.
    pub fn age(&self) -> Duration {
        self.age.elapsed()
    }

    /// `Some` when nothing new may be started.
    pub fn winding_down(&self) -> Option<StopReason> {
        self.past(self.wind_down_after)
    }

    /// `Some` when work in progress must be left for the next run.
    pub fn requested(&self) -> Option<StopReason> {
        self.past(self.stop_after)
    }

    fn past(&self, limit: Duration) -> Option<StopReason> {
        if self.signalled.load(Ordering::Relaxed) {
            Some(StopReason::Signal)
        } else if self.age() >= limit {
            Some(StopReason::TimeLimit)
        } else {
            None
        }
    }

    /// Time until [`Stop::requested`] becomes true by age.
    pub fn time_left(&self) -> Duration {
        self.stop_after.saturating_sub(self.age())
    }

    /// Sleeps for `duration` on the program's clock.
    ///
    /// # Errors
    /// The reason, as soon as the run has to stop.
    pub fn sleep(&self, duration: Duration) -> Result<(), StopReason> {
        let slept = Stopwatch::start();
        loop {
            if let Some(reason) = self.requested() {
                return Err(reason);
            }
            let left = duration.saturating_sub(slept.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(wall(left).min(SLEEP_SLICE));
        }
    }

    /// From now on, ends the process if it hangs: some time after it should have stopped, whatever its threads
    /// do then. `last_words` are given a moment before. Nothing is cleaned up, so nothing may depend on it.
    pub fn guard(&self, last_words: impl FnOnce() + Send + 'static) {
        let stop = self.clone();
        std::thread::spawn(move || {
            while stop.requested().is_none() {
                std::thread::sleep(SLEEP_SLICE);
            }
            std::thread::sleep(wall(END_PATIENCE).max(END_PATIENCE_MIN));
            let (sender, said) = mpsc::channel();
            std::thread::spawn(move || {
                last_words();
                // If nobody waits any longer, the process has ended.
                let _ = sender.send(());
            });
            let _ = said.recv_timeout(LAST_WORDS_PATIENCE);
            std::process::exit(1);
        });
    }

    /// Runs `at_stop` on a thread of its own once the run has to stop; until then, `body` goes on.
    /// Requests that hang in a system call are ended this way.
    pub fn watch<T>(&self, at_stop: impl FnOnce() + Send, body: impl FnOnce() -> T) -> T {
        // However `body` ends, its end of the channel is dropped, which wakes the watcher at once.
        let (body_goes_on, body_ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while self.requested().is_none() {
                    if body_ended.recv_timeout(SLEEP_SLICE) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
                at_stop();
            });
            let _body_goes_on = body_goes_on;
            body()
        })
    }
}

/// Hangs for ever where a test asks for it, as a read can in the kernel: `BACKUP_SYNC_HANG` names a pipe, by which a
/// test that reads it learns that it has come to that. Not in the shipped program, which is built without these checks.
pub fn hang_for_a_test() {
    if cfg!(debug_assertions)
        && let Some(pipe) = std::env::var_os("BACKUP_SYNC_HANG")
    {
        let _held = std::fs::File::options().write(true).open(pipe);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_stops_a_sleep() {
        let stop = Stop::new(Arc::new(AtomicBool::new(true)));
        assert_eq!(
            stop.sleep(Duration::from_secs(3600)),
            Err(StopReason::Signal)
        );
        assert_eq!(stop.winding_down(), Some(StopReason::Signal));
    }

    #[test]
    fn what_somebody_waits_for_is_over_in_time() {
        let stop = Stop::within(Duration::ZERO, Arc::default());
        assert_eq!(stop.requested(), Some(StopReason::TimeLimit));
        assert_eq!(stop.time_left(), Duration::ZERO);
    }

    #[test]
    fn a_part_of_a_run_is_over_before_it_and_never_after_it() {
        let run = Stop::new(Arc::default());
        let part = run.for_at_most(Duration::ZERO);
        assert_eq!(part.requested(), Some(StopReason::TimeLimit));
        assert_eq!(run.requested(), None);
        let longer = run.for_at_most(Duration::MAX);
        assert!(longer.time_left() <= STOP_AFTER);
    }

    #[test]
    fn a_fresh_run_may_work() {
        let stop = Stop::new(Arc::default());
        assert_eq!(stop.winding_down(), None);
        assert_eq!(stop.sleep(Duration::ZERO), Ok(()));
    }

    #[test]
    fn what_a_body_waits_for_is_ended_by_a_signal() {
        let signalled = Arc::new(AtomicBool::new(false));
        let stop = Stop::new(Arc::clone(&signalled));
        let (end, ended) = mpsc::channel();
        stop.watch(
            || end.send(()).unwrap(),
            || {
                signalled.store(true, Ordering::Relaxed);
                ended.recv().unwrap();
            },
        );
    }

    #[test]
    fn a_body_that_panics_is_not_watched_any_longer() {
        let stop = Stop::new(Arc::default());
        let watched = || stop.watch(|| unreachable!("nothing has to stop"), || panic!("a test"));
        let panicked = std::panic::catch_unwind(watched);
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a test"));
    }
}
