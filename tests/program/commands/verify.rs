//! `verify`: it finds what differs, what is missing, and what it cannot know.

use sandbox::http::{Action, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use super::{MIB, Told, generous, tell, tell_well};
use crate::support::World;

/// The paths of the mirror, oldest first.
fn paths(world: &World) -> Vec<String> {
    let mut paths = world.dropbox.paths();
    paths.sort();
    paths
}

fn result_of<'a>(told: &'a Value, path: &str) -> &'a Value {
    let files = told["files"].as_array().unwrap();
    let name = path.trim_start_matches('/');
    files
        .iter()
        .find(|file| file["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {told:#}"))
}

fn mirrored(count: u32, size: u64) -> World {
    let world = generous();
    world.add_backups(1, count, size);
    world.run_well();
    world
}

/// A copy that went bad without the mirror's knowledge: the record, the source and the content tell.
#[test]
fn a_tampered_file_is_found() {
    let world = mirrored(3, 1000);
    let path = &paths(&world)[1];
    let mut bytes = world.dropbox.read(path).unwrap();
    bytes[500] ^= 1;
    world.dropbox.put(path, &bytes);
    let told = tell(&world, &["verify", "--json"]);
    assert_eq!(told.code, Some(1));
    let told = told.json();
    assert_eq!(told["ok"], false);
    let file = result_of(&told, path);
    assert_eq!(file["result"], "differs");
    let problems = file["problems"].to_string();
    assert!(
        problems.contains("what was recorded") && problems.contains("its backup"),
        "{problems}"
    );
    assert_eq!(told["counts"], json!({"differs": 1, "ok": 2}));
    let told = tell(&world, &["verify"]);
    told.assert_line(&[
        "differs",
        "its content hash is not that of what was recorded",
    ]);
    told.assert_line(&["ok ", "compared with record, source"]);
    told.assert_line(&["In all 3 files: 1 differs, 2 ok."]);
}

/// Without a record, the source alone tells; without the source, the record alone.
#[test]
fn either_witness_is_enough() {
    let world = mirrored(2, 1000);
    let path = &paths(&world)[0];
    world.dropbox.put(path, b"tampered with");
    let state = std::fs::read(world.data("state.json")).unwrap();
    std::fs::remove_file(world.data("state.json")).unwrap();
    let told = tell(&world, &["verify", "--json"]);
    assert_eq!(told.code, Some(1));
    assert_eq!(result_of(&told.json(), path)["result"], "differs");
    std::fs::write(world.data("state.json"), state).unwrap();
    world.configure(json!({"unmsApiToken": null}));
    let told = tell(&world, &["verify", "--json"]);
    assert_eq!(told.code, Some(1));
    assert_eq!(result_of(&told.json(), path)["result"], "differs");
    assert_eq!(told.json()["source_asked"], false);
    // The record's word is enough, and nothing is said of a list that nobody has read.
    assert!(world.dropbox.remove(path));
    let mut state = world.state();
    let mirrored = state["mirrored"].as_object_mut().unwrap();
    mirrored.retain(|id, _| !path.contains(id));
    std::fs::write(world.data("state.json"), state.to_string()).unwrap();
    let told = tell_well(&world, &["verify"]);
    told.assert_line(&["No source of backups is configured here"]);
    assert!(!told.out.contains("finished backup"), "{told:?}");
    // Without any witness nothing is proved.
    std::fs::remove_file(world.data("state.json")).unwrap();
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    told.assert_line(&["nothing was compared with anything"]);
}

#[test]
fn a_different_size_is_told_in_bytes() {
    let world = mirrored(2, 1000);
    let path = &paths(&world)[0];
    let bytes = world.dropbox.read(path).unwrap();
    world.dropbox.put(path, &bytes[..999]);
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1));
    told.assert_line(&[
        "differs",
        "Dropbox has 999 bytes, what was recorded has 1000",
    ]);
}

#[test]
fn a_missing_file_is_found() {
    let world = mirrored(4, 1000);
    let paths = paths(&world);
    // One whose backup is still there, and one that only the record knows.
    assert!(world.dropbox.remove(&paths[0]) && world.dropbox.remove(&paths[1]));
    world.remove_backup(2);
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1));
    told.assert_line(&["missing", &paths[0][1..], "not in Dropbox"]);
    told.assert_line(&[
        "missing",
        &Backup::numbered(2, 0).id,
        "not in Dropbox any more",
    ]);
    told.assert_line(&["In all 4 files: 2 missing, 2 ok."]);
}

#[test]
fn all_well_ends_with_zero() {
    let world = mirrored(3, 5 * MIB + 7);
    tell_well(&world, &["verify"]);
    let told = tell_well(&world, &["verify", "--deep", "--json"]).json();
    for file in told["files"].as_array().unwrap() {
        assert_eq!(
            file["compared_with"],
            json!(["record", "source", "content"])
        );
    }
    assert_eq!(world.count("files/download"), 3);
    // Another server's file is nobody's to judge.
    world
        .dropbox
        .put("/unms-backup-20200101-0000_other.unms", b"other");
    tell_well(&world, &["verify"]).assert_line(&["unknown", "nothing to compare with"]);
}

/// What Dropbox reports can be right while what it sends is not.
#[test]
fn deep_finds_what_metadata_hides() {
    let world = mirrored(2, 1000);
    let answer = |bytes: Vec<u8>, rev: &str| Action::Status {
        code: 200,
        headers: vec![("Dropbox-API-Result".into(), json!({"rev": rev}).to_string())],
        body: bytes,
    };
    let file = &world.dropbox.files()[0];
    world.dropbox.inject(
        On::nth("files/download", 2),
        answer(vec![7; 1000], &file.rev),
    );
    tell_well(&world, &["verify"]);
    let told = tell(&world, &["verify", "--deep"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    told.assert_line(&[
        "differs",
        &file.path[1..],
        "not that of what was downloaded",
    ]);
}

#[test]
fn deep_says_which_box_to_tick() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    world.run_well();
    tell_well(&world, &["verify"]);
    let told = tell(&world, &["verify", "--deep"]);
    assert_eq!(told.code, Some(1));
    assert_box_is_named(&told);
}

fn assert_box_is_named(told: &Told) {
    for part in [
        "tick files.content.read on its Permissions tab",
        "To authorize again",
    ] {
        assert!(told.err.contains(part), "{told:?}");
    }
}

#[test]
fn a_source_that_does_not_answer_is_no_success() {
    let world = mirrored(2, 1000);
    world.uisp.set_forbidden(true);
    let told = tell(&world, &["verify"]);
    assert_eq!(told.code, Some(1));
    told.assert_line(&["ok ", "compared with record"]);
    told.assert_line(&["Not everything could be compared", "Make a new token"]);
    assert!(!told.out.contains("finished backup"), "{told:?}");
}
