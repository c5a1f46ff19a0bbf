//! Large uploads that a run could not finish: the next run carries on instead of starting again.

use std::fs;
use std::time::Duration;

use sandbox::dropbox::faults;
use sandbox::http::{Action, On};
use sandbox::uisp::Backup;

use super::*;

/// Five whole blocks and a rest.
const BYTES: u64 = 20 * MIB + 1;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A world in which a run has sent three of a backup's five blocks and then failed.
fn interrupted_world() -> World {
    let world = World::authorized();
    world.add_backups(1, 1, BYTES);
    world
        .dropbox
        .inject(On::from_nth(APPEND, 4), faults::server_error());
    world.run_badly();
    assert!(world.dropbox.files().is_empty());
    assert_eq!(world.dropbox.sessions()[0].received_bytes, 12 * MIB);
    world.dropbox.traffic().clear_faults();
    world.dropbox.traffic().clear_log();
    world
}

fn sent(world: &World) -> u64 {
    let traffic = world.dropbox.traffic();
    traffic.body_bytes(START) + traffic.body_bytes(APPEND)
}

/// Nothing of an upload is left, neither here nor there.
fn assert_clean(world: &World) {
    world.assert_mirrored();
    if let Ok(notes) = fs::read_dir(world.data("transfers")) {
        assert_eq!(notes.count(), 0);
    }
}

#[test]
fn what_dropbox_holds_is_not_sent_again() {
    for (supports_range, announces_length) in [(true, true), (false, true), (false, false)] {
        let world = interrupted_world();
        world.uisp.configure(|options| {
            options.supports_range = supports_range;
            options.announces_length = announces_length;
        });
        world
            .run_well()
            .assert_line(&["The upload of", "goes on", "13 MB"]);
        assert_eq!(sent(&world), BYTES - 12 * MIB);
        assert_eq!(world.count(START), 0);
        assert_clean(&world);
    }
}

#[test]
fn little_is_kept_because_the_host_backs_it_up() {
    let world = interrupted_world();
    let sizes = |folder: &std::path::Path| -> u64 {
        let files = fs::read_dir(folder).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    assert!(sizes(&world.data("")) + sizes(&world.data("transfers")) < 50_000);
}

#[test]
fn an_upload_can_be_interrupted_many_times() {
    let world = interrupted_world();
    for _ in 0..3 {
        world
            .dropbox
            .inject(On::from_nth(APPEND, 2), Action::ResetBeforeBody);
        world.run();
        world.dropbox.traffic().clear_faults();
    }
    world.run_well();
    assert_clean(&world);
}

#[test]
fn a_session_that_dropbox_has_forgotten_is_begun_again() {
    for days in [0, 6, 8] {
        let world = interrupted_world();
        match days {
            0 => world.dropbox.drop_sessions(),
            days => world.dropbox.advance_clock(days * DAY),
        }
        world.run_well();
        // A session lives for seven days.
        assert_eq!(sent(&world) < BYTES, days == 6);
        assert_clean(&world);
    }
}

#[test]
fn a_backup_that_changed_since_is_begun_again() {
    for new_size in [BYTES, BYTES - 1, BYTES + 8 * MIB, 10 * MIB, 1000] {
        for supports_range in [true, false] {
            let world = interrupted_world();
            world
                .uisp
                .configure(|options| options.supports_range = supports_range);
            world.remove_backup(1);
            world.uisp.add(Backup {
                seed: 1,
                altered_at: None,
                ..Backup::numbered(1, new_size)
            });
            world.run_well();
            assert_clean(&world);
        }
    }
}

#[test]
fn a_damaged_note_of_what_was_sent_costs_nothing() {
    let journal = |world: &World| {
        let mut files = fs::read_dir(world.data("transfers")).unwrap();
        files.next().unwrap().unwrap().path()
    };
    let world = interrupted_world();
    let whole = fs::read_to_string(journal(&world)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 4, "{whole}");
    let wrong_hash = format!("{}\n0 {}\n", lines[0], "0".repeat(64));
    let beyond = format!("{whole}9999999999 {}\n", "0".repeat(64));
    let not_sent = format!("{whole}4 {}\n", "0".repeat(64));
    let lie = format!("{whole}complete 5 {}\n", "0".repeat(64));
    let other_session = whole.replacen("pid_upload_session", "pid_other_session", 1);
    for content in [
        "",
        "{",
        "\u{0}\u{0}\u{0}\u{0}",
        &whole[..whole.len() - 30],
        lines[0],
        &wrong_hash,
        &beyond,
        &not_sent,
        &lie,
        &other_session,
    ] {
        let world = interrupted_world();
        fs::write(journal(&world), content).unwrap();
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{content:?}: {}", ended.log);
        if *content == beyond {
            ended.assert_line(&["begins again from its start", "another content than before"]);
        }
        assert_clean(&world);
    }
}

#[test]
fn a_note_of_another_session_is_overwritten_whole() {
    let world = interrupted_world();
    let journal = fs::read_dir(world.data("transfers")).unwrap().next();
    let journal = journal.unwrap().unwrap().path();
    let old = fs::read_to_string(&journal).unwrap();
    let year_ago = old.replacen("\"started_at\":\"2", "\"started_at\":\"1", 1);
    assert_ne!(year_ago, old);
    fs::write(&journal, year_ago).unwrap();
    world
        .dropbox
        .inject(On::every(APPEND), faults::server_error());
    world.run_badly();
    let new = fs::read_to_string(&journal).unwrap();
    assert_eq!(new.lines().count(), 1, "{new}");
    assert_recovers(&world);
    assert_clean(&world);
}

#[test]
fn an_upload_whose_backup_is_gone_is_forgotten() {
    let world = interrupted_world();
    world.add_backups(2, 2, 1000);
    world.remove_backup(1);
    world.run_well();
    assert_clean(&world);
}

#[test]
fn another_authorization_begins_uploads_again() {
    // Sessions belong to the app: another one does not find them.
    let world = interrupted_world();
    let other = sandbox::dropbox::App::new(
        "test-other-key",
        "test-other-secret",
        &["files.metadata.read", "files.content.write"],
    );
    world.dropbox.add_app(other);
    world.configure(serde_json::json!({
        "dropboxAppKey": "test-other-key",
        "dropboxAppSecret": "test-other-secret",
        "dropboxRefreshToken": null,
    }));
    let ended = world.run_well();
    world.allow_and_paste(&ended);
    world.run_well();
    let files = world.dropbox.files_of("test-other-key");
    assert_eq!(files.len(), 1);
    assert_eq!(
        files[0].content_hash,
        world.uisp.backups()[0].content_hash()
    );
}
