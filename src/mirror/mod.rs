//! Keeps the mirror folder equal to the source: names, plan and remarks are pure, the rest acts.

pub mod announce;
mod emptied;
pub mod names;
pub mod plan;
pub mod survey;
pub mod transfer;

use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

use chrono::TimeDelta;

use crate::age::Recipients;
use crate::backup_id::BackupId;
use crate::clock::{self, Stop};
use crate::dropbox::content_hash::Digested;
use crate::dropbox::files::{BATCH_ENTRIES_MAX, Delete, FileMetadata, WriteMode};
use crate::dropbox::{self, Dropbox};
use crate::findings::advice::{self, Advice};
use crate::findings::{Finding, Findings, table};
use crate::inspect::Verdict;
use crate::plugin::log::{self as plugin_log, PROGRESS_START};
use crate::record::{Lists, Record};
use crate::row::{Decision, Provenance, Reason, Row, Sealed};
use crate::source::{self, Kind, Listing, Source};
use crate::state::{Inside, Memory, Mirrored, Seen, State};
use crate::text;
use names::Aside;
use plan::{Plan, retained_until};
use transfer::{Aftermath, Fate, Job, Observer, UnderWay, Way};

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
    /// Of the files sent, those that replaced a copy.
    pub replaced: usize,
    /// Files deleted.
    pub deleted: usize,
    /// Things left for the next run, because this one had to end.
    pub left: usize,
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
    /// Whom everything is sealed to that is sent.
    pub recipients: Option<&'a Recipients>,
    /// Requests in flight, at most; see [`transfer::lanes`].
    pub lanes: usize,
    /// Whether backups are looked at on their way.
    pub inspects: bool,
    /// Days for which a replaced copy stays, as a deleted one does.
    pub keep_replaced_days: u32,
    /// Some of the replaced copies stay longer.
    pub keeps_older: bool,
    /// The name of this machine, for copies that are set aside.
    pub machine: String,
    /// Folders below the mirror folder.
    pub folders: Vec<String>,
    /// What is to be done. Its rows follow what becomes of them.
    pub plan: Plan,
    /// What has been done.
    pub summary: Summary,
    /// What arrived since the memory was saved; its journals go when it is, not before.
    pub unsaved: Vec<BackupId>,
}

/// So many replacements in a run are never worth a word.
const REPLACED_MIN: usize = 3;

impl Mirror<'_> {
    /// Carries out the plan: uploads, then comparisons, then deletions.
    pub fn carry_out(mut self) -> Summary {
        let memory = &mut self.state.memory;
        memory.seen.clone_from(&self.plan.seen);
        memory.on_hold.clone_from(&self.plan.on_hold);
        memory.agreed.clone_from(&self.plan.agreed);
        memory.pending = mem::take(&mut self.plan.pending);
        memory
            .mirrored
            .retain(|id, _| self.plan.seen.contains_key(id));
        memory
            .unsealed
            .retain(|id, _| self.plan.seen.contains_key(id));
        let pending = &memory.pending;
        memory.refused.retain(|id, _| pending.contains_key(id));
        self.summary.unchanged = self.plan.unchanged();
        let errors_before = self.findings.errors();
        // What was seen is on disk before anything is done on the strength of it.
        self.save();
        let is_remembered = self.findings.errors() == errors_before;
        let sent = self.plan.uploads().chain(self.plan.comparisons());
        self.state
            .journals
            .retain(sent.filter_map(|row| row.id.as_ref()));

        let is_sent = |decision| matches!(decision, Decision::Upload | Decision::Replace(_));
        let mut uploads = self.rows(is_sent);
        // What was begun is finished first.
        uploads.sort_by_cached_key(|&row| {
            let id = self.plan.rows[row].id.as_ref();
            id.is_none_or(|id| !self.state.journals.is_begun(id))
        });
        let (mut last, first) = self.blocked_and_free(uploads);
        let is_replaced = |&&row: &&usize| {
            let row = &self.plan.rows[row];
            let is_the_same = row.decision == Decision::Replace(Provenance::OtherRecipients);
            row.file.is_some() && !is_the_same
        };
        let replaced = first.iter().filter(is_replaced).count();
        let is_warned = self.warns_of_many(replaced);
        self.send(&first, is_remembered);
        let differing = self.compare_all();
        if !is_warned {
            self.warns_of_many(replaced + differing.len());
        }
        self.send(&differing, self.findings.errors() == errors_before);
        let succeeded =
            |mirror: &Self| mirror.findings.errors() == errors_before && mirror.summary.left == 0;
        // What has something in its way comes when all others have arrived: making way is deleting.
        if succeeded(&self) {
            last.retain(|&row| self.makes_way(row));
            self.send(&last, true);
        }

        let due = self.due();
        if succeeded(&self) && self.stop.winding_down().is_none() {
            self.delete(&due);
            self.remove_emptied_folders();
        } else if !due.is_empty() {
            let verb = if due.len() == 1 { "waits" } else { "wait" };
            let waiting = format!("{} {verb}", text::count(due.len(), "deletion"));
            self.findings.add(table::deletions_wait(&waiting));
        }
        let pending = &self.state.memory.pending;
        self.findings
            .extend(announce::long_pending(&self.plan, pending));
        self.summary
    }

    /// Tells of a run that is about to replace far more than the runs before; returns whether it did.
    fn warns_of_many(&self, replaced: usize) -> bool {
        let Some(usual) = self.record.usual_replacements() else {
            return false;
        };
        let copies = self
            .plan
            .rows
            .iter()
            .filter(|row| row.finished().is_some() && row.file.is_some() && !row.is_beside);
        let is_far_more =
            replaced >= REPLACED_MIN && replaced > 2 * usual && replaced * 2 > copies.count();
        if is_far_more {
            self.findings
                .add(table::many_replaced(&text::count(replaced, "file"), usual));
        }
        is_far_more
    }

    /// The rows whose files are to be deleted, by what has become of the uploads so far.
    fn due(&mut self) -> Vec<usize> {
        if self.plan.weigh_again() {
            let on_hold = &mut self.state.memory.on_hold;
            on_hold.clone_from(&self.plan.on_hold);
            self.findings
                .extend(announce::on_hold(&self.plan, self.source.kind()));
        }
        let mut due = self.rows(is_deletion);
        due.retain(|&row| self.plan.rows[row].file.is_some());
        due
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
        let is_outdated = matches!(
            row.decision,
            Decision::Replace(Provenance::Outdated) | Decision::Compare(Provenance::Outdated)
        );
        Some(Job {
            backup: row.backup.clone()?,
            name: row.name.clone(),
            path: self.path_of(&row.name),
            mode: row
                .file
                .as_ref()
                .map_or(WriteMode::Add, |file| WriteMode::Update(file.rev.clone())),
            replaces_complete: is_outdated
                && row.inspected == Verdict::Complete
                && !self.retains_replaced(),
        })
    }

    /// Sends the backups of these rows. If Dropbox runs out of space and the deletions that are due would
    /// make enough, does them, if it may, and tries once more.
    fn send(&mut self, rows: &[usize], may_make_room: bool) {
        let mut short = Short::default();
        let makes_room = may_make_room && !self.due().is_empty();
        self.send_once(rows, makes_room.then_some(&mut short));
        if short.rows.is_empty() {
            return;
        }
        let due = self.due();
        let freed = due
            .iter()
            .filter_map(|&row| self.plan.rows[row].file.as_ref());
        let freed: u64 = freed.map(|file| file.size).sum();
        let free = short.free.unwrap_or_default();
        let is_enough = |free: u64| short.needed.is_some_and(|needed| freed + free >= needed);
        if is_enough(free) {
            self.findings.add(table::room_first());
            self.delete(&due);
        } else if short.free.is_none() && is_enough(freed) {
            return self.make_room_on_trial(&due, &short.rows);
        }
        self.send_once(&short.rows, None);
    }

    /// Where nobody may know how much is free, it takes a try to know whether deletions that make half of what is needed
    /// make enough. Of what is deleted in vain each file is brought back.
    fn make_room_on_trial(&mut self, due: &[usize], short_of_space: &[usize]) {
        let before = self.state.memory.clone();
        let files = due.iter().filter_map(|&row| {
            let file = self.plan.rows[row].file.clone()?;
            Some((row, file))
        });
        let files: Vec<(usize, FileMetadata)> = files.collect();
        self.findings.add(table::room_first());
        self.delete(due);
        self.send_once(short_of_space, None);
        let has_arrived = |&row: &usize| self.plan.rows[row].decision == Decision::Mirrored;
        if short_of_space.iter().any(has_arrived) {
            return;
        }
        for (row, file) in files {
            if self.plan.rows[row].file.is_none() {
                self.bring_back(row, &file, &before);
            }
        }
        self.save();
    }

    /// Brings a deleted file back, and what was known of it.
    fn bring_back(&mut self, index: usize, deleted: &FileMetadata, before: &Memory) {
        let path = self.path_of(&self.plan.rows[index].name);
        let row = &mut self.plan.rows[index];
        let file = match self.dropbox.restore(&path, &deleted.rev) {
            Ok(file) => file,
            Err(error) => {
                let finding = table::not_brought_back(&row.name).because(&error);
                self.findings.add(finding.about(&row.name));
                return;
            }
        };
        self.findings.add(table::brought_back(&row.name));
        self.summary.deleted -= 1;
        let rev = file.rev.clone();
        row.file = Some(file);
        let Some(id) = &row.id else { return };
        let memory = &mut self.state.memory;
        if let Some(seen) = before.seen.get(id) {
            memory.seen.insert(id.clone(), seen.clone());
        }
        for (before, now) in [
            (&before.on_hold, &mut memory.on_hold),
            (&before.agreed, &mut memory.agreed),
        ] {
            now.extend(before.get(id).cloned());
        }
        for (before, now) in [
            (&before.mirrored, &mut memory.mirrored),
            (&before.unsealed, &mut memory.unsealed),
        ] {
            let known = before.get(id);
            if let Some(known) = known.filter(|known| plan::is_unchanged(known, deleted)) {
                let rev = rev.clone();
                let known = known.clone();
                now.insert(id.clone(), Mirrored { rev, ..known });
            }
        }
    }

    /// Sends the backups of these rows. Those that found no space, and those not begun because of it, go
    /// to `short_of_space` where it is given.
    fn send_once(&mut self, rows: &[usize], mut short_of_space: Option<&mut Short>) {
        let ready = |row: &usize| self.sets_aside(*row, false, short_of_space.as_deref_mut());
        let rows: Vec<usize> = rows.iter().copied().filter(ready).collect();
        // Killed after a replacement, a run would leave a copy behind of which nobody knows that it is to go one day.
        if rows.iter().any(|&row| self.plan.rows[row].file.is_some()) {
            self.save();
        }
        let (rows, jobs): (Vec<usize>, Vec<Job>) = rows
            .iter()
            .filter_map(|&row| Some((row, self.job(row)?)))
            .unzip();
        if jobs.is_empty() {
            return;
        }
        let journals = self.state.journals.clone();
        let way = Way {
            source: self.source,
            recipients: self.recipients,
            dropbox: self.dropbox,
            stop: self.stop,
            journals: &journals,
            lanes: self.lanes,
            inspects: self.inspects,
        };
        let mut sending = Sending {
            mirror: self,
            rows: &rows,
            jobs: &jobs,
            makes_room: short_of_space.is_some(),
            short: Short::default(),
            not_begun: Vec::new(),
            gone: Vec::new(),
        };
        let sent = transfer::send(&way, &jobs, &mut sending);
        let Sending {
            short,
            not_begun,
            gone,
            ..
        } = sending;
        self.summary.sent_bytes += sent;
        self.save();
        match short_of_space {
            Some(all) if !short.rows.is_empty() => {
                for row in short.rows {
                    all.add(row, short.needed, short.free);
                }
                all.rows.extend(not_begun);
            }
            _ => self.summary.left += not_begun.len(),
        }
        self.look_for(gone);
    }

    /// Looks in a new list for backups that were gone when their turn came: one that is not listed any more
    /// was deleted at the source meanwhile, which is no fault.
    fn look_for(&mut self, gone: Vec<(usize, Finding)>) {
        if gone.is_empty() {
            return;
        }
        let listing = self.source.list().unwrap_or_else(|error| Listing {
            problems: vec![error.to_string()],
            ..Listing::default()
        });
        self.plan.heed(&listing);
        let ids: BTreeSet<&BackupId> = listing.backups.iter().map(|backup| &backup.id).collect();
        for (row, finding) in gone {
            let row = &mut self.plan.rows[row];
            let is_listed = row.id.as_ref().is_none_or(|id| ids.contains(id));
            if is_listed || !listing.problems.is_empty() {
                self.findings.add(finding.about(&row.name));
                continue;
            }
            let source = self.source.kind().name();
            self.findings.add(table::gone_meanwhile(&row.name, source));
            if let Some(id) = &row.id {
                self.state.memory.pending.remove(id);
            }
            row.backup = None;
            row.decision = match row.file {
                Some(_) => Decision::Keep(Reason::RetainedUntil(self.plan.made_at)),
                None => Decision::Wait,
            };
        }
    }

    /// Sets the file of this row aside under a name of its own before another one takes its place, unless this
    /// installation stored it, replaced copies do not stay, and what takes its place can be opened and is not suspect.
    /// Returns whether it may be replaced. One for whose second copy there is no space goes to `short_of_space` where it
    /// is given.
    fn sets_aside(
        &mut self,
        index: usize,
        is_last_complete: bool,
        short_of_space: Option<&mut Short>,
    ) -> bool {
        let row = &self.plan.rows[index];
        let (Some(file), Decision::Replace(provenance) | Decision::Compare(provenance)) =
            (&row.file, row.decision)
        else {
            return true;
        };
        // The same content takes its place.
        if provenance == Provenance::OtherRecipients {
            return true;
        }
        let is_own = provenance == Provenance::Outdated;
        let is_for_others = row.sealed.is_some_and(|sealed| sealed.is_to_others);
        let may_be_the_last = is_for_others && !self.is_key_proved();
        let may_be_the_last = may_be_the_last || is_last_complete;
        if is_own && !self.retains_replaced() && !may_be_the_last {
            return true;
        }
        // Set aside by an earlier run, which did not come to the replacement. What another machine retains for a
        // time is no second copy that stays.
        let asides = self
            .plan
            .rows
            .iter()
            .enumerate()
            .filter_map(|(other, aside)| {
                let (why, machine) = names::set_aside_by(&aside.name, &row.name)?;
                let hash = aside.file.as_ref()?.content_hash?;
                (file.content_hash == Some(hash)).then_some((other, why, machine))
            });
        let asides: Vec<(usize, Aside, &str)> = asides.collect();
        let seen = &self.state.memory.seen;
        let stays = |&(other, why, _): &(usize, Aside, &str)| {
            let id = self.plan.rows[other].id.as_ref();
            why == Aside::Unknown && id.is_none_or(|id| !seen.contains_key(id))
        };
        if asides.iter().any(stays) {
            return true;
        }
        let own = asides.iter().find(|(_, why, machine)| {
            is_own && *why == Aside::Replaced && *machine == self.machine
        });
        if let Some(&(aside, ..)) = own {
            self.retain(aside, index, is_last_complete);
            return true;
        }
        let why = if is_own {
            Aside::Replaced
        } else {
            Aside::Unknown
        };
        let (name, old) = (row.name.clone(), file.clone());
        let aside = self.name_aside(&name, why);
        match self
            .dropbox
            .copy_file(&self.path_of(&name), &self.path_of(&aside))
        {
            Ok(copy) => {
                self.findings.add(table::set_aside(&name, &aside));
                self.note_aside(aside, copy);
                if is_own {
                    self.retain(self.plan.rows.len() - 1, index, is_last_complete);
                }
                true
            }
            Err(dropbox::Error::Stopped(_)) => {
                self.summary.left += 1;
                false
            }
            Err(error) if let Some(short) = short_of_space.filter(|_| error.is_out_of_space()) => {
                let new = self.plan.rows[index].backup.as_ref();
                let new = new.and_then(|backup| backup.version);
                let needed = old.size + new.map_or(old.size, |version| version.bytes);
                let usage = self.dropbox.space_usage().ok().flatten();
                // No trial here: a copy that is set aside would take the room of what is to be brought back.
                let free = usage.map_or(0, |space| space.free());
                short.add(index, Some(needed), Some(free));
                false
            }
            Err(error) => {
                let size = text::bytes(old.size);
                let finding = table::not_set_aside(&name, &size).explained(&error, &error);
                self.findings.add(finding.about(&name));
                false
            }
        }
    }

    /// Whether replaced copies of our own stay for some time.
    fn retains_replaced(&self) -> bool {
        self.keep_replaced_days > 0 || self.keeps_older
    }

    /// Whether it was shown that what is sealed now can be opened.
    fn is_key_proved(&self) -> bool {
        let recipients = self.recipients.map(Recipients::fingerprint);
        recipients.is_some_and(|recipients| self.state.memory.is_proved(&recipients))
    }

    /// A name for a copy that is set aside now, which no other one has.
    fn name_aside(&self, name: &str, why: Aside) -> String {
        let mut time = self.plan.made_at;
        loop {
            let aside = names::aside(name, why, time, &self.machine);
            if self.plan.rows.iter().all(|row| row.name != aside) {
                return aside;
            }
            time += TimeDelta::seconds(1);
        }
    }

    /// Adds the row of a copy that was set aside; in the folder of a server's backups it is a foreign file.
    fn note_aside(&mut self, name: String, file: FileMetadata) {
        let id = BackupId::of_path(&name).ok();
        let id = id.filter(|_| self.source.kind() == Kind::Folder);
        self.plan.rows.push(Row {
            name,
            id,
            backup: None,
            file: Some(file),
            is_beside: false,
            sealed: None,
            verified_at: None,
            inspected: Verdict::NotChecked,
            decision: Decision::Keep(Reason::NeverSeen),
        });
    }

    /// A replaced copy of our own is like one whose backup has gone now: it stays for the days configured.
    fn retain(&mut self, aside: usize, original: usize, is_last_complete: bool) {
        let inspected = self.plan.rows[original].inspected;
        let row = &self.plan.rows[aside];
        let memory = &mut self.state.memory;
        if let (Some(id), Some(file)) = (row.id.clone(), &row.file)
            && let Some(content_hash) = file.content_hash
        {
            let missing_since = Some(self.plan.made_at);
            let seen = Seen {
                missing_since,
                created_at: None,
            };
            memory.seen.insert(id.clone(), seen);
            for ids in [
                &mut memory.on_hold,
                &mut memory.agreed,
                &mut self.plan.on_hold,
            ] {
                ids.remove(&id);
            }
            let original = self.plan.rows[original].id.as_ref();
            let original = original.and_then(|id| memory.mirrored.get(id));
            let mirrored = Mirrored {
                rev: file.rev.clone(),
                content_hash,
                bytes: file.size,
                verified_at: clock::now(),
                version: original.and_then(|original| original.version),
                inside: None,
                inspected,
                is_being_deleted: false,
            };
            memory.mirrored.insert(id, mirrored);
        }
        let until = retained_until(self.plan.made_at, self.keep_replaced_days);
        let row = &mut self.plan.rows[aside];
        row.inspected = inspected;
        row.decision = Decision::Keep(match is_last_complete {
            true => Reason::LastComplete,
            false => Reason::RetainedUntil(until),
        });
    }

    /// What is in the way of a backup: files at a path above or below its own, and a folder at it.
    fn in_the_way(&self, index: usize) -> InTheWay {
        let Some(own) = place(&self.plan.rows[index].name) else {
            return InTheWay::default();
        };
        let is_below = |path: &BackupId, folder: &BackupId| {
            let rest = path.key().strip_prefix(folder.key());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let is_in_the_way = |row: &usize| {
            let is_other = *row != index;
            let row = &self.plan.rows[*row];
            let there = place(&row.name).filter(|_| row.id.is_some() && row.file.is_some());
            there.is_some_and(|there| {
                is_other && there == own || is_below(&there, &own) || is_below(&own, &there)
            })
        };
        let is_own = |folder: &String| place(folder).as_ref() == Some(&own);
        InTheWay {
            rows: (0..self.plan.rows.len()).filter(is_in_the_way).collect(),
            folder: self.folders.iter().position(is_own),
        }
    }

    /// Those of these rows that have something in their way, and the others; in their order.
    fn blocked_and_free(&self, rows: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let with_files = self.plan.rows.iter().filter(|row| row.file.is_some());
        let managed = with_files.filter(|row| row.id.is_some());
        let files: BTreeSet<BackupId> = managed.filter_map(|row| place(&row.name)).collect();
        let files: BTreeSet<&str> = files.iter().map(BackupId::key).collect();
        let folders = self.folders.iter();
        let folders: BTreeSet<BackupId> = folders.filter_map(|folder| place(folder)).collect();
        rows.into_iter().partition(|&row| {
            let row = &self.plan.rows[row];
            let Some(own) = place(&row.name) else {
                return false;
            };
            let (key, below) = (own.key(), format!("{}/", own.key()));
            let mut above = key.match_indices('/').map(|(end, _)| &key[..end]);
            let next = files.range(below.as_str()..).next();
            folders.contains(&own)
                || row.file.is_none() && files.contains(key)
                || above.any(|path| files.contains(path))
                || next.is_some_and(|path| path.starts_with(&below))
        })
    }

    /// Makes way for a backup by the rules of deletion. Returns whether the way is free.
    fn makes_way(&mut self, index: usize) -> bool {
        self.due();
        let InTheWay { rows, folder } = self.in_the_way(index);
        let name = self.plan.rows[index].name.clone();
        let is_due = |row: &usize| is_deletion(self.plan.rows[*row].decision);
        let (due, stay): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| is_due(row));
        if let Some(&row) = stay.first() {
            let by = self.plan.rows[row].name.clone();
            self.findings
                .add(table::place_taken(&name, &by).about(&name));
            // They may be all that there is of it.
            for row in due {
                self.plan.rows[row].decision = Decision::Keep(Reason::Awaited);
            }
            return false;
        }
        let is_free = rows.is_empty() || self.delete(&rows);
        let Some(folder) = folder.filter(|_| is_free) else {
            return is_free;
        };
        let path = self.path_of(&self.folders[folder]);
        match self.dropbox.remove_empty_folder(&path) {
            Ok(true) => {
                self.folders.swap_remove(folder);
                true
            }
            Ok(false) => {
                self.findings
                    .add(table::place_taken(&name, &name).about(&name));
                false
            }
            Err(error) => {
                let finding = table::not_uploaded(&name).explained(&error, &error);
                self.findings.add(finding.about(&name));
                false
            }
        }
    }

    fn note_stored(
        &mut self,
        index: usize,
        job: &Job,
        file: FileMetadata,
        (digested, inside, verdict): (Digested, Option<Inside>, Verdict),
        took: Duration,
    ) {
        self.summary.uploaded += 1;
        self.summary.uploaded_bytes += digested.bytes;
        let (size, took) = (text::bytes(digested.bytes), text::duration(took));
        self.summary.replaced += usize::from(job.mode != WriteMode::Add);
        self.findings.add(match job.mode {
            WriteMode::Update(_) => table::replaced(&job.name, &size, &took),
            WriteMode::Add => table::uploaded(&job.name, &size, &took),
        });
        let row = &mut self.plan.rows[index];
        row.file = Some(file);
        row.sealed = inside.as_ref().map(|inside| Sealed {
            bytes: Some(inside.bytes),
            is_to_others: false,
        });
        row.decision = Decision::Mirrored;
        if let Some(flaw) = verdict.flaw() {
            let finding = table::suspect(&job.name, flaw.text());
            self.findings.add(finding.about(&job.name));
        }
        self.unsaved.push(job.backup.id.clone());
        self.note_verified(index, digested, inside, verdict);
    }

    /// The row's file, with this length and hash, equals its backup.
    fn note_verified(
        &mut self,
        index: usize,
        digested: Digested,
        inside: Option<Inside>,
        inspected: Verdict,
    ) {
        let row = &mut self.plan.rows[index];
        let now = clock::now();
        row.verified_at = Some(now);
        row.inspected = inspected;
        if let (Some(backup), Some(file)) = (&row.backup, &row.file) {
            let mirrored = Mirrored {
                rev: file.rev.clone(),
                content_hash: digested.content_hash,
                bytes: digested.bytes,
                verified_at: now,
                version: backup.version,
                inside,
                inspected,
                is_being_deleted: false,
            };
            let (id, memory) = (backup.id.clone(), &mut self.state.memory);
            memory.pending.remove(&id);
            memory.refused.remove(&id);
            memory.note_mirrored(&id, mirrored, self.plan.made_at);
        }
    }

    /// Compares files that this installation did not upload with their backups; returns the rows whose
    /// files differ.
    fn compare_all(&mut self) -> Vec<usize> {
        let rows = self.rows(|decision| matches!(decision, Decision::Compare(_)));
        let source = self.source.kind().name();
        let is_outdated = |&&row: &&usize| {
            self.plan.rows[row].decision == Decision::Compare(Provenance::Outdated)
        };
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
        let mut differing = Vec::new();
        for (done, &row) in rows.iter().enumerate() {
            if self.stop.winding_down().is_some() {
                self.summary.left += rows.len() - done;
                break;
            }
            if self.compare(row) {
                differing.push(row);
            }
            self.save_if_due();
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
        let inside = self.state.memory.mirrored.get(&backup.id);
        let inside = inside.and_then(|known| known.inside.clone());
        let inside = inside.filter(|_| row.sealed.is_some());
        let finding = match transfer::digest(self.source, backup, self.stop) {
            Ok(digested) if equals(file, inside.as_ref(), digested) => {
                let size = text::bytes(digested.bytes);
                self.findings.add(table::verified(name, kind.name(), &size));
                let stored = match (inside.is_some(), file.content_hash) {
                    (true, Some(content_hash)) => Digested {
                        bytes: file.size,
                        content_hash,
                    },
                    _ => digested,
                };
                self.summary.unchanged += 1;
                self.state.journals.remove(&backup.id);
                // It has the content that it had, so what was found in that still holds.
                self.note_verified(index, stored, inside, row.inspected);
                self.plan.rows[index].decision = Decision::Mirrored;
                return false;
            }
            Ok(digested) => {
                if row.decision != Decision::Compare(Provenance::Outdated) {
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
            Err(error) => {
                let finding = table::not_compared(name, kind.name()).explained(&error, &error);
                if error.is_gone() {
                    self.look_for(vec![(index, finding)]);
                    return false;
                }
                finding
            }
        };
        self.findings.add(finding.about(name));
        false
    }

    /// Deletes the files of these rows; returns whether all of them are gone.
    fn delete(&mut self, rows: &[usize]) -> bool {
        let undone = |mirror: &Self| mirror.findings.errors() + mirror.summary.left;
        let undone_before = undone(self);
        // On disk before it is done, as a run may be killed or never get its answer.
        for row in rows.iter().map(|&row| &self.plan.rows[row]) {
            let memory = &mut self.state.memory;
            let known = match row.sealed {
                None if row.decision == Decision::Supersede => &mut memory.unsealed,
                _ => &mut memory.mirrored,
            };
            if let Some(known) = row.id.as_ref().and_then(|id| known.get_mut(id)) {
                known.is_being_deleted = true;
            }
        }
        self.save();
        if undone(self) > undone_before {
            return false;
        }
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
            Err(error) if !error.is_not_found() => {
                let finding = table::not_deleted(name).explained(&error, &error);
                self.findings.add(finding.about(name));
            }
            result => {
                self.summary.deleted += 1;
                self.findings.add(match row.decision {
                    Decision::Supersede => table::superseded(name),
                    _ => table::deleted(name, self.source.kind().name()),
                });
                row.file = None;
                let is_unsealed = row.sealed.is_none();
                // One that somebody else deleted is forgotten when a list no longer shows it.
                if let (Ok(()), Some(id)) = (result, row.id.clone()) {
                    if is_unsealed {
                        self.state.memory.unsealed.remove(&id);
                    }
                    self.forget(&id);
                }
            }
        }
    }

    /// Forgets a backup once its last file is gone: whoever brings one back in Dropbox keeps it.
    fn forget(&mut self, id: &BackupId) {
        let is_left =
            |row: &Row| row.id.as_ref() == Some(id) && (row.file.is_some() || row.backup.is_some());
        if !self.plan.rows.iter().any(is_left) {
            let memory = &mut self.state.memory;
            memory.seen.remove(id);
            memory.on_hold.remove(id);
            memory.agreed.remove(id);
            memory.mirrored.remove(id);
            memory.unsealed.remove(id);
        }
    }

    /// Stores what has become of uploads or comparisons so far, if that is due. A run that is killed looks again for
    /// what it did not store.
    fn save_if_due(&mut self) {
        if self.state.is_save_due() {
            self.save();
        }
    }

    /// Stores what is remembered, and what is shown of it.
    fn save(&mut self) {
        match self.state.save() {
            Ok(()) => {
                for id in mem::take(&mut self.unsaved) {
                    self.state.journals.remove(&id);
                }
            }
            Err(error) => {
                let consequence =
                    "Its old content is unchanged, and nothing is deleted in this run";
                self.findings
                    .add(table::memory_unwritable(consequence).because(&error));
            }
        }
        let taken_at = self
            .record
            .lists
            .as_ref()
            .map_or_else(clock::now, |lists| lists.taken_at);
        let pending = &self.state.memory.pending;
        self.record.lists = Some(Lists::new(&self.plan.rows, pending, taken_at));
        if let Err(error) = self.record.save() {
            log::debug!("The record could not be written: {error}");
        }
    }
}

/// A path in Dropbox, as it is compared with others.
fn place(name: &str) -> Option<BackupId> {
    BackupId::of_path(name).ok()
}

fn is_deletion(decision: Decision) -> bool {
    matches!(decision, Decision::Delete { .. } | Decision::Supersede)
}

/// What is in the way of a backup in Dropbox.
#[derive(Default)]
struct InTheWay {
    /// Rows with files.
    rows: Vec<usize>,
    /// A folder, as an index.
    folder: Option<usize>,
}

/// Rows that found no space.
#[derive(Default)]
struct Short {
    rows: Vec<usize>,
    /// What the smallest of them needs.
    needed: Option<u64>,
    /// What Dropbox has left, where that may be known.
    free: Option<u64>,
}

impl Short {
    fn add(&mut self, row: usize, needed: Option<u64>, free: Option<u64>) {
        self.rows.push(row);
        self.needed = self.needed.into_iter().chain(needed).min();
        self.free = self.free.max(free);
    }
}

/// Follows the transfers of one batch of jobs.
struct Sending<'m, 'w, 'a> {
    mirror: &'m mut Mirror<'w>,
    /// The row of each job.
    rows: &'a [usize],
    jobs: &'a [Job],
    makes_room: bool,
    short: Short,
    not_begun: Vec<usize>,
    /// Backups that were gone when their turn came.
    gone: Vec<(usize, Finding)>,
}

impl Observer for Sending<'_, '_, '_> {
    fn keeps_complete(&mut self, index: usize) -> bool {
        self.mirror.sets_aside(self.rows[index], true, None)
    }

    fn settled(&mut self, index: usize, fate: Fate) {
        let (row, job) = (self.rows[index], &self.jobs[index]);
        let finding = match fate {
            Fate::Stored {
                file,
                digested,
                inside,
                took,
                verdict,
            } => {
                let content = (digested, inside, verdict);
                return self.mirror.note_stored(row, job, file, content, took);
            }
            Fate::NotBegun => return self.not_begun.push(row),
            Fate::Failed(transfer::Error::NoSpace { needed, free, .. }) if self.makes_room => {
                return self.short.add(row, Some(needed), free);
            }
            Fate::Failed(error) if error.is_stopped() => {
                self.mirror.summary.left += 1;
                return;
            }
            Fate::Failed(error) if error.is_in_use() => {
                self.mirror.summary.left += 1;
                table::left_in_use(&job.name).because(&error)
            }
            Fate::Failed(transfer::Error::Source(error)) if error.is_gone() => {
                let finding = table::not_uploaded(&job.name).explained(&error, &error);
                return self.gone.push((row, finding));
            }
            Fate::Failed(transfer::Error::Dropbox(error)) if error.is_name_refused() => {
                let (memory, now) = (&mut self.mirror.state.memory, self.mirror.plan.made_at);
                memory.refused.insert(job.backup.id.clone(), now);
                self.mirror.plan.rows[row].decision = Decision::Refuse;
                table::name_refused(&job.name).because(&error)
            }
            Fate::Failed(error) => not_uploaded(&job.name, &error),
        };
        self.mirror.findings.add(finding.about(&job.name));
    }

    fn batch_settled(&mut self) {
        self.mirror.save_if_due();
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

/// Whether a file, or what is known to be inside of it, is this content.
fn equals(file: &FileMetadata, inside: Option<&Inside>, digested: Digested) -> bool {
    match inside {
        Some(inside) => {
            inside.content_hash == digested.content_hash && inside.bytes == digested.bytes
        }
        None => file.content_hash == Some(digested.content_hash) && file.size == digested.bytes,
    }
}

fn not_uploaded(name: &str, error: &transfer::Error) -> Finding {
    let advice = match error {
        transfer::Error::Source(error) => advice::source(error),
        transfer::Error::Dropbox(error) | transfer::Error::NoSpace { cause: error, .. } => {
            advice::dropbox(error)
        }
        transfer::Error::Seal(_) => Advice {
            meaning: "Nothing is sent that is not sealed".into(),
            remedy: advice::recipients(),
        },
        transfer::Error::Journal(_) => Advice {
            meaning: "A sealed backup is sent only as it can be noted what was sent of it".into(),
            remedy: "Free disk space or correct the permissions of the plugin's data folder".into(),
        },
        transfer::Error::HashMismatch { aftermath, .. } => Advice {
            meaning: format!(
                "{}. The connection or the server's memory may be faulty",
                match aftermath {
                    Aftermath::Removed => "The bad copy was removed",
                    Aftermath::BroughtBack =>
                        "The bad copy was taken away again, and the earlier one is back in its place",
                    Aftermath::Stays => "The bad copy could not be taken away",
                }
            ),
            remedy: "The next run tries again".into(),
        },
        transfer::Error::NoHash => Advice {
            meaning: "The copy cannot be called verified".into(),
            remedy: "The next run compares it again; report this if it repeats".into(),
        },
    };
    table::not_uploaded(name).explained(error, advice)
}
