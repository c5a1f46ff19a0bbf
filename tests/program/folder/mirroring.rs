//! Files arrive under their paths; what has not changed is not read again; what has is replaced.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use super::origin::Mounted;
use super::world::{FolderWorld, set_time};
use crate::crash::kill::is_root;

const MIB: usize = 1024 * 1024;
const START: &str = "files/upload_session/start";

#[test]
fn files_keep_their_paths_and_an_unchanged_folder_costs_nothing() {
    let world = FolderWorld::new();
    world.write("a.sql.gz", "a");
    world.write("archive/2026/11/b c.sql.gz", "b");
    world.write("archive/2026/ü/日本.sql.gz", "c");
    world.write("large.sql.gz", vec![7; 9 * MIB]);
    let names = [
        "a.sql.gz",
        "archive/2026/11/b c.sql.gz",
        "archive/2026/ü/日本.sql.gz",
        "large.sql.gz",
    ];
    let ended = world.run_well();
    ended.assert_line(&["is mirrored instead of UISP's backups"]);
    ended.assert_line(&["The backup folder has 4 finished backups"]);
    ended.assert_line(&["Uploaded \"archive/2026/11/b c.sql.gz\""]);
    ended.assert_line(&["Finished: 4 uploaded"]);
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    world.assert_stored(&names);
    let record = world.record();
    let rows = record["lists"]["rows"].as_array().unwrap();
    for name in names {
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        assert!(
            row["verified_at"].is_string() && row["decision"] == "mirrored",
            "{row}"
        );
    }

    world.dropbox.traffic().clear_log();
    let ended = world.run_well();
    ended.assert_line(&["4 finished backups: 0 to upload, 0 to compare, 4 unchanged"]);
    ended.assert_line(&["Finished: 0 uploaded", "4 unchanged"]);
    assert_eq!(
        world.dropbox.traffic().routes(),
        ["oauth2/token", "files/list_folder"]
    );
    assert_eq!(world.uisp.traffic().requests().len(), 0);
}

#[test]
fn a_content_that_changed_under_its_old_length_and_time_is_found() {
    let world = FolderWorld::new();
    let names = ["in place", "another file", "the same"];
    for name in names {
        world.write(name, "content");
    }
    world.run_well();
    let modified = |name| fs::metadata(world.path(name)).unwrap().modified().unwrap();
    world.write_at("in place", "CONTENT", modified("in place"));
    world.write_at("new", "CoNtEnT", modified("another file"));
    fs::rename(world.path("new"), world.path("another file")).unwrap();
    let ended = world.run_well();
    ended.assert_line(&["0 to upload, 2 to compare, 1 unchanged"]);
    ended.assert_line(&["Finished: 2 uploaded", "1 unchanged"]);
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    world.assert_stored(&names);
    // What leaves the content as it is costs one look at it.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(world.path("the same"), permissions).unwrap();
    let ended = world.run_well();
    ended.assert_line(&["0 to upload, 1 to compare, 2 unchanged"]);
    ended.assert_line(&["Finished: 0 uploaded", "3 unchanged"]);
    world.run_well().assert_line(&["0 to compare, 3 unchanged"]);
}

/// A number by which the system tells this file system's kind.
fn kind_of(folder: &Path) -> u32 {
    rustix::fs::statfs(folder).unwrap().f_type as u32
}

/// Overlays, whose files may have other numbers tomorrow.
const OVERLAY: u32 = 0x794c_7630;

#[test]
fn a_folder_that_took_anothers_place_is_told_by_the_numbers_of_its_files() {
    let world = FolderWorld::new();
    if kind_of(world.folder()) == OVERLAY {
        return;
    }
    let next = tempfile::tempdir_in(world.folder().parent().unwrap()).unwrap();
    let next = next.path().join("next");
    let (now, before) = (world.path("now"), world.path("before"));
    // The system counts the time of a change in ticks: what two programs write in the same one has the same.
    let written = SystemTime::UNIX_EPOCH;
    let is_alike = (0..1000).any(|_| {
        for (folder, content) in [(&now, "content"), (&next, "CONTENT")] {
            fs::create_dir_all(folder).unwrap();
            let _ = fs::remove_file(folder.join("dump"));
            fs::write(folder.join("dump"), content).unwrap();
        }
        set_time(&now.join("dump"), written);
        set_time(&next.join("dump"), written);
        let changed = |folder: &Path| {
            let file = fs::metadata(folder.join("dump")).unwrap();
            (file.ctime(), file.ctime_nsec())
        };
        changed(&now) == changed(&next)
    });
    assert!(is_alike);
    world.run_well();
    fs::rename(&now, &before).unwrap();
    fs::rename(&next, &now).unwrap();
    fs::remove_dir_all(&before).unwrap();
    let ended = world.run_well();
    ended.assert_line(&["Finished: 1 uploaded"]);
    world.assert_stored(&["now/dump"]);
}

#[test]
fn numbers_of_files_that_do_not_last_are_not_remembered() {
    let world = FolderWorld::new();
    world.write("a", "a");
    world.run_well();
    let number = |world: &FolderWorld| world.state()["mirrored"]["a"]["version"]["inode"].clone();
    let lasts = kind_of(world.folder()) != OVERLAY;
    assert_eq!(number(&world) != json!(0), lasts);
    let supported = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !is_root() || !lasts || !supported.contains("overlay") {
        return;
    }
    let world = FolderWorld::new();
    let parts = tempfile::tempdir_in(world.folder().parent().unwrap()).unwrap();
    let folder = |name: &str| {
        let folder = parts.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder.display().to_string()
    };
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        folder("lower"),
        folder("upper"),
        folder("work")
    );
    let arguments = ["-t", "overlay", "-o", &options, "overlay"];
    let _mounted = Mounted::new(&arguments, world.folder());
    world.write("a", "a");
    world.run_well();
    assert_eq!(number(&world), json!(0));
}

#[test]
fn the_authorization_needs_two_runs_and_no_uisp() {
    let world = FolderWorld::not_authorized();
    world.write("a", "a");
    let asked = world.run_well();
    asked.assert_line(&["Finished: waiting for the next step of the setup"]);
    world.allow_and_paste(&asked);
    world.run_well().assert_line(&["Finished: 1 uploaded"]);
    world.assert_stored(&["a"]);
}

#[test]
fn a_listing_of_many_pages_in_a_folder_of_its_own_is_read_to_its_end() {
    let world = FolderWorld::new();
    world.configure(json!({"dropboxFolder": "House/Meter"}));
    let names: Vec<String> = (0..700)
        .map(|number| format!("{}/{}/{number}.sql", number % 7, number % 3))
        .collect();
    for name in &names {
        world.write(name, name);
    }
    world.dropbox.put("/House/other.txt", b"foreign");
    world.run_well().assert_line(&["Finished: 700 uploaded"]);
    let ended = world.run_well();
    ended.assert_line(&["Finished: 0 uploaded", "700 unchanged"]);
    assert!(world.count("files/list_folder/continue") > 0);
    // The folder's letter case in Dropbox is not that of the configuration.
    world.configure(json!({"dropboxFolder": "house/METER"}));
    world.remove(&names[3]);
    let ended = world.run_well();
    ended.assert_line(&["1 deleted", "699 unchanged"]);
    assert!(world.dropbox.file("/House/other.txt").is_some());
}

#[test]
fn a_file_that_was_written_again_replaces_its_copy() {
    let world = FolderWorld::new();
    world.write("monday.sql.gz", "first");
    world.write("tuesday.sql.gz", "other");
    world.run_well();
    let before = world.dropbox.file("/monday.sql.gz").unwrap();
    for (content, line) in [
        ("another length", "Replaced \"monday.sql.gz\""),
        ("ANOTHER LENGTH", "Replaced \"monday.sql.gz\""),
    ] {
        world.write("monday.sql.gz", content);
        let ended = world.run_well();
        ended.assert_line(&[line]);
        ended.assert_line(&["Finished: 1 uploaded", "1 unchanged"]);
        assert!(!ended.log.contains("WARNING"), "{}", ended.log);
        world.assert_stored(&["monday.sql.gz", "tuesday.sql.gz"]);
    }
    let after = world.dropbox.file("/monday.sql.gz").unwrap();
    assert_ne!(before.client_modified, after.client_modified);
}

#[test]
fn a_file_that_was_only_touched_is_read_once_and_not_sent() {
    let world = FolderWorld::new();
    world.write("a.sql", "content");
    world.run_well();
    world.write("a.sql", "content");
    world.dropbox.traffic().clear_log();
    let ended = world.run_well();
    ended.assert_line(&["have a new time but the same length"]);
    ended.assert_line(&["Finished: 0 uploaded", "1 unchanged"]);
    assert_eq!(world.count(START), 0);
    let ended = world.run_well();
    assert!(!ended.log.contains("compared with"), "{}", ended.log);
}

#[test]
fn a_sudden_shrink_is_warned_about() {
    let world = FolderWorld::new();
    world.write("a.sql.gz", vec![1; 100_000]);
    world.write("b.sql.gz", vec![2; 100_000]);
    world.run_well();
    world.write("a.sql.gz", vec![1; 1000]);
    world.write("b.sql.gz", vec![2; 50_000]);
    let ended = world.run_well();
    ended.assert_line(&[
        "WARNING: \"a.sql.gz\"",
        "much smaller: 1.0 kB instead of 100 kB",
    ]);
    assert_eq!(ended.log.matches("WARNING").count(), 1, "{}", ended.log);
    world.assert_stored(&["a.sql.gz", "b.sql.gz"]);
    assert!(!world.run_well().log.contains("WARNING"));
}

#[test]
fn what_was_in_the_mirror_folder_before_is_verified_and_replaced_if_it_differs() {
    let world = FolderWorld::new();
    for name in ["same", "other-length", "other-content"] {
        world.write(format!("sub/{name}"), format!("content of {name}"));
    }
    world.dropbox.put("/sub/same", b"content of same");
    world.dropbox.put("/SUB/other-length", b"x");
    let foreign = b"CONTENT OF OTHER-CONTENT";
    world.dropbox.put("/sub/other-content", foreign);
    world.dropbox.put("/sub/foreign", b"foreign");
    let ended = world.run_well();
    ended.assert_line(&["Verified \"sub/same\""]);
    ended.assert_line(&["WARNING: The copy of \"sub/other-length\" in Dropbox"]);
    ended.assert_line(&["WARNING: \"sub/other-content\" in Dropbox differs"]);
    ended.assert_line(&["Finished: 2 uploaded", "0 deleted"]);
    ended.assert_line(&["Kept 1 backup", "sub/foreign"]);
    assert!(world.dropbox.remove("/sub/foreign"));
    world.assert_stored_beside(&["sub/same", "sub/other-length", "sub/other-content"], 2);
}

#[test]
fn a_copy_that_somebody_changed_in_dropbox_is_put_right() {
    let world = FolderWorld::new();
    world.write("a", "content");
    world.write("b", "content");
    world.write("c", "content");
    world.run_well();
    world.dropbox.put("/a", b"CONTENT");
    world.dropbox.put("/b", b"much longer than before");
    world.dropbox.remove("/c");
    let ended = world.run_well();
    ended.assert_line(&["WARNING: \"a\" in Dropbox differs"]);
    ended.assert_line(&["WARNING: The copy of \"b\" in Dropbox"]);
    world.assert_stored_beside(&["a", "b", "c"], 2);
}

#[test]
fn a_copy_that_changes_after_the_listing_is_not_replaced_blindly() {
    use sandbox::http::{Action, Gate, On};
    let world = FolderWorld::new();
    world.write("a", "first");
    world.run_well();
    world.write("a", "second one");
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::next(START), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(crate::support::PATIENCE));
    world.dropbox.put("/a", b"somebody else's");
    gate.open();
    assert_eq!(run.wait(), Some(1));
    assert_eq!(world.dropbox.read("/a").unwrap(), b"somebody else's");
    world.run_well();
    world.assert_stored_beside(&["a"], 1);
}

#[test]
fn a_state_of_version_1_is_read() {
    let world = FolderWorld::new();
    world.write("a", "content");
    world.run_well();
    let mut state = world.state();
    assert_eq!(state["version"], 1);
    state["mirrored"]["00000000-0000-4000-8000-000000000001"] = json!({
        "rev": "015f0000000000000000001",
        "content_hash": "ab".repeat(32),
        "bytes": 1,
        "verified_at": "2026-01-01T00:00:00Z",
    });
    state["seen"]["00000000-0000-4000-8000-000000000001"] = json!({"missing_since": null});
    fs::write(world.data("state.json"), state.to_string()).unwrap();
    let ended = world.run_well();
    assert!(!ended.log.contains("damaged"), "{}", ended.log);
    ended.assert_line(&["0 uploaded", "1 unchanged"]);
}

#[test]
fn a_time_that_no_file_should_have_is_no_obstacle() {
    let world = FolderWorld::new();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    world.write_at("future", "a", SystemTime::now() + 400 * day);
    world.write_at("past", "b", SystemTime::UNIX_EPOCH - 400 * day);
    world.run_well();
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(120));
    world.run_well();
    world.assert_stored(&["future", "past"]);
    world.run_well().assert_line(&["2 unchanged"]);
}

#[test]
fn a_file_that_takes_longer_than_a_run_is_carried_on_without_asking_anybody() {
    let world = FolderWorld::new();
    world.write("large", vec![1; 60 * MIB]);
    // 12.5 kB in each of the program's seconds, of which a thousand pass in one of the wall's: a run
    // of 55 minutes sends about 41 MB.
    world.configure(json!({"uploadLimitMbps": 0.1}));
    let mut command = world.command();
    command.env("BACKUP_SYNC_CLOCK_SPEED", "1000");
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&["Finished early", "The next run carries on"]);
    assert!(!ended.log.contains("is asked to start"), "{}", ended.log);
    let request = world.root().join(".ucrm-plugin-execution-requested");
    assert!(!request.exists());
    world.configure(json!({"uploadLimitMbps": null}));
    world.run_well().assert_line(&["goes on; Dropbox holds"]);
    world.assert_stored(&["large"]);
}
