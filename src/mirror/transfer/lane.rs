//! What the lanes do: one request at a time, each with its retries.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::budget::Lease;
use super::{Aftermath, Error, Event, Job, News, Pass};
use crate::age::Seal;
use crate::clock::Stopwatch;
use crate::dropbox;
use crate::dropbox::content_hash::{BLOCK_BYTES, BlockHash, ContentHash, Digested};
use crate::dropbox::files::{Commit, Cursor, FileMetadata, WriteMode};
use crate::findings::table;
use crate::http::retry::{Retry, Retryable, Tries};
use crate::state::Inside;
use crate::state::journal::Journal;

/// How long Dropbox may be at work on a commit whose answer was lost. If the file is not to be seen after that, the
/// content is sent again, which changes nothing where it is there after all. It is no number of tries: each may wait for
/// answers that do not come.
const COMMIT_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Content under its lease.
#[derive(Debug)]
pub struct Block {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Gives their memory back when they have been sent.
    pub lease: Lease,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.lease.budget().recycle(std::mem::take(&mut self.bytes));
    }
}

/// An upload session, and the journal that lets a later run go on with it.
#[derive(Debug)]
pub struct Session {
    /// Dropbox's name for it.
    pub id: String,
    /// What Dropbox holds of it.
    pub journal: Journal,
}

/// An upload session that holds a whole backup and is closed.
#[derive(Clone, Debug)]
pub struct ReadySession {
    /// The job that it belongs to.
    pub job: usize,
    /// The session.
    pub session: Arc<Session>,
    /// What the session should hold.
    pub digested: Digested,
    /// What is inside of that, if it is sealed.
    pub inside: Option<Inside>,
    /// An earlier run has sent it.
    pub was_sent_before: bool,
}

/// One thing to do for a lane.
#[derive(Debug)]
pub enum Work {
    /// Send a small backup whole.
    Small {
        /// The job that it belongs to.
        job: usize,
        /// The content.
        blocks: Vec<Block>,
        /// Its length and hash.
        digested: Digested,
        /// What it is sealed with.
        seal: Option<Seal>,
        /// What is inside, if it is sealed.
        inside: Option<Inside>,
    },
    /// Send one whole block of a large backup.
    Append {
        /// The job that it belongs to.
        job: usize,
        /// The session.
        session: Arc<Session>,
        /// Which block of the backup it is.
        index: u64,
        /// Its hash.
        hash: BlockHash,
        /// The content.
        block: Block,
    },
    /// Close a session that holds all whole blocks; sends the shorter last one, if there is one.
    Close {
        /// The session, and what it holds after this.
        ready: ReadySession,
        /// The last block.
        tail: Option<Block>,
    },
    /// Turn closed sessions into files.
    Commit(Vec<ReadySession>),
}

impl Work {
    /// The job that the work belongs to; a commit belongs to several, none of which has failed.
    pub fn job(&self) -> Option<usize> {
        match self {
            Self::Small { job, .. } | Self::Append { job, .. } => Some(*job),
            Self::Close { ready, .. } => Some(ready.job),
            Self::Commit(_) => None,
        }
    }
}

impl Pass<'_> {
    /// Does one thing and tells what came of it.
    pub fn carry_out(&self, work: Work) -> Event {
        let (job, result) = match work {
            Work::Commit(sessions) => return Event::Committed(self.commit(sessions)),
            Work::Small {
                job,
                blocks,
                digested,
                seal,
                inside,
            } => {
                let content: Vec<&[u8]> = blocks.iter().map(|block| &block.bytes[..]).collect();
                let started = self.dropbox.start_closed_session(&content);
                let ready = started.map(|id| {
                    let backup = &self.jobs[job].backup;
                    let journal =
                        self.journals
                            .begin(&backup.id, backup.version, seal.as_ref(), &id);
                    journal.note_complete(digested, inside.as_ref());
                    News::Ready(ReadySession {
                        job,
                        session: Arc::new(Session { id, journal }),
                        digested,
                        inside,
                        was_sent_before: false,
                    })
                });
                (job, ready)
            }
            Work::Append {
                job,
                session,
                index,
                hash,
                block,
            } => {
                let offset = index * BLOCK_BYTES as u64;
                let sent = self.append(&session.id, offset, false, &block.bytes);
                let appended = sent.map(|()| {
                    // Before this lane sends anything else, so that a killed run loses one block a
                    // lane at most.
                    session.journal.note_block(index, &hash);
                    News::Appended
                });
                (job, appended)
            }
            Work::Close { ready, tail } => {
                let tail = tail.as_ref().map_or(&[][..], |block| &block.bytes);
                let offset = ready.digested.bytes - tail.len() as u64;
                let closed = self.append(&ready.session.id, offset, true, tail);
                let closed = closed.map(|()| {
                    let inside = ready.inside.as_ref();
                    ready.session.journal.note_complete(ready.digested, inside);
                    News::Ready(ready.clone())
                });
                (ready.job, closed)
            }
        };
        Event::Of(
            job,
            result.unwrap_or_else(|error| News::Failed(error.into())),
        )
    }

    fn append(
        &self,
        session_id: &str,
        offset: u64,
        close: bool,
        content: &[u8],
    ) -> Result<(), dropbox::Error> {
        let end = offset + content.len() as u64;
        let cursor = Cursor { session_id, offset };
        match self.dropbox.append(&cursor, close, &[content]) {
            // The answer to an earlier try was lost: Dropbox has this piece. The content hash of
            // the committed file tells if that should be wrong.
            Err(error) if error.correct_offset().is_some_and(|correct| correct >= end) => Ok(()),
            Err(dropbox::Error::Route { failure, .. }) if close && failure.tags == ["closed"] => {
                Ok(())
            }
            other => other,
        }
    }

    /// Commits a batch and verifies what was stored. A commit whose answer does not come may take minutes on
    /// Dropbox's side, or be done: it is waited for and looked for before anything is given up.
    fn commit(
        &self,
        mut sessions: Vec<ReadySession>,
    ) -> Vec<(ReadySession, Result<FileMetadata, Error>)> {
        let mut settled = Vec::new();
        let mut tries = Tries::default();
        let mut first_doubt: Option<Stopwatch> = None;
        loop {
            let modes: Vec<WriteMode> = sessions.iter().map(|s| self.mode(s.job)).collect();
            let commits = sessions.iter().zip(&modes);
            let commits: Vec<Commit<'_>> =
                commits.map(|(s, mode)| self.commit_of(s, mode)).collect();
            let results = self.dropbox.try_finish_batch(&commits);
            let is_at_work = first_doubt.is_some_and(|doubt| doubt.elapsed() < COMMIT_PATIENCE);
            let mut in_doubt = Vec::new();
            for (session, result) in std::mem::take(&mut sessions).into_iter().zip(results) {
                let error = match result {
                    Ok(file) => {
                        let accepted = self.accept(&session, file);
                        settled.push((session, accepted));
                        continue;
                    }
                    Err(error) => error,
                };
                // All of a batch are carried out together: where the first is not there, none is.
                let is_vain = error.leaves_doubt() && !in_doubt.is_empty();
                let found = (!is_vain)
                    .then(|| self.look_for(&session, &error))
                    .flatten();
                if let Some(file) = found {
                    settled.push((session, Ok(file)));
                } else if error.leaves_doubt() || (is_at_work && error.is_session_lost()) {
                    in_doubt.push((session, error));
                } else {
                    let error = self.failed(&session, error);
                    settled.push((session, Err(error)));
                }
            }
            first_doubt.get_or_insert_with(Stopwatch::start);
            let patience = |(_, error): &(_, dropbox::Error)| match error.is_session_lost() {
                // What Dropbox is still at work on is no longer a session and not yet a file.
                true => Retry::After(None),
                false => error.retry(),
            };
            let retry = in_doubt.iter().map(patience).max().unwrap_or(Retry::Never);
            let cause = in_doubt.first().map(|(_, error)| error.to_string());
            let cause = cause.unwrap_or_default();
            let goes_on = tries.wait(retry, "committing", &cause, self.stop);
            if !goes_on.unwrap_or(false) {
                settled.extend(in_doubt.into_iter().map(|(session, error)| {
                    let error = match self.stop.requested() {
                        Some(reason) => dropbox::Error::Stopped(reason).into(),
                        None => self.failed(&session, error),
                    };
                    (session, Err(error))
                }));
                return settled;
            }
            sessions = in_doubt.into_iter().map(|(session, _)| session).collect();
        }
    }

    /// What a job's file may replace: what the job names, or what this run has left there since.
    fn mode(&self, job: usize) -> WriteMode {
        let left = self.left_there.lock();
        let left = left.unwrap_or_else(PoisonError::into_inner);
        let left = left.get(&job).cloned().map(WriteMode::Update);
        left.unwrap_or_else(|| self.jobs[job].mode.clone())
    }

    fn commit_of<'b>(&'b self, session: &'b ReadySession, mode: &'b WriteMode) -> Commit<'b> {
        let job = &self.jobs[session.job];
        Commit {
            session_id: &session.session.id,
            length: session.digested.bytes,
            path: &job.path,
            mode,
            client_modified: Some(job.backup.created_at),
        }
    }

    /// The file of a commit that failed and may have been carried out all the same, by a try whose answer was
    /// lost: it has the right content then.
    fn look_for(&self, session: &ReadySession, error: &dropbox::Error) -> Option<FileMetadata> {
        let path = &self.jobs[session.job].path;
        let found = match error {
            error if error.leaves_doubt() => self.dropbox.look_at_file(path),
            error if error.is_session_lost() || error.conflict().is_some() => {
                self.dropbox.file_metadata(path)
            }
            _ => return None,
        };
        let file = found.ok().flatten()?;
        (file.content_hash == Some(session.digested.content_hash)).then_some(file)
    }

    /// What a commit that failed comes to.
    fn failed(&self, session: &ReadySession, error: dropbox::Error) -> Error {
        if error.is_out_of_space() {
            return Error::NoSpace {
                needed: session.digested.bytes,
                free: self.free_space(),
                cause: error,
            };
        }
        let Job { backup, path, .. } = &self.jobs[session.job];
        // What may be stored already would be in its own way if it was sent again, sealed with another key. The journal
        // tells the next run what it is.
        if session.inside.is_some()
            && error.is_session_lost()
            && let Err(unseen) = self.dropbox.look_at_file(path)
        {
            return unseen.into();
        }
        let error = Error::Dropbox(error);
        // Where Dropbox can be asked, the fault is not in the network, but perhaps in the session.
        if error.may_be_the_sessions()
            && self.dropbox.look_at_file(path).is_ok()
            && let Ok(journal) = self.journals.resume(&backup.id)
        {
            journal.note_failed_commit();
        }
        error
    }

    /// The space that is left, where the plugin may know it.
    fn free_space(&self) -> Option<u64> {
        let usage = self.dropbox.space_usage().ok().flatten();
        usage.map(|space| space.free())
    }

    /// Compares what Dropbox stored with what was read. If it differs, what was there before comes back.
    fn accept(&self, session: &ReadySession, file: FileMetadata) -> Result<FileMetadata, Error> {
        let expected = session.digested.content_hash;
        let Some(stored) = file.content_hash else {
            return Err(Error::NoHash);
        };
        if stored == expected {
            return Ok(file);
        }
        Err(Error::HashMismatch {
            expected,
            stored,
            aftermath: self.undo(session.job, file.rev, stored),
        })
    }

    /// Takes a damaged copy away again. Where it has replaced an earlier one, that one becomes the current version
    /// at once, so that its place is never empty. The next try replaces whatever is there then.
    fn undo(&self, index: usize, rev: String, stored: ContentHash) -> Aftermath {
        let job = &self.jobs[index];
        let path = &job.path;
        let undone = match &job.mode {
            WriteMode::Add => self.dropbox.delete_file(path, &rev).map(|()| None),
            WriteMode::Update(earlier) => self.dropbox.restore(path, earlier).map(Some),
        };
        let left = self.left_there.lock();
        let mut left = left.unwrap_or_else(PoisonError::into_inner);
        match undone {
            Ok(None) => {
                left.remove(&index);
                Aftermath::Removed
            }
            Ok(Some(restored)) => {
                left.insert(index, restored.rev);
                Aftermath::BroughtBack
            }
            Err(error) => {
                left.insert(index, rev);
                let finding = match job.mode {
                    WriteMode::Add => table::damaged_copy_stays(&job.name, stored),
                    WriteMode::Update(_) => table::damaged_copy_in_place(&job.name, stored),
                };
                finding.because(&error).log();
                Aftermath::Stays
            }
        }
    }
}
