//! The UISP stand-in: who is let in, what the list says, and every way a download can come.

use crate::client::{Client, Reply};
use sandbox::dropbox::content_hash;
use sandbox::http::{Action, Leaf, On, self_signed};
use sandbox::uisp::{Backup, Creation, RawAnswer, Uisp, UispOptions};
use serde_json::{Value, json};

const TOKEN: (&str, &str) = ("x-auth-token", "test-uisp-token");

fn start() -> Uisp {
    Uisp::start(UispOptions::default()).unwrap()
}

fn get_with(uisp: &Uisp, path: &str, headers: &[(&str, &str)]) -> Reply {
    let url = uisp.local_url();
    let prefix = if url.ends_with("/nms/") { "/nms" } else { "" };
    let target = format!("{prefix}/api/v2.1/{path}");
    Client::plain(&url)
        .send("GET", &target, headers, b"")
        .unwrap()
}

fn get(uisp: &Uisp, path: &str) -> Reply {
    get_with(uisp, path, &[TOKEN])
}

fn states(uisp: &Uisp) -> Vec<String> {
    let list = get(uisp, "nms/backups").json();
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn only_the_token_opens() {
    let uisp = start();
    for headers in [&[][..], &[("x-auth-token", "wrong")]] {
        let reply = get_with(&uisp, "nms/backups", headers);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["error"], "Unauthorized");
        assert_eq!(reply.json()["statusCode"], 401);
    }
    uisp.set_forbidden(true);
    assert_eq!(get(&uisp, "nms/backups").status, 403);
}

#[test]
fn the_prefix_is_part_of_the_address() {
    for (has_nms_prefix, good, bad) in [(true, "/nms/api", "/api"), (false, "/api", "/nms/api")] {
        let uisp = Uisp::start(UispOptions {
            has_nms_prefix,
            ..UispOptions::default()
        })
        .unwrap();
        let mut client = Client::plain(&uisp.local_url());
        let mut status = |prefix: &str| {
            let target = format!("{prefix}/v2.1/nms/backups");
            client.send("GET", &target, &[TOKEN], b"").unwrap().status
        };
        assert_eq!((status(good), status(bad)), (200, 404));
    }
}

#[test]
fn the_list_names_id_state_and_time() {
    let uisp = start();
    uisp.add(Backup::numbered(0, 10));
    uisp.add(Backup::numbered(1, 10).in_state("in-progress"));
    let list = get(&uisp, "nms/backups").json();
    assert_eq!(list[0]["id"], "00000000-0000-4000-8000-000000000000");
    assert_eq!(list[0]["createdAt"], "2026-01-01T04:12:00.123Z");
    assert_eq!(states(&uisp), ["success", "in-progress"]);
    uisp.set_state("00000000-0000-4000-8000-000000000001", "failed");
    assert_eq!(states(&uisp), ["success", "failed"]);
    assert!(uisp.remove("00000000-0000-4000-8000-000000000000"));
    assert_eq!(states(&uisp), ["failed"]);
}

#[test]
fn answers_can_be_replaced() {
    let uisp = start();
    uisp.answer_list(Some(RawAnswer::html(200, "<html>login</html>")));
    let reply = get(&uisp, "nms/backups");
    assert_eq!(reply.header("content-type"), Some("text/html"));
    uisp.answer_list(None);
    assert_eq!(get(&uisp, "nms/backups").json(), json!([]));
    assert_eq!(
        get(&uisp, "nms/settings").json()["timezone"],
        "America/Caracas"
    );
    uisp.configure(|options| options.timezone = None);
    assert_eq!(get(&uisp, "nms/settings").json().get("timezone"), None);
    uisp.configure(|options| options.timezone = Some(Value::Null));
    assert_eq!(get(&uisp, "nms/settings").json()["timezone"], Value::Null);
}

#[test]
fn downloads_come_with_and_without_length_and_range() {
    let uisp = start();
    let backup = Backup::numbered(0, 200_000);
    let path = format!("nms/backups/{}", backup.id);
    uisp.add(backup.clone());
    let whole = get(&uisp, &path);
    assert_eq!(whole.body, backup.bytes());
    assert_eq!(whole.header("content-length"), Some("200000"));
    assert_eq!(
        uisp.content_hash(&backup.id),
        Some(content_hash(&whole.body))
    );

    let range = [TOKEN, ("Range", "bytes=150000-")];
    let part = get_with(&uisp, &path, &range);
    assert_eq!(part.status, 206);
    assert_eq!(part.body, whole.body[150_000..]);
    assert_eq!(
        part.header("content-range"),
        Some("bytes 150000-199999/200000")
    );
    uisp.configure(|options| options.supports_range = false);
    let ignored = get_with(&uisp, &path, &range);
    assert_eq!((ignored.status, ignored.body.len()), (200, 200_000));

    uisp.configure(|options| options.announces_length = false);
    let chunked = get(&uisp, &path);
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert_eq!(chunked.body, whole.body);
    assert_eq!(uisp.traffic().count(&path), 4);
}

#[test]
fn only_finished_backups_can_be_downloaded() {
    let uisp = start();
    uisp.add(Backup::numbered(0, 10).in_state("in-progress"));
    for id in ["00000000-0000-4000-8000-000000000000", "none"] {
        assert_eq!(get(&uisp, &format!("nms/backups/{id}")).status, 404);
    }
}

#[test]
fn downloads_can_be_cut() {
    let uisp = start();
    let backup = Backup::numbered(0, 100_000);
    uisp.inject(On::next("nms/backups/*"), Action::TruncateResponse(1_000));
    let target = format!("/nms/api/v2.1/nms/backups/{}", backup.id);
    uisp.add(backup);
    let mut client = Client::plain(&uisp.local_url());
    assert!(client.send("GET", &target, &[TOKEN], b"").is_err());
    assert_eq!(uisp.requests()[0].response_bytes, 1_000);
}

#[test]
fn a_backup_that_is_asked_for_grows() {
    for (creation, expected) in [
        (
            Creation::Succeeds { after_lists: 2 },
            ["in-progress", "in-progress", "success"],
        ),
        (Creation::Fails, ["in-progress", "failed", "failed"]),
        (Creation::Hangs, ["in-progress"; 3]),
    ] {
        let uisp = Uisp::start(UispOptions {
            creation,
            ..UispOptions::default()
        })
        .unwrap();
        let reply = Client::plain(&uisp.local_url())
            .send("POST", "/nms/api/v2.1/nms/backups/create", &[TOKEN], b"")
            .unwrap();
        assert!(reply.json()["id"].is_string());
        let seen = [states(&uisp), states(&uisp), states(&uisp)].concat();
        assert_eq!(seen, expected);
        assert_eq!(uisp.traffic().count("POST nms/backups/create"), 1);
    }
}

#[test]
fn it_speaks_tls_with_a_certificate_of_its_own() {
    let uisp = Uisp::start(UispOptions {
        tls: Some(self_signed(&Leaf::of(["localhost", "127.0.0.1"])).unwrap()),
        ..UispOptions::default()
    })
    .unwrap();
    assert!(uisp.localhost_url().starts_with("https://localhost:"));
}
