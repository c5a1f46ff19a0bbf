//! One run at a time in a plugin folder, and a mark that tells whether the last one reached its end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::atomic;

/// Held while a run goes on; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// The run before this one was killed: it left its mark.
    pub is_after_a_cut_off_run: bool,
}

impl Lock {
    /// Takes the lock, or returns `None` if another run holds it.
    ///
    /// # Errors
    /// If the lock file can neither be opened nor made.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            // Made by another user: reading is enough to lock.
            .or_else(|_| File::open(path))?;
        atomic::adopt(path);
        match file.try_lock() {
            Ok(()) => {
                let is_after_a_cut_off_run = file.metadata()?.len() > 0;
                // Only a mark: a run goes on without it, on a full disk too.
                let _ = file.write_all(b"running\n");
                Ok(Some(Self {
                    file,
                    is_after_a_cut_off_run,
                }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
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
}
