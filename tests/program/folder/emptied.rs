//! Folders in Dropbox that deletions have emptied.

use std::fs;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use serde_json::json;

use super::world::FolderWorld;
use crate::support::PATIENCE;

/// Files in several folders, all in Dropbox, and a few more so that some may go.
fn mirrored() -> FolderWorld {
    let world = FolderWorld::new();
    for name in [
        "Old/2025/01/dump",
        "Old/2025/02/dump",
        "Old/mixed/dump",
        "Old/nested/dump",
    ] {
        world.write(name, name);
    }
    for number in 0..6 {
        world.write(format!("new/{number}"), number.to_string());
    }
    world.run_well();
    world
}

fn remove_old(world: &FolderWorld) {
    fs::remove_dir_all(world.path("Old")).unwrap();
}

#[test]
fn a_folder_goes_with_the_last_file_and_stays_with_anything_else() {
    let world = mirrored();
    world.dropbox.put("/old/Mixed/holiday.jpg", b"foreign");
    world.dropbox.put_folder("/Old/nested/foreign folder");
    world.dropbox.put_folder("/empty");
    remove_old(&world);
    let ended = world.run_well();
    ended.assert_line(&["Deleted the folder \"Old/2025/01\", which has become empty."]);
    ended.assert_line(&["4 deleted", "6 unchanged"]);
    let folders = [
        "/empty",
        "/new",
        "/Old",
        "/Old/mixed",
        "/Old/nested",
        "/Old/nested/foreign folder",
    ];
    assert_eq!(world.dropbox.folders(), folders);
    assert!(world.dropbox.file("/Old/mixed/holiday.jpg").is_some());
    // What is brought back makes its folders anew.
    world.write("Old/2025/01/dump", "another one");
    world.run_well();
    assert!(world.dropbox.file("/Old/2025/01/dump").is_some());
}

#[test]
fn nothing_goes_before_its_time_nor_while_it_is_on_hold() {
    let world = mirrored();
    world.configure(json!({"keepDeletedDays": 5}));
    remove_old(&world);
    let before = world.dropbox.folders();
    world.run_well();
    assert_eq!(world.dropbox.folders(), before);
    let world = mirrored();
    remove_old(&world);
    for number in 1..6 {
        world.remove(format!("new/{number}"));
    }
    world.run().assert_line(&["WARNING", "on hold"]);
    assert_eq!(world.dropbox.folders(), before);
}

/// Between the list and the end of the deletions, somebody puts a file there.
#[test]
fn what_somebody_puts_there_meanwhile_stays() {
    let world = mirrored();
    remove_old(&world);
    let gate = Gate::new();
    let hold = Action::Hold(gate.clone());
    world.dropbox.inject(On::next("files/delete_batch"), hold);
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.dropbox.put("/Old/2025/01/holiday.jpg", b"foreign");
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert!(world.dropbox.file("/Old/2025/01/holiday.jpg").is_some());
    assert_eq!(
        world.dropbox.folders(),
        ["/new", "/Old", "/Old/2025", "/Old/2025/01"]
    );
}

#[test]
fn a_folder_that_dropbox_does_not_delete_is_told_and_fails_nothing() {
    let world = mirrored();
    remove_old(&world);
    world
        .dropbox
        .inject(On::nth("files/delete_batch", 2), faults::server_error());
    for number in 3..10 {
        let fault = faults::server_error();
        world
            .dropbox
            .inject(On::nth("files/delete_batch", number), fault);
    }
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&[
        "WARNING: The folder \"Old/",
        "has become empty and could not be deleted",
    ]);
}
