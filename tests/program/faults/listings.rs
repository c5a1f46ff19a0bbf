//! Lists that are not whole, from either end.

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::RawAnswer;
use serde_json::{Value, json};

use super::*;
use crate::support::PATIENCE;

#[test]
fn a_listing_that_breaks_off_is_never_taken_for_the_whole() {
    // What is no listing at all stands in the matrix; these nearly are.
    let refused = |error: Value| faults::route_error("x/", &error);
    for route in [LIST, CONTINUE] {
        for (name, action) in [
            ("strange", refused(json!(null))),
            (
                "no folder",
                refused(json!({".tag": "path", "path": {".tag": "not_folder"}})),
            ),
            ("null", Action::json(200, &json!(null))),
            (
                "no entries",
                Action::json(200, &json!({"cursor": "c", "has_more": false})),
            ),
            ("cut", Action::TruncateResponse(100)),
        ] {
            let world = changed_world();
            let before = world.dropbox.files();
            world.dropbox.inject(On::every(route), action);
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "could not be listed", "nothing is mirrored"]);
            assert_eq!(world.dropbox.files(), before, "{name} on {route}");
            assert_eq!(
                world.count(START) + world.count(DELETE),
                0,
                "{name} on {route}"
            );
            assert_recovers(&world);
        }
    }
}

#[test]
fn a_time_of_a_file_that_is_none_keeps_nothing_from_being_done() {
    for time in [json!("soon"), json!(null), json!(12), json!({})] {
        let world = changed_world();
        let entries: Vec<Value> = world
            .dropbox
            .files()
            .iter()
            .map(|file| {
                json!({".tag": "file", "name": file.path.trim_start_matches('/'), "id": "id:a",
                    "path_lower": file.path.to_lowercase(), "path_display": file.path,
                    "rev": file.rev, "size": file.size, "content_hash": file.content_hash,
                    "client_modified": time, "server_modified": time})
            })
            .collect();
        let page = json!({"entries": entries, "cursor": "c", "has_more": false});
        world
            .dropbox
            .inject(On::next(LIST), Action::json(200, &page));
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn a_listing_whose_cursor_is_reset_starts_over() {
    for error in [
        json!({".tag": "reset"}),
        json!({".tag": "path", "path": {".tag": "not_found"}}),
    ] {
        let world = changed_world();
        let reset = faults::route_error("reset/.", &error);
        world.dropbox.inject(On::next(CONTINUE), reset.clone());
        world.run_well();
        assert_eq!(world.count(LIST), 2);
        world.assert_mirrored();

        let world = changed_world();
        let before = world.dropbox.files();
        world.dropbox.inject(On::every(CONTINUE), reset);
        world.run_badly();
        assert!(world.count(LIST) < 10);
        assert_eq!(world.dropbox.files(), before);
        assert_recovers(&world);
    }
}

#[test]
fn a_list_that_uisp_does_not_give_is_quoted_and_deletes_nothing() {
    let long = format!("<html>\n{}\n</html>", "long page ".repeat(100));
    for (status, answer) in [
        (500, RawAnswer::html(500, &long)),
        (502, RawAnswer::html(502, "<html>Bad Gateway</html>")),
        (503, RawAnswer::new(503, "text/plain", "")),
        (
            404,
            RawAnswer::json(404, r#"{"statusCode":404,"error":"Not Found"}"#),
        ),
        (418, RawAnswer::json(418, "{}")),
    ] {
        let world = changed_world();
        let before = world.dropbox.files();
        world.uisp.answer_list(Some(answer));
        let ended = world.run_badly();
        let status = format!("status {status}");
        ended.assert_line(&["ERROR: UISP's list", "nothing is deleted", &status]);
        let quoted = ended.log.matches("long page").count();
        assert!(quoted <= 20, "{}", ended.log);
        assert_eq!(world.dropbox.files(), before);
        assert_eq!(world.count(START), 0);
        world.uisp.answer_list(None);
        assert_recovers(&world);
    }
}

#[test]
fn a_list_that_breaks_off_deletes_nothing() {
    for action in [
        Action::TruncateResponse(300),
        Action::ResetMidResponse(300),
        Action::NoAnswer,
    ] {
        let world = changed_world();
        let before = world.dropbox.files();
        world.uisp.inject(On::every("nms/backups"), action);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: UISP's list", "nothing is deleted"]);
        assert_eq!(world.dropbox.files(), before);
        assert_recovers(&world);
    }
}

#[test]
fn what_changes_while_the_pages_are_read_counts() {
    let world = changed_world();
    let [gone, damaged, _] = [2, 3, 4].map(|number| file_of(&world, number).unwrap().path);
    let gate = Gate::new();
    let held = Action::HoldAnswer(gate.clone());
    world.dropbox.inject(On::next(LIST), held);
    let running = world.start();
    assert!(gate.wait_reached(PATIENCE));
    assert!(world.dropbox.remove(&gone));
    world.dropbox.put(&damaged, b"another content");
    gate.open();
    assert_eq!(running.wait(), Some(0), "{}", world.log());
    world.assert_mirrored();
}

#[test]
fn a_backup_that_is_not_finished_needs_no_time() {
    let world = changed_world();
    for (number, state, time) in [
        (20, "in-progress", ""),
        (21, "In Progress", "soon"),
        (22, "failed", "null"),
    ] {
        let mut backup = Backup::numbered(number, 10).in_state(state);
        backup.created_at = time.into();
        world.uisp.add(backup);
    }
    let ended = world.run_well();
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    assert!(file_of(&world, 1).is_none(), "{}", ended.log);
    world.assert_mirrored();
}
