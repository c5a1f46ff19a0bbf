//! What a run is going to do, computed before it does any of it. Pure: no I/O, no clock, no log.
//!
//! Deletions are the dangerous part. A file is deleted only if all eight rules hold; they are
//! numbered here as in `docs/architecture.md`:
//!
//! 1. it is a managed file in the mirror folder itself;
//! 2. the source's list was whole, and every row of it was usable;
//! 3. the list does not name its id in any state;
//! 4. the list has at least one finished backup;
//! 5. its id was seen by this installation in the source's list before;
//! 6. no upload failed in this run ([`Plan::deletions_after`]);
//! 7. it has been missing for the configured number of days;
//! 8. it is not on hold: a run that would delete more than half of the managed files that were
//!    ever seen, and more than three, deletes none of them until the admin agrees.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::names::Naming;
use crate::backup_id::BackupId;
use crate::dropbox::files::{FileMetadata, ListedFile};
use crate::row::{Decision, Origin, Reason, Row};
use crate::source::{Backup, Listing};
use crate::state::{Mirrored, Seen};

/// So many deletions in one run are never held back.
const DELETIONS_UNSUSPICIOUS: usize = 3;

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The source's list.
    pub listing: &'a Listing,
    /// The files in the mirror folder.
    pub files: &'a [ListedFile],
    /// Ids met before.
    pub seen: &'a BTreeMap<BackupId, Seen>,
    /// Ids that wait for the admin's word.
    pub on_hold: &'a BTreeSet<BackupId>,
    /// Files verified before.
    pub mirrored: &'a BTreeMap<BackupId, Mirrored>,
    /// The admin agrees to the deletions on hold.
    pub confirm_cleanup: bool,
    /// Days for which a deleted backup stays in Dropbox.
    pub keep_deleted_days: u32,
    /// How files are named.
    pub naming: Naming,
    /// The time of the run; never before that of an earlier one.
    pub now: DateTime<Utc>,
}

/// What a run is going to do, and what will be remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Everything at both ends: the newest first, foreign files last.
    pub rows: Vec<Row>,
    /// Ids seen, after this run's listing.
    pub seen: BTreeMap<BackupId, Seen>,
    /// Ids on hold, after this plan. Those that are deleted leave when they are.
    pub on_hold: BTreeSet<BackupId>,
    /// Why the list is unfit for deletions, if it is.
    pub unfit: Option<Unfit>,
}

/// Why nothing may be deleted on the word of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Rule 2: some rows could not be used.
    BadRows,
    /// Rule 4: there is no finished backup in it.
    NothingFinished,
}

impl Plan {
    /// Makes the plan.
    pub fn new(world: &World<'_>) -> Self {
        let (managed, mut foreign) = sorted_out(world);
        let listed: BTreeSet<&BackupId> = world.listing.backups.iter().map(|b| &b.id).collect();
        let unfit = unfit(world.listing);
        let mut plan = Self {
            rows: Vec::with_capacity(world.files.len()),
            seen: next_seen(world, &managed, &listed, unfit.is_some()),
            on_hold: BTreeSet::new(),
            unfit,
        };
        for backup in &world.listing.backups {
            let files = managed.get(&backup.id).map_or(&[][..], Vec::as_slice);
            plan.rows
                .extend(listed_rows(world, backup, files, &mut foreign));
        }
        // Rule 1: only managed files are looked at. Rule 3: none whose id is listed.
        for (id, files) in managed.iter().filter(|(id, _)| !listed.contains(id)) {
            let decision = plan.keep_or_delete(world, id);
            let known = world.mirrored.get(id);
            plan.rows.extend(files.iter().map(|&file| {
                Row {
                    name: file.name.clone(),
                    id: Some(id.clone()),
                    backup: None,
                    file: Some(file.metadata.clone()),
                    verified_at: known
                        .filter(|known| is_unchanged(known, &file.metadata))
                        .map(|known| known.verified_at),
                    decision,
                }
            }));
        }
        plan.rows.extend(foreign.into_values().map(|file| Row {
            name: file.name.clone(),
            id: None,
            backup: None,
            file: Some(file.metadata.clone()),
            verified_at: None,
            decision: Decision::Foreign,
        }));
        plan.hold_back(world, &managed, &listed);
        plan.rows.sort_by_cached_key(|row| {
            let is_foreign = row.decision == Decision::Foreign;
            (
                is_foreign,
                Reverse((time_of(world.naming, row), row.name.clone())),
            )
        });
        plan
    }

    /// The deletions to carry out once the uploads have been tried (rule 6).
    pub fn deletions_after(&self, all_uploads_succeeded: bool) -> Vec<&Row> {
        if all_uploads_succeeded {
            self.deletions().collect()
        } else {
            Vec::new()
        }
    }

    /// All deletions that are planned. They have passed every rule but the sixth, which may be asked
    /// for them only by the very uploads that need the room: a full Dropbox has them done first.
    pub fn deletions(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Delete { .. }))
    }

    /// Backups to be sent: not in Dropbox, or in another length.
    pub fn uploads(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Upload | Decision::Replace(_)))
    }

    /// Files to be compared with their backups.
    pub fn comparisons(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Compare(_)))
    }

    /// How many finished backups have their verified file in Dropbox.
    pub fn unchanged(&self) -> usize {
        self.decided(|decision| decision == Decision::Mirrored)
            .count()
    }

    /// Rows with a decision of this kind, the newest first.
    pub fn decided(&self, is_it: impl Fn(Decision) -> bool) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| is_it(row.decision))
    }

    /// Files that stay for `reason`.
    pub fn kept_as(&self, reason: Reason) -> impl Iterator<Item = &Row> {
        self.decided(move |decision| decision == Decision::Keep(reason))
    }

    /// Rules 2, 4, 5 and 7 for an id that is not listed.
    fn keep_or_delete(&self, world: &World<'_>, id: &BackupId) -> Decision {
        if self.unfit.is_some() {
            return Decision::Keep(Reason::ListUnfit);
        }
        if !world.seen.contains_key(id) {
            return Decision::Keep(Reason::NeverSeen);
        }
        let missing_since = self.seen.get(id).and_then(|seen| seen.missing_since);
        let keep = TimeDelta::days(i64::from(world.keep_deleted_days));
        let missing_since = missing_since.unwrap_or(world.now);
        let until = missing_since
            .checked_add_signed(keep)
            .unwrap_or(missing_since);
        if until > world.now {
            Decision::Keep(Reason::RetainedUntil(until))
        } else {
            Decision::Delete { missing_since }
        }
    }

    /// Rule 8.
    fn hold_back(
        &mut self,
        world: &World<'_>,
        managed: &Managed<'_>,
        listed: &BTreeSet<&BackupId>,
    ) {
        // A hold ends when its id is listed again. That of a file which is gone ends with it.
        let was_on_hold = |id: &&BackupId| !listed.contains(id) && self.seen.contains_key(id);
        self.on_hold = world.on_hold.iter().filter(was_on_hold).cloned().collect();
        let (held, fresh) = self.deletions().fold((0, 0), |(held, fresh), row| {
            match row.id.as_ref().is_some_and(|id| self.on_hold.contains(id)) {
                true => (held + 1, fresh),
                false => (held, fresh + 1),
            }
        });
        // Files that this installation never saw are not weighed: in a folder that servers share,
        // the others' files would make any deletion look small.
        let own = managed.iter().filter(|(id, _)| self.seen.contains_key(id));
        let own: usize = own.map(|(_, files)| files.len()).sum();
        // The admin's word counts for what was on hold when it was given, not for what is new.
        let weighed = fresh + if world.confirm_cleanup { 0 } else { held };
        let is_suspicious = weighed > DELETIONS_UNSUSPICIOUS && weighed * 2 > own;
        for row in &mut self.rows {
            let (Decision::Delete { .. }, Some(id)) = (row.decision, &row.id) else {
                continue;
            };
            let holds = match self.on_hold.contains(id) {
                true => !world.confirm_cleanup,
                false => is_suspicious,
            };
            if holds {
                row.decision = Decision::Keep(Reason::OnHold);
            }
        }
        let held = self
            .rows
            .iter()
            .filter(|row| row.decision == Decision::Keep(Reason::OnHold));
        let held: Vec<BackupId> = held.filter_map(|row| row.id.clone()).collect();
        self.on_hold.extend(held);
    }
}

/// Managed files by id; an id can have several, from times in different timezones.
type Managed<'a> = BTreeMap<BackupId, Vec<&'a ListedFile>>;
/// Files that are not the mirror's, by name, without regard to letter case, as Dropbox has it.
type Foreign<'a> = BTreeMap<String, &'a ListedFile>;

fn sorted_out<'a>(world: &World<'a>) -> (Managed<'a>, Foreign<'a>) {
    let (mut managed, mut foreign) = (Managed::new(), Foreign::new());
    for file in world.files {
        match world.naming.recognise(&file.name) {
            Some(id) => managed.entry(id).or_default().push(file),
            None => {
                foreign.insert(file.name.to_ascii_lowercase(), file);
            }
        }
    }
    for files in managed.values_mut() {
        files.sort_by(|a, b| a.name.cmp(&b.name));
    }
    (managed, foreign)
}

/// The row of a backup that is listed, and those of further files that hold it.
fn listed_rows(
    world: &World<'_>,
    backup: &Backup,
    files: &[&ListedFile],
    foreign: &mut Foreign<'_>,
) -> Vec<Row> {
    let known = world.mirrored.get(&backup.id);
    let given = world.naming.file_name(backup);
    let is_known =
        |file: &ListedFile| known.is_some_and(|known| is_unchanged(known, &file.metadata));
    // The file that stands for the backup: one that was verified, else the first.
    let verified = files.iter().copied().find(|file| is_known(file));
    // A foreign file may hold the backup's place under a name that differs in letter case only,
    // which Dropbox takes for the same. If it has the backup's content, that is as good.
    let key = given.to_ascii_lowercase();
    let is_namesake = verified.is_none() && foreign.get(&key).is_some_and(|file| is_known(file));
    let namesake = is_namesake.then(|| foreign.remove(&key)).flatten();
    let file = verified.or(namesake).or(files.first().copied());
    let row = |file: Option<&ListedFile>, decision| {
        let is_present =
            known.filter(|known| known.version == backup.version && file.is_some_and(is_known));
        Row {
            name: file.map_or_else(|| given.clone(), |file| file.name.clone()),
            id: Some(backup.id.clone()),
            backup: Some(backup.clone()),
            file: file.map(|file| file.metadata.clone()),
            verified_at: is_present.map(|known| known.verified_at),
            decision,
        }
    };
    let others = |decision| {
        let others = files
            .iter()
            .copied()
            .filter(move |&other| Some(other) != file);
        others.map(move |other| row(Some(other), decision))
    };
    if !backup.finished {
        let decision = Decision::Keep(Reason::Unfinished);
        let first = row(file, file.map_or(Decision::Wait, |_| decision));
        return std::iter::once(first).chain(others(decision)).collect();
    }
    let decision = match (file, known) {
        (None, _) => Decision::Upload,
        (Some(file), Some(known)) if is_known(file) => {
            if known.version == backup.version {
                Decision::Mirrored
            } else {
                replace_or_compare(backup, &file.metadata, Origin::Outdated)
            }
        }
        (Some(file), Some(_)) => replace_or_compare(backup, &file.metadata, Origin::Changed),
        (Some(file), None) => replace_or_compare(backup, &file.metadata, Origin::Unknown),
    };
    let duplicate = Decision::Keep(Reason::Duplicate);
    std::iter::once(row(file, decision))
        .chain(others(duplicate))
        .collect()
}

/// A file of another length differs from its backup; for one of the same, the source is read.
fn replace_or_compare(backup: &Backup, file: &FileMetadata, origin: Origin) -> Decision {
    match backup.version {
        Some(version) if version.bytes != file.size => Decision::Replace(origin),
        _ => Decision::Compare(origin),
    }
}

/// When a row's backup was made, as far as that is known.
fn time_of(naming: Naming, row: &Row) -> Option<DateTime<Utc>> {
    match (&row.backup, &row.file) {
        (Some(backup), _) => Some(backup.created_at),
        (None, Some(file)) => naming.time_in(&row.name).or(file.server_modified),
        (None, None) => None,
    }
}

/// Whether a file is still the one that was verified.
fn is_unchanged(known: &Mirrored, file: &FileMetadata) -> bool {
    match file.content_hash {
        Some(hash) => hash == known.content_hash,
        None => file.rev == known.rev,
    }
}

fn unfit(listing: &Listing) -> Option<Unfit> {
    if !listing.problems.is_empty() {
        Some(Unfit::BadRows)
    } else if !listing.backups.iter().any(|backup| backup.finished) {
        Some(Unfit::NothingFinished)
    } else {
        None
    }
}

/// Adds what is listed, dates what has gone missing, and forgets what is neither listed nor in
/// Dropbox. An unfit list adds, but dates and forgets nothing.
fn next_seen(
    world: &World<'_>,
    managed: &Managed<'_>,
    listed: &BTreeSet<&BackupId>,
    unfit: bool,
) -> BTreeMap<BackupId, Seen> {
    let mut seen = world.seen.clone();
    for backup in &world.listing.backups {
        seen.insert(backup.id.clone(), Seen::default());
    }
    if !unfit {
        seen.retain(|id, _| listed.contains(id) || managed.contains_key(id));
        for (id, seen) in &mut seen {
            if !listed.contains(id) {
                seen.missing_since.get_or_insert(world.now);
            }
        }
    }
    seen
}
