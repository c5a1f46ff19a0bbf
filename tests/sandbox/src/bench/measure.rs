//! Runs a program and reads its cost from the kernel's accounting.
//!
//! The program is started by a small process of its own, `sandbox bench measure PROGRAM...`, for two reasons: with one
//! child only, `RUSAGE_CHILDREN` is that child's account; and the kernel counts against a child what its parent
//! had in memory when it started it, so the parent has to be smaller than the program.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};

/// What one run of a program took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cost {
    /// From start to end, in seconds.
    pub wall_seconds: f64,
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// The largest resident set, in bytes.
    pub peak_bytes: u64,
}

/// Runs `command` below a measuring process and returns what it took.
///
/// # Errors
/// When it cannot be started, or ends with another exit code than 0.
pub fn measure(command: &Command) -> Result<Cost> {
    let mut measuring = Command::new(std::env::current_exe()?);
    measuring
        .args(["bench", "measure"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = measuring.output().context("measuring")?;
    ensure!(
        output.status.success(),
        "{} failed",
        command.get_program().display()
    );
    serde_json::from_slice(&output.stdout).context("the measuring process says nothing usable")
}

/// The measuring process: runs the program that the arguments name and prints its [`Cost`].
///
/// # Errors
/// When it cannot be started, or ends with another exit code than 0.
pub fn run(command: &[String]) -> Result<()> {
    let [program, arguments @ ..] = command else {
        bail!("usage: sandbox bench measure PROGRAM...");
    };
    let begun = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| program.clone())?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "{program}: {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cost = Cost {
        wall_seconds,
        cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
        // Linux counts in KiB.
        peak_bytes: u64::try_from(usage.max_rss())? * 1024,
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

/// CPU time that this process, and with it the stand-ins, has used so far, in seconds.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn own_cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn seconds(time: TimeVal) -> f64 {
    time.num_microseconds() as f64 / 1e6
}
