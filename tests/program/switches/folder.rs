//! `dropboxFolder`, and servers that share a Dropbox.

use std::process::Command;

use sandbox::uisp::Backup;
use serde_json::json;

use crate::support::World;

#[test]
fn the_mirror_lives_in_the_folder_that_is_named() {
    let world = World::authorized();
    world.configure(json!({"dropboxFolder": "Servers/Wien süd/"}));
    world.add_backups(1, 3, 1000);
    let outside = format!(
        "/unms-backup-20260101-0000_{}.unms",
        Backup::numbered(9, 0).id
    );
    world.dropbox.put(&outside, b"another server's");
    world.run_well();
    world.remove_backup(1);
    world.add_backups(4, 4, 9_000_000);
    world.run_well();
    let mut paths = world.dropbox.paths();
    paths.retain(|path| path.ends_with(".unms"));
    assert_eq!(paths.len(), 4);
    assert!(paths.contains(&outside));
    let inside = paths
        .iter()
        .filter(|path| path.starts_with("/Servers/Wien süd/unms-backup-"));
    assert_eq!(inside.count(), 3);
    world
        .run_well()
        .assert_line(&["Finished: 0 uploaded", "0 deleted", "3 unchanged"]);
}

#[test]
fn a_folder_that_cannot_be_is_refused_before_anything_is_done() {
    let world = World::authorized();
    world.configure(json!({"dropboxFolder": "../elsewhere"}));
    world.add_backups(1, 1, 1000);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: The configuration field \"dropboxFolder\""]);
    assert!(world.dropbox.requests().is_empty());
}

/// A server of its own whose plugin mirrors into the Dropbox of another world.
struct Guest<'a> {
    world: World,
    home: &'a World,
}

impl<'a> Guest<'a> {
    fn new(home: &'a World, folder: &str) -> Self {
        let world = World::fresh();
        let app = home.dropbox.app();
        world.configure(json!({
            "dropboxAppKey": app.key,
            "dropboxAppSecret": app.secret,
            "dropboxRefreshToken": home.dropbox.issue_refresh_token(),
            "dropboxFolder": folder,
        }));
        Self { world, home }
    }

    fn command(&self) -> Command {
        let mut command = self.world.command();
        command
            .env("SSL_CERT_FILE", self.home.ca.pem_path())
            .env("DROPBOX_API_URL", self.home.dropbox.api_url())
            .env("DROPBOX_CONTENT_URL", self.home.dropbox.content_url());
        command
    }
}

/// Fifty days of two servers: each makes a backup a day, with ids of its own, and keeps seven.
fn share_for_fifty_days(folders: [&str; 2]) {
    let home = World::fresh();
    let servers = folders.map(|folder| Guest::new(&home, folder));
    let foreign = home.dropbox.put("/notes.txt", b"not a backup");
    let backup = |server: usize, day: u32| {
        let time = Backup::numbered(day, 0).created_at;
        Backup::finished(&format!("server-{server}-day-{day}"), &time, 2000)
    };
    for day in 1..=50 {
        for (index, server) in servers.iter().enumerate() {
            server.world.uisp.add(backup(index, day));
            if day > 7 {
                assert!(server.world.uisp.remove(&backup(index, day - 7).id));
            }
            let ended = server.world.run_as(&mut server.command());
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            assert!(!ended.log.contains("WARNING"), "{}", ended.log);
        }
        for (index, folder) in folders.iter().enumerate() {
            let mark = format!("_server-{index}-");
            let in_folder = format!("{folder}/unms-backup-");
            let mut stored: Vec<String> = home
                .dropbox
                .files()
                .into_iter()
                .filter(|file| file.path.contains(&mark))
                .map(|file| {
                    assert!(file.path.starts_with(&in_folder), "{}", file.path);
                    file.content_hash
                })
                .collect();
            let mut expected: Vec<String> = servers[index]
                .world
                .uisp
                .backups()
                .iter()
                .map(Backup::content_hash)
                .collect();
            stored.sort();
            expected.sort();
            assert_eq!(stored, expected, "server {index}, day {day}");
        }
    }
    assert_eq!(
        home.dropbox.file("/notes.txt").map(|file| file.rev),
        Some(foreign.rev)
    );
}

#[test]
fn two_servers_in_one_root_leave_each_other_alone() {
    share_for_fifty_days(["", ""]);
}

#[test]
fn two_servers_in_folders_of_one_app_leave_each_other_alone() {
    share_for_fifty_days(["", "/Second"]);
}
