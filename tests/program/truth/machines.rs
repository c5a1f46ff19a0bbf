//! Several machines in one folder of Dropbox, and new machines in the place of old ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Watch, assert_holds, contents};
use crate::folder::world::FolderWorld;
use crate::page::crm;
use crate::support::Ended;

/// A second machine beside a world's: its own folder of backups and its own memory, the same Dropbox.
pub struct Machine<'a> {
    world: &'a FolderWorld,
    root: tempfile::TempDir,
    backups: tempfile::TempDir,
}

impl<'a> Machine<'a> {
    /// One with an empty folder and without a memory.
    pub fn beside(world: &'a FolderWorld) -> Self {
        let root = tempfile::tempdir().unwrap();
        let backups = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        let config = world.config().to_string();
        fs::write(root.path().join("data/config.json"), config).unwrap();
        let machine = Self {
            world,
            root,
            backups,
        };
        let backups = machine.backups.path();
        machine.configure(&json!({"backupDirectory": backups, "healthcheckUrl": null}));
        machine
    }

    /// A file in its data folder.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.path().join("data").join(name)
    }

    /// A path in its folder of backups.
    pub fn path(&self, name: &str) -> PathBuf {
        self.backups.path().join(name)
    }

    /// Its own folder, which is not that of its backups.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.data(name)).unwrap()).unwrap()
    }

    /// Sets fields of its configuration.
    pub fn configure(&self, fields: &Value) {
        let mut config = self.json("config.json");
        for (key, value) in fields.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(self.data("config.json"), config.to_string()).unwrap();
    }

    /// Whether the clean-up is agreed to.
    pub fn is_ticked(&self) -> bool {
        self.json("config.json")["confirmCleanup"] == json!(true)
    }

    /// What its runs have recorded.
    pub fn record(&self) -> Value {
        self.json("record.json")
    }

    fn write(&self, name: &str, content: &str) {
        self.write_at(
            name,
            content,
            SystemTime::now() - Duration::from_secs(3 * 24 * 3600),
        );
    }

    /// Writes a file with this time.
    pub fn write_at(&self, name: &str, content: &str, modified: SystemTime) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(path);
        file.unwrap().set_modified(modified).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Does a run that must end well.
    fn run(&self) -> Ended {
        let ended = self.run_anyhow();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended
    }

    /// The command line of its runs.
    pub fn command(&self) -> Command {
        let plain = self.world.command();
        let mut command = Command::new(plain.get_program());
        command.arg("--root").arg(self.root.path()).env_clear();
        let variables = plain.get_envs();
        command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
        command
    }

    /// Does a run, a minute after what came before.
    fn run_anyhow(&self) -> Ended {
        self.world.dropbox.advance_clock(Duration::from_secs(60));
        let before = fs::read_to_string(self.data("plugin.log")).unwrap_or_default();
        let output = self.command().output().unwrap();
        let log = fs::read_to_string(self.data("plugin.log")).unwrap();
        Ended {
            code: output.status.code(),
            log: log.get(before.len()..).unwrap_or(&log).to_owned(),
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
    let warning = ["WARNING: ", "set aside under another name"];
    new.run().assert_line(&warning);
    assert_holds(&world, &good);
    // Once, not in each run.
    let again = new.run();
    assert!(!again.log.contains(warning[1]), "{}", again.log);
    assert_holds(&world, &good);
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
fn what_another_machine_retains_for_a_time_is_no_second_copy_that_stays() {
    let world = FolderWorld::new();
    world.configure(json!({"keepDeletedDays": 1}));
    world.write("keep", "so that it is not all");
    world.write("dump.sql", "the first dump");
    world.run_well();
    world.write("dump.sql", "the second dump");
    world.run_well();
    // Somebody brings the first one back, which the other machine has never seen.
    world.dropbox.put("/dump.sql", b"the first dump");
    let other = Machine::beside(&world);
    other.configure(&json!({"keepDeletedDays": 0}));
    other.write("dump.sql", "the other machine's");
    other.run();
    world
        .dropbox
        .advance_clock(Duration::from_secs(2 * 24 * 3600));
    world.run_well();
    let is_retained = |path: &String| path.contains(" (replaced ");
    let paths = world.dropbox.paths();
    assert!(!paths.iter().any(is_retained), "{paths:?}");
    assert_holds(&world, "the first dump");
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
