//! A full Dropbox.

use sandbox::http::{Action, Exchange, Gate, Link, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::*;
use crate::support::{Ended, PATIENCE};

/// A world of three mirrored megabytes, in which a fourth does not fit any more.
fn full_world(size: u64) -> World {
    let world = World::authorized();
    world.add_backups(1, 3, size);
    world.run_well();
    world.dropbox.set_quota(3 * size + size / 2, 0);
    world.dropbox.traffic().clear_log();
    world
}

#[test]
fn a_full_dropbox_is_said_with_the_space_that_is_missing() {
    for size in [1_000_000, 9 * MIB] {
        let world = full_world(size);
        world.add_backups(4, 5, size);
        let before = world.dropbox.files();
        let ended = world.run_badly();
        let needed = if size == 1_000_000 {
            "1.0 MB"
        } else {
            "9.4 MB"
        };
        ended.assert_line(&["ERROR: ", &name_of(5), "Dropbox is full", needed]);
        assert_eq!(world.dropbox.files(), before);
        assert_eq!(world.count(DELETE), 0);
        world.dropbox.set_quota(1 << 40, 0);
        assert_recovers(&world);
    }
}

#[test]
fn a_full_dropbox_ends_the_uploads_of_the_run() {
    let world = full_world(9 * MIB);
    // On a line that takes seconds for all of them, the first commit is refused long before the last is begun.
    world.dropbox.set_link(Link {
        bytes_per_second_total: Some(60_000_000),
        ..Link::default()
    });
    world.add_backups(4, 30, 9 * MIB);
    world.run_badly();
    assert!(world.count(START) < 27, "{}", world.count(START));
    world.dropbox.set_link(Link::default());
    world.dropbox.set_quota(1 << 40, 0);
    assert_recovers(&world);
}

#[test]
fn what_was_sent_to_a_full_dropbox_is_not_sent_again() {
    for size in [1_000_000, 9 * MIB] {
        let world = full_world(size);
        world.add_backups(4, 4, size);
        world.run_badly();
        // No deletion is due, so nothing is tried again.
        assert_eq!(world.count(FINISH), 1);
        world.dropbox.traffic().clear_log();
        world.run_badly();
        world.dropbox.set_quota(1 << 40, 0);
        world.run_well();
        world.assert_mirrored();
        let sent =
            world.dropbox.traffic().body_bytes(START) + world.dropbox.traffic().body_bytes(APPEND);
        assert_eq!(sent, 0);
    }
}

#[test]
fn deletions_that_are_due_make_room_first() {
    for size in [1_000_000, 9 * MIB] {
        let world = full_world(size);
        world.remove_backup(1);
        world.add_backups(4, 4, size);
        let ended = world.run_well();
        ended.assert_line(&["Dropbox is full", "done first"]);
        ended.assert_line(&["Finished: 1 uploaded", "1 deleted", "2 unchanged"]);
        world.assert_mirrored();
    }
}

#[test]
fn deletions_that_make_too_little_room_are_done_once() {
    let world = full_world(1_000_000);
    world.remove_backup(1);
    world.add_backups(4, 6, 1_000_000);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "Dropbox is full"]);
    assert!(file_of(&world, 1).is_none());
    assert_eq!(world.count(DELETE), 1);
    assert_eq!(world.dropbox.files().len(), 3);
    world.run_badly();
    assert_eq!(world.count(DELETE), 1);
    assert_eq!(world.dropbox.files().len(), 3);
    world.dropbox.set_quota(1 << 40, 0);
    assert_recovers(&world);
}

#[test]
fn deletions_are_not_done_for_what_finds_no_room_all_the_same() {
    let world = full_world(1_000_000);
    world.dropbox.set_quota(3_600_000, 0);
    world.remove_backup(1);
    world.add_backups(4, 4, 2_100_000);
    let before = world.dropbox.files();
    world.run_badly();
    assert_eq!(world.dropbox.files(), before);
    assert_eq!(world.count(DELETE), 0);
    world.remove_backup(4);
    world.add_backups(4, 4, 1_700_000);
    // What is free already counts as well, where it may be known.
    world.dropbox.set_app_scopes(&[
        "files.metadata.read",
        "files.content.write",
        "account_info.read",
    ]);
    let token = world.dropbox.issue_refresh_token();
    world.configure(json!({"dropboxRefreshToken": token}));
    world.remove_backup(4);
    world.add_backups(5, 5, 1_500_000);
    world
        .run_well()
        .assert_line(&["Finished: 1 uploaded", "1 deleted"]);
    world.assert_mirrored();
}

#[test]
fn backups_that_grow_arrive_although_nobody_knows_what_is_free() {
    let world = full_world(1_000_000);
    for night in 1..=4 {
        world.remove_backup(night);
        let size = 1_000_000 + 20_000 * u64::from(night);
        world.add_backups(night + 3, night + 3, size);
        let ended = world.run_well();
        ended.assert_line(&["Dropbox is full", "done first"]);
        ended.assert_line(&["Finished: 1 uploaded", "1 deleted", "2 unchanged"]);
        world.assert_mirrored();
    }
}

#[test]
fn what_was_deleted_in_vain_is_brought_back_and_is_what_it_was() {
    for is_sealed in [false, true] {
        let world = World::authorized().sealing(is_sealed);
        world.add_backups(1, 3, 1_000_000);
        let ended = world.run_well();
        if let Some(owner) = &world.owner {
            owner.prove(&world, &ended);
        }
        world.dropbox.set_quota(3_500_000, 0);
        world.remove_backup(1);
        world.add_backups(4, 4, 1_700_000);
        let contents = || {
            let files = world.dropbox.files().into_iter();
            let contents = files.map(|file| (file.path, file.content_hash));
            contents.collect::<Vec<_>>()
        };
        let before = contents();
        for _ in 0..2 {
            let ended = world.run_badly();
            ended.assert_line(&["is back in Dropbox"]);
            ended.assert_line(&["ERROR: ", "Dropbox is full"]);
            ended.assert_line(&["Finished: 0 uploaded", "0 deleted"]);
            assert_eq!(contents(), before);
        }
        // It goes when its time has come.
        world.dropbox.set_quota(1 << 40, 0);
        let ended = world.run_well();
        ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
        world.assert_mirrored();
    }
}

#[test]
fn what_cannot_be_brought_back_is_told() {
    let world = full_world(1_000_000);
    world.remove_backup(1);
    world.add_backups(4, 4, 1_700_000);
    let refused = Action::text(400, "no");
    world.dropbox.inject(On::every("files/restore"), refused);
    let ended = world.run_badly();
    ended.assert_line(&["WARNING: ", "could not be brought back", "deleted files"]);
    ended.assert_line(&["0 uploaded", "1 deleted"]);
    assert_eq!(world.dropbox.files().len(), 2);
}

#[test]
fn no_other_deletion_makes_room() {
    // On hold, because they are most of the mirror.
    let world = World::authorized();
    world.add_backups(1, 8, 1_000_000);
    world.run_well();
    for number in 1..=6 {
        world.remove_backup(number);
    }
    world.add_backups(9, 9, 1_000_000);
    world.dropbox.set_quota(8_500_000, 0);
    let before = world.dropbox.files();
    world.run_badly();
    assert_eq!(world.dropbox.files(), before);

    // A list with a row that cannot be used.
    let world = full_world(1_000_000);
    world.remove_backup(1);
    world.add_backups(4, 4, 1_000_000);
    world
        .uisp
        .add(Backup::finished("../x", "2026-01-01T00:00:00Z", 10));
    let before = world.dropbox.files();
    world.run_badly();
    assert_eq!(world.dropbox.files(), before);
}

#[test]
fn room_is_made_where_it_is_enough_for_the_smallest() {
    let world = full_world(1_000_000);
    world.remove_backup(1);
    world.add_backups(4, 4, 1_000_000);
    world.add_backups(5, 5, 5_000_000);
    let ended = world.run_badly();
    ended.assert_line(&["Dropbox is full", "done first"]);
    ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
    assert!(file_of(&world, 4).is_some());

    // What is free is free once, however many ask for it.
    let world = World::authorized();
    world.dropbox.set_app_scopes(&[
        "files.metadata.read",
        "files.content.write",
        "account_info.read",
    ]);
    let token = world.dropbox.issue_refresh_token();
    world.configure(json!({"dropboxRefreshToken": token}));
    world.add_backups(1, 3, 1_000_000);
    world.run_well();
    world.dropbox.set_quota(3_500_000, 0);
    world.remove_backup(1);
    world.add_backups(4, 5, 1_800_000);
    world.run_badly();
    assert!(file_of(&world, 1).is_some(), "{}", world.log());
}

#[test]
fn what_was_not_begun_for_want_of_room_has_its_turn_when_there_is_some() {
    let world = full_world(MIB);
    world.remove_backup(1);
    world.add_backups(4, 43, 10_000);
    world.dropbox.set_quota(3 * MIB + 5_000, 0);
    // Most of them are not there to be read before the first ones have met the end of the room.
    let ended = run_held_until_refused(&world, 40);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&["Finished: 40 uploaded"]);
    world.assert_mirrored();
}

/// Starts a run that reads a numbered backup only when Dropbox has refused another one for want of room.
fn run_held_until_refused(world: &World, number: u32) -> Ended {
    let gate = Gate::new();
    let hold = Action::Hold(gate.clone());
    world.uisp.inject(On::next(&download_route(number)), hold);
    let before = world.count(FINISH);
    let run = world.start_as(&mut world.command());
    let traffic = world.dropbox.traffic();
    let is_refused = |e: &&Exchange| e.route == FINISH && e.status.is_some();
    let refused = |log: &[Exchange]| log.iter().filter(is_refused).count() > before;
    assert!(traffic.wait_for(PATIENCE, refused));
    gate.open();
    let code = run.wait();
    Ended {
        code,
        log: world.log(),
    }
}

#[test]
fn what_finds_no_room_does_not_hide_what_is_small_enough() {
    for knows in [false, true] {
        let world = full_world(MIB);
        if knows {
            world.dropbox.set_app_scopes(&[
                "files.metadata.read",
                "files.content.write",
                "account_info.read",
            ]);
            let token = world.dropbox.issue_refresh_token();
            world.configure(json!({"dropboxRefreshToken": token}));
        }
        // Half a megabyte is free.
        world.add_backups(20, 20, 2 * MIB);
        world.add_backups(10, 19, 10_000);
        world.add_backups(9, 9, 3 * MIB);
        let ended = run_held_until_refused(&world, 19);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: ", &name_of(20), "Dropbox is full"]);
        for number in 10..20 {
            assert!(file_of(&world, number).is_some(), "{number}: {}", ended.log);
        }
        // What is as long is not even sent.
        ended.assert_line(&["10 uploaded", "1 left for the next run", "1 failed"]);
        assert!(world.dropbox.traffic().body_bytes(START) < 3 * MIB);
    }
}

#[test]
fn no_room_is_made_by_a_run_that_cannot_remember_what_it_saw() {
    let world = World::authorized();
    world.add_backups(1, 200, 1000);
    world.run_well();
    world.remove_backup(1);
    world.remove_backup(2);
    world.add_backups(201, 201, 1000);
    world.dropbox.set_quota(200_500, 0);
    // Room for the log, not for the state.
    let room = world.log().len() + 10_000;
    let before = world.dropbox.files();
    let ended = world.run_as(&mut world.command_with_full_disk(room));
    ended.assert_line(&["ERROR: ", "state.json", "could not be written"]);
    ended.assert_line(&["ERROR: ", "Dropbox is full"]);
    assert_eq!(world.dropbox.files(), before);
    assert_recovers(&world);
}

#[test]
fn room_for_a_replacement_is_room_for_both_copies_and_is_not_made_after_an_error() {
    // With 1,000,000 bytes each, a copy to be set aside and its replacement need two.
    for (gone, fails, deleted) in [(1, false, 0), (2, false, 2), (2, true, 0)] {
        let world = World::authorized();
        world.add_backups(1, 6, 1_000_000);
        world.run_well();
        let changed = file_of(&world, 6).unwrap().path;
        world.dropbox.put(&changed, &[b'x'; 1_000_000]);
        (1..=gone).for_each(|number| world.remove_backup(number));
        world.add_backups(7, 7, 1000);
        world.dropbox.set_quota(6_500_000, 0);
        if fails {
            let page = Action::html(200, "<html>Log in</html>");
            world.uisp.inject(On::every(&download_route(7)), page);
        }
        let ended = world.run();
        let what = format!("{gone} {fails}: {}", ended.log);
        assert_eq!(ended.code == Some(0), deleted > 0, "{what}");
        assert!(ended.log.contains(&format!("{deleted} deleted")), "{what}");
    }
}
