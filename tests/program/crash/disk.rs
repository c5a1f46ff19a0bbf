//! The disk below `data/` is full, or fails from any instant on.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sandbox::http::{Action, Gate, On};
use serde_json::json;

use super::kill::{healthy_run, is_root, patient, run_with_output};
use crate::support::{Ended, PATIENCE, World};

const TOKEN: &str = "oauth2/token";
/// A tmpfs gives room in pages.
const PAGE: usize = 4096;

/// A small disk, mounted as a world's `data/` until dropped.
struct SmallDisk {
    data: PathBuf,
    filler: File,
    filled: usize,
}

impl SmallDisk {
    /// Moves what is in `data/` to a disk of its own. Needs root.
    fn mount(world: &World) -> Self {
        let data = world.data("");
        let files: Vec<_> = fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k,mode=755", "tmpfs"]);
        let status = mount.arg(&data).status().unwrap();
        assert!(status.success(), "mounting needs root");
        for (content, path) in files {
            fs::write(path, content).unwrap();
        }
        let filler = File::create(data.join("filler")).unwrap();
        Self {
            data,
            filler,
            filled: 0,
        }
    }

    /// Fills the disk up, then gives back so many pages.
    fn leave(&mut self, pages: usize) {
        while self.filler.write_all(&[0; PAGE]).is_ok() {
            self.filled += PAGE;
        }
        let left = self.filled - pages * PAGE;
        self.filler.set_len(left as u64).unwrap();
    }

    fn make_room(&self) {
        self.filler.set_len(0).unwrap();
        fs::remove_file(self.data.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a run that a failed test left behind may still use it.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("-l").arg(&self.data).status();
    }
}

/// A world whose access code was just pasted, with one backup.
fn pasted(has_secret: bool) -> World {
    let world = World::with_app(has_secret);
    world.add_backups(1, 1, 1000);
    // Nothing is missing, so that no line about that takes the last room.
    world.dropbox.set_app_scopes(&[
        "files.metadata.read",
        "files.content.write",
        "files.content.read",
        "account_info.read",
    ]);
    let asked = healthy_run(&world);
    world.allow_and_paste(&asked);
    world
}

#[test]
fn a_full_disk_costs_neither_configuration_nor_state_nor_backups() {
    if !is_root() {
        return;
    }
    for pages in 0..6 {
        let world = World::authorized();
        world.add_backups(1, 4, 1000);
        healthy_run(&world);
        world.remove_backup(1);
        world.add_backups(5, 5, 1000);
        let mut disk = SmallDisk::mount(&world);
        let (config, state) = (world.config(), world.state());
        // The next line needs a page of its own.
        let log = world.log();
        let padding = PAGE - (log.len() % PAGE) - 2;
        fs::write(
            world.data("plugin.log"),
            format!("{log}{}\n", "x".repeat(padding)),
        )
        .unwrap();
        disk.leave(pages);
        let ended = run_with_output(&world, &mut patient(&world));
        assert_eq!(world.config(), config);
        if ended.code == Some(0) {
            assert_ne!(world.state(), state);
            ended.assert_line(&["Finished: 1 uploaded", "1 deleted"]);
        } else {
            assert_eq!(ended.code, Some(1), "{pages} pages: {}", ended.log);
            ended.assert_line(&["ERROR: ", "state.json", "Free disk space"]);
            let last = ended.last_line();
            assert!(last.starts_with("ERROR: "), "{pages} pages: {}", ended.log);
            // Nothing is deleted on the strength of what could not be written.
            let promised = ended.log.contains("nothing is deleted in this run");
            assert!(
                !promised || world.dropbox.files().len() == 5,
                "{pages} pages"
            );
        }
        assert!(pages > 0 || ended.code == Some(1));
        if !world.log().contains("Finished: 1 uploaded") {
            ended.assert_line(&["ERROR: The log", "cannot be written", "disk space"]);
        }
        disk.make_room();
        let ended = healthy_run(&world);
        assert_eq!(ended.code, Some(0), "{pages} pages: {}", ended.log);
        world.assert_mirrored();
    }
}

#[test]
fn a_line_that_met_a_full_disk_is_not_glued_to_the_next_one() {
    if !is_root() {
        return;
    }
    for room in [1, 30, 100, 200] {
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        let mut disk = SmallDisk::mount(&world);
        // The page that the log has begun is all the room there is.
        let first = "First line. (2026-11-21T04:12:09+01:00)\n";
        let time = " (2026-11-21T04:12:09+01:00)\n";
        let long = "x".repeat(PAGE - room - first.len() - time.len());
        let before = format!("{first}{long}{time}");
        fs::write(world.data("plugin.log"), &before).unwrap();
        disk.leave(0);
        let ended = run_with_output(&world, &mut patient(&world));
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        disk.make_room();
        healthy_run(&world);
        // What is there is what was there, then lines of which each begins as it should.
        let log = world.log();
        let added = log.strip_prefix(&before).unwrap();
        let beginning = added.chars().take(9).collect::<String>();
        assert!(
            ["Started: ", "WARNING: "].contains(&beginning.as_str()),
            "{room} bytes: {added}"
        );
    }
}

#[test]
fn the_rehearsal_is_as_long_as_what_follows() {
    // Room for the configuration as it is, and ever more for the token that follows.
    for more in (0..6).map(|step| step * 512) {
        let world = pasted(false);
        let length = fs::metadata(world.data("config.json")).unwrap().len() as usize;
        let padding = 4 * PAGE - length - r#","padding":"""#.len();
        world.configure(json!({"padding": "x".repeat(padding)}));
        let full = world.command_with_full_disk(4 * PAGE + more).output();
        let code = full.unwrap().status.code();
        let config = world.config();
        if world.count(TOKEN) == 0 {
            assert_eq!(code, Some(1));
            assert!(config["dropboxAccessCode"].is_string());
        } else {
            let token = &config["dropboxRefreshToken"];
            assert!(
                token.is_string(),
                "{more}: the code was spent for nothing:\n{}",
                world.log()
            );
        }
        world.run_well();
        world.assert_mirrored();
    }
}

/// Fills the disk while Dropbox answers the exchange, so that the rehearsal succeeded and the token
/// cannot be stored; makes room before the run ends, or does not.
fn exchange_while_the_disk_fills_up(has_secret: bool, room_comes_back: bool) {
    let world = pasted(has_secret);
    let mut disk = SmallDisk::mount(&world);
    let (exchange, listing) = (Gate::new(), Gate::new());
    let list = On::next("files/list_folder");
    let dropbox = &world.dropbox;
    dropbox.inject(On::next(TOKEN), Action::Hold(exchange.clone()));
    dropbox.inject(list, Action::Hold(listing.clone()));
    let mut command = world.command();
    // Requests are held, so no timeout may pass.
    command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
    let mut run = command.spawn().unwrap();
    assert!(exchange.wait_reached(PATIENCE));
    disk.leave(0);
    exchange.open();
    // The authorization is good for this run, whether it could be stored or not.
    while !listing.wait_reached(Duration::from_millis(20)) {
        assert_eq!(run.try_wait().unwrap(), None, "{}", world.log());
    }
    if room_comes_back {
        disk.make_room();
    }
    listing.open();
    let output = run.wait_with_output().unwrap();
    let log = world.log() + &String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    let ended = Ended { code, log };
    let config = world.config();
    if room_comes_back {
        assert!(config["dropboxRefreshToken"].is_string(), "{}", ended.log);
        assert!(config["dropboxAccessCode"].is_null(), "{}", ended.log);
    } else {
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: ", "could not be stored"]);
        assert!(ended.last_line().starts_with("ERROR: "), "{}", ended.log);
        disk.make_room();
        // The code is used up, and the way to another one is shown.
        let ended = healthy_run(&world);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        world.allow_and_paste(&ended);
    }
    let ended = healthy_run(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.assert_mirrored();
}

#[test]
fn a_token_that_cannot_be_stored_at_once_is_stored_later_in_the_run() {
    if !is_root() {
        return;
    }
    exchange_while_the_disk_fills_up(true, true);
    exchange_while_the_disk_fills_up(false, true);
}

#[test]
fn a_token_that_cannot_be_stored_fails_the_run() {
    if !is_root() {
        return;
    }
    exchange_while_the_disk_fills_up(true, false);
    exchange_while_the_disk_fills_up(false, false);
}
