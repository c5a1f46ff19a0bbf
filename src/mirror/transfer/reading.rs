//! The reader thread: turns backups into work for the lanes, one after another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use super::budget::Budget;
use super::lane::{Block, ReadySession, Work};
use super::queue::Queue;
use super::reader::BackupReader;
use super::{Error, Event, Job, LargeEnd, SMALL_BLOCKS, Shared, Ticket};
use crate::clock::Stop;
use crate::dropbox::Dropbox;
use crate::dropbox::content_hash::BLOCK_BYTES;
use crate::source::Source;

/// Everything that reading needs.
pub struct Reading<'a> {
    pub source: &'a dyn Source,
    pub dropbox: &'a Dropbox,
    pub stop: &'a Stop,
    pub jobs: &'a [Job],
    pub shared: &'a Shared,
    pub queue: &'a Queue,
    pub budget: Arc<Budget>,
}

impl Reading<'_> {
    /// Reads what the tickets ask for until there are no more.
    pub fn run(&self, tickets: &Receiver<Ticket>, events: &Sender<Event>) {
        let tell = |event| {
            if events.send(event).is_err() {
                log::debug!("The coordinator has ended before the reader.");
            }
        };
        for ticket in tickets {
            let pointless = self.shared.pointless.load(Ordering::Relaxed);
            if pointless || self.stop.winding_down().is_some() {
                tell(Event::NotBegun(ticket));
                continue;
            }
            tell(Event::Begun(ticket));
            match self.read(ticket) {
                Ok(None) => {}
                Ok(Some(end)) => tell(Event::Read(ticket, end)),
                Err(error) => tell(Event::Failed(ticket, error)),
            }
        }
    }

    /// Reads one backup and hands its content to the lanes. For a large one, returns what closing
    /// its session takes.
    fn read(&self, ticket: Ticket) -> Result<Option<LargeEnd>, Error> {
        let backup = &self.jobs[ticket.job].backup;
        let mut reader = BackupReader::open(self.source, backup, self.stop)?;
        let mut first = Vec::new();
        let mut more = self.next_block(&mut reader)?;
        while first.len() < SMALL_BLOCKS
            && let Some(block) = more
        {
            first.push(block);
            more = self.next_block(&mut reader)?;
        }
        if more.is_none() {
            self.queue.push(Work::Small {
                ticket,
                blocks: first,
                digested: reader.digested(),
            });
            return Ok(None);
        }
        let session_id = self.dropbox.start_concurrent_session()?;
        let mut blocks = 0;
        let mut tail = None;
        let mut first = first.into_iter();
        while let Some(block) = first.next().or_else(|| more.take()) {
            if self.shared.is_stale(ticket) {
                return Ok(None);
            }
            if block.bytes.len() < BLOCK_BYTES {
                tail = Some(block);
                break;
            }
            self.queue.push(Work::Append {
                ticket,
                session_id: session_id.clone(),
                offset: blocks * BLOCK_BYTES as u64,
                block,
            });
            blocks += 1;
            if first.len() == 0 && more.is_none() {
                more = self.next_block(&mut reader)?;
            }
        }
        let session = ReadySession {
            ticket,
            session_id,
            digested: reader.digested(),
        };
        Ok(Some(LargeEnd {
            session,
            blocks,
            tail,
        }))
    }

    fn next_block(&self, reader: &mut BackupReader<'_>) -> Result<Option<Block>, Error> {
        let left = reader
            .length()
            .map(|length| length.saturating_sub(reader.bytes()));
        let needed = left
            .and_then(|left| usize::try_from(left).ok())
            .map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let mut lease = self.budget.take(needed);
        let block = reader.next_block()?;
        Ok(block.map(|bytes| {
            lease.shrink_to(bytes.len());
            Block { bytes, lease }
        }))
    }
}
