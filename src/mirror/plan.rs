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

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::names::Naming;
use crate::backup_id::BackupId;
use crate::dropbox::files::ListedFile;
use crate::source::{Backup, Listing};
use crate::state::{Mirrored, Seen};

/// So many deletions in one run are never held back.
const DELETIONS_UNSUSPICIOUS: usize = 3;

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The source's list.
    pub listing: &'a Listing,
    /// What is in the mirror folder.
    pub entries: &'a [ListedFile],
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
    /// Backups that are not in Dropbox, or not in this version, newest first.
    pub uploads: Vec<Upload>,
    /// Files that have not been compared with this version of their backups yet, newest first.
    pub verifications: Vec<Verification>,
    deletions: Vec<Deletion>,
    /// Managed files without a finished backup that stay, and why.
    pub kept: Vec<Kept>,
    /// Finished backups whose verified file is in Dropbox.
    pub unchanged: usize,
    /// Ids seen, after this run's listing.
    pub seen: BTreeMap<BackupId, Seen>,
    /// Ids on hold, after this plan. Those that are deleted leave when they are.
    pub on_hold: BTreeSet<BackupId>,
    /// Why the list is unfit for deletions, if it is.
    pub unfit: Option<Unfit>,
}

/// A backup to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The backup.
    pub backup: Backup,
    /// Its file's name.
    pub name: String,
    /// What is there now and is replaced, if anything is.
    pub replaces: Option<Replaced>,
}

/// A file that another one replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The version that the plan was made for.
    pub file: ListedFile,
    /// It equals an earlier version of its backup; otherwise nobody knows where it is from.
    pub is_outdated: bool,
}

/// A file to be compared with its backup, and replaced if it differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The backup.
    pub backup: Backup,
    /// The file.
    pub file: ListedFile,
    /// It equals an earlier version of the backup; otherwise nobody knows where it is from.
    pub is_outdated: bool,
}

impl Upload {
    /// The lengths before and after, if the backup became less than half as long since it was copied:
    /// the program that makes it may have failed.
    pub fn sudden_shrink(&self) -> Option<(u64, u64)> {
        let replaced = self.replaces.as_ref()?;
        let before = replaced
            .is_outdated
            .then_some(replaced.file.metadata.size)?;
        let after = self.backup.version?.bytes;
        (after < before.div_ceil(2)).then_some((before, after))
    }
}

/// A file to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its id.
    pub id: BackupId,
    /// The version that the plan was made for.
    pub file: ListedFile,
}

/// A managed file that stays although the source has no finished backup for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file's name.
    pub name: String,
    /// Why it stays.
    pub reason: KeepReason,
}

/// Why a managed file stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// Rule 2 or 4: the list cannot be trusted that far.
    ListUnfit,
    /// Rule 3: the source names it, but not as finished.
    Unfinished,
    /// Rule 5: this installation never saw it at the source.
    NeverSeen,
    /// Rule 7: it stays until then.
    RetainedUntil(DateTime<Utc>),
    /// Rule 8: it waits for the admin's word.
    OnHold,
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
        let managed = managed_files(world);
        let listed: BTreeSet<&BackupId> = world.listing.backups.iter().map(|b| &b.id).collect();
        let mut plan = Self {
            unfit: unfit(world.listing),
            ..Self::default()
        };
        plan.plan_transfers(world, &managed);
        plan.seen = next_seen(world, &managed, &listed, plan.unfit.is_some());
        plan.plan_deletions(world, &managed, &listed);
        plan
    }

    /// The deletions to carry out once the uploads have been tried (rule 6).
    pub fn deletions_after(&self, all_uploads_succeeded: bool) -> &[Deletion] {
        if all_uploads_succeeded {
            &self.deletions
        } else {
            &[]
        }
    }

    /// Deletions that may be done first to make room, when Dropbox has run out of space. They have
    /// passed every rule but the sixth, which asks for the very upload that needs the room.
    pub fn deletions_for_space(&self) -> &[Deletion] {
        &self.deletions
    }

    /// Backups whose content may have to be sent in this run.
    pub fn transferred(&self) -> impl Iterator<Item = &Backup> {
        let uploads = self.uploads.iter().map(|upload| &upload.backup);
        uploads.chain(
            self.verifications
                .iter()
                .map(|verification| &verification.backup),
        )
    }

    /// Names of the files that stay for `reason`.
    pub fn kept_as(&self, reason: KeepReason) -> impl Iterator<Item = &str> {
        self.kept
            .iter()
            .filter(move |kept| kept.reason == reason)
            .map(|kept| kept.name.as_str())
    }

    fn plan_transfers(&mut self, world: &World<'_>, managed: &Managed<'_>) {
        // A foreign file may hold a backup's place under a name that differs in letter case only,
        // which Dropbox takes for the same. If it has the backup's content, that is as good.
        let foreign: BTreeMap<String, &ListedFile> = foreign_files(world)
            .map(|file| (file.name.to_ascii_lowercase(), file))
            .collect();
        for backup in world.listing.backups.iter().filter(|b| b.finished) {
            let files = managed.get(&backup.id).map_or(&[][..], Vec::as_slice);
            let known = world.mirrored.get(&backup.id);
            let verified =
                |file: &&&ListedFile| known.is_some_and(|known| is_unchanged(known, file));
            let name = world.naming.file_name(backup);
            let namesake = foreign.get(&name.to_ascii_lowercase());
            let equal = files.iter().chain(namesake).find(verified);
            if equal.is_some() && known.is_some_and(|known| known.version == backup.version) {
                self.unchanged += 1;
            } else if let Some(file) = equal.or(files.first()) {
                self.plan_replacement(backup, file, equal.is_some());
            } else {
                self.uploads.push(Upload {
                    name,
                    backup: backup.clone(),
                    replaces: None,
                });
            }
        }
        let age = |backup: &Backup| (std::cmp::Reverse(backup.created_at), backup.id.clone());
        self.uploads
            .sort_by_cached_key(|upload| age(&upload.backup));
        self.verifications
            .sort_by_cached_key(|verification| age(&verification.backup));
    }

    /// A file of another length differs from its backup; for one of the same, the source is read.
    fn plan_replacement(&mut self, backup: &Backup, file: &ListedFile, is_outdated: bool) {
        let (backup, file) = (backup.clone(), file.clone());
        if backup
            .version
            .is_some_and(|version| version.bytes != file.metadata.size)
        {
            self.uploads.push(Upload {
                name: file.name.clone(),
                backup,
                replaces: Some(Replaced { file, is_outdated }),
            });
        } else {
            self.verifications.push(Verification {
                backup,
                file,
                is_outdated,
            });
        }
    }

    fn plan_deletions(
        &mut self,
        world: &World<'_>,
        managed: &Managed<'_>,
        listed: &BTreeSet<&BackupId>,
    ) {
        // Rule 1: only managed files are looked at.
        let backups = world.listing.backups.iter();
        let finished: BTreeSet<&BackupId> = backups.filter(|b| b.finished).map(|b| &b.id).collect();
        let mut due = Vec::new();
        for (id, files) in managed.iter().filter(|(id, _)| !finished.contains(id)) {
            match self.keep_reason(world, id, listed) {
                Some(reason) => self.kept.extend(files.iter().map(|file| Kept {
                    name: file.name.clone(),
                    reason,
                })),
                None => due.extend(files.iter().map(|file| Deletion {
                    id: id.clone(),
                    file: (*file).clone(),
                })),
            }
        }
        // Files that this installation never saw are not weighed: in a folder that servers share,
        // the others' files would make any deletion look small.
        let own = managed.iter().filter(|(id, _)| self.seen.contains_key(id));
        let own_count = own.map(|(_, files)| files.len()).sum();
        self.hold_back(world, listed, due, own_count);
    }

    /// Rules 2 to 5 and 7 for one id without a finished backup.
    fn keep_reason(
        &self,
        world: &World<'_>,
        id: &BackupId,
        listed: &BTreeSet<&BackupId>,
    ) -> Option<KeepReason> {
        if listed.contains(id) {
            return Some(KeepReason::Unfinished);
        }
        if self.unfit.is_some() {
            return Some(KeepReason::ListUnfit);
        }
        if !world.seen.contains_key(id) {
            return Some(KeepReason::NeverSeen);
        }
        let missing_since = self.seen.get(id).and_then(|seen| seen.missing_since);
        let keep = TimeDelta::days(i64::from(world.keep_deleted_days));
        let since = missing_since.unwrap_or(world.now);
        let until = since.checked_add_signed(keep).unwrap_or(since);
        (until > world.now).then_some(KeepReason::RetainedUntil(until))
    }

    /// Rule 8.
    fn hold_back(
        &mut self,
        world: &World<'_>,
        listed: &BTreeSet<&BackupId>,
        due: Vec<Deletion>,
        own_count: usize,
    ) {
        // A hold ends when its id is listed again. That of a file which is gone ends with it.
        self.on_hold = world
            .on_hold
            .iter()
            .filter(|id| !listed.contains(id) && self.seen.contains_key(id))
            .cloned()
            .collect();
        let (held, fresh): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|deletion| self.on_hold.contains(&deletion.id));
        // The admin's word counts for what was on hold when it was given, not for what is new.
        let weighed = if world.confirm_cleanup {
            fresh.len()
        } else {
            fresh.len() + held.len()
        };
        let suspicious = weighed > DELETIONS_UNSUSPICIOUS && weighed * 2 > own_count;
        if world.confirm_cleanup {
            self.deletions.extend(held);
        } else {
            self.hold(held);
        }
        if suspicious {
            self.hold(fresh);
        } else {
            self.deletions.extend(fresh);
        }
    }

    fn hold(&mut self, deletions: Vec<Deletion>) {
        for deletion in deletions {
            self.kept.push(Kept {
                name: deletion.file.name,
                reason: KeepReason::OnHold,
            });
            self.on_hold.insert(deletion.id);
        }
    }
}

/// Managed files by id; an id can have several, from times in different timezones.
type Managed<'a> = BTreeMap<BackupId, Vec<&'a ListedFile>>;

fn managed_files<'a>(world: &World<'a>) -> Managed<'a> {
    let mut managed = Managed::new();
    for file in world.entries {
        if let Some(id) = world.naming.recognise(&file.name) {
            managed.entry(id).or_default().push(file);
        }
    }
    for files in managed.values_mut() {
        files.sort_by(|a, b| a.name.cmp(&b.name));
    }
    managed
}

fn foreign_files<'a>(world: &World<'a>) -> impl Iterator<Item = &'a ListedFile> {
    let naming = world.naming;
    let files = world.entries.iter();
    files.filter(move |file| naming.recognise(&file.name).is_none())
}

/// Whether a file is still the one that was verified.
fn is_unchanged(known: &Mirrored, file: &ListedFile) -> bool {
    match file.metadata.content_hash {
        Some(hash) => hash == known.content_hash,
        None => file.metadata.rev == known.rev,
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
