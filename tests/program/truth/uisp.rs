//! Lists of UISP that are odd, and backups that come and go while a run goes on.

use chrono::{DateTime, TimeDelta, Utc};
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, RawAnswer};
use serde_json::{Value, json};

use super::{START, Watch, add_fresh, changed_meanwhile, dry_run, fresh, status, verify};
use crate::page::crm;
use crate::support::{PATIENCE, World};

const DELETE: &str = "files/delete_batch";

/// A world of so many mirrored backups, watched.
fn mirrored(count: u32) -> (World, Watch) {
    let world = World::authorized();
    add_fresh(&world, 1, count);
    let watch = Watch::over(&world);
    watch.run_well(&world);
    (world, watch)
}

/// The list as it is, with one more row or with rows that are changed.
fn answer_list(world: &World, change: impl FnOnce(&mut Vec<Value>)) {
    let backups = world.uisp.backups().into_iter();
    let mut rows = backups
        .map(|backup| json!({"id": backup.id, "state": backup.state, "createdAt": backup.created_at}))
        .collect();
    change(&mut rows);
    let answer = RawAnswer::json(200, &json!(rows).to_string());
    world.uisp.answer_list(Some(answer));
}

type Change = fn(&mut Vec<Value>);

#[test]
fn an_odd_list_is_never_all_well_and_deletes_nothing() {
    let cases: [(&str, Change); 10] = [
        ("a number as id", |rows| {
            rows.push(json!({"id": 17, "state": "success", "createdAt": "2026-01-09T00:00:00Z"}));
        }),
        ("no id", |rows| {
            rows.push(json!({"state": "success", "createdAt": "2026-01-09T00:00:00Z"}));
        }),
        ("null as id", |rows| rows[0]["id"] = Value::Null),
        ("an epoch as time", |rows| {
            rows[0]["createdAt"] = json!(1_767_240_720)
        }),
        ("an unknown word for success", |rows| {
            rows[0]["state"] = json!("done")
        }),
        ("an unknown word for all", |rows| {
            rows.iter_mut().for_each(|row| row["state"] = json!("done"));
        }),
        ("no state", |rows| {
            drop(rows[0].as_object_mut().unwrap().remove("state"))
        }),
        ("no row at all", Vec::clear),
        ("a row that is none", |rows| rows.push(json!("backup"))),
        ("an id twice", |rows| rows.push(rows[0].clone())),
    ];
    for (what, change) in cases {
        let (world, watch) = mirrored(3);
        world.remove_backup(1);
        answer_list(&world, change);
        let before = contents_count(&world);
        eprintln!("{what}");
        let ended = watch.run_with_gap(&world);
        if what != "an unknown word for success" {
            assert_eq!(contents_count(&world), before, "{what}: {}", ended.log);
        }
        // The copies of what is named in any form stay in any case.
        for number in 2..=3 {
            assert!(has(&world, number), "{what}: {}", ended.log);
        }
        world.uisp.answer_list(None);
        watch.run_well(&world).assert_line(&["Finished: "]);
        world.assert_mirrored();
    }
}

fn contents_count(world: &World) -> usize {
    world.dropbox.files().len()
}

fn has(world: &World, number: u32) -> bool {
    let id = Backup::numbered(number, 0).id;
    world.dropbox.paths().iter().any(|path| path.contains(&id))
}

#[test]
fn a_backup_that_is_never_finished_is_not_well_and_is_named_in_the_end() {
    let (world, watch) = mirrored(2);
    world.uisp.add(fresh(3, 1000).in_state("in-progress"));
    for run in 1..=3 {
        // UISP may be at it: that is no bad word, but silence, until it takes too long.
        let ended = world.run();
        assert_eq!(watch.ping(), (run == 3).then_some("bad"), "{}", ended.log);
        watch.assert_not_well(&world, &ended);
        let is_named = ended
            .log
            .contains("has not reached Dropbox in its present version");
        assert_eq!(is_named, run == 3, "{}", ended.log);
    }
    world.uisp.set_state(&Backup::numbered(3, 0).id, "success");
    watch.run_well(&world);
    // What failed is no backup: nothing is missing.
    world.uisp.add(fresh(4, 1000).in_state("failed"));
    watch.run_well(&world);
}

#[test]
fn a_deletion_that_fails_or_is_cut_short_is_not_well_although_no_backup_is_missing() {
    let (world, watch) = mirrored(3);
    let is_well = || status(&world)["last_run"]["well"] == json!(true);
    assert!(is_well());
    world.remove_backup(1);
    world
        .dropbox
        .inject(On::every(DELETE), Action::text(400, "no"));
    let ended = world.run_badly();
    assert_eq!(watch.ping(), Some("bad"), "{}", ended.log);
    assert!(!is_well(), "{}", ended.log);
    world.dropbox.traffic().clear_faults();
    let (run, gate) = world.start_held(DELETE);
    run.signal("TERM");
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    gate.open();
    assert_eq!(watch.ping(), None, "{}", world.log());
    assert!(!is_well(), "{}", world.log());
    watch.run_well(&world);
    world.assert_mirrored();
}

#[test]
fn a_list_without_any_backup_is_not_well_in_the_first_run_either() {
    let world = World::authorized();
    let watch = Watch::over(&world);
    let ended = watch.run_not_well(&world);
    ended.assert_line(&["WARNING: ", "no finished backup"]);
}

/// More than the reader reads ahead: what follows is not opened before it has left.
const LARGE: u64 = 60 * 1024 * 1024;

#[test]
fn a_backup_that_is_pruned_before_its_turn_is_no_failure_and_holds_no_deletion_up() {
    let (world, watch) = mirrored(4);
    world.remove_backup(1);
    add_fresh(&world, 5, 5);
    world.uisp.add(fresh(6, LARGE));
    let log = changed_meanwhile(&world, || world.remove_backup(5));
    assert!(
        log.contains("was deleted in UISP before its turn came"),
        "{log}"
    );
    assert!(
        !has(&world, 1) && !has(&world, 5) && has(&world, 6),
        "{log}"
    );
    world.assert_mirrored();
    let page = crm::page_around(&world);
    page.assert_says(&["All well", "All 4 backups are in Dropbox."]);
    assert_eq!(watch.ping(), Some("good"), "{log}");
    assert_eq!(verify(&world).0, Some(0));
}

#[test]
fn a_backup_that_is_pruned_before_it_is_compared_is_no_failure() {
    let (world, watch) = mirrored(3);
    std::fs::remove_file(world.data("state.json")).unwrap();
    let gate = Gate::new();
    world
        .uisp
        .inject(On::next("nms/backups/*"), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.remove_backup(1);
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    let log = world.log();
    assert!(log.contains("was deleted in UISP before its turn"), "{log}");
    assert_eq!(watch.ping(), Some("good"), "{log}");
    // It was seen, but never found equal to its backup.
    assert!(has(&world, 1), "{log}");
}

#[test]
fn what_was_to_come_in_place_of_the_old_ones_and_did_not_come_keeps_them() {
    let (world, watch) = mirrored(3);
    for number in 1..=3 {
        world.remove_backup(number);
    }
    // Three go and four come: no sudden loss, if they come.
    add_fresh(&world, 4, 6);
    world.uisp.add(fresh(7, LARGE));
    let log = changed_meanwhile(&world, || {
        (4..=6).for_each(|number| world.remove_backup(number));
    });
    assert!(
        log.contains("WARNING: 3 files in Dropbox are on hold"),
        "{log}"
    );
    for number in 1..=3 {
        assert!(has(&world, number), "{log}");
    }
    assert_eq!(world.state()["on_hold"].as_array().unwrap().len(), 3);
    drop(watch);
}

#[test]
fn what_a_newer_list_of_the_same_run_names_again_stays() {
    let (world, _watch) = mirrored(5);
    // UISP starts, and lists what it has found so far.
    let hidden = world.uisp.backups();
    world.remove_backup(1);
    add_fresh(&world, 6, 6);
    world.uisp.add(fresh(7, LARGE));
    let log = changed_meanwhile(&world, || {
        world.remove_backup(6);
        world.uisp.add(hidden[0].clone());
    });
    assert!(has(&world, 1), "{log}");
    assert!(log.contains("0 deleted"), "{log}");
    world.run_well().assert_line(&["0 uploaded", "0 deleted"]);
    world.assert_mirrored();
}

#[test]
fn a_newer_list_that_cannot_be_read_deletes_nothing() {
    let (world, watch) = mirrored(5);
    world.remove_backup(1);
    add_fresh(&world, 6, 6);
    world.uisp.add(fresh(7, LARGE));
    let (run, gate) = world.start_held(START);
    world.remove_backup(6);
    world
        .uisp
        .answer_list(Some(RawAnswer::html(200, "<html>Log in</html>")));
    gate.open();
    assert_eq!(run.wait(), Some(1), "{}", world.log());
    assert!(has(&world, 1), "{}", world.log());
    assert_ne!(watch.ping(), Some("good"));
}

#[test]
fn another_timezone_is_no_reason_for_anything() {
    let (world, watch) = mirrored(3);
    world
        .uisp
        .configure(|options| options.timezone = Some(json!("Pacific/Auckland")));
    watch
        .run_well(&world)
        .assert_line(&["0 uploaded", "0 deleted", "3 unchanged"]);
    add_fresh(&world, 4, 4);
    watch
        .run_well(&world)
        .assert_line(&["1 uploaded", "0 deleted"]);
}

#[test]
fn a_lost_memory_or_record_loses_nothing_and_tells_nothing_wrong() {
    let (world, watch) = mirrored(3);
    std::fs::remove_file(world.data("record.json")).unwrap();
    world.remove_backup(1);
    watch.run_well(&world).assert_line(&["1 deleted"]);
    std::fs::remove_file(world.data("state.json")).unwrap();
    world.remove_backup(2);
    let ended = watch.run_well(&world);
    ended.assert_line(&["0 deleted", "1 unchanged"]);
    ended.assert_line(&["Kept 1 backup", "never saw"]);
    assert!(has(&world, 2));
}

#[test]
fn what_a_dry_run_shows_is_measured_by_dropboxs_clock_too() {
    let (world, _watch) = mirrored(3);
    world.configure(json!({"keepDeletedDays": 30}));
    world.remove_backup(1);
    world.run_well();
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(31 * 24 * 3600));
    let deletions = |world: &World| {
        let actions = dry_run(world).into_iter();
        actions.filter(|(action, _)| action == "delete").count()
    };
    assert_eq!(deletions(&world), 1);
    world.run_well().assert_line(&["1 deleted"]);
    assert_eq!(contents_count(&world), 2);
}

#[test]
fn a_listing_without_a_time_is_as_old_as_this_machine_takes_it_to_be() {
    let (world, _watch) = mirrored(3);
    world.configure(json!({"keepDeletedDays": 30}));
    world.remove_backup(1);
    let files = world.dropbox.files().into_iter();
    let entries = files.map(|file| {
        json!({
            ".tag": "file",
            "name": &file.path[1..],
            "path_lower": file.path.to_lowercase(),
            "rev": file.rev,
            "size": file.size,
            "content_hash": file.content_hash,
        })
    });
    let page = json!({"entries": entries.collect::<Vec<_>>(), "cursor": "x", "has_more": false});
    world
        .dropbox
        .inject(On::next("files/list_folder"), Action::json(200, &page));
    for _ in 0..2 {
        world.run_well().assert_line(&["0 deleted"]);
    }
    assert_eq!(contents_count(&world), 3);
}

#[test]
fn a_foreign_namesake_in_another_letter_case_is_left_alone_and_told() {
    let world = World::authorized();
    add_fresh(&world, 1, 2);
    let backup = world.uisp.backups().remove(0);
    // UISP's timezone is four hours behind.
    let time: DateTime<Utc> = backup.created_at.parse().unwrap();
    let time = (time - TimeDelta::hours(4)).format("%Y%m%d-%H%M");
    let name = format!("/UNMS-Backup-{time}_{}.unms", backup.id);
    world.dropbox.put(&name, b"somebody's own");
    let watch = Watch::over(&world);
    watch.run_not_well(&world);
    assert!(contents_of(&world).contains(&(name.clone(), "somebody's own".into())));
    world.dropbox.remove(&name);
    // With the very content of the backup it serves as its copy.
    world.dropbox.put(&name, &backup.bytes());
    watch.run_well(&world);
    watch
        .run_well(&world)
        .assert_line(&["0 uploaded", "2 unchanged"]);
}

/// Contents that are no text are left out.
fn contents_of(world: &World) -> Vec<(String, String)> {
    let paths = world.dropbox.paths().into_iter();
    let read = |path: String| {
        let content = String::from_utf8(world.dropbox.read(&path)?).ok()?;
        Some((path, content))
    };
    paths.filter_map(read).collect()
}

#[test]
fn a_folder_that_has_the_id_of_a_backup_is_none_of_the_mirrors() {
    let world = World::authorized();
    add_fresh(&world, 1, 1);
    let folder = format!("/{}", Backup::numbered(1, 0).id);
    world.dropbox.put_folder(&folder);
    world.run_well();
    // It is still there: nothing can be stored under its name.
    let deleted = world
        .dropbox
        .requests()
        .iter()
        .any(|request| request.route.contains("delete"));
    assert!(!deleted && world.dropbox.remove(&folder));
}
