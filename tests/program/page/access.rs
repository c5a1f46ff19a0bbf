//! Who sees the page, and that nothing is told to anybody else.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use sandbox::http::{Action, Fault, Gate, On};
use serde_json::json;

use super::crm::{CURRENT_USER, Page, Site};
use crate::support::{PATIENCE, World};

const ADMIN: &str = "PHPSESSID=test-admin-who-views";

fn mirrored() -> Site {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 3, 1000);
    site.world.run_well();
    site
}

/// Asserts that nothing of the installation stands in what a stranger gets.
fn assert_tells_nothing(site: &Site, page: &Page) {
    let all = format!("{:?}{}", page.headers, page.body).to_lowercase();
    let root = site.world.root().display().to_string();
    let key = site.world.dropbox.app().key;
    for word in [
        "dropbox",
        "backup",
        "uisp",
        "plugin.log",
        "state",
        "2.0.0",
        &root,
        &key,
    ] {
        assert!(!all.contains(&word.to_lowercase()), "{word} in {all}");
    }
}

#[test]
fn admins_who_may_view_plugins_see_page_and_widget() {
    let site = mirrored();
    for cookies in [
        ADMIN,
        "nms-session=test-admin-who-edits",
        "theme=dark; nms-crm-php-session-id=test-admin-who-views; other=1",
    ] {
        for (query, text) in [
            ("", "All 3 backups are in Dropbox."),
            ("widget=1", "Open the status page"),
        ] {
            let page = site.ask("GET", query, cookies);
            assert_eq!(page.status, "200 OK", "{cookies}");
            page.assert_says(&[text]);
        }
    }
    // One question a page, to nobody else.
    assert_eq!(site.questions(), 6);
}

#[test]
fn nobody_else_does_and_nothing_is_told() {
    let site = mirrored();
    for cookies in [
        "",
        "theme=dark",
        "PHPSESSID=test-client",
        "PHPSESSID=test-admin-without",
        "PHPSESSID=unknown",
        "XPHPSESSID=test-admin-who-views",
        "PHPSESSID=test-client; PHPSESSID=test-admin-who-views",
    ] {
        for query in ["", "widget=1"] {
            let page = site.ask("GET", query, cookies);
            assert_eq!(page.status, "403 Forbidden", "{cookies}");
            assert_tells_nothing(&site, &page);
        }
    }
    // Without a session there is nothing to ask about.
    assert_eq!(site.questions(), 8);
}

#[test]
fn only_the_session_cookies_leave_and_they_cannot_smuggle_anything() {
    let site = mirrored();
    let cookies = "secret=1; PHPSESSID=test-admin-who-views\r\nX-Evil: 1; nms-session=a,b=c";
    site.ask("GET", "", cookies);
    let requests = site.crm.traffic().requests();
    assert_eq!(requests.len(), 1);
    let cookie = requests[0].header("cookie");
    assert_eq!(
        cookie,
        Some("PHPSESSID=test-admin-who-viewsX-Evil1; nms-session=abc")
    );
    assert_eq!(requests[0].header("x-evil"), None);
}

#[test]
fn a_host_that_cannot_be_asked_means_503() {
    let site = mirrored();
    let page = site.ask("GET", "", "PHPSESSID=test-strange-answer");
    assert_eq!(page.status, "503 Service Unavailable");
    assert_tells_nothing(&site, &page);
    for action in [
        Action::text(500, "broken"),
        Action::text(404, "nothing here"),
        Action::Redirect("/crm/login".into()),
        Action::ResetMidResponse(10),
        Action::TruncateResponse(10),
        // Ended by the time limit.
        Action::NoAnswer,
    ] {
        site.crm.traffic().inject(Fault {
            on: On::every(CURRENT_USER),
            action,
        });
        let page = site.ask("GET", "", ADMIN);
        assert_eq!(page.status, "503 Service Unavailable");
        assert_tells_nothing(&site, &page);
        site.crm.traffic().clear_faults();
    }

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/crm", nobody.local_addr().unwrap());
    drop(nobody);
    for (local, public) in [
        (json!(url), json!(null)),
        (json!(null), json!(url)),
        (json!(null), json!(null)),
        (json!("ftp://x"), json!(null)),
    ] {
        site.set_crm_url(local, public);
        let page = site.ask("GET", "", ADMIN);
        assert_eq!(page.status, "503 Service Unavailable");
        assert_tells_nothing(&site, &page);
    }
    fs::remove_file(site.world.root().join("ucrm.json")).unwrap();
    assert_eq!(site.ask("GET", "", ADMIN).status, "503 Service Unavailable");
}

#[test]
fn the_page_loads_what_is_beside_it_and_its_policy_allows_nothing_else() {
    let site = mirrored();
    for (query, cookies) in [("", ADMIN), ("widget=1", ADMIN), ("", "")] {
        let page = site.ask("GET", query, cookies);
        for (name, value) in [
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
            ),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            ("Content-Type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(page.header(name), value);
        }
        let loaded = page
            .body
            .split("<link ")
            .chain(page.body.split("<script "))
            .skip(1);
        for tag in loaded.filter(|tag| tag.starts_with("rel=") || tag.starts_with("src=")) {
            let (_, address) = tag.split_once("public/").unwrap();
            let name = address.split(['?', '"']).next().unwrap();
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("public")
                .join(name);
            assert!(file.is_file(), "{tag}");
        }
        for inside in [
            "<style", "<script>", "style=", "url(", "@import", "<iframe", " on",
        ] {
            let mut tags = page.body.split('<').filter_map(|tag| tag.split('>').next());
            assert!(
                !tags.any(|tag| format!("<{tag}>").contains(inside)),
                "{inside}"
            );
        }
    }
}

#[test]
fn a_run_that_goes_on_is_seen_with_its_transfer_and_not_disturbed() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 1, 30_000_000);
    let gate = Gate::new();
    site.world.dropbox.traffic().inject(Fault {
        on: On::nth("files/upload_session/append_v2", 3),
        action: Action::Hold(gate.clone()),
    });
    let run = site.world.start();
    assert!(gate.wait_reached(PATIENCE));
    for _ in 0..20 {
        let page = site.page();
        page.assert_says(&[
            "A run is going on, since ",
            "The only backup is not in Dropbox yet.",
        ]);
    }
    // As the run writes it every few seconds.
    let mut log = fs::OpenOptions::new()
        .append(true)
        .open(site.world.data("plugin.log"))
        .unwrap();
    writeln!(
        log,
        "Uploading \"test\": 41 %, 12 MB of 30 MB. (2026-11-21T04:12:09+01:00)"
    )
    .unwrap();
    site.page()
        .assert_says(&["value=\"41\"", "12 MB of 30 MB."]);
    gate.open();
    assert_eq!(run.wait(), Some(0));
    site.page().assert_says(&["The only backup is in Dropbox."]);
}

#[test]
fn no_secret_is_on_any_page() {
    let secrets = [
        "test-uisp-token",
        "fake-app-secret",
        "fake-access-code",
        "fake-refresh-token",
        "fake-legacy-token",
        "fake-verifier-of-the-address-long-enough-for-pkce",
        "fake-address-of-a-check",
    ];
    let site = mirrored();
    let mut state = site.world.state();
    state["pending_authorization"] =
        json!({"app_key": "fake-app-key", "code_verifier": secrets[5]});
    fs::write(site.world.data("state.json"), state.to_string()).unwrap();
    let all = json!({
        "unmsApiToken": secrets[0], "dropboxAppKey": "fake-app-key", "dropboxAppSecret": secrets[1],
        "dropboxAccessCode": secrets[2], "dropboxRefreshToken": secrets[3],
        "dropboxAccessToken": secrets[4],
        "healthcheckUrl": format!("https://check.example/{}", secrets[6]),
    });
    // Every stage has its page.
    for absent in [
        &[][..],
        &["dropboxAccessCode"],
        &["dropboxAccessCode", "dropboxRefreshToken"],
        &[
            "dropboxAccessCode",
            "dropboxRefreshToken",
            "dropboxAccessToken",
        ],
        &[
            "dropboxAccessCode",
            "dropboxRefreshToken",
            "dropboxAccessToken",
            "dropboxAppSecret",
        ],
        &["dropboxAppKey"],
        &["dropboxAppKey", "dropboxAccessToken"],
    ] {
        site.world.configure(all.clone());
        for key in absent {
            site.world.configure(json!({*key: null}));
        }
        for query in ["", "widget=1"] {
            let page = site.ask("GET", query, ADMIN);
            assert_eq!(page.status, "200 OK");
            for secret in secrets.iter().chain(&["test-admin-who-views"]) {
                assert!(!page.body.contains(secret), "{secret} in {}", page.body);
            }
        }
    }
    // A value that cannot be used is not quoted either.
    site.world
        .configure(json!({"keepDeletedDays": secrets[3], "dropboxAppKey": [secrets[4]]}));
    let page = site.page();
    page.assert_says(&[
        "The plugin&#39;s configuration cannot be used.",
        "keepDeletedDays",
        "dropboxAppKey",
    ]);
    assert!(secrets.iter().all(|secret| !page.body.contains(secret)));
}

#[test]
fn damaged_files_are_said_and_left_as_they_are() {
    let site = mirrored();
    for (name, text) in [
        ("record.json", "The record of the last runs is damaged."),
        (
            "config.json",
            "The plugin&#39;s configuration cannot be used.",
        ),
    ] {
        let path = site.world.data(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "{\"version\":").unwrap();
        let before = names(&site);
        site.page().assert_says(&[text]);
        assert_eq!(names(&site), before);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"version\":");
        fs::write(&path, good).unwrap();
    }
    site.page().assert_says(&["All 3 backups are in Dropbox."]);
}

fn names(site: &Site) -> BTreeSet<std::ffi::OsString> {
    let entries = fs::read_dir(site.world.root().join("data")).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn other_methods_are_refused_unseen() {
    let site = mirrored();
    for method in ["PUT", "DELETE", "get", ""] {
        let page = site.ask(method, "", ADMIN);
        assert_eq!(page.status, "405 Method Not Allowed", "{method}");
        assert_eq!(page.header("Allow"), "GET, HEAD, POST");
        assert_tells_nothing(&site, &page);
    }
    assert_eq!(site.questions(), 0);
    let page = site.ask("HEAD", "", ADMIN);
    assert_eq!((page.status.as_str(), page.body.as_str()), ("200 OK", ""));
    assert_eq!(site.ask("HEAD", "", "").status, "403 Forbidden");
    for cookies in ["", "PHPSESSID=test-client"] {
        let page = site.ask("POST", "", cookies);
        assert_eq!(page.status, "403 Forbidden");
        assert_tells_nothing(&site, &page);
    }
}
