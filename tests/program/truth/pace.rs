//! What was begun is finished: runs that end before everything is sent, with new backups in between.

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, Creation};
use serde_json::json;

use super::{START, Watch, status};
use crate::support::{Ended, PATIENCE, World};

const MIB: u64 = 1024 * 1024;
const CREATE: &str = "POST nms/backups/create";
const LIST: &str = "files/list_folder";
const DELETE: &str = "files/delete_batch";

/// A run of an hour, in which at most 41 MB are sent, takes less than four seconds. On a busy machine its time limits
/// may pass.
fn short_run(world: &World) -> Ended {
    let mut command = world.command();
    command.env("BACKUP_SYNC_CLOCK_SPEED", "1000");
    command.env("RUST_LOG", "debug");
    let ended = world.run_as(&mut command);
    let _ = std::fs::remove_file(world.root().join(".ucrm-plugin-execution-requested"));
    ended
}

#[test]
fn backups_that_are_larger_than_a_run_arrive_although_new_ones_come() {
    let world = World::authorized();
    world.configure(json!({"uploadLimitMbps": 0.1}));
    let watch = Watch::over(&world);
    let size = 60 * MIB;
    let (mut runs, mut is_hurried) = (0, false);
    while world.dropbox.files().len() < 3 {
        assert!(runs < 60, "no end: {}", world.log());
        if runs % 2 == 0 {
            world.uisp.add(Backup::numbered(runs, size));
        }
        let ended = short_run(&world);
        runs += 1;
        // Whatever is sent is for one that is begun, and few are begun: nothing is sent for nothing. Where the machine is too
        // busy for the fast clock, answers come too late, and what Dropbox has is sent again.
        is_hurried |= ended.log.contains("no answer in time");
        let traffic = world.dropbox.traffic();
        let sent: u64 = ["start", "append_v2"]
            .map(|route| traffic.body_bytes(&format!("files/upload_session/{route}")))
            .iter()
            .sum();
        let stored = world.dropbox.files().len() as u64;
        assert!(
            is_hurried || sent < (stored + 2) * size,
            "{sent} bytes for {stored}: {}",
            ended.log
        );
        // It is well with the last one there, and never before.
        let is_complete = world.dropbox.files().len() == world.uisp.backups().len();
        let is_well = status(&world)["last_run"]["well"] == json!(true);
        assert_eq!(is_well, is_complete, "{}", ended.log);
        // At this speed the monitoring service may have too little time to be told.
        assert!(watch.ping() != Some("good") || is_complete, "{}", ended.log);
    }
    assert!(runs > 3);
}

#[test]
fn a_run_that_carries_on_makes_no_fresh_backup() {
    let world = World::authorized();
    world.configure(json!({"uploadLimitMbps": 0.1, "createBackup": true}));
    world
        .uisp
        .configure(|options| options.creation = Creation::Succeeds { after_lists: 0 });
    world.uisp.add(Backup::numbered(1, 100 * MIB));
    for _ in 0..3 {
        short_run(&world);
        assert_eq!(world.uisp.traffic().count(CREATE), 1, "{}", world.log());
    }
    // Once all have arrived, the next one is made.
    world.configure(json!({"uploadLimitMbps": null}));
    world.run_well();
    let made = world.uisp.traffic().count(CREATE);
    world.run_well();
    assert_eq!(world.uisp.traffic().count(CREATE), made + 1);
    world.assert_mirrored();
}

#[test]
fn a_run_after_a_killed_one_makes_no_fresh_backup_and_sends_what_was_begun_first() {
    let world = World::authorized();
    world.configure(json!({"createBackup": true}));
    world.uisp.add(Backup::numbered(1, 40 * MIB));
    let gate = Gate::new();
    world.dropbox.inject(
        On::from_nth("files/upload_session/append_v2", 3),
        Action::Hold(gate.clone()),
    );
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    world.dropbox.traffic().clear_faults();
    gate.open();
    let made = world.uisp.traffic().count(CREATE);
    world.add_backups(9, 9, 1000);
    let ended = world.run_well();
    assert_eq!(world.uisp.traffic().count(CREATE), made, "{}", ended.log);
    ended.assert_line(&["No fresh backup is made in this run"]);
    let first = world.uisp.requests().into_iter().rev();
    let downloads: Vec<String> = first
        .map(|request| request.route)
        .take_while(|route| route != "nms/backups")
        .filter(|route| route.starts_with("nms/backups/"))
        .collect();
    assert!(
        downloads
            .last()
            .unwrap()
            .contains(&Backup::numbered(1, 0).id),
        "{downloads:?}"
    );
    world.assert_mirrored();
}

/// Makes the next run one that the plugin itself has asked for, so many times in a row.
fn set_continuations(world: &World, number: u32) {
    let mut state = world.state();
    state["continuations"] = json!(number);
    std::fs::write(world.data("state.json"), state.to_string()).unwrap();
}

#[test]
fn a_run_that_carries_on_makes_no_fresh_backup_either_where_none_is_half_sent() {
    let world = World::authorized();
    world.configure(json!({"createBackup": true}));
    world
        .uisp
        .configure(|options| options.creation = Creation::Succeeds { after_lists: 0 });
    world.add_backups(1, 3, 1000);
    world.run_well();
    assert!(!world.data("transfers").exists());
    set_continuations(&world, 1);
    for made in [1, 2] {
        let ended = world.run_well();
        let is_said = ended.log.contains("No fresh backup is made in this run");
        assert_eq!(is_said, made == 1, "{}", ended.log);
        assert_eq!(world.uisp.traffic().count(CREATE), made, "{}", ended.log);
    }
}

#[test]
fn a_week_of_runs_that_ask_for_the_next_one_is_enough() {
    let world = World::authorized();
    world.configure(json!({"uploadLimitMbps": 0.1}));
    world.uisp.add(Backup::numbered(1, 60 * MIB));
    short_run(&world).assert_line(&["UISP is asked to start the plugin again"]);
    assert_eq!(world.state()["continuations"], json!(1));
    set_continuations(&world, 170);
    world.uisp.add(Backup::numbered(2, 60 * MIB));
    let ended = short_run(&world);
    ended.assert_line(&["left for the next run"]);
    assert!(!ended.log.contains("UISP is asked"), "{}", ended.log);
    assert_eq!(world.state()["continuations"], json!(0));
}

/// A run that has to wait for 50 minutes before it knows what there is to do.
fn late_run(world: &World) -> Ended {
    let patience = Action::text(503, "").with_header("Retry-After", "3000");
    world.dropbox.inject(On::next(LIST), patience);
    let mut command = world.command();
    // Five minutes, a second on the wall's clock, are left.
    command.env("BACKUP_SYNC_CLOCK_SPEED", "300");
    let ended = world.run_as(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let request = world.root().join(".ucrm-plugin-execution-requested");
    assert!(!request.exists(), "nothing was sent: {}", ended.log);
    ended
}

#[test]
fn past_fifty_minutes_nothing_is_begun() {
    let world = World::authorized();
    world.add_backups(1, 4, 1000);
    world.run_well();
    world.remove_backup(1);
    // Two to be compared, two to be sent.
    for path in &world.dropbox.paths()[2..] {
        world.dropbox.put(path, b"changed");
    }
    world.add_backups(5, 6, 1000);
    world.dropbox.traffic().clear_log();
    world.uisp.traffic().clear_log();
    let ended = late_run(&world);
    ended.assert_line(&["WARNING: Finished early", "4 left for the next run"]);
    ended.assert_line(&["1 deletion waits"]);
    ended.assert_line(&["regular run carries on"]);
    assert_eq!(world.uisp.traffic().count("nms/backups/*"), 0);
    assert_eq!(world.count(START) + world.count(DELETE), 0);
    world.run_well();
    world.assert_mirrored();

    world.remove_backup(2);
    world.dropbox.traffic().clear_log();
    let ended = late_run(&world);
    ended.assert_line(&["1 deletion waits"]);
    ended.assert_line(&["Finished: 0 uploaded", "0 deleted"]);
    assert!(!ended.log.contains("carries on"), "{}", ended.log);
    assert_eq!(world.count(DELETE), 0);
}
