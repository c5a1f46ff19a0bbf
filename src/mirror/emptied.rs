//! Folders in Dropbox whose last file this run has deleted go, too. Only a folder as the source has some; UISP's backups
//! lie in one.

use std::collections::BTreeSet;

use super::{Mirror, is_deletion, place};
use crate::backup_id::BackupId;
use crate::dropbox;
use crate::findings::table;

impl Mirror<'_> {
    /// Removes the folders that the deletions of this run have emptied. One that holds anything else stays, if only
    /// an empty folder. If the run ends before that, an empty folder is left, which harms nobody.
    pub(super) fn remove_emptied_folders(&mut self) {
        let rows = || self.plan.rows.iter();
        let deleted = rows().filter(|row| is_deletion(row.decision) && row.file.is_none());
        let emptied: BTreeSet<String> = deleted.flat_map(|row| above(&row.name)).collect();
        let left = rows().filter(|row| row.file.is_some());
        let mut in_use: BTreeSet<String> = left.flat_map(|row| above(&row.name)).collect();
        let mut folders = self.folders.clone();
        // What is in a folder comes before the folder.
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.matches('/').count()));
        for folder in folders {
            let key = key(&folder);
            let is_empty = emptied.contains(&key) && !in_use.contains(&key);
            if !is_empty || !self.removes_folder(&folder) {
                in_use.extend(above(&folder));
            }
        }
    }

    /// Removes a folder if Dropbox still finds it empty; returns whether it is gone.
    fn removes_folder(&mut self, folder: &str) -> bool {
        if self.stop.winding_down().is_some() {
            return false;
        }
        match self.dropbox.remove_empty_folder(&self.path_of(folder)) {
            Ok(is_gone) => {
                self.findings
                    .extend(is_gone.then(|| table::folder_removed(folder)));
                is_gone
            }
            Err(dropbox::Error::Stopped(_)) => false,
            Err(error) => {
                self.findings
                    .add(table::folder_not_removed(folder).because(&error));
                false
            }
        }
    }
}

/// What tells a path from others in Dropbox.
fn key(path: &str) -> String {
    match place(path).as_ref().map(BackupId::key) {
        Some(key) => key.to_owned(),
        None => path.to_lowercase(),
    }
}

/// The folders that something lies in.
fn above(path: &str) -> Vec<String> {
    let key = key(path);
    let ends = key.match_indices('/');
    ends.map(|(end, _)| key[..end].to_owned()).collect()
}
