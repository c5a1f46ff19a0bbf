//! The admin, another run, or an update of the plugin does something while a run goes on.

use std::fs;
use std::time::Instant;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use super::kill::{copy_binary, healthy_run, patient, under_strace, with_program};
use crate::support::{Ended, PATIENCE, World};

const MIB: u64 = 1024 * 1024;
const TOKEN: &str = "oauth2/token";

/// A world whose access code was just pasted, with one backup; and the code.
fn pasted(has_secret: bool) -> (World, String) {
    let world = World::with_app(has_secret);
    world.add_backups(1, 1, 1000);
    let asked = healthy_run(&world);
    let code = world.allow_and_paste(&asked);
    (world, code)
}

/// Saves the whole form as the host does, by a file of its own that takes the old one's name.
fn save_form(world: &World, form: &Value) {
    let new = world.data("config.json.new");
    fs::write(&new, form.to_string()).unwrap();
    fs::rename(new, world.data("config.json")).unwrap();
}

/// Starts a run on the wall's clock, so that no timeout passes while it is held.
fn spawn(world: &World) -> std::process::Child {
    let mut command = patient(world);
    command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
    command.spawn().unwrap()
}

#[test]
fn many_runs_at_once_do_the_work_once() {
    let world = World::authorized();
    world.add_backups(1, 3, 1000);
    world.uisp.add(Backup::numbered(4, 9 * MIB));
    let gate = Gate::new();
    let every = On::every("files/list_folder");
    world.dropbox.inject(every, Action::Hold(gate.clone()));
    let runs: Vec<_> = (0..6).map(|_| spawn(&world)).collect();
    assert!(gate.wait_reached(PATIENCE));
    let waiting = |log: &str| log.matches("Another run is still going on").count();
    let start = Instant::now();
    while waiting(&world.log()) < 5 {
        assert!(start.elapsed() < PATIENCE, "{}", world.log());
        std::thread::yield_now();
    }
    gate.open();
    for run in runs {
        assert_eq!(run.wait_with_output().unwrap().status.code(), Some(0));
    }
    assert_eq!(waiting(&world.log()), 5);
    assert_eq!(world.log().matches("Finished: ").count(), 1);
    assert_eq!(world.count(TOKEN), 1);
    world.assert_mirrored();
}

#[test]
fn a_form_saved_during_the_exchange_keeps_its_values_and_the_token() {
    for has_secret in [true, false] {
        let (world, code) = pasted(has_secret);
        let gate = Gate::new();
        let exchange = On::next(TOKEN);
        world.dropbox.inject(exchange, Action::Hold(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE));
        // The form was opened before the run began: the code is in it, the token is not.
        let mut form = world.config();
        assert_eq!(form["dropboxAccessCode"], json!(code));
        form["keepDeletedDays"] = json!("9");
        form["dropboxRefreshToken"] = json!(null);
        save_form(&world, &form);
        gate.open();
        assert_eq!(run.wait(), Some(0), "{}", world.log());
        let config = world.config();
        assert_eq!(config["keepDeletedDays"], json!("9"));
        assert!(config["dropboxAccessCode"].is_null());
        assert!(config["dropboxRefreshToken"].is_string());
        healthy_run(&world).assert_line(&["Finished: 0 uploaded", "1 unchanged"]);
    }
}

#[test]
fn a_form_saved_while_the_token_is_synced_keeps_its_values_and_the_token() {
    let (world, _) = pasted(true);
    let trace = tempfile::NamedTempFile::new().unwrap();
    // A busy disk takes a second for each sync.
    let slow = "delay_enter=1000000";
    let mut command = under_strace(&patient(&world), "fsync", slow, trace.path());
    let mut run = command.spawn().unwrap();
    // The admin saves when the token is written and not yet in its place.
    let being_written = || {
        let files = fs::read_dir(world.data("")).unwrap().flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with(".writing-"))
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .any(|text| text.contains("refresh-"))
    };
    let start = Instant::now();
    while !being_written() {
        assert!(start.elapsed() < PATIENCE, "{}", world.log());
        assert_eq!(run.try_wait().unwrap(), None, "{}", world.log());
        std::thread::yield_now();
    }
    let mut form = world.config();
    assert!(form["dropboxRefreshToken"].is_null(), "came too late");
    form["keepDeletedDays"] = json!("9");
    save_form(&world, &form);
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", world.log());
    let config = world.config();
    assert!(config["dropboxRefreshToken"].is_string());
    assert!(config["dropboxAccessCode"].is_null());
    assert_eq!(config["keepDeletedDays"], json!("9"), "the admin's value");
}

#[test]
fn a_form_that_was_opened_before_the_exchange_and_saved_after_it_is_explained() {
    let (world, _) = pasted(false);
    let form = world.config();
    healthy_run(&world);
    assert!(world.config()["dropboxRefreshToken"].is_string());
    // The form puts back the used code and an empty token.
    save_form(&world, &form);
    let ended = healthy_run(&world);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: Dropbox refused the access code", "was used before"]);
    world.allow_and_paste(&ended);
    let ended = healthy_run(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn an_update_in_the_middle_of_a_run_disturbs_it_in_nothing() {
    for route in ["nms/backups", "nms/backups/*"] {
        let world = World::authorized();
        world.add_backups(1, 5, 1000);
        healthy_run(&world);
        world.remove_backup(1);
        world.uisp.add(Backup::numbered(6, 9 * MIB));
        // The program lies in the plugin's folder, as it does at the host.
        let program = world.root().join("bin/backup-sync-dropbox");
        fs::create_dir(program.parent().unwrap()).unwrap();
        copy_binary(&program);
        let gate = Gate::new();
        world
            .uisp
            .inject(On::next(route), Action::Hold(gate.clone()));
        let mut command = with_program(&program, &patient(&world));
        command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
        let run = command.spawn().unwrap();
        assert!(gate.wait_reached(PATIENCE));
        replace_all_but_data(&world);
        let before = world.config();
        gate.open();
        let code = run.wait_with_output().unwrap().status.code();
        let log = world.log();
        let ended = Ended { code, log };
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
        assert_eq!(world.config(), before);
        world.assert_mirrored();
        healthy_run(&world).assert_line(&["Finished: 0 uploaded", "5 unchanged"]);
    }
}

/// Does what the host does on an update: everything but `data/` goes and is written anew, and
/// config.json gets exactly the keys of the manifest.
fn replace_all_but_data(world: &World) {
    let ucrm = fs::read(world.root().join("ucrm.json")).unwrap();
    for entry in fs::read_dir(world.root()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        } else if !path.ends_with("data") {
            fs::remove_dir_all(path).unwrap();
        }
    }
    fs::write(world.root().join("main.php"), "<?php // of the new version").unwrap();
    fs::write(world.root().join("ucrm.json"), ucrm).unwrap();
    let mut form = world.config();
    for key in [
        "unmsApiToken",
        "dropboxAppKey",
        "dropboxAppSecret",
        "dropboxAccessCode",
        "dropboxRefreshToken",
        "dropboxAccessToken",
        "keepDeletedDays",
    ] {
        form[key] = form[key].clone();
    }
    form["confirmCleanup"] = json!(false);
    save_form(world, &form);
}
