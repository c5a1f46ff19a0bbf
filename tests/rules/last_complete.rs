//! As long as what came after it is suspect, the newest complete archive stays: by example, and over generated histories.

use std::collections::BTreeSet;

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::inspect::{Flaw, Verdict};
use backup_sync_dropbox::mirror::plan::Plan;
use backup_sync_dropbox::row::{Decision, Reason};
use proptest::prelude::*;

use crate::planner::{Case, config, day, decision, id, id_of, version};

const COMPLETE: Verdict = Verdict::Complete;
const SUSPECT: Verdict = Verdict::Suspect(Flaw::CutGzip);
const UNKNOWN: Verdict = Verdict::NotChecked;

/// Backups of as many nights with what was found in them; the source has those that are listed.
fn nights(verdicts: &[Verdict], listed: impl Fn(usize) -> bool) -> Case {
    let names: Vec<String> = (0..verdicts.len())
        .map(|night| format!("b{night}"))
        .collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept: Vec<&str> = (0..all.len())
        .filter(|&at| listed(at))
        .map(|at| all[at])
        .collect();
    let mut case = Case::new(&all, &kept);
    for (night, name) in all.iter().enumerate() {
        let made = day(night as i64 - 100);
        case.seen.get_mut(&id(name)).unwrap().created_at = Some(made);
        case.mirrored.get_mut(&id(name)).unwrap().inspected = verdicts[night];
        for backup in case
            .listing
            .backups
            .iter_mut()
            .filter(|backup| backup.id == id(name))
        {
            backup.created_at = made;
        }
    }
    case
}

/// What goes, and what would go if nothing were on hold.
fn due(plan: &Plan) -> BTreeSet<BackupId> {
    let is_due = |decision| {
        matches!(
            decision,
            Decision::Delete { .. } | Decision::Keep(Reason::OnHold)
        )
    };
    plan.decided(is_due).map(id_of).cloned().collect()
}

#[test]
fn the_newest_complete_one_stays_while_what_came_after_it_is_suspect() {
    for (verdicts, stays) in [
        ([COMPLETE, SUSPECT, SUSPECT, SUSPECT], true),
        ([COMPLETE, UNKNOWN, UNKNOWN, SUSPECT], true),
        ([COMPLETE, SUSPECT, UNKNOWN, UNKNOWN], true),
        ([COMPLETE, COMPLETE, SUSPECT, SUSPECT], false),
        ([COMPLETE, SUSPECT, SUSPECT, COMPLETE], false),
        ([COMPLETE, UNKNOWN, UNKNOWN, UNKNOWN], false),
        ([SUSPECT, SUSPECT, SUSPECT, SUSPECT], false),
        ([UNKNOWN, UNKNOWN, UNKNOWN, SUSPECT], false),
    ] {
        let mut case = nights(&verdicts, |night| night > 0);
        let found = decision(&case.plan(), "b0");
        let kept = found == Decision::Keep(Reason::LastComplete);
        assert_eq!(kept, stays, "{verdicts:?}: {found:?}");
        assert!(kept || matches!(found, Decision::Delete { .. }));
        // Who does not want it has the rules without it.
        case.inspects = false;
        assert!(matches!(
            decision(&case.plan(), "b0"),
            Decision::Delete { .. }
        ));
    }
}

#[test]
fn what_a_run_itself_finds_counts_before_it_deletes() {
    for (found, stays) in [(SUSPECT, true), (UNKNOWN, false), (COMPLETE, false)] {
        let mut case = nights(&[COMPLETE, UNKNOWN, UNKNOWN, UNKNOWN], |night| night > 0);
        // The newest one is still to be sent.
        let sent = case.entries.pop().unwrap();
        case.mirrored.remove(&id("b3"));
        let mut plan = case.plan();
        assert!(matches!(decision(&plan, "b0"), Decision::Delete { .. }));
        let row = plan.rows.iter_mut().find(|row| row.id == Some(id("b3")));
        let row = row.unwrap();
        assert_eq!(row.decision, Decision::Upload);
        (row.file, row.inspected) = (Some(sent.metadata), found);
        plan.weigh_again();
        let kept = decision(&plan, "b0") == Decision::Keep(Reason::LastComplete);
        assert_eq!(kept, stays, "{found:?}");
    }
}

/// A folder of files with what was found in them; the last one is gone at the source.
fn folder(files: &[(&str, Verdict)]) -> Decision {
    let all: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let mut case = Case::of_folder(&all, &all[..all.len() - 1]);
    for (at, (name, verdict)) in files.iter().rev().enumerate() {
        let made = version(1, at as i64);
        let known = case.mirrored.get_mut(&id(name)).unwrap();
        (known.inspected, known.version) = (*verdict, made);
        for backup in case
            .listing
            .backups
            .iter_mut()
            .filter(|backup| backup.id == id(name))
        {
            (backup.version, backup.created_at) = (made, made.unwrap().modified_at);
        }
    }
    decision(&case.plan(), all[all.len() - 1])
}

#[test]
fn in_a_folder_each_series_is_for_itself() {
    let last_complete = Decision::Keep(Reason::LastComplete);
    let others = [("x", UNKNOWN), ("y", UNKNOWN), ("z", UNKNOWN)];
    let with = |files: &[(&'static str, Verdict)]| folder(&[&others, files].concat());
    let rotated = with(&[
        ("d-2026-11-02.sql", SUSPECT),
        ("d-2026-11-01.sql", COMPLETE),
    ]);
    assert_eq!(rotated, last_complete);
    let of_another = with(&[
        ("e-2026-11-02.sql", SUSPECT),
        ("d-2026-11-01.sql", COMPLETE),
    ]);
    assert!(matches!(of_another, Decision::Delete { .. }));
    // What has taken the place of a copy that was set aside counts whatever else is complete.
    let aside = "d-Mon (replaced 2026-11-26 041203 by box).sql";
    let replaced = with(&[
        ("d-Tue.sql", COMPLETE),
        ("d-Mon.sql", SUSPECT),
        (aside, COMPLETE),
    ]);
    assert_eq!(replaced, last_complete);
    let mended = with(&[
        ("d-Tue.sql", SUSPECT),
        ("d-Mon.sql", COMPLETE),
        (aside, COMPLETE),
    ]);
    assert!(matches!(mended, Decision::Delete { .. }));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_else_stays_and_that_one_always(
        nights_found in prop::collection::vec(
            (prop::sample::select(vec![COMPLETE, SUSPECT, UNKNOWN]), any::<bool>()),
            1..12,
        ),
    ) {
        let verdicts: Vec<Verdict> = nights_found.iter().map(|(verdict, _)| *verdict).collect();
        let mut case = nights(&verdicts, |night| nights_found[night].1);
        let with = due(&case.plan());
        case.inspects = false;
        let without = due(&case.plan());
        let stays: BTreeSet<BackupId> = without.difference(&with).cloned().collect();
        prop_assert!(with.is_subset(&without));
        // By the definition alone.
        let newest = verdicts.iter().rposition(|verdict| *verdict == COMPLETE);
        let last = newest.filter(|&newest| verdicts[newest..].contains(&SUSPECT));
        let last = last.map(|last| id(&format!("b{last}")));
        let expected: BTreeSet<BackupId> = last.into_iter().filter(|id| without.contains(id)).collect();
        prop_assert_eq!(stays, expected);
    }
}
