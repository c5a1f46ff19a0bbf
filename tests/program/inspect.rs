//! Backups that are broken in themselves: they are mirrored, named, and push out no complete one.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::dropbox::content_hash;
use sandbox::dropbox::faults;
use sandbox::http::{Action, Exchange, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use crate::folder::world::FolderWorld;
use crate::sealed::{Owner, seal_to};
use crate::support::{Ended, PATIENCE, World};

/// A packed dump of a database with so many rows.
fn dump(seed: u64, rows: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let begin = "--\n-- PostgreSQL database dump\n--\n\nCOPY public.a (id) FROM stdin;\n";
    let end = "\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    encoder.write_all(begin.as_bytes()).unwrap();
    for _ in 0..rows {
        writeln!(encoder, "{:016x}", random.u64(..)).unwrap();
    }
    encoder.write_all(end.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The same, broken off.
fn broken(seed: u64, rows: usize) -> Vec<u8> {
    let dump = dump(seed, rows);
    dump[..dump.len() / 2].to_vec()
}

/// What `list --json` says of a file.
fn listed(world: &World, name: &str) -> Value {
    let output = world.command().args(["list", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = list["backups"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["name"].as_str().unwrap().contains(name));
    rows.next().unwrap().clone()
}

fn status(world: &World) -> Value {
    let output = world.command().args(["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["inspected"].clone()
}

/// The warnings of a run about archives that are not complete.
fn suspects(ended: &Ended) -> Vec<&str> {
    let lines = ended.log.lines();
    let is_one = |line: &&str| line.starts_with("WARNING") && line.contains("no complete archive");
    lines.filter(is_one).collect()
}

#[test]
fn a_truncated_backup_is_mirrored_and_named_once() {
    let world = World::authorized();
    world.uisp.add(Backup::numbered(1, 20_000));
    world
        .uisp
        .add(Backup::numbered(2, 0).with_content(dump(2, 1000)));
    world
        .uisp
        .add(Backup::numbered(3, 0).with_content(broken(3, 1000)));
    let ended = world.run_well();
    world.assert_mirrored();
    assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
    ended.assert_line(&["WARNING", "0000000003.unms", "its gzip data end too early"]);
    for (number, found, flaw) in [
        ("01.unms", "not_checked", json!(null)),
        ("02.unms", "complete", json!(null)),
        ("03.unms", "suspect", json!("its gzip data end too early")),
    ] {
        let row = listed(&world, number);
        assert_eq!((&row["inspected"], &row["flaw"]), (&json!(found), &flaw));
    }
    let counts = json!({"complete": 1, "suspect": 1, "not_checked": 1});
    assert_eq!(status(&world), counts);
    let output = world.command().arg("list").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(
        list.contains(".unms  (suspect: its gzip data end too early)\n"),
        "{list}"
    );
    let ended = world.run_well();
    assert!(suspects(&ended).is_empty(), "{}", ended.log);
    assert_eq!(status(&world), counts);
}

#[test]
fn what_is_sealed_was_looked_at_before() {
    let world = World::authorized();
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    world
        .uisp
        .add(Backup::numbered(1, 0).with_content(dump(1, 1000)));
    world
        .uisp
        .add(Backup::numbered(2, 0).with_content(broken(2, 1000)));
    let ended = world.run_well();
    assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
    assert_eq!(listed(&world, "01.unms.age")["inspected"], "complete");
    assert_eq!(listed(&world, "02.unms.age")["inspected"], "suspect");
}

#[test]
fn who_does_not_want_it_switches_it_off() {
    for off in [json!("no"), json!(false)] {
        let world = World::authorized();
        world
            .uisp
            .add(Backup::numbered(1, 0).with_content(broken(1, 1000)));
        world.run_well();
        world.configure(json!({"inspect": off}));
        world
            .uisp
            .add(Backup::numbered(2, 0).with_content(broken(2, 1000)));
        let ended = world.run_well();
        assert!(suspects(&ended).is_empty(), "{}", ended.log);
        for number in ["01.unms", "02.unms"] {
            assert_eq!(listed(&world, number)["inspected"], "not_checked");
        }
    }
    let world = World::authorized();
    world.configure(json!({"inspect": "perhaps"}));
    world
        .run_badly()
        .assert_line(&["ERROR", "\"inspect\"", "true or false"]);
}

#[test]
fn a_download_that_broke_off_and_goes_on_has_a_verdict() {
    let world = World::authorized().moving_much();
    // Three blocks, of which the last is broken off.
    let content = broken(1, 1_800_000);
    assert!(
        (9 << 20..30 << 20).contains(&content.len()),
        "{}",
        content.len()
    );
    let backup = Backup::numbered(1, 0).with_content(content);
    let route = format!("nms/backups/{}", backup.id);
    world.uisp.add(backup);
    let cut = Action::TruncateResponse(5 << 20);
    world.uisp.inject(On::next(&route), cut);
    let ended = world.run_well();
    world.assert_mirrored();
    assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
}

#[test]
fn what_an_earlier_run_has_sent_is_not_checked() {
    let world = World::authorized();
    world
        .uisp
        .add(Backup::numbered(1, 0).with_content(broken(1, 1000)));
    let (run, _gate) = world.start_held("files/upload_session/finish_batch_v2");
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    let ended = world.run_well();
    ended.assert_line(&["was sent before"]);
    assert_eq!(listed(&world, "01.unms")["inspected"], "not_checked");
}

const NIGHTS: u64 = 42;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Nights on which the dump breaks off.
const BROKEN: [u64; 2] = [10, 24];

/// Writes the dump of a night; files of earlier nights are older.
fn write(world: &FolderWorld, name: &str, content: &[u8], night: u64) {
    let nights = u32::try_from(NIGHTS - night).unwrap();
    let made = SystemTime::now() - nights * Duration::from_secs(24 * 60 * 60);
    world.write_at(name, content, made);
}

fn holds(world: &FolderWorld, content: &[u8]) -> bool {
    let hash = content_hash(content);
    world.stored().iter().any(|(_, stored)| *stored == hash)
}

#[test]
fn six_weeks_with_two_broken_dumps_lose_no_complete_one() {
    for is_sealed in [false, true] {
        let world = FolderWorld::new();
        let owner = Owner::new();
        if is_sealed {
            seal_to(&world, &[&owner]);
        }
        let mut whole: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for night in 0..NIGHTS {
            let weekday = WEEKDAYS[(night % 7) as usize];
            let name = format!("dsmrreader-postgresql-backup-{weekday}.sql.gz");
            let is_broken = BROKEN.contains(&night);
            let content = match is_broken {
                true => broken(night, 300),
                false => dump(night, 300),
            };
            write(&world, &name, &content, night);
            if !is_broken {
                whole.insert(weekday, content);
            }
            let ended = world.run_well();
            if is_sealed && night == 0 {
                owner.prove(&world, &ended);
            }
            assert_eq!(
                suspects(&ended).len(),
                usize::from(is_broken),
                "{}",
                ended.log
            );
            assert!(!is_broken || ended.log.contains(&name), "{}", ended.log);
            let files: Vec<Vec<u8>> = world
                .dropbox
                .paths()
                .iter()
                .map(|path| {
                    let file = world.dropbox.read(path).unwrap();
                    if is_sealed { owner.open(&file) } else { file }
                })
                .collect();
            for (weekday, content) in &whole {
                assert!(
                    files.contains(content),
                    "night {night}: {weekday}\n{}",
                    ended.log
                );
            }
            // The old one stays beside the broken one for a week, and goes with the run after a whole one came.
            let asides = world
                .dropbox
                .paths()
                .iter()
                .filter(|path| path.contains("(replaced"))
                .count();
            let is_kept = BROKEN
                .iter()
                .any(|broken| (*broken..broken + 8).contains(&night));
            assert_eq!(asides, usize::from(is_kept), "night {night}\n{}", ended.log);
        }
        assert_eq!(world.dropbox.paths().len(), 7);
        assert!(world.run_well().log.contains("7 unchanged"));
    }
}

#[test]
fn the_last_complete_dump_stays_until_there_is_another() {
    let world = FolderWorld::new();
    let name = |night: u64| format!("dump-2026-11-{:02}.sql.gz", night + 1);
    let last = dump(3, 300);
    for night in 0..14 {
        let content = match night {
            3 => last.clone(),
            4..10 => broken(night, 300),
            night => dump(night, 300),
        };
        write(&world, &name(night), &content, night);
        // The source keeps four.
        if let Some(old) = night.checked_sub(4) {
            world.remove(name(old));
        }
        world.run_well();
        let is_kept = world.stored().iter().any(|(stored, _)| *stored == name(3));
        // The whole one of the eleventh night is known when the next run begins.
        assert_eq!(is_kept, (3..11).contains(&night), "night {night}");
        if (7..10).contains(&night) {
            let row = listed(&world, &name(3));
            assert_eq!(
                (&row["status"], &row["reason"]),
                (&json!("kept"), &json!("last_complete"))
            );
        }
    }
    assert_eq!(world.stored().len(), 4);
}

#[test]
fn what_cannot_be_set_aside_is_not_replaced_by_a_suspect_one() {
    let world = FolderWorld::new();
    let whole = dump(1, 300);
    write(&world, "dump.sql.gz", &whole, 1);
    world.run_well();
    write(&world, "dump.sql.gz", &broken(2, 300), 2);
    world.dropbox.inject(
        On::every("files/copy_v2"),
        faults::unauthorized("expired_access_token"),
    );
    let ended = world.run();
    ended.assert_line(&["ERROR", "dump.sql.gz\" was not replaced in Dropbox"]);
    assert_eq!(ended.code, Some(1));
    assert!(holds(&world, &whole) && world.stored().len() == 1);
    world.dropbox.traffic().clear_faults();
    // What was sent is looked at once more before the next run puts it in its place.
    let ended = world.run_well();
    ended.assert_line(&["was sent before"]);
    assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
    assert!(holds(&world, &whole) && world.stored().len() == 2);
}

#[test]
fn a_suspect_one_that_a_killed_run_has_sent_replaces_no_complete_one_either() {
    for is_sealed in [false, true] {
        let world = FolderWorld::new();
        let owner = Owner::new();
        if is_sealed {
            seal_to(&world, &[&owner]);
        }
        write(&world, "dump.sql.gz", &dump(1, 300), 1);
        world.run_well();
        let whole = world.stored().remove(0).1;
        write(&world, "dump.sql.gz", &broken(2, 300), 2);
        let (run, _gate) = world.start_held("files/copy_v2");
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        let ended = world.run_well();
        ended.assert_line(&["was sent before"]);
        assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
        assert!(world.stored().iter().any(|(_, stored)| *stored == whole));
    }
}

#[test]
fn a_large_one_that_is_carried_on_replaces_no_complete_one_unseen() {
    let world = FolderWorld::new();
    let whole = dump(1, 300);
    write(&world, "dump.sql.gz", &whole, 1);
    world.run_well();
    write(&world, "dump.sql.gz", &broken(2, 2_600_000), 2);
    // The third block is never taken.
    let (run, gate) = world.start_held("files/upload_session/append_v2");
    assert!(gate.wait_reached(PATIENCE));
    let traffic = world.dropbox.traffic();
    let is_taken = |e: &Exchange| e.route.ends_with("append_v2") && e.status == Some(200);
    gate.open();
    assert!(traffic.wait_for(PATIENCE, |log| log.iter().any(is_taken)));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    let ended = world.run_well();
    assert_eq!(suspects(&ended).len(), 1, "{}", ended.log);
    assert!(holds(&world, &whole) && world.stored().len() == 2);
}
