//! The authorization ends, or does not suffice, in the middle of a run.

use std::net::Ipv4Addr;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use serde_json::json;

use super::*;
use crate::support::{PATIENCE, stranger};

#[test]
fn a_token_that_expires_during_the_run_is_refreshed_once() {
    for (server, route) in [
        ("dropbox", LIST),
        ("dropbox", CONTINUE),
        ("dropbox", START),
        ("dropbox", APPEND),
        ("dropbox", FINISH),
        ("dropbox", DELETE),
        ("dropbox", CHECK),
        ("uisp", "nms/backups"),
    ] {
        let world = changed_world();
        world.add_backups(10, 20, 1000);
        let gate = Gate::new();
        let hold = Action::Hold(gate.clone());
        match server {
            "uisp" => world.uisp.inject(On::next(route), hold),
            _ => world.dropbox.inject(On::next(route), hold),
        }
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE), "{route}");
        world.dropbox.expire_access_tokens();
        gate.open();
        assert_eq!(run.wait(), Some(0), "{route}: {}", world.log());
        assert!(!world.log().contains("ERROR"), "{}", world.log());
        assert_eq!(world.count(TOKEN), 2, "{route}");
        world.assert_mirrored();
    }
}

#[test]
fn a_renewal_for_which_dropbox_asks_for_patience_is_waited_for() {
    let world = changed_world();
    let gate = Gate::new();
    let hold = Action::Hold(gate.clone());
    world.dropbox.inject(On::next(LIST), hold);
    let run = world.start();
    assert!(gate.wait_reached(PATIENCE));
    world.dropbox.expire_access_tokens();
    let patience = faults::too_many_requests(Some(1));
    world.dropbox.inject(On::next(TOKEN), patience);
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    assert_eq!(world.count(TOKEN), 3);
    world.assert_mirrored();
}

#[test]
fn a_fresh_token_that_counts_as_expired_ends_the_run() {
    let world = changed_world();
    let expired = faults::unauthorized("expired_access_token");
    world.dropbox.inject(On::every(LIST), expired);
    let ended = world.run_badly();
    // There is no legacy token whose four hours could be over.
    assert!(!ended.log.contains("four hours"), "{}", ended.log);
    ended.assert_line(&["ERROR: ", "To authorize again"]);
    assert!(world.count(LIST) <= 20 && world.count(TOKEN) <= 20);
    assert_recovers(&world);
}

#[test]
fn an_authorization_that_ends_during_the_run_is_said_and_costs_nothing() {
    for route in [LIST, START, FINISH, DELETE] {
        for tag in ["invalid_access_token", "user_suspended", "other"] {
            let world = changed_world();
            let config = world.config();
            world
                .dropbox
                .inject(On::every(route), faults::unauthorized(tag));
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "no longer accepts the authorization", tag]);
            ended.assert_line(&["To authorize again"]);
            assert!(file_of(&world, 1).is_some(), "{route}, {tag}");
            assert_eq!(world.config(), config);
            assert_recovers(&world);
        }
    }
}

#[test]
fn a_missing_permission_is_named_with_the_way_to_give_it() {
    let both = ["files.metadata.read", "files.content.write"];
    for (missing, left) in [(both[0], both[1]), (both[1], both[0])] {
        for (refusal, app, token) in [
            ("400 text", &[left][..], &both[..]),
            ("401 JSON", &both[..], &[left][..]),
        ] {
            let world = changed_world();
            world.dropbox.set_app_scopes(token);
            let refresh_token = world.dropbox.issue_refresh_token();
            world.configure(json!({"dropboxRefreshToken": refresh_token}));
            world.dropbox.set_app_scopes(app);
            let before = world.dropbox.files();
            let ended = world.run_badly();
            ended.assert_line(&[
                "ERROR: ",
                missing,
                "Permissions tab",
                "https://www.dropbox.com/developers/apps",
                "To authorize again",
            ]);
            assert_eq!(world.dropbox.files(), before, "{refusal}");
            assert_eq!(world.config()["dropboxRefreshToken"], json!(refresh_token));

            world.dropbox.set_app_scopes(&both);
            let refresh_token = world.dropbox.issue_refresh_token();
            world.configure(json!({"dropboxRefreshToken": refresh_token}));
            assert_recovers(&world);
        }
    }
}

#[test]
fn a_used_up_quota_of_upload_calls_is_explained() {
    let world = changed_world();
    let before = world.dropbox.files();
    world.dropbox.inject(
        On::every("files/upload_session/*"),
        faults::upload_calls_used_up(),
    );
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "quota", "first of the month"]);
    ended.assert_line(&["ERROR: ", "Your team has used up its upload calls."]);
    assert_eq!(world.dropbox.files(), before);
    assert_recovers(&world);
}

#[test]
fn no_redirect_is_followed_so_no_credential_travels() {
    let stranger = stranger(Ipv4Addr::LOCALHOST, None);
    let redirect = || Action::Redirect(format!("{}/here", stranger.url()));
    for route in [TOKEN, LIST, CONTINUE, START, APPEND, FINISH, DELETE, CHECK] {
        let world = changed_world();
        world.dropbox.inject(On::every(route), redirect());
        world.run_badly();
        assert_recovers(&world);
    }
    for route in ["nms/backups", "nms/backups/*"] {
        let world = changed_world();
        world.uisp.inject(On::every(route), redirect());
        world.run_badly();
        assert_recovers(&world);
    }
    assert!(stranger.traffic().requests().is_empty());
}
