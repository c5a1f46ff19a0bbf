//! The commands beside encrypted copies: nothing here can open them, and what can be said without is said.

use std::fs;
use std::process::Output;

use sandbox::uisp::Backup;
use serde_json::json;

use super::{Told, generous, tell, tell_well};
use crate::sealed::{Owner, seal_to};
use crate::support::World;

fn sealed_world() -> (World, Owner) {
    let world = generous();
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    world.add_backups(1, 2, 100_000);
    let ended = world.run_well();
    owner.prove(&world, &ended);
    (world, owner)
}

#[test]
fn what_is_downloaded_is_encrypted_and_how_it_is_opened_is_told() {
    let (world, owner) = sealed_world();
    let folder = tempfile::tempdir().unwrap();
    let download = |arguments: &[&str]| -> Output {
        let mut command = world.command();
        command.arg("download").args(arguments);
        command.current_dir(folder.path()).output().unwrap()
    };
    let told = Told::of(download(&["latest"]));
    assert_eq!(told.code, Some(0), "{told:?}");
    let entry = fs::read_dir(folder.path()).unwrap().next().unwrap();
    let path = entry.unwrap().path();
    let name = path.file_name().unwrap().to_str().unwrap();
    let opened = name.strip_suffix(".age").unwrap();
    let command = format!("age -d -i key.txt -o \"{opened}\" \"{name}\"");
    assert!(told.err.contains(&command), "{told:?}");
    let newest = Backup::numbered(2, 100_000).bytes();
    assert!(owner.open(&fs::read(&path).unwrap()) == newest);
    // In a pipe, every byte counts.
    let output = download(&["latest", "-"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(owner.open(&output.stdout) == newest);
    assert!(String::from_utf8(output.stderr).unwrap().contains("age -d"));
}

#[test]
fn verify_needs_no_key_and_sees_what_differs() {
    let (world, _) = sealed_world();
    let told = tell_well(&world, &["verify", "--deep"]);
    for number in [1, 2] {
        let name = format!("{number:012}.unms.age");
        told.assert_line(&["ok", &name, "record", "source", "content"]);
    }
    // A forged copy, as somebody could make one who knows the public key.
    let path = world.dropbox.paths()[0].clone();
    let length = world.dropbox.file(&path).unwrap().size;
    world.dropbox.put(&path, &vec![1; length as usize]);
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    told.assert_line(&["differs", "content hash"]);
    world.run_well();
    tell_well(&world, &["verify"]);
    // Another content at the source.
    world.uisp.clear();
    world.add_backups(2, 2, 100_000);
    world.uisp.add(Backup {
        altered_at: Some(7),
        ..Backup::numbered(1, 100_000)
    });
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    told.assert_line(&["differs", "what is in it is not its backup"]);
}

#[test]
fn list_status_and_check_tell_of_encryption() {
    let (world, _) = sealed_world();
    let list = tell_well(&world, &["list", "--json"]).json();
    for backup in list["backups"].as_array().unwrap() {
        assert_eq!(backup["encrypted"], true);
        assert_eq!(backup["status"], "mirrored");
    }
    let status = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(status["encryption"], json!({"keys": 1, "proved": true}));
    let told = tell_well(&world, &["status"]);
    told.assert_line(&["Encryption", "to 1 key", "it was shown"]);
    let told = tell_well(&world, &["check"]);
    told.assert_line(&["ok", "encryption", "works, to 1 key", "it was shown"]);
    seal_to(&world, &[&Owner::new(), &Owner::new()]);
    let told = tell_well(&world, &["check"]);
    told.assert_line(&["ok", "encryption", "to 2 keys", "nobody has shown yet"]);
    world.configure(json!({"encryptTo": null}));
    let status = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(status["encryption"], json!(null));
    assert!(!tell_well(&world, &["check"]).out.contains("encryption"));
    world.configure(json!({"encryptTo": "age1nonsense"}));
    let told = tell(&world, &["check"]);
    assert_eq!(told.code, Some(1));
    told.assert_line(&["problem", "configuration", "\"encryptTo\"", "entry 1"]);
}
