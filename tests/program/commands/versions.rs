//! `versions` and `download --version`: the way back when something bad took the place of something good.

use std::fs;

use sandbox::http::{Action, On};
use serde_json::{Value, json};

use super::{MIB, Told, generous, tell, tell_well};
use crate::folder::world::FolderWorld;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
const NAME: &str = "dump.sql.gz";

/// A folder whose dump was good, then bad, and the revision of the good one.
fn scene() -> (FolderWorld, Vec<u8>, String) {
    let world = FolderWorld::over(generous());
    let mut random = fastrand::Rng::with_seed(7);
    let good: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(5 * MIB as usize)
        .collect();
    world.write(NAME, &good);
    world.write("other", "beside it");
    world.run_well();
    let rev = world.dropbox.file(&format!("/{NAME}")).unwrap().rev;
    world.write(NAME, "bad");
    world.run_well();
    (world, good, rev)
}

/// Downloads a version of the dump to a file.
fn download(world: &FolderWorld, rev: &str, target: &std::path::Path) -> Told {
    tell(
        world,
        &["download", NAME, target.to_str().unwrap(), "--version", rev],
    )
}

#[test]
fn what_was_replaced_is_listed_and_comes_back() {
    let (world, good, rev) = scene();
    let told = tell_well(&world, &["versions", NAME]);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(
        lines[0].contains("3 B") && lines[0].ends_with("(in the folder now)"),
        "{told:?}"
    );
    assert!(
        lines[1].contains("5.2 MB") && lines[1].ends_with(&rev),
        "{told:?}"
    );
    let document = tell_well(&world, &["versions", NAME, "--json"]).json();
    let versions = document["versions"].as_array().unwrap();
    let flags: Vec<&Value> = versions
        .iter()
        .map(|version| &version["is_current"])
        .collect();
    assert_eq!(flags, [true, false]);
    assert_eq!(versions[1]["rev"], rev);
    assert_eq!(versions[1]["size"], good.len());
    assert!(versions[1]["stored_at"].is_string() && versions[1]["content_hash"].is_string());

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("good.sql.gz");
    // It breaks off and goes on.
    world
        .dropbox
        .inject(On::next("files/download"), Action::TruncateResponse(MIB));
    let told = download(&world, &rev, &target);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(fs::read(&target).unwrap() == good);
    // The present one is another file.
    let told = tell(&world, &["download", NAME, target.to_str().unwrap()]);
    assert_eq!(told.code, Some(1), "{told:?}");
}

#[test]
fn what_was_deleted_has_its_versions_and_what_never_was_has_none() {
    let (world, good, rev) = scene();
    world.remove(NAME);
    world.run_well();
    assert!(world.dropbox.file(&format!("/{NAME}")).is_none());
    let told = tell_well(&world, &["versions", NAME]);
    told.assert_line(&["is deleted in Dropbox"]);
    assert!(!told.out.contains("in the folder now"), "{told:?}");
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("good.sql.gz");
    let told = download(&world, &rev, &target);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(fs::read(&target).unwrap() == good);

    let told = tell(&world, &["versions", "never.sql"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("no version of \"never.sql\""), "{told:?}");
    let told = download(&world, "0123456789abc", &target);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.err.contains("\"versions\" shows those that there are"),
        "{told:?}"
    );
}

#[test]
fn a_version_that_arrives_damaged_is_thrown_away() {
    let (world, _, rev) = scene();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("good.sql.gz");
    let answer = Action::Status {
        code: 200,
        headers: vec![("Dropbox-API-Result".into(), json!({"rev": rev}).to_string())],
        body: vec![7; 5 * MIB as usize],
    };
    world.dropbox.inject(On::every("files/download"), answer);
    let told = download(&world, &rev, &target);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("its hash differs"), "{told:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn latest_is_what_was_made_last_and_nothing_that_was_set_aside() {
    let world = FolderWorld::over(generous());
    world.configure(json!({"keepDeletedDays": 9}));
    let made = |days: u64| std::time::SystemTime::now() - DAY * (100 - days) as u32;
    world.write_at("new.sql", "the newest", made(9));
    world.run_well();
    // Stored later, made earlier; and what it replaces is stored last of all.
    world.write_at("old.sql", "an old one", made(1));
    world.run_well();
    world.write_at("old.sql", "another old one", made(2));
    world.run_well();
    let told = tell_well(&world, &["download", "latest", "-"]);
    assert_eq!(told.out, "the newest");
    // Somebody's, which was in the place of a backup, says of itself that it is from tomorrow.
    world.dropbox.put("/tool.sql", b"somebody's");
    world.write_at("tool.sql", "a tool", made(3));
    world.run_well();
    assert!(
        world
            .dropbox
            .paths()
            .iter()
            .any(|path| path.contains("(set aside "))
    );
    let told = tell_well(&world, &["download", "latest", "-"]);
    assert_eq!(told.out, "the newest");
}
