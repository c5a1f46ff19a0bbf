//! The rules of deletion for a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::users::{as_ordinary_user, give};
use super::world::FolderWorld;

/// A world with so many files, all in Dropbox.
fn mirrored(files: usize) -> FolderWorld {
    let world = FolderWorld::new();
    for number in 0..files {
        world.write(format!("sub/{number}"), format!("content {number}"));
    }
    world.run_well();
    assert_eq!(world.dropbox.files().len(), files);
    world
}

#[test]
fn a_file_that_is_gone_is_deleted_and_nothing_else_is() {
    let world = mirrored(8);
    world.dropbox.put("/sub/holiday.jpg", b"foreign");
    world.dropbox.put_folder("/sub/folder");
    for number in 0..4 {
        world.remove(format!("sub/{number}"));
    }
    let ended = world.run_well();
    ended.assert_line(&["Deleted \"sub/0\", which the backup folder no longer has."]);
    ended.assert_line(&["4 deleted", "4 unchanged"]);
    assert!(world.dropbox.remove("/sub/holiday.jpg"));
    world.assert_stored(&["sub/4", "sub/5", "sub/6", "sub/7"]);
}

#[test]
fn a_folder_that_is_missing_empty_or_no_folder_deletes_nothing() {
    let world = mirrored(2);
    let before = world.stored();
    let elsewhere = tempfile::tempdir().unwrap();
    let hidden = elsewhere.path().join("hidden");
    fs::rename(world.folder(), &hidden).unwrap();
    let ended = world.run_badly();
    ended.assert_line(&[
        "ERROR: The backup folder's list",
        "cannot be read",
        "mounted",
    ]);
    // The place where the disk should be mounted.
    fs::create_dir(world.folder()).unwrap();
    let ended = world.run_well();
    ended.assert_line(&[
        "WARNING: The backup folder lists no finished backup",
        "mounted",
    ]);
    fs::create_dir(world.path("lost+found")).unwrap();
    world.run_well();
    fs::remove_dir(world.path("lost+found")).unwrap();
    fs::remove_dir(world.folder()).unwrap();
    fs::write(world.folder(), "no folder").unwrap();
    world.run_badly();
    fs::remove_file(world.folder()).unwrap();
    assert_eq!(world.stored(), before);
    fs::rename(&hidden, world.folder()).unwrap();
    world.run_well().assert_line(&["2 unchanged"]);
}

#[test]
fn most_of_the_folder_is_deleted_only_with_the_admins_word() {
    let world = mirrored(8);
    for number in 0..6 {
        world.remove(format!("sub/{number}"));
    }
    for _ in 0..2 {
        let ended = world.run_well();
        ended.assert_line(&[
            "WARNING: 6 files",
            "\"confirmCleanup\" to true in data/config.json",
        ]);
        assert_eq!(world.dropbox.files().len(), 8);
    }
    world.configure(json!({"confirmCleanup": true}));
    world.run_well().assert_line(&["6 deleted"]);
    assert_eq!(world.config()["confirmCleanup"], json!(false));
    world.assert_stored(&["sub/6", "sub/7"]);
}

#[test]
fn a_deleted_file_stays_for_the_days_configured() {
    let world = mirrored(3);
    world.configure(json!({"keepDeletedDays": 5}));
    world.remove("sub/1");
    world.run_well().assert_line(&["0 deleted"]);
    let mut state = world.state();
    let six_days_ago = chrono::Utc::now() - chrono::TimeDelta::days(6);
    state["seen"]["sub/1"]["missing_since"] = json!(six_days_ago);
    fs::write(world.data("state.json"), state.to_string()).unwrap();
    world.run_well().assert_line(&["1 deleted"]);
    world.assert_stored(&["sub/0", "sub/2"]);
}

#[test]
fn another_folder_is_another_source() {
    let world = mirrored(2);
    let before = world.stored();
    let other = tempfile::tempdir().unwrap();
    world.configure(json!({"backupDirectory": other.path()}));
    let file = other.path().join("new");
    fs::write(&file, "new").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(old)
        .unwrap();
    // One file of two would be no sudden loss, but nothing of the other folder was seen in this one.
    let ended = world.run_well();
    ended.assert_line(&["Finished: 1 uploaded", "0 deleted"]);
    ended.assert_line(&["Kept 2 backups", "never saw in the backup folder"]);
    assert!(before.iter().all(|file| world.stored().contains(file)));
    // UISP is another one, too.
    let ucrm = json!({"unmsLocalUrl": world.uisp.local_url(), "pluginId": 1});
    fs::write(world.root().join("ucrm.json"), ucrm.to_string()).unwrap();
    world.configure(json!({"backupDirectory": null, "unmsApiToken": world.uisp.token()}));
    world.add_backups(1, 1, 1000);
    world
        .run_well()
        .assert_line(&["Finished: 1 uploaded", "0 deleted"]);
    assert_eq!(world.dropbox.files().len(), 4);
}

#[test]
fn a_folder_wins_over_uisp_and_needs_neither_its_address_nor_its_token() {
    let world = FolderWorld::new();
    world.write("a", "a");
    world.configure(json!({"unmsApiToken": world.uisp.token()}));
    let ended = world.run_well();
    ended.assert_line(&["\"backupDirectory\"", "instead of UISP's backups"]);
    world.assert_stored(&["a"]);
    assert_eq!(world.uisp.traffic().requests().len(), 0);
}

#[test]
fn the_programs_own_folder_is_never_mirrored() {
    let world = FolderWorld::new();
    let link = world.path("link");
    std::os::unix::fs::symlink(world.root(), &link).unwrap();
    for folder in [world.root(), &world.data(""), Path::new("/"), &link] {
        world.configure(json!({"backupDirectory": folder}));
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: The folder", "contains this program's own folder"]);
        assert!(world.dropbox.files().is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_goes_on() {
    let closed = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let world = FolderWorld::new();
    for name in ["top", "open/a", "shut/a", "shut/b", "gone"] {
        world.write(name, name);
    }
    let run = || {
        give(world.folder());
        world.run_as(&mut as_ordinary_user(&world))
    };
    assert_eq!(run().code, Some(0), "{}", world.log());
    world.assert_stored(&["top", "open/a", "shut/a", "shut/b", "gone"]);
    let before = world.dropbox.files().len();

    // A folder: copies of what is in it stay, everything else goes on.
    world.remove("gone");
    world.write("open/new", "new");
    closed(&world.path("shut"), 0o000);
    let ended = run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let line = "WARNING: Some of what is in the backup folder cannot be mirrored";
    ended.assert_line(&[line, "\"shut\", which cannot be read (Permission denied"]);
    ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
    assert_eq!(world.dropbox.files().len(), before);
    closed(&world.path("shut"), 0o755);

    // A file: the same.
    world.write("shut/a", "changed");
    world.write("open/newer", "newer");
    world.remove("open/a");
    closed(&world.path("shut/a"), 0o000);
    let ended = run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&[line, "\"shut/a\", which cannot be read (Permission denied"]);
    ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
    assert_eq!(world.dropbox.read("/shut/a").unwrap(), b"shut/a");

    // The whole folder.
    closed(&world.path("shut/a"), 0o644);
    closed(world.folder(), 0o000);
    let ended = run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: The backup folder's list", "may read it"]);
    closed(world.folder(), 0o755);
    assert_eq!(run().code, Some(0), "{}", world.log());
    world.assert_stored(&["top", "open/new", "open/newer", "shut/a", "shut/b"]);
}
