//! The memory that transfers may use: every block of content is read under a lease.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of bytes that are lent out and come back.
#[derive(Debug)]
pub struct Budget {
    free: Mutex<usize>,
    returned: Condvar,
}

/// Bytes that somebody may use; they return when the lease is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(bytes),
            returned: Condvar::new(),
        })
    }

    /// Waits until `bytes` are free and takes them.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Lease {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .returned
            .wait_while(free, |free| *free < bytes)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Lease {
            budget: Arc::clone(self),
            bytes,
        }
    }

    fn give_back(&self, bytes: usize) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.returned.notify_all();
    }
}

impl Lease {
    /// Returns what is not needed beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_comes_back() {
        let budget = Budget::new(10);
        let mut lease = budget.take(8);
        lease.shrink_to(3);
        let other = budget.take(7);
        drop((lease, other));
        drop(budget.take(10));
    }
}
