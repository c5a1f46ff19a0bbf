//! Sends backups to Dropbox: one reader, several lanes, a fixed amount of memory.
//!
//! A reader thread reads the backups one after another, hashes each block and hands it to the
//! lanes, which send several at a time. A backup of up to [`SMALL_BLOCKS`] blocks goes as one
//! request into a session that starts closed; a larger one into a concurrent session, block by
//! block, closed once all other blocks have arrived. The coordinator, on the caller's thread,
//! follows every backup and has finished sessions committed in batches, one batch at a time,
//! because commits lock the folder.
//!
//! A backup whose session was lost, or whose copy turned out to be wrong, is sent again from its start
//! in another pass, when everything else has arrived.
//!
//! What is read is also looked at, whether it is a complete archive; see [`inspecting`].
//!
//! Blocks in memory never exceed [`BUDGET_BYTES`], whatever the number and size of the backups.

mod budget;
mod coordinator;
mod feed;
mod inspecting;
mod lane;
mod queue;
mod reader;
mod sealing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use budget::Budget;
use coordinator::{Coordinator, Ended};
use inspecting::{Inspecting, Told};
use lane::{ReadySession, Work};
use queue::Queue;

pub use reader::digest;

use crate::age::{CannotSeal, Recipients};
use crate::clock::{self, Stop};
use crate::dropbox::content_hash::{BLOCK_BYTES, ContentHash, Digested};
use crate::dropbox::files::{FileMetadata, WriteMode};
use crate::dropbox::{self, Conflict, Dropbox};
use crate::inspect::Verdict;
use crate::source::{self, Backup, Source};
use crate::state::Inside;
use crate::state::journal::Journals;
use crate::text;

/// Requests in flight. Eight connections saturate a link of which one connection gets a fifth.
const LANES: usize = 8;
/// Under an upload limit, a lane's share in bytes per second, so that a block takes seconds, not
/// minutes, and no server loses patience.
const LANE_BYTES_PER_SECOND: usize = 300_000;
/// As many blocks as lanes: one is being read while the others are on their way. The half block
/// more lets seven backups of 5 MB be on their way instead of six.
const BUDGET_BYTES: usize = LANES * BLOCK_BYTES + BLOCK_BYTES / 2;
/// The least that something read is charged with, so that of many small files a few hundred at most are read ahead.
const LEASE_BYTES_MIN: usize = 64 * 1024;
/// The lanes begin one after another. Beginning together, they would share the line, end together
/// and leave it idle while all of them wait for their answers, again and again.
const LANE_DELAY: Duration = Duration::from_millis(35);
/// A backup of up to this many blocks is sent in one request.
const SMALL_BLOCKS: usize = 2;
/// How often a backup is sent again from its start within one run.
const RESTARTS_MAX: u32 = 2;

/// The number of lanes under an upload limit.
pub fn lanes(upload_bytes_per_second: Option<u32>) -> usize {
    let limit = upload_bytes_per_second.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(LANES, |limit| {
        limit.div_ceil(LANE_BYTES_PER_SECOND).clamp(1, LANES)
    })
}

/// A backup to be sent.
#[derive(Clone, Debug)]
pub struct Job {
    /// The backup.
    pub backup: Backup,
    /// Name of its file below the mirror folder, for messages.
    pub name: String,
    /// Path of its file in Dropbox.
    pub path: String,
    /// What may be replaced there.
    pub mode: WriteMode,
    /// What is replaced there is a complete archive, of which there is no other copy.
    pub replaces_complete: bool,
}

/// Why a backup did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// Sending failed.
    #[error(transparent)]
    Dropbox(#[from] dropbox::Error),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] CannotSeal),
    /// What is about to be sent under a key could not be noted.
    #[error("the journal of the upload cannot be written ({0})")]
    Journal(io::Error),
    /// The account is full.
    #[error("there is no room for {}{} ({cause})", text::bytes(*.needed), free_text(*.free))]
    NoSpace {
        /// Length of the backup in bytes.
        needed: u64,
        /// Bytes that are free, where the plugin may know it.
        free: Option<u64>,
        /// What Dropbox said.
        cause: dropbox::Error,
    },
    /// Dropbox stored something else than what was read.
    #[error("Dropbox stored a content with the hash {stored} instead of {expected}")]
    HashMismatch {
        /// Hash of the backup.
        expected: ContentHash,
        /// Hash that Dropbox reports.
        stored: ContentHash,
        /// What is there now.
        aftermath: Aftermath,
    },
    /// Dropbox reported no hash, so nothing is proved.
    #[error("Dropbox reported no content hash for the stored file")]
    NoHash,
}

fn free_text(free: Option<u64>) -> String {
    free.map_or_else(String::new, |free| {
        format!(", {} are free", text::bytes(free))
    })
}

impl Error {
    /// Whether sending the backup again from its start may help within this run.
    fn is_worth_a_restart(&self) -> bool {
        match self {
            Self::HashMismatch { .. } | Self::Source(source::Error::OtherContent) => true,
            Self::Dropbox(error) => error.is_session_lost(),
            _ => false,
        }
    }

    /// Whether no other upload of this run can succeed.
    fn ends_all_uploads(&self) -> bool {
        match self {
            Self::Dropbox(error) => error.ends_all_uploads(),
            Self::Source(source::Error::Unauthorized { .. } | source::Error::Stopped(_)) => true,
            _ => false,
        }
    }

    /// Whether the account is full.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Whether the backup changed while it was read, which is not a fault: a later run copies it.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Source(source::Error::InUse))
    }

    /// Whether Dropbox refuses the name of the file, so that it can never be stored under it.
    pub fn is_name_refused(&self) -> bool {
        matches!(self, Self::Dropbox(error) if error.is_name_refused())
    }

    /// What is in the way of the file, if that is why it was refused.
    pub fn conflict(&self) -> Option<Conflict> {
        match self {
            Self::Dropbox(error) => error.conflict(),
            _ => None,
        }
    }

    /// Whether a commit may have failed because of its session, so that another one would do.
    fn may_be_the_sessions(&self) -> bool {
        let Self::Dropbox(error) = self else {
            return false;
        };
        let is_clear = self.ends_all_uploads() || error.conflict().is_some();
        !is_clear && !matches!(error, dropbox::Error::Busy { .. })
    }

    /// Whether the run had to stop, which is not a fault.
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::Dropbox(dropbox::Error::Stopped(_)) | Self::Source(source::Error::Stopped(_))
        )
    }
}

/// What is in a damaged copy's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing, as before.
    Removed,
    /// The copy that was there before.
    BroughtBack,
    /// The damaged copy, because it could not be taken away.
    Stays,
}

/// What became of a job.
#[derive(Debug)]
pub enum Fate {
    /// The file is in Dropbox, and its hash is the backup's.
    Stored {
        /// The file.
        file: FileMetadata,
        /// The file's length and hash.
        digested: Digested,
        /// What is in it, if it is sealed.
        inside: Option<Inside>,
        /// From the first byte read to the commit.
        took: Duration,
        /// Whether the backup is a complete archive.
        verdict: Verdict,
    },
    /// It did not arrive.
    Failed(Error),
    /// It was not begun: the run winds down, or nothing more can be stored.
    NotBegun,
}

/// How far a large backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Index of the job.
    pub job: usize,
    /// Bytes that Dropbox holds.
    pub held: u64,
    /// The whole length in bytes, where the source announced it.
    pub length: Option<u64>,
    /// Bytes sent by this run.
    pub sent: u64,
    /// Since this run began with it.
    pub took: Duration,
}

/// Follows transfers, on the thread that called [`send`].
pub trait Observer {
    /// Before a suspect backup takes the place of a complete one; returns whether it may.
    fn keeps_complete(&mut self, job: usize) -> bool;
    /// A job's fate is known.
    fn settled(&mut self, job: usize, fate: Fate);
    /// The jobs of a batch are settled; what is known of them can be stored at once. The journals of those that
    /// arrived may go as soon as it is.
    fn batch_settled(&mut self);
    /// How far the large backups have come, several times a second while blocks arrive.
    fn under_way(&mut self, transfers: &[UnderWay]);
}

/// What reader and lanes tell the coordinator.
#[derive(Debug)]
enum Event {
    /// How a job goes on.
    Of(usize, News),
    /// A batch was committed; each file has its own result.
    Committed(Vec<(ReadySession, Result<FileMetadata, Error>)>),
}

/// How a job goes on.
#[derive(Debug)]
enum News {
    /// The reader begins it.
    Begun,
    /// The reader leaves it alone.
    NotBegun,
    /// The inspector looks at what is read; its verdict follows.
    Inspecting,
    /// What it has found.
    Inspected(Verdict),
    /// The backup turned out to be large.
    Large {
        /// Bytes that Dropbox holds already.
        held: u64,
        /// The whole length, where it is known.
        length: Option<u64>,
    },
    /// A large backup has been read to its end.
    Read {
        /// Whole blocks that this pass sends and that must have arrived before the session is closed.
        blocks: u64,
        /// What closes it.
        close: Box<Work>,
    },
    /// Dropbox holds one more whole block.
    Appended,
    /// The session is closed and complete.
    Ready(ReadySession),
    /// Reading or sending failed.
    Failed(Error),
}

/// One pass over the jobs that are due: what its threads share. A job that fails is over for this pass,
/// and when the next one begins, nothing of it is under way.
struct Pass<'a> {
    source: &'a dyn Source,
    dropbox: &'a Dropbox,
    stop: &'a Stop,
    journals: &'a Journals,
    /// Whom everything is sealed to.
    recipients: Option<&'a Recipients>,
    jobs: &'a [Job],
    queue: Queue,
    inspecting: Option<Inspecting>,
    budget: Arc<Budget>,
    /// Nothing more can be stored.
    pointless: &'a AtomicBool,
    /// What is longer finds no room, as far as is known.
    room: &'a AtomicU64,
    /// By job, the version that this run itself has left in the file's place.
    left_there: &'a Mutex<BTreeMap<usize, String>>,
}

impl Pass<'_> {
    /// Whether there may be room for so many bytes. Where none was found, what has no known length is not tried.
    fn may_have_room(&self, length: Option<u64>) -> bool {
        let room = self.room.load(Ordering::Relaxed);
        room == u64::MAX || length.is_some_and(|length| length <= room)
    }

    /// Sends the jobs that are `due`.
    fn send(
        &self,
        due: &BTreeSet<usize>,
        lanes: usize,
        may_restart: bool,
        told: Receiver<Told>,
        observer: &mut dyn Observer,
    ) -> Ended {
        let (sender, events) = mpsc::channel();
        let tell = move |event| {
            // The other end outlives all threads.
            let _ = sender.send(event);
        };
        std::thread::scope(|scope| {
            for number in (0..).take(lanes) {
                let tell = tell.clone();
                scope.spawn(move || {
                    self.queue.wait_for_end(clock::wall(LANE_DELAY * number));
                    while let Some(work) = self.queue.next() {
                        tell(self.carry_out(work));
                    }
                });
            }
            if self.inspecting.is_some() {
                let tell = tell.clone();
                scope.spawn(move || inspecting::inspect(&told, &tell));
            }
            scope.spawn(move || self.feed(due, &tell));
            let ended = Coordinator::new(self, due, may_restart, observer).run(&events);
            self.queue.close();
            self.inspecting.iter().for_each(Inspecting::close);
            ended
        })
    }
}

/// From where to where content goes, and how.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// Where it is read.
    pub source: &'a dyn Source,
    /// Whom it is sealed to, if it is.
    pub recipients: Option<&'a Recipients>,
    /// Where it goes.
    pub dropbox: &'a Dropbox,
    /// When to end.
    pub stop: &'a Stop,
    /// What is noted of unfinished uploads.
    pub journals: &'a Journals,
    /// Requests in flight, at most.
    pub lanes: usize,
    /// Whether it is looked at on the way.
    pub inspects: bool,
}

/// Sends all `jobs`, in their order, and tells `observer` each one's fate as soon as it is known.
///
/// One job's failure does not keep the others from being sent, unless it shows that none can be.
/// Returns the bytes that Dropbox took, including those of backups that are not complete yet.
pub fn send(way: &Way<'_>, jobs: &[Job], observer: &mut dyn Observer) -> u64 {
    let Way {
        source,
        recipients,
        dropbox,
        stop,
        journals,
        lanes,
        inspects,
    } = *way;
    let pointless = AtomicBool::new(false);
    let room = AtomicU64::new(u64::MAX);
    let left_there = Mutex::default();
    let mut due: BTreeSet<usize> = (0..jobs.len()).collect();
    let mut sent = 0;
    for restarts_left in (0..=RESTARTS_MAX).rev() {
        let (inspecting, told) = Inspecting::new();
        let pass = Pass {
            source,
            dropbox,
            stop,
            journals,
            recipients,
            jobs,
            queue: Queue::default(),
            inspecting: inspects.then_some(inspecting),
            budget: Budget::new(BUDGET_BYTES),
            pointless: &pointless,
            room: &room,
            left_there: &left_there,
        };
        let ended = pass.send(&due, lanes, restarts_left > 0, told, observer);
        sent += ended.sent;
        due = ended.again;
        if due.is_empty() {
            break;
        }
    }
    sent
}
