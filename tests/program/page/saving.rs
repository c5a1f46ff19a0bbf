//! Saving the form: the authorization goes as far as it can at once, and nothing else happens.

use std::fs;

use sandbox::http::{Action, Fault, On};
use serde_json::{Value, json};

use super::crm::Site;
use crate::support::{Ended, World};

const TOKEN: &str = "oauth2/token";
const REQUEST: &str = ".ucrm-plugin-execution-requested";

/// What `hook_configure.php` starts.
fn save(world: &World) -> Ended {
    // Its time limit is that of somebody who waits: real seconds.
    world.run_as(
        world
            .command()
            .env_remove("BACKUP_SYNC_CLOCK_SPEED")
            .arg("setup"),
    )
}

fn is_requested(world: &World) -> bool {
    world.root().join(REQUEST).exists()
}

#[test]
fn the_link_is_in_the_log_and_on_the_page_at_once() {
    let site = Site::around(World::with_app(false));
    site.world.add_backups(1, 2, 1000);
    let before = site.page();
    before.assert_says(&[
        "Setup, step 2 of 3",
        "Save the plugin&#39;s configuration once more",
    ]);

    let ended = save(&site.world);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended.log.starts_with("The configuration was saved. ("),
        "{}",
        ended.log
    );
    let url = ended.url().replace('&', "&#38;");
    site.page()
        .assert_says(&["Setup, step 2 of 3", &format!("href=\"{url}\"")]);
    assert_eq!(save(&site.world).url(), ended.url());
    assert!(!is_requested(&site.world));
    // Neither side was asked anything.
    assert!(site.world.dropbox.requests().is_empty());
    assert!(site.world.uisp.requests().is_empty());
}

#[test]
fn a_pasted_code_is_exchanged_at_once_and_the_first_run_requested() {
    for has_secret in [true, false] {
        let world = World::with_app(has_secret);
        world.add_backups(1, 2, 1000);
        world.allow_and_paste(&save(&world));

        let ended = save(&world);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended.assert_line(&["Authorized: Dropbox accepted the access code."]);
        ended.assert_line(&["UISP is asked to start the plugin now"]);
        let config = world.config();
        assert_eq!(config["dropboxAccessCode"], Value::Null);
        assert!(config["dropboxRefreshToken"].is_string());
        assert!(is_requested(&world));
        // Never the mirroring.
        assert_eq!(world.dropbox.requests().len(), world.count(TOKEN));
        assert!(world.dropbox.files().is_empty() && world.uisp.requests().is_empty());

        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn an_authorized_plugin_has_nothing_to_do_and_says_nothing() {
    for fields in [
        json!({}),
        json!({"dropboxRefreshToken": null, "dropboxAppKey": null, "dropboxAccessToken": "test-legacy-token"}),
    ] {
        let world = World::authorized();
        world.configure(fields);
        let ended = save(&world);
        assert_eq!((ended.code, ended.log.as_str()), (Some(0), ""));
        assert!(world.dropbox.requests().is_empty() && world.uisp.requests().is_empty());
        assert!(!is_requested(&world) && !world.data("state.json").exists());
        assert!(!world.data("run.lock").exists());
    }
}

#[test]
fn a_refused_code_is_said_at_once_with_the_address() {
    let world = World::with_app(false);
    let first = save(&world);
    world.configure(json!({"dropboxAccessCode": "test-wrong-code"}));
    let ended = save(&world);
    ended.assert_line(&["ERROR: Dropbox refused the access code"]);
    assert_eq!(ended.url(), first.url());
    assert_eq!(world.config()["dropboxAccessCode"], Value::Null);
    assert!(!is_requested(&world));
}

#[test]
fn every_mistake_in_the_form_is_in_the_log_at_once() {
    let world = World::authorized();
    world.configure(json!({"keepDeletedDays": "soon", "uploadLimitMbps": "fast"}));
    let ended = save(&world);
    assert_eq!(ended.code, Some(1));
    for field in ["keepDeletedDays", "uploadLimitMbps"] {
        ended.assert_line(&["ERROR: The configuration field", field]);
    }
}

#[test]
fn a_dropbox_that_does_not_answer_holds_nobody_up() {
    let world = World::with_app(false);
    world.allow_and_paste(&save(&world));
    world.dropbox.traffic().inject(Fault {
        on: On::every(TOKEN),
        action: Action::NoAnswer,
    });
    // Eight seconds pass in less than one.
    let ended = world.run_as(
        world
            .command()
            .env("BACKUP_SYNC_CLOCK_SPEED", "10")
            .arg("setup"),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&[
        "WARNING: Dropbox did not answer in time",
        "The next run goes on",
    ]);
    assert!(world.config()["dropboxAccessCode"].is_string());
    assert!(is_requested(&world));
}

#[test]
fn a_run_that_goes_on_is_left_alone_and_one_that_begins_meanwhile_waits() {
    let world = World::with_app(false);
    let lock = fs::File::create(world.data("run.lock")).unwrap();
    lock.try_lock().unwrap();
    let ended = save(&world);
    assert_eq!((ended.code, ended.log.as_str()), (Some(0), ""));
    assert!(!world.data("state.json").exists());

    // The other way round: what the form's saving holds is free again soon, and worth waiting for.
    let mut command = world.command();
    command
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .env("RUST_LOG", "debug");
    let mut run = command.spawn().unwrap();
    while !world.log().contains("it is tried again") {
        assert_eq!(run.try_wait().unwrap(), None, "{}", world.log());
        std::thread::yield_now();
    }
    drop(lock);
    assert!(run.wait().unwrap().success());
    assert!(world.log().contains("/authorize?"), "{}", world.log());
}

#[test]
fn a_run_that_was_cut_off_before_is_still_told_by_the_next_one() {
    let world = World::with_app(false);
    fs::write(world.data("run.lock"), "running\n").unwrap();
    save(&world);
    world
        .run()
        .assert_line(&["WARNING: The run before this one was cut off"]);
}
