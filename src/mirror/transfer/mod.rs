//! Sends backups to Dropbox: one reader, several lanes, a fixed amount of memory.
//!
//! A reader thread reads the backups one after another, hashes each block and hands it to the
//! lanes, which send several at a time. A backup of up to [`SMALL_BLOCKS`] blocks goes as one
//! request into a session that starts closed; a larger one into a concurrent session, block by
//! block, closed once all other blocks have arrived. The coordinator, on the caller's thread,
//! follows every backup and has finished sessions committed in batches, one batch at a time,
//! because commits lock the folder.
//!
//! Blocks in memory never exceed [`BUDGET_BYTES`], whatever the number and size of the backups.

mod budget;
mod lane;
mod queue;
mod reader;
mod reading;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use budget::Budget;
use lane::{Block, Lane, ReadySession, Work};
use queue::Queue;
use reading::Reading;

pub use reader::digest;

use crate::clock::{Stop, Stopwatch};
use crate::dropbox::content_hash::{BLOCK_BYTES, ContentHash, Digested};
use crate::dropbox::files::{BATCH_ENTRIES_MAX, FileMetadata, WriteMode};
use crate::dropbox::{self, Dropbox};
use crate::source::{self, Backup, Source};
use crate::state::journal::Journals;

/// Requests in flight. Eight connections saturate a link of which one connection gets a fifth.
const LANES: usize = 8;
/// Under an upload limit, a lane's share in bytes per second, so that a block takes seconds, not
/// minutes, and no server loses patience.
const LANE_BYTES_PER_SECOND: usize = 300_000;
/// Every lane sends a block while the reader fills the next one.
const BUDGET_BYTES: usize = (LANES + 1) * BLOCK_BYTES;
/// A backup of up to this many blocks is sent in one request.
const SMALL_BLOCKS: usize = 2;
/// A finished session waits this long for company before it is committed; doubled each time, so
/// that the number of commits stays small however long a run takes.
const COMMIT_AFTER: Duration = Duration::from_secs(60);
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_secs(5);
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
    /// Path of its file in Dropbox.
    pub path: String,
    /// What may be replaced there.
    pub mode: WriteMode,
}

impl Job {
    /// Name of the file, for messages.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
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
    /// The account is full.
    #[error("there is no room for {} ({cause})", crate::text::bytes(*.needed))]
    NoSpace {
        /// Length of the backup in bytes.
        needed: u64,
        /// What Dropbox said.
        cause: dropbox::Error,
    },
    /// Dropbox stored something else than what was read; it was removed.
    #[error("Dropbox stored a content with the hash {stored} instead of {expected}")]
    HashMismatch {
        /// Hash of the backup.
        expected: ContentHash,
        /// Hash that Dropbox reports.
        stored: ContentHash,
    },
    /// Dropbox reported no hash, so nothing is proved.
    #[error("Dropbox reported no content hash for the stored file")]
    NoHash,
}

impl Error {
    /// Whether sending the backup again from its start may help within this run.
    fn is_worth_a_restart(&self) -> bool {
        match self {
            Self::HashMismatch { .. } => true,
            Self::Dropbox(error) => error.is_session_lost(),
            _ => false,
        }
    }

    /// Whether no other upload of this run can succeed.
    fn ends_all_uploads(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Dropbox(error) => error.ends_all_uploads(),
            Self::Source(source::Error::Unauthorized { .. } | source::Error::Stopped(_)) => true,
            _ => false,
        }
    }

    /// Whether the account is full.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Whether the run had to stop, which is no fault.
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::Dropbox(dropbox::Error::Stopped(_)) | Self::Source(source::Error::Stopped(_))
        )
    }
}

/// What became of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in Dropbox, and its hash is the backup's.
    Stored {
        /// The file.
        file: FileMetadata,
        /// The backup's length and hash.
        digested: Digested,
        /// From the first byte read to the commit.
        took: Duration,
    },
    /// It did not arrive.
    Failed(Error),
    /// It was not begun: the run winds down, or nothing can be stored any more.
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
    /// A job's fate is known.
    fn settled(&mut self, job: usize, outcome: Outcome);
    /// How far the large backups have come, every few seconds.
    fn under_way(&mut self, transfers: &[UnderWay]);
}

/// One attempt at one job. What still arrives of an earlier attempt is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    job: usize,
    attempt: u32,
}

/// What reader and lanes tell the coordinator.
#[derive(Debug)]
enum Event {
    /// The reader begins a job.
    Begun(Ticket),
    /// The reader leaves a job alone.
    NotBegun(Ticket),
    /// A backup turned out to be large.
    Large {
        ticket: Ticket,
        /// Bytes that Dropbox holds already.
        held: u64,
        /// The whole length, where it is known.
        length: Option<u64>,
    },
    /// The reader has read a large backup to its end.
    Read(LargeEnd),
    /// Dropbox holds one more whole block.
    Appended(Ticket),
    /// A session is closed and complete.
    Ready(ReadySession),
    /// A batch was committed; each file has its own result.
    Committed(Vec<(ReadySession, Result<FileMetadata, Error>)>),
    /// Reading or sending failed.
    Failed(Ticket, Error),
    /// Nothing: the work belonged to an attempt that is over.
    Stale,
}

/// What closing a large backup's session takes.
#[derive(Debug)]
struct LargeEnd {
    ready: ReadySession,
    /// Whole blocks that this attempt sends and that must have arrived before.
    blocks: u64,
    /// The shorter last block, which travels with the closing request.
    tail: Option<Block>,
}

/// What the coordinator tells reader and lanes.
struct Shared {
    /// The valid attempt of each job.
    attempts: Vec<AtomicU32>,
    /// Nothing can be stored any more.
    pointless: AtomicBool,
}

impl Shared {
    fn is_stale(&self, ticket: Ticket) -> bool {
        self.attempts[ticket.job].load(Ordering::Relaxed) != ticket.attempt
    }
}

/// Sends all `jobs`, in their order, and tells `observer` each one's fate as soon as it is known.
///
/// One job's failure does not keep the others from being sent, unless it shows that none can be.
/// Returns the bytes that Dropbox took, including those of backups that are not complete yet.
pub fn send(
    source: &dyn Source,
    dropbox: &Dropbox,
    stop: &Stop,
    journals: &Journals,
    lanes: usize,
    jobs: &[Job],
    observer: &mut dyn Observer,
) -> u64 {
    let queue = Queue::default();
    let shared = Shared {
        attempts: jobs.iter().map(|_| AtomicU32::new(0)).collect(),
        pointless: AtomicBool::new(false),
    };
    let (event_sender, events) = mpsc::channel();
    let (ticket_sender, tickets) = mpsc::channel();
    let lane = Lane {
        dropbox,
        jobs,
        shared: &shared,
        journals,
    };
    let reading = Reading {
        source,
        dropbox,
        stop,
        jobs,
        shared: &shared,
        queue: &queue,
        budget: Budget::new(BUDGET_BYTES),
        journals,
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            let (queue, lane, events) = (&queue, &lane, event_sender.clone());
            scope.spawn(move || {
                while let Some(work) = queue.next() {
                    if events.send(lane.carry_out(work)).is_err() {
                        return;
                    }
                }
            });
        }
        scope.spawn(move || reading.run(&tickets, &event_sender));
        let coordinator = Coordinator {
            jobs,
            progress: jobs.iter().map(|_| Progress::default()).collect(),
            reported: Stopwatch::start(),
            sent: 0,
            ready: Vec::new(),
            ready_since: Stopwatch::start(),
            committing: false,
            commit_after: COMMIT_AFTER,
            queue: &queue,
            shared: &shared,
            tickets: ticket_sender,
            journals,
            observer,
        };
        let sent = coordinator.run(&events);
        queue.close();
        sent
    })
}

/// How far a job has come.
#[derive(Debug, Default)]
struct Progress {
    since: Option<Stopwatch>,
    attempt: u32,
    settled: bool,
    /// Whole blocks that this attempt has sent.
    appended: u64,
    /// Bytes that earlier runs have sent, and the whole length; set for a large backup.
    large: Option<(u64, Option<u64>)>,
    /// Set once a large backup has been read to its end.
    end: Option<LargeEnd>,
}

/// Follows every job from the first byte to the commit.
struct Coordinator<'a> {
    jobs: &'a [Job],
    progress: Vec<Progress>,
    /// When progress was reported last.
    reported: Stopwatch,
    /// Bytes that Dropbox took.
    sent: u64,
    /// Closed sessions that wait for their commit, and since when.
    ready: Vec<ReadySession>,
    ready_since: Stopwatch,
    committing: bool,
    commit_after: Duration,
    queue: &'a Queue,
    shared: &'a Shared,
    tickets: Sender<Ticket>,
    journals: &'a Journals,
    observer: &'a mut dyn Observer,
}

impl Coordinator<'_> {
    fn run(mut self, events: &Receiver<Event>) -> u64 {
        for job in 0..self.progress.len() {
            self.begin(job);
        }
        let mut open = self.progress.len();
        while open > 0 {
            match events.recv_timeout(Duration::from_secs(1)) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            open = self.progress.iter().filter(|job| !job.settled).count();
            self.commit_if_due(open);
            self.report_progress();
        }
        self.observer.under_way(&[]);
        self.sent
    }

    fn begin(&mut self, job: usize) {
        let attempt = self.progress[job].attempt;
        if self.tickets.send(Ticket { job, attempt }).is_err() {
            log::debug!("The reader has ended before the coordinator.");
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Stale => {}
            Event::Begun(ticket) => {
                self.progress[ticket.job]
                    .since
                    .get_or_insert_with(Stopwatch::start);
            }
            Event::NotBegun(ticket) => self.settle(ticket.job, Outcome::NotBegun),
            Event::Appended(ticket) if !self.shared.is_stale(ticket) => {
                self.progress[ticket.job].appended += 1;
                self.sent += BLOCK_BYTES as u64;
                self.close_if_complete(ticket.job);
            }
            Event::Large {
                ticket,
                held,
                length,
            } => self.progress[ticket.job].large = Some((held, length)),
            Event::Read(end) if !self.shared.is_stale(end.ready.ticket) => {
                let job = end.ready.ticket.job;
                self.progress[job].end = Some(end);
                self.close_if_complete(job);
            }
            Event::Ready(ready) if !self.shared.is_stale(ready.ticket) => {
                if self.progress[ready.ticket.job].large.is_none() {
                    self.sent += ready.digested.bytes;
                }
                if self.ready.is_empty() {
                    self.ready_since = Stopwatch::start();
                }
                self.ready.push(ready);
            }
            Event::Failed(ticket, error) if !self.shared.is_stale(ticket) => {
                self.fail(ticket.job, error);
            }
            Event::Appended(_) | Event::Read(_) | Event::Ready(_) | Event::Failed(..) => {}
            Event::Committed(results) => {
                self.committing = false;
                for (session, result) in results {
                    let job = session.ticket.job;
                    match result {
                        Ok(file) => {
                            let since = self.progress[job].since;
                            let outcome = Outcome::Stored {
                                file,
                                digested: session.digested,
                                took: since.map_or(Duration::ZERO, |since| since.elapsed()),
                            };
                            self.settle(job, outcome);
                            self.journals.remove(&self.jobs[job].backup.id);
                        }
                        Err(error) => self.fail(job, error),
                    }
                }
            }
        }
    }

    /// Closes a large backup's session once every whole block has arrived: Dropbox takes nothing
    /// more afterwards.
    fn close_if_complete(&mut self, job: usize) {
        let progress = &mut self.progress[job];
        let appended = progress.appended;
        if let Some(end) = progress.end.take_if(|end| end.blocks == appended) {
            self.queue.push_first(Work::Close {
                ready: end.ready,
                tail: end.tail,
            });
        }
    }

    /// One commit at a time; when all that is left waits for it, when the batch is full, or when
    /// the first has waited long enough.
    fn commit_if_due(&mut self, open: usize) {
        if self.ready.is_empty() || self.committing {
            return;
        }
        let waited = self.ready_since.elapsed() >= self.commit_after;
        let all_left = self.ready.len() == open;
        if all_left || waited || self.ready.len() >= BATCH_ENTRIES_MAX {
            if waited {
                self.commit_after *= 2;
            }
            let batch = self.ready.len().min(BATCH_ENTRIES_MAX);
            let sessions = self.ready.drain(..batch).collect();
            self.committing = true;
            self.queue.push_first(Work::Commit(sessions));
        }
    }

    fn fail(&mut self, job: usize, error: Error) {
        let progress = &mut self.progress[job];
        progress.attempt += 1;
        progress.appended = 0;
        progress.end = None;
        self.shared.attempts[job].store(progress.attempt, Ordering::Relaxed);
        if error.ends_all_uploads() {
            self.shared.pointless.store(true, Ordering::Relaxed);
        }
        let restarts = progress.attempt <= RESTARTS_MAX;
        if error.is_worth_a_restart() {
            self.journals.remove(&self.jobs[job].backup.id);
            if restarts {
                log::info!(
                    "The upload of \"{}\" begins again from its start. Cause: {error}.",
                    self.jobs[job].name()
                );
                return self.begin(job);
            }
        }
        self.settle(job, Outcome::Failed(error));
    }

    /// Tells the observer every few seconds how far the large backups have come.
    fn report_progress(&mut self) {
        if self.reported.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported = Stopwatch::start();
        let under_way = |(job, progress): (usize, &Progress)| {
            let (held, length) = progress.large.filter(|_| !progress.settled)?;
            let sent = progress.appended * BLOCK_BYTES as u64;
            Some(UnderWay {
                job,
                held: held + sent,
                length,
                sent,
                took: progress
                    .since
                    .map_or(Duration::ZERO, |since| since.elapsed()),
            })
        };
        let all: Vec<UnderWay> = self
            .progress
            .iter()
            .enumerate()
            .filter_map(under_way)
            .collect();
        self.observer.under_way(&all);
    }

    fn settle(&mut self, job: usize, outcome: Outcome) {
        if !std::mem::replace(&mut self.progress[job].settled, true) {
            self.observer.settled(job, outcome);
        }
    }
}
