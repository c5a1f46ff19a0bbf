//! Backups that are broken in themselves: they are mirrored, named, and push out no complete one.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::http::{Action, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use crate::sealed::{Owner, seal_to};
use crate::support::{Ended, World};

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
