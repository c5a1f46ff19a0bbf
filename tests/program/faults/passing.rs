//! A fault that passes goes unnoticed; one that lasts ends the run and costs nothing.

use std::fs;

use sandbox::dropbox::{DropboxOptions, faults};
use sandbox::http::{Action, Fault, On};
use serde_json::json;

use super::*;

/// Faults that pass: the request may be repeated at once or after a while.
fn passing_faults() -> Vec<(&'static str, Action)> {
    vec![
        ("500 JSON", faults::server_error()),
        ("503 empty", Action::text(503, "")),
        ("504 HTML", faults::gateway_timeout()),
        ("reset", Action::ResetBeforeBody),
        ("reset in the body", Action::ResetMidBody(10)),
        ("answer lost", Action::AnswerLost),
        ("answer cut", Action::TruncateResponse(5)),
        ("answer reset", Action::ResetMidResponse(5)),
    ]
}

/// Faults that pass only when the client gives up waiting.
fn silences() -> Vec<(&'static str, Action)> {
    vec![
        ("stall in the answer", Action::StallResponse),
        ("silence", Action::NoAnswer),
    ]
}

/// Dropbox's ways to ask for patience.
fn requests_for_patience() -> Vec<(&'static str, Action)> {
    vec![
        ("429", faults::too_many_requests(None)),
        ("429 for 3 s", faults::too_many_requests(Some(3))),
        ("429 text", faults::too_many_requests_as_text()),
        ("429 writes", faults::too_many_write_operations(None)),
        (
            "429 writes for 1 s",
            faults::too_many_write_operations(Some(1)),
        ),
    ]
}

fn every_fault() -> impl Iterator<Item = (&'static str, Action)> {
    let faults = passing_faults().into_iter().chain(silences());
    faults.chain(requests_for_patience())
}

/// A world that always has something to list, to send and to delete.
struct Busy {
    world: World,
    round: u32,
}

impl Busy {
    fn new() -> Self {
        let world = World::authorized_with(DropboxOptions {
            keep_content: false,
            page_size: 1,
            ..DropboxOptions::default()
        });
        world.add_backups(1, 2, 1000);
        let mut busy = Self { world, round: 0 };
        busy.next_round();
        busy.world.run_well();
        busy
    }

    /// One small and one large backup come, those of the last round go.
    fn next_round(&mut self) {
        if self.round > 0 {
            self.world.remove_backup(self.round * 10);
            self.world.remove_backup(self.round * 10 + 1);
        }
        self.round += 1;
        self.world
            .add_backups(self.round * 10, self.round * 10, 1000);
        let large = self.round * 10 + 1;
        self.world.add_backups(large, large, LARGE);
    }

    fn assert_unnoticed(&mut self, name: &str, on: &On, action: &Action, is_uisp: bool) {
        self.next_round();
        let world = &self.world;
        if is_uisp {
            world.uisp.inject(on.clone(), action.clone());
        } else {
            world.dropbox.inject(on.clone(), action.clone());
        }
        let ended = world.run();
        let what = format!("{name} on {on:?}: {}", ended.log);
        assert_eq!(ended.code, Some(0), "{what}");
        assert!(!ended.log.contains("WARNING"), "{what}");
        let unused = world.dropbox.traffic().clear_faults() + world.uisp.traffic().clear_faults();
        assert_eq!(unused, 0, "{what}");
        ended.assert_line(&["Finished: 2 uploaded", "2 deleted", "2 unchanged"]);
        world.assert_mirrored();
    }
}

#[test]
fn a_passing_fault_while_listing_goes_unnoticed() {
    let mut busy = Busy::new();
    for (name, fault) in every_fault() {
        busy.assert_unnoticed(name, &On::next(LIST), &fault, false);
        busy.assert_unnoticed(name, &On::next(CONTINUE), &fault, false);
        busy.assert_unnoticed(name, &On::nth(CONTINUE, 2), &fault, false);
    }
}

#[test]
fn a_passing_fault_while_sending_goes_unnoticed() {
    let mut busy = Busy::new();
    for (name, fault) in passing_faults().into_iter().chain(requests_for_patience()) {
        busy.assert_unnoticed(name, &On::times(START, 2), &fault, false);
        busy.assert_unnoticed(name, &On::next(APPEND), &fault, false);
        // The request that closes the session.
        busy.assert_unnoticed(name, &On::nth(APPEND, 3), &fault, false);
    }
    // An upload's answer is waited for patiently, so these are few.
    for (name, fault) in silences() {
        busy.assert_unnoticed(name, &On::next(START), &fault, false);
        busy.assert_unnoticed(name, &On::nth(APPEND, 3), &fault, false);
    }
}

#[test]
fn a_passing_fault_while_committing_or_deleting_goes_unnoticed() {
    let mut busy = Busy::new();
    for (name, fault) in every_fault() {
        busy.assert_unnoticed(name, &On::next(FINISH), &fault, false);
        busy.assert_unnoticed(name, &On::next(DELETE), &fault, false);
        busy.assert_unnoticed(name, &On::next(CHECK), &fault, false);
    }
}

#[test]
fn a_passing_fault_of_uisp_goes_unnoticed() {
    let mut busy = Busy::new();
    for (name, fault) in passing_faults().into_iter().chain(silences()) {
        for route in ["nms/backups", "nms/settings", "nms/backups/*"] {
            busy.assert_unnoticed(name, &On::next(route), &fault, true);
        }
        busy.assert_unnoticed(name, &On::nth("nms/backups/*", 2), &fault, true);
    }
}

#[test]
fn several_faults_in_one_run_go_unnoticed() {
    let mut busy = Busy::new();
    for route in [TOKEN, LIST, CONTINUE, START, APPEND, FINISH, DELETE] {
        busy.world
            .dropbox
            .inject(On::times(route, 2), faults::server_error());
    }
    let on = On::times("nms/*", 2);
    busy.assert_unnoticed("resets", &on, &Action::ResetBeforeBody, true);
}

#[test]
fn no_single_request_is_one_too_many_to_lose() {
    // Whatever a run asks, in its order: each request in turn is lost, or its answer is.
    for fault in [Action::ResetBeforeBody, Action::AnswerLost] {
        for is_uisp in [false, true] {
            for number in 1.. {
                let world = changed_world();
                let server = if is_uisp {
                    world.uisp.traffic()
                } else {
                    world.dropbox.traffic()
                };
                server.inject(Fault {
                    on: On::nth("*", number),
                    action: fault.clone(),
                });
                world.run_well();
                world.assert_mirrored();
                if server.clear_faults() > 0 {
                    assert!(number > if is_uisp { 5 } else { 12 }, "{number}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_fault_that_lasts_ends_the_run_and_costs_nothing() {
    for route in [LIST, CONTINUE, START, APPEND, FINISH, DELETE, CHECK] {
        for (name, fault) in [
            ("500", faults::server_error()),
            ("reset", Action::ResetBeforeBody),
        ] {
            let world = changed_world();
            let before = world.dropbox.files();
            world.dropbox.inject(On::every(route), fault);
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "The next run tries again"]);
            for file in before {
                let is_there = world.dropbox.file(&file.path).as_ref() == Some(&file);
                // A deletion may have been carried out although nobody could be told.
                assert!(is_there || route == CHECK, "{name} on {route}: {file:?}");
            }
            assert_recovers(&world);
        }
    }
}

#[test]
fn servers_that_are_not_there_end_the_run_and_cost_nothing() {
    let world = changed_world();
    let before = world.dropbox.files();
    for variable in ["DROPBOX_API_URL", "DROPBOX_CONTENT_URL"] {
        // Nothing listens on port 1.
        let ended = world.run_as(world.command().env(variable, "https://127.0.0.1:1"));
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: ", "The next run tries again", "internet connection"]);
        assert_eq!(world.dropbox.files(), before);
    }
    let ucrm = fs::read(world.root().join("ucrm.json")).unwrap();
    let gone = json!({"unmsLocalUrl": "http://127.0.0.1:1/nms/"});
    fs::write(world.root().join("ucrm.json"), gone.to_string()).unwrap();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "check that UISP is running"]);
    assert_eq!(world.dropbox.files(), before);
    fs::write(world.root().join("ucrm.json"), ucrm).unwrap();
    assert_recovers(&world);
}
