//! Upload sessions, commits, and what was stored in the end.

use std::time::Duration;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Exchange, Gate, Link, On};
use serde_json::{Value, json};

use super::*;
use crate::support::PATIENCE;

#[test]
fn a_session_that_is_lost_starts_again() {
    let lookup_failed = |tag: &str| {
        let failure = json!({".tag": "lookup_failed", "lookup_failed": {".tag": tag}});
        json!({".tag": "failure", "failure": failure})
    };
    let missing = json!({
        ".tag": "failure",
        "failure": {".tag": "concurrent_session_missing_data"},
    });
    let entries = |entry: &Value| {
        let all = json!({"entries": [entry, entry, entry]});
        Action::json(200, &all)
    };
    let refused = |tag: &str| faults::route_error(tag, &json!({".tag": tag}));
    for (name, on, action) in [
        ("not_found", On::next(APPEND), refused("not_found")),
        ("closed", On::next(APPEND), refused("closed")),
        ("closed at 2", On::nth(APPEND, 2), refused("closed")),
        (
            "not_found at the end",
            On::nth(APPEND, 3),
            refused("not_found"),
        ),
        (
            "mismatch",
            On::next(APPEND),
            refused("content_hash_mismatch"),
        ),
        (
            "lookup not_found",
            On::next(FINISH),
            entries(&lookup_failed("not_found")),
        ),
        ("missing data", On::next(FINISH), entries(&missing)),
    ] {
        let world = changed_world();
        world.dropbox.inject(on, action);
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.log);
        assert_eq!(world.dropbox.traffic().clear_faults(), 0, "{name}");
        world.assert_mirrored();
        if name == "closed" {
            // It is not taken for the answer to a request that closes it.
            ended.assert_line(&["begins again from its start", "append_v2: closed"]);
        }
    }
}

#[test]
fn sessions_that_vanish_before_their_commit_are_sent_again() {
    let world = changed_world();
    let (run, gate) = world.start_held(FINISH);
    world.dropbox.drop_sessions();
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    world.assert_mirrored();
}

#[test]
fn a_backup_that_is_sent_again_waits_for_its_own_requests_and_keeps_no_other_waiting() {
    let world = World::authorized();
    world.add_backups(1, 1, 20_000);
    world.add_backups(2, 2, 100 * MIB);
    // Slow enough that the backup is far from its end when its session is lost.
    world.dropbox.set_link(Link {
        bytes_per_second_total: Some(20_000_000),
        ..Link::default()
    });
    let traffic = world.dropbox.traffic();
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::next(APPEND), Action::Hold(gate.clone()));
    let lost = faults::route_error("not_found/", &json!({".tag": "not_found"}));
    world.dropbox.inject(On::nth(APPEND, 2), lost);
    let run = world.start();
    // The small one is stored while a block of the large one is still under way.
    let is_stored = |e: &Exchange| e.route == FINISH && e.status == Some(200);
    assert!(traffic.wait_for(PATIENCE, |log| log.iter().any(is_stored)));
    assert!(gate.wait_reached(PATIENCE));
    assert!(world.log().contains("begins again from its start"));
    // One session for each of them so far; most of the large one was neither read nor sent in vain.
    assert_eq!(world.count(START), 2);
    let route = download_route(2);
    let of_it = |e: &&Exchange| e.route == route;
    let downloads = world.uisp.traffic().requests();
    let read: u64 = downloads
        .iter()
        .filter(of_it)
        .map(|e| e.response_bytes)
        .sum();
    assert!(read < 100 * MIB, "{read} bytes");
    assert!(world.count(APPEND) < 25, "{}", world.count(APPEND));
    world.dropbox.set_link(Link::default());
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert_eq!(world.count(START), 3);
    world.assert_mirrored();
}

#[test]
fn a_session_that_is_lost_again_and_again_fails_alone() {
    let world = changed_world();
    let lost = faults::route_error("not_found/", &json!({".tag": "not_found"}));
    world.dropbox.inject(On::every(APPEND), lost);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", &name_of(6), "could not be uploaded"]);
    ended.assert_line(&["Finished: 2 uploaded", "0 deleted", "1 failed"]);
    assert!(world.count(START) < 10, "{}", world.count(START));
    assert!(file_of(&world, 1).is_some());
    assert_recovers(&world);
}

#[test]
fn a_wrong_offset_is_put_right() {
    for correct in [0, 4 * MIB, LARGE] {
        for nth in 1..=3 {
            let world = changed_world();
            let error = json!({".tag": "incorrect_offset", "correct_offset": correct});
            let refused = faults::route_error("incorrect_offset/..", &error);
            world.dropbox.inject(On::nth(APPEND, nth), refused);
            let ended = world.run();
            let what = format!("{correct} at append {nth}: {}", ended.log);
            assert_eq!(ended.code, Some(0), "{what}");
            world.assert_mirrored();
            if correct == 0 {
                ended.assert_line(&["begins again from its start", "incorrect_offset"]);
            }
        }
    }
}

#[test]
fn a_piece_whose_answer_was_lost_is_recognised() {
    let has_it = json!({".tag": "incorrect_offset", "correct_offset": LARGE});
    let has_it = faults::route_error("incorrect_offset/..", &has_it);
    for (lost, said) in [(1, Some(has_it)), (1, None), (3, None)] {
        let world = changed_world();
        world
            .dropbox
            .inject(On::nth(APPEND, lost), Action::AnswerLost);
        // The request that closes the session waits for both others.
        if let Some(said) = said {
            world.dropbox.inject(On::nth(APPEND, 3), said);
        }
        world.run_well();
        world.assert_mirrored();
        assert_eq!((world.count(START), world.count(APPEND)), (3, 4));
    }
}

#[test]
fn a_commit_that_takes_minutes_is_waited_for_and_nothing_is_sent_again() {
    let world = changed_world();
    // Five minutes on the program's clock.
    world.dropbox.slow_commits(1, Duration::from_secs(3));
    world.run_well();
    world.assert_mirrored();
    assert_eq!(world.count(START), 3);
    assert_eq!(world.count(APPEND), 3);
}

#[test]
fn a_run_that_is_asked_to_stop_while_it_waits_for_a_commit_has_failed_in_nothing() {
    let world = changed_world();
    world.dropbox.slow_commits(1, Duration::from_secs(5));
    let before = world.log().len();
    let run = world.start_as(&mut world.command());
    // It looks for the three files again and again, after waits that grow.
    let traffic = world.dropbox.traffic();
    let looks = |log: &[Exchange]| log.iter().filter(|e| e.route == METADATA).count();
    assert!(traffic.wait_for(PATIENCE, |log| looks(log) > 18));
    run.signal("TERM");
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    let log = world.log().split_off(before);
    assert!(!log.contains("ERROR"), "{log}");
    assert!(log.contains("left for the next run"), "{log}");
    assert!(!log.contains("begins again"), "{log}");
    assert_recovers(&world);
}

#[test]
fn a_file_without_a_hash_is_not_called_verified() {
    let world = changed_world();
    let bare = json!({".tag": "success", "rev": "015f0000000000000000001", "size": 20_000});
    let answer = json!({"entries": [bare, bare, bare]});
    world
        .dropbox
        .inject(On::next(FINISH), Action::json(200, &answer));
    let ended = world.run_badly();
    ended.assert_line(&[
        "ERROR: ",
        &name_of(5),
        "no content hash",
        "cannot be called verified",
    ]);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "3 failed"]);
    assert_recovers(&world);
}

#[test]
fn commits_whose_answers_never_come_are_looked_for() {
    for silence in [
        Action::NoAnswer,
        Action::AnswerLost,
        Action::TruncateResponse(5),
    ] {
        let world = changed_world();
        world.dropbox.inject(On::every(FINISH), silence);
        world.run_well();
        world.assert_mirrored();
        assert_eq!(world.count(START), 3);
        assert_eq!(world.count(APPEND), 3);
    }
}

#[test]
fn commits_may_be_jobs() {
    let world = changed_world();
    let job = json!({".tag": "async_job_id", "async_job_id": "job-x"});
    world
        .dropbox
        .inject(On::next(FINISH), Action::json(200, &job));
    let busy = json!({".tag": "in_progress"});
    let check = "files/upload_session/finish_batch/check";
    world
        .dropbox
        .inject(On::times(check, 90), Action::json(200, &busy));
    let gone = json!({".tag": "lookup_failed", "lookup_failed": {".tag": "not_found"}});
    let gone = json!({".tag": "failure", "failure": gone});
    let done = json!({".tag": "complete", "entries": [gone, gone, gone]});
    world
        .dropbox
        .inject(On::every(check), Action::json(200, &done));
    let ended = world.run_well();
    // Ninety questions take more than a quarter of an hour.
    assert!(ended.last_line().contains(" min"), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_session_that_never_becomes_a_file_is_given_up_after_two_runs() {
    let world = changed_world();
    world.dropbox.spoil_next_sessions(3);
    for _ in 0..2 {
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", &name_of(6), "could not be uploaded"]);
        assert_eq!(world.count(START), 3);
    }
    let ended = world.run_well();
    ended.assert_line(&[&name_of(6), "begins again from its start"]);
    assert_eq!(world.count(START), 6);
    world.assert_mirrored();

    // Where the whole route is down for one run, what was sent is not given up.
    let world = changed_world();
    world
        .dropbox
        .inject(On::every(FINISH), faults::server_error());
    world.run_badly();
    assert_recovers(&world);
    assert_eq!(world.count(START), 3);
}

#[test]
fn what_is_not_the_sessions_fault_is_not_counted_against_it() {
    for (routes, fault) in [
        (&[FINISH, METADATA][..], faults::server_error()),
        (&[FINISH], faults::upload_calls_used_up()),
        (&[FINISH], faults::too_many_requests(Some(86_400))),
    ] {
        let world = changed_world();
        for _ in 0..2 {
            for route in routes {
                world.dropbox.inject(On::every(route), fault.clone());
            }
            world.run_badly();
            world.dropbox.traffic().clear_faults();
        }
        assert_recovers(&world);
        assert_eq!(world.count(START), 3, "{fault:?}");
    }
}

#[test]
fn a_batch_without_results_is_looked_for_and_carried_out_again() {
    for (route, answer) in [
        (FINISH, json!({"entries": []})),
        (DELETE, json!({".tag": "complete", "entries": []})),
    ] {
        let world = changed_world();
        world
            .dropbox
            .inject(On::next(route), Action::json(200, &answer));
        world.run_well();
        world.assert_mirrored();
        assert_eq!(world.count(START), 3);
    }
}

#[test]
fn what_is_stored_is_found_whatever_the_commit_is_said_to_have_come_to() {
    let entry = json!({".tag": "failure", "failure": {".tag": "internal_error"}});
    let conflict =
        json!({".tag": "path", "path": {".tag": "conflict", "conflict": {".tag": "file"}}});
    let conflict = json!({".tag": "failure", "failure": conflict});
    let entries = |entry: &Value| Action::json(200, &json!({"entries": [entry, entry, entry]}));
    for answer in [
        faults::gateway_timeout(),
        faults::server_error(),
        Action::html(200, "<html>Done</html>"),
        entries(&entry),
        entries(&conflict),
    ] {
        let world = changed_world();
        let (run, gate) = world.start_held(START);
        world.dropbox.inject(On::every(FINISH), answer.clone());
        for backup in world.uisp.backups() {
            let stored = world.dropbox.paths().into_iter();
            let is_stored = stored.clone().any(|path| path.contains(&backup.id));
            if !is_stored {
                let day = &backup.created_at[..10].replace('-', "");
                let path = format!("/unms-backup-{day}-0012_{}.unms", backup.id);
                world.dropbox.put(&path, &backup.bytes());
            }
        }
        gate.open();
        assert_eq!(run.wait(), Some(0), "{answer:?}: {}", world.log());
        world.assert_mirrored();
    }
}

/// A world with a copy in Dropbox that differs from its backup and will be replaced.
fn differing_world() -> (World, String, StoredFile) {
    let world = World::authorized().calm();
    world.add_backups(5, 5, 20_000);
    let path = format!("/unms-backup-20260106-0012{}", name_of(5));
    let earlier = world.dropbox.put(&path, b"an earlier copy");
    (world, path, earlier)
}

#[test]
fn a_damaged_replacement_never_leaves_the_place_empty() {
    let (world, path, earlier) = differing_world();
    world.dropbox.corrupt_commits(2);
    world.run_well();
    world.assert_mirrored();
    drop((path, earlier));

    let (world, path, earlier) = differing_world();
    world.dropbox.corrupt_commits(u32::MAX);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", &name_of(5), "earlier one is back in its place"]);
    let there = world.dropbox.file(&path).unwrap();
    assert_eq!(there.content_hash, earlier.content_hash);
    world.dropbox.corrupt_commits(0);
    assert_recovers(&world);
}

#[test]
fn an_earlier_copy_that_does_not_come_back_is_said() {
    let restore = "files/restore";
    let gone = faults::route_error("invalid_revision/", &json!({".tag": "invalid_revision"}));
    let (world, path, _) = differing_world();
    world.dropbox.inject(On::every(restore), gone.clone());
    world.dropbox.corrupt_commits(u32::MAX);
    let ended = world.run_badly();
    ended.assert_line(&[
        "WARNING: The damaged copy",
        "could not be brought back",
        "versions",
    ]);
    ended.assert_line(&["ERROR: ", &name_of(5), "could not be taken away"]);
    assert!(world.dropbox.file(&path).is_some());
    world.dropbox.corrupt_commits(0);
    assert_recovers(&world);

    // What stands there damaged is replaced by the next try of the same run.
    let (world, ..) = differing_world();
    world.dropbox.inject(On::every(restore), gone);
    world.dropbox.corrupt_commits(1);
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_damaged_copy_is_removed_and_sent_again() {
    for times in [1, 3] {
        let world = changed_world().calm();
        world.dropbox.corrupt_commits(times);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn a_copy_that_is_damaged_every_time_fails_loudly_and_is_not_left_there() {
    let world = changed_world().calm();
    world.dropbox.corrupt_commits(u32::MAX);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", &name_of(5), "bad copy was removed"]);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "3 failed"]);
    for number in [5, 6, 7] {
        assert!(file_of(&world, number).is_none());
    }
    assert!(file_of(&world, 1).is_some());
    world.dropbox.corrupt_commits(0);
    assert_recovers(&world);
}

#[test]
fn a_damaged_copy_that_could_not_be_removed_is_replaced_by_the_next_run() {
    let world = changed_world();
    world.dropbox.corrupt_commits(3);
    world
        .dropbox
        .inject(On::every(DELETE), faults::server_error());
    let ended = world.run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert_recovers(&world);
}

#[test]
fn a_name_that_is_taken_is_said_and_left_alone() {
    let world = changed_world();
    let folder = "/unms-backup-20260106-0012_00000000-0000-4000-8000-000000000005.unms";
    world
        .dropbox
        .put(&format!("{folder}/notes.txt"), b"a stranger's");
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&["WARNING: ", &name_of(5), "is in its place"]);
    ended.assert_line(&["Finished: 2 uploaded", "1 deleted"]);
    assert!(world.dropbox.remove(folder));
    assert_recovers(&world);
}

#[test]
fn an_empty_folder_makes_way() {
    let world = changed_world();
    world
        .dropbox
        .put_folder("/unms-backup-20260106-0012_00000000-0000-4000-8000-000000000005.unms");
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn a_file_that_appears_under_the_name_is_not_overwritten_unseen() {
    let world = changed_world();
    let path = "/unms-backup-20260106-0012_00000000-0000-4000-8000-000000000005.unms";
    for theirs in ["somebody else's", "another one", "a third"] {
        let (run, gate) = world.start_held(FINISH);
        let theirs = world.dropbox.put(path, theirs.as_bytes());
        gate.open();
        assert_eq!(run.wait(), Some(1), "{}", world.log());
        assert_eq!(world.dropbox.file(path), Some(theirs));
    }
    // The next run takes it for a copy of 1.2.2 that differs. The session is as good as ever.
    assert_recovers(&world);
    assert_eq!(world.count(START), 3);
}
