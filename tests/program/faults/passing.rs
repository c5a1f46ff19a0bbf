//! Faults that pass go unnoticed wherever they strike. What each kind of fault does to each kind of request stands in the matrix.

use std::fs;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Fault, On};
use serde_json::json;

use super::*;

#[test]
fn several_faults_in_one_run_go_unnoticed() {
    let world = changed_world();
    for route in [TOKEN, LIST, CONTINUE, START, APPEND, FINISH, DELETE] {
        world
            .dropbox
            .inject(On::times(route, 2), faults::server_error());
    }
    world
        .uisp
        .inject(On::times("nms/*", 2), Action::ResetBeforeBody);
    let ended = world.run_well();
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    let unused = world.dropbox.traffic().clear_faults() + world.uisp.traffic().clear_faults();
    assert_eq!(unused, 0, "{}", ended.log);
    ended.assert_line(&["Finished: 3 uploaded", "1 deleted", "3 unchanged"]);
    world.assert_mirrored();
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
