//! Replacing is deleting: what is not this installation's own is set aside first, and what is its own stays as long as
//! a deleted backup does.

use std::time::Duration;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use serde_json::json;

use super::{Watch, assert_holds, contents};
use crate::folder::world::FolderWorld;
use crate::support::PATIENCE;

const COPY: &str = "files/copy_v2";
const FINISH: &str = "files/upload_session/finish_batch_v2";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn asides(world: &FolderWorld) -> usize {
    let paths = world.dropbox.paths();
    paths.iter().filter(|path| path.contains(" (")).count()
}

/// Starts a run, lets `route` be carried out or not, and kills the run there.
fn kill_at(world: &FolderWorld, route: &str, is_carried_out: bool) {
    let gate = Gate::new();
    let action = if is_carried_out {
        Action::HoldAnswer(gate.clone())
    } else {
        Action::Hold(gate.clone())
    };
    world.dropbox.inject(On::next(route), action);
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE), "{}", world.log());
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    world.dropbox.traffic().clear_faults();
    if is_carried_out {
        gate.open();
    }
}

/// A copy that nobody knows: the memory is lost, and the original has changed since.
fn unknown_copy() -> FolderWorld {
    let world = FolderWorld::new();
    world.write("dump.sql", "the old dump");
    world.run_well();
    std::fs::remove_file(world.data("state.json")).unwrap();
    world.write("dump.sql", "another dump");
    world
}

#[test]
fn an_unknown_copy_is_set_aside_once_wherever_the_run_is_killed() {
    for (route, is_carried_out) in [(COPY, false), (COPY, true), (FINISH, false), (FINISH, true)] {
        let world = unknown_copy();
        kill_at(&world, route, is_carried_out);
        assert_holds(&world, "the old dump");
        world.run_well();
        assert_holds(&world, "the old dump");
        assert_holds(&world, "another dump");
        assert_eq!(
            asides(&world),
            1,
            "{route} {is_carried_out}: {:?}",
            world.dropbox.paths()
        );
        // An aside is not set aside, and stays.
        world.write("dump.sql", "a third dump");
        world.run_well();
        world.run_well();
        assert_eq!(asides(&world), 1, "{:?}", world.dropbox.paths());
        assert_holds(&world, "the old dump");
    }
}

#[test]
fn of_unknown_copies_with_one_content_none_relies_on_the_other() {
    let world = FolderWorld::new();
    for name in ["a", "b"] {
        world.write(name, "the same in both");
    }
    world.run_well();
    std::fs::remove_file(world.data("state.json")).unwrap();
    for name in ["a", "b"] {
        world.write(name, format!("new in {name}"));
    }
    world.run_well();
    assert_holds(&world, "the same in both");
    world.assert_stored_beside(&["a", "b"], 2);
}

#[test]
fn what_cannot_be_set_aside_is_not_replaced() {
    for action in [
        Action::text(400, "no"),
        Action::json(
            409,
            &json!({"error_summary": "to/conflict/file/", "error": {".tag": "to", "to": {".tag": "conflict", "conflict": {".tag": "file"}}}}),
        ),
    ] {
        let world = unknown_copy();
        let watch = Watch::over(&world);
        world.dropbox.inject(On::every(COPY), action);
        let ended = watch.run_not_well(&world);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert_eq!(
            contents(&world),
            [("/dump.sql".into(), "the old dump".into())]
        );
        world.dropbox.traffic().clear_faults();
        watch.run_well(&world);
        assert_holds(&world, "the old dump");
    }
}

#[test]
fn a_replaced_copy_stays_as_long_as_a_deleted_one() {
    let world = FolderWorld::new();
    world.configure(json!({"keepDeletedDays": 3}));
    let watch = Watch::over(&world);
    for night in 0..8 {
        world.write("dump.sql", format!("dump of night {night}"));
        world.write("other", format!("same length {night}"));
        watch.run_well(&world);
        for kept in 0..=night {
            let is_there =
                |content: String| contents(&world).iter().any(|(_, there)| *there == content);
            // Set aside when the next one came; it stays for three days from then.
            let is_kept = kept + 1 + 3 > night;
            assert_eq!(
                is_there(format!("dump of night {kept}")),
                is_kept,
                "{night}: {:?}",
                contents(&world)
            );
            assert_eq!(
                is_there(format!("same length {kept}")),
                is_kept,
                "{night}: {:?}",
                contents(&world)
            );
        }
        world.dropbox.advance_clock(DAY);
    }
    // Without days nothing is set aside, and what is left goes as any other.
    world.configure(json!({"keepDeletedDays": 0}));
    world.write("dump.sql", "the last");
    world.run_well();
    assert!(
        asides(&world) == 0
            || world.state()["on_hold"]
                .as_array()
                .is_some_and(|held| !held.is_empty())
    );
}

/// A mirrored dump beside another file; replaced copies stay for three days.
fn first_dump() -> FolderWorld {
    let world = FolderWorld::new();
    world.configure(json!({"keepDeletedDays": 3}));
    world.write("dump.sql", "the first");
    world.write("other", "other");
    world.run_well();
    world
}

#[test]
fn a_replaced_copy_does_not_stay_for_ever_wherever_the_run_is_killed() {
    for (route, is_carried_out) in [(COPY, false), (COPY, true), (FINISH, false), (FINISH, true)] {
        let world = FolderWorld::new();
        world.configure(json!({"keepDeletedDays": 3}));
        world.write("dump.sql", "the first");
        world.run_well();
        world.write("dump.sql", "the second");
        kill_at(&world, route, is_carried_out);
        world.run_well();
        assert_holds(&world, "the first");
        world.dropbox.advance_clock(4 * DAY);
        world.run_well();
        let left = contents(&world);
        let second = [("/dump.sql".into(), "the second".into())];
        assert_eq!(left, second, "{route} {is_carried_out}: {}", world.log());
    }
}

#[test]
fn what_was_set_aside_in_vain_stays_its_days_from_the_replacement_on() {
    let world = first_dump();
    // The copy is set aside, and the new one does not arrive.
    world.write("dump.sql", "the second one");
    world
        .dropbox
        .inject(On::every(FINISH), faults::server_error());
    assert_eq!(world.run().code, Some(1));
    world.dropbox.traffic().clear_faults();
    assert_eq!(asides(&world), 1);
    world.dropbox.advance_clock(4 * DAY);
    world.run_well();
    assert_holds(&world, "the second one");
    // That was the only copy until now.
    assert_holds(&world, "the first");
    world.dropbox.advance_clock(2 * DAY);
    world.run_well();
    assert_holds(&world, "the first");
    world.dropbox.advance_clock(2 * DAY);
    world.run_well();
    assert_eq!(asides(&world), 0);
}

#[test]
fn a_copy_whose_run_was_killed_before_it_was_noted_is_retained_and_goes_as_any_other() {
    let world = first_dump();
    world.write("dump.sql", "the second one");
    kill_at(&world, COPY, true);
    assert_eq!(asides(&world), 1);
    world.run_well();
    assert_eq!(asides(&world), 1);
    assert_holds(&world, "the first");
    world.dropbox.advance_clock(4 * DAY);
    world.run_well();
    assert_eq!(asides(&world), 0);
}

#[test]
fn a_retained_copy_waits_for_what_is_still_to_come_as_any_other() {
    let world = first_dump();
    // Dropbox's clock is far ahead of that of the files.
    world.dropbox.advance_clock(10 * DAY);
    world.write("dump.sql", "the second one");
    world.run_well();
    world.dropbox.advance_clock(4 * DAY);
    world.write_just_now("growing.sql", "half of it");
    assert_eq!(world.run().code, Some(0));
    assert_holds(&world, "the first");
    world.let_rest("growing.sql");
    world.run_well();
    assert_eq!(asides(&world), 0);
}

#[test]
fn a_full_dropbox_makes_room_for_what_is_set_aside_by_what_is_due() {
    let megabyte = |word: &str| word.repeat(1_000_000 / word.len());
    let world = FolderWorld::new();
    world.configure(json!({"keepDeletedDays": 1}));
    for name in ["a", "b", "c", "d", "e"] {
        world.write(name, megabyte(name));
    }
    world.run_well();
    world.remove("a");
    world.remove("b");
    world.run_well();
    world.dropbox.advance_clock(2 * DAY);
    world.dropbox.set_quota(5_500_000, 0);
    world.write("c", megabyte("xy"));
    let ended = world.run_well();
    ended.assert_line(&["Dropbox is full", "done first"]);
    ended.assert_line(&["1 uploaded", "2 deleted"]);
    assert_holds(&world, &megabyte("c"));
    assert_holds(&world, &megabyte("xy"));
}

#[test]
fn a_damaged_replacement_leaves_a_good_copy() {
    let world = FolderWorld::new();
    world.write("dump.sql", "the old dump");
    world.run_well();
    world.write("dump.sql", "the new dump, which is longer");
    // Each try arrives damaged.
    world.dropbox.corrupt_commits(u32::MAX);
    let watch = Watch::over(&world);
    watch.run_not_well(&world);
    assert_holds(&world, "the old dump");
    world.dropbox.corrupt_commits(0);
    watch.run_well(&world);
    world.assert_stored(&["dump.sql"]);
}

#[test]
fn a_person_who_brings_an_older_version_back_loses_nothing() {
    let world = FolderWorld::new();
    world.write("dump.sql", "the dump");
    world.run_well();
    world.dropbox.put("/dump.sql", b"an edited dump");
    world.run();
    assert_holds(&world, "an edited dump");
    assert_holds(&world, "the dump");
}
