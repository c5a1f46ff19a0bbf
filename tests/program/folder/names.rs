//! What is in a folder beside plain files with plain names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::world::FolderWorld;

#[test]
fn links_and_special_files_are_not_followed_and_protect_their_copies() {
    let world = FolderWorld::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    world.write("real", "real");
    world.write("moved", "was here");
    world.run_well();
    world.remove("moved");
    for (target, name) in [
        (outside.path().join("secret"), "moved"),
        (outside.path().to_owned(), "outside"),
        (world.path("nowhere"), "dangling"),
        (world.path("real"), "link"),
        (world.folder().to_owned(), "around"),
    ] {
        symlink(target, world.path(name)).unwrap();
    }
    let mut pipe = Command::new("mkfifo");
    assert!(pipe.arg(world.path("pipe")).status().unwrap().success());
    let ended = world.run_well();
    let missed = "WARNING: Some of what is in the backup folder cannot be mirrored";
    ended.assert_line(&[missed, "\"dangling\"", "\"moved\"", "\"outside\""]);
    let harmless = "Not copied, because nothing is missing without it";
    ended.assert_line(&[harmless, "\"around\"", "\"link\"", "\"pipe\""]);
    assert_eq!(ended.log.matches("WARNING").count(), 1, "{}", ended.log);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "1 unchanged"]);
    // The copy of a file that became a link stays.
    assert_eq!(world.dropbox.paths(), ["/moved", "/real"]);
}

#[test]
fn the_folder_itself_may_be_a_link() {
    let world = FolderWorld::new();
    world.write("a", "a");
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("link");
    symlink(world.folder(), &link).unwrap();
    world.configure(serde_json::json!({"backupDirectory": link}));
    world.run_well();
    world.assert_stored(&["a"]);
}

#[test]
fn names_that_dropbox_cannot_hold_are_named_and_the_others_mirrored() {
    let world = FolderWorld::new();
    world.write("good", "good");
    for bad in [
        &b"back\\slash"[..],
        b"line\nbreak",
        b"blank ",
        b"no\xffutf8",
    ] {
        world.write(OsStr::from_bytes(bad), "bad");
    }
    world.write("space /in folder", "bad");
    for litter in [".DS_Store", "sub/Thumbs.db", "desktop.ini"] {
        world.write(litter, "litter");
    }
    world.write(".dropbox/x", "bad");
    let ended = world.run_well();
    ended.assert_line(&[
        "WARNING: Some of what is in the backup folder cannot be mirrored",
        "a backslash",
        "a control character",
        "ends in a space",
        "not valid UTF-8",
        "refuses the name of its folder",
    ]);
    assert!(!ended.log.contains("Thumbs"), "{}", ended.log);
    ended.assert_line(&["Finished: 1 uploaded"]);
    world.assert_stored(&["good"]);
    // What they cannot be is deleted.
    world.write("gone", "of another length");
    world.run_well();
    world.remove("gone");
    world.run_well().assert_line(&["1 deleted"]);
}

#[test]
fn names_that_dropbox_takes_for_the_same_are_all_stored() {
    let world = FolderWorld::new();
    for name in [
        "Dump.sql.gz",
        "dump.sql.gz",
        "DUMP.SQL.GZ",
        "A/x",
        "a/x",
        "a/y",
        "thing",
        "Thing/inside",
        "caf\u{e9}",
        "cafe\u{301}",
    ] {
        world.write(name, format!("content of {name}"));
    }
    let ended = world.run_well();
    ended.assert_line(&["Dropbox takes some names", "\"dump.sql.gz\" as \"dump ("]);
    ended.assert_line(&["Finished: 10 uploaded"]);
    let mut stored: Vec<String> = world.stored().into_iter().map(|(_, hash)| hash).collect();
    let mut expected: Vec<String> = walk(&world, "")
        .iter()
        .map(|name| super::world::hash_of(&world.path(name)))
        .collect();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
    // Byte by byte, "DUMP.SQL.GZ" is the first; it has the plain name.
    let plain = world.dropbox.read("/dump.sql.gz").unwrap();
    assert_eq!(plain, b"content of DUMP.SQL.GZ");
    let before = world.dropbox.files();
    world
        .run_well()
        .assert_line(&["0 uploaded", "10 unchanged"]);

    // When the first is gone, the next one takes the name over, and nothing is lost meanwhile.
    world.remove("DUMP.SQL.GZ");
    world.run_well();
    let plain = world.dropbox.read("/dump.sql.gz").unwrap();
    assert_eq!(plain, b"content of Dump.sql.gz");
    assert_eq!(world.dropbox.files().len(), before.len() - 1);
    world.run_well().assert_line(&["0 uploaded", "9 unchanged"]);
}

fn walk(world: &FolderWorld, folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(world.path(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            names.extend(walk(world, &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names
}

#[test]
fn a_file_that_was_renamed_in_letter_case_only_stays_one_file() {
    let world = FolderWorld::new();
    world.write("Dump.sql", "content");
    world.run_well();
    fs::rename(world.path("Dump.sql"), world.path("dump.SQL")).unwrap();
    world
        .run_well()
        .assert_line(&["0 uploaded", "0 deleted", "1 unchanged"]);
    assert_eq!(world.dropbox.paths(), ["/Dump.sql"]);
}
