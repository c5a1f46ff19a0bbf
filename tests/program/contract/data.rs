//! What the plugin keeps in `data/`: lock, log, state.

use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, FixedOffset};
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, RawAnswer};

use super::*;
use crate::support::PATIENCE;

#[test]
fn two_runs_do_not_meet() {
    let world = World::authorized();
    world.add_backups(1, 2, 1000);
    let gate = Gate::new();
    world
        .uisp
        .inject(On::next("nms/backups"), Action::Hold(gate.clone()));
    let first = world.start();
    assert!(gate.wait_reached(PATIENCE));
    // The timezone is asked for at the same time.
    let traffic = world.uisp.traffic();
    assert!(traffic.wait_for(PATIENCE, |requests| requests.len() == 2));
    let second = world.run_well();
    assert_eq!(second.log.lines().count(), 1, "{}", second.log);
    second.assert_line(&["Another run is still going on"]);
    assert_eq!(traffic.requests().len(), 2);
    assert_eq!(world.count("oauth2/token"), 1);
    gate.open();
    assert_eq!(first.wait(), Some(0));
    world.assert_mirrored();
}

#[test]
fn a_lock_left_by_a_dead_run_stops_nobody() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    fs::write(world.data("run.lock"), "12345").unwrap();
    world.run_well();
    world.assert_mirrored();
}

/// Splits a line of the log into level, message and time.
fn parse_line(line: &str) -> Option<(&str, &str, DateTime<FixedOffset>)> {
    let (text, time) = line.strip_suffix(')')?.rsplit_once(" (")?;
    let time = DateTime::parse_from_rfc3339(time).ok()?;
    for level in ["WARNING", "ERROR"] {
        if let Some(message) = text.strip_prefix(level) {
            return Some((level, message.strip_prefix(": ")?, time));
        }
    }
    Some(("", text, time))
}

#[test]
fn every_line_of_the_log_is_a_message_with_its_time() {
    let world = World::with_app(false);
    world.add_backups(1, 6, 1000);
    let ended = world.run();
    world.allow_and_paste(&ended);
    world.run();
    for number in 1..=2 {
        world.remove_backup(number);
    }
    world.run();
    world.configure(json!({"dropboxAccessCode": "test-wrong-code"}));
    world.run();
    world.dropbox.revoke_all_tokens();
    world.run();
    let page = "<html>\n<b>\u{1b}[31mno\r\n(ERROR: x)\u{2028}y</b>\u{0}\n".repeat(50);
    let world_2 = World::authorized();
    world_2.add_backups(1, 1, 1000);
    world_2.uisp.answer_list(Some(RawAnswer::html(500, &page)));
    world_2.run();
    world_2.uisp.answer_list(None);
    world_2.uisp.add(Backup::finished("a\nb", "c\nd", 1));
    world_2.run();

    let mut framed = false;
    let mut checked = 0;
    for line in (world.log() + &world_2.log()).lines() {
        if !line.is_empty() && line.chars().all(|c| c == '=') {
            framed = !framed;
        } else if !framed {
            let (level, message, _) = parse_line(line).unwrap_or_else(|| panic!("{line:?}"));
            assert!(message.chars().all(|c| !c.is_control()), "{line:?}");
            assert!(message.ends_with(['.', '?']), "{line:?}");
            let start = message.chars().next().unwrap();
            assert!(
                start.is_uppercase() || "\"0123456789".contains(start),
                "{line:?}"
            );
            assert!(line.chars().count() < 1200, "{level}: {line:?}");
            checked += 1;
        }
    }
    assert!(!framed && checked > 20, "{checked}");
}

#[test]
fn a_long_log_is_cut_to_its_newest_whole_lines() {
    let world = World::authorized();
    let old: String = (0..10_000)
        .map(|number| format!("Line {number} of version 1.2.2, ž. (2020-12-04T18:45:05-04:00)\n"))
        .collect();
    let log = world.data("plugin.log");
    fs::write(&log, &old).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    world.run_well();
    let content = world.log();
    assert!(content.len() < 256 * 1024, "{}", content.len());
    let kept: Vec<&str> = content
        .lines()
        .take_while(|line| line.starts_with("Line "))
        .collect();
    assert!(kept.len() > 1000);
    assert!(old.ends_with(&format!("{}\n", kept.join("\n"))));
    assert!(old.lines().any(|line| line == kept[0]));
    assert!(content.lines().last().unwrap().starts_with("Finished: "));
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_damaged_state_is_set_aside_and_nothing_is_deleted() {
    for damage in ["", "{", "[]", "\u{0}\u{0}\u{0}", r#"{"version":99}"#] {
        let world = World::authorized();
        world.add_backups(1, 3, 1000);
        world.run_well();
        world.remove_backup(1);
        let before = world.dropbox.files();
        fs::write(world.data("state.json"), damage).unwrap();
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "state.json", "set aside", "Nothing is deleted"]);
        ended.assert_line(&["Finished: 0 uploaded", "0 deleted", "2 unchanged"]);
        assert_eq!(world.dropbox.files(), before, "{damage}");
        let aside = fs::read_dir(world.data("")).unwrap().find_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.starts_with("state.json.damaged-").then_some(name)
        });
        let aside = fs::read_to_string(world.data(&aside.unwrap())).unwrap();
        assert_eq!(aside, damage);

        // What the damaged state knew is gone, so the file of the deleted backup is nobody's.
        let ended = world.run_well();
        assert!(!ended.log.contains("WARNING"), "{}", ended.log);
        ended.assert_line(&["Kept 1 backup"]);
        assert_eq!(world.dropbox.files(), before, "{damage}");
    }
}

#[test]
fn a_state_that_cannot_be_written_deletes_nothing() {
    let world = World::authorized();
    world.add_backups(1, 200, 10);
    world.run_well();
    world.remove_backup(1);
    let state = fs::read(world.data("state.json")).unwrap();
    let before = world.dropbox.files();
    // Room for the log, not for the state.
    assert!(state.len() > 30_000, "{}", state.len());
    let room = world.log().len() + 10_000;
    assert!(room < state.len(), "{room}");
    let ended = world.run_as(&mut world.command_with_full_disk(room));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: ", "state.json", "could not be written"]);
    assert_eq!(world.dropbox.files(), before);
    assert_eq!(fs::read(world.data("state.json")).unwrap(), state);
    world.run_well();
    world.assert_mirrored();
}
