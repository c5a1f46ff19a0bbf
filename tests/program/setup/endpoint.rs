//! No fault of the token endpoint costs a code or a token. Once and lasting, each is in the matrix, too; here it meets
//! a token that is stored, or a code whose run has others beside it.

use std::fs;

use sandbox::dropbox::faults;
use sandbox::http::{Action, On};

use super::*;

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

#[test]
fn a_page_that_speaks_of_a_refusal_is_not_the_endpoints_word() {
    let (world, _) = code_pasted(true);
    let page = Action::html(400, "<html>invalid_grant</html>");
    world.dropbox.inject(On::next(TOKEN), page);
    world.run_well();
    assert_eq!(world.dropbox.traffic().clear_faults(), 0);
    world.assert_mirrored();
    assert_authorized(&world);
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
