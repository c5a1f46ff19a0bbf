//! Both ends side by side, item by item, with what the plan does about each. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Naming;
use super::plan::{KeepReason, Plan};
use crate::backup_id::BackupId;
use crate::dropbox::files::ListedFile;
use crate::source::{Backup, Listing};

/// A backup, its file in the mirror folder, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Name of the file, or the one that it would get.
    pub name: String,
    /// Id of the backup; none for a foreign file.
    pub id: Option<BackupId>,
    /// What the source lists.
    pub backup: Option<Backup>,
    /// What is in the mirror folder.
    pub file: Option<ListedFile>,
    /// What the plan does about it.
    pub status: Status,
}

/// What a plan does about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing: the file equals its backup.
    Mirrored,
    /// It is sent.
    Upload,
    /// The file is replaced by a newer version of its backup.
    Replace,
    /// The file is compared with its backup, and replaced if it differs.
    Compare,
    /// The file is deleted.
    Delete,
    /// The file stays although the source has no finished backup for it.
    Kept(KeepReason),
    /// Nothing yet: the source has not finished the backup.
    Unfinished,
    /// Nothing: the file is not the mirror's.
    Foreign,
}

/// Everything at both ends, the newest name first, foreign files last.
pub fn items(listing: &Listing, entries: &[ListedFile], plan: &Plan, naming: Naming) -> Vec<Item> {
    let uploads: BTreeMap<&BackupId, &str> = plan
        .uploads
        .iter()
        .map(|upload| (&upload.backup.id, upload.name.as_str()))
        .collect();
    let compared: BTreeSet<&BackupId> = plan
        .verifications
        .iter()
        .map(|verification| &verification.backup.id)
        .collect();
    let deleted: BTreeSet<&str> = plan
        .deletions_for_space()
        .iter()
        .map(|deletion| deletion.file.name.as_str())
        .collect();
    let kept: BTreeMap<&str, KeepReason> = plan
        .kept
        .iter()
        .map(|kept| (kept.name.as_str(), kept.reason))
        .collect();
    let backups: BTreeMap<&BackupId, &Backup> = listing
        .backups
        .iter()
        .map(|backup| (&backup.id, backup))
        .collect();

    let mut with_file = BTreeSet::new();
    let mut items = Vec::new();
    for file in entries {
        let id = naming.recognise(&file.name);
        let status = match &id {
            None => Status::Foreign,
            Some(_) if deleted.contains(file.name.as_str()) => Status::Delete,
            Some(id) if compared.contains(id) => Status::Compare,
            Some(id) if uploads.contains_key(id) => Status::Replace,
            Some(_) => kept
                .get(file.name.as_str())
                .map_or(Status::Mirrored, |&reason| Status::Kept(reason)),
        };
        let backup = id
            .as_ref()
            .and_then(|id| backups.get(id))
            .map(|&backup| backup.clone());
        with_file.extend(id.clone());
        items.push(Item {
            name: file.name.clone(),
            id,
            backup,
            file: Some(file.clone()),
            status,
        });
    }
    for backup in listing
        .backups
        .iter()
        .filter(|backup| !with_file.contains(&backup.id))
    {
        let upload = uploads.get(&backup.id);
        items.push(Item {
            name: upload.map_or_else(|| naming.file_name(backup), |&name| name.to_owned()),
            id: Some(backup.id.clone()),
            backup: Some(backup.clone()),
            file: None,
            status: match (upload, backup.finished) {
                (Some(_), _) => Status::Upload,
                (None, false) => Status::Unfinished,
                // A foreign file holds its place and its content.
                (None, true) => Status::Mirrored,
            },
        });
    }
    items.sort_by(|a, b| {
        let foreign = |item: &Item| item.status == Status::Foreign;
        foreign(a)
            .cmp(&foreign(b))
            .then_with(|| b.name.cmp(&a.name))
    });
    items
}
