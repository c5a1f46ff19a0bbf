//! The reader thread: reads the backups, one after another, and feeds the lanes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inspecting::Inspection;
use super::lane::{Block, ReadySession, Session, Work};
use super::reader::{BackupReader, digest};
use super::sealing::Sealing;
use super::{Error, Event, Job, LEASE_BYTES_MIN, News, Pass, SMALL_BLOCKS};
use crate::age::{Recipients, Seal};
use crate::dropbox::content_hash::{BLOCK_BYTES, BlockHash, Digested};
use crate::findings::table;
use crate::source;
use crate::state::Inside;
use crate::state::journal::{Journal, Sent, Unfinished};
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
        let recipients = self.recipients.map(Recipients::fingerprint);
        match self
            .journals
            .unfinished(&backup.id, backup.version, recipients.as_deref())
        {
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
        let resumed = match unfinished.complete {
            // It says all that there is to say.
            Some(_) => Ok(Journal::default()),
            None => self.journals.resume(&backup.id),
        };
        let journal = match resumed {
            Ok(journal) => journal,
            // What is sent under its key could not be noted.
            Err(error) if unfinished.seal.is_some() => {
                table::begun_again(name).because(&error).log();
                return self.send_whole(job, tell);
            }
            Err(_) => Journal::default(),
        };
        let session = Arc::new(Session {
            id: unfinished.session_id,
            journal,
        });
        if let Some((digested, inside)) = unfinished.complete {
            if !self.may_have_room(Some(digested.bytes)) {
                tell(News::NotBegun);
                return Ok(());
            }
            table::sent_before(name).log();
            if self.jobs[job].replaces_complete {
                self.look_again(
                    job,
                    inside.as_ref().map_or(digested, Inside::digested),
                    tell,
                )?;
            }
            tell(News::Ready(ReadySession {
                job,
                session,
                digested,
                inside,
                was_sent_before: true,
            }));
            return Ok(());
        }
        let inspection = self.inspection(job, tell);
        let sealing = Sealing::new(self.source, unfinished.seal, inspection)?;
        let known = unfinished.blocks;
        let mut in_a_row: Vec<BlockHash> = Vec::new();
        // Before it takes the place of a complete archive it is looked at, from its start.
        let is_looked_at = self.inspecting.is_some() && self.jobs[job].replaces_complete;
        if sealing.seal().is_none() && !is_looked_at {
            in_a_row.extend((0..).map_while(|index| known.get(&index).map(|sent| sent.hash)));
            // The last one is read again: it tells whether the backup is still the same.
            in_a_row.pop();
        }
        let held = text::bytes(held_bytes(&known));
        let mut reader = BackupReader::resume(&sealing, backup, self.stop, in_a_row)?;
        if !self.may_have_room(reader.length()) {
            tell(News::NotBegun);
            return Ok(());
        }
        table::carried_on(name, &held).log();
        self.send_blocks(
            job,
            session,
            &sealing,
            &mut reader,
            Vec::new(),
            &known,
            tell,
        )
    }

    /// Has a job's backup looked at while it is read, if that is wanted.
    fn inspection(&self, job: usize, tell: &dyn Fn(News)) -> Option<Inspection> {
        let inspecting = self.inspecting.as_ref()?;
        tell(News::Inspecting);
        Some(inspecting.begin(job, self.jobs[job].replaces_complete))
    }

    /// Has a backup looked at that an earlier run has sent: it is about to take the place of a complete archive.
    fn look_again(&self, job: usize, sent: Digested, tell: &dyn Fn(News)) -> Result<(), Error> {
        let Some(inspection) = self.inspection(job, tell) else {
            return Ok(());
        };
        let source = Sealing::new(self.source, None, Some(inspection))?;
        if digest(&source, &self.jobs[job].backup, self.stop)? != sent {
            return Err(source::Error::OtherContent.into());
        }
        source.end_inspection();
        Ok(())
    }

    fn send_whole(&self, job: usize, tell: &dyn Fn(News)) -> Result<(), Error> {
        let backup = &self.jobs[job].backup;
        // A new key each time: what is read may be another content than before.
        let seal = self.recipients.map(Seal::new).transpose()?;
        let sealing = Sealing::new(self.source, seal, self.inspection(job, tell))?;
        let mut reader = BackupReader::open(&sealing, backup, self.stop)?;
        if !self.may_have_room(reader.length()) {
            tell(News::NotBegun);
            return Ok(());
        }
        let mut first = Vec::new();
        while first.len() <= SMALL_BLOCKS
            && let Some(block) = self.next_block(&mut reader)?
        {
            first.push(block);
        }
        if first.len() <= SMALL_BLOCKS {
            sealing.end_inspection();
            self.queue.push(Work::Small {
                job,
                blocks: first,
                digested: reader.digested(),
                seal: sealing.seal().cloned(),
                inside: sealing.inside(),
            });
            return Ok(());
        }
        let id = self.dropbox.start_concurrent_session()?;
        let journal = self
            .journals
            .begin(&backup.id, backup.version, sealing.seal(), &id);
        let session = Arc::new(Session { id, journal });
        let nothing = BTreeMap::new();
        self.send_blocks(job, session, &sealing, &mut reader, first, &nothing, tell)
    }

    /// Hands the blocks of a large backup to the lanes: those in `first`, then those still to be
    /// read, except those that Dropbox holds already.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part of one upload that the two callers have at hand"
    )]
    fn send_blocks(
        &self,
        job: usize,
        session: Arc<Session>,
        sealing: &Sealing<'_>,
        reader: &mut BackupReader<'_>,
        first: Vec<Block>,
        known: &BTreeMap<u64, Sent>,
        tell: &dyn Fn(News),
    ) -> Result<(), Error> {
        tell(News::Large {
            held: held_bytes(known),
            length: reader.length(),
        });
        let mut index = (reader.hashes().len() - first.len()) as u64;
        let mut first = first.into_iter();
        let mut blocks = 0;
        let mut tail = None;
        while tail.is_none() {
            let next = match first.next() {
                Some(block) => Some(block),
                None => self.next_block(reader)?,
            };
            let Some(block) = next else { break };
            if self.queue.has_abandoned(job) {
                return Ok(());
            }
            let hash = usize::try_from(index)
                .ok()
                .and_then(|index| reader.hashes().get(index).copied());
            let hash = hash.ok_or(source::Error::OtherContent)?;
            let sent = known.get(&index);
            if sent.is_some_and(|sent| sent.hash != hash) {
                return Err(source::Error::OtherContent.into());
            }
            if sealing.seal().is_some() && sent.is_none() {
                let announced = session.journal.announce_block(index, &hash);
                announced.map_err(Error::Journal)?;
            }
            if block.bytes.len() < BLOCK_BYTES {
                tail = Some(block);
            } else if !sent.is_some_and(|sent| sent.is_held) {
                blocks += 1;
                self.queue.push(Work::Append {
                    job,
                    session: Arc::clone(&session),
                    index,
                    hash,
                    block,
                });
            }
            index += 1;
        }
        // Blocks were sent that this backup no longer has.
        if known
            .last_key_value()
            .is_some_and(|(&last, _)| last >= index)
        {
            return Err(source::Error::OtherContent.into());
        }
        sealing.end_inspection();
        let ready = ReadySession {
            job,
            session,
            digested: reader.digested(),
            inside: sealing.inside(),
            was_sent_before: false,
        };
        let close = Box::new(Work::Close { ready, tail });
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
        let mut lease = self.budget.take(needed.max(LEASE_BYTES_MIN));
        // A shorter block gets room for one byte more, so that a longer content is noticed.
        let mut buffer = self.budget.buffer(BLOCK_BYTES.min(needed + 1));
        let filled = reader.next_block(&mut buffer)?;
        if filled == 0 {
            self.budget.recycle(buffer);
            return Ok(None);
        }
        lease.shrink_to(filled.max(LEASE_BYTES_MIN));
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

/// Bytes that Dropbox holds.
fn held_bytes(known: &BTreeMap<u64, Sent>) -> u64 {
    let held = known.values().filter(|sent| sent.is_held).count();
    (held * BLOCK_BYTES) as u64
}
