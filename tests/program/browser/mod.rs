//! The plugin in UISP's web interface, in a real browser, with real PHP: setup, access, the page in
//! every state.
//!
//! The tests themselves are Python, in `browser/`: pytest and Selenium drive Debian's Chromium against the
//! demo. `BROWSER_TESTS` names one of them, or an expression for pytest's `-k`.

use sandbox::demo::Demo;
use sandbox::host::package::{Package, Program};
use sandbox::python::virtual_environment;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_browser_tests_pass() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = checkout.join("tests/program/browser");
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let python = virtual_environment(
        &temporary.join("browser-venv"),
        &folder.join("requirements.txt"),
    )
    .unwrap_or_else(|error| panic!("{error:#}"));
    let zip = zip(checkout, temporary);
    let demo = Demo::start(&zip, "newcomer").unwrap_or_else(|error| panic!("{error:#}"));

    let mut pytest = Command::new(python);
    pytest
        .args([
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--durations=5",
        ])
        .arg(&folder)
        .env("DEMO_URL", demo.url())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Ok(expression) = std::env::var("BROWSER_TESTS") {
        pytest.args(["-k", &expression]);
    }
    let status = pytest.status().expect("the environment's python starts");
    assert!(status.success(), "browser tests failed, see above");
}

/// The ZIP that `build.sh test` names, else one with the debug program.
fn zip(checkout: &Path, temporary: &Path) -> PathBuf {
    if let Some(path) = std::env::var_os("BACKUP_SYNC_ZIP") {
        return PathBuf::from(path);
    }
    let path = temporary.join("browser.zip");
    let package = Package {
        checkout: checkout.to_owned(),
        commit: "test".to_owned(),
        commit_time: 1_795_306_485,
        programs: vec![Program::Built {
            architecture: std::env::consts::ARCH.to_owned(),
            how: "a debug program".to_owned(),
            path: env!("CARGO_BIN_EXE_backup-sync-dropbox").into(),
        }],
    };
    package.write(&path).expect("the ZIP can be made");
    path
}
