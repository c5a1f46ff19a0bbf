//! Files that are empty, growing, or changed while they are read: never in Dropbox, and never in
//! place of a good copy.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

use sandbox::http::{Action, Gate, On};
use serde_json::json;
use sha2::Digest as _;

use super::world::FolderWorld;
use crate::support::PATIENCE;
use crate::switches::healthcheck::Monitor;

const MIB: usize = 1024 * 1024;
const APPEND: &str = "files/upload_session/append_v2";
const FINISH: &str = "files/upload_session/finish_batch_v2";

#[test]
fn empty_and_young_files_wait_and_protect_their_copies() {
    let world = FolderWorld::new();
    world.write("a", "whole a");
    world.write("b", "whole b");
    world.write("c", "whole c");
    world.run_well();
    let before = world.stored();
    world.write("a", "");
    world.write_just_now("b", "half of");
    world.write_just_now("new", "half of");
    world.write("empty", "");
    world.write(".mark", "");
    let ended = world.run_well();
    ended.assert_line(&["WARNING: Some files", "are empty now", "\"a\""]);
    ended.assert_line(&["Not copied, because changed within", "\"b\", \"new\""]);
    ended.assert_line(&["WARNING: Some files", "empty and have no copy", "\"empty\""]);
    ended.assert_line(&["Not copied, because empty: \".mark\"."]);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "1 unchanged"]);
    assert_eq!(world.stored(), before);

    world.write("a", "whole a again");
    world.let_rest("b");
    world.let_rest("new");
    world.run_well();
    world.assert_stored(&["a", "b", "c", "new"]);
}

/// What somebody does to a file while it is read.
type Change = fn(&FolderWorld);

#[test]
fn a_file_that_changes_while_it_is_read_is_left_for_the_next_run() {
    let changes: [(&str, Change); 6] = [
        ("grows", |world| {
            let mut file = File::options()
                .append(true)
                .open(world.path("big"))
                .unwrap();
            file.write_all(&[9; 100]).unwrap();
        }),
        ("shrinks", |world| {
            let file = File::options().write(true).open(world.path("big"));
            file.unwrap().set_len(50 * MIB as u64).unwrap();
        }),
        ("is rewritten", |world| {
            let file = File::options().write(true).open(world.path("big"));
            file.unwrap().write_all_at(b"x", 59 * MIB as u64).unwrap();
        }),
        ("is rewritten where it was read", |world| {
            let file = File::options().write(true).open(world.path("big"));
            file.unwrap().write_all_at(b"x", 0).unwrap();
        }),
        ("is rewritten and gets its time again", |world| {
            let file = File::options().write(true).open(world.path("big"));
            let file = file.unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(b"x", 59 * MIB as u64).unwrap();
            file.set_modified(time).unwrap();
        }),
        ("is emptied", |world| {
            fs::write(world.path("big"), "").unwrap()
        }),
    ];
    for (what, change) in changes {
        let world = FolderWorld::new();
        world.write("big", vec![1; 20 * MIB]);
        world.write("other", "first");
        world.write("gone", "gone");
        world.run_well();
        let before = world.dropbox.file("/big").unwrap();
        let monitor = Monitor::start();
        world.configure(json!({"healthcheckUrl": monitor.address()}));
        // More than the reader may have in memory, and no whole number of blocks.
        world.write("big", vec![2; 60 * MIB + 1000]);
        world.write("other", "another one");
        world.remove("gone");
        let gate = Gate::new();
        world
            .dropbox
            .inject(On::every(APPEND), Action::Hold(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE));
        change(&world);
        gate.open();
        assert_eq!(run.wait(), Some(0), "{what}: {}", world.log());
        let log = world.log();
        assert!(
            log.contains("WARNING: \"big\" is left for the next run"),
            "{what}: {log}"
        );
        assert!(log.contains("1 left for the next run"), "{what}: {log}");
        let told = monitor.take().pop().unwrap();
        assert_eq!(told.1, "/fail", "{what}: {log}");
        assert_eq!(world.dropbox.file("/big"), Some(before), "{what}");
        // Rule 6: with something left, nothing is deleted.
        assert!(world.dropbox.file("/gone").is_some(), "{what}");

        world.dropbox.traffic().clear_faults();
        if what == "is emptied" {
            world.write("big", "whole again");
        }
        world.let_rest("big");
        world.run_well();
        world.assert_stored(&["big", "other"]);
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_stored_as_it_was() {
    let world = FolderWorld::new();
    world.write("big", vec![2; 60 * MIB]);
    let first = super::world::hash_of(&world.path("big"));
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::every(APPEND), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.write("new", vec![3; 60 * MIB]);
    fs::rename(world.path("new"), world.path("big")).unwrap();
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert_eq!(world.dropbox.file("/big").unwrap().content_hash, first);
    world.run_well();
    world.assert_stored(&["big"]);
}

#[test]
fn a_folder_that_is_moved_away_while_it_is_read_is_read_to_its_end() {
    let world = FolderWorld::new();
    world.write("sub/small", "small");
    world.write("big", vec![2; 60 * MIB]);
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::every(APPEND), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::rename(world.folder(), &moved).unwrap();
    world.write("sub/small", "of another folder");
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    fs::remove_dir_all(world.folder()).unwrap();
    fs::rename(&moved, world.folder()).unwrap();
    world.assert_stored(&["big", "sub/small"]);
}

#[test]
fn a_file_that_is_gone_when_its_turn_comes_is_left() {
    let world = FolderWorld::new();
    world.write("small", "small");
    world.write("big", vec![2; 60 * MIB]);
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::every(APPEND), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.remove("small");
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert!(world.log().contains("\"small\" is left for the next run"));
    world.run_well();
    world.assert_stored(&["big"]);
}

/// Starts a run, holds `route`, kills the run there.
fn kill_at(world: &FolderWorld, route: &str) {
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::from_nth(route, 3), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    world.dropbox.traffic().clear_faults();
    gate.open();
}

#[test]
fn an_upload_is_carried_on_unless_the_file_has_changed_since() {
    for is_changed in [false, true] {
        let world = FolderWorld::new();
        world.write("sub/big one.sql", vec![1; 60 * MIB]);
        kill_at(&world, APPEND);
        if is_changed {
            world.write("sub/big one.sql", vec![2; 60 * MIB]);
        }
        let ended = world.run_well();
        let goes_on = ended.log.contains("goes on; Dropbox holds");
        assert_eq!(goes_on, !is_changed, "{}", ended.log);
        world.assert_stored(&["sub/big one.sql"]);
        assert!(!world.data("transfers").exists());
    }
}

#[test]
fn a_run_that_reads_again_what_was_sent_can_be_asked_to_stop() {
    let world = FolderWorld::new();
    // Two gigabytes that take no place.
    const BLOCKS: usize = 512;
    let block = vec![0; 4 * MIB];
    world.write("big", "");
    let file = File::options().write(true).open(world.path("big")).unwrap();
    file.set_len((BLOCKS * block.len()) as u64).unwrap();
    kill_at(&world, APPEND);
    // As if all of it had been sent: the next run compares it with what is noted.
    let journal = fs::read_dir(world.data("transfers")).unwrap().next();
    let journal = journal.unwrap().unwrap().path();
    let head = fs::read_to_string(&journal).unwrap();
    let hash = sha2::Sha256::digest(&block);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let notes = (0..BLOCKS).map(|index| format!("{index} {hash}\n"));
    let head = head.lines().next().unwrap();
    let notes = format!("{head}\n{}", notes.collect::<String>());
    fs::write(&journal, notes).unwrap();
    let before = world.log().len();
    let run = world.start();
    // Until it reads the file.
    let open = format!("/proc/{}/fd", run.id());
    let is_read = || {
        let mut open = fs::read_dir(&open).unwrap().flatten();
        world.log()[before..].contains("1 to upload")
            && open.any(|file| fs::read_link(file.path()).is_ok_and(|path| path.ends_with("big")))
    };
    while !is_read() {
        std::thread::yield_now();
    }
    run.signal("TERM");
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    let log = world.log().split_off(before);
    assert!(log.contains("1 left for the next run"), "{log}");
    assert!(!log.contains("goes on"), "it has read all of it: {log}");
}

#[test]
fn what_was_sent_whole_is_not_committed_if_the_file_has_changed_since() {
    for size in [1000, 20 * MIB] {
        let world = FolderWorld::new();
        world.write("a", vec![1; size]);
        let (run, gate) = world.start_held(FINISH);
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        world.dropbox.traffic().clear_faults();
        gate.open();
        world.write("a", vec![2; size]);
        world.run_well();
        // Dropbox had committed it, but the program was killed before it could know.
        world.assert_stored_beside(&["a"], 1);
    }
}
