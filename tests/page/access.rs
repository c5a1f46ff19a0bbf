//! Who sees the page, and that nothing is told to anybody else.

use std::fs;
use std::net::TcpListener;

use sandbox::http::{Action, Fault, On};
use serde_json::json;

use crate::crm::{CURRENT_USER, Page, Site};
use crate::support::World;

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
fn nothing_can_be_sent_to_the_page() {
    let site = mirrored();
    for method in ["POST", "PUT", "DELETE", "get", ""] {
        let page = site.ask(method, "", ADMIN);
        assert_eq!(page.status, "405 Method Not Allowed", "{method}");
        assert_eq!(page.header("Allow"), "GET, HEAD");
        assert_tells_nothing(&site, &page);
    }
    assert_eq!(site.questions(), 0);
    let page = site.ask("HEAD", "", ADMIN);
    assert_eq!((page.status.as_str(), page.body.as_str()), ("200 OK", ""));
    assert_eq!(site.ask("HEAD", "", "").status, "403 Forbidden");
}
