//! Runs that are going to be killed, and runs after that.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Ended, World};

/// The exit code of a process that was killed.
pub const KILLED: Option<i32> = None;

/// Program seconds in a second. Less than elsewhere, so that no timeout passes on a busy machine
/// or under strace.
const CLOCK_SPEED: &str = "20";

/// The binary's command line, for a run that may take its time.
pub fn patient(world: &World) -> Command {
    let mut command = world.command();
    command.env("BACKUP_SYNC_CLOCK_SPEED", CLOCK_SPEED);
    command
}

/// Does one run that nobody disturbs.
pub fn healthy_run(world: &World) -> Ended {
    run_with_output(world, &mut patient(world))
}

/// Does one run. What it has to say is in the log, or on standard error where the log refuses.
pub fn run_with_output(world: &World, command: &mut Command) -> Ended {
    let before = world.log();
    let output = command.output().unwrap();
    let after = world.log();
    // A run removes the progress lines that a killed one left at the end.
    let is_kept = |(old, new): &(&str, &str)| old == new;
    let old_lines = before.split_inclusive('\n');
    let kept = old_lines.zip(after.split_inclusive('\n'));
    let kept: usize = kept.take_while(is_kept).map(|(line, _)| line.len()).sum();
    Ended {
        code: output.status.code(),
        log: after[kept..].to_owned() + &String::from_utf8(output.stderr).unwrap(),
    }
}

/// Whether this is root, who may mount disks and give files away; says what is left out if not.
pub fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        println!("Not tested: disks and owners of files, which only root can change.");
    }
    is_root
}

/// Copies the binary. By another process: a descriptor open for writing here would be inherited by
/// what other tests start meanwhile, and the copy be "busy".
pub fn copy_binary(to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg(env!("CARGO_BIN_EXE_backup-sync-dropbox")).arg(to);
    assert!(copy.status().unwrap().success());
}

/// The same command line for another copy of the binary.
pub fn with_program(program: &Path, plain: &Command) -> Command {
    let mut command = Command::new(program);
    command.args(plain.get_args()).env_clear();
    let variables = plain.get_envs();
    command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Where strace is.
pub fn strace() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("strace"));
    let place = places.find(|program| program.exists());
    place.expect("these tests need strace; ./build.sh test installs it")
}

/// The same command line under strace, which writes down these system calls and tampers with them
/// as `tampering` says, if it says anything.
pub fn under_strace(plain: &Command, calls: &str, tampering: &str, trace: &Path) -> Command {
    let mut command = with_program(&strace(), &Command::new(""));
    // Not with --seccomp-bpf: it makes strace 6.1 lose count of the calls.
    command.args(["-f", "-qq", "-o"]).arg(trace);
    command.args(["-e", &format!("trace={calls}")]);
    if !tampering.is_empty() {
        command.args(["-e", &format!("inject={calls}:{tampering}")]);
    }
    command.arg(plain.get_program()).args(plain.get_args());
    let variables = plain.get_envs();
    command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
    command
}
