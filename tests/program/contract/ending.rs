//! Runs that are asked to stop, at every kind of request, and one that meets a bug.

use std::fs;
use std::process::Command;
use std::sync::mpsc;

use sandbox::http::{Action, Gate, On};

use super::*;
use crate::support::PATIENCE;

const MIB: u64 = 1024 * 1024;

/// Requests at which a run can be stopped.
fn stages() -> Vec<(&'static str, &'static str)> {
    vec![
        ("dropbox", "oauth2/token"),
        ("dropbox", "files/list_folder"),
        ("uisp", "nms/settings"),
        ("uisp", "nms/backups"),
        ("uisp", "nms/backups/*"),
        ("dropbox", "files/upload_session/start"),
        ("dropbox", "files/upload_session/append_v2"),
        ("dropbox", "files/upload_session/finish_batch_v2"),
        ("dropbox", "files/delete_batch"),
    ]
}

#[test]
fn a_bug_in_the_program_ends_in_a_line_not_in_silence() {
    let world = World::authorized();
    let mut command = world.command();
    command.env("BACKUP_SYNC_PANIC", "1");
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&[
        "ERROR: The plugin has ended because of a bug in it",
        "src/cli.rs",
    ]);
    world.run_well();
}

#[test]
fn what_hangs_for_ever_is_ended_from_within() {
    let world = changed_world();
    let pipe = world.root().join("hang");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut command = world.command();
    command.env("BACKUP_SYNC_HANG", &pipe);
    // By the run's age.
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&[
        "ERROR: The plugin was ended from within",
        "next run carries on",
    ]);
    // By a signal that has no effect.
    let run = world.start_as(&mut command);
    let (sender, hangs) = mpsc::channel();
    std::thread::spawn(move || sender.send(fs::File::open(pipe)));
    let _pipe = hangs.recv_timeout(PATIENCE).unwrap();
    run.signal("TERM");
    assert_eq!(run.wait(), Some(1));
    let ended = world.run_well();
    ended.assert_line(&["WARNING: The run before this one was cut off"]);
    world.assert_mirrored();
}

/// A world that has uploads, small and large, and a deletion before it.
fn changed_world() -> World {
    let world = World::authorized();
    world.add_backups(1, 3, 1000);
    world.run_well();
    world.remove_backup(1);
    world.add_backups(4, 4, 1000);
    world.add_backups(5, 5, 12 * MIB + 1);
    world
}

#[test]
fn a_run_that_is_asked_to_stop_ends_at_once_and_says_so() {
    for (server, route) in stages() {
        let world = changed_world();
        if route == "files/delete_batch" {
            // Deletions come last, and only after uploads that succeeded.
            world.remove_backup(4);
            world.remove_backup(5);
        }
        let gate = Gate::new();
        let hold = Action::Hold(gate.clone());
        match server {
            "uisp" => world.uisp.inject(On::next(route), hold),
            _ => world.dropbox.inject(On::next(route), hold),
        }
        let before = world.log().len();
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE), "{route}");
        run.signal("TERM");
        let code = run.wait();
        let log = world.log().split_off(before);
        let ended = Ended { code, log };
        assert_eq!(code, Some(0), "{route}: {}", ended.log);
        assert!(ended.last_line().contains("Finished"), "{}", ended.log);
        ended.assert_line(&["stop"]);
        ended.assert_line(&["he next run carries on"]);
        // Whoever stops it does not want another one.
        assert!(
            !world
                .root()
                .join(".ucrm-plugin-execution-requested")
                .exists()
        );
        // Being stopped is nobody's fault.
        for misleading in ["Compare", "refused", "report it", "problem of its own"] {
            assert!(!ended.log.contains(misleading), "{route}: {}", ended.log);
        }
        gate.open();
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn a_run_that_is_asked_to_stop_after_an_error_ends_with_the_error() {
    let world = changed_world();
    let page = Action::html(200, "<html>Log in</html>");
    let failing = "nms/backups/00000000-0000-4000-8000-000000000005";
    world.uisp.inject(On::next(failing), page);
    let (run, gate) = world.start_held("files/upload_session/start");
    run.signal("TERM");
    let code = run.wait();
    let log = world.log();
    let ended = Ended { code, log };
    assert_eq!(code, Some(1), "{}", ended.log);
    assert!(
        ended.last_line().starts_with("ERROR: Finished"),
        "{}",
        ended.log
    );
    ended.assert_line(&["1 left for the next run", "1 failed"]);
    gate.open();
    world.run_well();
    world.assert_mirrored();
}
