//! Runs one stand-in by hand: `sandbox dropbox`, `sandbox dropbox --tls` or `sandbox uisp`.
//!
//! Prints one line of JSON that says where it listens and what it accepts, and runs until its input closes.

use anyhow::bail;
use sandbox::dropbox::{App, Dropbox, DropboxOptions};
use sandbox::http::TestCa;
use sandbox::uisp::{Backup, Uisp, UispOptions};
use serde_json::{Value, json};
use std::io::Read;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["dropbox"] => run_dropbox(None),
        ["dropbox", "--tls"] => run_dropbox(Some(TestCa::new()?)),
        ["uisp"] => run_uisp(),
        _ => bail!("usage: sandbox dropbox [--tls] | sandbox uisp"),
    }
}

fn run_dropbox(ca: Option<TestCa>) -> anyhow::Result<()> {
    let app = App::new(
        "test-app-key",
        "test-app-secret",
        &[
            "account_info.read",
            "files.metadata.read",
            "files.content.write",
            "files.content.read",
        ],
    );
    let tls = match &ca {
        Some(ca) => Some(ca.issue(&Dropbox::leaf())?),
        None => None,
    };
    let dropbox = Dropbox::start(DropboxOptions {
        app: app.clone(),
        tls,
        ..DropboxOptions::default()
    })?;
    run(&json!({
        "api_url": dropbox.api_url(),
        "content_url": dropbox.content_url(),
        "web_url": dropbox.web_url(),
        "app_key": app.key,
        "app_secret": app.secret,
        "ca_file": ca.as_ref().map(TestCa::pem_path),
    }))
}

fn run_uisp() -> anyhow::Result<()> {
    let uisp = Uisp::start(UispOptions::default())?;
    for number in 0..5 {
        uisp.add(Backup::numbered(number, 5_000_000));
    }
    run(&json!({ "local_url": uisp.local_url(), "token": uisp.token() }))
}

fn run(description: &Value) -> anyhow::Result<()> {
    println!("{description}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
