//! Names made to harm whoever reads them: line feeds that forge lines, escape sequences that a terminal obeys,
//! characters that turn the direction of what follows. They come from Dropbox, UISP and a folder, and are harmless in
//! every output.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use sandbox::http::{Action, On};
use sandbox::uisp::RawAnswer;
use serde_json::{Value, json};

use crate::page::crm::Site;
use crate::support::World;
use crate::switches::healthcheck::Monitor;

/// The line that the names try to forge, as `list` would write it.
const FORGED: &str = "mirrored      99 MB  y";

/// Names that a file may have in Dropbox and on a disk.
fn names() -> Vec<String> {
    [
        &format!("x\n{FORGED}"),
        &format!("x\r{FORGED}"),
        &format!("x\u{2028}{FORGED}"),
        &format!("x\u{85}{FORGED}"),
        "red\u{1b}[31m",
        "title\u{1b}]0;x\u{7}",
        "csi\u{9b}31m",
        "bidi\u{202e}lqs.pmud",
        "isolate\u{2067}x\u{2069}",
        "mark\u{61c}x",
        "invisible\u{200b}x\u{e0041}",
        "deleted\u{7f}x",
        "quote\"}],\u{2029}{\"x",
    ]
    .map(String::from)
    .to_vec()
}

/// The characters that may reach a terminal or a page. Not the program's own list: this one is by Unicode's property
/// for directions, and by what ends a line.
fn may_be_shown(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends = matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
    let hides = matches!(c, '\u{200b}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !turns && !ends && !hides
}

fn assert_harmless(text: &str, what: &str) {
    for line in text.split('\n') {
        assert!(line.chars().all(may_be_shown), "{what}: {line:?}");
        assert!(
            !line.starts_with("mirrored      99 MB"),
            "{what}: forged:\n{text}"
        );
        assert!(!line.starts_with("\"mirrored"), "{what}: forged:\n{text}");
    }
}

/// What a command prints, on both of its channels.
fn said(mut command: Command, what: &str) -> (String, String) {
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_harmless(&out, what);
    assert_harmless(&err, what);
    (out, err)
}

/// Everything that the program has to say about a world. The documents are returned.
fn look_at_all(site: &Site, context: &str) -> Vec<Value> {
    let world = &site.world;
    let mut documents = Vec::new();
    for words in [
        &["list"][..],
        &["run", "--dry-run"],
        &["verify"],
        &["verify", "--deep"],
        &["status"],
        &["check"],
    ] {
        let mut command = world.command();
        command.args(words);
        said(command, &format!("{context}: {words:?}"));
        if words.contains(&"--deep") {
            continue;
        }
        let mut command = world.command();
        command.args(words).arg("--json");
        let (out, _) = said(command, &format!("{context}: {words:?} --json"));
        // Where a list cannot be had, there is none.
        if !out.is_empty() {
            documents.push(serde_json::from_str(&out).unwrap());
        }
    }
    for wanted in [
        "x",
        "bidi",
        "nothing of that name \u{1b}[31m\u{202e}\nERROR: x",
    ] {
        let mut command = world.command();
        let folder = tempfile::tempdir().unwrap();
        command.args(["download", wanted]).arg(folder.path());
        said(command, &format!("{context}: download {wanted:?}"));
    }
    for query in ["", "widget=1"] {
        let page = site.ask("GET", query, "PHPSESSID=test-admin-who-views");
        assert_eq!(page.status, "200 OK");
        assert_harmless(&page.body, &format!("{context}: page {query}"));
    }
    assert_harmless(&world.log(), &format!("{context}: log"));
    documents
}

/// Puts a file of each name into Dropbox.
fn put_all(world: &World) {
    for name in names_in_dropbox() {
        world.dropbox.put(&format!("/{name}"), b"foreign");
    }
}

/// Those that Dropbox takes.
fn names_in_dropbox() -> impl Iterator<Item = String> {
    names().into_iter().filter(|name| !name.contains('\u{7f}'))
}

#[test]
fn of_dropbox() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 3, 1000);
    site.world.run_well();
    put_all(&site.world);
    site.world.remove_backup(1);
    let documents = look_at_all(&site, "before the run");
    // A program that reads the document gets the names as they are.
    let listed: Vec<&str> = documents[0]["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    for name in names_in_dropbox() {
        assert!(listed.contains(&name.as_str()), "{name:?} in {listed:?}");
    }
    site.world.run_well();
    look_at_all(&site, "after it");
}

#[test]
fn of_uisp() {
    let site = Site::around(World::authorized());
    site.world.add_backups(1, 2, 1000);
    site.world.run_well();
    let mut rows: Vec<Value> = names()
        .into_iter()
        .flat_map(|name| {
            [
                json!({"id": name, "state": "success", "createdAt": "2026-01-05T04:12:00Z"}),
                json!({"id": "a-1", "state": name, "createdAt": "2026-01-05T04:12:00Z"}),
                json!({"id": "b-1", "state": "success", "createdAt": name}),
            ]
        })
        .collect();
    rows.push(json!(names()));
    let list = RawAnswer::json(200, &Value::from(rows).to_string());
    site.world.uisp.answer_list(Some(list));
    site.world.run();
    look_at_all(&site, "rows");
    for name in names() {
        let body = json!({"statusCode": 500, "error": name, "message": name}).to_string();
        site.world
            .uisp
            .answer_list(Some(RawAnswer::json(400, &body)));
        site.world.run();
        let mut command = site.world.command();
        command.arg("list");
        said(command, "an error of UISP");
    }
    look_at_all(&site, "errors");
}

#[test]
fn of_a_folder() {
    let monitor = Monitor::start();
    let site = Site::around(World::authorized());
    let world = &site.world;
    let backups = tempfile::tempdir().unwrap();
    world.configure(json!({
        "unmsApiToken": null,
        "backupDirectory": backups.path(),
        "healthcheckUrl": monitor.address(),
    }));
    let days_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    for name in names() {
        for path in [
            name.clone(),
            format!("below {}/file", name.replace('"', "")),
        ] {
            let path = backups.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &name).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(days_ago).unwrap();
        }
    }
    put_all(world);
    look_at_all(&site, "before the run");
    // Each is refused in a first run, and told to the monitor.
    let refusal = Action::json(
        409,
        &json!({"error_summary": "other/..", "error": {".tag": "other"}}),
    );
    world
        .dropbox
        .inject(On::every("files/upload_session/finish_batch_v2"), refusal);
    world.run();
    assert_harmless(&monitor.last_body(), "the monitoring service");
    look_at_all(&site, "after a failure");
    world.dropbox.traffic().clear_faults();
    world.run();
    look_at_all(&site, "after the run");
    // And gone again.
    for entry in fs::read_dir(backups.path()).unwrap().skip(1) {
        let path = entry.unwrap().path();
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
    }
    world.run();
    look_at_all(&site, "after a clean-up");
    assert_harmless(&monitor.last_body(), "the monitoring service");
}
