//! One run at a time in a plugin folder, and a mark that tells whether the last one reached its end.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::own::{self, Access};
use crate::clock;

/// Mode of a new lock file, before the process's mask.
const MODE: u32 = 0o666;
/// Room for a mark.
const MARK_BYTES_MAX: u64 = 256;
/// How a mark begins that says since when.
const SINCE: &str = "running since ";

/// Held while a run goes on; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    has_mark: bool,
    /// The run before this one was killed: it left its mark.
    pub is_after_a_cut_off_run: bool,
}

impl Lock {
    /// Takes the lock for a run, or returns `None` if somebody else holds it.
    ///
    /// # Errors
    /// If the lock file can neither be opened nor made.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let lock = Self::take_unmarked(path)?;
        Ok(lock.map(|mut lock| {
            lock.has_mark = true;
            // Only a mark: a run goes on without it, on a full disk too.
            let _ = mark(&lock.file);
            lock
        }))
    }

    /// Takes the lock for something that is over within seconds and is no run: whether the last run
    /// has reached its end stays to be seen by the next one.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn take_unmarked(path: &Path) -> io::Result<Option<Self>> {
        let file = own::open_or_make(path, Access::Write, MODE)
            // Made by another user: reading is enough to lock.
            .or_else(|error| own::open(path, Access::Read).map_err(|_| error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self {
                is_after_a_cut_off_run: file.metadata()?.len() > 0,
                has_mark: false,
                file,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.has_mark {
            let _ = self.file.set_len(0);
        }
    }
}

/// Writes the mark of a run that begins now. Not even for an instant is there none in place of an old one.
fn mark(file: &File) -> io::Result<()> {
    let now = clock::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let mark = format!("{SINCE}{now}, process {}\n", std::process::id());
    file.write_all_at(mark.as_bytes(), 0)?;
    file.set_len(mark.len() as u64)
}

/// Since when the run goes on that has left this mark; earlier versions did not say.
fn since(mark: &str) -> Option<DateTime<Utc>> {
    let (time, _) = mark.strip_prefix(SINCE)?.split_once(',')?;
    Some(DateTime::parse_from_rfc3339(time).ok()?.to_utc())
}

/// A run ends itself before an hour is over; one that has held the lock for longer hangs.
const RUN_MAX: TimeDelta = TimeDelta::minutes(90);

/// Whether a run that began then can only be hanging.
pub fn is_stuck(since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - since > RUN_MAX
}

/// What a lock file tells to somebody who only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No run goes on.
    Free,
    /// A run goes on.
    Running {
        /// When it began, where its mark says so.
        since: Option<DateTime<Utc>>,
    },
    /// No run goes on, and the last one did not reach its end.
    CutOff,
}

impl Seen {
    /// Whether a run goes on.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running { .. })
    }
}

/// Looks whether a run goes on, without making a file or keeping a run from starting.
///
/// Only where a mark is left behind is the lock itself tried, for an instant and shared with other
/// lookers; a run that begins in this very instant tries again.
pub fn look(path: &Path) -> Seen {
    let mut mark = Vec::new();
    let read = own::open(path, Access::Read).and_then(|file| {
        (&file).take(MARK_BYTES_MAX).read_to_end(&mut mark)?;
        Ok(file)
    });
    let Ok(file) = read else {
        return Seen::Free;
    };
    if mark.is_empty() {
        return Seen::Free;
    }
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Seen::Running {
            since: since(&String::from_utf8_lossy(&mark)),
        },
        Ok(()) | Err(TryLockError::Error(_)) => Seen::CutOff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_not_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let first = Lock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::take(&path).unwrap().is_none());
        drop(first);
        let second = Lock::take(&path).unwrap().unwrap();
        assert!(!second.is_after_a_cut_off_run);
        drop(second);
        // A killed process drops nothing.
        std::fs::write(&path, "running\n").unwrap();
        let third = Lock::take(&path).unwrap().unwrap();
        assert!(third.is_after_a_cut_off_run);
    }

    #[test]
    fn what_is_no_run_leaves_the_mark_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        for mark in ["", "running\n"] {
            std::fs::write(&path, mark).unwrap();
            let lock = Lock::take_unmarked(&path).unwrap();
            assert!(lock.is_some() && Lock::take(&path).unwrap().is_none());
            drop(lock);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), mark);
        }
    }

    #[test]
    fn a_look_tells_a_run_from_one_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        assert_eq!(look(&path), Seen::Free);
        assert!(!path.exists());
        let lock = Lock::take(&path).unwrap();
        let Seen::Running { since: Some(since) } = look(&path) else {
            panic!("{:?}", look(&path));
        };
        assert!((clock::now() - since).num_seconds().abs() < 60);
        // As version 2.0.0 wrote it before.
        std::fs::write(&path, "running\n").unwrap();
        assert_eq!(look(&path), Seen::Running { since: None });
        drop(lock);
        assert_eq!(look(&path), Seen::Free);
        std::fs::write(&path, "running\n").unwrap();
        assert_eq!(look(&path), Seen::CutOff);
        assert!(Lock::take(&path).unwrap().is_some());
    }
}
