//! The machine's clock jumps back a year and right again, between runs and within one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sandbox::dropbox::DropboxOptions;
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::kill::{healthy_run, patient, run_with_output};
use crate::support::{Ended, PATIENCE, World};

const MIB: u64 = 1024 * 1024;

/// Where Debian's libfaketime is, for programs with threads.
pub fn faketime() -> String {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let mut places = folders
        .iter()
        .map(|folder| format!("/usr/lib/{folder}/faketime/libfaketimeMT.so.1"));
    places
        .find(|place| Path::new(place).exists())
        .expect("these tests need libfaketime; ./build.sh test installs it")
}

/// A command line whose clock shows the time that the file names, as soon as it changes. Only the
/// test's program is linked dynamically, so only there this is possible.
fn with_clock(world: &World, file: &Path) -> Command {
    let mut command = patient(world);
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        // A clock that is set leaves the one that counts since the start alone.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

/// Does one run whose clock is off by so many days.
fn run_at(world: &World, days: &str) -> Ended {
    let file = world.root().join("clock");
    fs::write(&file, days).unwrap();
    let ended = run_with_output(world, &mut with_clock(world, &file));
    assert_eq!(ended.code, Some(0), "{days}: {}", ended.log);
    assert!(!ended.log.contains("ERROR"), "{days}: {}", ended.log);
    let is_told = ended.log.contains("WARNING: This machine's clock is");
    let direction = match days.as_bytes() {
        b"+0d" => "",
        [b'-', ..] => " behind Dropbox's",
        _ => " ahead of Dropbox's",
    };
    assert_eq!(is_told, days != "+0d", "{days}: {}", ended.log);
    assert!(ended.log.contains(direction), "{days}: {}", ended.log);
    ended
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn absences_are_measured_by_dropboxs_clock_whatever_this_machines_shows() {
    let world = World::authorized();
    world.configure(json!({"keepDeletedDays": 30}));
    world.add_backups(1, 4, 1000);
    run_at(&world, "+400d");
    world.remove_backup(1);
    for days in ["+0d", "-365d", "+400d", "+0d", "+3650d"] {
        run_at(&world, days).assert_line(&["0 deleted"]);
    }
    world.dropbox.advance_clock(29 * DAY);
    for days in ["-365d", "+400d"] {
        run_at(&world, days).assert_line(&["0 deleted"]);
    }
    assert_eq!(world.dropbox.files().len(), 4);
    world.dropbox.advance_clock(2 * DAY);
    // This machine's clock is now a month behind Dropbox's.
    run_at(&world, "-365d").assert_line(&["1 deleted"]);
    world.assert_mirrored();
}

#[test]
fn an_upload_is_carried_on_after_a_year_back() {
    let world = World::authorized();
    world.uisp.add(Backup::numbered(1, 13 * MIB));
    let gate = Gate::new();
    let third = On::nth("files/upload_session/append_v2", 3);
    world.dropbox.inject(third, Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    run.wait();
    gate.open();
    run_at(&world, "-365d").assert_line(&["1 uploaded"]);
    world.assert_mirrored();
    run_at(&world, "+0d").assert_line(&["0 uploaded", "1 unchanged"]);
}

#[test]
fn an_authorization_survives_a_year_back_between_its_steps() {
    for has_secret in [true, false] {
        let world = World::with_app(has_secret);
        world.add_backups(1, 1, 1000);
        let asked = run_at(&world, "+0d");
        let code = world.allow_and_paste(&asked);
        run_at(&world, "-365d").assert_line(&["1 uploaded"]);
        assert_ne!(world.config()["dropboxAccessCode"], json!(code));
        assert!(world.config()["dropboxRefreshToken"].is_string());
        run_at(&world, "+0d").assert_line(&["0 uploaded"]);
    }
}

#[test]
fn a_year_back_in_the_middle_of_a_run_changes_nothing() {
    let world = World::authorized();
    world.add_backups(1, 5, 1000);
    healthy_run(&world);
    world.remove_backup(1);
    world.add_backups(6, 7, 1000);
    let file = world.root().join("clock");
    fs::write(&file, "+0d").unwrap();
    let gate = Gate::new();
    let start = On::next("files/upload_session/start");
    world.dropbox.inject(start, Action::Hold(gate.clone()));
    let mut command = with_clock(&world, &file);
    let run = command.env_remove("BACKUP_SYNC_CLOCK_SPEED").spawn();
    assert!(gate.wait_reached(PATIENCE));
    fs::write(&file, "-365d").unwrap();
    gate.open();
    let code = run.unwrap().wait().unwrap().code();
    let ended = Ended {
        code,
        log: world.log(),
    };
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&["Finished: 2 uploaded", "1 deleted"]);
    world.assert_mirrored();
    healthy_run(&world).assert_line(&["0 uploaded", "0 deleted", "6 unchanged"]);
}

#[test]
fn a_clock_that_is_set_while_a_listing_goes_on_was_not_wrong() {
    let world = World::authorized_with(DropboxOptions {
        page_size: 2,
        ..DropboxOptions::default()
    });
    world.add_backups(1, 3, 1000);
    healthy_run(&world);
    let file = world.root().join("clock");
    fs::write(&file, "+0d").unwrap();
    let gate = Gate::new();
    let second_page = On::next("files/list_folder/continue");
    world
        .dropbox
        .inject(second_page, Action::Hold(gate.clone()));
    let mut command = with_clock(&world, &file);
    let before = world.log().len();
    let run = command.env_remove("BACKUP_SYNC_CLOCK_SPEED").spawn();
    assert!(gate.wait_reached(PATIENCE));
    fs::write(&file, "+1d").unwrap();
    gate.open();
    let code = run.unwrap().wait().unwrap().code();
    assert_eq!(code, Some(0), "{}", world.log());
    let log = world.log().split_off(before);
    assert!(!log.contains("WARNING"), "{log}");
}
