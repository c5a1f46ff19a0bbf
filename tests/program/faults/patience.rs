//! Dropbox asks for patience: too many requests, or another writer.

use sandbox::dropbox::faults;
use sandbox::http::{Action, On};
use sandbox::uisp::Creation;
use serde_json::json;

use super::*;
use crate::support::Ended;

/// How long the run took, on its own clock.
fn minutes(ended: &Ended) -> u64 {
    let (_, took) = ended.last_line().split_once(", in ").unwrap();
    match took.split_once(" min") {
        Some((minutes, _)) => minutes.parse().unwrap(),
        None => 0,
    }
}

#[test]
fn the_wait_that_dropbox_asks_for_is_kept() {
    let world = changed_world();
    let patience = faults::too_many_requests(Some(300));
    world.dropbox.inject(On::times(LIST, 2), patience);
    let ended = world.run_well();
    assert!(minutes(&ended) >= 10, "{}", ended.log);
    assert_eq!(world.count(LIST), 3);
    world.assert_mirrored();
}

#[test]
fn a_wait_longer_than_the_run_is_left_to_the_next() {
    let world = changed_world();
    let patience = faults::too_many_requests(Some(86_400));
    world.dropbox.inject(On::every(LIST), patience);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "asked too often"]);
    assert_eq!(world.count(LIST), 1);
    assert_recovers(&world);
}

#[test]
fn endless_requests_for_patience_do_not_become_an_endless_loop() {
    for route in [LIST, FINISH] {
        let world = changed_world();
        world
            .dropbox
            .inject(On::every(route), faults::too_many_requests(None));
        world.run_badly();
        assert!(world.count(route) <= 20, "{}", world.count(route));
        assert_recovers(&world);
    }
}

/// Every route that a run asks in [`changed_world`].
const ROUTES: [&str; 8] = [TOKEN, LIST, CONTINUE, START, APPEND, FINISH, DELETE, CHECK];

/// A service that is down for a known time.
fn unavailable_for(time: &str) -> Action {
    Action::html(503, "<html>Service Unavailable</html>").with_header("Retry-After", time)
}

#[test]
fn patience_that_is_asked_for_nine_times_is_given_on_every_route() {
    for route in ROUTES {
        let world = changed_world();
        world
            .dropbox
            .inject(On::times(route, 9), unavailable_for("1.0"));
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn patience_for_a_quarter_of_an_hour_is_given() {
    let world = changed_world();
    world
        .dropbox
        .inject(On::times(LIST, 2), unavailable_for("900"));
    let ended = world.run_well();
    assert!(minutes(&ended) >= 30, "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn patience_until_a_time_of_day_is_given() {
    let world = changed_world();
    let until = chrono::Utc::now() + chrono::TimeDelta::minutes(10);
    let until = until.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let patience = Action::text(429, "").with_header("Retry-After", &until);
    world.dropbox.inject(On::next(LIST), patience);
    let ended = world.run_well();
    assert!((8..20).contains(&minutes(&ended)), "{}", ended.log);
}

#[test]
fn a_time_of_day_is_that_of_whoever_names_it() {
    let world = changed_world();
    let there = chrono::Utc::now() + chrono::TimeDelta::days(2);
    let written = |time: chrono::DateTime<chrono::Utc>| time.format("%a, %d %b %Y %H:%M:%S GMT");
    let until = written(there + chrono::TimeDelta::minutes(10)).to_string();
    let patience = Action::text(429, "")
        .with_header("Date", &written(there).to_string())
        .with_header("Retry-After", &until);
    world.dropbox.inject(On::next(LIST), patience);
    let ended = world.run_well();
    assert!((8..20).contains(&minutes(&ended)), "{}", ended.log);
}

#[test]
fn a_time_that_has_passed_is_no_wait_and_one_in_the_body_is_one() {
    let world = changed_world();
    let passed = "Wed, 21 Oct 2015 07:28:00 GMT";
    let patience = Action::text(429, "").with_header("Retry-After", passed);
    world.dropbox.inject(On::next(LIST), patience);
    let ended = world.run_well();
    assert!(minutes(&ended) < 8, "{}", ended.log);
    let asked = json!({"error": {"reason": {".tag": "too_many_requests"}, "retry_after": 600}});
    world
        .dropbox
        .inject(On::next(LIST), Action::json(429, &asked));
    let ended = world.run_well();
    assert!((8..20).contains(&minutes(&ended)), "{}", ended.log);
}

#[test]
fn a_fault_beside_the_patience_has_its_own_tries() {
    let world = changed_world();
    world
        .dropbox
        .inject(On::times(LIST, 9), unavailable_for("1"));
    world
        .dropbox
        .inject(On::times(LIST, 14), faults::server_error());
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn uisp_gets_the_patience_that_it_asks_for() {
    for route in [
        "nms/backups",
        "nms/settings",
        &download_route(5),
        &download_route(6),
    ] {
        for patience in [
            unavailable_for("1"),
            Action::text(429, "").with_header("Retry-After", "1.0"),
        ] {
            let world = changed_world();
            world.uisp.inject(On::times(route, 9), patience);
            let ended = world.run_well();
            assert!(!ended.log.contains("WARNING"), "{route}: {}", ended.log);
            world.assert_mirrored();
        }
    }
    let world = changed_world();
    world
        .uisp
        .inject(On::every("nms/backups"), unavailable_for("7200"));
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "UISP asks for patience", "status 503"]);
    assert_recovers(&world);
}

/// What asks for a minute's patience again and again.
fn never_ready() -> Action {
    unavailable_for("60")
}

#[test]
fn what_the_run_can_do_without_is_not_waited_for_longer_than_ten_minutes() {
    let world = changed_world();
    world.uisp.inject(On::every("nms/settings"), never_ready());
    let ended = world.run_well();
    ended.assert_line(&["WARNING: ", "timezone"]);
    assert!((5..15).contains(&minutes(&ended)), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_fresh_backup_for_which_uisp_asks_for_patience_is_made_or_given_up_after_ten_minutes() {
    const CREATE: &str = "POST nms/backups/create";
    let world = changed_world();
    world.configure(json!({"createBackup": true}));
    world
        .uisp
        .configure(|options| options.creation = Creation::Succeeds { after_lists: 1 });
    world
        .uisp
        .inject(On::times(CREATE, 9), unavailable_for("1"));
    world.run_well();
    assert_eq!(world.uisp.backups().len(), 7);
    world.assert_mirrored();

    world.uisp.inject(On::every(CREATE), never_ready());
    let ended = world.run_badly();
    ended.assert_line(&[
        "ERROR: A fresh backup could not be made",
        "UISP asks for patience",
    ]);
    assert!((5..15).contains(&minutes(&ended)), "{}", ended.log);
}

#[test]
fn a_download_that_is_put_off_again_and_again_lets_the_others_have_their_turn() {
    let world = changed_world();
    world
        .uisp
        .inject(On::every(&download_route(7)), never_ready());
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", &name_of(7), "UISP asks for patience"]);
    ended.assert_line(&["Finished: 2 uploaded", "1 failed"]);
    assert!((10..25).contains(&minutes(&ended)), "{}", ended.log);
    assert_recovers(&world);
}

#[test]
fn a_look_for_a_doubtful_file_is_given_up_after_five_minutes() {
    let world = changed_world();
    world.dropbox.inject(On::every(METADATA), never_ready());
    let conflict = json!({".tag": "conflict", "conflict": {".tag": "file"}});
    let path = "/unms-backup-20260106-0012_00000000-0000-4000-8000-000000000005.unms";
    world.dropbox.refuse_commits(Some(path), conflict, 1);
    let ended = world.run_badly();
    ended.assert_line(&["Finished: 2 uploaded", "1 failed"]);
    assert!((2..10).contains(&minutes(&ended)), "{}", ended.log);
    assert_recovers(&world);
}

#[test]
fn write_contention_inside_a_batch_answer_is_waited_out() {
    let contention = json!({".tag": "too_many_write_operations"});
    for times in [1, 5] {
        let world = changed_world();
        world
            .dropbox
            .refuse_commits(None, contention.clone(), times);
        world.run_well();
        world.assert_mirrored();
        // Nothing is sent again: the sessions are still good.
        assert_eq!(world.count(START), 3);
    }
    let world = changed_world();
    world.dropbox.refuse_commits(None, contention, 1000);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "Another program may be writing"]);
    assert_eq!(world.dropbox.files().len(), 4);
    let none = json!({".tag": "other"});
    world.dropbox.refuse_commits(None, none, 0);
}

#[test]
fn write_contention_while_deleting_is_waited_out() {
    // The job as a whole.
    let world = changed_world();
    world.dropbox.fail_delete_jobs(2);
    world.run_well();
    world.assert_mirrored();

    // One file of it.
    let world = changed_world();
    let failure = json!({".tag": "failure", "failure": {".tag": "too_many_write_operations"}});
    let complete = json!({".tag": "complete", "entries": [failure]});
    world
        .dropbox
        .inject(On::next(DELETE), Action::json(200, &complete));
    world.run_well();
    world.assert_mirrored();
}
