//! `sandbox bench PROGRAM`: what runs of the program cost, against the stand-ins, on several lines. Called by `build.sh bench`.
//!
//! It asserts that every mirror is right, and nothing about time. The method is described in
//! `docs/benchmarks.md`.

mod bare;
mod evenness;
mod machine;
mod measure;
mod report;
mod scenario;
mod timeline;
mod world;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use report::Report;
use scenario::{Bench, Scenario};
use world::Line;

const USAGE: &str = "\
usage: sandbox bench PROGRAM [OPTION...]
  --repeat N   runs of each scenario; the median is shown (default: 3)
  --large      also one backup of 8 GiB, once
  --plain      HTTP instead of HTTPS to the Dropbox stand-in
  --only TEXT  only scenarios whose line and name contain the text
  --timeline   also shows what each tenth of a second was spent on, in each scenario's last run
  --markdown   prints the report for docs/benchmarks.md";

/// Carries out `bench` with its arguments.
///
/// # Errors
/// Something cannot be measured, or a mirror is not what it should be.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        // The two helpers are this program itself, so that there is one program to build.
        [first, rest @ ..] if first == "measure" => measure::run(rest),
        [first, order] if first == "copy" => bare::run(order),
        _ => measure_all(&options(arguments)?),
    }
}

struct Options {
    program: PathBuf,
    repeat: usize,
    is_large: bool,
    is_plain: bool,
    only: String,
    has_timeline: bool,
    is_markdown: bool,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        program: PathBuf::new(),
        repeat: 3,
        is_large: false,
        is_plain: false,
        only: String::new(),
        has_timeline: false,
        is_markdown: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context(USAGE);
        match argument.as_str() {
            "--repeat" => options.repeat = value()?.parse::<usize>()?.max(1),
            "--large" => options.is_large = true,
            "--plain" => options.is_plain = true,
            "--only" => options.only.clone_from(value()?),
            "--timeline" => options.has_timeline = true,
            "--markdown" => options.is_markdown = true,
            path if !path.starts_with('-') => options.program = path.into(),
            _ => bail!("{USAGE}"),
        }
    }
    if options.program.as_os_str().is_empty() {
        bail!("{USAGE}");
    }
    options.program = options
        .program
        .canonicalize()
        .with_context(|| format!("{}", options.program.display()))?;
    Ok(options)
}

fn measure_all(options: &Options) -> Result<()> {
    let bench = Bench {
        program: &options.program,
        has_tls: !options.is_plain,
        repeat: options.repeat,
        has_timeline: options.has_timeline,
    };
    let mut report = Report::default();
    for line in [Line::Shaped, Line::Far, Line::Loopback] {
        for scenario in Scenario::all(line, options.is_large) {
            let name = format!("{} {}", line.name(), scenario.name);
            if name.contains(&options.only) {
                eprintln!("{name} ...");
                let measured = bench
                    .measure(line, &scenario)
                    .with_context(|| name.clone())?;
                report.add(line, scenario, measured);
            }
        }
    }
    print!("{}", report.print(options.is_markdown, options.is_plain));
    Ok(())
}
