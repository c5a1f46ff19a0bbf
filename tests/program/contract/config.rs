//! `data/config.json` in every form, and the command line.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use super::*;

#[test]
fn every_form_of_configuration_that_the_host_has_written_is_understood() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let config = world.config();
    let with = |fields: serde_json::Value| {
        let mut all = config.clone();
        for (key, value) in fields.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    };
    let empty = json!({"dropboxAccessCode": "", "dropboxAccessToken": " "});
    let null = json!({"dropboxAccessCode": null, "confirmCleanup": null, "keepDeletedDays": null});
    let text = json!({"confirmCleanup": "0", "keepDeletedDays": "7"});
    let typed = json!({"confirmCleanup": false, "keepDeletedDays": 7});
    let unknown = json!({"futureKey": {"a": [1]}, "healthcheckUrl": "", "": 1});
    for fields in [empty, null, text, typed, unknown] {
        fs::write(world.data("config.json"), with(fields).to_string()).unwrap();
        world.run_well();
    }
    let pretty = serde_json::to_string_pretty(&config).unwrap();
    fs::write(world.data("config.json"), format!("\u{feff}{pretty}\r\n")).unwrap();
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn numbers_and_truth_values_stand_for_their_text() {
    let world = World::fresh();
    world.configure(json!({"dropboxAppKey": 1234567, "dropboxAppSecret": true}));
    let ended = world.run_well();
    assert!(ended.url().contains("client_id=1234567"), "{}", ended.url());
    assert!(!ended.url().contains("code_challenge"), "{}", ended.url());
}

#[test]
fn a_damaged_configuration_is_one_error_that_says_where() {
    for (content, position) in [
        (&b""[..], "line 1 column 0"),
        (b"{", "line 1 column 1"),
        (b"{\n  \"unmsApiToken\": }\n", "line 2 column 19"),
        (b"{} x", "line 1 column 4"),
        (b"{\"a\": \"\xff\"}", "line 1 column"),
        (b"[]", "a list instead of an object"),
        (b"null", "null instead of an object"),
        (b"<html>", "line 1 column 1"),
    ] {
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        fs::write(world.data("config.json"), content).unwrap();
        let ended = world.run_badly();
        let errors = errors(&ended);
        assert_eq!(errors.len(), 1, "{}", ended.log);
        assert!(errors[0].contains("data/config.json"), "{}", ended.log);
        assert!(errors[0].contains(position), "{position}: {}", ended.log);
        assert_eq!(fs::read(world.data("config.json")).unwrap(), content);
        assert!(world.dropbox.requests().is_empty() && world.uisp.requests().is_empty());
    }
}

#[test]
fn all_wrong_fields_are_named_at_once_and_none_is_quoted() {
    let world = World::authorized();
    world.configure(json!({
        "unmsApiToken": ["test-quoted"],
        "dropboxAppKey": {"a": "test-quoted"},
        "dropboxAppSecret": "test-\nquoted",
        "confirmCleanup": "test-quoted",
        "keepDeletedDays": -1,
    }));
    let before = world.config();
    let ended = world.run_badly();
    let errors = errors(&ended);
    for key in [
        "unmsApiToken",
        "dropboxAppKey",
        "dropboxAppSecret",
        "confirmCleanup",
        "keepDeletedDays",
    ] {
        let lines = errors.iter().filter(|line| line.contains(key)).count();
        assert_eq!(lines, 1, "{key}: {}", ended.log);
    }
    assert_eq!(errors.len(), 5, "{}", ended.log);
    assert!(!ended.log.contains("quoted"), "{}", ended.log);
    assert_eq!(world.config(), before);
}

#[test]
fn a_fresh_installation_says_everything_that_is_missing() {
    let world = World::fresh();
    fs::remove_dir_all(world.root().join("data")).unwrap();
    fs::remove_file(world.root().join("ucrm.json")).unwrap();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "\"UISP API token\"", "is empty"]);
    ended.assert_line(&["ERROR: ", "ucrm.json"]);
    ended.assert_line(&["\"Dropbox app key\""]);
}

fn output_of(world: &World, arguments: &[&str]) -> Output {
    Command::new(world.command().get_program())
        .args(arguments)
        .env_clear()
        .current_dir(world.root())
        .output()
        .unwrap()
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let world = World::authorized();
    for arguments in [
        &["--bogus"][..],
        &["stray"],
        &["--root"],
        &["--root", "/nonexistent/folder"],
        &["--root", ".", "more"],
    ] {
        let output = output_of(&world, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("backup-sync-dropbox: "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(output.stdout.is_empty());
    }
    assert!(world.log().is_empty());
}

#[test]
fn help_and_version_are_printed_and_nothing_is_done() {
    let world = World::authorized();
    for (arguments, expected) in [
        (&["--help"][..], "--root DIR"),
        (&["-h"], "Exit codes"),
        (
            &["--version"],
            concat!("backup-sync-dropbox ", env!("CARGO_PKG_VERSION")),
        ),
        (
            &["--root", "/nonexistent", "--version"],
            "backup-sync-dropbox ",
        ),
    ] {
        let output = output_of(&world, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{text}");
        assert!(output.stderr.is_empty());
    }
    assert!(world.log().is_empty());
}

#[test]
fn the_current_folder_is_the_default_root() {
    let world = World::with_app(true);
    let output = output_of(&world, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert!(
        world
            .log()
            .contains("https://www.dropbox.com/oauth2/authorize?")
    );
}
