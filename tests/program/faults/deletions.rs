//! Deletions: jobs in the background, and files that changed in between.

use sandbox::dropbox::{DeleteBatch, DropboxOptions};
use sandbox::http::{Action, On};
use serde_json::json;

use super::*;

#[test]
fn deletions_are_carried_out_however_dropbox_answers() {
    for delete_batch in [
        DeleteBatch::Synchronous,
        DeleteBatch::Asynchronous { polls: 0 },
        DeleteBatch::Asynchronous { polls: 7 },
    ] {
        let world = World::authorized_with(DropboxOptions {
            delete_batch,
            ..DropboxOptions::default()
        });
        world.add_backups(1, 9, 1000);
        world.run_well();
        for number in [2, 5, 7] {
            world.remove_backup(number);
        }
        world.run_well().assert_line(&["3 deleted", "6 unchanged"]);
        world.assert_mirrored();
    }
}

#[test]
fn a_job_that_does_not_end_is_left_to_the_next_run() {
    let world = World::authorized_with(DropboxOptions {
        delete_batch: DeleteBatch::Asynchronous { polls: 100_000 },
        ..DropboxOptions::default()
    });
    world.add_backups(1, 3, 1000);
    world.run_well();
    world.remove_backup(1);
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "could not be deleted", "in time"]);
    assert_recovers(&world);
}

#[test]
fn a_file_that_is_gone_already_counts_as_deleted() {
    let world = changed_world();
    let (run, gate) = world.start_held(DELETE);
    let path = file_of(&world, 1).unwrap().path;
    assert!(world.dropbox.remove(&path));
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    world.assert_mirrored();
}

#[test]
fn a_file_that_somebody_replaced_meanwhile_is_not_deleted() {
    let world = changed_world();
    let (run, gate) = world.start_held(DELETE);
    let path = file_of(&world, 1).unwrap().path;
    let theirs = world.dropbox.put(&path, b"somebody else's");
    gate.open();
    assert_eq!(run.wait(), Some(1), "{}", world.log());
    assert_eq!(world.dropbox.file(&path), Some(theirs));
    assert!(world.log().contains("could not be deleted"));
}

#[test]
fn one_file_that_cannot_be_deleted_does_not_keep_the_others() {
    let world = World::authorized();
    world.add_backups(1, 9, 1000);
    world.run_well();
    let names: Vec<String> = (1..=3).map(|n| file_of(&world, n).unwrap().path).collect();
    for number in 1..=3 {
        world.remove_backup(number);
    }
    let failure = json!({
        ".tag": "failure",
        "failure": {".tag": "path_write", "path_write": {".tag": "no_write_permission"}},
    });
    let success = json!({".tag": "success", "metadata": {}});
    let complete = json!({".tag": "complete", "entries": [success, failure, success]});
    world
        .dropbox
        .inject(On::next(DELETE), Action::json(200, &complete));
    let ended = world.run_badly();
    let lines: Vec<&str> = ended.log.lines().collect();
    let failed = lines
        .iter()
        .filter(|line| line.contains("could not be deleted"));
    assert_eq!(failed.count(), 1, "{}", ended.log);
    ended.assert_line(&["ERROR: ", "may not write"]);
    assert!(names.iter().any(|name| ended.log.contains(&name[1..])));
    // The answer was made up; what it called deleted is.
    for name in &names {
        if ended.log.contains(&format!("Deleted \"{}\"", &name[1..])) {
            world.dropbox.remove(name);
        }
    }
    assert_recovers(&world);
}
