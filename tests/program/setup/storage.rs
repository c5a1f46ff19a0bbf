//! What is stored where during the authorization, and what is shown nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sandbox::http::{Action, Gate, On};

use super::*;
use crate::support::PATIENCE;

#[test]
fn no_secret_is_shown_at_any_level() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let world = World::with_app(has_secret);
        world.add_backups(1, 1, 1000);
        let mut shown = String::new();
        let mut run = || {
            let output = world.command().env("RUST_LOG", "trace").output().unwrap();
            shown += &String::from_utf8(output.stdout).unwrap();
            shown += &String::from_utf8(output.stderr).unwrap();
        };
        run();
        let verifier = world.state()["pending_authorization"]["code_verifier"].clone();
        let asked = Ended {
            code: None,
            log: world.log(),
        };
        let code = world.allow_and_paste(&asked);
        run();
        let refresh_token = world.config()["dropboxRefreshToken"].clone();
        // Stages that fail say more.
        world.dropbox.expire_access_tokens();
        world.configure(json!({"dropboxAccessCode": "test-wrong-code"}));
        run();
        world
            .dropbox
            .inject(On::next(TOKEN), Action::TruncateResponse(40));
        world.dropbox.inject(On::next(TOKEN), Action::AnswerLost);
        run();
        world.dropbox.revoke_all_tokens();
        run();
        world.configure(json!({
            "dropboxAppKey": null,
            "dropboxAccessToken": "test-legacy-token",
        }));
        world.uisp.set_forbidden(true);
        run();

        assert!(world.log().contains("DEBUG: "), "nothing was looked at");
        let state = fs::read_to_string(world.data("state.json")).unwrap();
        let places = [("log", world.log()), ("state", state), ("output", shown)];
        let secrets = [
            Some(world.dropbox.app().secret),
            Some(world.uisp.token()),
            Some(code),
            verifier.as_str().map(str::to_owned),
            refresh_token.as_str().map(str::to_owned),
            Some("test-wrong-code".into()),
            Some("test-legacy-token".into()),
            // What every access token of the stand-in begins with.
            Some("sl.sandbox-".into()),
        ];
        assert_eq!(secrets[3].is_some(), !has_secret);
        for secret in secrets.iter().flatten() {
            for (place, text) in &places {
                assert!(!text.contains(secret), "{secret} in the {place}:\n{text}");
            }
        }
    }
}

#[test]
fn only_the_verifier_is_remembered_and_only_until_it_is_used() {
    let (world, ended) = asked_for_code(false);
    let pending = &world.state()["pending_authorization"];
    assert_eq!(pending["app_key"], json!(world.dropbox.app().key));
    let verifier = pending["code_verifier"].as_str().unwrap();
    assert!((43..=128).contains(&verifier.len()));
    let mode = fs::metadata(world.data("state.json"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    world.allow_and_paste(&ended);
    world.run_well();
    let state = fs::read_to_string(world.data("state.json")).unwrap();
    assert!(!state.contains(verifier), "{state}");
}

#[test]
fn a_code_is_not_spent_while_its_token_could_not_be_stored() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, _) = code_pasted(has_secret);
        world.configure(json!({"padding": "x".repeat(100_000)}));
        let before = fs::read(world.data("config.json")).unwrap();
        let ended = world.run_as(&mut world.command_with_full_disk(50_000));
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended.assert_line(&["ERROR: ", "access code was not used", "config.json"]);
        assert_eq!(world.count(TOKEN), 0);
        assert_eq!(fs::read(world.data("config.json")).unwrap(), before);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn no_url_is_shown_whose_verifier_could_not_be_stored() {
    let world = World::with_app(false);
    let output = world.command_with_full_disk(0).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    // Not even the log can be written, so its lines are on standard error.
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("state.json"), "{shown}");
    assert!(!shown.contains("/authorize?"), "{shown}");
    let ended = world.run_well();
    world.allow_and_paste(&ended);
    world.run_well();
}

#[test]
fn what_the_admin_saves_during_the_exchange_is_kept() {
    let (world, _) = code_pasted(true);
    let (run, gate) = world.start_held(TOKEN);
    let new_code = "test-newer-code";
    world.configure(json!({"keepDeletedDays": 9, "dropboxAccessCode": new_code, "new": [1]}));
    gate.open();
    assert_eq!(run.wait(), Some(0), "{}", world.log());
    let config = world.config();
    assert_eq!(config["keepDeletedDays"], json!(9));
    assert_eq!(config["new"], json!([1]));
    assert_eq!(config["dropboxAccessCode"], json!(new_code));
    assert!(
        config["dropboxRefreshToken"]
            .as_str()
            .unwrap()
            .starts_with("refresh-")
    );
    world.assert_mirrored();
}

#[test]
fn a_run_that_is_killed_during_the_exchange_leaves_a_usable_configuration() {
    for action in [Action::Hold as fn(Gate) -> Action, Action::HoldAnswer] {
        let (world, code) = code_pasted(false);
        let gate = Gate::new();
        world.dropbox.inject(On::next(TOKEN), action(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE));
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        gate.open();
        assert_eq!(world.config()["dropboxAccessCode"], json!(code));
        // The code may have been spent; then the log leads to another one.
        let ended = world.run();
        if ended.code == Some(1) {
            world.allow_and_paste(&ended);
            world.run_well();
        }
        world.assert_mirrored();
        assert_authorized(&world);
    }
}
