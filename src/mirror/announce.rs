//! Says what a run is going to do, and what needs attention. Pure.

use super::plan::{Plan, Unfit};
use crate::findings::{Finding, advice, table};
use crate::row::{Decision, Origin, Reason, Row};
use crate::source::{Kind, Listing};
use crate::text;

/// Names of files quoted in one line.
const NAMES_IN_A_LINE: usize = 5;

/// What a run is going to do, in numbers.
pub fn announce(plan: &Plan, kind: Kind) -> Finding {
    let finished =
        |row: &&Row| row.finished().is_some() && row.decision != Decision::Keep(Reason::Duplicate);
    table::planned(
        kind.name_at_start(),
        &text::count(plan.rows.iter().filter(finished).count(), "finished backup"),
        plan.uploads().count(),
        plan.comparisons().count(),
        plan.unchanged(),
    )
}

/// What needs attention in both lists, or explains what is not done.
pub fn remarks(plan: &Plan, listing: &Listing, kind: Kind) -> Vec<Finding> {
    let (source, source_at_start) = (kind.name(), kind.name_at_start());
    let problems = listing.problems.iter();
    let mut remarks: Vec<Finding> = problems
        .map(|problem| table::unusable_entry(source_at_start, problem))
        .collect();
    remarks.extend(plan.unfit.map(|unfit| match unfit {
        Unfit::BadRows => table::unusable_entries(source, advice::unusable_entries(kind)),
        Unfit::NothingFinished => {
            table::nothing_finished(source_at_start).advised(advice::nothing_finished(kind))
        }
    }));
    if kind == Kind::Folder {
        remarks_on_files(plan, listing, &mut remarks);
    }
    let held = names(plan.kept_as(Reason::OnHold));
    if !held.is_empty() {
        let verb = if held.len() == 1 { "is" } else { "are" };
        remarks.push(table::on_hold(
            &format!("{} in Dropbox {verb}", text::count(held.len(), "file")),
            source_at_start,
            advice::sudden_loss(kind),
            &quoted(&held),
            &advice::confirm_cleanup(kind),
        ));
    }
    let unknown = names(plan.kept_as(Reason::NeverSeen));
    if !unknown.is_empty() {
        let count = text::count(unknown.len(), "backup");
        remarks.push(table::never_seen(&count, source, &quoted(&unknown)));
    }
    remarks
}

/// What is special about backups that are files and may change.
fn remarks_on_files(plan: &Plan, listing: &Listing, remarks: &mut Vec<Finding>) {
    if !listing.passed_over.is_empty() {
        remarks.push(table::passed_over(&listing.passed_over.join("; ")));
    }
    if !listing.renamed.is_empty() {
        remarks.push(table::renamed(&listing.renamed.join("; ")));
    }
    for row in plan.uploads() {
        let (Some(file), Some(backup)) = (&row.file, &row.backup) else {
            continue;
        };
        let size = |bytes| text::bytes(bytes);
        if let Some((before, after)) = row.sudden_shrink() {
            let finding = table::sudden_shrink(&row.name, &size(before), &size(after));
            remarks.push(finding.about(&row.name));
        } else if row.decision != Decision::Replace(Origin::Outdated) {
            let here = backup.version.map_or(0, |version| version.bytes);
            let finding = table::unknown_copy(&row.name, &size(file.size), &size(here));
            remarks.push(
                finding
                    .advised(advice::differing_copy(Kind::Folder))
                    .about(&row.name),
            );
        }
    }
    remarks_on_waiting(plan, remarks);
}

/// Names the files of a backup folder that have no finished backup, by their reasons.
fn remarks_on_waiting(plan: &Plan, remarks: &mut Vec<Finding>) {
    let (mut young, mut empty, mut emptied, mut others) = (vec![], vec![], vec![], vec![]);
    for row in &plan.rows {
        let Some(backup) = row.backup.as_ref().filter(|backup| !backup.finished) else {
            continue;
        };
        let names = match backup.version {
            Some(version) if version.bytes > 0 => &mut young,
            Some(_) if row.file.is_some() => &mut emptied,
            Some(_) => &mut empty,
            None => &mut others,
        };
        names.push(backup.id.as_str());
    }
    for names in [&mut young, &mut empty, &mut emptied, &mut others] {
        names.sort_unstable();
    }
    if !emptied.is_empty() {
        remarks.push(table::emptied(&quoted(&emptied)));
    }
    for (names, reason) in [
        (
            young,
            "changed within the last minute and may still be growing",
        ),
        (empty, "empty"),
        (others, "links or no files"),
    ] {
        if !names.is_empty() {
            remarks.push(table::not_copied(reason, &quoted(&names)));
        }
    }
}

fn names<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    rows.map(|row| row.name.as_str()).collect()
}

fn quoted(names: &[&str]) -> String {
    text::list(names.iter().copied(), NAMES_IN_A_LINE)
}
