//! The memory that transfers may use: every block of content is read under a lease, and the buffers of
//! whole blocks are used again.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::dropbox::content_hash::BLOCK_BYTES;

/// A number of bytes that are lent out and come back.
#[derive(Debug)]
pub struct Budget {
    free: Mutex<usize>,
    returned: Condvar,
    /// Buffers of [`BLOCK_BYTES`] that nobody uses; there are never more than whole blocks fit into
    /// the budget.
    spare: Mutex<Vec<Vec<u8>>>,
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
            spare: Mutex::default(),
        })
    }

    /// A buffer of `bytes`; one for a whole block is taken from those used before.
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let used = (bytes == BLOCK_BYTES).then(|| spare.pop()).flatten();
        used.unwrap_or_else(|| vec![0; bytes])
    }

    /// Keeps a whole block's buffer for the next one.
    pub fn recycle(&self, buffer: Vec<u8>) {
        if buffer.len() == BLOCK_BYTES {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.push(buffer);
        }
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
    /// The budget that it was taken from.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

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
