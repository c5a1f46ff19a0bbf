//! `ucrm.json`, UISP's address and certificate, its token and its timezone.

use std::net::Ipv4Addr;

use sandbox::http::{ConnectProxy, Leaf, self_signed};
use sandbox::uisp::{RawAnswer, Uisp, UispOptions};

use super::*;
use crate::support::stranger;

#[test]
fn an_unusable_ucrm_json_is_named_and_does_not_hide_the_setup() {
    for content in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"unmsLocalUrl":null}"#,
        r#"{"unmsLocalUrl":"unms:8081"}"#,
        r#"{"unmsLocalUrl":"ftp://unms/"}"#,
        r#"{"unmsLocalUrl":"http://"}"#,
    ] {
        let world = World::with_app(true);
        fs::write(world.root().join("ucrm.json"), content).unwrap();
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", "ucrm.json", "reinstall"]);
        assert_eq!(errors(&ended).len(), 1, "{content}: {}", ended.log);
        ended.url();
    }
}

#[test]
fn uisp_is_found_with_and_without_nms_in_its_path() {
    for has_nms_prefix in [true, false] {
        let world = World::authorized();
        world
            .uisp
            .configure(|options| options.has_nms_prefix = has_nms_prefix);
        world.add_backups(1, 1, 1000);
        let url = world.uisp.local_url();
        for url in [url.trim_end_matches('/'), &url, &format!("{url}/")] {
            set_uisp_url(&world, url);
            world.run_well();
        }
        world.assert_mirrored();
    }
}

#[test]
fn a_certificate_of_its_own_is_accepted_from_this_machine_under_its_two_names() {
    let mut world = World::authorized();
    world.uisp = Uisp::start(UispOptions {
        tls: Some(self_signed(&Leaf::of(["uisp.example"])).unwrap()),
        ..UispOptions::default()
    })
    .unwrap();
    world.add_backups(1, 1, 1000);
    for url in [world.uisp.localhost_url(), world.uisp.local_url()] {
        assert!(url.starts_with("https://"));
        set_uisp_url(&world, &url);
        world.run_well();
    }
    world.assert_mirrored();
}

#[test]
fn a_certificate_of_its_own_is_accepted_from_nobody_else() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let tls = self_signed(&Leaf::of(["127.0.0.2", "localhost"])).unwrap();
    let stranger = stranger(Ipv4Addr::new(127, 0, 0, 2), Some(tls));
    set_uisp_url(&world, &stranger.url());
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: ", "UISP's list", "certificate was not accepted"]);
    assert!(stranger.traffic().requests().is_empty());
}

#[test]
fn uisp_is_not_asked_through_a_proxy() {
    let world = World::authorized();
    world.add_backups(1, 1, 1000);
    let proxy = ConnectProxy::start(None).unwrap();
    let ended = world.run_as(
        world
            .command()
            .env("HTTP_PROXY", proxy.url())
            .env("http_proxy", proxy.url())
            .env("ALL_PROXY", proxy.url())
            .env("NO_PROXY", "127.0.0.1:1"),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let uisp = world.uisp.local_url();
    assert!(
        proxy.asked().iter().all(|name| !uisp.contains(name)),
        "{:?}",
        proxy.asked()
    );
    for route in ["nms/settings", "nms/backups"] {
        assert_eq!(world.uisp.traffic().count(route), 1, "{route}");
    }
}

#[test]
fn a_token_that_uisp_refuses_is_named() {
    for status in [401, 403] {
        let world = World::authorized();
        world.add_backups(1, 3, 1000);
        world.run_well();
        world.remove_backup(1);
        match status {
            401 => world.configure(json!({"unmsApiToken": "test-wrong-token"})),
            _ => world.uisp.set_forbidden(true),
        }
        let ended = world.run_badly();
        let status = status.to_string();
        ended.assert_line(&["ERROR: ", "\"UISP API token\"", "API tokens", &status]);
        assert_eq!(world.dropbox.files().len(), 3);
        world.configure(json!({"unmsApiToken": world.uisp.token()}));
        world.uisp.set_forbidden(false);
        world.run_well();
        world.assert_mirrored();
    }
}

#[test]
fn without_a_timezone_the_times_are_in_utc() {
    let answers = [
        RawAnswer::json(200, "{}"),
        RawAnswer::json(200, r#"{"timezone":null}"#),
        RawAnswer::json(200, r#"{"timezone":"Europe/Atlantis"}"#),
        RawAnswer::json(200, "null"),
        RawAnswer::html(200, "<html>Log in</html>"),
        RawAnswer::json(404, "{}"),
        RawAnswer::html(500, "<html>Oops</html>"),
    ];
    for answer in answers {
        let world = World::authorized();
        world.add_backups(1, 1, 1000);
        world.uisp.answer_settings(Some(answer));
        let ended = world.run_well();
        ended.assert_line(&["WARNING: ", "timezone", "UTC"]);
        assert!(world.dropbox.paths()[0].contains("20260102-0412_"));
        assert!(ended.log.trim_end().ends_with("+00:00)"));
        // Once the timezone is known, the backup is recognised under its old name.
        world.uisp.answer_settings(None);
        world.run_well().assert_line(&["1 unchanged"]);
    }
}

#[test]
fn a_password_in_the_address_of_uisp_is_not_shown() {
    let world = World::authorized();
    set_uisp_url(&world, "http://test-user:test-password@127.0.0.1:1/nms/");
    let ended = world.run_as(world.command().env("RUST_LOG", "trace"));
    assert_eq!(ended.code, Some(1));
    ended.assert_line(&["ERROR: ", "UISP", "127.0.0.1:1"]);
    assert!(!ended.log.contains("test-password"), "{}", ended.log);
}
