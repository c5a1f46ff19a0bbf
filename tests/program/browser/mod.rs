//! The plugin in UISP's web interface, in a real browser, with real PHP: setup, access, the page in
//! every state.
//!
//! The tests themselves are Python, beside this file: pytest and Selenium drive Debian's Chromium against the
//! demo. `BROWSER_TESTS` names one of them, or an expression for pytest's `-k`.

use std::path::Path;
use std::process::Command;

use sandbox::demo::Demo;
use sandbox::python::virtual_environment;

use crate::support::working_zip;

#[test]
fn the_browser_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/browser");
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-venv");
    let python = virtual_environment(&environment, &folder.join("requirements.txt")).unwrap();
    let demo = Demo::start(working_zip(), "newcomer").unwrap();

    let mut pytest = Command::new(python);
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg("--durations=5")
        .arg(&folder)
        .env("DEMO_URL", demo.url())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Ok(expression) = std::env::var("BROWSER_TESTS") {
        pytest.args(["-k", &expression]);
    }
    let output = pytest.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "browser tests failed:\n{said}");
    println!("{said}");
}
