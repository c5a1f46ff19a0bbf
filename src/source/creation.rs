//! Has UISP make a fresh backup: `POST nms/backups/create`, then the list until it is finished.
//!
//! Assumptions: the request has no body; the answer is an object with the new backup's `id`; a state
//! that speaks of a failure is final; one that nobody knows may still become another.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use super::rows::State;
use super::uisp::{Uisp, unexpected};
use super::{Error, Listing, Source, rows};
use crate::backup_id::BackupId;
use crate::clock::Stopwatch;
use crate::http::retry::{Retry, Retryable, Tries};

/// A backup that takes longer than this is mirrored by a later run.
pub const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Requests for one backup, at most.
const TRIES: u32 = 2;
/// Time between two looks at the list.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(serde::Deserialize)]
struct Created {
    id: String,
}

impl Uisp {
    /// Has a backup made and waits until it is finished.
    pub(super) fn create_backup(&self) -> Result<(), Error> {
        let before: BTreeSet<BackupId> = ids(self.list()?).collect();
        let id = self.ask_until_listed(&before)?;
        let waiting = Stopwatch::start();
        loop {
            let list = self.list_text()?;
            let state = rows::state_of(&list, &id)
                .map_err(|error| unexpected("a list of backups", error, &list))?;
            match state {
                Some(State::Finished) => return Ok(()),
                Some(State::Failed) => return Err(Error::CreationFailed),
                _ if waiting.elapsed() >= PATIENCE => return Err(Error::CreationTooSlow),
                _ => self.stop().sleep(LOOK_EVERY).map_err(Error::Stopped)?,
            }
        }
    }

    /// Asks again if a request shows no effect. A failed one may have been carried out: then the list has a
    /// new backup.
    fn ask_until_listed(&self, before: &BTreeSet<BackupId>) -> Result<BackupId, Error> {
        let mut tries_left = TRIES;
        let mut waits = Tries::default();
        let stop = self.stop().for_at_most(PATIENCE);
        loop {
            let error = match self.ask_for_backup() {
                Ok(id) => return Ok(id),
                Err(error) => error,
            };
            if let Some(id) = ids(self.list()?).find(|id| !before.contains(id)) {
                return Ok(id);
            }
            if let retry @ Retry::After(_) = error.retry() {
                let wait = waits.next_wait(retry, &stop).ok_or(error)?;
                self.stop().sleep(wait).map_err(Error::Stopped)?;
                continue;
            }
            tries_left -= 1;
            if tries_left == 0 || error.retry() == Retry::Never {
                return Err(error);
            }
        }
    }

    fn ask_for_backup(&self) -> Result<BackupId, Error> {
        let body = self.post("nms/backups/create")?;
        let no_id = |found: &dyn Display| unexpected("a new backup's id", found, &body);
        let created: Created = serde_json::from_slice(&body).map_err(|error| no_id(&error))?;
        BackupId::parse(&created.id).map_err(|error| no_id(&error))
    }
}

fn ids(listing: Listing) -> impl Iterator<Item = BackupId> {
    listing.backups.into_iter().map(|backup| backup.id)
}
