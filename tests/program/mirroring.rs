//! The main job: new backups arrive, verified; deleted ones go; nothing else is touched.

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, UispOptions};
use serde_json::json;

use crate::support::{PATIENCE, World};

const MIB: u64 = 1024 * 1024;
const START: &str = "files/upload_session/start";
const FINISH: &str = "files/upload_session/finish_batch_v2";

#[test]
fn new_backups_are_uploaded_and_an_unchanged_source_costs_no_upload() {
    let world = World::authorized();
    world.add_backups(1, 3, 100_000);
    let ended = world.run_well();
    world.assert_mirrored();
    assert_eq!(
        ended.last_line().split(", in ").next(),
        Some("Finished: 3 uploaded (300 kB), 0 deleted, 0 unchanged")
    );
    // The host's timezone, four hours behind UTC: 04:12 UTC is 00:12.
    assert_eq!(
        world.dropbox.paths()[0],
        "/unms-backup-20260102-0012_00000000-0000-4000-8000-000000000001.unms"
    );
    assert!(ended.log.lines().last().unwrap().ends_with("-04:00)"));

    world.dropbox.traffic().clear_log();
    let ended = world.run_well();
    ended.assert_line(&["Finished: 0 uploaded", "3 unchanged"]);
    assert_eq!(
        world.dropbox.traffic().routes(),
        ["oauth2/token", "files/list_folder"]
    );
}

#[test]
fn every_size_arrives_with_the_right_hash() {
    let world = World::authorized_with(sandbox::dropbox::DropboxOptions {
        keep_content: false,
        ..Default::default()
    })
    .calm();
    let sizes = [
        1,
        4 * MIB - 1,
        4 * MIB,
        4 * MIB + 1,
        8 * MIB,
        8 * MIB + 1,
        12 * MIB,
        140_000_000,
        150 * MIB,
        150 * MIB + 1,
        // 1.2.2 never finishes the next two.
        200 * MIB,
        1024 * MIB,
    ];
    let thirty_small = [5_000_000; 30];
    for (number, size) in (1..).zip(sizes.into_iter().chain(thirty_small)) {
        world.uisp.add(Backup::numbered(number, size));
    }
    world.run_well();
    world.assert_mirrored();
    assert_eq!(world.dropbox.write_contentions(), 0);
}

#[test]
fn a_source_without_length_and_range_is_mirrored_too() {
    let world = World::authorized();
    world.uisp.configure(|options| {
        *options = UispOptions {
            supports_range: false,
            announces_length: false,
            ..options.clone()
        };
    });
    for (number, size) in [(1, 10), (2, 8 * MIB), (3, 8 * MIB + 1), (4, 20 * MIB)] {
        world.uisp.add(Backup::numbered(number, size));
    }
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn deleted_backups_are_deleted_in_one_call_and_nothing_else_is() {
    let world = World::authorized();
    world.dropbox.put("/holiday.jpg", b"foreign");
    world
        .dropbox
        .put("/unms-backup-20200101-0000_x.unms.bak", b"foreign");
    world
        .dropbox
        .put("/sub/unms-backup-20200101-0000_a.unms", b"foreign");
    world
        .dropbox
        .put_folder("/unms-backup-20200101-0000_b.unms");
    world.add_backups(1, 30, 1000);
    world.run_well();
    for number in 1..=10 {
        world.remove_backup(number);
    }
    world.dropbox.traffic().clear_log();
    let ended = world.run_well();
    ended.assert_line(&["Finished: 0 uploaded", "10 deleted", "20 unchanged"]);
    assert_eq!(world.count("files/delete_batch"), 1);
    for foreign in [
        "/holiday.jpg",
        "/unms-backup-20200101-0000_x.unms.bak",
        "/sub/unms-backup-20200101-0000_a.unms",
    ] {
        assert!(world.dropbox.remove(foreign), "{foreign}");
    }
    world.assert_mirrored();
}

#[test]
fn a_list_that_cannot_be_trusted_deletes_nothing() {
    for (list, code) in [
        ("[]", 0),
        (
            r#"[{"id":"a","state":"failed","createdAt":"2026-01-01T00:00:00Z"}]"#,
            0,
        ),
        (r#"[{"id":"a","createdAt":"2026-01-01T00:00:00Z"}]"#, 0),
        ("{}", 1),
        ("null", 1),
        ("[", 1),
        ("<!DOCTYPE html><title>Log in</title>", 1),
    ] {
        let world = World::authorized();
        world.add_backups(1, 3, 1000);
        world.run_well();
        let before = world.dropbox.files();
        world
            .uisp
            .answer_list(Some(sandbox::uisp::RawAnswer::json(200, list)));
        let ended = world.run();
        assert_eq!(ended.code, Some(code), "{list}: {}", ended.log);
        assert!(
            ended.log.contains("nothing is deleted"),
            "{list}: {}",
            ended.log
        );
        assert_eq!(world.dropbox.files(), before, "{list}");
        world.uisp.answer_list(None);
        world.remove_backup(1);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn good_rows_are_uploaded_although_a_bad_row_forbids_deletions() {
    let world = World::authorized();
    world.add_backups(1, 4, 1000);
    world.run_well();
    world.remove_backup(1);
    world.add_backups(5, 5, 1000);
    world
        .uisp
        .add(Backup::finished("../x", "2026-01-01T00:00:00Z", 10));
    let ended = world.run_well();
    ended.assert_line(&["WARNING: ", "row 5", "is not usable"]);
    ended.assert_line(&["Finished: 1 uploaded", "0 deleted"]);
    assert_eq!(world.dropbox.files().len(), 5);
}

#[test]
fn most_of_the_mirror_is_deleted_only_with_the_admins_word() {
    let world = World::authorized();
    world.add_backups(1, 8, 1000);
    world.run_well();
    for number in 1..=6 {
        world.remove_backup(number);
    }
    for _ in 0..2 {
        let ended = world.run_well();
        ended.assert_line(&["WARNING: 6 files", "Confirm clean-up"]);
        assert_eq!(world.dropbox.files().len(), 8);
    }
    world.configure(json!({"confirmCleanup": true}));
    let ended = world.run_well();
    ended.assert_line(&["6 deleted"]);
    world.assert_mirrored();
    assert_eq!(world.config()["confirmCleanup"], json!(false));
    world.run_well().assert_line(&["0 deleted"]);
}

#[test]
fn files_of_another_server_are_kept_and_named() {
    let world = World::authorized();
    world
        .dropbox
        .put("/unms-backup-20200101-0000_other.unms", b"theirs");
    world.add_backups(1, 2, 1000);
    let ended = world.run_well();
    ended.assert_line(&["Kept 1 backup", "unms-backup-20200101-0000_other.unms"]);
    assert_eq!(world.dropbox.files().len(), 3);
}

#[test]
fn a_folder_left_by_1_2_2_is_taken_over() {
    let world = World::authorized();
    world.add_backups(1, 3, 1_000_000);
    for backup in world.uisp.backups() {
        let mut bytes = backup.bytes();
        if backup.id.ends_with('2') {
            bytes.truncate(500_000);
        }
        // 1.2.2 ran with another timezone.
        let path = format!("/unms-backup-20260101-0412_{}.unms", backup.id);
        world.dropbox.put(&path, &bytes);
    }
    let ended = world.run_well();
    assert_eq!(ended.log.matches("Verified \"").count(), 2, "{}", ended.log);
    ended.assert_line(&["WARNING: ", "differs", "500 kB instead of 1.0 MB"]);
    ended.assert_line(&["Finished: 1 uploaded", "2 unchanged"]);
    world.assert_mirrored();

    world.dropbox.traffic().clear_log();
    world.uisp.traffic().clear_log();
    world
        .run_well()
        .assert_line(&["Finished: 0 uploaded", "3 unchanged"]);
    assert_eq!(world.uisp.traffic().count("nms/backups/*"), 0);
}

/// Many are sent before the first of them are committed, and each has a journal.
#[test]
fn more_backups_can_be_under_way_than_files_may_be_open() {
    let world = World::authorized();
    world.add_backups(1, 150, 100);
    let gate = Gate::new();
    let hold = Action::Hold(gate.clone());
    world.dropbox.inject(On::next(FINISH), hold);
    let run = world.start_as(&mut world.command_with_few_files(64));
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    let ended = world.run_as(&mut world.command_with_few_files(64));
    ended.assert_line(&["Finished: 150 uploaded"]);
    // What was on its way in that moment may be sent again, one on each connection.
    let sent = world.count(START);
    assert!((150..=158).contains(&sent), "{sent} sent, {}", ended.log);
    gate.open();
    world.assert_mirrored();
}
