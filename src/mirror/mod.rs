//! Keeps the mirror folder equal to the source: names, plan and remarks are pure, the rest acts.

pub mod announce;
pub mod names;
pub mod plan;
pub mod survey;
pub mod transfer;

use std::time::Duration;

use crate::clock::{self, Stop, Stopwatch};
use crate::dropbox::content_hash::Digested;
use crate::dropbox::files::{BATCH_ENTRIES_MAX, Delete, FileMetadata, WriteMode};
use crate::dropbox::{self, Dropbox};
use crate::findings::advice::{self, Advice};
use crate::findings::{Finding, Findings, table};
use crate::plugin::log::{self as plugin_log, PROGRESS_START};
use crate::record::{Lists, Record};
use crate::row::{Decision, Origin, Row};
use crate::source::{self, Source};
use crate::state::{Mirrored, State};
use crate::text;
use plan::Plan;
use transfer::{Fate, Job, Observer, UnderWay};

/// What a run did, for its last line and its record. What failed stands in its findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files sent.
    pub uploaded: usize,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Bytes that Dropbox took in this run, including those of files that are not complete yet.
    pub sent_bytes: u64,
    /// Files that equalled their backups before the run, or were found to.
    pub unchanged: usize,
    /// Files deleted.
    pub deleted: usize,
    /// Things left for the next run, because this one had to end.
    pub left: usize,
    /// The deletions that were planned have been carried out, or there were none.
    pub deletions_done: bool,
}

/// Carries out a plan, row by row.
pub struct Mirror<'a> {
    /// Where backups come from.
    pub source: &'a dyn Source,
    /// Where they go.
    pub dropbox: &'a Dropbox,
    /// When to end.
    pub stop: &'a Stop,
    /// What is remembered.
    pub state: &'a mut State,
    /// What is shown of it.
    pub record: &'a mut Record,
    /// Gets what there is to say.
    pub findings: &'a Findings,
    /// Path of the mirror folder in Dropbox; `""` is the root, which for an app-folder app is the app's own folder.
    pub folder: &'a str,
    /// Requests in flight, at most; see [`transfer::lanes`].
    pub lanes: usize,
    /// What is to be done. Its rows follow what becomes of them.
    pub plan: Plan,
    /// What has been done.
    pub summary: Summary,
}

/// How often the results of comparisons are stored; a run that is killed repeats the rest.
const SAVE_EVERY: Duration = Duration::from_secs(5);

impl Mirror<'_> {
    /// Carries out the plan: uploads, then comparisons, then deletions.
    pub fn carry_out(mut self) -> Summary {
        let memory = &mut self.state.memory;
        memory.seen.clone_from(&self.plan.seen);
        memory.on_hold.clone_from(&self.plan.on_hold);
        memory
            .mirrored
            .retain(|id, _| self.plan.seen.contains_key(id));
        let sent = self.plan.uploads().chain(self.plan.comparisons());
        self.state
            .journals
            .retain(sent.filter_map(|row| row.id.as_ref()));
        self.summary.unchanged = self.plan.unchanged();
        let errors_before = self.findings.errors();
        // What was seen is on disk before anything is done on the strength of it.
        self.save();
        let is_remembered = self.findings.errors() == errors_before;

        let uploads =
            self.rows(|decision| matches!(decision, Decision::Upload | Decision::Replace(_)));
        let mut room_made = self.send(&uploads, is_remembered);
        let differing = self.compare_all();
        let may_make_room = !room_made && self.findings.errors() == errors_before;
        room_made |= self.send(&differing, may_make_room);

        let succeeded = self.findings.errors() == errors_before && self.summary.left == 0;
        let due = self.rows(|decision| matches!(decision, Decision::Delete { .. }));
        if room_made {
            self.summary.deletions_done = succeeded;
        } else if succeeded && self.stop.winding_down().is_none() {
            self.summary.deletions_done = self.delete(&due);
        } else if !due.is_empty() {
            let verb = if due.len() == 1 { "waits" } else { "wait" };
            let waiting = format!("{} {verb}", text::count(due.len(), "deletion"));
            self.findings.add(table::deletions_wait(&waiting));
        }
        self.summary
    }

    /// Indices of the rows with a decision of this kind, the newest first.
    fn rows(&self, is_it: impl Fn(Decision) -> bool) -> Vec<usize> {
        let rows = self.plan.rows.iter().enumerate();
        rows.filter(|(_, row)| is_it(row.decision))
            .map(|(index, _)| index)
            .collect()
    }

    /// Path in Dropbox of a file in the mirror folder.
    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn job(&self, index: usize) -> Option<Job> {
        let row = &self.plan.rows[index];
        Some(Job {
            backup: row.backup.clone()?,
            name: row.name.clone(),
            path: self.path_of(&row.name),
            mode: row
                .file
                .as_ref()
                .map_or(WriteMode::Add, |file| WriteMode::Update(file.rev.clone())),
        })
    }

    /// Sends the backups of these rows. If Dropbox runs out of space, does the deletions that are due, if
    /// it may, and tries once more; returns whether it did.
    fn send(&mut self, rows: &[usize], may_make_room: bool) -> bool {
        let due = self.rows(|decision| matches!(decision, Decision::Delete { .. }));
        let mut short_of_space = Vec::new();
        let makes_room = may_make_room && !due.is_empty();
        self.send_once(rows, makes_room.then_some(&mut short_of_space));
        if short_of_space.is_empty() {
            return false;
        }
        self.findings.add(table::room_first());
        self.delete(&due);
        self.send_once(&short_of_space, None);
        true
    }

    /// Sends the backups of these rows. Those that found no space, and those not begun because of it, go
    /// to `short_of_space` where it is given.
    fn send_once(&mut self, rows: &[usize], short_of_space: Option<&mut Vec<usize>>) {
        let (rows, jobs): (Vec<usize>, Vec<Job>) = rows
            .iter()
            .filter_map(|&row| Some((row, self.job(row)?)))
            .unzip();
        if jobs.is_empty() {
            return;
        }
        let (source, dropbox, stop, lanes) = (self.source, self.dropbox, self.stop, self.lanes);
        let journals = self.state.journals.clone();
        let mut sending = Sending {
            mirror: self,
            rows: &rows,
            jobs: &jobs,
            makes_room: short_of_space.is_some(),
            short_of_space: Vec::new(),
            not_begun: Vec::new(),
        };
        let sent = transfer::send(source, dropbox, stop, &journals, lanes, &jobs, &mut sending);
        let Sending {
            short_of_space: mut short,
            not_begun,
            ..
        } = sending;
        self.summary.sent_bytes += sent;
        match short_of_space {
            Some(rows) if !short.is_empty() => {
                rows.append(&mut short);
                rows.extend(not_begun);
            }
            _ => self.summary.left += not_begun.len(),
        }
    }

    fn note_stored(
        &mut self,
        index: usize,
        job: &Job,
        file: FileMetadata,
        digested: Digested,
        took: Duration,
    ) {
        self.summary.uploaded += 1;
        self.summary.uploaded_bytes += digested.bytes;
        let (size, took) = (text::bytes(digested.bytes), text::duration(took));
        self.findings.add(match job.mode {
            WriteMode::Update(_) => table::replaced(&job.name, &size, &took),
            WriteMode::Add => table::uploaded(&job.name, &size, &took),
        });
        self.plan.rows[index].file = Some(file);
        self.note_verified(index, digested);
    }

    /// The row's file equals its backup.
    fn note_verified(&mut self, index: usize, digested: Digested) {
        let row = &mut self.plan.rows[index];
        let now = clock::now();
        row.verified_at = Some(now);
        row.decision = Decision::Mirrored;
        if let (Some(backup), Some(file)) = (&row.backup, &row.file) {
            let mirrored = Mirrored {
                rev: file.rev.clone(),
                content_hash: digested.content_hash,
                bytes: digested.bytes,
                verified_at: now,
                version: backup.version,
            };
            self.state
                .memory
                .mirrored
                .insert(backup.id.clone(), mirrored);
        }
    }

    /// Compares files that this installation did not upload with their backups; returns the rows whose
    /// files differ.
    fn compare_all(&mut self) -> Vec<usize> {
        let rows = self.rows(|decision| matches!(decision, Decision::Compare(_)));
        let source = self.source.kind().name();
        let is_outdated =
            |&&row: &&usize| self.plan.rows[row].decision == Decision::Compare(Origin::Outdated);
        let outdated = rows.iter().filter(is_outdated).count();
        let files = |count| text::count(count, "file");
        if rows.len() > outdated {
            self.findings.add(table::comparing_unknown(
                &files(rows.len() - outdated),
                source,
            ));
        }
        if outdated > 0 {
            self.findings
                .add(table::comparing_outdated(&files(outdated), source));
        }
        let mut saved = Stopwatch::start();
        let mut differing = Vec::new();
        for (done, &row) in rows.iter().enumerate() {
            if self.stop.winding_down().is_some() {
                self.summary.left += rows.len() - done;
                break;
            }
            if self.compare(row) {
                differing.push(row);
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.save();
                saved = Stopwatch::start();
            }
        }
        self.save();
        differing
    }

    /// Compares one file with its backup; returns whether it differs.
    fn compare(&mut self, index: usize) -> bool {
        let kind = self.source.kind();
        let row = &self.plan.rows[index];
        let (Some(backup), Some(file)) = (&row.backup, &row.file) else {
            return false;
        };
        let name = &row.name;
        let finding = match transfer::digest(self.source, backup, self.stop) {
            Ok(digested) if equals(file, digested) => {
                let size = text::bytes(digested.bytes);
                self.findings.add(table::verified(name, kind.name(), &size));
                self.summary.unchanged += 1;
                self.state.journals.remove(&backup.id);
                self.note_verified(index, digested);
                return false;
            }
            Ok(digested) => {
                if row.decision != Decision::Compare(Origin::Outdated) {
                    let (there, here) = (text::bytes(file.size), text::bytes(digested.bytes));
                    let finding = table::differs(name, kind.name(), &there, &here);
                    self.findings
                        .add(finding.advised(advice::differing_copy(kind)).about(name));
                }
                return true;
            }
            Err(source::Error::Stopped(_)) => {
                self.summary.left += 1;
                return false;
            }
            Err(error @ source::Error::InUse) => {
                self.summary.left += 1;
                table::left_in_use(name).because(&error)
            }
            Err(error) => table::not_compared(name, kind.name()).explained(&error, &error),
        };
        self.findings.add(finding.about(name));
        false
    }

    /// Deletes the files of these rows; returns whether all of them are gone.
    fn delete(&mut self, rows: &[usize]) -> bool {
        let undone = |mirror: &Self| mirror.findings.errors() + mirror.summary.left;
        let undone_before = undone(self);
        for batch in rows.chunks(BATCH_ENTRIES_MAX) {
            let files = batch.iter().filter_map(|&row| {
                let Row { name, file, .. } = &self.plan.rows[row];
                Some((row, self.path_of(name), file.as_ref()?.rev.clone()))
            });
            let files: Vec<(usize, String, String)> = files.collect();
            let deletes: Vec<Delete<'_>> = files
                .iter()
                .map(|(_, path, rev)| Delete { path, rev })
                .collect();
            let results = self.dropbox.delete_batch(&deletes);
            for ((row, ..), result) in files.iter().zip(results) {
                self.note_deleted(*row, result);
            }
        }
        self.save();
        undone(self) == undone_before
    }

    fn note_deleted(&mut self, index: usize, result: Result<(), dropbox::Error>) {
        let row = &mut self.plan.rows[index];
        let name = &row.name;
        match result {
            Err(dropbox::Error::Stopped(_)) => self.summary.left += 1,
            Ok(()) => {
                self.summary.deleted += 1;
                self.findings
                    .add(table::deleted(name, self.source.kind().name()));
                row.file = None;
                if let Some(id) = &row.id {
                    self.state.memory.on_hold.remove(id);
                    self.state.memory.mirrored.remove(id);
                }
            }
            Err(error) => {
                let finding = table::not_deleted(name).explained(&error, &error);
                self.findings.add(finding.about(name));
            }
        }
    }

    /// Stores what is remembered, and what is shown of it.
    fn save(&mut self) {
        if let Err(error) = self.state.save() {
            let consequence = "Its old content is unchanged, and nothing is deleted in this run";
            self.findings
                .add(table::memory_unwritable(consequence).because(&error));
        }
        let taken_at = self
            .record
            .lists
            .as_ref()
            .map_or_else(clock::now, |lists| lists.taken_at);
        self.record.lists = Some(Lists::new(&self.plan.rows, taken_at));
        if let Err(error) = self.record.save() {
            log::debug!("The record could not be written: {error}");
        }
    }
}

/// Follows the transfers of one batch of jobs.
struct Sending<'m, 'w, 'a> {
    mirror: &'m mut Mirror<'w>,
    /// The row of each job.
    rows: &'a [usize],
    jobs: &'a [Job],
    makes_room: bool,
    short_of_space: Vec<usize>,
    not_begun: Vec<usize>,
}

impl Observer for Sending<'_, '_, '_> {
    fn settled(&mut self, index: usize, fate: Fate) {
        let (row, job) = (self.rows[index], &self.jobs[index]);
        let finding = match fate {
            Fate::Stored {
                file,
                digested,
                took,
            } => return self.mirror.note_stored(row, job, file, digested, took),
            Fate::NotBegun => return self.not_begun.push(row),
            Fate::Failed(error) if error.is_out_of_space() && self.makes_room => {
                return self.short_of_space.push(row);
            }
            Fate::Failed(error) if error.is_stopped() => {
                self.mirror.summary.left += 1;
                return;
            }
            Fate::Failed(error) if error.is_in_use() => {
                self.mirror.summary.left += 1;
                table::left_in_use(&job.name).because(&error)
            }
            Fate::Failed(error) => not_uploaded(&job.name, &error),
        };
        self.mirror.findings.add(finding.about(&job.name));
    }

    fn batch_settled(&mut self) {
        self.mirror.save();
    }

    fn under_way(&mut self, transfers: &[UnderWay]) {
        let shown = |transfer: &UnderWay| {
            let name = &self.jobs[transfer.job].name;
            plugin_log::Transfer {
                name: name.clone(),
                held: transfer.held,
                length: transfer.length,
                line: progress_line(name, transfer),
            }
        };
        plugin_log::progress(&transfers.iter().map(shown).collect::<Vec<_>>());
    }
}

/// How far a transfer has come: percent, bytes, rate, time left.
fn progress_line(name: &str, transfer: &UnderWay) -> String {
    let held = text::bytes(transfer.held);
    let seconds = transfer.took.as_secs_f64().max(1.0);
    let rate = transfer.sent as f64 / seconds;
    let rate_text = text::bytes(rate as u64);
    let Some(length) = transfer.length.filter(|&length| length > 0) else {
        return format!("{PROGRESS_START}{name}\": {held} so far, {rate_text}/s.");
    };
    let percent = transfer.held.min(length) * 100 / length;
    if transfer.sent == 0 {
        let length = text::bytes(length);
        return format!("{PROGRESS_START}{name}\": {percent} %, {held} of {length}.");
    }
    let left = length.saturating_sub(transfer.held) as f64 / rate.max(1.0);
    let left = text::duration(Duration::from_secs_f64(left.min(1e9)));
    let length = text::bytes(length);
    format!(
        "{PROGRESS_START}{name}\": {percent} %, {held} of {length}, {rate_text}/s, {left} left."
    )
}

fn equals(file: &FileMetadata, digested: Digested) -> bool {
    file.content_hash == Some(digested.content_hash) && file.size == digested.bytes
}

fn not_uploaded(name: &str, error: &transfer::Error) -> Finding {
    let advice = match error {
        transfer::Error::Source(error) => advice::source(error),
        transfer::Error::Dropbox(error) | transfer::Error::NoSpace { cause: error, .. } => {
            advice::dropbox(error)
        }
        transfer::Error::HashMismatch { .. } => Advice {
            meaning:
                "The bad copy was removed. The connection or the server's memory may be faulty"
                    .into(),
            remedy: "The next run tries again".into(),
        },
        transfer::Error::NoHash => Advice {
            meaning: "The copy cannot be called verified".into(),
            remedy: "The next run compares it again; report this if it repeats".into(),
        },
    };
    table::not_uploaded(name).explained(error, advice)
}
