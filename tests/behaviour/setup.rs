//! The three stages of the authorization, as the admin meets them: log, form, exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use serde_json::{Value, json};

use crate::support::{Ended, World};

const TOKEN: &str = "oauth2/token";
const MINUTE: Duration = Duration::from_secs(60);

/// Both kinds of app configuration: with secret, and without, which means PKCE.
const WITH_AND_WITHOUT_SECRET: [bool; 2] = [true, false];

/// Answers of the token endpoint that say nothing about code or token; the request is not carried out.
fn passing_faults() -> Vec<(&'static str, Action)> {
    vec![
        ("500 JSON", faults::server_error()),
        ("503", Action::text(503, "")),
        ("504 HTML", faults::gateway_timeout()),
        ("429", faults::too_many_requests(Some(1))),
        ("429 text", faults::too_many_requests_as_text()),
        ("403 HTML", Action::html(403, "<html>firewall</html>")),
        ("400 HTML", Action::html(400, "<html>invalid_grant</html>")),
        ("200 HTML", Action::html(200, "<html>Log in</html>")),
        ("200 JSON", Action::json(200, &json!({}))),
        (
            "302",
            Action::Redirect("https://127.0.0.1:1/oauth2/token".into()),
        ),
        ("reset", Action::ResetBeforeBody),
        ("reset in the body", Action::ResetMidBody(10)),
    ]
}

/// Faults after which the token endpoint has carried the request out, but the client does not know.
fn lost_answers() -> Vec<(&'static str, Action)> {
    vec![
        ("answer lost", Action::AnswerLost),
        ("answer cut", Action::TruncateResponse(20)),
        ("stall in the answer", Action::StallResponse),
        ("silence", Action::NoAnswer),
    ]
}

/// A world with two backups and an app, where the log has just asked for a code.
fn asked_for_code(has_secret: bool) -> (World, Ended) {
    let world = World::with_app(has_secret);
    world.add_backups(1, 2, 1000);
    let ended = world.run_well();
    (world, ended)
}

/// A world with two backups and a pasted code that has not been used.
fn code_pasted(has_secret: bool) -> (World, String) {
    let (world, ended) = asked_for_code(has_secret);
    let code = world.allow_and_paste(&ended);
    world.dropbox.traffic().clear_log();
    (world, code)
}

fn assert_waiting(ended: &Ended) {
    assert_eq!(
        ended.last_line(),
        "Finished: waiting for the next step of the setup; nothing was mirrored."
    );
}

fn assert_authorized(world: &World) {
    let config = world.config();
    assert_eq!(config["dropboxAccessCode"], Value::Null);
    let token = config["dropboxRefreshToken"].as_str().unwrap();
    assert!(token.starts_with("refresh-"), "{token}");
}

#[test]
fn without_an_app_key_the_log_says_which_fields_to_fill() {
    for key in [json!(null), json!(""), json!(" \t ")] {
        let world = World::fresh();
        world.configure(json!({"dropboxAppKey": key, "dropboxAppSecret": "test-app-secret"}));
        let before = world.config();
        let ended = world.run_well();
        for part in [
            "https://www.dropbox.com/developers/apps",
            "files.metadata.read",
            "files.content.write",
            "\"Dropbox app key\"",
            "Execute manually",
        ] {
            ended.assert_line(&[part]);
        }
        assert_waiting(&ended);
        assert_eq!(world.config(), before);
        assert!(world.dropbox.requests().is_empty());
    }
}

#[test]
fn an_app_key_is_enough_for_a_url_in_a_frame() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, ended) = asked_for_code(has_secret);
        let frames: Vec<usize> = ended
            .log
            .lines()
            .enumerate()
            .filter(|(_, line)| line.chars().all(|c| c == '=') && !line.is_empty())
            .map(|(number, _)| number)
            .collect();
        let url_at = ended.log.lines().position(|line| line == ended.url());
        assert_eq!(frames.len(), 2, "{}", ended.log);
        assert!(
            frames[0] < url_at.unwrap() && url_at.unwrap() < frames[1],
            "{}",
            ended.log
        );

        let url: url::Url = ended.url().parse().unwrap();
        let get = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        assert!(ended.url().starts_with(&world.dropbox.web_url()));
        assert_eq!(get("token_access_type").as_deref(), Some("offline"));
        assert_eq!(get("response_type").as_deref(), Some("code"));
        assert_eq!(get("client_id"), Some(world.dropbox.app().key.into()));
        assert_eq!(get("code_challenge").is_some(), !has_secret);
        let method = (!has_secret).then_some("S256");
        assert_eq!(get("code_challenge_method").as_deref(), method);
        assert!(!ended.url().contains(&world.dropbox.app().secret));

        assert_waiting(&ended);
        assert!(world.dropbox.requests().is_empty());
        assert!(world.uisp.requests().is_empty());
    }
}

#[test]
fn runs_in_between_do_not_spoil_the_code_that_is_about_to_be_pasted() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, first) = asked_for_code(has_secret);
        for _ in 0..2 {
            assert_eq!(world.run_well().url(), first.url());
        }
        world.allow_and_paste(&first);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn the_whole_way_from_an_empty_form_to_a_mirror() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, ended) = asked_for_code(has_secret);
        // Fields that we do not know, in an order that is not ours, and a mode that is the host's.
        let code = world.dropbox.allow(ended.url()).unwrap();
        let mut fields = json!({"zebra": {"b": [1, 2.5, null], "a": "ž"}});
        fields["dropboxAccessCode"] = json!(code);
        for (key, value) in world.config().as_object().unwrap() {
            fields[key] = value.clone();
        }
        fields["antelope"] = json!("x/y");
        let file = world.data("config.json");
        fs::write(&file, serde_json::to_vec_pretty(&fields).unwrap()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

        let ended = world.run_well();
        ended.assert_line(&["Authorized: "]);
        ended.assert_line(&["Finished: 2 uploaded"]);
        world.assert_mirrored();
        assert_authorized(&world);

        let config = world.config();
        fields["dropboxAccessCode"] = Value::Null;
        fields["dropboxRefreshToken"] = config["dropboxRefreshToken"].clone();
        assert_eq!(config, fields);
        let keys =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&config), keys(&fields));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(world.state()["pending_authorization"], Value::Null);

        world.run_well().assert_line(&["2 unchanged"]);
        assert_eq!(world.config(), config);
    }
}

#[test]
fn keys_and_codes_are_trimmed() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let world = World::with_app(has_secret);
        world.add_backups(1, 1, 1000);
        let app = world.dropbox.app();
        world.configure(json!({
            "unmsApiToken": format!("\u{a0}{}\r\n", world.uisp.token()),
            "dropboxAppKey": format!(" {}\t", app.key),
            "dropboxAppSecret": has_secret.then(|| format!("\n{} ", app.secret)),
        }));
        let ended = world.run_well();
        let code = world.dropbox.allow(ended.url()).unwrap();
        world.configure(json!({"dropboxAccessCode": format!("  {code}\n")}));
        world.run_well();
        world.assert_mirrored();
        assert_authorized(&world);
        let token = world.config()["dropboxRefreshToken"].clone();
        world.configure(json!({"dropboxRefreshToken": format!(" {} ", token.as_str().unwrap())}));
        world.run_well();
    }
}

#[test]
fn a_pasted_code_beats_a_stored_refresh_token() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, ended) = asked_for_code(has_secret);
        world.allow_and_paste(&ended);
        world.run_well();
        let old = world.config()["dropboxRefreshToken"].clone();

        world.configure(json!({"dropboxRefreshToken": null}));
        let ended = world.run_well();
        world.configure(json!({"dropboxRefreshToken": old}));
        world.allow_and_paste(&ended);
        world.run_well();
        assert_authorized(&world);
        assert_ne!(world.config()["dropboxRefreshToken"], old);
    }
}

#[test]
fn a_refused_code_does_no_harm_while_the_stored_authorization_works() {
    let world = World::authorized();
    let legacy = World::with_app(true);
    legacy.configure(json!({"dropboxAccessToken": legacy.dropbox.issue_legacy_token()}));
    for world in [world, legacy] {
        world.add_backups(1, 2, 1000);
        let mut expected = world.config();
        world.configure(json!({"dropboxAccessCode": "test-wrong-code"}));
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "refused the access code"]);
        world.assert_mirrored();
        expected["dropboxAccessCode"] = Value::Null;
        assert_eq!(world.config(), expected);
        let ended = world.run_well();
        assert!(!ended.log.contains("refused"), "{}", ended.log);
    }
}

#[test]
fn a_code_that_is_worth_nothing_is_emptied_and_a_fresh_url_printed() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        for kind in ["wrong", "expired", "used before"] {
            let (world, code) = code_pasted(has_secret);
            match kind {
                "wrong" => world.configure(json!({"dropboxAccessCode": "test-wrong-code"})),
                "expired" => world.dropbox.advance_clock(11 * MINUTE),
                _ => {
                    world.run_well();
                    world.configure(json!({
                        "dropboxAccessCode": code,
                        "dropboxRefreshToken": null,
                    }));
                }
            }
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "refused the access code", "was emptied"]);
            assert_eq!(world.config()["dropboxAccessCode"], Value::Null, "{kind}");

            // The way on is in the log, and it works, also after the periodic run that follows.
            let next = world.run_well();
            assert_eq!(next.url(), ended.url());
            world.allow_and_paste(&ended);
            world.run_well();
            world.assert_mirrored();
        }
    }
}

#[test]
fn a_revoked_authorization_is_said_and_kept_and_can_be_renewed() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, _) = code_pasted(has_secret);
        world.run_well();
        world.dropbox.revoke_all_tokens();
        let before = world.config();
        for _ in 0..2 {
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "no longer accepts the stored authorization"]);
            assert_eq!(world.config(), before);
        }
        let ended = world.run_badly();
        world.allow_and_paste(&ended);
        world.add_backups(3, 3, 1000);
        world.run_well();
        world.assert_mirrored();
        assert_ne!(
            world.config()["dropboxRefreshToken"],
            before["dropboxRefreshToken"]
        );
    }
}

#[test]
fn a_wrong_app_key_or_secret_is_named_and_costs_nothing() {
    for stage in ["code", "refresh token"] {
        for wrong in ["key", "secret"] {
            let (world, _) = code_pasted(true);
            if stage == "refresh token" {
                world.run_well();
            }
            let good = world.config();
            match wrong {
                "key" => world.configure(json!({"dropboxAppKey": "test-other-key"})),
                _ => world.configure(json!({"dropboxAppSecret": "test-other-secret"})),
            }
            let before = world.config();
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "\"Dropbox app key\"", "\"Dropbox app secret\""]);
            assert_eq!(world.config(), before, "{stage}, wrong {wrong}");
            world.configure(good);
            world.run_well();
            world.assert_mirrored();
        }
    }
}

#[test]
fn a_changed_app_secret_is_said_and_the_refresh_token_kept() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    world.dropbox.set_app_secret("test-new-secret");
    let before = world.config();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "\"Dropbox app key\"", "\"Dropbox app secret\""]);
    assert_eq!(world.config(), before);
    world.configure(json!({"dropboxAppSecret": "test-new-secret"}));
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn a_token_that_was_got_with_the_secret_asks_for_the_secret() {
    let world = World::authorized();
    let secret = world.config()["dropboxAppSecret"].clone();
    world.configure(json!({"dropboxAppSecret": ""}));
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "\"Dropbox app secret\""]);
    world.configure(json!({"dropboxAppSecret": secret}));
    world.run_well();
}

#[test]
fn another_app_key_gets_a_url_of_its_own() {
    let (world, first) = asked_for_code(false);
    let other = sandbox::dropbox::App::new(
        "test-other-key",
        "test-other-secret",
        &["files.metadata.read", "files.content.write"],
    );
    world.dropbox.add_app(other);
    world.configure(json!({"dropboxAppKey": "test-other-key"}));
    let second = world.run_well();
    assert_ne!(first.url(), second.url());
    world.allow_and_paste(&second);
    world.run_well();
    assert_eq!(world.dropbox.files_of("test-other-key").len(), 2);
    assert!(world.dropbox.files().is_empty());
}

#[test]
fn one_fault_of_the_token_endpoint_goes_unnoticed() {
    for (name, fault) in passing_faults() {
        for stage in ["code", "refresh token"] {
            let (world, _) = code_pasted(stage == "refresh token");
            if stage == "refresh token" {
                world.run_well();
            }
            world.dropbox.inject(On::next(TOKEN), fault.clone());
            world.run_well();
            assert_eq!(world.dropbox.traffic().clear_faults(), 0, "{name}, {stage}");
            world.assert_mirrored();
            assert_authorized(&world);
        }
    }
}

#[test]
fn no_fault_of_the_token_endpoint_costs_the_stored_token() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let before = fs::read(world.data("config.json")).unwrap();
    for (name, fault) in passing_faults().into_iter().chain(lost_answers()) {
        world.dropbox.inject(On::every(TOKEN), fault);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", "The stored authorization is kept"]);
        assert!(!ended.log.contains("/authorize?"), "{name}: {}", ended.log);
        assert_eq!(
            fs::read(world.data("config.json")).unwrap(),
            before,
            "{name}"
        );
        world.dropbox.traffic().clear_faults();
    }
    world.run_well();
    world.assert_mirrored();
    assert_eq!(fs::read(world.data("config.json")).unwrap(), before);
}

#[test]
fn no_fault_of_the_token_endpoint_costs_an_unspent_code() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let (world, _) = code_pasted(has_secret);
        let before = world.config();
        for (name, fault) in passing_faults() {
            world.dropbox.inject(On::every(TOKEN), fault);
            let ended = world.run_badly();
            ended.assert_line(&["ERROR: ", "stays in its field"]);
            assert_eq!(world.config(), before, "{name}");
            world.dropbox.traffic().clear_faults();
        }
        world.run_well();
        world.assert_mirrored();
        assert_authorized(&world);
    }
}

#[test]
fn a_code_whose_answer_was_lost_leads_to_a_fresh_url() {
    for (name, fault) in lost_answers() {
        let (world, _) = code_pasted(false);
        world.dropbox.inject(On::next(TOKEN), fault);
        let ended = world.run_badly();
        assert_eq!(world.config()["dropboxAccessCode"], Value::Null, "{name}");
        world.allow_and_paste(&ended);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn a_code_whose_answer_was_lost_leaves_the_stored_token_in_use() {
    for (name, fault) in lost_answers() {
        let (world, _) = code_pasted(true);
        let token = world.dropbox.issue_refresh_token();
        world.configure(json!({"dropboxRefreshToken": token}));
        world.dropbox.inject(On::next(TOKEN), fault);
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "refused the access code"]);
        world.assert_mirrored();
        assert_eq!(
            world.config()["dropboxRefreshToken"],
            json!(token),
            "{name}"
        );
    }
}

#[test]
fn a_code_that_cannot_be_exchanged_yet_waits_beside_the_stored_token() {
    let (world, _) = code_pasted(true);
    let token = world.dropbox.issue_refresh_token();
    world.configure(json!({"dropboxRefreshToken": token}));
    let before = world.config();
    world
        .dropbox
        .inject(On::every(TOKEN), faults::gateway_timeout());
    world.run_badly();
    assert_eq!(world.config(), before);
    world.dropbox.traffic().clear_faults();
    world.run_well();
    world.assert_mirrored();
    assert_ne!(world.config()["dropboxRefreshToken"], json!(token));
}

#[test]
fn a_legacy_token_works_and_is_warned_about_once_a_run() {
    let world = World::fresh();
    world.add_backups(1, 2, 1000);
    let token = world.dropbox.issue_legacy_token();
    world.configure(json!({"dropboxAccessToken": token}));
    for _ in 0..2 {
        let ended = world.run_well();
        assert_eq!(ended.log.matches("WARNING: ").count(), 1, "{}", ended.log);
        ended.assert_line(&["WARNING: ", "\"Dropbox access token (legacy)\"", "retires"]);
        world.assert_mirrored();
    }
    assert_eq!(world.count(TOKEN), 0);
}

#[test]
fn a_legacy_token_mirrors_while_the_new_authorization_is_on_its_way() {
    for has_secret in WITH_AND_WITHOUT_SECRET {
        let world = World::with_app(has_secret);
        world.add_backups(1, 2, 1000);
        let token = world.dropbox.issue_legacy_token();
        world.configure(json!({"dropboxAccessToken": token}));
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "\"Dropbox access token (legacy)\""]);
        ended.assert_line(&["Finished: 2 uploaded"]);
        world.assert_mirrored();

        world.allow_and_paste(&ended);
        world.add_backups(3, 3, 1000);
        let ended = world.run_well();
        assert!(!ended.log.contains("legacy"), "{}", ended.log);
        world.assert_mirrored();
        assert_authorized(&world);
        assert_eq!(world.config()["dropboxAccessToken"], json!(token));
    }
}

#[test]
fn a_token_of_four_hours_in_the_legacy_field_is_explained() {
    let world = World::fresh();
    world.add_backups(1, 1, 1000);
    let token = world.dropbox.issue_access_token();
    world.configure(json!({"dropboxAccessToken": token}));
    world.run_well();
    world.dropbox.expire_access_tokens();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "four hours", "\"Dropbox access token (legacy)\""]);
    assert_eq!(world.config()["dropboxAccessToken"], json!(token));
}

#[test]
fn a_revoked_legacy_token_is_explained() {
    let world = World::fresh();
    world.configure(json!({"dropboxAccessToken": world.dropbox.issue_legacy_token()}));
    world.dropbox.revoke_all_tokens();
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "no longer accepts the authorization"]);
    ended.assert_line(&["ERROR: ", "\"Dropbox access token (legacy)\""]);
}

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
    let gate = Gate::new();
    world
        .dropbox
        .inject(On::next(TOKEN), Action::Hold(gate.clone()));
    // The stand-in waits for the test, so the program's clock must not run ahead.
    let mut run = world
        .command()
        .env("BACKUP_SYNC_CLOCK_SPEED", "1")
        .spawn()
        .unwrap();
    assert!(gate.wait_reached(MINUTE));
    let new_code = "test-newer-code";
    world.configure(json!({"keepDeletedDays": 9, "dropboxAccessCode": new_code, "new": [1]}));
    gate.open();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", world.log());
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
        let mut run = world
            .command()
            .env("BACKUP_SYNC_CLOCK_SPEED", "1")
            .spawn()
            .unwrap();
        assert!(gate.wait_reached(MINUTE));
        run.kill().unwrap();
        run.wait().unwrap();
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
