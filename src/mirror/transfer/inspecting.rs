//! The inspector beside the line: what is read for an upload is also looked at, on a thread of its own.
//!
//! Nothing waits for it while content is read. It gets copies, under a budget as large as that of the line: whatever was
//! read ahead of the line fits into it, so when it is full, the inspector is slower than the line, and the backup
//! is not checked. Only what is about to take the place of a complete archive is read no faster than it is looked at.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::{Budget, Lease};
use super::{BUDGET_BYTES, Event, News};
use crate::inspect::Inspector;

/// Copies are handed over in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// What the inspector is told.
#[derive(Debug)]
pub enum Told {
    /// An upload is read from now on.
    Begun(usize, Arc<AtomicBool>),
    /// The next of its content.
    Content(Vec<u8>, Lease),
    /// It was read to its end.
    Ended,
    /// It cannot be judged.
    GivenUp,
    /// Nothing more is read.
    Closed,
}

/// The way to the inspector.
#[derive(Debug)]
pub struct Inspecting {
    tell: Sender<Told>,
    budget: Arc<Budget>,
}

impl Inspecting {
    /// A way to an inspector, and its end.
    pub fn new() -> (Self, Receiver<Told>) {
        let (tell, told) = mpsc::channel();
        let budget = Budget::new(BUDGET_BYTES);
        (Self { tell, budget }, told)
    }

    /// Begins with a job's upload; its reader may have to wait.
    pub fn begin(&self, job: usize, may_wait: bool) -> Inspection {
        let is_settled = Arc::<AtomicBool>::default();
        // Where the inspector has ended, nobody waits for a verdict.
        let _ = self.tell.send(Told::Begun(job, Arc::clone(&is_settled)));
        let reading = Reading {
            tell: self.tell.clone(),
            budget: Arc::clone(&self.budget),
            position: 0,
            piece: Vec::new(),
            is_settled,
            may_wait,
            is_given_up: false,
        };
        Inspection {
            reading: Arc::new(Mutex::new(reading)),
        }
    }

    /// Lets the inspector end.
    pub fn close(&self) {
        let _ = self.tell.send(Told::Closed);
    }
}

/// Looks at what it is told of, and tells each verdict.
pub fn inspect(told: &Receiver<Told>, tell: &dyn Fn(Event)) {
    let mut current: Option<(usize, Arc<AtomicBool>, Inspector)> = None;
    while let Ok(told) = told.recv() {
        let is_over = match told {
            Told::Begun(job, is_settled) => {
                current = Some((job, is_settled, Inspector::default()));
                false
            }
            Told::Content(bytes, _lease) => current.as_mut().is_some_and(|(.., inspector)| {
                inspector.push(&bytes);
                inspector.is_settled()
            }),
            Told::Ended => true,
            Told::Closed => return,
            Told::GivenUp => {
                if let Some((.., inspector)) = &mut current {
                    *inspector = Inspector::default();
                }
                true
            }
        };
        if is_over && let Some((job, is_settled, inspector)) = current.take() {
            is_settled.store(true, Ordering::Relaxed);
            tell(Event::Of(job, News::Inspected(inspector.finish())));
        }
    }
}

/// The inspection of one upload, as far as its reader sees it.
#[derive(Clone, Debug)]
pub struct Inspection {
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug)]
struct Reading {
    tell: Sender<Told>,
    budget: Arc<Budget>,
    /// What comes next in the backup; what is read again is not looked at again.
    position: u64,
    piece: Vec<u8>,
    /// The verdict is there already.
    is_settled: Arc<AtomicBool>,
    /// It is judged in any case, also if that takes longer than reading it.
    may_wait: bool,
    is_given_up: bool,
}

impl Inspection {
    /// The content, which begins at this offset, to be looked at while it is read.
    pub fn of(&self, content: Box<dyn Read + Send>, offset: u64) -> Inspected {
        let inspection = self.clone();
        Inspected {
            content,
            offset,
            inspection,
        }
    }

    /// The backup was read to its end.
    pub fn end(&self) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.hand_over();
        if !reading.is_given_up {
            let _ = reading.tell.send(Told::Ended);
        }
    }

    fn look(&self, offset: u64, bytes: &[u8]) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.look(offset, bytes);
    }
}

impl Reading {
    fn look(&mut self, offset: u64, bytes: &[u8]) {
        if self.is_given_up || self.is_settled.load(Ordering::Relaxed) {
            return;
        }
        let Some(known) = self.position.checked_sub(offset) else {
            // What an earlier run has sent is not read again.
            return self.give_up();
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let mut new = bytes.get(known..).unwrap_or_default();
        self.position += new.len() as u64;
        while !new.is_empty() {
            if self.piece.capacity() == 0 {
                self.piece.reserve_exact(PIECE_BYTES);
            }
            let (taken, rest) = new.split_at(new.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(taken);
            new = rest;
            if self.piece.len() == PIECE_BYTES {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() || self.is_given_up {
            return;
        }
        let lease = match self.may_wait {
            true => Some(self.budget.take(piece.len())),
            false => self.budget.try_take(piece.len()),
        };
        match lease {
            Some(lease) => {
                let _ = self.tell.send(Told::Content(piece, lease));
            }
            None => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.piece = Vec::new();
        let _ = self.tell.send(Told::GivenUp);
    }
}

/// A content that is looked at while it is read.
pub struct Inspected {
    content: Box<dyn Read + Send>,
    offset: u64,
    inspection: Inspection,
}

impl Read for Inspected {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        if count > 0 {
            self.inspection.look(self.offset, &buffer[..count]);
            self.offset += count as u64;
        }
        Ok(count)
    }
}
