//! The record of what both lists showed, for the status page; nothing is decided by it. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::names::Naming;
use super::plan::{KeepReason, Plan};
use crate::backup_id::BackupId;
use crate::dropbox::files::{FileMetadata, ListedFile};
use crate::source::{Backup, Listing};
use crate::state::{Inventory, Kept, KeptBecause, Listed, Mirrored, Older, StoredFile};

/// Files whose backups are not listed that are recorded one by one; of more than these, the number is kept.
const KEPT_MAX: usize = 500;
/// Backups of the source that are recorded one by one: the newest.
const LISTED_MAX: usize = 1000;

/// What the two lists of a run showed, before it did anything.
pub fn take(
    listing: &Listing,
    entries: &[ListedFile],
    naming: Naming,
    plan: &Plan,
    mirrored: &BTreeMap<BackupId, Mirrored>,
    now: DateTime<Utc>,
) -> Inventory {
    let unverified: BTreeSet<&BackupId> = plan.transferred().map(|backup| &backup.id).collect();
    let mut files = BTreeMap::new();
    for file in managed(entries, naming) {
        if let Some(id) = naming.recognise(&file.name) {
            files.entry(id).or_insert(file);
        }
    }
    let mut newest: Vec<&Backup> = listing.backups.iter().collect();
    newest.sort_by_key(|backup| Reverse(backup.created_at));
    let (newest, rest) = newest.split_at(newest.len().min(LISTED_MAX));
    let rest = rest.iter().filter(|backup| backup.finished);
    let older = Older {
        finished: rest.clone().count(),
        stored: rest.filter(|backup| files.contains_key(&backup.id)).count(),
    };
    let listed = newest.iter().map(|backup| {
        let verified = mirrored
            .get(&backup.id)
            .filter(|_| !unverified.contains(&backup.id));
        let file = files.get(&backup.id).map(|file| StoredFile {
            verified_at: verified.map(|mirrored| mirrored.verified_at),
            ..stored(&file.name, &file.metadata)
        });
        let row = Listed {
            created_at: backup.created_at,
            finished: backup.finished,
            file,
        };
        (backup.id.clone(), row)
    });
    let listed: BTreeMap<BackupId, Listed> = listed.collect();
    let ids: BTreeSet<&BackupId> = listing.backups.iter().map(|backup| &backup.id).collect();

    let reasons: BTreeMap<&str, KeepReason> = plan
        .kept
        .iter()
        .map(|kept| (kept.name.as_str(), kept.reason))
        .collect();
    let is_kept = |file: &&ListedFile| {
        let id = naming.recognise(&file.name);
        id.is_some_and(|id| !ids.contains(&id))
    };
    let kept = || managed(entries, naming).filter(is_kept);
    let verified_at = |file: &ListedFile| {
        let known = mirrored.get(&naming.recognise(&file.name)?)?;
        (known.rev == file.metadata.rev).then_some(known.verified_at)
    };
    Inventory {
        taken_at: now,
        kept_count: kept().count(),
        kept: kept()
            .take(KEPT_MAX)
            .map(|file| Kept {
                file: StoredFile {
                    verified_at: verified_at(file),
                    ..stored(&file.name, &file.metadata)
                },
                because: because(reasons.get(file.name.as_str())),
            })
            .collect(),
        listed,
        older,
    }
}

/// A file as the inventory keeps it, not verified.
pub fn stored(name: &str, file: &FileMetadata) -> StoredFile {
    StoredFile {
        name: name.to_owned(),
        bytes: file.size,
        stored_at: file.server_modified,
        verified_at: None,
    }
}

/// Managed files, newest first: the name begins with the time.
fn managed(entries: &[ListedFile], naming: Naming) -> impl Iterator<Item = &ListedFile> {
    let mut files: Vec<&ListedFile> = entries
        .iter()
        .filter(|file| naming.recognise(&file.name).is_some())
        .collect();
    files.sort_by(|a, b| b.name.cmp(&a.name));
    files.into_iter()
}

fn because(reason: Option<&KeepReason>) -> KeptBecause {
    match reason {
        // What is listed, finished or not, has its row in the list.
        Some(KeepReason::ListUnfit | KeepReason::Unfinished) => KeptBecause::ListUnfit,
        Some(KeepReason::NeverSeen) => KeptBecause::NeverSeen,
        Some(KeepReason::RetainedUntil(until)) => KeptBecause::RetainedUntil(*until),
        Some(KeepReason::OnHold) => KeptBecause::OnHold,
        None => KeptBecause::Due,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::zone::Zone;

    #[test]
    fn only_the_newest_backups_are_recorded_and_the_others_counted() {
        let now: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
        let backups: Vec<Backup> = (0..LISTED_MAX + 10)
            .map(|number| Backup {
                id: BackupId::parse(&format!("backup-{number}")).unwrap(),
                finished: number != LISTED_MAX,
                created_at: now - TimeDelta::hours(number as i64),
                version: None,
            })
            .collect();
        let (newest, oldest) = (backups[0].id.clone(), backups[LISTED_MAX + 9].id.clone());
        let listing = Listing {
            backups,
            ..Listing::default()
        };
        let naming = Naming::Dated(Zone::UTC);
        let plan = Plan::default();
        let mut inventory = take(&listing, &[], naming, &plan, &BTreeMap::new(), now);
        assert_eq!(inventory.listed.len(), LISTED_MAX);
        assert!(inventory.listed.contains_key(&newest));
        assert_eq!(inventory.finished_and_stored(), (LISTED_MAX + 9, 0));

        let file = StoredFile {
            name: "x".into(),
            bytes: 1,
            stored_at: None,
            verified_at: None,
        };
        for (id, is_new) in [(&newest, true), (&oldest, true), (&oldest, false)] {
            inventory.note_stored(id, file.clone(), is_new);
        }
        assert_eq!(inventory.finished_and_stored(), (LISTED_MAX + 9, 2));
    }
}
