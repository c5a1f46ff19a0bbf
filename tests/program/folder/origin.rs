//! Another place under the same path is another source: what it lacks was not deleted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::world::{FolderWorld, set_time};
use crate::crash::kill::is_root;

/// Writes files that have been at rest, and returns their folder.
fn fill(folder: PathBuf, names: &[&str]) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    for name in names {
        fs::write(folder.join(name), format!("content of {name}")).unwrap();
        set_time(&folder.join(name), std::time::SystemTime::UNIX_EPOCH);
    }
    folder
}

/// Lets `change` make the path lead elsewhere, where `c` is and `b` is not.
fn assert_nothing_is_deleted(world: &FolderWorld, change: impl FnOnce()) {
    world.run_well();
    let ended = world.run_well();
    ended.assert_line(&["0 uploaded", "2 unchanged"]);
    change();
    for _ in 0..2 {
        let ended = world.run_well();
        ended.assert_line(&["0 deleted"]);
        ended.assert_line(&["Kept 1 backup", "never saw in the backup folder", "\"b\""]);
        assert_eq!(world.dropbox.paths(), ["/a", "/b", "/c"]);
    }
}

#[test]
fn a_link_with_another_target_leads_to_another_source() {
    let world = FolderWorld::new();
    let one = fill(world.path("one"), &["a", "b"]);
    let other = fill(world.path("other"), &["a", "c"]);
    let link = world.path("link");
    symlink(one, &link).unwrap();
    world.configure(json!({"backupDirectory": link}));
    assert_nothing_is_deleted(&world, || {
        fs::remove_file(&link).unwrap();
        symlink(other, &link).unwrap();
    });
}

#[test]
fn a_link_in_place_of_the_folder_itself_is_no_other_source() {
    let world = FolderWorld::new();
    let place = fill(world.path("place"), &["a", "b", "c"]);
    world.configure(json!({"backupDirectory": place}));
    world.run_well();
    let link = world.path("link");
    symlink(&place, &link).unwrap();
    world.configure(json!({"backupDirectory": link}));
    fs::remove_file(place.join("b")).unwrap();
    let ended = world.run_well();
    ended.assert_line(&["0 to compare, 2 unchanged"]);
    ended.assert_line(&["1 deleted"]);
}

/// Something mounted, until dropped.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn new(arguments: &[&str], at: &Path) -> Self {
        let mut mount = Command::new("mount");
        let status = mount.args(arguments).arg(at).status().unwrap();
        assert!(status.success(), "mounting needs root");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn another_disk_at_the_same_path_is_another_source() {
    if !is_root() {
        return;
    }
    let world = FolderWorld::new();
    fill(world.folder().to_owned(), &["not mounted"]);
    let mount = |name| {
        let tmpfs = ["-t", "tmpfs", "-o", "size=512k", name];
        Mounted::new(&tmpfs, world.folder())
    };
    let mut disks = vec![mount("one")];
    fill(world.folder().to_owned(), &["a", "b"]);
    assert_nothing_is_deleted(&world, || {
        disks.clear();
        disks.push(mount("other"));
        fill(world.folder().to_owned(), &["a", "c"]);
    });
    // What is below, where no disk is mounted, is another one again.
    disks.clear();
    world.run_well().assert_line(&["1 uploaded", "0 deleted"]);
}

#[test]
fn another_folder_of_the_same_disk_at_the_same_path_is_another_source() {
    if !is_root() {
        return;
    }
    let world = FolderWorld::new();
    let disk = tempfile::tempdir().unwrap();
    let one = fill(disk.path().join("one"), &["a", "b"]);
    let other = fill(disk.path().join("other one"), &["a", "c"]);
    let mount = |folder: &Path| Mounted::new(&["--bind", folder.to_str().unwrap()], world.folder());
    let mut mounts = vec![mount(&one)];
    assert_nothing_is_deleted(&world, || {
        mounts.clear();
        mounts.push(mount(&other));
    });
}
