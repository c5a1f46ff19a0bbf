//! Runs that are asked to stop, or killed, at every kind of request.

use std::time::Duration;

use sandbox::http::{Action, Exchange, Gate, On};

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
    let mut command = world.command();
    command.env("BACKUP_SYNC_HANG", "1");
    // By the run's age.
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&[
        "ERROR: The plugin was ended from within",
        "next run carries on",
    ]);
    // By a signal that has no effect.
    let is_download = |exchange: &Exchange| exchange.route.starts_with("nms/backups/");
    world.uisp.traffic().clear_log();
    let run = world.start_as(&mut command);
    let traffic = world.uisp.traffic();
    assert!(traffic.wait_for(PATIENCE, |all| all.iter().any(is_download)));
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
        assert!(ended.last_line().contains("Finished"), "{}", ended.log);
        ended.assert_line(&["stop"]);
        ended.assert_line(&["he next run carries on"]);
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
fn a_run_that_is_killed_at_any_request_is_made_up_for_by_the_next() {
    // Before the request is carried out, and after it but before the run learns of it.
    for hold in [Action::Hold as fn(Gate) -> Action, Action::HoldAnswer] {
        for server in ["dropbox", "uisp"] {
            let mut number = 1;
            while killed_at(server, number, hold) {
                number += 1;
            }
            assert!(number > if server == "uisp" { 4 } else { 10 }, "{number}");
        }
    }
}

/// Kills a run at the nth request to a server, and has the next one make up for it. False if the
/// run made fewer requests.
fn killed_at(server: &str, number: u64, hold: fn(Gate) -> Action) -> bool {
    let world = changed_world();
    let config = world.config();
    let gate = Gate::new();
    let on = On::nth("*", number);
    match server {
        "uisp" => world.uisp.inject(on, hold(gate.clone())),
        _ => world.dropbox.inject(on, hold(gate.clone())),
    }
    let mut run = world.start();
    while !gate.wait_reached(Duration::from_millis(20)) {
        if run.has_ended() {
            return false;
        }
    }
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    gate.open();
    world.run_well();
    world.assert_mirrored();
    assert_eq!(world.config(), config);
    true
}
