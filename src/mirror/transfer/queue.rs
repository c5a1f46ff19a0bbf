//! The work that waits for a lane.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lane::Work;

/// A queue between the threads. Its length is bounded by the budget under which blocks are read.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    work: VecDeque<Work>,
    closed: bool,
}

impl Queue {
    /// Adds work at the end.
    pub fn push(&self, work: Work) {
        self.change(|inner| inner.work.push_back(work));
    }

    /// Adds work that frees memory or commits, ahead of all other.
    pub fn push_first(&self, work: Work) {
        self.change(|inner| inner.work.push_front(work));
    }

    /// Lets the lanes end once the queue is empty.
    pub fn close(&self) {
        self.change(|inner| inner.closed = true);
    }

    /// The next work; waits for it, and returns `None` at the end.
    pub fn next(&self) -> Option<Work> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |inner: &mut Inner| inner.work.is_empty() && !inner.closed;
        let mut inner = self
            .changed
            .wait_while(inner, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        inner.work.pop_front()
    }

    /// Waits for `time`, or until the queue is closed.
    pub fn wait_for_end(&self, time: Duration) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |inner: &mut Inner| !inner.closed;
        // What is found after the wait does not matter: the lane looks for work in any case.
        drop(self.changed.wait_timeout_while(inner, time, open));
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}
