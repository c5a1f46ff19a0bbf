//! `demo ZIP [--serve]`: the whole mission in the terminal, against stand-ins for everything around
//! the plugin; with `--serve` then a page to click through. Called by `build.sh demo`.

mod page;
mod walk;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut zip = None;
    let mut serves = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--serve" => serves = true,
            _ if zip.is_none() && !argument.starts_with('-') => zip = Some(PathBuf::from(argument)),
            _ => bail!("unknown argument {argument}; usage: demo ZIP [--serve]"),
        }
    }
    let Some(zip) = zip else {
        bail!("usage: demo ZIP [--serve]")
    };

    walk::walk(&zip)?;
    if serves {
        page::serve(&zip)?;
    }
    Ok(())
}
