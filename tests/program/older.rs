//! `keepOlder`: which of the backups that the source no longer has stay in Dropbox, and that everything says why.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Datelike as _, Utc, Weekday};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use crate::folder::world::FolderWorld;
use crate::support::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A document of a command.
fn document(world: &World, command: &[&str]) -> Value {
    let output = world.command().args(command).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// UISP with a backup of four in the morning on each of these days.
fn server_with(days: &[&str]) -> World {
    let world = World::authorized();
    for (number, day) in days.iter().enumerate() {
        let made = format!("{day}T04:00:00.000Z");
        world
            .uisp
            .add(Backup::finished(&format!("b{number}"), &made, 1000));
    }
    world.run_well();
    world
}

#[test]
fn what_is_kept_and_what_would_go_is_told_before_and_after() {
    let days = [
        "2020-01-10",
        "2020-01-11",
        "2020-02-20",
        "2020-02-21",
        "2020-03-01",
        "2020-03-02",
        "2020-03-03",
        "2020-03-04",
        "2020-03-05",
        "2020-03-06",
    ];
    let world = server_with(&days);
    for number in 0..4 {
        world.uisp.remove(&format!("b{number}"));
    }
    // The dry run shows what a value would do, before it is one.
    let actions = |document: &Value| -> Vec<String> {
        let actions = document["actions"].as_array().unwrap().iter();
        let action = |action: &Value| {
            format!("{} {} {}", action["action"], action["id"], action["period"]).replace('"', "")
        };
        actions.map(action).collect()
    };
    let plan = document(&world, &["run", "--dry-run", "--json"]);
    assert_eq!(
        actions(&plan),
        [
            "delete b3 null",
            "delete b2 null",
            "delete b1 null",
            "delete b0 null"
        ]
    );
    world.configure(json!({"keepOlder": "3 monthly, 2 daily"}));
    let plan = document(&world, &["run", "--dry-run", "--json"]);
    assert_eq!(
        actions(&plan),
        [
            "delete b3 null",
            "keep b2 2020-02",
            "delete b1 null",
            "keep b0 2020-01"
        ]
    );
    let shown = world.command().args(["run", "--dry-run"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("_b0.unms  (first of January 2020, month 3 of 3)"),
        "{shown}"
    );

    let ended = world.run_well();
    ended.assert_line(&[
        "Kept \"unms-backup-20200110-",
        "_b0.unms\", which UISP no longer has: first of January 2020, month 3 of 3",
    ]);
    ended.assert_line(&[
        "_b2.unms\", which UISP no longer has: first of February 2020, month 2 of 3",
    ]);
    ended.assert_line(&["2 deleted"]);
    let listed = document(&world, &["list", "--json"]);
    let row = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == "b0");
    let row = row.unwrap();
    for (key, value) in [
        ("status", json!("kept")),
        ("reason", json!("older")),
        ("tier", json!("monthly")),
        ("period", json!("2020-01")),
        ("rank", json!(3)),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    // News once; a new month moves the oldest out.
    let ended = world.run_well();
    assert!(!ended.log.contains("no longer has"), "{}", ended.log);
    world
        .uisp
        .add(Backup::finished("new", "2020-04-02T04:00:00.000Z", 1000));
    world.run_well().assert_line(&["1 uploaded", "1 deleted"]);
    let ids = |world: &World| -> BTreeSet<String> {
        let listed = document(world, &["list", "--json"]);
        let rows = listed["backups"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(!ids(&world).contains("b0") && ids(&world).contains("b2"));
    // Without the value nothing is different from ever.
    world.configure(json!({"keepOlder": null}));
    world.run_well().assert_line(&["1 deleted"]);
    assert!(!ids(&world).contains("b2"));
}

#[test]
fn a_value_that_cannot_be_read_deletes_nothing_and_is_explained() {
    let world = server_with(&["2020-01-10", "2020-02-10", "2020-03-10"]);
    world.uisp.remove("b0");
    for (value, word) in [
        ("7 day", "\"day\", which must be \"daily\""),
        ("12/month", "\"/month\", which must be \"monthly\""),
        ("7 daily, 1 daily", "\"daily\" twice"),
        (
            "test-quoted",
            "a part without a whole number from 0 to 1000 in front",
        ),
    ] {
        world.configure(json!({"keepOlder": value}));
        let ended = world.run_badly();
        ended.assert_line(&[
            "ERROR: ",
            "\"keepOlder\"",
            word,
            "7 daily, 4 weekly, 12 monthly, 3 yearly",
        ]);
        assert!(!ended.log.contains("quoted"), "{}", ended.log);
        assert_eq!(world.dropbox.files().len(), 3);
    }
}

#[test]
fn a_rotation_of_weekdays_ends_with_eight_mondays() {
    let world = FolderWorld::new();
    world.configure(json!({"keepOlder": "8 weekly"}));
    // What is kept for ever beside it, made at the same times, is a series of its own.
    let mut archive = Vec::new();
    let now = SystemTime::now();
    let monday = (90..97).map(|days| now - DAY * days);
    let is_monday = |time: &SystemTime| DateTime::<Utc>::from(*time).weekday() == Weekday::Mon;
    let first = monday.into_iter().find(is_monday).unwrap();
    let mut mondays = Vec::new();
    let mut sent = 0;
    for night in 0..80u32 {
        let time = first + DAY * night;
        let date = DateTime::<Utc>::from(time).format("%A").to_string();
        let content = format!("the dump of night {night:03}, a {date}");
        sent += content.len();
        if is_monday(&time) {
            let partial = format!(
                "archive/2026/{:02}/dsmrreader-postgresql-partial-backup-Monday.sql.gz",
                night / 7
            );
            world.write_at(&partial, &content, time - Duration::from_secs(60));
            archive.push(partial);
            sent += content.len();
            mondays.push(content.clone());
        }
        world.write_at(
            format!("dsmrreader-postgresql-backup-{date}.sql.gz"),
            &content,
            time,
        );
        let ended = world.run_well();
        assert!(
            !ended.log.contains("on hold"),
            "night {night}: {}",
            ended.log
        );
    }
    // What was replaced last is decided about by the next run.
    world.run_well();
    let stored = world.stored();
    let texts: Vec<String> = stored
        .iter()
        .filter(|(name, _)| !name.starts_with("archive/"))
        .map(|(name, _)| {
            String::from_utf8(world.dropbox.read(&format!("/{name}")).unwrap()).unwrap()
        })
        .collect();
    let (eight, others): (Vec<&String>, Vec<&String>) =
        texts.iter().partition(|text| text.ends_with("Monday"));
    let eight: BTreeSet<&String> = eight.into_iter().collect();
    let expected: BTreeSet<&String> = mondays.iter().rev().take(8).collect();
    assert_eq!(eight, expected);
    // And of the other days what the source has.
    assert_eq!(others.len(), 6);
    assert_eq!(stored.len(), archive.len() + texts.len());
    // What is set aside is copied by Dropbox.
    let routes = ["start", "append_v2"].map(|route| format!("files/upload_session/{route}"));
    let bodies = routes
        .iter()
        .map(|route| world.dropbox.traffic().body_bytes(route))
        .sum::<u64>();
    assert!(bodies as usize <= sent, "{bodies} of {sent}");
}

#[test]
fn one_name_has_a_history_by_day_and_month() {
    let world = FolderWorld::new();
    world.configure(json!({"keepOlder": "3 daily, 2 monthly"}));
    world.write_at("other.tar", "beside it", SystemTime::now() - DAY * 400);
    let time = |text: &str| -> SystemTime { text.parse::<DateTime<Utc>>().unwrap().into() };
    let nights = [
        "2025-05-30",
        "2025-05-31",
        "2025-06-01",
        "2025-06-02",
        "2025-06-29",
        "2025-06-30",
    ];
    for night in nights {
        world.write_at(
            "dump.sql",
            format!("of {night}"),
            time(&format!("{night}T04:00:00Z")),
        );
        world.run_well();
    }
    world.run_well();
    let held = |world: &FolderWorld| -> BTreeSet<String> {
        let names = world.stored().into_iter().map(|(name, _)| name);
        let read = |name: String| {
            String::from_utf8(world.dropbox.read(&format!("/{name}")).unwrap()).unwrap()
        };
        names.map(read).collect()
    };
    let expected = [
        "beside it",
        "of 2025-05-30",
        "of 2025-06-01",
        "of 2025-06-02",
        "of 2025-06-29",
        "of 2025-06-30",
    ];
    assert_eq!(held(&world), expected.map(str::to_owned).into());
}
