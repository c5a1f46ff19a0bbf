//! `keepOlder` in the planner: by example, over generated worlds, and over 200 days of a server beside a reference that is
//! written from the definition alone.

use std::collections::{BTreeMap, BTreeSet};

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::dropbox::content_hash::ContentHash;
use backup_sync_dropbox::inspect::{Flaw, Verdict};
use backup_sync_dropbox::mirror::names::Naming;
use backup_sync_dropbox::mirror::plan::Plan;
use backup_sync_dropbox::row::{Decision, Reason, Row};
use backup_sync_dropbox::source::Backup;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use crate::planner::{Case, backup, case, config, day, decision, id, id_of, version};

fn keep(case: &mut Case, text: &str) {
    case.keep_older = Some(text.parse().unwrap());
}

/// What goes, and what would go if nothing were on hold.
fn due(plan: &Plan) -> BTreeSet<&BackupId> {
    let is_due = |decision| {
        matches!(
            decision,
            Decision::Delete { .. } | Decision::Keep(Reason::OnHold)
        )
    };
    plan.decided(is_due).map(id_of).collect()
}

/// Backups of the nights of these days, of which the source has those of `listed`.
fn nights(days: std::ops::Range<i64>, listed: std::ops::Range<i64>) -> Case {
    let mut case = Case::new(&[], &[]);
    for number in days {
        let made = Backup {
            created_at: day(number),
            ..backup(&format!("b{number}"), true)
        };
        case.listing.backups.push(made);
    }
    let mut case = case.after(&case.plan());
    assert!(case.listing.backups.len() >= 3);
    let kept = |made: &Backup| listed.clone().any(|number| made.created_at == day(number));
    case.listing.backups.retain(kept);
    case.now = day(listed.end);
    case
}

fn older_text(plan: &Plan, text: &str) -> String {
    let kept = decision(plan, text).older();
    kept.map(|kept| kept.to_string()).unwrap_or_default()
}

#[test]
fn the_oldest_of_the_newest_periods_stay_and_say_why() {
    // Day 0 is 21 September 2026, a Monday.
    assert_eq!(day(0).to_rfc3339(), "2026-09-21T14:13:20+00:00");
    let mut case = nights(0..30, 25..30);
    let without = case.plan();
    assert_eq!(due(&without).len(), 25);
    keep(&mut case, "7 daily, 2 weekly, 9 monthly");
    let plan = case.plan();
    let kept: Vec<String> = plan
        .rows
        .iter()
        .filter_map(|row| Some(format!("{} {}", id_of(row), row.decision.older()?)))
        .collect();
    // What the source still has takes part: its five days are five of the seven.
    assert_eq!(
        kept,
        [
            "b24 first of 15 October 2026, day 6 of 7",
            "b23 first of 14 October 2026, day 7 of 7",
            "b21 first of week 42 of 2026, week 2 of 2",
            "b10 first of October 2026, month 1 of 9",
            "b0 first of September 2026, month 2 of 9",
        ]
    );
    let reasons: Vec<String> = plan
        .rows
        .iter()
        .filter_map(|row| row.decision.reason("Europe/Vienna".parse().unwrap()))
        .collect();
    assert!(
        reasons
            .iter()
            .any(|reason| reason == "first of October 2026, month 1 of 9")
    );
    // Rule 8 weighs what remains: twenty go, ten stay.
    assert_eq!(plan.on_hold.len(), 20);
    assert_eq!(due(&plan).len(), 20);
}

#[test]
fn only_own_copies_that_were_seen_take_part() {
    let spoil: [fn(&mut Case); 3] = [
        |case| {
            let file = case
                .entries
                .iter_mut()
                .find(|file| file.name.contains("_b0."));
            file.unwrap().metadata.content_hash = Some(ContentHash::of(b"changed"));
        },
        |case| assert!(case.seen.remove(&id("b0")).is_some()),
        |case| drop(case.mirrored.remove(&id("b0"))),
    ];
    for spoil in spoil {
        let mut case = nights(0..4, 3..4);
        keep(&mut case, "1 yearly");
        assert_eq!(older_text(&case.plan(), "b0"), "first of 2026, year 1 of 1");
        spoil(&mut case);
        let plan = case.plan();
        assert!(matches!(
            decision(&plan, "b0"),
            Decision::Keep(Reason::Strange | Reason::NeverSeen)
        ));
        // The place is taken by the oldest of those that count.
        assert_eq!(older_text(&plan, "b1"), "first of 2026, year 1 of 1");
    }
}

#[test]
fn what_is_listed_and_not_in_dropbox_occupies_no_period() {
    let mut case = nights(0..4, 3..4);
    keep(&mut case, "1 daily");
    case.now = day(4);
    let new = Backup {
        created_at: day(4),
        ..backup("b4", true)
    };
    case.listing.backups.push(new.clone());
    // About to be there.
    let plan = case.plan();
    assert_eq!(due(&plan).len(), 3);
    // Refused, or not finished: the newest day that has a backup is that of another one.
    case.listing.backups = vec![Backup {
        finished: false,
        ..new.clone()
    }];
    case.listing.backups.push(Backup {
        created_at: day(0),
        ..backup("b0", true)
    });
    assert_eq!(
        older_text(&case.plan(), "b3"),
        "first of 24 September 2026, day 1 of 1"
    );
    case.listing.backups[0] = new;
    case.refused.insert(id("b4"), day(4));
    assert_eq!(
        older_text(&case.plan(), "b3"),
        "first of 24 September 2026, day 1 of 1"
    );
}

#[test]
fn what_is_made_in_the_future_is_kept_and_occupies_no_period() {
    let mut case = nights(0..4, 0..1);
    case.now = day(2);
    keep(&mut case, "1 daily");
    let plan = case.plan();
    assert_eq!(decision(&plan, "b3"), Decision::Keep(Reason::MadeInFuture));
    assert_eq!(
        older_text(&plan, "b2"),
        "first of 23 September 2026, day 1 of 1"
    );
    case.keep_older = None;
    assert_eq!(due(&case.plan()).len(), 3);
}

#[test]
fn a_suspect_backup_takes_no_whole_ones_place() {
    let mut case = nights(0..8, 7..8);
    keep(&mut case, "1 weekly, 1 monthly");
    let kept = |case: &Case| -> Vec<String> {
        let plan = case.plan();
        let rows = plan
            .rows
            .iter()
            .filter(|row| row.decision.older().is_some());
        rows.map(|row| id_of(row).to_string()).collect()
    };
    assert_eq!(kept(&case), ["b0"]);
    let known = case.mirrored.get_mut(&id("b0")).unwrap();
    known.inspected = Verdict::Suspect(Flaw::CutGzip);
    assert_eq!(kept(&case), ["b1", "b0"]);
    // Where nothing is looked at, nothing is suspect.
    case.inspects = false;
    assert_eq!(kept(&case), ["b0"]);
}

#[test]
fn a_time_is_what_is_remembered_or_what_the_file_says() {
    let mut case = nights(0..3, 2..3);
    keep(&mut case, "1 monthly");
    for row in &mut case.entries {
        row.metadata.client_modified = Some(day(-60));
    }
    // The memory goes before the file.
    assert_eq!(
        older_text(&case.plan(), "b0"),
        "first of September 2026, month 1 of 1"
    );
    for seen in case.seen.values_mut() {
        assert!(seen.created_at.take().is_some());
    }
    keep(&mut case, "2 monthly");
    assert_eq!(
        older_text(&case.plan(), "b0"),
        "first of July 2026, month 2 of 2"
    );
    // Nothing but the name.
    for row in &mut case.entries {
        row.metadata.client_modified = None;
    }
    assert_eq!(
        older_text(&case.plan(), "b0"),
        "first of September 2026, month 1 of 2"
    );
}

#[test]
fn retention_comes_first_and_each_series_of_a_folder_has_its_own_periods() {
    let names = ["db-Monday.sql", "db-Tuesday.sql", "files.tar", "now"];
    let mut case = Case::of_folder(&names, &["now"]);
    for (number, name) in (3..).zip(names) {
        case.mirrored.get_mut(&id(name)).unwrap().version = version(1, number);
    }
    case.listing.backups[0].version = version(1, 6);
    keep(&mut case, "1 weekly");
    let plan = case.plan();
    let kept: Vec<&str> = plan
        .rows
        .iter()
        .filter(|row| row.decision.older().is_some())
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(kept, ["files.tar", "db-Monday.sql"]);
    case.keep_deleted_days = 3;
    case.now = day(1);
    assert!(matches!(
        decision(&case.plan(), "files.tar"),
        Decision::Keep(Reason::RetainedUntil(_))
    ));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tiers_only_add_reasons_to_keep(case in case(), periods in prop::array::uniform4(0..4u16), ages in prop::collection::vec(-3..800i64, 32)) {
        let mut case = case;
        for (seen, age) in case.seen.values_mut().zip(&ages) {
            seen.created_at = Some(day(-age));
        }
        let without = case.plan();
        let [daily, weekly, monthly, yearly] = periods;
        keep(&mut case, &format!("{daily} daily, {weekly} weekly, {monthly} monthly, {yearly} yearly"));
        let with = case.plan();
        prop_assert!(due(&with).is_subset(&due(&without)));
        let key = |row: &Row| (row.name.clone(), row.id.clone());
        let before: BTreeMap<_, Decision> = without.rows.iter().map(|row| (key(row), row.decision)).collect();
        for row in &with.rows {
            let before = before[&key(row)];
            let is_due = matches!(before, Decision::Delete { .. } | Decision::Keep(Reason::OnHold | Reason::Awaited));
            prop_assert!(row.decision == before || is_due, "{:?} was {before:?}", row);
        }
        if periods == [0; 4] {
            let older = with.rows.iter().filter(|row| row.decision.older().is_some());
            prop_assert_eq!(older.count(), 0);
        }
    }
}

const POLICIES: [&str; 20] = [
    "1 daily",
    "7 daily",
    "30 daily",
    "1 weekly",
    "4 weekly",
    "52 weekly",
    "1 monthly",
    "3 monthly",
    "12 monthly",
    "1 yearly",
    "3 yearly",
    "7 daily, 4 weekly",
    "7 daily, 4 weekly, 12 monthly, 3 yearly",
    "2 daily, 2 weekly, 2 monthly, 2 yearly",
    "1 daily, 1 weekly, 1 monthly, 1 yearly",
    "14 daily, 3 monthly",
    "8 weekly, 1 yearly",
    "1000 daily",
    "10 daily, 0 weekly, 2 monthly",
    "5 weekly, 5 monthly",
];

/// What a policy keeps of all backups that were ever made, by its definition: of each of the newest periods that have
/// one, the oldest.
fn reference(policy: &str, made: &BTreeMap<DateTime<Utc>, String>) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    for part in policy.split(", ") {
        let (count, tier) = part.split_once(' ').unwrap();
        let format = match tier {
            "daily" => "%Y %j",
            "weekly" => "%G %V",
            "monthly" => "%Y %m",
            _ => "%Y",
        };
        let mut periods: Vec<(String, &String)> = Vec::new();
        for (time, backup) in made {
            let period = time.format(format).to_string();
            if periods.last().is_none_or(|(last, _)| *last != period) {
                periods.push((period, backup));
            }
        }
        let newest = periods.iter().rev().take(count.parse().unwrap());
        kept.extend(newest.map(|(_, backup)| (*backup).clone()));
    }
    kept
}

#[test]
fn over_200_days_of_a_server_every_policy_keeps_what_it_says() {
    for (number, policy) in POLICIES.iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let mut case = Case::new(&[], &[]);
        keep(&mut case, policy);
        case.naming = Naming::Dated("America/Caracas".parse().unwrap());
        let mut made = BTreeMap::new();
        // From November on, so that a year ends.
        for night in 40..240 {
            // One each night, sometimes none or two.
            for _ in 0..random.choice([0, 1, 1, 1, 1, 2]).unwrap() {
                let time = day(night) + TimeDelta::minutes(random.i64(0..1440));
                let name = format!("b{}", made.len());
                let new = Backup {
                    created_at: time,
                    ..backup(&name, true)
                };
                if made.insert(time, name).is_none() {
                    case.listing.backups.push(new);
                }
            }
            // UISP keeps a handful.
            case.listing.backups.sort_by_key(|backup| backup.created_at);
            let surplus = case.listing.backups.len().saturating_sub(6);
            case.listing.backups.drain(..surplus);
            if case.listing.backups.is_empty() {
                continue;
            }
            case.now = day(night + 1);
            case = case.after(&case.plan());
            let listed = case
                .listing
                .backups
                .iter()
                .map(|backup| backup.id.to_string());
            let expected: BTreeSet<String> =
                reference(policy, &made).into_iter().chain(listed).collect();
            let naming = case.naming;
            let there = case
                .entries
                .iter()
                .filter_map(|file| naming.recognise(&file.name));
            let there: BTreeSet<String> = there.map(|id| id.to_string()).collect();
            assert_eq!(there, expected, "{policy}, night {night}");
        }
    }
}
