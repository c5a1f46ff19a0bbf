//! `status`, `list` and `run --dry-run`.

use std::collections::BTreeMap;
use std::fs;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::{Backup, RawAnswer};
use serde_json::{Value, json};

use super::{MIB, tell, tell_well};
use crate::support::{PATIENCE, World};

/// The value of a field of each element, by name's number of backup or by name.
fn by_name(elements: &Value, field: &str) -> BTreeMap<String, String> {
    let elements = elements.as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
    elements
        .iter()
        .map(|element| (text(&element["name"]), text(&element[field])))
        .collect()
}

fn name_of(number: u32) -> String {
    let backup = Backup::numbered(number, 0);
    let day = &backup.created_at[..10].replace('-', "");
    // 04:12 UTC is 00:12 in Caracas, UISP's timezone here.
    format!("unms-backup-{day}-0012_{}.unms", backup.id)
}

#[test]
fn status_follows_the_setup() {
    let world = World::fresh();
    for (fields, word, sentence) in [
        (json!({}), "needs_app_key", "step 1 of 3"),
        (
            json!({"dropboxAccessToken": "fake-legacy-token"}),
            "legacy_token",
            "retires",
        ),
        (
            json!({"dropboxAppKey": "test-app-key"}),
            "needs_code",
            "step 2 of 3",
        ),
        (
            json!({"dropboxAccessToken": null}),
            "needs_code",
            "step 2 of 3",
        ),
        (
            json!({"dropboxAccessCode": "fake-code"}),
            "has_code",
            "step 2 of 3: the access code is about to be used",
        ),
        (
            json!({"dropboxAccessCode": "", "dropboxRefreshToken": "fake-token"}),
            "authorized",
            "authorized",
        ),
    ] {
        world.configure(fields);
        tell_well(&world, &["status"]).assert_line(&["Setup", sentence]);
        assert_eq!(
            tell_well(&world, &["status", "--json"]).json()["setup"],
            word
        );
    }
    assert_eq!(
        world.dropbox.requests().len() + world.uisp.requests().len(),
        0
    );
    fs::write(world.data("config.json"), "{").unwrap();
    let told = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(told["setup"], "unknown");
    assert!(
        told["configuration_problems"][0]
            .as_str()
            .unwrap()
            .contains("is damaged")
    );
}

#[test]
fn status_tells_of_the_last_and_the_last_good_run() {
    let world = World::authorized();
    let told = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(told["last_run"], Value::Null);
    assert_eq!(told["running"], false);
    world.add_backups(1, 3, 1000);
    world.run_well();
    let told = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(told["last_run"]["succeeded"], true);
    assert_eq!(told["last_run"]["uploaded"], 3);
    assert_eq!(told["mirrored"]["files"], 3);
    assert_eq!(told["mirrored"]["bytes"], 3000);
    assert_eq!(told["last_run"], told["last_good_run"]);
    world.uisp.answer_list(Some(RawAnswer::json(200, "{}")));
    world.run_badly();
    let told = tell_well(&world, &["status", "--json"]).json();
    assert_eq!(told["last_run"]["succeeded"], false);
    assert_eq!(told["last_good_run"]["uploaded"], 3);
    let told = tell_well(&world, &["status"]);
    told.assert_line(&["Last run", "FAILED", "Its last error: UISP's list"]);
    told.assert_line(&["Last good run", "America/Caracas", "3 uploaded (3.0 kB)"]);
    told.assert_line(&["Mirror", "3 files"]);
}

#[test]
fn status_knows_a_run_that_is_going_on_and_does_not_hinder_it() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::next("files/list_folder"), Action::Hold(gate.clone()));
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    tell_well(&world, &["status"]).assert_line(&["Running now", "yes"]);
    gate.open();
    assert_eq!(run.wait(), Some(0));
    assert_eq!(
        tell_well(&world, &["status", "--json"]).json()["running"],
        false
    );
    // A mark that a killed run has left is no run.
    fs::write(world.data("run.lock"), "running\n").unwrap();
    assert_eq!(
        tell_well(&world, &["status", "--json"]).json()["running"],
        false
    );
}

#[test]
fn a_damaged_memory_is_told_and_left_alone() {
    let world = World::authorized();
    fs::write(world.data("state.json"), "{\"version\":1,").unwrap();
    let told = tell_well(&world, &["status"]);
    assert!(
        told.err
            .contains("WARNING: The plugin's memory (data/state.json) is damaged"),
        "{told:?}"
    );
    assert_eq!(
        fs::read(world.data("state.json")).unwrap(),
        b"{\"version\":1,"
    );
}

/// One of each kind.
fn world_of_kinds() -> World {
    let world = World::authorized();
    world.configure(json!({"keepDeletedDays": 30}));
    world.add_backups(1, 5, 1000);
    world.run_well();
    // Gone for a first time: it is dated and stays.
    world.remove_backup(1);
    world.run_well();
    world
        .uisp
        .add(Backup::numbered(6, 10).in_state("in-progress"));
    world.uisp.set_state(&Backup::numbered(2, 0).id, "failed");
    world.add_backups(7, 7, MIB);
    world
        .dropbox
        .put(&format!("/{}", name_of(3)), b"tampered with");
    world
        .dropbox
        .put(&format!("/{}", name_of(90)), b"of another server");
    world.dropbox.put("/holiday.jpg", b"mine");
    world
}

#[test]
fn list_shows_both_ends_and_why() {
    let world = world_of_kinds();
    let told = tell_well(&world, &["list", "--json"]).json();
    let status = by_name(&told["backups"], "status");
    let expected = [
        (name_of(1), "kept"),
        (name_of(2), "kept"),
        (name_of(3), "compare"),
        (name_of(4), "mirrored"),
        (name_of(5), "mirrored"),
        (name_of(6), "unfinished"),
        (name_of(7), "upload"),
        (name_of(90), "kept"),
        ("holiday.jpg".into(), "foreign"),
    ];
    assert_eq!(
        status,
        expected
            .map(|(name, status)| (name, status.to_owned()))
            .into()
    );
    let reason = by_name(&told["backups"], "reason");
    assert_eq!(reason[&name_of(1)], "retained");
    assert_eq!(reason[&name_of(2)], "unfinished");
    assert_eq!(reason[&name_of(90)], "never_seen");
    assert_eq!(told["timezone"], "America/Caracas");
    assert_eq!(told["fit_for_deletions"], true);
    assert_eq!(told["counts"]["kept"], 3);
    let told = tell_well(&world, &["list"]);
    told.assert_line(&[
        "kept ",
        &name_of(1),
        "(its backup is gone; it stays until 20",
    ]);
    told.assert_line(&["kept ", &name_of(90), "(this installation never saw"]);
    told.assert_line(&["upload ", " - ", &name_of(7)]);
    told.assert_line(&["In all: ", "1 foreign", "2 mirrored"]);
    assert!(
        told.out.lines().next().unwrap().contains(&name_of(90)),
        "the newest first"
    );
}

#[test]
fn dry_run_is_the_plan_of_the_next_run() {
    let world = world_of_kinds();
    world.configure(json!({"keepDeletedDays": 0}));
    let told = tell_well(&world, &["run", "--dry-run"]);
    told.assert_line(&["upload ", &name_of(7), "it is not in Dropbox"]);
    told.assert_line(&[
        "compare ",
        &name_of(3),
        "changed in Dropbox since it was verified",
    ]);
    told.assert_line(&[
        "delete ",
        &name_of(1),
        "its backup is gone, first missed 20",
    ]);
    told.assert_line(&["keep ", &name_of(2), "not as finished"]);
    told.assert_line(&[
        "upload 1, replace 0, compare 1, delete 1, keep 2",
        "2 files unchanged",
        "Nothing was done",
    ]);
    let plan = tell_well(&world, &["run", "--dry-run", "--json"]).json();
    let actions = by_name(&plan["actions"], "action");
    // The run does just that.
    let ended = world.run_well();
    for (name, action) in actions {
        match action.as_str() {
            "upload" => ended.assert_line(&["Uploaded", &name]),
            "compare" => ended.assert_line(&["Replaced", &name]),
            "delete" => ended.assert_line(&["Deleted", &name]),
            _ => assert!(world.dropbox.paths().contains(&format!("/{name}"))),
        }
    }
    let after = tell_well(&world, &["run", "--dry-run", "--json"]).json();
    assert!(
        by_name(&after["actions"], "action")
            .values()
            .all(|action| action == "keep")
    );
    assert_eq!(after["unchanged"], 4);
}

#[test]
fn what_would_be_held_back_is_shown_before_it_happens() {
    let world = World::authorized();
    world.add_backups(1, 8, 100);
    world.run_well();
    (1..=6).for_each(|number| world.remove_backup(number));
    let told = tell_well(&world, &["run", "--dry-run"]);
    told.assert_line(&["keep ", &name_of(1), "on hold", "Confirm clean-up"]);
    told.assert_line(&["delete 0, keep 6"]);
    world
        .uisp
        .answer_list(Some(RawAnswer::json(200, "[{\"id\":1}]")));
    let told = tell_well(&world, &["list"]);
    told.assert_line(&["list of backups has an entry that cannot be used"]);
    told.assert_line(&["kept", "cannot be trusted that far"]);
}

#[test]
fn an_end_that_does_not_answer_is_named() {
    let world = World::authorized();
    world.uisp.set_forbidden(true);
    for arguments in [&["list"][..], &["run", "--dry-run"]] {
        let told = tell(&world, arguments);
        assert_eq!(told.code, Some(1));
        assert!(
            told.err
                .contains("UISP's list of backups could not be read. Make a new token"),
            "{told:?}"
        );
    }
    world.uisp.set_forbidden(false);
    world.dropbox.revoke_all_tokens();
    let told = tell(&world, &["list"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains(
            "Dropbox no longer accepts the stored authorization. The authorization was revoked"
        ),
        "{told:?}"
    );
    let world = World::with_app(false);
    let told = tell(&world, &["list"]);
    assert!(
        told.err
            .contains("Nobody has allowed access to Dropbox yet"),
        "{told:?}"
    );
}
