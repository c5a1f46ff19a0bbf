//! Interrupted uploads are carried on: nothing that Dropbox holds is sent twice.

use std::time::Duration;

use sandbox::http::{Action, Gate, Link, On};
use sandbox::uisp::Backup;

use crate::support::World;

const MIB: u64 = 1024 * 1024;
/// The unit of a large upload, and how many are under way at once.
const BLOCK: u64 = 4 * MIB;
const LANES: u64 = 8;
const APPEND: &str = "files/upload_session/append_v2";
const START: &str = "files/upload_session/start";
const FINISH: &str = "files/upload_session/finish_batch_v2";
/// How long a test waits for something that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world with one large backup and nothing in Dropbox.
fn large_world(size: u64) -> World {
    let world = World::authorized().moving_much();
    world.uisp.add(Backup::numbered(1, size));
    world
}

/// Bytes of content that were sent, those of cut-off requests included.
fn sent(world: &World) -> u64 {
    world.dropbox.traffic().body_bytes(APPEND) + world.dropbox.traffic().body_bytes(START)
}

/// Starts a run and kills it once `more` further blocks have arrived at Dropbox.
fn kill_after(world: &World, more: usize) {
    let traffic = world.dropbox.traffic();
    let arrived = |log: &[sandbox::http::Exchange]| {
        let done = |e: &&sandbox::http::Exchange| e.route == APPEND && e.status == Some(200);
        log.iter().filter(done).count()
    };
    let before = arrived(&traffic.requests());
    let run = world.start();
    assert!(traffic.wait_for(PATIENCE, |log| arrived(log) >= before + more));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
}

#[test]
fn an_upload_that_is_killed_again_and_again_sends_nothing_twice() {
    for supports_range in [true, false] {
        let size = 200 * MIB + 12_345;
        let world = large_world(size);
        world
            .uisp
            .configure(|options| options.supports_range = supports_range);
        // Slow enough that a kill hits the middle.
        world.dropbox.set_link(Link {
            bytes_per_second_total: Some(150_000_000),
            ..Link::default()
        });
        let kills = [1, 7, 2, 11, 3, 5];
        for more in kills {
            kill_after(&world, more);
        }
        let ended = world.run_well();
        ended.assert_line(&["goes on; Dropbox holds"]);
        world.assert_mirrored();
        let bound = size + kills.len() as u64 * LANES * BLOCK;
        assert!(sent(&world) < bound, "{} of {bound} bytes", sent(&world));
    }
}

#[test]
fn what_was_sent_but_not_committed_is_only_committed() {
    for size in [20_000, 20 * MIB] {
        let world = large_world(size);
        let (run, _gate) = world.start_held(FINISH);
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        // The held request is never carried out: the gate stays closed.
        world.dropbox.traffic().clear_log();
        let ended = world.run_well();
        ended.assert_line(&["was sent before"]);
        ended.assert_line(&["Finished: 1 uploaded"]);
        assert_eq!(sent(&world), 0);
        world.assert_mirrored();
        assert!(!world.data("transfers").exists());
    }
}

#[test]
fn a_commit_whose_answer_was_never_read_is_recognised() {
    let world = large_world(20 * MIB);
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::next(FINISH), Action::HoldAnswer(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    gate.open();
    world.dropbox.traffic().clear_log();
    world.run_well();
    assert_eq!(sent(&world), 0);
    world.assert_mirrored();
    assert!(!world.data("transfers").exists());
}

#[test]
fn a_session_that_dropbox_has_lost_starts_again_and_says_why() {
    for lose in [
        (|world| world.dropbox.drop_sessions()) as fn(&World),
        |world| {
            world
                .dropbox
                .advance_clock(Duration::from_secs(8 * 24 * 3600))
        },
    ] {
        let world = large_world(40 * MIB);
        kill_after(&world, 3);
        lose(&world);
        let ended = world.run_well();
        ended.assert_line(&["begins again from its start", "not_found"]);
        world.assert_mirrored();
    }
}

#[test]
fn a_backup_that_changed_in_between_starts_again_and_says_why() {
    for supports_range in [true, false] {
        let world = large_world(80 * MIB);
        world
            .uisp
            .configure(|options| options.supports_range = supports_range);
        kill_after(&world, 9);
        let mut changed = Backup::numbered(1, 80 * MIB);
        changed.seed += 1;
        world.uisp.clear();
        world.uisp.add(changed);
        let ended = world.run_well();
        ended.assert_line(&["begins again from its start", "another content than before"]);
        world.assert_mirrored();
    }
}

#[test]
fn a_backup_that_vanished_in_between_is_forgotten() {
    let world = large_world(40 * MIB);
    world.uisp.add(Backup::numbered(2, 1000));
    kill_after(&world, 3);
    world.remove_backup(1);
    world.run_well();
    world.assert_mirrored();
    assert!(!world.data("transfers").exists());
}

#[test]
fn a_damaged_journal_costs_sending_again_and_nothing_else() {
    let world = large_world(40 * MIB);
    kill_after(&world, 3);
    let journal = std::fs::read_dir(world.data("transfers"))
        .unwrap()
        .next()
        .unwrap();
    let path = journal.unwrap().path();
    let whole = std::fs::read_to_string(&path).unwrap();
    let (head, blocks) = whole.split_once('\n').unwrap();
    for damaged in [
        String::new(),
        "\0\0\0\0".into(),
        head.to_owned(),
        format!("{head}\n{}", &blocks[..blocks.len() / 2]),
        // Claims a block that never arrived.
        format!("{whole}9 {}\n", "0".repeat(64)),
        format!("{whole}complete 41943040 {}\n", "0".repeat(64)),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        world.run_well();
        world.assert_mirrored();
        world.dropbox.remove(&world.dropbox.paths()[0]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_backup_that_takes_longer_than_a_run_is_finished_by_the_following_runs() {
    let size = 60 * MIB;
    let world = large_world(size);
    // 12.5 kB in each of the program's seconds, of which a thousand pass in one of the wall's: a
    // run of 55 minutes sends about 41 MB, by one lane.
    world.configure(serde_json::json!({"uploadLimitMbps": 0.1}));
    let request = world.root().join(".ucrm-plugin-execution-requested");
    let mut runs = 0;
    loop {
        runs += 1;
        assert!(runs < 20, "no end: {}", world.log());
        let mut command = world.command();
        // An hour takes less than four seconds.
        command.env("BACKUP_SYNC_CLOCK_SPEED", "1000");
        let ended = world.run_as(&mut command);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        if ended.last_line().starts_with("Finished: 1 uploaded") {
            break;
        }
        ended.assert_line(&["WARNING: Finished early", "1 left for the next run"]);
        ended.assert_line(&["UISP is asked to start the plugin again", "of at most"]);
        assert!(request.exists());
        std::fs::remove_file(&request).unwrap();
    }
    assert!(runs > 1 && !request.exists());
    world.assert_mirrored();
    let bound = size + runs * BLOCK;
    assert!(
        sent(&world) < bound,
        "{} of {bound} bytes in {runs} runs",
        sent(&world)
    );
}

#[test]
fn progress_is_shown_in_whole_lines_and_replaced_by_the_result() {
    let world = large_world(60 * MIB);
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::nth(APPEND, 10), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    let shown = (0..6000).any(|_| {
        let log = world.log();
        assert!(log.ends_with('\n'), "a line is not whole: {log}");
        let shown = log
            .lines()
            .filter(|line| line.starts_with("Uploading \""))
            .count();
        assert!(shown <= 1, "{log}");
        std::thread::sleep(Duration::from_millis(10));
        shown == 1 && log.contains(" %, ")
    });
    assert!(shown, "{}", world.log());
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert!(!world.log().contains("Uploading"), "{}", world.log());
    assert!(world.log().contains("Uploaded \""), "{}", world.log());
}

#[test]
fn an_upload_limit_and_a_signal_go_together() {
    let world = large_world(40 * MIB);
    world.configure(serde_json::json!({"uploadLimitMbps": "0.2"}));
    let run = world.start();
    let traffic = world.dropbox.traffic();
    assert!(traffic.wait_for(PATIENCE, |log| {
        log.iter().any(|e| e.route == APPEND && e.body_bytes > 0)
    }));
    run.signal("TERM");
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    world.configure(serde_json::json!({"uploadLimitMbps": null}));
    world.run_well();
    world.assert_mirrored();
}
