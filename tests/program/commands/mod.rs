//! The commands for people with a shell: the real binary against the stand-ins.

mod authorize;
mod check;
mod download;
mod sealed;
mod usage;
mod verify;
mod versions;
mod views;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use sandbox::dropbox::{App, DropboxOptions, StoredFile};
use serde_json::Value;

use crate::support::World;

const MIB: u64 = 1024 * 1024;

/// What a command said, and how it ended.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that a line of the output has all these parts.
    fn assert_line(&self, parts: &[&str]) {
        let found = self
            .out
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(
            found,
            "no line with {parts:?} in:\n{}\n{}",
            self.out, self.err
        );
    }
}

/// Runs a command that may take its time.
fn tell(world: &World, arguments: &[&str]) -> Told {
    Told::of(world.command().args(arguments).output().unwrap())
}

/// Runs a command that must find everything well.
fn tell_well(world: &World, arguments: &[&str]) -> Told {
    let told = tell(world, arguments);
    assert_eq!(told.code, Some(0), "{told:?}");
    told
}

/// An app with all the permissions that a command can need.
fn generous_app() -> App {
    let scopes = [
        "files.metadata.read",
        "files.content.write",
        "files.content.read",
        "account_info.read",
    ];
    App::new("test-app-key", "test-app-secret", &scopes)
}

/// A world whose app has all permissions.
fn generous() -> World {
    World::authorized_with(DropboxOptions {
        app: generous_app(),
        ..DropboxOptions::default()
    })
}

/// Everything that a command must not change: the plugin's folder and the files in Dropbox.
#[derive(Debug, PartialEq)]
struct Everything {
    folder: BTreeMap<PathBuf, Vec<u8>>,
    dropbox: Vec<StoredFile>,
}

impl Everything {
    fn of(world: &World) -> Self {
        let mut folder = BTreeMap::new();
        read_below(world.root(), &mut folder);
        Self {
            folder,
            dropbox: world.dropbox.files(),
        }
    }
}

fn read_below(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_below(&path, files);
            files.insert(path, Vec::new());
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}
