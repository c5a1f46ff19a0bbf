//! Folders and files that belong to somebody else, or that nobody may change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use tempfile::TempDir;

use super::kill::{copy_binary, healthy_run, is_root, patient, run_with_output, with_program};
use crate::support::{PATIENCE, World};

const MIB: u64 = 1024 * 1024;
const TOKEN: &str = "oauth2/token";
/// A user that no system has, as the host's user of the plugin.
const HOST_USER: u32 = 54_321;

/// The binary where every user may start it; the build folder may be closed to them.
fn public_binary() -> &'static Path {
    static COPY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();
        let copy = folder.path().join("backup-sync-dropbox");
        copy_binary(&copy);
        (folder, copy)
    });
    path
}

/// Gives a path, and everything below it, to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("these tests need root");
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// The command line of a run by the host's user.
fn as_host_user(world: &World) -> Command {
    // The folder of the certificate is private to root.
    let ca = world.root().join("ca.pem");
    if !ca.exists() {
        fs::copy(world.ca.pem_path(), &ca).unwrap();
        fs::set_permissions(&ca, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut command = with_program(public_binary(), &patient(world));
    command.env("SSL_CERT_FILE", ca);
    command.uid(HOST_USER).gid(HOST_USER);
    command
}

/// Mounts `data/` read-only over itself until dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(world: &World) -> Self {
        let data = world.data("");
        let mount = |options: &[&str]| {
            let status = Command::new("mount").args(options).arg(&data).status();
            assert!(status.unwrap().success(), "mounting needs root");
        };
        mount(&["--bind", data.to_str().unwrap()]);
        mount(&["-o", "remount,bind,ro"]);
        Self(data)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_read_only_folder_is_named_and_deletes_nothing() {
    if !is_root() {
        return;
    }
    for has_run_before in [true, false] {
        let world = World::authorized();
        world.add_backups(1, 3, 1000);
        if has_run_before {
            healthy_run(&world);
            world.remove_backup(1);
            world.add_backups(4, 4, 1000);
        }
        let files = world.dropbox.files();
        let config = world.config();
        let read_only = ReadOnly::mount(&world);
        let ended = run_with_output(&world, &mut patient(&world));
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: The log", "cannot be written", "permissions"]);
        ended.assert_line(&["ERROR: ", "Read-only file system"]);
        let stored = world.dropbox.files();
        assert!(files.iter().all(|file| stored.contains(file)));
        drop(read_only);
        assert_eq!(world.config(), config);
        let ended = healthy_run(&world);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        world.assert_mirrored();
    }
}

#[test]
fn a_code_is_not_spent_in_a_read_only_folder() {
    if !is_root() {
        return;
    }
    let world = World::with_app(false);
    world.add_backups(1, 1, 1000);
    let asked = healthy_run(&world);
    world.allow_and_paste(&asked);
    let read_only = ReadOnly::mount(&world);
    let ended = run_with_output(&world, &mut patient(&world));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert_eq!(world.count(TOKEN), 0);
    drop(read_only);
    let ended = healthy_run(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_folder_of_somebody_else_is_named_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    for mode in [0o755, 0o700] {
        let world = World::authorized();
        world.add_backups(1, 2, 1000);
        healthy_run(&world);
        world.remove_backup(1);
        give(world.root(), HOST_USER);
        give(&world.data(""), 0);
        let data = world.data("");
        fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
        let files = world.dropbox.files();
        let config = world.config();
        let ended = run_with_output(&world, &mut as_host_user(&world));
        assert_eq!(ended.code, Some(1), "{mode:o}: {}", ended.log);
        ended.assert_line(&["ERROR: ", "permissions", "Permission denied"]);
        assert_eq!(world.dropbox.files(), files);
        assert_eq!(world.config(), config);
        give(&data, HOST_USER);
        let ended = run_with_output(&world, &mut as_host_user(&world));
        assert_eq!(ended.code, Some(0), "{mode:o}: {}", ended.log);
        world.assert_mirrored();
    }
}

#[test]
fn a_configuration_of_somebody_else_is_named() {
    if !is_root() {
        return;
    }
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    give(world.root(), HOST_USER);
    let config = world.data("config.json");
    give(&config, 0);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let ended = run_with_output(&world, &mut as_host_user(&world));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: ", "config.json", "cannot be read", "permissions"]);
    assert!(ended.last_line().starts_with("ERROR: Finished"));
    give(&config, HOST_USER);
    let ended = run_with_output(&world, &mut as_host_user(&world));
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_run_by_root_leaves_nothing_that_the_host_cannot_use() {
    if !is_root() {
        return;
    }
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    world.uisp.add(Backup::numbered(2, 9 * MIB));
    give(world.root(), HOST_USER);
    let gate = Gate::new();
    let last = On::nth("files/upload_session/append_v2", 2);
    world.dropbox.inject(last, Action::Hold(gate.clone()));
    // An admin tries it from a shell, and ends it in the middle.
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    run.wait();
    gate.open();
    let mut folders = vec![world.data("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let owner = fs::metadata(&path).unwrap().uid();
            assert_eq!(owner, HOST_USER, "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    let ended = run_with_output(&world, &mut as_host_user(&world));
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(world.log().contains("Finished: "), "{}", world.log());
    assert!(!world.data("transfers").exists());
    world.assert_mirrored();
}
