//! What the owner of the plugin's folder can put in the place of the plugin's own files, when root runs the program
//! there: nothing that it leads to is changed, read or given away.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::crash::kill::is_root;
use crate::support::World;

/// The owner of the plugin's folder.
const NOBODY: u32 = 65_534;

/// A world whose plugin folder is nobody's, mirrored once, with a file of root's beside it.
struct Trap {
    world: World,
    outside: tempfile::TempDir,
}

impl Trap {
    fn new() -> Self {
        let world = World::authorized();
        world.add_backups(1, 2, 1000);
        world.run_well();
        world.add_backups(3, 3, 1000);
        give(world.root());
        let outside = tempfile::tempdir().unwrap();
        let trap = Self { world, outside };
        fs::write(trap.target(), "root's own\n").unwrap();
        fs::set_permissions(trap.target(), fs::Permissions::from_mode(0o640)).unwrap();
        trap
    }

    fn target(&self) -> PathBuf {
        self.outside.path().join("target")
    }

    /// Everything about root's file that a run could change.
    fn target_as_it_is(&self) -> (Vec<u8>, u32, u32, u32) {
        let metadata = fs::metadata(self.target()).unwrap();
        let owner = (metadata.uid(), metadata.gid());
        let content = fs::read(self.target()).unwrap();
        (content, owner.0, owner.1, metadata.mode())
    }

    /// Runs the program as root; one that waits for a pipe is ended.
    fn run(&self, arguments: &[&str]) -> Output {
        let plain = self.world.command();
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", "60"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .args(arguments)
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(Stdio::null());
        command.output().unwrap()
    }
}

/// Gives a folder and everything in it to nobody.
fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// Removes what a run has left under a name.
fn clear(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir_all(path);
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

const JOURNAL: &str = "transfers/0123456789abcdef.journal";

#[test]
fn what_stands_in_the_place_of_a_file_is_named_and_nothing_is_changed() {
    if !is_root() {
        return;
    }
    type Put = fn(&Path, &Path);
    let traps: [(&str, Put); 5] = [
        ("a link", |target, path| symlink(target, path).unwrap()),
        ("a link", |target, path| {
            symlink(target.with_file_name("nothing"), path).unwrap();
        }),
        ("a second name", |target, path| {
            fs::hard_link(target, path).unwrap();
        }),
        ("a pipe", |_, path| make_pipe(path)),
        ("a folder", |_, path| fs::create_dir(path).unwrap()),
    ];
    for name in [
        "run.lock",
        "plugin.log",
        "config.json",
        "state.json",
        "record.json",
        "page.key",
        JOURNAL,
    ] {
        for (what, put) in traps {
            let trap = Trap::new();
            let path = trap.world.data(name);
            clear(&path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name == "config.json" && what != "a second name" {
                // One that the program would have a reason to change.
                fs::write(trap.target(), r#"{"confirmCleanup":true}"#).unwrap();
            }
            put(&trap.target(), &path);
            chown(path.parent().unwrap(), Some(NOBODY), Some(NOBODY)).unwrap();
            let _ = std::os::unix::fs::lchown(&path, Some(NOBODY), None);
            if what == "a second name" {
                chown(trap.target(), Some(0), None).unwrap();
            }
            let before = trap.target_as_it_is();
            let stands = fs::symlink_metadata(&path).unwrap();
            let paths = trap.world.dropbox.paths();
            for command in [&[][..], &["setup"], &["authorize", "--app-key", "x"]] {
                let output = trap.run(command);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let told = if name == "plugin.log" {
                    said.clone()
                } else {
                    said.clone() + &trap.world.log()
                };
                let context = format!("{name} is {what}, {command:?}: {told}");
                // Saving the form of an authorized plugin looks at nothing.
                let looks = command != ["setup"] || name == "config.json";
                if looks {
                    assert_eq!(output.status.code(), Some(1), "{context}");
                    let is_said = |line: &&str| {
                        line.contains(name) && line.contains(&format!("it is {what}"))
                    };
                    assert!(told.lines().any(|line| is_said(&line)), "{context}");
                }
                assert_eq!(trap.target_as_it_is(), before, "{context}");
                let now = fs::symlink_metadata(&path).unwrap();
                assert_eq!(now.file_type(), stands.file_type(), "{context}");
                assert_eq!(
                    (now.ino(), now.uid()),
                    (stands.ino(), stands.uid()),
                    "{context}"
                );
                assert!(!trap.outside.path().join("nothing").exists(), "{context}");
                assert_eq!(trap.world.dropbox.paths(), paths, "{context}");
            }
            // Out of the way, all is as before.
            clear(&path);
            if name != "config.json" {
                let output = trap.run(&[]);
                assert_eq!(
                    output.status.code(),
                    Some(0),
                    "{name}: {}",
                    trap.world.log()
                );
                assert_eq!(trap.world.dropbox.paths().len(), 3);
            }
        }
    }
}

#[test]
fn those_who_only_look_are_not_led_by_links_either() {
    if !is_root() {
        return;
    }
    for name in [
        "config.json",
        "state.json",
        "record.json",
        "page.key",
        "run.lock",
        "plugin.log",
    ] {
        let trap = Trap::new();
        let path = trap.world.data(name);
        clear(&path);
        make_pipe(&path);
        let before = fs::symlink_metadata(&path).unwrap();
        for command in [&["status"][..], &["list"], &["check"], &["page"]] {
            let output = trap.run(command);
            assert_ne!(output.status.code(), None, "{name}, {command:?}: it hangs");
            let now = fs::symlink_metadata(&path).unwrap();
            assert_eq!((now.ino(), now.uid()), (before.ino(), before.uid()));
        }
        let output = trap.run(&["check"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(name) && said.contains("it is a pipe"),
            "{said}"
        );
    }
}

#[test]
fn what_is_left_over_is_removed_by_its_name_alone() {
    if !is_root() {
        return;
    }
    let trap = Trap::new();
    let before = trap.target_as_it_is();
    for name in [".writing-link", ".writing-AbCdEf"] {
        symlink(trap.target(), trap.world.data(name)).unwrap();
    }
    fs::create_dir(trap.world.data(".writing-folder")).unwrap();
    trap.world.run_well();
    assert_eq!(trap.target_as_it_is(), before);
    assert!(trap.world.data(".writing-link").symlink_metadata().is_err());
    assert!(trap.world.data(".writing-folder").exists());
}

#[test]
fn the_data_folder_may_be_a_link_of_root_or_of_its_own_owner_and_of_nobody_else() {
    if !is_root() {
        return;
    }
    // Who has made the link, who owns the folder behind it, and whether that may be.
    for (maker, owner, is_followed) in [
        (NOBODY, 0, false),
        (NOBODY, 54_321, false),
        (0, NOBODY, true),
        (0, 0, true),
        (NOBODY, NOBODY, true),
    ] {
        let trap = Trap::new();
        let data = trap.world.data("");
        let data = data.parent().unwrap().join("data");
        let elsewhere = trap.outside.path().join("elsewhere");
        fs::rename(&data, &elsewhere)
            .or_else(|_| copy(&data, &elsewhere))
            .unwrap();
        give(&elsewhere);
        chown(&elsewhere, Some(owner), Some(owner)).unwrap();
        symlink(&elsewhere, &data).unwrap();
        std::os::unix::fs::lchown(&data, Some(maker), None).unwrap();
        let before = names(&elsewhere);
        let output = trap.run(&[]);
        let context = format!(
            "a link of {maker} to a folder of {owner}: {}",
            trap.world.log()
        );
        if is_followed {
            assert_eq!(output.status.code(), Some(0), "{context}");
            assert_eq!(trap.world.dropbox.paths().len(), 3, "{context}");
            for entry in fs::read_dir(&elsewhere).unwrap() {
                let entry = entry.unwrap();
                let uid = entry.metadata().unwrap().uid();
                // Files that were there keep their owner.
                assert!(
                    [owner, NOBODY].contains(&uid),
                    "{:?}: {context}",
                    entry.path()
                );
            }
        } else {
            assert_eq!(output.status.code(), Some(1), "{context}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                said.contains(&format!("it is a link that user {maker} made")),
                "{said}"
            );
            assert_eq!(names(&elsewhere), before, "{context}");
            assert_eq!(trap.world.dropbox.paths().len(), 2, "{context}");
        }
        assert_eq!(fs::metadata(&elsewhere).unwrap().uid(), owner, "{context}");
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    assert!(copy.status()?.success());
    fs::remove_dir_all(from)
}

/// The files in a folder with what is in them.
fn names(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = paths
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_is_not_asked_for_through_a_link() {
    if !is_root() {
        return;
    }
    let world = World::with_app(false);
    let asked = world.run();
    world.allow_and_paste(&asked);
    give(world.root());
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, "root's own\n").unwrap();
    symlink(
        &target,
        world.root().join(".ucrm-plugin-execution-requested"),
    )
    .unwrap();
    let mut command = world.command();
    // Somebody waits for it, so that it has little time.
    command.arg("setup").env("BACKUP_SYNC_CLOCK_SPEED", "10");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", world.log());
    assert!(
        world.log().contains("WARNING: UISP could not be asked"),
        "{}",
        world.log()
    );
    assert!(world.log().contains("it is a link"), "{}", world.log());
    assert_eq!(fs::read_to_string(&target).unwrap(), "root's own\n");
    assert_eq!(fs::metadata(&target).unwrap().uid(), 0);
    // The code was not wasted.
    assert!(world.config()["dropboxRefreshToken"].is_string());
}

#[test]
fn the_mark_of_a_run_says_since_when_it_goes_on() {
    let world = World::authorized();
    let mut left = fs::File::create(world.data("run.lock")).unwrap();
    // By a version that did not say.
    left.write_all(b"running\n").unwrap();
    let ended = world.run_well();
    ended.assert_line(&["cut off"]);
    assert_eq!(fs::read(world.data("run.lock")).unwrap(), b"");
}
