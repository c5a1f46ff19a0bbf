//! The work that waits for a lane.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
    /// Jobs whose work is dropped.
    abandoned: BTreeSet<usize>,
    closed: bool,
}

impl Queue {
    /// Adds work at the end, unless its job was abandoned.
    pub fn push(&self, work: Work) {
        self.change(|inner| {
            if !work.job().is_some_and(|job| inner.abandoned.contains(&job)) {
                inner.work.push_back(work);
            }
        });
    }

    /// Adds work that frees memory or commits, ahead of all other.
    pub fn push_first(&self, work: Work) {
        self.change(|inner| inner.work.push_front(work));
    }

    /// Drops all work of a job, what waits and what is still to come.
    pub fn abandon(&self, job: usize) {
        self.change(|inner| {
            inner.abandoned.insert(job);
            inner.work.retain(|work| work.job() != Some(job));
        });
    }

    /// Whether a job's work is dropped.
    pub fn has_abandoned(&self, job: usize) -> bool {
        self.lock().abandoned.contains(&job)
    }

    /// Lets the lanes end once the queue is empty.
    pub fn close(&self) {
        self.change(|inner| inner.closed = true);
    }

    /// The next work; waits for it, and returns `None` at the end.
    pub fn next(&self) -> Option<Work> {
        let inner = self.lock();
        let waiting = |inner: &mut Inner| inner.work.is_empty() && !inner.closed;
        let mut inner = self
            .changed
            .wait_while(inner, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        inner.work.pop_front()
    }

    /// Waits for `time`, or until the queue is closed.
    pub fn wait_for_end(&self, time: Duration) {
        let inner = self.lock();
        let open = |inner: &mut Inner| !inner.closed;
        // What is found after the wait does not matter: the lane looks for work in any case.
        drop(self.changed.wait_timeout_while(inner, time, open));
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropbox::content_hash::{ContentHash, Digested};

    #[test]
    fn nothing_is_done_any_more_of_a_job_that_was_abandoned() {
        let queue = Queue::default();
        let push = |job| {
            queue.push(Work::Small {
                job,
                blocks: Vec::new(),
                digested: Digested {
                    bytes: 0,
                    content_hash: ContentHash::of(b""),
                },
                seal: None,
                inside: None,
            });
        };
        [1, 2, 1, 3].into_iter().for_each(push);
        queue.abandon(1);
        [1, 4].into_iter().for_each(push);
        queue.close();
        let left: Vec<usize> = std::iter::from_fn(|| queue.next()?.job()).collect();
        assert_eq!(left, [2, 3, 4]);
        assert!(queue.has_abandoned(1) && !queue.has_abandoned(2));
    }
}
