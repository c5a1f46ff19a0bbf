//! The hold has no size for which it does not count, and the admin's word is for what is on hold.

use std::fs;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::json;

use super::{Watch, add_fresh, dry_run};
use crate::support::{PATIENCE, World};

const DOWNLOAD: &str = "nms/backups/*";

fn mirrored(count: u32) -> World {
    let world = World::authorized();
    add_fresh(&world, 1, count);
    world.run_well();
    world
}

fn remove(world: &World, from: u32, to: u32) {
    (from..=to).for_each(|number| world.remove_backup(number));
}

fn tick(world: &World) {
    world.configure(json!({"confirmCleanup": true}));
}

fn is_ticked(world: &World) -> bool {
    world.config()["confirmCleanup"] == json!(true)
}

fn count(world: &World) -> usize {
    world.dropbox.files().len()
}

#[test]
fn a_restored_server_with_one_fresh_backup_takes_nothing_away() {
    for before in [2, 3, 4, 30] {
        let world = mirrored(before);
        world.uisp.clear();
        add_fresh(&world, 50, 50);
        for _ in 0..2 {
            let ended = world.run_well();
            ended.assert_line(&["WARNING: ", "on hold"]);
            assert_eq!(count(&world), before as usize + 1, "{}", ended.log);
        }
    }
    // One made, one gone is what happens every day.
    let world = mirrored(1);
    world.uisp.clear();
    add_fresh(&world, 2, 2);
    world.run_well().assert_line(&["1 uploaded", "1 deleted"]);
}

/// Ticks the box. In the run that sees it a download fails, so that nothing is deleted.
fn agree_in_vain(world: &World) {
    tick(world);
    add_fresh(world, 21, 21);
    world
        .uisp
        .inject(On::every(DOWNLOAD), Action::text(404, "not now"));
    world.run_badly();
    world.uisp.traffic().clear_faults();
}

#[test]
fn the_word_is_for_what_was_on_hold_also_when_that_run_fails() {
    let world = mirrored(20);
    remove(&world, 1, 11);
    world.run_well();
    assert_eq!(world.state()["on_hold"].as_array().unwrap().len(), 11);
    agree_in_vain(&world);
    assert_eq!(count(&world), 20);
    assert!(!is_ticked(&world), "{}", world.log());
    // Meanwhile more vanish.
    remove(&world, 12, 19);
    let ended = world.run_well();
    ended.assert_line(&["1 uploaded", "11 deleted"]);
    ended.assert_line(&["WARNING: 8 files in Dropbox are on hold"]);
    assert_eq!(count(&world), 10, "{}", ended.log);
    // The second word is for those.
    tick(&world);
    world.run_well().assert_line(&["8 deleted"]);
    assert!(!is_ticked(&world));
    world.assert_mirrored();
}

#[test]
fn a_tick_when_nothing_is_on_hold_counts_for_nothing_later() {
    let world = mirrored(5);
    tick(&world);
    world
        .run_well()
        .assert_line(&["was ticked, but nothing was on hold"]);
    assert!(!is_ticked(&world));
    remove(&world, 1, 4);
    world.run_well().assert_line(&["0 deleted"]);
    assert_eq!(count(&world), 5);
    // Ticked in the very run that puts them on hold: nobody has seen them there.
    let world = mirrored(5);
    remove(&world, 1, 4);
    tick(&world);
    world.run_well().assert_line(&["0 deleted"]);
    assert_eq!(count(&world), 5);
}

#[test]
fn a_tick_that_was_taken_note_of_is_taken_away_after_a_crash_and_another_one_counts() {
    let world = mirrored(20);
    remove(&world, 1, 11);
    world.run_well();
    tick(&world);
    // Killed between taking note and taking away, as far as the files on disk tell.
    let mut state = world.state();
    state["tick_is_used"] = json!(true);
    state["agreed"] = state["on_hold"].clone();
    fs::write(world.data("state.json"), state.to_string()).unwrap();
    remove(&world, 12, 19);
    assert_eq!(
        dry_run(&world)
            .iter()
            .filter(|(action, _)| action == "delete")
            .count(),
        11
    );
    let ended = world.run_well();
    ended.assert_line(&["11 deleted"]);
    assert!(!is_ticked(&world), "{}", ended.log);
    assert_eq!(count(&world), 9);
    tick(&world);
    world.run_well().assert_line(&["8 deleted"]);
    assert!(!is_ticked(&world));
}

#[test]
fn a_tick_that_could_not_be_taken_away_counts_for_nothing_more_until_somebody_does() {
    let used = |world: &World, agreed: usize| {
        let mut state = world.state();
        state["tick_is_used"] = json!(true);
        state["agreed"] = json!(state["on_hold"].as_array().unwrap()[..agreed]);
        fs::write(world.data("state.json"), state.to_string()).unwrap();
    };
    let world = mirrored(20);
    remove(&world, 1, 11);
    world.run_well();
    // What has been put on hold since is none of what was agreed to.
    tick(&world);
    used(&world, 5);
    world.run_well().assert_line(&["5 deleted"]);
    assert!(!is_ticked(&world));
    // Whoever unticks it and ticks it again gives a new word.
    used(&world, 0);
    world.run_well().assert_line(&["0 deleted"]);
    tick(&world);
    world.run_well().assert_line(&["6 deleted"]);
}

#[test]
fn the_word_ends_when_what_it_was_given_for_is_back() {
    let world = mirrored(20);
    let all = world.uisp.backups();
    remove(&world, 1, 11);
    world.run_well();
    agree_in_vain(&world);
    assert_eq!(world.state()["agreed"].as_array().unwrap().len(), 11);
    world.uisp.clear();
    all.into_iter().for_each(|backup| world.uisp.add(backup));
    world.run_well();
    assert_eq!(world.state()["agreed"], json!([]));
    remove(&world, 1, 11);
    for _ in 0..2 {
        world.run_well().assert_line(&["0 deleted"]);
    }
    assert_eq!(count(&world), 20);
}

#[test]
fn what_was_deleted_without_an_answer_is_kept_by_whoever_brings_it_back() {
    for is_killed in [false, true] {
        let world = mirrored(4);
        let backup = Backup::numbered(1, 1000);
        let paths = world.dropbox.paths();
        let path = paths.iter().find(|path| path.contains(&backup.id)).unwrap();
        world.remove_backup(1);
        let gate = Gate::new();
        let action = match is_killed {
            true => Action::HoldAnswer(gate.clone()),
            false => Action::AnswerLost,
        };
        world
            .dropbox
            .inject(On::from_nth("files/delete_batch*", 1), action);
        if is_killed {
            let run = world.start();
            assert!(gate.wait_reached(PATIENCE), "{}", world.log());
            run.signal("KILL");
            run.wait();
            gate.open();
        } else {
            world.run_badly();
        }
        world.dropbox.traffic().clear_faults();
        world.dropbox.remove(path);
        world.dropbox.put(path, &backup.bytes());
        for _ in 0..2 {
            world.run_well().assert_line(&["0 deleted"]);
            assert!(world.dropbox.file(path).is_some());
        }
        // What was not deleted after all goes.
        world.remove_backup(2);
        world.run_well().assert_line(&["1 deleted"]);
    }
}

#[test]
fn what_is_deleted_is_forgotten_and_who_brings_it_back_keeps_it() {
    let world = mirrored(4);
    let backup = Backup::numbered(1, 1000);
    let path = world
        .dropbox
        .paths()
        .into_iter()
        .find(|path| path.contains(&backup.id))
        .unwrap();
    let watch = Watch::over(&world);
    world.remove_backup(1);
    watch.run_well(&world).assert_line(&["1 deleted"]);
    world.dropbox.put(&path, &backup.bytes());
    for _ in 0..3 {
        watch.run_well(&world).assert_line(&["0 deleted"]);
        assert!(world.dropbox.file(&path).is_some());
    }
    // Listed and gone again, it goes as any other.
    add_fresh(&world, 1, 1);
    watch.run_well(&world);
    world.remove_backup(1);
    watch.run_well(&world).assert_line(&["1 deleted"]);
    // So is what went with the admin's word.
    remove(&world, 2, 3);
    world.run_well();
    tick(&world);
    world.run_well().assert_line(&["2 deleted"]);
    let backup = Backup::numbered(2, 1000);
    world.dropbox.put(
        &path.replace("000000000001", "000000000002"),
        &backup.bytes(),
    );
    world.run_well().assert_line(&["0 deleted"]);
    assert_eq!(count(&world), 2);
}

#[test]
fn a_hold_ends_when_its_backups_are_back() {
    let world = mirrored(4);
    let all = world.uisp.backups();
    let watch = Watch::over(&world);
    remove(&world, 1, 3);
    world.run_well();
    world.uisp.clear();
    all.into_iter().for_each(|backup| world.uisp.add(backup));
    watch
        .run_well(&world)
        .assert_line(&["0 uploaded", "0 deleted", "4 unchanged"]);
    assert_eq!(world.state()["on_hold"], json!([]));
    crate::page::crm::page_around(&world).assert_says(&["All well", "All 4 backups"]);
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_agreed_deletions_leaves_no_wider_word() {
    let world = mirrored(20);
    remove(&world, 1, 11);
    world.run_well();
    tick(&world);
    let gate = Gate::new();
    world.dropbox.inject(
        On::next("files/delete_batch"),
        Action::HoldAnswer(gate.clone()),
    );
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    gate.open();
    assert!(!is_ticked(&world));
    remove(&world, 12, 19);
    world.run_well();
    // The eleven are gone or agreed to; the eight are new.
    assert_eq!(count(&world), 9, "{}", world.log());
}
