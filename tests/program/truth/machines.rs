//! Several machines in one folder of Dropbox, and new machines in the place of old ones.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use std::{fs, str};

use serde_json::json;

use super::{Watch, assert_holds, contents};
use crate::folder::world::FolderWorld;
use crate::page::crm;
use crate::support::Ended;

/// A second machine beside a world's: its own folder of backups and its own memory, the same Dropbox.
struct Machine<'a> {
    world: &'a FolderWorld,
    root: tempfile::TempDir,
    backups: tempfile::TempDir,
}

impl<'a> Machine<'a> {
    fn beside(world: &'a FolderWorld) -> Self {
        let root = tempfile::tempdir().unwrap();
        let backups = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        let mut config = world.config();
        config["backupDirectory"] = json!(backups.path());
        config["healthcheckUrl"] = json!(null);
        fs::write(root.path().join("data/config.json"), config.to_string()).unwrap();
        Self {
            world,
            root,
            backups,
        }
    }

    fn write(&self, name: &str, content: &str) {
        let path: PathBuf = self.backups.path().join(name);
        fs::write(&path, content).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
        let file = fs::File::options().write(true).open(path);
        file.unwrap().set_modified(old).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.backups.path().join(name)).unwrap();
    }

    /// Does a run, a minute after what came before.
    fn run(&self) -> Ended {
        self.world.dropbox.advance_clock(Duration::from_secs(60));
        let mut command = self.world.command();
        let arguments = ["--root".into(), self.root.path().as_os_str().to_owned()];
        let plain: Vec<_> = command
            .get_envs()
            .map(|(key, value)| (key.to_owned(), value.unwrap().to_owned()))
            .collect();
        command = Command::new(command.get_program());
        command.args(arguments).env_clear().envs(plain);
        let output = command.output().unwrap();
        let log = fs::read_to_string(self.root.path().join("data/plugin.log")).unwrap();
        let error = str::from_utf8(&output.stderr).unwrap();
        assert!(output.status.success(), "{log}{error}");
        Ended {
            code: output.status.code(),
            log,
        }
    }
}

#[test]
fn a_new_machine_with_a_first_small_dump_takes_no_good_copy_away() {
    let good = "a whole dump of the old machine ".repeat(160_000);
    let world = FolderWorld::new();
    world.write("dump.sql", &good);
    world.run_well();
    let new = Machine::beside(&world);
    new.write("dump.sql", &"x".repeat(1000));
    for _ in 0..2 {
        let ended = new.run();
        assert_holds(&world, &good);
        ended.assert_line(&["WARNING: ", "set aside under another name"]);
    }
    // Once, not in each run.
    assert_eq!(
        world.dropbox.files().len(),
        2,
        "{:?}",
        world.dropbox.paths()
    );
    // Of the same length, it is read first.
    let equal = Machine::beside(&world);
    equal.write("other.sql", "abc");
    equal.run();
    let third = Machine::beside(&world);
    third.write("other.sql", "xyz");
    third.run();
    assert_holds(&world, "abc");
    assert_holds(&world, "xyz");
}

#[test]
fn two_machines_with_the_same_names_keep_both_contents_and_say_who_fights_whom() {
    let world = FolderWorld::new();
    let watch = Watch::over(&world);
    let other = Machine::beside(&world);
    for night in 0..3 {
        let (own, others) = (format!("own {night}"), format!("others' dump {night}"));
        world.write("dump.sql", &own);
        world.dropbox.advance_clock(Duration::from_secs(60));
        let ended = world.run();
        if night > 0 {
            // At this moment our own backup is there, so that `verify` is content.
            assert_eq!(watch.ping(), Some("bad"), "{}", ended.log);
            ended.assert_line(&[
                "WARNING: Another program or machine has replaced copies",
                "dump.sql",
            ]);
            let page = crm::page_around(&world);
            page.assert_says(&["has replaced copies", "dump.sql", "Attention"]);
        }
        other.write("dump.sql", &others);
        let ended = other.run();
        if night > 0 {
            ended.assert_line(&["WARNING: Another program or machine has replaced copies"]);
        }
    }
    for night in 0..3 {
        assert_holds(&world, &format!("own {night}"));
        assert_holds(&world, &format!("others' dump {night}"));
    }
}

#[test]
fn what_another_machine_put_in_the_place_of_a_copy_is_not_deleted_for_ours() {
    let world = FolderWorld::new();
    for name in ["a", "b", "dump.sql"] {
        world.write(name, format!("own {name}"));
    }
    world.run_well();
    let other = Machine::beside(&world);
    other.write("dump.sql", "the other machine's dump");
    other.run();
    world.remove("dump.sql");
    let ended = world.run_well();
    ended.assert_line(&["0 deleted"]);
    assert_holds(&world, "the other machine's dump");
    // The other machine may delete it: it is its own.
    other.write("keep", "so that it is not all");
    other.run();
    other.remove("dump.sql");
    other.run();
    let others = contents(&world);
    assert!(
        !others.iter().any(|(path, _)| path == "/dump.sql"),
        "{others:?}"
    );
}

#[test]
fn machines_with_other_names_leave_each_other_alone() {
    let world = FolderWorld::new();
    let watch = Watch::over(&world);
    let other = Machine::beside(&world);
    for night in 0..3 {
        world.write(format!("own-{night}"), "own");
        other.write(&format!("other-{night}"), "other");
        watch.run_well(&world);
        other.run();
    }
    other.remove("other-0");
    world.remove("own-0");
    watch.run_well(&world).assert_line(&["1 deleted"]);
    other.run();
    let paths = world.dropbox.paths();
    assert_eq!(paths, ["/other-1", "/other-2", "/own-1", "/own-2"]);
}
