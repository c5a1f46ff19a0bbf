//! What the lanes do: one request at a time, each with its retries.

use std::sync::Arc;

use super::budget::Lease;
use super::{Error, Event, Job, News, Pass};
use crate::dropbox;
use crate::dropbox::content_hash::{BLOCK_BYTES, BlockHash, ContentHash, Digested};
use crate::dropbox::files::{Commit, Cursor, Delete, FileMetadata};
use crate::findings::table;
use crate::http::Body;
use crate::state::journal::Journal;

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
            } => {
                let content: Vec<&[u8]> = blocks.iter().map(|block| &block.bytes[..]).collect();
                let started = self.dropbox.start_closed_session(&content);
                let ready = started.map(|id| {
                    let backup = &self.jobs[job].backup;
                    let journal = self.journals.begin(&backup.id, backup.version, &id);
                    journal.note_complete(digested);
                    News::Ready(ReadySession {
                        job,
                        session: Arc::new(Session { id, journal }),
                        digested,
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
                    ready.session.journal.note_complete(ready.digested);
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
        match self.dropbox.append(&cursor, close, Body::Bytes(content)) {
            // The answer to an earlier try was lost: Dropbox has this piece. The content hash of
            // the committed file tells if that should be wrong.
            Err(error) if error.correct_offset().is_some_and(|correct| correct >= end) => Ok(()),
            Err(dropbox::Error::Route { failure, .. }) if close && failure.tags == ["closed"] => {
                Ok(())
            }
            other => other,
        }
    }

    /// Commits a batch and verifies what was stored.
    fn commit(
        &self,
        sessions: Vec<ReadySession>,
    ) -> Vec<(ReadySession, Result<FileMetadata, Error>)> {
        let commits: Vec<Commit<'_>> = sessions.iter().map(|s| self.commit_of(s)).collect();
        let results = self.dropbox.finish_batch(&commits);
        let check = |(session, result): (ReadySession, Result<FileMetadata, dropbox::Error>)| {
            let file = result.or_else(|error| self.look_for(&session, error));
            let checked = file.and_then(|file| self.accept(&session, file));
            (session, checked)
        };
        sessions.into_iter().zip(results).map(check).collect()
    }

    fn commit_of<'b>(&'b self, session: &'b ReadySession) -> Commit<'b> {
        let job = &self.jobs[session.job];
        Commit {
            session_id: &session.session.id,
            length: session.digested.bytes,
            path: &job.path,
            mode: &job.mode,
            client_modified: Some(job.backup.created_at),
        }
    }

    /// A commit that failed may have been carried out by a try whose answer was lost: then the file
    /// is there, with the right content.
    fn look_for(
        &self,
        session: &ReadySession,
        error: dropbox::Error,
    ) -> Result<FileMetadata, Error> {
        let doubtful = error.is_session_lost()
            || matches!(&error, dropbox::Error::Route { failure, .. } if failure.has("conflict"));
        if doubtful
            && let Ok(Some(file)) = self.dropbox.file_metadata(&self.jobs[session.job].path)
            && file.content_hash == Some(session.digested.content_hash)
        {
            return Ok(file);
        }
        if error.is_out_of_space() {
            return Err(Error::NoSpace {
                needed: session.digested.bytes,
                free: self.free_space(),
                cause: error,
            });
        }
        Err(Error::Dropbox(error))
    }

    /// The space that is left, where the plugin may know it.
    fn free_space(&self) -> Option<u64> {
        let usage = self.dropbox.space_usage().ok().flatten();
        usage.map(|space| space.free())
    }

    /// Compares what Dropbox stored with what was read, and removes it if it differs.
    fn accept(&self, session: &ReadySession, file: FileMetadata) -> Result<FileMetadata, Error> {
        let expected = session.digested.content_hash;
        let Some(stored) = file.content_hash else {
            return Err(Error::NoHash);
        };
        if stored == expected && file.size == session.digested.bytes {
            return Ok(file);
        }
        self.remove(&self.jobs[session.job], &file.rev, stored);
        Err(Error::HashMismatch { expected, stored })
    }

    fn remove(&self, job: &Job, rev: &str, stored: ContentHash) {
        let path = &job.path;
        let removed = self.dropbox.delete_batch(&[Delete { path, rev }]);
        let removed: Result<(), dropbox::Error> = removed.into_iter().collect();
        if let Err(error) = removed {
            table::damaged_copy_stays(&job.name, stored)
                .because(&error)
                .log();
        }
    }
}
