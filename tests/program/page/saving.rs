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

/// Shows the address, allows, and returns the code and what the form holds.
fn shown_and_allowed(world: &World) -> String {
    let url = save(world).url().to_owned();
    world.dropbox.allow(&url).unwrap()
}

#[test]
fn a_code_in_the_field_of_the_refresh_token_is_used_as_one() {
    for has_secret in [true, false] {
        let site = Site::around(World::with_app(has_secret));
        let world = &site.world;
        world.add_backups(1, 2, 1000);
        let code = shown_and_allowed(world);
        world.configure(json!({"dropboxRefreshToken": code}));
        // Nobody claims meanwhile that Dropbox has accepted anything.
        assert!(!site.page().body.contains("accepted"));
        let ended = save(world);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended.assert_line(&["The field \"Dropbox refresh token\" held an access code"]);
        let token = &world.config()["dropboxRefreshToken"];
        assert!(token.is_string() && *token != json!(code));
        assert!(is_requested(world) && !world.log().contains(&code));
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn a_refresh_token_that_somebody_has_put_there_stays_whatever_dropbox_says_of_it() {
    let world = World::with_app(true);
    save(&world);
    for (token, said) in [
        (
            world.dropbox.issue_refresh_token(),
            "Dropbox accepts the stored authorization",
        ),
        (
            "fake-token-that-is-none".to_owned(),
            "ERROR: Dropbox no longer accepts",
        ),
    ] {
        world.configure(json!({"dropboxRefreshToken": token}));
        save(&world).assert_line(&[said]);
        assert_eq!(world.config()["dropboxRefreshToken"], json!(token));
        // As in a run that finds the token refused.
        world.configure(json!({"dropboxRefreshToken": null}));
        save(&world);
    }
}

#[test]
fn what_is_no_code_is_said_and_costs_nothing() {
    for (pasted, what) in [
        (
            "https://www.dropbox.com/1/oauth2/authorize_submit",
            "is a link",
        ),
        ("www.dropbox.com/oauth2", "is a link"),
        ("sl.u.fake-access-token-of-four-hours", "is an access token"),
        ("Enter this code into the app", "is more than one word"),
    ] {
        let site = Site::around(World::with_app(false));
        let world = &site.world;
        let code = shown_and_allowed(world);
        world.configure(json!({"dropboxAccessCode": pasted}));
        let ended = save(world);
        ended.assert_line(&["ERROR: What was given as the access code", what]);
        assert_eq!(world.count(TOKEN), 0, "it was sent to Dropbox");
        assert_eq!(world.config()["dropboxAccessCode"], Value::Null);
        // The same on the page, and the code is still good.
        let form = site.editors_page().filled("connect", &[("code", pasted)]);
        assert_eq!(site.send(super::crm::EDITOR, &form).status, "303 See Other");
        site.editors_page().assert_says(&[
            "role=\"status\"",
            what,
            ended.url().split('?').next().unwrap(),
        ]);
        world.configure(json!({"dropboxAccessCode": code}));
        save(world).assert_line(&["Authorized: "]);
    }
}

#[test]
fn something_else_in_the_field_of_the_app_key_is_said_and_never_quoted() {
    for (key, secret, found) in [
        (
            "fake-app-secret",
            "fake-app-secret",
            "the same as the field of the app secret",
        ),
        (
            "https://www.dropbox.com/developers/apps/info/fake",
            "",
            "a link",
        ),
        (
            "fake-refresh-token-0123456789-0123456789-0123456789",
            "",
            "something longer",
        ),
    ] {
        let world = World::fresh();
        world.configure(json!({"dropboxAppKey": key, "dropboxAppSecret": secret}));
        let ended = save(&world);
        assert_eq!(ended.code, Some(1));
        ended.assert_line(&["ERROR: The configuration field \"dropboxAppKey\"", found]);
        assert!(!ended.log.contains(key), "{}", ended.log);
        assert_eq!(world.config()["dropboxAppKey"], json!(key));
    }
}

#[test]
fn a_save_is_answered_with_what_was_changed_and_what_came_of_it() {
    let site = Site::around(World::authorized());
    let world = &site.world;
    world.add_backups(1, 2, 1000);
    world.run_well();
    let (uisp, dropbox) = (world.uisp.requests().len(), world.dropbox.requests().len());
    // Saved as it was: not a word.
    assert_eq!(save(world).log, "");

    world.configure(json!({"uploadLimitMbps": 20, "keepDeletedDays": "7"}));
    let ended = save(world);
    ended.assert_line(&[
        "The configuration was saved: \"Keep deleted backups (days)\", \"Upload limit (Mbit/s)\".",
    ]);
    assert_eq!(ended.log.lines().count(), 1, "{}", ended.log);
    assert_eq!(
        (uisp, dropbox),
        (world.uisp.requests().len(), world.dropbox.requests().len())
    );
    assert_eq!(save(world).log, "");

    let good = world.uisp.token();
    world.configure(json!({"unmsApiToken": "fake-wrong-token"}));
    let ended = save(world);
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&["The configuration was saved: \"UISP API token\"."]);
    ended.assert_line(&[
        "ERROR: UISP&apos;s list".replace("&apos;", "'").as_str(),
        "does not accept the API token",
    ]);
    site.page()
        .assert_says(&["role=\"status\"", "does not accept the API token"]);

    world.run_badly();
    site.page().assert_says(&[
        "<h1 id=\"headline\">The last run failed: UISP does not accept the API token.</h1>",
        "Newest verified copy: ",
    ]);

    // A run has failed by it; then it is mended: tried at once, but not run yet.
    world.configure(json!({"unmsApiToken": good}));
    let ended = save(world);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.assert_line(&["UISP accepts the token: its list has 2 backups"]);
    let page = site.editors_page();
    page.assert_says(&["UISP accepts the token", "Saved, not tried yet."]);
    assert!(page.form("run").is_some() && !page.body.contains("The last run failed:"));
    world.run_well();
    site.page().assert_says(&["All 2 backups are in Dropbox."]);

    world.configure(json!({"dropboxRefreshToken": world.dropbox.issue_refresh_token()}));
    save(world).assert_line(&["Dropbox accepts the stored authorization."]);
    // Hashes of what was configured, never the values.
    let record = fs::read_to_string(world.data("record.json")).unwrap();
    assert!(!record.contains(&good), "{record}");
}
