//! Python with packages from PyPI, for what is best driven by other people's libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The python of a virtual environment in `folder` that has the requirements; made once and kept.
///
/// # Errors
/// Python lacks its venv module, or the packages cannot be had.
pub fn virtual_environment(folder: &Path, requirements: &Path) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let installed = folder.join("installed.txt");
    let wanted =
        fs::read(requirements).with_context(|| format!("reading {}", requirements.display()))?;
    if fs::read(&installed).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder))
    .context("python3 with its venv module is needed: apt-get install python3-venv")?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(requirements))
    .context("the packages could not be installed from PyPI: is there a way to it?")?;
    fs::write(&installed, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}
