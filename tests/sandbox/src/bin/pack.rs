//! `pack OUT COMMIT COMMIT_TIME ARCHITECTURE=HOW=PATH|ARCHITECTURE=skipped=REASON ...` makes the installable ZIP of
//! the checkout in the current folder; called by `build.sh package`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sandbox::host::package::{Package, Program};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, commit, commit_time, programs @ ..] = arguments.as_slice() else {
        bail!("usage: pack OUT COMMIT COMMIT_TIME ARCHITECTURE=HOW=PATH...");
    };
    let package = Package {
        checkout: std::env::current_dir()?,
        commit: commit.clone(),
        commit_time: commit_time
            .parse()
            .context("COMMIT_TIME is seconds since 1970")?,
        programs: programs
            .iter()
            .map(|text| program(text))
            .collect::<Result<_>>()?,
    };
    package.write(Path::new(out))
}

fn program(text: &str) -> Result<Program> {
    let mut parts = text.splitn(3, '=').map(str::to_owned);
    let mut next = || {
        parts
            .next()
            .with_context(|| format!("{text} is not ARCHITECTURE=HOW=PATH"))
    };
    let (architecture, how, rest) = (next()?, next()?, next()?);
    Ok(match how.as_str() {
        "skipped" => Program::Skipped {
            architecture,
            reason: rest,
        },
        _ => Program::Built {
            architecture,
            how,
            path: PathBuf::from(rest),
        },
    })
}
