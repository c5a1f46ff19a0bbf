//! `authorize`: from an empty folder to a backup in hand, without UISP and without the old server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use sandbox::uisp::Backup;
use serde_json::Value;

use super::{Told, generous};
use crate::support::World;

/// Authorizes in `root`; `answer` gives the code for the address that is shown.
fn authorize(
    world: &World,
    root: &Path,
    arguments: &[&str],
    answer: impl Fn(&str) -> String,
) -> Told {
    let mut command = world.command();
    command
        .arg("authorize")
        .arg("--root")
        .arg(root)
        .args(arguments)
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    while stdout.read_line(&mut shown).unwrap() > 0 && !shown.contains("press Enter") {}
    if let Some(url) = shown
        .lines()
        .find(|line| line.contains("/oauth2/authorize?"))
    {
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(format!("{}\n", answer(url)).as_bytes())
            .unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Told {
        code: output.status.code(),
        out: shown,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn config(root: &Path) -> Value {
    serde_json::from_slice(&fs::read(root.join("data/config.json")).unwrap()).unwrap()
}

#[test]
fn an_empty_folder_becomes_a_way_back() {
    let world = generous();
    world.add_backups(1, 2, 100_000);
    world.run_well();
    let elsewhere = tempfile::tempdir().unwrap();
    let root = elsewhere.path();
    // A code that is wrong costs nothing: the address stays, and a right one still serves.
    let mut urls = Vec::new();
    for is_right in [false, true] {
        let told = authorize(
            &world,
            root,
            &["--app-key", "test-app-key"],
            |url| match is_right {
                true => world.dropbox.allow(url).unwrap(),
                false => "fake-and-wrong-code".into(),
            },
        );
        assert_eq!(told.code, Some(if is_right { 0 } else { 1 }), "{told:?}");
        assert_eq!(
            told.err.contains("Run the command again"),
            !is_right,
            "{told:?}"
        );
        assert!(!told.err.contains("fake-and-wrong-code"), "{told:?}");
        urls.push(
            told.out
                .lines()
                .find(|line| line.contains("/oauth2/"))
                .unwrap()
                .to_owned(),
        );
        assert_eq!(config(root)["dropboxRefreshToken"].is_string(), is_right);
    }
    assert_eq!(urls[0], urls[1]);
    assert_eq!(
        fs::metadata(root.join("data/config.json")).unwrap().mode() & 0o777,
        0o600
    );

    let mut command = world.command();
    command
        .args(["download", "latest", "--root"])
        .arg(root)
        .arg(root);
    let told = Told::of(command.output().unwrap());
    assert_eq!(told.code, Some(0), "{told:?}");
    let name = world.dropbox.paths()[1][1..].to_owned();
    assert!(fs::read(root.join(name)).unwrap() == Backup::numbered(2, 100_000).bytes());
}

#[test]
fn what_is_stored_stays_until_the_new_one_is_there() {
    let world = World::authorized();
    let before = world.config();
    let told = authorize(&world, world.root(), &[], |_| "fake-and-wrong-code".into());
    assert_eq!(told.code, Some(1));
    assert_eq!(
        world.config()["dropboxRefreshToken"],
        before["dropboxRefreshToken"]
    );
    let told = authorize(&world, world.root(), &[], |url| {
        world.dropbox.allow(url).unwrap()
    });
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_ne!(
        world.config()["dropboxRefreshToken"],
        before["dropboxRefreshToken"]
    );
    world.add_backups(1, 1, 1000);
    world.run_well();
}

#[test]
fn without_an_app_key_it_says_where_to_find_one() {
    let world = World::fresh();
    let told = authorize(&world, world.root(), &[], |_| unreachable!());
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("--app-key") && told.err.contains("Settings tab of your app"),
        "{told:?}"
    );
    assert_eq!(world.dropbox.requests().len(), 0);
}
