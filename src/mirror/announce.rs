//! Says what a run is going to do, and what needs attention. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, TimeDelta};

use super::names;
use super::plan::{Plan, Unfit};
use crate::backup_id::BackupId;
use crate::findings::{Finding, advice, table};
use crate::record::Lists;
use crate::retention::Tier;
use crate::row::{Decision, Provenance, Reason, Row};
use crate::source::{Doubt, Kind, Listing};
use crate::state::Pending;
use crate::text;

/// Names of files quoted in one line.
const NAMES_IN_A_LINE: usize = 5;
/// Remarks of one kind that are made one by one.
const REMARKS_MAX: usize = 20;
/// What is not ready in so many runs in a row is worth a word.
const RUNS_MIN: u32 = 3;
/// So long may it take until an upload has its turn and arrives.
const UPLOAD_PATIENCE: TimeDelta = TimeDelta::days(2);

/// What a run is going to do, in numbers.
pub fn announce(plan: &Plan, kind: Kind) -> Finding {
    let finished = |row: &&Row| row.finished().is_some() && !row.is_beside;
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
    if !listing.unknown_states.is_empty() {
        remarks.push(table::unknown_state(&listing.unknown_states.join(", ")));
    }
    let refused = plan.decided(|decision| decision == Decision::Refuse);
    remarks.extend(
        refused
            .take(REMARKS_MAX)
            .map(|row| table::name_refused(&row.name)),
    );
    remarks.extend(on_hold(plan, kind));
    remarks.extend(remarks_on_sealed(plan));
    let unknown = names_of(plan.kept_as(Reason::NeverSeen));
    if !unknown.is_empty() {
        let count = text::count(unknown.len(), "backup");
        remarks.push(table::never_seen(&count, source, &quoted(&unknown)));
    }
    remarks
}

/// What waits for the admin's word.
pub fn on_hold(plan: &Plan, kind: Kind) -> Option<Finding> {
    let held = names_of(plan.kept_as(Reason::OnHold));
    let verb = if held.len() == 1 { "is" } else { "are" };
    (!held.is_empty()).then(|| {
        table::on_hold(
            &format!("{} in Dropbox {verb}", text::count(held.len(), "file")),
            kind.name_at_start(),
            advice::sudden_loss(kind),
            &quoted(&held),
            &advice::confirm_cleanup(kind),
        )
    })
}

/// Backups that a tier keeps for a period that the list before did not tell of.
pub fn kept_older(plan: &Plan, before: Option<&Lists>, kind: Kind) -> Vec<Finding> {
    let told: BTreeMap<&str, (Tier, NaiveDate)> = before
        .iter()
        .flat_map(|lists| &lists.rows)
        .filter_map(|row| Some((row.name.as_str(), row.decision.older()?)))
        .map(|(name, kept)| (name, (kept.tier, kept.first_day)))
        .collect();
    // Of the oldest of very many nothing was recorded.
    let recorded = before.filter(|lists| lists.rows.len() < lists.rows_count);
    let recorded = recorded.map_or(usize::MAX, |lists| lists.rows.len());
    let rows = plan.rows.iter().filter(|row| row.id.is_some());
    let news = rows.take(recorded).filter_map(|row| {
        let kept = row.decision.older()?;
        let is_news = told.get(row.name.as_str()) != Some(&(kept.tier, kept.first_day));
        is_news.then(|| table::kept_older(&row.name, kind.name(), kept))
    });
    let mut news: Vec<Finding> = news.collect();
    if let Some(more) = news.len().checked_sub(REMARKS_MAX).filter(|more| *more > 0) {
        news.truncate(REMARKS_MAX);
        news.push(table::more_kept_older(&text::count(more, "file")));
    }
    news
}

/// What has not reached Dropbox in several runs. A long upload may take days.
pub fn long_pending(
    plan: &Plan,
    pending: &BTreeMap<BackupId, Pending>,
) -> impl Iterator<Item = Finding> {
    let found = plan.rows.iter().filter_map(|row| {
        let pending = pending
            .get(row.id.as_ref()?)
            .filter(|_| row.backup.is_some())?;
        let is_sent = !matches!(row.decision, Decision::Wait | Decision::Keep(_));
        let is_long = match row.decision {
            // It has arrived; the others have a word of their own.
            Decision::Mirrored | Decision::Refuse => false,
            _ if is_sent => plan.made_at - pending.since >= UPLOAD_PATIENCE,
            _ => true,
        };
        let since = pending.since.format("%Y-%m-%d %H:%M UTC").to_string();
        (is_long && pending.runs >= RUNS_MIN)
            .then(|| table::stays_pending(&row.name, &since, pending.runs).about(&row.name))
    });
    found.take(REMARKS_MAX)
}

/// Machines that replace each other's copies in one folder.
pub fn rivals(plan: &Plan, machine: &str) -> Option<Finding> {
    let is_changed = |decision| {
        matches!(
            decision,
            Decision::Replace(Provenance::Changed) | Decision::Compare(Provenance::Changed)
        )
    };
    let changed = names_of(plan.decided(is_changed));
    if changed.is_empty() {
        return None;
    }
    let asides = plan.rows.iter().flat_map(|row| {
        changed
            .iter()
            .filter_map(|name| names::set_aside_by(&row.name, name))
    });
    let others = asides.map(|(_, other)| other);
    let others: BTreeSet<&str> = others.filter(|&other| other != machine).collect();
    let others: Vec<&str> = others.into_iter().collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!("; the other one calls itself {}", quoted(&others)),
    };
    Some(table::rivals(&quoted(&changed), &others))
}

/// What is, or is not, sealed otherwise than all new copies are.
fn remarks_on_sealed(plan: &Plan) -> Vec<Finding> {
    let unsealed = |row: &Row| {
        let is_told = matches!(
            row.decision,
            Decision::Supersede | Decision::Keep(Reason::Duplicate)
        );
        row.is_beside && row.sealed.is_none() && !is_told
    };
    let left = |row: &Row| row.decision == Decision::Keep(Reason::SealedEarlier);
    let to_others = |row: &Row| {
        let is_to_others = row.sealed.is_some_and(|sealed| sealed.is_to_others);
        is_to_others && row.decision == Decision::Mirrored
    };
    let told = |is_it: &dyn Fn(&Row) -> bool, finding: fn(&str) -> Finding| {
        let count = plan.rows.iter().filter(|row| is_it(row)).count();
        let verb = if count == 1 { "is" } else { "are" };
        let files = text::count(count, "file");
        (count > 0).then(|| finding(&format!("{files} in Dropbox {verb}")))
    };
    let told = [
        told(&unsealed, table::unsealed_beside),
        told(&left, table::sealed_left),
        told(&to_others, table::sealed_to_others),
    ];
    told.into_iter().flatten().collect()
}

/// What is special about backups that are files and may change.
fn remarks_on_files(plan: &Plan, listing: &Listing, remarks: &mut Vec<Finding>) {
    let (harmless, missed): (Vec<&Doubt>, Vec<&Doubt>) =
        listing.doubts.iter().partition(|doubt| doubt.is_harmless);
    for (doubts, finding) in [
        (missed, table::passed_over as fn(&str) -> Finding),
        (harmless, table::left_out),
    ] {
        if !doubts.is_empty() {
            let mut texts: Vec<&str> = doubts.iter().map(|doubt| doubt.text.as_str()).collect();
            // One thing may have been meant to be several.
            texts.dedup();
            remarks.push(finding(&text::first(texts.into_iter(), REMARKS_MAX, "; ")));
        }
    }
    if !listing.renamed.is_empty() {
        let renamed = listing.renamed.iter().map(String::as_str);
        remarks.push(table::renamed(&text::first(renamed, REMARKS_MAX, "; ")));
    }
    for row in plan.uploads() {
        let (Some(file), Some(backup)) = (&row.file, &row.backup) else {
            continue;
        };
        let size = |bytes| text::bytes(bytes);
        if let Some((before, after)) = row.sudden_shrink() {
            let finding = table::sudden_shrink(&row.name, &size(before), &size(after));
            remarks.push(finding.about(&row.name));
        } else if !row.is_own() {
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

/// Names the files of a backup folder that cannot be copied yet, by their reasons.
fn remarks_on_waiting(plan: &Plan, remarks: &mut Vec<Finding>) {
    let (mut young, mut early, mut marks) = (vec![], vec![], vec![]);
    let (mut empty, mut emptied) = (vec![], vec![]);
    for row in &plan.rows {
        let backup = row.backup.as_ref().filter(|backup| !backup.finished);
        let Some((backup, version)) = backup.and_then(|backup| Some((backup, backup.version?)))
        else {
            continue;
        };
        let names = match version.bytes {
            0 if row.file.is_some() => &mut emptied,
            0 if backup.is_wanted() => &mut empty,
            0 => &mut marks,
            _ if backup.is_from_the_future => &mut early,
            _ => &mut young,
        };
        names.push(backup.id.as_str());
    }
    for (mut names, finding) in [
        (emptied, table::emptied as fn(&str) -> Finding),
        (empty, table::empty),
        (early, |files| {
            table::not_copied(
                "their times lie in the future, so that a later run has to find them the same",
                files,
            )
        }),
        (young, |files| {
            table::not_copied(
                "changed within the last minute and may still be growing",
                files,
            )
        }),
        (marks, |files| table::not_copied("empty", files)),
    ] {
        names.sort_unstable();
        if !names.is_empty() {
            remarks.push(finding(&quoted(&names)));
        }
    }
}

fn names_of<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    rows.map(|row| row.name.as_str()).collect()
}

fn quoted(names: &[&str]) -> String {
    text::list(names.iter().copied(), NAMES_IN_A_LINE)
}
