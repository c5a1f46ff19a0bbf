//! Follows every job of a pass to its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::lane::{ReadySession, Work};
use super::queue::Queue;
use super::{Error, Event, Fate, Job, News, Observer, Pass, UnderWay};
use crate::clock::{StopReason, Stopwatch};
use crate::dropbox;
use crate::dropbox::content_hash::BLOCK_BYTES;
use crate::dropbox::files::{BATCH_ENTRIES_MAX, FileMetadata};
use crate::findings::table;
use crate::inspect::Verdict;

/// A finished session waits this long for company before it is committed; doubled each time, so
/// that the number of commits stays small however long a run takes.
const COMMIT_AFTER: Duration = Duration::from_secs(60);
/// How often progress is reported; often enough for a bar to move.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// After the end of a run's time, answers are awaited for this long; every request has been ended.
const STOP_GRACE: Duration = Duration::from_secs(60);

/// How far a job has come.
#[derive(Debug, Default)]
struct JobProgress {
    since: Option<Stopwatch>,
    /// The inspector looks at it and has not told its verdict yet.
    is_inspected: bool,
    verdict: Verdict,
    /// What can be committed once the verdict is there.
    held: Option<Box<ReadySession>>,
    /// Set for a large backup. Few of many are large, and not at the same time.
    large: Option<Box<LargeProgress>>,
}

/// How far a large backup has come.
#[derive(Debug)]
struct LargeProgress {
    /// Bytes that earlier runs have sent.
    held: u64,
    /// The whole length, where it is known.
    length: Option<u64>,
    /// Whole blocks that this pass has sent.
    appended: u64,
    /// Set once it has been read to its end: what closes its session after so many blocks.
    close: Option<(u64, Box<Work>)>,
}

impl LargeProgress {
    /// Closes the session once every whole block has arrived: Dropbox takes nothing more afterwards.
    fn close_if_complete(&mut self, queue: &Queue) {
        let appended = self.appended;
        if let Some((_, close)) = self.close.take_if(|(blocks, _)| *blocks == appended) {
            queue.push_first(*close);
        }
    }
}

impl JobProgress {
    fn took(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Ended {
    /// Bytes that Dropbox took.
    pub sent: u64,
    /// Jobs that another pass has to send from their start.
    pub again: BTreeSet<usize>,
}

/// Follows every job of a pass from the first byte to the commit.
pub struct Coordinator<'a> {
    pass: &'a Pass<'a>,
    observer: &'a mut dyn Observer,
    /// Whether there may be another pass.
    may_restart: bool,
    /// The jobs that are not over yet.
    open: BTreeMap<usize, JobProgress>,
    /// What became of those that only wait for the inspector's verdict.
    stored: BTreeMap<usize, Fate>,
    /// When progress was reported last.
    reported: Stopwatch,
    /// Closed sessions that wait for their commit, and since when.
    ready: Vec<ReadySession>,
    ready_since: Stopwatch,
    committing: bool,
    commit_after: Duration,
    ended: Ended,
}

impl<'a> Coordinator<'a> {
    /// A coordinator for the jobs that a pass has to send.
    pub fn new(
        pass: &'a Pass<'a>,
        due: &BTreeSet<usize>,
        may_restart: bool,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            pass,
            observer,
            may_restart,
            open: due
                .iter()
                .map(|&job| (job, JobProgress::default()))
                .collect(),
            stored: BTreeMap::new(),
            reported: Stopwatch::start(),
            ready: Vec::new(),
            ready_since: Stopwatch::start(),
            committing: false,
            commit_after: COMMIT_AFTER,
            ended: Ended::default(),
        }
    }

    /// Follows all jobs to their end.
    pub fn run(mut self, events: &Receiver<Event>) -> Ended {
        let mut silence = Stopwatch::start();
        while !self.open.is_empty() || !self.stored.is_empty() {
            match events.recv_timeout(Duration::from_secs(1)) {
                Ok(event) => {
                    match event {
                        Event::Of(job, news) => self.note(job, news),
                        Event::Committed(results) => self.note_committed(results),
                    }
                    silence = Stopwatch::start();
                }
                // Requests that do not end although they were ended. The guard of the run ends what hangs even then.
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(reason) = self.pass.stop.requested()
                        && silence.elapsed() >= STOP_GRACE
                    {
                        self.give_up(reason);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.commit_if_due();
            self.report_progress();
        }
        // Whatever the inspector may still say, they are stored.
        while let Some((job, fate)) = self.stored.pop_first() {
            self.observer.settled(job, fate);
        }
        self.observer.under_way(&[]);
        self.ended
    }

    /// Leaves everything that is not over to the next run.
    fn give_up(&mut self, reason: StopReason) {
        while let Some((job, fate)) = self.stored.pop_first() {
            self.observer.settled(job, fate);
        }
        while let Some((job, _)) = self.open.pop_first() {
            let stopped = dropbox::Error::Stopped(reason);
            self.observer.settled(job, Fate::Failed(stopped.into()));
        }
    }

    fn note(&mut self, job: usize, news: News) {
        if let News::Inspected(found) = news
            && let Some(mut fate) = self.stored.remove(&job)
        {
            if let Fate::Stored { verdict, .. } = &mut fate {
                *verdict = found;
            }
            self.observer.settled(job, fate);
            self.observer.batch_settled();
            return;
        }
        // Of a job that has failed, blocks may still arrive.
        let Some(progress) = self.open.get_mut(&job) else {
            return;
        };
        match news {
            News::Begun => progress.since = Some(Stopwatch::start()),
            News::NotBegun => self.settle(job, Fate::NotBegun),
            News::Inspecting => progress.is_inspected = true,
            News::Inspected(verdict) => {
                progress.is_inspected = false;
                progress.verdict = verdict;
                if let Some(ready) = progress.held.take() {
                    self.note_ready(*ready);
                }
            }
            News::Large { held, length } => {
                progress.large = Some(Box::new(LargeProgress {
                    held,
                    length,
                    appended: 0,
                    close: None,
                }));
            }
            News::Appended => {
                self.ended.sent += BLOCK_BYTES as u64;
                if let Some(large) = &mut progress.large {
                    large.appended += 1;
                    large.close_if_complete(&self.pass.queue);
                }
            }
            News::Read { blocks, close } => {
                if let Some(large) = &mut progress.large {
                    large.close = Some((blocks, close));
                    large.close_if_complete(&self.pass.queue);
                }
            }
            News::Ready(ready) => {
                if progress.large.is_none() {
                    self.ended.sent += ready.digested.bytes;
                }
                // A suspect one must not take the place of a complete one unnoticed.
                match progress.is_inspected && self.pass.jobs[job].replaces_complete {
                    true => progress.held = Some(Box::new(ready)),
                    false => self.note_ready(ready),
                }
            }
            News::Failed(error) => self.fail(job, error),
        }
    }

    /// A session can be committed.
    fn note_ready(&mut self, ready: ReadySession) {
        let progress = self.open.get(&ready.job);
        let is_suspect = progress.is_some_and(|progress| progress.verdict.flaw().is_some());
        let endangers = is_suspect && self.pass.jobs[ready.job].replaces_complete;
        if endangers && !self.observer.keeps_complete(ready.job) {
            self.open.remove(&ready.job);
            return;
        }
        if self.ready.is_empty() {
            self.ready_since = Stopwatch::start();
        }
        self.ready.push(ready);
    }

    fn note_committed(&mut self, results: Vec<(ReadySession, Result<FileMetadata, Error>)>) {
        self.committing = false;
        for (ready, result) in results {
            let ReadySession {
                job,
                digested,
                inside,
                was_sent_before,
                ..
            } = ready;
            match result {
                Ok(file) => {
                    let progress = self.open.remove(&job).unwrap_or_default();
                    let fate = Fate::Stored {
                        file,
                        digested,
                        inside,
                        took: progress.took(),
                        verdict: progress.verdict,
                    };
                    match progress.is_inspected {
                        true => drop(self.stored.insert(job, fate)),
                        false => self.observer.settled(job, fate),
                    }
                }
                Err(error) => {
                    self.note_room(&error, was_sent_before);
                    self.fail(job, error);
                }
            }
        }
        self.observer.batch_settled();
    }

    /// One commit at a time; when all that is left waits for it, when the batch is full, or when
    /// the first has waited long enough.
    fn commit_if_due(&mut self) {
        if self.ready.is_empty() || self.committing {
            return;
        }
        let waited = self.ready_since.elapsed() >= self.commit_after;
        let all_left = self.ready.len() == self.open.len();
        if all_left || waited || self.ready.len() >= BATCH_ENTRIES_MAX {
            if waited {
                self.commit_after *= 2;
            }
            let batch = self.ready.len().min(BATCH_ENTRIES_MAX);
            let sessions = self.ready.drain(..batch).collect();
            self.committing = true;
            self.pass.queue.push_first(Work::Commit(sessions));
        }
    }

    /// After one that found no room only shorter ones are tried. Where nobody may know how much room there is, they are
    /// half as long at most, so that little is sent in vain. The next run tries the others: it learns without sending
    /// anything that there is no room for this one.
    fn note_room(&self, error: &Error, was_sent_before: bool) {
        if let Error::NoSpace { needed, free, .. } = *error {
            let room = match free {
                Some(free) => free,
                None if was_sent_before => needed.saturating_sub(1),
                None => needed / 2,
            };
            self.pass.room.fetch_min(room, Ordering::Relaxed);
        }
    }

    fn fail(&mut self, job: usize, error: Error) {
        self.pass.queue.abandon(job);
        if error.ends_all_uploads() {
            self.pass.pointless.store(true, Ordering::Relaxed);
        }
        if error.is_worth_a_restart() {
            let Job { backup, name, .. } = &self.pass.jobs[job];
            self.pass.journals.remove(&backup.id);
            if self.may_restart {
                table::begun_again(name).because(&error).log();
                self.open.remove(&job);
                self.ended.again.insert(job);
                return;
            }
        }
        self.settle(job, Fate::Failed(error));
    }

    /// Tells the observer now and then how far the large backups have come.
    fn report_progress(&mut self) {
        if self.reported.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported = Stopwatch::start();
        let under_way = |(&job, progress): (&usize, &JobProgress)| {
            let large = progress.large.as_ref()?;
            let sent = large.appended * BLOCK_BYTES as u64;
            Some(UnderWay {
                job,
                held: large.held + sent,
                length: large.length,
                sent,
                took: progress.took(),
            })
        };
        let all: Vec<UnderWay> = self.open.iter().filter_map(under_way).collect();
        self.observer.under_way(&all);
    }

    fn settle(&mut self, job: usize, fate: Fate) {
        if self.open.remove(&job).is_some() {
            self.observer.settled(job, fate);
        }
    }
}
