//! From the empty form to a mirror, and what a code or token is worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn assert_waiting(ended: &Ended) {
    assert_eq!(
        ended.last_line(),
        "Finished: waiting for the next step of the setup; nothing was mirrored."
    );
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
fn a_verifier_that_was_damaged_on_disk_is_made_anew() {
    let (world, first) = asked_for_code(false);
    let mut state = world.state();
    state["pending_authorization"]["code_verifier"] = "short".into();
    std::fs::write(world.data("state.json"), state.to_string()).unwrap();
    let second = world.run_well();
    assert_ne!(second.url(), first.url());
    world.allow_and_paste(&second);
    world.run_well();
    world.assert_mirrored();
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
