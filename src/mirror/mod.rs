//! Keeps the mirror folder equal to the source: names and plan are pure, the rest acts.

pub mod inventory;
pub mod names;
pub mod overview;
pub mod plan;
pub mod survey;
pub mod transfer;

use std::time::Duration;

use crate::advice;
use crate::clock::{self, Stop, Stopwatch};
use crate::dropbox::Dropbox;
use crate::dropbox::content_hash::Digested;
use crate::dropbox::files::{BATCH_ENTRIES_MAX, Delete, FileMetadata, WriteMode};
use crate::plugin::log::{self as plugin_log, PROGRESS_START};
use crate::source::{Backup, Source};
use crate::state::{Mirrored, State, StoredFile};
use crate::text;
use plan::{Deletion, Plan, Replaced, Verification};
use transfer::{Fate, Job, Observer, UnderWay};

/// What a run did, for its last line and its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files sent.
    pub uploaded: usize,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Bytes that Dropbox took in this run, including those of files that are not complete yet.
    pub sent_bytes: u64,
    /// Of the files sent, those that replaced a copy which differed.
    pub replaced: usize,
    /// Files compared with their backups and found equal.
    pub verified: usize,
    /// Files deleted.
    pub deleted: usize,
    /// Things that failed.
    pub failed: usize,
    /// Things left for the next run, because this one had to end.
    pub left: usize,
    /// The deletions that were planned have been carried out, or there were none.
    pub deletions_done: bool,
}

/// Carries out plans.
pub struct Mirror<'a> {
    /// Where backups come from.
    pub source: &'a dyn Source,
    /// Where they go.
    pub dropbox: &'a Dropbox,
    /// When to end.
    pub stop: &'a Stop,
    /// What is remembered.
    pub state: &'a mut State,
    /// Path of the mirror folder in Dropbox; `""` is the root, which for an app-folder app is the app's own folder.
    pub folder: &'a str,
    /// Requests in flight, at most; see [`transfer::lanes`].
    pub lanes: usize,
}

/// How often the results of comparisons are stored; a run that is killed repeats the rest.
const SAVE_EVERY: Duration = Duration::from_secs(5);

impl Mirror<'_> {
    /// Path in Dropbox of a file in the mirror folder.
    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Carries out `plan`: uploads, then verifications, then deletions.
    pub fn carry_out(&mut self, plan: &Plan) -> Summary {
        let mut summary = Summary::default();
        let memory = &mut self.state.memory;
        memory.seen.clone_from(&plan.seen);
        memory.on_hold.clone_from(&plan.on_hold);
        memory.mirrored.retain(|id, _| plan.seen.contains_key(id));
        let sent = plan.transferred().map(|backup| &backup.id);
        self.state.journals.retain(sent);
        // What was seen is on disk before anything is done on the strength of it.
        self.save(&mut summary);

        let mut jobs: Vec<Job> = plan
            .uploads
            .iter()
            .map(|upload| self.job(&upload.backup, &upload.name, upload.replaces.as_ref()))
            .collect();
        let mut room_made = self.send(&jobs, plan, &mut summary, false);
        jobs = self.verify_all(&plan.verifications, &mut summary);
        room_made |= self.send(&jobs, plan, &mut summary, room_made);

        let succeeded = summary.failed == 0 && summary.left == 0;
        let deletions = plan.deletions_after(succeeded);
        if room_made {
            summary.deletions_done = succeeded;
        } else if succeeded && self.stop.winding_down().is_none() {
            summary.deletions_done = self.delete(deletions, &mut summary);
        } else if !plan.deletions_for_space().is_empty() {
            log::info!(
                "Nothing was deleted in Dropbox: {} for the next run that completes.",
                due(plan.deletions_for_space().len())
            );
        }
        summary
    }

    fn job(&self, backup: &Backup, name: &str, replaces: Option<&Replaced>) -> Job {
        Job {
            backup: backup.clone(),
            name: name.to_owned(),
            path: self.path_of(name),
            mode: replaces.map_or(WriteMode::Add, |replaced| {
                WriteMode::Update(replaced.file.metadata.rev.clone())
            }),
        }
    }

    /// Sends `jobs`. If Dropbox runs out of space, does the deletions that are due and tries once
    /// more; returns whether it did.
    fn send(&mut self, jobs: &[Job], plan: &Plan, summary: &mut Summary, room_made: bool) -> bool {
        // A failure so far means that the memory could not be saved: then nothing is deleted at all.
        let may_make_room =
            !room_made && summary.failed == 0 && !plan.deletions_for_space().is_empty();
        let mut short_of_space = Vec::new();
        self.send_once(jobs, summary, may_make_room.then_some(&mut short_of_space));
        if short_of_space.is_empty() {
            return false;
        }
        log::info!("Dropbox is full; the deletions that are due are done first.");
        self.delete(plan.deletions_for_space(), summary);
        let again: Vec<Job> = short_of_space
            .iter()
            .map(|&job| jobs[job].clone())
            .collect();
        self.send_once(&again, summary, None);
        true
    }

    /// Sends `jobs`. Those that found no space, and those not begun because of it, go to
    /// `short_of_space` where it is given.
    fn send_once(
        &mut self,
        jobs: &[Job],
        summary: &mut Summary,
        mut short_of_space: Option<&mut Vec<usize>>,
    ) {
        if jobs.is_empty() {
            return;
        }
        let (source, dropbox, stop, lanes) = (self.source, self.dropbox, self.stop, self.lanes);
        let journals = self.state.journals.clone();
        let mut sending = Sending {
            mirror: self,
            jobs,
            summary,
            short_of_space: short_of_space.as_deref_mut(),
            not_begun: Vec::new(),
        };
        let sent = transfer::send(source, dropbox, stop, &journals, lanes, jobs, &mut sending);
        let mut not_begun = sending.not_begun;
        summary.sent_bytes += sent;
        match short_of_space {
            Some(jobs) if !jobs.is_empty() => jobs.append(&mut not_begun),
            _ => summary.left += not_begun.len(),
        }
    }

    fn note_stored(
        &mut self,
        job: &Job,
        file: &FileMetadata,
        digested: Digested,
        took: Duration,
        summary: &mut Summary,
    ) {
        summary.uploaded += 1;
        summary.uploaded_bytes += digested.bytes;
        let size = text::bytes(digested.bytes);
        if matches!(job.mode, WriteMode::Update(_)) {
            summary.replaced += 1;
            log::info!(
                "Replaced \"{}\" ({size} in {}).",
                job.name,
                text::duration(took)
            );
        } else {
            log::info!(
                "Uploaded \"{}\" ({size} in {}).",
                job.name,
                text::duration(took)
            );
        }
        let is_new = job.mode == WriteMode::Add;
        self.remember(&job.backup, &job.name, file, digested, is_new);
    }

    fn remember(
        &mut self,
        backup: &Backup,
        name: &str,
        file: &FileMetadata,
        digested: Digested,
        is_new: bool,
    ) {
        let mirrored = Mirrored {
            rev: file.rev.clone(),
            content_hash: digested.content_hash,
            bytes: digested.bytes,
            verified_at: clock::now(),
            version: backup.version,
        };
        if let Some(inventory) = &mut self.state.memory.inventory {
            let file = StoredFile {
                verified_at: Some(mirrored.verified_at),
                ..inventory::stored(name, file)
            };
            inventory.note_stored(&backup.id, file, is_new);
        }
        self.state
            .memory
            .mirrored
            .insert(backup.id.clone(), mirrored);
    }

    /// Compares files that this installation did not upload with their backups; returns the jobs
    /// that replace those which differ.
    fn verify_all(&mut self, verifications: &[Verification], summary: &mut Summary) -> Vec<Job> {
        let source = self.source.kind().name();
        let outdated = verifications.iter().filter(|v| v.is_outdated).count();
        let unknown = verifications.len() - outdated;
        if unknown > 0 {
            log::info!(
                "{} in Dropbox will be compared with {source}'s once, because another program may have put them there.",
                text::count(unknown, "file")
            );
        }
        if outdated > 0 {
            log::info!(
                "{} in Dropbox will be compared with {source}'s, because the time of the latter has changed, but not the length.",
                text::count(outdated, "file")
            );
        }
        let mut saved = Stopwatch::start();
        let mut differing = Vec::new();
        for (index, verification) in verifications.iter().enumerate() {
            if self.stop.winding_down().is_some() {
                summary.left += verifications.len() - index;
                break;
            }
            let Verification {
                backup,
                file,
                is_outdated,
            } = verification;
            let name = &file.name;
            match transfer::digest(self.source, backup, self.stop) {
                Ok(digested) if equals(&file.metadata, digested) => {
                    summary.verified += 1;
                    log::info!(
                        "Verified \"{name}\": it equals its original in {source} ({}).",
                        text::bytes(digested.bytes)
                    );
                    self.remember(backup, name, &file.metadata, digested, false);
                    self.state.journals.remove(&backup.id);
                    if saved.elapsed() >= SAVE_EVERY {
                        self.save(summary);
                        saved = Stopwatch::start();
                    }
                }
                Ok(digested) => {
                    if !is_outdated {
                        log::warn!(
                            "\"{name}\" in Dropbox differs from its original in {source} ({} instead of {}). {}. It is replaced now; there is nothing to do.",
                            text::bytes(file.metadata.size),
                            text::bytes(digested.bytes),
                            advice::differing_copy(self.source.kind())
                        );
                    }
                    let replaced = Replaced {
                        file: file.clone(),
                        is_outdated: *is_outdated,
                    };
                    differing.push(self.job(backup, name, Some(&replaced)));
                }
                Err(crate::source::Error::Stopped(_)) => summary.left += 1,
                Err(error @ crate::source::Error::InUse) => left_in_use(name, &error, summary),
                Err(error) => {
                    summary.failed += 1;
                    log::error!(
                        "\"{name}\" could not be compared with its original in {source}. {}. Cause: {error}.",
                        advice::source(&error)
                    );
                }
            }
        }
        self.save(summary);
        differing
    }

    /// Deletes files; returns whether all of them are gone.
    fn delete(&mut self, deletions: &[Deletion], summary: &mut Summary) -> bool {
        let undone_before = summary.failed + summary.left;
        for batch in deletions.chunks(BATCH_ENTRIES_MAX) {
            let paths: Vec<String> = batch.iter().map(|d| self.path_of(&d.file.name)).collect();
            let files: Vec<Delete<'_>> = batch
                .iter()
                .zip(&paths)
                .map(|(deletion, path)| Delete {
                    path,
                    rev: &deletion.file.metadata.rev,
                })
                .collect();
            for (deletion, result) in batch.iter().zip(self.dropbox.delete_batch(&files)) {
                self.note_deleted(deletion, result, summary);
            }
        }
        self.save(summary);
        summary.failed + summary.left == undone_before
    }

    fn note_deleted(
        &mut self,
        deletion: &Deletion,
        result: Result<(), crate::dropbox::Error>,
        summary: &mut Summary,
    ) {
        let name = &deletion.file.name;
        match result {
            Err(crate::dropbox::Error::Stopped(_)) => summary.left += 1,
            Ok(()) => {
                summary.deleted += 1;
                self.state.memory.on_hold.remove(&deletion.id);
                self.state.memory.mirrored.remove(&deletion.id);
                if let Some(inventory) = &mut self.state.memory.inventory {
                    inventory.note_deleted(name);
                }
                let source = self.source.kind().name();
                log::info!("Deleted \"{name}\", which {source} no longer has.");
            }
            Err(error) => {
                summary.failed += 1;
                log::error!(
                    "\"{name}\" could not be deleted in Dropbox. {}. Cause: {error}.",
                    advice::dropbox(&error)
                );
            }
        }
    }

    fn save(&mut self, summary: &mut Summary) {
        if let Err(error) = self.state.save() {
            summary.failed += 1;
            log::error!(
                "The plugin's memory (data/state.json) could not be written. Its old content is unchanged, and nothing is deleted in this run. Free disk space or correct the permissions of the plugin's data folder. Cause: {error}."
            );
        }
    }
}

/// Follows the transfers of one batch of jobs.
struct Sending<'m, 'w, 'a> {
    mirror: &'m mut Mirror<'w>,
    jobs: &'a [Job],
    summary: &'a mut Summary,
    short_of_space: Option<&'a mut Vec<usize>>,
    not_begun: Vec<usize>,
}

impl Observer for Sending<'_, '_, '_> {
    fn settled(&mut self, index: usize, fate: Fate) {
        let job = &self.jobs[index];
        match fate {
            Fate::Stored {
                file,
                digested,
                took,
            } => self
                .mirror
                .note_stored(job, &file, digested, took, self.summary),
            Fate::NotBegun => self.not_begun.push(index),
            Fate::Failed(error) if error.is_stopped() => self.summary.left += 1,
            Fate::Failed(error) if error.is_in_use() => {
                left_in_use(&job.name, &error, self.summary);
            }
            Fate::Failed(error) => match &mut self.short_of_space {
                Some(jobs) if error.is_out_of_space() => jobs.push(index),
                _ => {
                    self.summary.failed += 1;
                    log::error!("{}", upload_failed(&job.name, &error));
                }
            },
        }
    }

    fn batch_settled(&mut self) {
        self.mirror.save(self.summary);
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

fn left_in_use(name: &str, cause: &dyn std::error::Error, summary: &mut Summary) {
    summary.left += 1;
    log::warn!(
        "\"{name}\" is left for the next run, because it changed while it was read. Nothing of it was stored, and an earlier copy in Dropbox stays. There is nothing to do unless this repeats. Cause: {cause}."
    );
}

fn equals(file: &FileMetadata, digested: Digested) -> bool {
    file.content_hash == Some(digested.content_hash) && file.size == digested.bytes
}

fn due(deletions: usize) -> String {
    let verb = if deletions == 1 { "waits" } else { "wait" };
    format!("{} {verb}", text::count(deletions, "deletion"))
}

fn upload_failed(name: &str, error: &transfer::Error) -> String {
    let meaning = match error {
        transfer::Error::Source(error) => advice::source(error),
        transfer::Error::Dropbox(error) | transfer::Error::NoSpace { cause: error, .. } => {
            advice::dropbox(error)
        }
        transfer::Error::HashMismatch { .. } => {
            "The bad copy was removed. The connection or the server's memory may be faulty; the next run tries again".into()
        }
        transfer::Error::NoHash => {
            "The copy cannot be called verified. The next run compares it again; report this if it repeats".into()
        }
    };
    format!("\"{name}\" could not be uploaded. {meaning}. Cause: {error}.")
}
