//! What a walk meets and cannot take protects the copies that may be of it, and nothing else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::users::{as_ordinary_user, give};
use super::world::FolderWorld;
use crate::crash::kill::{is_root, strace, with_program};
use crate::support::{Ended, FILES_AGE};

const LINE: &str = "WARNING: Some of what is in the backup folder cannot be mirrored";

/// A world in which `db/1`, `db/2`, `dump.sql` and others are in Dropbox. No two have the same length.
fn mirrored() -> FolderWorld {
    let world = FolderWorld::new();
    for (length, name) in ["db/1", "db/2", "dump.sql", "gone", "a", "b", "c"]
        .iter()
        .enumerate()
    {
        world.write(name, vec![b'x'; 10 + length]);
    }
    world.run_well();
    world
}

/// Removes `gone`, runs, and asserts that its copy went and all others stayed, with as many WARNINGs.
fn run_and_expect(world: &FolderWorld, what: &str, warnings: usize) -> Ended {
    world.remove("gone");
    let ended = world.run();
    assert_others_stay(world, &ended, what, warnings);
    ended
}

fn assert_others_stay(world: &FolderWorld, ended: &Ended, what: &str, warnings: usize) {
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.log);
    assert_eq!(
        ended.log.matches("WARNING").count(),
        warnings,
        "{what}: {}",
        ended.log
    );
    ended.assert_line(&["Finished: 0 uploaded", "1 deleted"]);
    let paths = ["/a", "/b", "/c", "/db/1", "/db/2", "/dump.sql"];
    assert_eq!(world.dropbox.paths(), paths, "{what}: {}", ended.log);
}

/// What somebody does in a folder.
type Change = fn(&FolderWorld, &Path);

#[test]
fn what_may_be_the_original_of_a_copy_protects_it() {
    let cases: [(&str, Change, &[&str]); 10] = [
        (
            "a folder that was moved to a larger disk",
            |world, elsewhere| {
                let moved = elsewhere.join("db");
                fs::rename(world.path("db"), &moved).unwrap();
                symlink(moved, world.path("db")).unwrap();
            },
            &["\"db\", a link to "],
        ),
        (
            "a link to nowhere",
            |world, _| {
                world.remove("dump.sql");
                symlink("nowhere", world.path("dump.sql")).unwrap();
            },
            &["\"dump.sql\", a link to \"nowhere\""],
        ),
        (
            "a link to itself",
            |world, _| {
                world.remove("dump.sql");
                symlink("dump.sql", world.path("dump.sql")).unwrap();
            },
            &["\"dump.sql\", a link to \"dump.sql\""],
        ),
        (
            "a space behind the name",
            |world, _| rename(world, "dump.sql", b"dump.sql "),
            &["\"dump.sql \"", "ends in a space"],
        ),
        (
            "a space behind the name, and another content",
            |world, _| {
                world.remove("dump.sql");
                world.write("dump.sql ", "of another length, and longer");
            },
            &["\"dump.sql \"", "ends in a space"],
        ),
        (
            "a space behind a folder's name",
            |world, _| rename(world, "db", b"DB "),
            &["\"DB /1\"", "\"DB /2\"", "ends in a space"],
        ),
        (
            "a name that is no UTF-8",
            |world, _| rename(world, "dump.sql", b"M\xe4rz.sql"),
            &["not valid UTF-8"],
        ),
        (
            "a name in two lines",
            |world, _| rename(world, "dump.sql", b"other\nname"),
            &["\"other name\"", "a control character"],
        ),
        (
            "a backslash in a name",
            |world, _| rename(world, "dump.sql", b"back\\slash"),
            &["\"back\\slash\"", "a backslash"],
        ),
        (
            "names as some programs for Windows unpack them",
            |world, _| {
                fs::remove_dir_all(world.path("db")).unwrap();
                world.write("db\\1", "of another length, and longer");
                world.write("db\\2", "of another length, and longer");
            },
            &["\"db\\1\"", "\"db\\2\"", "a backslash"],
        ),
    ];
    for (what, change, parts) in cases {
        let world = mirrored();
        let elsewhere = tempfile::tempdir().unwrap();
        change(&world, elsewhere.path());
        let ended = run_and_expect(&world, what, 1);
        ended.assert_line(&[&[LINE], parts].concat());
    }
}

fn rename(world: &FolderWorld, from: &str, to: &[u8]) {
    fs::rename(world.path(from), world.path(OsStr::from_bytes(to))).unwrap();
}

#[test]
fn a_pipe_or_a_link_to_what_is_mirrored_protects_without_a_warning() {
    let cases: [(&str, Change, &str); 5] = [
        (
            "a pipe",
            |world, _| {
                world.remove("dump.sql");
                let mut pipe = Command::new("mkfifo");
                assert!(pipe.arg(world.path("dump.sql")).status().unwrap().success());
            },
            "\"dump.sql\", a pipe",
        ),
        (
            "a link to a file beside it",
            |world, _| {
                world.remove("dump.sql");
                symlink("a", world.path("dump.sql")).unwrap();
            },
            "\"dump.sql\", a link to \"a\"",
        ),
        (
            "a link to a file elsewhere in the folder, by its whole path",
            |world, _| {
                world.remove("dump.sql");
                symlink(world.path("db/2"), world.path("dump.sql")).unwrap();
            },
            "\"dump.sql\", a link to ",
        ),
        (
            "a link to a folder",
            |world, _| {
                world.remove("dump.sql");
                symlink("./db", world.path("dump.sql")).unwrap();
            },
            "\"dump.sql\", a link to \"./db\"",
        ),
        (
            "a link to a link",
            |world, _| {
                world.remove("dump.sql");
                symlink("../a", world.path("db/latest")).unwrap();
                symlink("db/latest", world.path("dump.sql")).unwrap();
            },
            "\"dump.sql\", a link to \"db/latest\"",
        ),
    ];
    for (what, change, part) in cases {
        let world = mirrored();
        change(&world, Path::new(""));
        let ended = run_and_expect(&world, what, 0);
        ended.assert_line(&["Not copied, because nothing is missing without it", part]);
    }
}

#[test]
fn what_is_listed_and_does_not_open_protects_its_copies() {
    for (call, error, at, part) in [
        (
            "openat",
            "ENOENT",
            "db",
            "\"db\", which cannot be read (No such",
        ),
        (
            "openat",
            "EIO",
            "db",
            "\"db\", which cannot be read (Input/output",
        ),
        (
            "getdents64",
            "ENOENT",
            "/db",
            "\"db\", which cannot be read (No such",
        ),
        (
            "getdents64",
            "EIO",
            "/db",
            "\"db\", which cannot be read (Input/output",
        ),
        (
            "newfstatat",
            "ENOENT",
            "dump.sql",
            "\"dump.sql\", which cannot be read (No such",
        ),
        (
            "newfstatat",
            "EACCES",
            "db",
            "\"db\", which cannot be read (Permission",
        ),
        (
            "readlinkat",
            "EIO",
            "link",
            "\"link\", which cannot be read (Input/output",
        ),
        (
            "openat",
            "ENOENT",
            "dump.sql",
            "\"dump.sql\", which cannot be read (No such",
        ),
        (
            "openat",
            "ESTALE",
            "dump.sql",
            "\"dump.sql\", which cannot be read (Stale",
        ),
    ] {
        let world = mirrored();
        world.remove("gone");
        if at == "link" {
            symlink("a", world.path("link")).unwrap();
        }
        // A path that is opened is told by its last part, one that is read by the whole of it.
        let place = match at.strip_prefix('/') {
            Some(name) => world.path(name),
            None => at.into(),
        };
        let plain = world.command();
        let mut command = with_program(&strace(), &Command::new(""));
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(place);
        command.args(["-e", &format!("inject={call}:error={error}")]);
        command.arg(plain.get_program()).args(plain.get_args());
        let variables = plain.get_envs();
        command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = world.run_as(&mut command);
        let what = format!("{error} of {call} at {at}");
        assert_others_stay(&world, &ended, &what, 1);
        ended.assert_line(&[LINE, part]);
    }
}

#[test]
fn folders_of_systems_protect_nothing_at_any_depth() {
    let world = FolderWorld::new();
    for name in ["disk1/a", "disk1/b", "disk1/c", "disk1/gone"] {
        world.write(name, name);
    }
    // Named as no file is, but as a folder.
    world.write("disk1/recycler.sql", "a file");
    give(world.folder());
    let run = || world.run_as(&mut as_ordinary_user(&world));
    assert_eq!(run().code, Some(0), "{}", world.log());
    world.remove("disk1/gone");
    for folder in [
        "disk1/lost+found",
        "disk1/.Trash-1000",
        "disk1/deep/System Volume Information",
        "$Recycle.Bin",
        "@eaDir",
        ".snapshot",
    ] {
        world.write(format!("{folder}/file"), "not a backup");
        symlink("/nowhere", world.path(folder).join("link")).unwrap();
        let closed = fs::Permissions::from_mode(0o000);
        fs::set_permissions(world.path(folder), closed).unwrap();
    }
    let ended = run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    ended.assert_line(&["0 uploaded", "1 deleted", "4 unchanged"]);
}

#[test]
fn a_device_is_named_and_protects() {
    if !is_root() {
        return;
    }
    let world = mirrored();
    world.remove("dump.sql");
    let mut device = Command::new("mknod");
    let device = device.arg(world.path("dump.sql")).args(["c", "1", "3"]);
    assert!(device.status().unwrap().success());
    let ended = run_and_expect(&world, "a device", 1);
    ended.assert_line(&[LINE, "\"dump.sql\", a device"]);
}

#[test]
fn a_file_whose_time_is_still_to_come_is_copied_when_two_runs_have_found_it_the_same() {
    let world = FolderWorld::new();
    world.write("other", "other");
    let ahead = std::time::SystemTime::now() + FILES_AGE + Duration::from_secs(300);
    // A file server whose clock is ahead, with half a dump.
    world.write_at("dump", "half of", ahead);
    let waits = |ended: &Ended| {
        ended.assert_line(&[
            "Not copied, because their times lie in the future",
            "\"dump\"",
        ]);
    };
    let ended = world.run_well();
    waits(&ended);
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    // It grew meanwhile.
    world.dropbox.advance_clock(Duration::from_secs(120));
    world.write_at("dump", "half of it and the other half", ahead);
    waits(&world.run_well());
    // At once again: no time has passed in which it could have grown.
    waits(&world.run_well());
    world.assert_stored(&["other"]);
    world.dropbox.advance_clock(Duration::from_secs(120));
    world.run_well().assert_line(&["Finished: 1 uploaded"]);
    for _ in 0..2 {
        let ended = world.run_well();
        ended.assert_line(&["0 uploaded", "2 unchanged"]);
        assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    }
    world.assert_stored(&["dump", "other"]);
}

#[test]
fn a_copy_that_has_the_time_of_its_original_is_not_at_rest_for_that() {
    let world = FolderWorld::new();
    // As `cp -p` and `rsync -t` do. Its time is that of last month, but it was written just now.
    world.write("dump", "content");
    let ended = world.run_with_young_files();
    ended.assert_line(&[
        "Not copied, because changed within the last minute",
        "\"dump\"",
    ]);
    assert!(world.dropbox.files().is_empty());
    world.run_well();
    world.assert_stored(&["dump"]);
}

#[test]
fn empty_dumps_push_out_no_whole_one() {
    let world = FolderWorld::new();
    world.write("README", "Each night one, seven of them.");
    let dump = |night: u32| format!("dump-{night}.sql");
    for night in 1..=7 {
        world.write(dump(night), format!("the whole of night {night}"));
    }
    world.run_well();
    for night in 8..=14 {
        world.write(dump(night), "");
        world.remove(dump(night - 7));
        let ended = world.run_well();
        ended.assert_line(&[
            "WARNING: Some files",
            "empty and have no copy",
            &dump(night),
        ]);
        assert_eq!(world.dropbox.files().len(), 8, "{}", ended.log);
    }
    for night in 8..=14 {
        world.write(dump(night), format!("the whole of night {night}, repaired"));
    }
    world.run_well();
    let ended = world.run_well();
    assert!(!ended.log.contains("empty"), "{}", ended.log);
}

#[test]
fn an_empty_file_that_only_marks_its_folder_is_nothing_to_wait_for() {
    let world = mirrored();
    world.write(".gitkeep", "");
    world.write("db/.nobackup", "");
    run_and_expect(&world, "empty marks", 0);
}
