//! What the lanes do: one request at a time, each with its retries.

use std::time::Duration;

use super::budget::Lease;
use super::{Error, Event, Job, Shared, Ticket};
use crate::clock::Stop;
use crate::dropbox::content_hash::{ContentHash, Digested};
use crate::dropbox::files::{Commit, Cursor, Delete, FileMetadata};
use crate::dropbox::{self, Dropbox};
use crate::http::Body;
use crate::http::retry::{Retryable, next_wait};

/// Content under its lease.
#[derive(Debug)]
pub struct Block {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Gives their memory back when they have been sent.
    pub lease: Lease,
}

/// An upload session that holds a whole backup and is closed.
#[derive(Clone, Debug)]
pub struct ReadySession {
    /// The attempt that filled it.
    pub ticket: Ticket,
    /// The session.
    pub session_id: String,
    /// What the session should hold.
    pub digested: Digested,
}

/// One thing to do for a lane.
#[derive(Debug)]
pub enum Work {
    /// Send a small backup whole.
    Small {
        /// The attempt it belongs to.
        ticket: Ticket,
        /// The content.
        blocks: Vec<Block>,
        /// Its length and hash.
        digested: Digested,
    },
    /// Send one whole block of a large backup.
    Append {
        /// The attempt it belongs to.
        ticket: Ticket,
        /// The session.
        session_id: String,
        /// Where the block begins.
        offset: u64,
        /// The content.
        block: Block,
    },
    /// Close a session that holds all whole blocks; sends the shorter last one, if there is one.
    Close {
        /// The session, and what it holds after this.
        session: ReadySession,
        /// The last block.
        tail: Option<Block>,
    },
    /// Turn closed sessions into files.
    Commit(Vec<ReadySession>),
}

impl Work {
    /// The attempt that the work belongs to; a commit belongs to several, all of them valid.
    fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Small { ticket, .. } | Self::Append { ticket, .. } => Some(*ticket),
            Self::Close { session, .. } => Some(session.ticket),
            Self::Commit(_) => None,
        }
    }
}

/// A lane's view of the world.
pub struct Lane<'a> {
    /// Where things go.
    pub dropbox: &'a Dropbox,
    /// When to give up.
    pub stop: &'a Stop,
    /// All jobs.
    pub jobs: &'a [Job],
    /// Which attempts are over.
    pub shared: &'a Shared,
}

impl Lane<'_> {
    /// Does one thing and tells what came of it.
    pub fn carry_out(&self, work: Work) -> Event {
        let (ticket, result) = match work {
            work if work
                .ticket()
                .is_some_and(|ticket| self.shared.is_stale(ticket)) =>
            {
                return Event::Stale;
            }
            Work::Commit(sessions) => return Event::Committed(self.commit(sessions)),
            Work::Small {
                ticket,
                blocks,
                digested,
            } => {
                let (content, _leases): (Vec<Vec<u8>>, Vec<Lease>) =
                    blocks.into_iter().map(|b| (b.bytes, b.lease)).unzip();
                let started = self.dropbox.start_closed_session(&content);
                let ready = started.map(|session_id| {
                    Event::Ready(ReadySession {
                        ticket,
                        session_id,
                        digested,
                    })
                });
                (ticket, ready)
            }
            Work::Append {
                ticket,
                session_id,
                offset,
                block,
            } => {
                let sent = self.append(&session_id, offset, false, &block.bytes);
                (ticket, sent.map(|()| Event::Appended(ticket)))
            }
            Work::Close { session, tail } => {
                let tail = tail.as_ref().map_or(&[][..], |block| &block.bytes);
                let offset = session.digested.bytes - tail.len() as u64;
                let closed = self.append(&session.session_id, offset, true, tail);
                (session.ticket, closed.map(|()| Event::Ready(session)))
            }
        };
        result.unwrap_or_else(|error| Event::Failed(ticket, error.into()))
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
        let results = self.finish(&sessions);
        let check = |(session, result): (ReadySession, Result<FileMetadata, Error>)| {
            let checked = result.and_then(|file| self.accept(&session, file));
            (session, checked)
        };
        sessions.into_iter().zip(results).map(check).collect()
    }

    /// Commits a batch; entries that meet another writer are tried again after a wait.
    fn finish(&self, batch: &[ReadySession]) -> Vec<Result<FileMetadata, Error>> {
        let mut results: Vec<Option<Result<FileMetadata, dropbox::Error>>> = Vec::new();
        results.resize_with(batch.len(), || None);
        for attempt in 1.. {
            let open: Vec<usize> = (0..batch.len())
                .filter(|&index| !matches!(&results[index], Some(result) if is_final(result)))
                .collect();
            let commits: Vec<Commit<'_>> = open
                .iter()
                .map(|&index| self.commit_of(&batch[index]))
                .collect();
            match self.dropbox.finish_batch(&commits) {
                Ok(entries) => {
                    for (&index, entry) in open.iter().zip(entries) {
                        results[index] = Some(entry);
                    }
                }
                Err(error) => {
                    // The call as a whole has had its retries.
                    let text = error.to_string();
                    log::debug!("The commit of {} files failed: {text}", open.len());
                    let mut error = Some(error);
                    return results
                        .into_iter()
                        .map(|result| match result {
                            Some(result) if is_final(&result) => result.map_err(Error::Dropbox),
                            _ => Err(error
                                .take()
                                .map_or_else(|| Error::CommitFailed(text.clone()), Error::Dropbox)),
                        })
                        .collect();
                }
            }
            let wait = results
                .iter()
                .flatten()
                .filter_map(|result| result.as_ref().err())
                .filter_map(|error| {
                    next_wait(
                        error.retry(),
                        attempt,
                        fastrand::f64(),
                        self.stop.time_left(),
                    )
                })
                .max();
            let Some(wait) = wait else { break };
            if self.stop.sleep(wait.max(Duration::from_millis(1))).is_err() {
                break;
            }
        }
        results
            .into_iter()
            .zip(batch)
            .map(|(result, session)| match result {
                Some(Ok(file)) => Ok(file),
                Some(Err(error)) => self.look_for(session, error),
                None => Err(Error::CommitFailed("it was not tried".into())),
            })
            .collect()
    }

    fn commit_of<'b>(&'b self, session: &'b ReadySession) -> Commit<'b> {
        let job = &self.jobs[session.ticket.job];
        Commit {
            session_id: &session.session_id,
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
            && let Ok(Some(file)) = self
                .dropbox
                .file_metadata(&self.jobs[session.ticket.job].path)
            && file.content_hash == Some(session.digested.content_hash)
        {
            return Ok(file);
        }
        Err(Error::Dropbox(error))
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
        self.remove(&self.jobs[session.ticket.job].path, &file, stored);
        Err(Error::HashMismatch { expected, stored })
    }

    fn remove(&self, path: &str, file: &FileMetadata, stored: ContentHash) {
        let rev = file.rev.as_str();
        let removed = self.dropbox.delete_batch(&[Delete { path, rev }]);
        let removed = removed.and_then(|results| results.into_iter().collect::<Result<(), _>>());
        if let Err(error) = removed {
            log::warn!(
                "The damaged copy \"{}\" (content hash {stored}) could not be removed from Dropbox. The next run compares it with its backup again. Cause: {error}.",
                file.name
            );
        }
    }
}

/// Whether a result will not change by trying again.
fn is_final(result: &Result<FileMetadata, dropbox::Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => error.retry() == crate::http::retry::Retry::Never,
    }
}
