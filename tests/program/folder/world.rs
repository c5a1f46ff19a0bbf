//! A world whose backups are files in a folder.

use std::cell::Cell;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sandbox::dropbox::content_hash;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ended, FILES_AGE, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Dropbox and the binary, and a folder of backups in place of UISP.
pub struct FolderWorld {
    world: World,
    backups: TempDir,
    /// Seconds by which the next file is younger than the first.
    age: Cell<u64>,
}

impl Deref for FolderWorld {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl FolderWorld {
    /// An authorized program and an empty folder.
    pub fn new() -> Self {
        Self::over(World::authorized())
    }

    /// A program that knows its app, has no authorization, and an empty folder.
    pub fn not_authorized() -> Self {
        Self::over(World::with_app(false))
    }

    /// An empty folder beside this program; there is no trace of UISP.
    pub fn over(world: World) -> Self {
        fs::remove_file(world.root().join("ucrm.json")).unwrap();
        let backups = tempfile::tempdir().unwrap();
        world.configure(json!({"unmsApiToken": null, "backupDirectory": backups.path()}));
        Self {
            world,
            backups,
            age: Cell::new(0),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.backups.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.backups.path().join(name)
    }

    /// Writes a file that has been at rest for days; each is younger than the one before.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        self.age.set(self.age.get() + 1);
        let modified = SystemTime::now() - 30 * DAY + Duration::from_secs(self.age.get());
        self.write_at(name, content, modified);
    }

    /// Writes a file that was changed just now, as the program sees it.
    pub fn write_just_now(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        self.write_at(name, content, SystemTime::now() + FILES_AGE);
    }

    /// Writes a file with this time.
    pub fn write_at(
        &self,
        name: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        modified: SystemTime,
    ) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_time(&path, modified);
    }

    /// Lets a file look as if nobody had touched it for an hour.
    pub fn let_rest(&self, name: impl AsRef<Path>) {
        set_time(&self.path(name), SystemTime::now() - DAY / 24);
    }

    /// Runs with files as old as they are: all of a test were changed just now.
    pub fn run_with_young_files(&self) -> Ended {
        let mut command = self.command();
        command.env_remove("BACKUP_SYNC_FILES_AGE");
        self.run_as(&mut command)
    }

    /// Removes a file.
    pub fn remove(&self, name: impl AsRef<Path>) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Paths below the mirror folder with the content hashes of what is there.
    pub fn stored(&self) -> Vec<(String, String)> {
        let files = self.dropbox.files().into_iter();
        files
            .map(|file| (file.path[1..].to_owned(), file.content_hash))
            .collect()
    }

    /// Asserts that Dropbox holds these files of the folder, and beside them nothing but so many copies that were
    /// set aside.
    pub fn assert_stored_beside(&self, names: &[&str], asides: usize) {
        let files = self.dropbox.paths();
        let asides_found = files.iter().filter(|path| path.contains(" (set aside "));
        let asides_found: Vec<String> = asides_found.cloned().collect();
        assert_eq!(asides_found.len(), asides, "{files:?}");
        for aside in asides_found {
            assert!(self.dropbox.remove(&aside));
        }
        self.assert_stored(names);
    }

    /// Asserts that Dropbox holds exactly these files of the folder.
    pub fn assert_stored(&self, names: &[&str]) {
        let mut expected: Vec<(String, String)> = names
            .iter()
            .map(|name| (name.to_string(), hash_of(&self.path(name))))
            .collect();
        let mut stored = self.stored();
        expected.sort();
        stored.sort();
        assert_eq!(stored, expected);
    }
}

/// The content hash of a file.
pub fn hash_of(path: &Path) -> String {
    content_hash(&fs::read(path).unwrap())
}

/// Sets when a file was changed last.
pub fn set_time(path: &Path, modified: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}
