//! `createBackup`.

use sandbox::http::{Action, On};
use sandbox::uisp::{Creation, RawAnswer};
use serde_json::json;

use crate::support::World;

const CREATE: &str = "POST nms/backups/create";

/// A world of one backup whose runs begin with a fresh one.
fn creating_world(creation: Creation) -> World {
    let world = World::authorized();
    world.configure(json!({"createBackup": true}));
    world.uisp.configure(|options| options.creation = creation);
    world.add_backups(1, 1, 1000);
    world
}

/// Asserts that the run mirrored what there was and failed for want of a fresh backup, with this advice.
fn assert_mirrors_all_the_same(world: &World, advice: &str) {
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: A fresh backup could not be made", advice]);
    ended.assert_line(&["ERROR: Finished: 1 uploaded", "1 failed"]);
    world.assert_mirrored();
}

#[test]
fn a_fresh_backup_is_made_awaited_and_mirrored() {
    for after_lists in [0, 1, 4] {
        let world = creating_world(Creation::Succeeds { after_lists });
        let ended = world.run_well();
        ended.assert_line(&["UISP makes a fresh backup first"]);
        ended.assert_line(&["Finished: 2 uploaded"]);
        world.assert_mirrored();
        assert_eq!(world.uisp.traffic().count(CREATE), 1);
    }
}

#[test]
fn what_else_lies_in_the_folder_of_notes_is_nothing_that_was_begun() {
    let world = creating_world(Creation::Succeeds { after_lists: 1 });
    std::fs::create_dir(world.data("transfers")).unwrap();
    std::fs::write(world.data("transfers").join("note"), "somebody's").unwrap();
    world.run_well();
    world.run_well();
    assert_eq!(world.uisp.traffic().count(CREATE), 2);
    world.assert_mirrored();
}

#[test]
fn nothing_is_made_unless_it_is_asked_for() {
    let world = World::authorized();
    world.configure(json!({"createBackup": false}));
    world.run_well();
    assert_eq!(world.uisp.traffic().count(CREATE), 0);
}

#[test]
fn a_backup_that_fails_or_never_ends_does_not_keep_the_others_back() {
    assert_mirrors_all_the_same(
        &creating_world(Creation::Fails),
        "UISP says that making the backup failed",
    );
    assert_mirrors_all_the_same(
        &creating_world(Creation::Hangs),
        "has not finished the new backup in 10 minutes",
    );
}

#[test]
fn a_token_that_may_only_read_is_named_with_the_box_to_untick() {
    let world = creating_world(Creation::Succeeds { after_lists: 0 });
    let forbidden = json!({"statusCode": 403, "error": "Forbidden"});
    world
        .uisp
        .inject(On::nth(CREATE, 1), Action::json(403, &forbidden));
    assert_mirrors_all_the_same(&world, "read and write access");
    let world = creating_world(Creation::Succeeds { after_lists: 0 });
    let unknown = json!({"statusCode": 404, "error": "Not Found"});
    world
        .uisp
        .inject(On::nth(CREATE, 1), Action::json(404, &unknown));
    assert_mirrors_all_the_same(&world, "Untick \"Create a fresh backup first\"");
}

#[test]
fn a_lost_answer_makes_no_second_backup() {
    for action in [
        Action::AnswerLost,
        Action::TruncateResponse(3),
        Action::ResetMidResponse(3),
    ] {
        let world = creating_world(Creation::Succeeds { after_lists: 2 });
        world.uisp.inject(On::nth(CREATE, 1), action);
        world.run_well();
        world.assert_mirrored();
        assert_eq!(world.uisp.backups().len(), 2);
        assert_eq!(world.uisp.traffic().count(CREATE), 1);
    }
}

#[test]
fn a_request_that_did_not_arrive_is_repeated() {
    let world = creating_world(Creation::Succeeds { after_lists: 1 });
    let busy = Action::html(503, "<p>starting</p>");
    world.uisp.inject(On::nth(CREATE, 1), busy);
    world.run_well();
    world.assert_mirrored();
    assert_eq!(world.uisp.backups().len(), 2);
}

#[test]
fn deletions_do_not_wait_for_a_fresh_backup() {
    let world = World::authorized();
    world.add_backups(1, 3, 1000);
    world.run_well();
    world.remove_backup(1);
    world.configure(json!({"createBackup": true}));
    world
        .uisp
        .configure(|options| options.creation = Creation::Fails);
    world
        .run_badly()
        .assert_line(&["Finished: 0 uploaded", "1 deleted", "1 failed"]);
    world.assert_mirrored();
}

#[test]
fn a_list_that_cannot_be_read_is_not_waited_for() {
    let world = creating_world(Creation::Succeeds { after_lists: 1 });
    let page = RawAnswer::html(200, "<html>Log in</html>");
    world.uisp.answer_list(Some(page));
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: UISP's list of backups could not be read"]);
    assert_eq!(world.uisp.traffic().count(CREATE), 0);
}
