//! The memory that transfers may use: every block of content is read under a lease, and the buffers of
//! whole blocks are used again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::dropbox::content_hash::BLOCK_BYTES;

/// A number of bytes that are lent out and come back.
#[derive(Debug)]
pub struct Budget {
    inner: Mutex<Inner>,
    returned: Condvar,
}

#[derive(Debug)]
struct Inner {
    /// Bytes that are not lent out.
    free: usize,
    /// Buffers of [`BLOCK_BYTES`] that nobody uses, within `free`. Fresh memory would cost as much
    /// time as hashing half of what is read into it.
    spare: Vec<Vec<u8>>,
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
            inner: Mutex::new(Inner {
                free: bytes,
                spare: Vec::new(),
            }),
            returned: Condvar::new(),
        })
    }

    /// Waits until `bytes` are free and takes them.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Lease {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self
            .returned
            .wait_while(inner, |inner| inner.free < bytes)
            .unwrap_or_else(PoisonError::into_inner);
        Self::lend(self, &mut inner, bytes)
    }

    /// Takes `bytes` if they are free.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        let mut inner = self.lock();
        (inner.free >= bytes).then(|| Self::lend(self, &mut inner, bytes))
    }

    fn lend(budget: &Arc<Self>, inner: &mut Inner, bytes: usize) -> Lease {
        inner.free -= bytes;
        // The spare buffers must fit into what is left, beside the one that this lease may use.
        let fits = inner.free / BLOCK_BYTES + usize::from(bytes == BLOCK_BYTES);
        inner.spare.truncate(fits);
        Lease {
            budget: Arc::clone(budget),
            bytes,
        }
    }

    /// A buffer of `bytes` under a lease; one for a whole block is taken from those used before.
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        let spare = (bytes == BLOCK_BYTES).then(|| self.lock().spare.pop());
        spare.flatten().unwrap_or_else(|| vec![0; bytes])
    }

    /// Keeps a whole block's buffer for the next one.
    pub fn recycle(&self, buffer: Vec<u8>) {
        if buffer.len() == BLOCK_BYTES {
            self.lock().spare.push(buffer);
        }
    }

    fn give_back(&self, bytes: usize) {
        self.lock().free += bytes;
        self.returned.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn spare_buffers_never_exceed_what_is_free() {
        let budget = Budget::new(2 * BLOCK_BYTES);
        let leases = [budget.take(BLOCK_BYTES), budget.take(BLOCK_BYTES)];
        let buffers = [budget.buffer(BLOCK_BYTES), budget.buffer(BLOCK_BYTES)];
        buffers
            .into_iter()
            .for_each(|buffer| budget.recycle(buffer));
        drop(leases);
        assert_eq!(budget.lock().spare.len(), 2);
        let _small = budget.take(1);
        assert_eq!(budget.lock().spare.len(), 1);
        let _whole = budget.take(BLOCK_BYTES);
        drop(budget.buffer(BLOCK_BYTES));
        assert_eq!(budget.lock().spare.len(), 0);
    }

    #[test]
    fn what_is_lent_comes_back() {
        let budget = Budget::new(10);
        let mut lease = budget.take(8);
        lease.shrink_to(3);
        let other = budget.take(7);
        drop((lease, other));
        assert!(budget.try_take(11).is_none());
        drop(budget.take(10));
    }
}
