//! The forms of the page: what they do, and who is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sandbox::http::{Action, Fault, On};
use serde_json::{Value, json};

use super::crm::{EDITOR, Page, Site};
use crate::support::World;

const VIEWER: &str = "PHPSESSID=test-admin-who-views";
const REQUEST: &str = ".ucrm-plugin-execution-requested";

fn mirrored(count: u32) -> Site {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, count, 1000);
    site.world.run_well();
    site
}

/// An installation whose log shows the address, with the code that Dropbox gives for it.
fn waiting_for_code() -> (Site, String) {
    let site = Site::around(World::with_app(false));
    site.world.add_backups(1, 2, 1000);
    let shown = site.world.run();
    let code = site.world.dropbox.allow(shown.url()).unwrap();
    (site, code)
}

/// Most backups are gone at UISP, and their copies wait for a word.
fn on_hold() -> Site {
    let site = mirrored(8);
    (1..=5).for_each(|number| site.world.remove_backup(number));
    site.world.run_well();
    assert_eq!(site.world.state()["on_hold"].as_array().unwrap().len(), 5);
    site
}

fn is_requested(site: &Site) -> bool {
    site.world.root().join(REQUEST).exists()
}

/// Everything in the plugin's folder, but not when it was last read.
fn files(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut folders = vec![site.world.root().to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn assert_accepted(page: &Page) {
    assert_eq!(page.status, "303 See Other", "{}", page.body);
    assert_eq!((page.header("Location"), page.body.as_str()), ("?", ""));
}

#[test]
fn a_run_is_asked_for_by_the_hosts_own_file_and_the_log_names_who_did() {
    let site = mirrored(2);
    let form = site.editors_page().filled("run", &[]);
    assert_accepted(&site.send(EDITOR, &form));
    assert!(is_requested(&site));
    let log = site.world.log();
    let line = log.lines().last().unwrap();
    assert!(
        line.starts_with("\"test-admin-who-edits\" asked on the plugin's page for a run"),
        "{log}"
    );
    // While it is on its way, the page says so and offers none.
    let page = site.editors_page();
    page.assert_says(&["role=\"status\"", "UISP is asked to start the plugin"]);
    assert_eq!(page.form("run"), None);

    // The run has begun; its page has forms again, but the old one is used up.
    fs::remove_file(site.world.root().join(REQUEST)).unwrap();
    site.world.run_well();
    let page = site.editors_page();
    assert!(page.form("run").is_some() && !page.body.contains("class=\"answer"));
    let again = site.send(EDITOR, &form);
    assert_eq!(again.status, "403 Forbidden");
    again.assert_says(&["does not count any more", "Nothing was done"]);
    assert!(!is_requested(&site));
}

#[test]
fn looking_changes_nothing_not_even_for_who_may_edit() {
    let site = on_hold();
    let before = files(&site);
    for query in ["", "widget=1", "do=run", "do=agree&sure=yes"] {
        for method in ["GET", "HEAD"] {
            let page = site.ask(method, query, EDITOR);
            assert_eq!(page.status, "200 OK");
        }
    }
    assert!(site.ask("GET", "widget=1", EDITOR).form("run").is_none());
    assert_eq!(files(&site), before);
}

#[test]
fn who_may_only_look_gets_no_form_and_can_send_none() {
    let site = on_hold();
    assert!(!site.page().body.contains("<form"));
    let page = site.editors_page();
    for form in [
        page.filled("run", &[]),
        page.filled("agree", &[("sure", "yes")]),
    ] {
        let before = files(&site);
        let refused = site.send(VIEWER, &form);
        assert_eq!(refused.status, "403 Forbidden");
        refused.assert_says(&["but change nothing"]);
        for stranger in [
            "",
            "PHPSESSID=test-client",
            "PHPSESSID=test-admin-without",
            "PHPSESSID=unknown",
        ] {
            let refused = site.send(stranger, &form);
            assert_eq!(refused.status, "403 Forbidden");
            let says = refused.body.to_lowercase();
            assert!(
                !says.contains("plugin's") && !says.contains("dropbox"),
                "{says}"
            );
        }
        assert_eq!(files(&site), before);
    }
    // The host is asked anew about each form.
    let asked = site.questions();
    site.send(EDITOR, &[]);
    assert_eq!(site.questions(), asked + 1);
    site.crm.traffic().inject(Fault {
        on: On::every(super::crm::CURRENT_USER),
        action: Action::text(500, "broken"),
    });
    let form = page.filled("run", &[]);
    assert_eq!(site.send(EDITOR, &form).status, "503 Service Unavailable");
    assert!(!is_requested(&site));
}

#[test]
fn a_form_on_another_site_is_refused() {
    let site = mirrored(1);
    let form = site.editors_page().filled("run", &[]);
    let before = files(&site);
    for headers in [
        &[][..],
        &[("HTTP_SEC_FETCH_SITE", "cross-site")],
        &[("HTTP_SEC_FETCH_SITE", "same-site")],
        &[("HTTP_SEC_FETCH_SITE", "none")],
        &[
            ("HTTP_SEC_FETCH_SITE", "cross-site"),
            ("HTTP_ORIGIN", "http://192.0.2.7"),
            ("HTTP_HOST", "192.0.2.7"),
        ],
        &[("HTTP_HOST", "192.0.2.7")],
        &[("HTTP_ORIGIN", "null"), ("HTTP_HOST", "192.0.2.7")],
        &[
            ("HTTP_ORIGIN", "http://192.0.2.8"),
            ("HTTP_HOST", "192.0.2.7"),
        ],
    ] {
        let refused = site.send_from(EDITOR, headers, &form);
        assert_eq!(refused.status, "403 Forbidden", "{headers:?}");
        refused.assert_says(&["did not come from the plugin", "nothing was done"]);
    }
    assert_eq!(files(&site), before);
    // As over plain HTTP by the address, where browsers say no more.
    let headers = [
        ("HTTP_ORIGIN", "http://192.0.2.7:8080"),
        ("HTTP_HOST", "192.0.2.7:8080"),
    ];
    assert_accepted(&site.send_from(EDITOR, &headers, &form));
}

#[test]
fn a_token_counts_for_its_user_and_its_action_alone() {
    let site = on_hold();
    let page = site.editors_page();
    let run = page.filled("run", &[]);
    let agree = page.filled("agree", &[("sure", "yes")]);
    let with = |form: &[(String, String)], name: &str, value: &str| {
        let other = form.iter().filter(|(known, _)| known != name).cloned();
        other
            .chain([(name.into(), value.into())])
            .collect::<Vec<_>>()
    };
    let token = |form: &[(String, String)]| {
        form.iter()
            .find(|(name, _)| name == "token")
            .unwrap()
            .1
            .clone()
    };
    let before = files(&site);
    let another = "PHPSESSID=test-another-who-edits";
    for (cookies, form) in [
        (another, run.clone()),
        (another, agree.clone()),
        (EDITOR, with(&run, "token", &token(&agree))),
        (EDITOR, with(&agree, "token", &token(&run))),
        (EDITOR, with(&run, "token", "1764235800-AAAA")),
        (EDITOR, with(&run, "token", "")),
    ] {
        let refused = site.send(cookies, &form);
        assert_eq!(refused.status, "403 Forbidden", "{form:?}");
        refused.assert_says(&["does not count any more"]);
    }
    assert_eq!(files(&site), before);
    // A used form takes all others of its time with it, also those of other windows.
    assert_accepted(&site.send(EDITOR, &run));
    assert_eq!(site.send(EDITOR, &agree).status, "403 Forbidden");
    // Whoever could read the key could make tokens.
    let mode = fs::metadata(site.world.data("page.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_form_of_the_page_is_refused() {
    let site = mirrored(1);
    let form = site.editors_page().filled("run", &[]);
    let good = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&form)
        .finish();
    let before = files(&site);
    let here = [("HTTP_SEC_FETCH_SITE", "same-origin")];
    for body in [
        String::new(),
        "do=run".into(),
        good.replace("do=run", "do=format"),
        "\u{0}\u{1b}&=&=".into(),
        // More than a form can have is not read to its end.
        format!("{good}&more={}", "x".repeat(9000)),
        format!("more={}", "x".repeat(3_000_000)),
    ] {
        let refused = site.send_body(EDITOR, &here, &body);
        assert_eq!(refused.status, "400 Bad Request");
    }
    assert_eq!(files(&site), before);
    assert_accepted(&site.send_body(EDITOR, &here, &good));
}

#[test]
fn a_code_is_used_at_once_and_the_answer_stands_on_the_page() {
    let (site, code) = waiting_for_code();
    let page = site.editors_page();
    page.assert_says(&["Paste the code here", "Connect"]);
    // As people copy it.
    let code_with_blanks = format!(" {code}\n");
    assert_accepted(&site.send(
        EDITOR,
        &page.filled("connect", &[("code", &code_with_blanks)]),
    ));
    let config = site.world.config();
    assert_eq!(config["dropboxAccessCode"], Value::Null);
    assert!(config["dropboxRefreshToken"].is_string());
    assert!(is_requested(&site));
    let log = site.world.log();
    for part in [
        "\"test-admin-who-edits\" gave an access code on the plugin's page.",
        "Authorized: Dropbox accepted the access code.",
    ] {
        assert!(log.contains(part), "{log}");
    }
    let page = site.editors_page();
    page.assert_says(&["Connected: Dropbox accepted the code."]);
    assert_eq!(page.form("connect"), None);
    for text in [
        &log,
        &page.body,
        &fs::read_to_string(site.world.data("record.json")).unwrap(),
    ] {
        assert!(!text.contains(&code), "{text}");
    }
    fs::remove_file(site.world.root().join(REQUEST)).unwrap();
    site.world.run_well();
    site.world.assert_mirrored();
}

#[test]
fn a_refused_code_is_said_in_place_and_the_way_stays_open() {
    let (site, code) = waiting_for_code();
    let page = site.editors_page();
    let form = page.filled(
        "connect",
        &[("code", "test-wrong-code-of-a-plausible-length")],
    );
    assert_accepted(&site.send(EDITOR, &form));
    assert_eq!(site.world.config()["dropboxAccessCode"], Value::Null);
    assert!(!is_requested(&site));
    let page = site.editors_page();
    page.assert_says(&[
        "role=\"status\"",
        "Dropbox refused the access code",
        "/authorize?",
    ]);
    assert_accepted(&site.send(EDITOR, &page.filled("connect", &[("code", &code)])));
    assert!(site.world.config()["dropboxRefreshToken"].is_string());
}

#[test]
fn a_permission_that_is_missing_is_said_at_once() {
    let (site, _) = waiting_for_code();
    site.world
        .dropbox
        .set_app_scopes(&["files.metadata.read", "files.content.write"]);
    let code = site.world.dropbox.allow(site.world.run().url()).unwrap();
    let form = site.editors_page().filled("connect", &[("code", &code)]);
    assert_accepted(&site.send(EDITOR, &form));
    for text in [site.editors_page().body, site.world.log()] {
        for part in [
            "files.content.read (to get backups back",
            "account_info.read",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(
            !text
                .contains("files.metadata.read (to see what is in the folder), files.content.read")
        );
    }
}

#[test]
fn a_revoked_access_is_given_again_on_the_page() {
    let site = mirrored(2);
    site.world.configure(json!({"dropboxAppSecret": null}));
    site.world.dropbox.revoke_all_tokens();
    let failed = site.world.run_badly();
    let code = site.world.dropbox.allow(failed.url()).unwrap();
    let form = site.editors_page().filled("connect", &[("code", &code)]);
    assert_accepted(&site.send(EDITOR, &form));
    site.editors_page().assert_says(&["Connected: "]);
    site.world.run_well();
}

#[test]
fn what_is_agreed_to_is_deleted_and_nothing_else() {
    let site = on_hold();
    let page = site.editors_page();
    page.assert_says(&["Delete 5 files (5.0 kB) from Dropbox", "deleted on purpose"]);
    let (_, held) = page.body.split_once("id=\"on-hold\"").unwrap();
    let (held, _) = held.split_once("</section>").unwrap();
    for number in 1..=8 {
        let is_shown = held.contains(&format!("{number:012}.unms"));
        assert_eq!(is_shown, number <= 5, "{number} in {held}");
    }
    // Without the tick it is nobody's word.
    let refused = site.send(EDITOR, &page.filled("agree", &[]));
    assert_eq!(refused.status, "400 Bad Request");
    let form = page.filled("agree", &[("sure", "yes")]);
    assert_accepted(&site.send(EDITOR, &form));
    assert!(is_requested(&site));
    assert_eq!(site.world.state()["agreed"], site.world.state()["on_hold"]);
    let log = site.world.log();
    assert!(
        log.contains("\"test-admin-who-edits\" agreed on the plugin's page that 5 files (5.0 kB) on hold are deleted"),
        "{log}"
    );
    let page = site.editors_page();
    page.assert_says(&["You agreed: the next run deletes these files"]);
    assert_eq!(page.form("agree"), None);

    // More is gone meanwhile: nobody has agreed to that.
    (6..=7).for_each(|number| site.world.remove_backup(number));
    let ended = site.world.run_well();
    ended.assert_line(&["5 deleted"]);
    ended.assert_line(&["WARNING: 2 files in Dropbox are on hold"]);
    assert_eq!(site.world.dropbox.files().len(), 3, "{}", ended.log);
}

#[test]
fn who_agrees_to_an_older_list_is_shown_the_new_one() {
    let site = on_hold();
    let form = site.editors_page().filled("agree", &[("sure", "yes")]);
    site.world.remove_backup(6);
    site.world.run_well();
    let before = files(&site);
    let refused = site.send(EDITOR, &form);
    assert_eq!(refused.status, "409 Conflict");
    refused.assert_says(&["The list has changed", "Look again"]);
    let (key, mut after) = (site.world.data("page.key"), files(&site));
    // The form is used up all the same.
    assert_ne!(
        after.insert(key.clone(), before[&key].clone()).unwrap(),
        before[&key]
    );
    assert_eq!(after, before);
    // What the record shows and the memory does not have is not agreed to either.
    let form = site.editors_page().filled("agree", &[("sure", "yes")]);
    let mut state = site.world.state();
    state["on_hold"].as_array_mut().unwrap().pop();
    fs::write(site.world.data("state.json"), state.to_string()).unwrap();
    assert_eq!(site.send(EDITOR, &form).status, "409 Conflict");
    assert_eq!(site.world.state(), state);
}

#[test]
fn while_a_run_goes_on_nothing_is_done() {
    let site = on_hold();
    let page = site.editors_page();
    let agree = page.filled("agree", &[("sure", "yes")]);
    let (run, gate) = site.world.start_held("files/list_folder");
    for form in [page.filled("run", &[]), agree.clone()] {
        let refused = site.send(EDITOR, &form);
        assert_eq!(refused.status, "409 Conflict");
        refused.assert_says(&["A run is going on"]);
    }
    assert!(!is_requested(&site));
    gate.open();
    assert_eq!(run.wait(), Some(0));
    // What was refused for that alone still counts.
    assert_accepted(&site.send(EDITOR, &agree));
}

#[test]
fn what_cannot_be_written_is_said_and_nothing_is_done() {
    let site = mirrored(1);
    let form = site.editors_page().filled("run", &[]);
    let key = site.world.data("page.key");
    fs::remove_file(&key).unwrap();
    assert!(!site.editors_page().body.contains("<form"));
    fs::create_dir(&key).unwrap();
    let refused = site.send(EDITOR, &form);
    assert_eq!(refused.status, "503 Service Unavailable");
    refused.assert_says(&["could not be done", "page.key"]);
    assert!(!is_requested(&site));
}
