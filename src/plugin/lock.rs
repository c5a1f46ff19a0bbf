//! One run at a time in a plugin folder, and a mark that tells whether the last one reached its end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::atomic;

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
            let _ = lock.file.write_all(b"running\n");
            lock
        }))
    }

    /// Takes the lock for something that is over within seconds and is no run: whether the last run
    /// has reached its end stays to be seen by the next one.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn take_unmarked(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            // Made by another user: reading is enough to lock.
            .or_else(|_| File::open(path))?;
        atomic::adopt(path);
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

/// What a lock file tells to somebody who only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No run goes on.
    Free,
    /// A run goes on.
    Running,
    /// No run goes on, and the last one did not reach its end.
    CutOff,
}

/// Looks whether a run goes on, without making a file or keeping a run from starting.
///
/// Only where a mark is left behind is the lock itself tried, for an instant and shared with other
/// lookers; a run that begins in this very instant tries again.
pub fn look(path: &Path) -> Seen {
    let Ok(file) = File::open(path) else {
        return Seen::Free;
    };
    match file.metadata() {
        Ok(lock) if lock.len() > 0 => match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Seen::Running,
            Ok(()) | Err(TryLockError::Error(_)) => Seen::CutOff,
        },
        _ => Seen::Free,
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
        assert_eq!(look(&path), Seen::Running);
        drop(lock);
        assert_eq!(look(&path), Seen::Free);
        std::fs::write(&path, "running\n").unwrap();
        assert_eq!(look(&path), Seen::CutOff);
        assert!(Lock::take(&path).unwrap().is_some());
    }
}
