//! The units for systemd, as far as systemd itself can tell without starting them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/systemd");

/// Asks systemd about a unit whose program is the one under test; `None` where there is no systemd.
fn analyze(arguments: &[&str]) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(UNITS).unwrap() {
        let entry = entry.unwrap();
        let unit = fs::read_to_string(entry.path()).unwrap();
        let installed = "/usr/local/bin/backup-sync-dropbox";
        let unit = unit.replace(installed, env!("CARGO_BIN_EXE_backup-sync-dropbox"));
        fs::write(folder.path().join(entry.file_name()), unit).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).current_dir(folder.path()).output();
    if output.is_err() {
        println!("Not tested: there is no systemd-analyze.");
    }
    output.ok()
}

fn text(output: &Output) -> String {
    let streams = [&output.stdout[..], &output.stderr[..]];
    String::from_utf8_lossy(&streams.concat()).into_owned()
}

#[test]
fn systemd_accepts_the_units() {
    for unit in [
        "./backup-sync-dropbox.service",
        "./backup-sync-dropbox.timer",
    ] {
        let Some(output) = analyze(&["verify", "--man=no", unit]) else {
            return;
        };
        let text = text(&output);
        assert!(output.status.success(), "{unit}: {text}");
        assert!(!text.contains("backup-sync-dropbox.service:"), "{text}");
        assert!(!text.contains("backup-sync-dropbox.timer:"), "{text}");
    }
}

#[test]
fn systemd_finds_the_service_well_confined() {
    // The worst is 100; "OK" ends at 50.
    let threshold = "--threshold=20";
    let service = "./backup-sync-dropbox.service";
    if let Some(output) = analyze(&["security", "--offline=yes", threshold, service]) {
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn the_guide_shows_what_the_units_need() {
    let guide = fs::read_to_string(Path::new(UNITS).join("../../docs/folder.md")).unwrap();
    for part in [
        "/usr/local/bin/backup-sync-dropbox",
        "/var/lib/backup-sync-dropbox",
        "contrib/systemd/backup-sync-dropbox.service",
        "contrib/systemd/backup-sync-dropbox.timer",
    ] {
        assert!(guide.contains(part), "docs/folder.md does not name {part}");
    }
}
