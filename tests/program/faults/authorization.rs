//! The authorization ends, or does not suffice, in the middle of a run.

use sandbox::dropbox::faults;
use sandbox::http::{Action, Exchange, Gate, On};
use serde_json::json;

use super::*;
use crate::support::PATIENCE;

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
        // UISP is asked before the first token is there.
        let has_token = |e: &Exchange| e.route == TOKEN && e.status == Some(200);
        let traffic = world.dropbox.traffic();
        assert!(traffic.wait_for(PATIENCE, |log| log.iter().any(has_token)));
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
    for patience in [
        faults::too_many_requests(Some(6)),
        Action::text(429, "").with_header("Retry-After", "6.0"),
        Action::text(503, "").with_header("Retry-After", "6.0"),
    ] {
        for route in [LIST, START, APPEND, FINISH, DELETE, CHECK] {
            let world = changed_world();
            let expired = faults::unauthorized("expired_access_token");
            world.dropbox.inject(On::next(route), expired);
            for number in 2..=10 {
                world
                    .dropbox
                    .inject(On::nth(TOKEN, number), patience.clone());
            }
            world.run_well();
            assert!(world.count(TOKEN) >= 11, "{route}");
            world.assert_mirrored();
        }
    }
}

#[test]
fn what_is_not_needed_of_a_tokens_answer_cannot_break_it() {
    for more in [
        json!({}),
        json!({"expires_in": null}),
        json!({"expires_in": "14400"}),
        json!({"expires_in": -1, "token_type": "MAC"}),
        json!({"expires_in": 14400.5, "token_type": null}),
        json!({"expires_in": 1e300, "token_type": 7, "scope": ["a"], "refresh_token": null}),
        json!({"refresh_token": {}, "scope": 1, "account_id": [], "new": {"a": [1]}}),
    ] {
        let world = changed_world();
        let mut answer = more.clone();
        answer["access_token"] = json!(world.dropbox.issue_access_token());
        world
            .dropbox
            .inject(On::next(TOKEN), Action::json(200, &answer));
        world.run_well();
        world.assert_mirrored();
    }
    for refusal in [
        json!({"error": "invalid_grant", "error_description": 7, "error_uri": 1}),
        json!({"error": "invalid_grant", "error_description": null, "new": {}}),
        json!({"error": "invalid_grant: refresh token is invalid or revoked"}),
    ] {
        let world = changed_world();
        world
            .dropbox
            .inject(On::every(TOKEN), Action::json(400, &refusal));
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: Dropbox no longer accepts the stored authorization"]);
    }
}

#[test]
fn an_app_that_is_disabled_is_enabled_in_the_console() {
    let text = "This app is currently disabled.";
    let old = json!({"api_error": true, "user_error": text, "error": text});
    for refusal in [
        Action::json(403, &old),
        Action::json(401, &old),
        Action::text(403, text),
        Action::text(403, "The App is disabled"),
        Action::text(
            400,
            &format!("Error in call to API function \"files/list_folder\": {text}"),
        ),
        Action::json(
            400,
            &json!({"error": "invalid_client", "error_description": text}),
        ),
    ] {
        for route in [TOKEN, LIST, START, FINISH, DELETE] {
            let world = changed_world();
            let config = world.config();
            world.dropbox.inject(On::every(route), refusal.clone());
            let ended = world.run_badly();
            let console = "https://www.dropbox.com/developers/apps";
            ended.assert_line(&["ERROR: ", "app is disabled", "enable it", console]);
            assert!(!ended.log.contains("quota"), "{}", ended.log);
            assert_eq!(world.config(), config);
            assert_recovers(&world);
        }
    }
}

#[test]
fn an_app_that_is_disabled_during_the_run_is_enabled_in_the_console_too() {
    for route in [LIST, START, FINISH] {
        let world = changed_world();
        let expired = faults::unauthorized("expired_access_token");
        world.dropbox.inject(On::next(route), expired);
        let disabled = Action::text(403, "Your App Has Been Disabled.");
        world.dropbox.inject(On::nth(TOKEN, 2), disabled);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", "app is disabled", "enable it"]);
        assert_recovers(&world);
    }
}

#[test]
fn each_refusal_has_its_own_remedy() {
    let forbidden = |tag: &str, inner: Option<&str>| {
        let mut error = json!({".tag": tag});
        if let Some(inner) = inner {
            error[tag] = json!({".tag": inner});
        }
        let summary = format!("{tag}/.");
        Action::json(403, &json!({"error_summary": summary, "error": error}))
    };
    for (refusal, said) in [
        (
            forbidden("invalid_account_type", Some("feature")),
            "first of the month",
        ),
        (
            forbidden("invalid_account_type", Some("endpoint")),
            "another plan",
        ),
        (
            forbidden("team_access_denied", None),
            "team's admin console",
        ),
        (forbidden("no_permission", None), "team's admin console"),
        (
            Action::html(403, "<html>Blocked by policy</html>"),
            "firewall or proxy",
        ),
        (faults::unauthorized("user_suspended"), "suspension lifted"),
        (
            faults::unauthorized("invalid_access_token"),
            "To authorize again",
        ),
    ] {
        let world = changed_world();
        world.dropbox.inject(On::every(LIST), refusal);
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", said]);
        let others = [
            "first of the month",
            "another plan",
            "admin console",
            "firewall or proxy",
        ];
        for other in others.iter().filter(|other| !said.contains(**other)) {
            assert!(!ended.log.contains(other), "{}", ended.log);
        }
        assert_recovers(&world);
    }
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
    for (route, tag) in [
        (LIST, "invalid_access_token"),
        (START, "user_suspended"),
        (FINISH, "invalid_access_token"),
        (DELETE, "other"),
    ] {
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

const UISP: [&str; 2] = ["nms/backups", "nms/settings"];

/// UISP does not need Dropbox's word, so it is asked meanwhile; and where its list shows that there is something to send,
/// the connections for that are opened.
#[test]
fn what_needs_no_token_is_done_while_dropbox_is_asked_for_one() {
    for has_news in [false, true] {
        let world = changed_world().calm();
        if !has_news {
            world.run_well();
            world.uisp.traffic().clear_log();
        }
        let before = world.dropbox.traffic().opened_connections();
        let gate = Gate::new();
        world
            .dropbox
            .inject(On::next(TOKEN), Action::HoldAnswer(gate.clone()));
        let run = world.start();
        let is_answered = |log: &[Exchange], route: &str| {
            let answered = |e: &Exchange| e.route == route && e.status == Some(200);
            log.iter().any(answered)
        };
        let uisp = world.uisp.traffic();
        let are_answered = |log: &[Exchange]| UISP.iter().all(|route| is_answered(log, route));
        assert!(uisp.wait_for(PATIENCE, are_answered));
        let wanted = before + if has_news { 1 + 8 } else { 1 };
        let traffic = world.dropbox.traffic();
        assert!(traffic.wait_for_connections(PATIENCE, wanted));
        gate.open();
        assert_eq!(run.wait(), Some(0), "{}", world.log());
        // All that was opened served, and nothing else had to be opened.
        assert_eq!(traffic.opened_connections(), wanted);
        world.assert_mirrored();
    }
}

#[test]
fn a_run_without_a_token_ends_as_if_uisp_had_never_been_asked() {
    let refused = json!({"error": "invalid_grant"});
    let without_token = |prepare: &dyn Fn(&World)| {
        let world = changed_world();
        let refusal = Action::json(400, &refused);
        world.dropbox.inject(On::every(TOKEN), refusal);
        prepare(&world);
        let log = world.run_badly().log;
        let errors = log.lines().filter(|line| line.starts_with("ERROR: "));
        // Without the times.
        let text = |line: &str| line.split([',', '(']).next().map(str::to_owned);
        let errors: Vec<_> = errors.map(text).collect();
        assert!(
            log.contains("no longer accepts the stored authorization"),
            "{log}"
        );
        (errors, world.state())
    };
    let (errors, state) = without_token(&|_| {});
    let gate = Gate::new();
    let failing: [&dyn Fn(&World); 3] = [
        &|world| {
            UISP.iter()
                .for_each(|route| world.uisp.inject(On::every(route), Action::text(500, "")))
        },
        &|world| world.uisp.set_forbidden(true),
        &|world| {
            UISP.iter().for_each(|route| {
                world
                    .uisp
                    .inject(On::every(route), Action::Hold(gate.clone()))
            })
        },
    ];
    for prepare in failing {
        let ended = without_token(prepare);
        assert_eq!(ended.0, errors);
        assert_eq!(ended.1["seen"], state["seen"]);
    }
    gate.open();
}
