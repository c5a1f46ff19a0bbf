//! Drives the Dropbox stand-in with Dropbox's own Python SDK, so that tests against the stand-in mean something.
//!
//! The SDK comes from PyPI at a pinned version into a virtual environment below the target folder, and
//! `conformance/conformance.py` calls every route with the SDK's result validators at their strictest.

use sandbox::dropbox::{App, Dropbox, DropboxOptions};
use sandbox::http::TestCa;
use sandbox::python::virtual_environment;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const ALL_SCOPES: [&str; 4] = [
    "account_info.read",
    "files.metadata.read",
    "files.content.write",
    "files.content.read",
];

#[test]
fn the_official_sdk_finds_nothing_wrong_with_the_stand_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/conformance");
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-venv");
    let python = virtual_environment(&environment, &folder.join("requirements.txt"))
        .unwrap_or_else(|error| panic!("{error:#}"));
    let ca = TestCa::new().expect("a test CA can be made");
    let dropbox = Dropbox::start(DropboxOptions {
        app: App::new("test-app-key", "test-app-secret", &ALL_SCOPES),
        tls: Some(ca.issue(&Dropbox::leaf()).expect("a leaf can be issued")),
        page_size: 3,
        ..DropboxOptions::default()
    })
    .expect("loopback ports can be bound");

    let without_scheme = |url: String| url.trim_start_matches("https://").to_owned();
    let mut child = Command::new(python)
        .arg(folder.join("conformance.py"))
        .env("DROPBOX_API_HOST", without_scheme(dropbox.api_url()))
        .env(
            "DROPBOX_API_CONTENT_HOST",
            without_scheme(dropbox.content_url()),
        )
        .env("DROPBOX_WEB_HOST", without_scheme(dropbox.web_url()))
        .env("REQUESTS_CA_BUNDLE", ca.pem_path())
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the environment's python starts");

    // The script asks for what only the owner of the stand-in can do, one line each, and waits for the answer.
    let mut answers = child.stdin.take().expect("stdin is piped");
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    for line in lines.map_while(Result::ok) {
        let Some(request) = line.strip_prefix("@ ") else {
            println!("{line}");
            continue;
        };
        let answer = carry_out(&dropbox, request);
        writeln!(answers, "{answer}").expect("the script reads its answer");
    }
    let status = child.wait().expect("the script ends");
    assert!(status.success(), "the conformance script failed, see above");
}

/// Does what the script asks for, as the owner of the account, of the app, or of time.
fn carry_out(dropbox: &Dropbox, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words[..] {
        ["allow", url] => return dropbox.allow(url).unwrap_or_else(|why| format!("! {why}")),
        ["requests", route] => return dropbox.traffic().count(route).to_string(),
        ["expire"] => dropbox.expire_access_tokens(),
        ["reset-cursors"] => dropbox.reset_cursors(),
        ["scopes", ref scopes @ ..] => dropbox.set_app_scopes(scopes),
        ["quota", bytes] => dropbox.set_quota(bytes.parse().expect("a number of bytes"), 0),
        ["hours", hours] => {
            let hours: u64 = hours.parse().expect("a number of hours");
            dropbox.advance_clock(Duration::from_secs(hours * 3600));
        }
        _ => panic!("unknown request of the script: {request}"),
    }
    "done".to_owned()
}
