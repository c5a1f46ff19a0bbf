//! What there is at both ends and what a run would do about it, for the commands that show it.

use serde_json::{Value, json};

use super::{Call, Failure, unlimited};
use crate::findings::{Finding, advice, table};
use crate::mirror::announce::{long_pending, remarks};
use crate::mirror::plan::Plan;
use crate::mirror::survey::{self, Asked, Survey};
use crate::open;
use crate::source::Listing;
use crate::zone::Zone;

/// Both ends, and the plan for them.
pub struct View {
    /// The source's list.
    pub listing: Listing,
    /// The plan that a run would make now.
    pub plan: Plan,
    /// The host's timezone.
    pub zone: Zone,
    /// What needs attention.
    pub remarks: Vec<Finding>,
}

impl View {
    /// Looks at both ends.
    pub fn new(call: &Call) -> Result<Self, Failure> {
        let stop = unlimited();
        let settings = call.settings()?;
        let memory = call.memory()?;
        let source = open::source(&call.folder, &settings, &stop)?;
        let dropbox = call.connect(&settings, &stop)?;
        let asked = Asked::new(&source, |_| {});
        let survey =
            Survey::new(asked, &dropbox, &settings, false).ok_or_else(table::lists_not_read)?;
        let listing = survey.listing.map_err(|error| {
            let finding = table::backups_not_listed(source.kind().name_at_start());
            finding.explained(&error, advice::listing(&error))
        })?;
        let mirrored = survey
            .mirrored
            .map_err(|error| table::mirror_folder_not_listed().explained(&error, &error))?;
        let zone = survey.timezone.unwrap_or_else(|_| memory.zone());
        let plan = survey::plan(&listing, &mirrored, &memory, &settings, zone);
        let mut remarks = remarks(&plan, &listing, source.kind());
        remarks.extend(long_pending(&plan, &plan.pending));
        Ok(Self {
            remarks,
            listing,
            plan,
            zone,
        })
    }

    /// What needs attention, as lines to be shown.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.remarks.iter().map(Finding::line)
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
