//! What there is at both ends and what a run would do about it, for the commands that show it.

use serde_json::{Value, json};

use super::{Call, Failure, dropbox_failure, unlimited};
use crate::advice;
use crate::clock;
use crate::mirror::overview::{self, Item, Status};
use crate::mirror::plan::{KeepReason, Plan, Unfit};
use crate::mirror::survey::{self, Survey};
use crate::open;
use crate::source::Listing;
use crate::state::Memory;
use crate::zone::Zone;

/// Both ends, and the plan for them.
pub struct View {
    /// The source's list.
    pub listing: Listing,
    /// The plan that a run would make now.
    pub plan: Plan,
    /// Both ends side by side.
    pub items: Vec<Item>,
    /// The host's timezone.
    pub zone: Zone,
    /// What runs remember.
    pub memory: Memory,
}

impl View {
    /// Looks at both ends.
    pub fn new(call: &Call) -> Result<Self, Failure> {
        let stop = unlimited();
        let settings = call.settings()?;
        let memory = call.memory()?;
        let source = open::source(&call.folder, &settings, &stop)?;
        let dropbox = call.connect(&settings, &stop)?;
        let survey = Survey::new(source.as_ref(), &dropbox, &settings, false)
            .ok_or_else(|| Failure("The two lists could not be read.".into()))?;
        let listing = survey.listing.map_err(|error| {
            let meaning = advice::listing(&error);
            Failure(format!(
                "{}'s list of backups could not be read. {meaning}. Cause: {error}.",
                source.kind().name_at_start()
            ))
        })?;
        let entries = survey.entries.map_err(|error| {
            dropbox_failure("The mirror folder in Dropbox could not be listed", &error)
        })?;
        let zone = survey.timezone.unwrap_or_else(|_| known_zone(&memory));
        let plan = survey::plan(&listing, &entries, &memory, &settings, zone, clock::now());
        let items = overview::items(&listing, &entries, &plan, survey::naming(&settings, zone));
        Ok(Self {
            listing,
            plan,
            items,
            zone,
            memory,
        })
    }

    /// Why nothing would be deleted whatever is missing, as lines to be shown.
    pub fn notes(&self) -> Vec<String> {
        let passed_over = self
            .listing
            .passed_over
            .iter()
            .map(|text| format!("Passed over: {text}."));
        let renamed = self
            .listing
            .renamed
            .iter()
            .map(|text| format!("Renamed in Dropbox: {text}."));
        let rows = self
            .listing
            .problems
            .iter()
            .map(|problem| format!("A row of the list of backups cannot be used: {problem}."));
        let unfit = self.plan.unfit.map(|unfit| {
            match unfit {
                Unfit::BadRows => "Because of that row, nothing would be deleted.",
                Unfit::NothingFinished => {
                    "The list has no finished backup, so nothing would be deleted."
                }
            }
            .to_owned()
        });
        passed_over
            .chain(renamed)
            .chain(rows)
            .chain(unfit)
            .collect()
    }

    /// The fields that every document about both ends has.
    pub fn json_head(&self) -> Value {
        json!({
            "timezone": self.zone.name(),
            "unusable_rows": self.listing.problems,
            "fit_for_deletions": self.plan.unfit.is_none(),
        })
    }
}

/// The timezone that the newest run knew, else UTC.
pub fn known_zone(memory: &Memory) -> Zone {
    let name = memory.timezone.as_deref();
    name.and_then(|name| name.parse().ok()).unwrap_or(Zone::UTC)
}

/// The word for a status, in lists and in JSON.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Mirrored => "mirrored",
        Status::Upload => "upload",
        Status::Replace => "replace",
        Status::Compare => "compare",
        Status::Delete => "delete",
        Status::Kept(_) => "kept",
        Status::Unfinished => "unfinished",
        Status::Foreign => "foreign",
    }
}

/// The word for a reason, in JSON.
pub fn reason_word(reason: KeepReason) -> &'static str {
    match reason {
        KeepReason::ListUnfit => "list_unfit",
        KeepReason::Unfinished => "unfinished",
        KeepReason::NeverSeen => "never_seen",
        KeepReason::RetainedUntil(_) => "retained",
        KeepReason::OnHold => "on_hold",
    }
}

/// Why a file stays, for people.
pub fn reason(reason: KeepReason, zone: Zone) -> String {
    match reason {
        KeepReason::ListUnfit => "the list of backups cannot be trusted that far".into(),
        KeepReason::Unfinished => "its backup is listed, but not as finished".into(),
        KeepReason::NeverSeen => "this installation never saw its backup listed".into(),
        KeepReason::RetainedUntil(until) => {
            let until = zone.local(until).format("%Y-%m-%d %H:%M");
            format!("its backup is gone; it stays until {until}")
        }
        KeepReason::OnHold => {
            "on hold, because most of the mirror would be deleted; \"Confirm clean-up\" lets it go"
                .into()
        }
    }
}
