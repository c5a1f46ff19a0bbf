//! The reader thread: reads the backups, one after another, and feeds the lanes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lane::{Block, ReadySession, Session, Work};
use super::reader::BackupReader;
use super::{Error, Event, Job, News, Pass, SMALL_BLOCKS};
use crate::dropbox::content_hash::{BLOCK_BYTES, BlockHash};
use crate::findings::table;
use crate::source;
use crate::state::journal::{Journal, Unfinished};
use crate::text;

/// A session whose commit has failed in so many runs is given up for a new one.
const FAILED_COMMITS_MAX: u32 = 2;

impl Pass<'_> {
    /// Reads the jobs that are `due`, one after another.
    pub fn feed(&self, due: &BTreeSet<usize>, tell: &dyn Fn(Event)) {
        for &job in due {
            let tell = |news| tell(Event::Of(job, news));
            let pointless = self.pointless.load(Ordering::Relaxed);
            if pointless || self.stop.winding_down().is_some() {
                tell(News::NotBegun);
                continue;
            }
            tell(News::Begun);
            if let Err(error) = self.read(job, &tell) {
                tell(News::Failed(error));
            }
        }
    }

    /// Reads a job's backup, or what earlier runs have left of it, and hands its content to the lanes.
    fn read(&self, job: usize, tell: &dyn Fn(News)) -> Result<(), Error> {
        let Job { backup, name, .. } = &self.jobs[job];
        match self.journals.unfinished(&backup.id, backup.version) {
            Some(unfinished) if unfinished.failed_commits >= FAILED_COMMITS_MAX => {
                let cause = format!("Dropbox failed to store it in {FAILED_COMMITS_MAX} runs");
                table::begun_again(name).because(&cause).log();
                self.send_whole(job, tell)
            }
            Some(unfinished) => self.carry_on(job, unfinished, tell),
            None => self.send_whole(job, tell),
        }
    }

    /// Goes on with the session that an earlier run has left.
    fn carry_on(
        &self,
        job: usize,
        unfinished: Unfinished,
        tell: &dyn Fn(News),
    ) -> Result<(), Error> {
        let Job { backup, name, .. } = &self.jobs[job];
        let journal = match unfinished.complete {
            // It says all that there is to say.
            Some(_) => Journal::default(),
            None => self.journals.resume(&backup.id),
        };
        let session = Arc::new(Session {
            id: unfinished.session_id,
            journal,
        });
        if let Some(digested) = unfinished.complete {
            table::sent_before(name).log();
            tell(News::Ready(ReadySession {
                job,
                session,
                digested,
            }));
            return Ok(());
        }
        let known = unfinished.blocks;
        let mut in_a_row: Vec<BlockHash> = (0..)
            .map_while(|index| known.get(&index).copied())
            .collect();
        // The last one is read again: it tells whether the backup is still the same.
        in_a_row.pop();
        let held = text::bytes((known.len() * BLOCK_BYTES) as u64);
        let mut reader = BackupReader::resume(self.source, backup, self.stop, in_a_row)?;
        table::carried_on(name, &held).log();
        self.send_blocks(job, session, &mut reader, Vec::new(), &known, tell)
    }

    fn send_whole(&self, job: usize, tell: &dyn Fn(News)) -> Result<(), Error> {
        let backup = &self.jobs[job].backup;
        let mut reader = BackupReader::open(self.source, backup, self.stop)?;
        let mut first = Vec::new();
        while first.len() <= SMALL_BLOCKS
            && let Some(block) = self.next_block(&mut reader)?
        {
            first.push(block);
        }
        if first.len() <= SMALL_BLOCKS {
            self.queue.push(Work::Small {
                job,
                blocks: first,
                digested: reader.digested(),
            });
            return Ok(());
        }
        let id = self.dropbox.start_concurrent_session()?;
        let journal = self.journals.begin(&backup.id, backup.version, &id);
        let session = Arc::new(Session { id, journal });
        self.send_blocks(job, session, &mut reader, first, &BTreeMap::new(), tell)
    }

    /// Hands the blocks of a large backup to the lanes: those in `first`, then those still to be
    /// read, except those that Dropbox holds already.
    fn send_blocks(
        &self,
        job: usize,
        session: Arc<Session>,
        reader: &mut BackupReader<'_>,
        first: Vec<Block>,
        known: &BTreeMap<u64, BlockHash>,
        tell: &dyn Fn(News),
    ) -> Result<(), Error> {
        tell(News::Large {
            held: (known.len() * BLOCK_BYTES) as u64,
            length: reader.length(),
        });
        let mut index = (reader.hashes().len() - first.len()) as u64;
        let mut first = first.into_iter();
        let mut blocks = 0;
        let mut tail = None;
        loop {
            let next = match first.next() {
                Some(block) => Some(block),
                None => self.next_block(reader)?,
            };
            let Some(block) = next else { break };
            if self.queue.has_abandoned(job) {
                return Ok(());
            }
            if block.bytes.len() < BLOCK_BYTES {
                tail = Some(block);
                break;
            }
            let hash = usize::try_from(index)
                .ok()
                .and_then(|index| reader.hashes().get(index));
            match (known.get(&index), hash) {
                (_, None) => return Err(source::Error::OtherContent.into()),
                (Some(known), Some(hash)) if known != hash => {
                    return Err(source::Error::OtherContent.into());
                }
                (Some(_), _) => {}
                (None, Some(&hash)) => {
                    blocks += 1;
                    self.queue.push(Work::Append {
                        job,
                        session: Arc::clone(&session),
                        index,
                        hash,
                        block,
                    });
                }
            }
            index += 1;
        }
        // Dropbox holds whole blocks that this backup no longer has.
        if known
            .last_key_value()
            .is_some_and(|(&last, _)| last >= index)
        {
            return Err(source::Error::OtherContent.into());
        }
        let ready = ReadySession {
            job,
            session,
            digested: reader.digested(),
        };
        let close = Work::Close { ready, tail };
        tell(News::Read { blocks, close });
        Ok(())
    }

    /// Reads a block under a lease of the budget.
    fn next_block(&self, reader: &mut BackupReader<'_>) -> Result<Option<Block>, Error> {
        let left = reader
            .length()
            .map(|length| length.saturating_sub(reader.bytes()));
        let needed = left
            .and_then(|left| usize::try_from(left).ok())
            .map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let mut lease = self.budget.take(needed);
        // A shorter block gets room for one byte more, so that a longer content is noticed.
        let mut buffer = self.budget.buffer(BLOCK_BYTES.min(needed + 1));
        let filled = reader.next_block(&mut buffer)?;
        if filled == 0 {
            self.budget.recycle(buffer);
            return Ok(None);
        }
        lease.shrink_to(filled);
        let bytes = if filled < buffer.len() && buffer.len() == BLOCK_BYTES {
            // The end of a backup of unknown length: a buffer of its own size keeps the lease true.
            let exact = buffer[..filled].to_vec();
            self.budget.recycle(buffer);
            exact
        } else {
            buffer.truncate(filled);
            buffer
        };
        Ok(Some(Block { bytes, lease }))
    }
}
