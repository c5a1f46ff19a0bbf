//! `pictures ZIP SCRIPTS ENVIRONMENT FOLDER`: makes the documentation's pictures from the demo, with the
//! Python in SCRIPTS, whose packages are installed into ENVIRONMENT. Called by `build.sh pictures`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use sandbox::demo::Demo;
use sandbox::python::virtual_environment;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [zip, scripts, environment, folder] = &arguments[..] else {
        bail!("usage: pictures ZIP SCRIPTS ENVIRONMENT FOLDER");
    };
    let scripts = Path::new(scripts);
    let python = virtual_environment(Path::new(environment), &scripts.join("requirements.txt"))?;
    let demo = Demo::start(Path::new(zip), "newcomer")?;
    let status = Command::new(python)
        .arg(scripts.join("pictures.py"))
        .arg(folder)
        .env("DEMO_URL", demo.url())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()?;
    ensure!(status.success(), "the pictures could not be made: {status}");
    Ok(())
}
