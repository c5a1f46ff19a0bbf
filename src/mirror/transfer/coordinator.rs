//! Follows every job from its ticket to its commit.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::lane::{ReadySession, Work};
use super::queue::Queue;
use super::{Error, Event, Job, LargeEnd, Observer, Outcome, Shared, Ticket, UnderWay};
use crate::clock::{Stop, StopReason, Stopwatch};
use crate::dropbox;
use crate::dropbox::content_hash::BLOCK_BYTES;
use crate::dropbox::files::BATCH_ENTRIES_MAX;
use crate::state::journal::Journals;

/// A finished session waits this long for company before it is committed; doubled each time, so
/// that the number of commits stays small however long a run takes.
const COMMIT_AFTER: Duration = Duration::from_secs(60);
/// How often progress is reported; often enough for a bar to move.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// After the end of a run's time, answers are awaited for this long; every request has been ended.
const STOP_GRACE: Duration = Duration::from_secs(60);
/// How often a backup is sent again from its start within one run.
const RESTARTS_MAX: u32 = 2;

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
pub struct Coordinator<'a> {
    jobs: &'a [Job],
    stop: &'a Stop,
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

impl<'a> Coordinator<'a> {
    /// A coordinator for `jobs`, which hands out tickets and work.
    pub fn new(
        jobs: &'a [Job],
        stop: &'a Stop,
        queue: &'a Queue,
        shared: &'a Shared,
        tickets: Sender<Ticket>,
        journals: &'a Journals,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            jobs,
            stop,
            progress: jobs.iter().map(|_| Progress::default()).collect(),
            ready: Vec::new(),
            ready_since: Stopwatch::start(),
            committing: false,
            commit_after: COMMIT_AFTER,
            reported: Stopwatch::start(),
            sent: 0,
            queue,
            shared,
            tickets,
            journals,
            observer,
        }
    }

    /// Follows all jobs to their end; returns the bytes that Dropbox took.
    pub fn run(mut self, events: &Receiver<Event>) -> u64 {
        for job in 0..self.progress.len() {
            self.begin(job);
        }
        let mut open = self.progress.len();
        let mut silence = Stopwatch::start();
        while open > 0 {
            match events.recv_timeout(Duration::from_secs(1)) {
                Ok(event) => {
                    self.handle(event);
                    silence = Stopwatch::start();
                }
                // A net under the rest: whatever is still awaited, the run ends.
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(reason) = self.stop.requested()
                        && silence.elapsed() >= STOP_GRACE
                    {
                        self.give_up(reason);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            open = self.progress.iter().filter(|job| !job.settled).count();
            self.commit_if_due(open);
            self.report_progress();
        }
        self.observer.under_way(&[]);
        self.sent
    }

    /// Leaves everything that is not settled to the next run.
    fn give_up(&mut self, reason: StopReason) {
        for job in 0..self.progress.len() {
            let stopped = dropbox::Error::Stopped(reason);
            self.settle(job, Outcome::Failed(stopped.into()));
        }
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
                let mut stored = Vec::new();
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
                            stored.push(job);
                        }
                        Err(error) => self.fail(job, error),
                    }
                }
                self.observer.batch_settled();
                for job in stored {
                    self.journals.remove(&self.jobs[job].backup.id);
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
                    self.jobs[job].name
                );
                return self.begin(job);
            }
        }
        self.settle(job, Outcome::Failed(error));
    }

    /// Tells the observer now and then how far the large backups have come.
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
