//! What is left out by patterns, as in .gitignore.

use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;

use super::world::FolderWorld;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn what_is_left_out_is_neither_mirrored_nor_a_doubt() {
    let world = FolderWorld::new();
    world.write("dump.sql.gz", "kept");
    world.write("dump.sql", "left out");
    world.write("cache/deep/file", "left out");
    world.write("cache/../archive/cache", "kept: no folder");
    world.write("archive/notes.tmp", "kept by an exception");
    world.write("archive/other.tmp", "left out");
    world.write("empty.sql", "");
    symlink("/nowhere", world.path("latest.sql")).unwrap();
    symlink("/nowhere", world.path("cache/link")).unwrap();
    let kept = ["dump.sql.gz", "archive/cache", "archive/notes.tmp"];
    world.configure(json!({"exclude": ["*.sql", "cache/", "*.tmp", "!/archive/notes.tmp"]}));
    let ended = world.run_well();
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    world.assert_stored(&kept);
    assert_eq!(world.record()["runs"][0]["is_well"], json!(true));
    // The same in lines, as in the environment.
    world.configure(json!({"exclude": null}));
    let lines = "# dumps\r\n*.sql\r\n\r\ncache/\n*.tmp\n!/archive/notes.tmp\n";
    let mut command = world.command();
    let ended = world.run_as(command.env("EXCLUDE", lines));
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "3 unchanged"]);
}

#[test]
fn copies_of_what_is_left_out_later_go_as_if_it_had_been_deleted() {
    let world = FolderWorld::new();
    for name in ["a.tmp", "b.sql", "c.sql", "d.sql"] {
        world.write(name, name);
    }
    world.configure(json!({"keepDeletedDays": 5}));
    world.run_well();
    world.configure(json!({"exclude": ["*.tmp"]}));
    world.run_well();
    world.dropbox.advance_clock(4 * DAY);
    world.run_well();
    world.assert_stored(&["a.tmp", "b.sql", "c.sql", "d.sql"]);
    world.dropbox.advance_clock(2 * DAY);
    world.run_well().assert_line(&["1 deleted"]);
    world.assert_stored(&["b.sql", "c.sql", "d.sql"]);
    // A pattern that leaves out most is a mass deletion like any other.
    world.configure(json!({"exclude": ["*.tmp", "[bc].sql"], "keepDeletedDays": 0}));
    let ended = world.run();
    ended.assert_line(&["WARNING", "hold"]);
    world.assert_stored(&["b.sql", "c.sql", "d.sql"]);
}

#[test]
fn a_list_holds_texts() {
    let world = FolderWorld::new();
    world.write("dump.sql", "content");
    world.configure(json!({"exclude": ["*.tmp", 5]}));
    let ended = world.run_badly();
    ended.assert_line(&["\"exclude\"", "must be a list of patterns, each a text"]);
    assert!(world.dropbox.paths().is_empty());
}
