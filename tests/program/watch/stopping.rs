//! Whoever stops a container waits ten seconds, and then everything in it is killed.

use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Watcher, fs_children, held, watch};
use crate::folder::world::FolderWorld;
use crate::support::PATIENCE;

#[test]
fn a_signal_ends_the_run_that_goes_on_and_the_next_watcher_carries_on() {
    for signal in ["TERM", "INT"] {
        let world = FolderWorld::new();
        world.write("dump.sql", "one");
        let (watcher, gate) = held(&world);
        let run = fs_children(watcher.child.id());
        let (code, told) = watcher.end(signal);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains("Finished early, because the run was asked to stop"),
            "{told}"
        );
        assert!(!fs::exists(format!("/proc/{run}")).unwrap(), "{told}");
        gate.open();
        let mut watcher = Watcher::start(&mut watch(&world, &[]));
        watcher.wait_for("Finished: 1 uploaded");
        assert_eq!(watcher.end(signal).0, Some(0));
    }
}

/// A run that hangs in the kernel, as on a file server that gives no answer, does not hold the watcher.
#[test]
fn a_run_that_hangs_is_killed() {
    let world = FolderWorld::new();
    world.write("dump.sql", "one");
    let pipe = world.root().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = watch(&world, &[]);
    command
        .env("BACKUP_SYNC_HANG", &pipe)
        .env_remove("BACKUP_SYNC_CLOCK_SPEED");
    let watcher = Watcher::start(&mut command);
    let (sender, hangs) = mpsc::channel();
    std::thread::spawn(move || sender.send(fs::File::open(pipe)));
    let _pipe = hangs.recv_timeout(PATIENCE).unwrap();
    let run = fs_children(watcher.child.id());
    assert_eq!(watcher.end("TERM").0, Some(0));
    assert!(!fs::exists(format!("/proc/{run}")).unwrap());
    let mut watcher = Watcher::start(&mut watch(&world, &[]));
    watcher.wait_for("WARNING: The run before this one was cut off");
    watcher.wait_for("Finished: 1 uploaded");
}

/// Only root can make a world of processes in which the watcher is the first one.
#[test]
fn the_first_process_takes_note_of_the_end_of_orphans() {
    if !nix::unistd::geteuid().is_root() {
        println!("Not tested: only root can do it.");
        return;
    }
    let world = FolderWorld::new();
    let plain = watch(&world, &["--every", "7d"]);
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(
            plain
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdout(std::process::Stdio::piped());
    let mut watcher = Watcher::start(&mut command);
    watcher.wait_for("Finished");
    let first = fs_children(watcher.child.id()).to_string();
    // A process whose parent ends before it.
    let orphan = "(sleep 0.1; echo) >/dev/null & :";
    let mut enter = Command::new("nsenter");
    enter.args(["--pid", "--target", &first, "sh", "-c", orphan]);
    assert!(enter.status().unwrap().success());
    let children = format!("/proc/{first}/task/{first}/children");
    let has_none = || fs::read_to_string(&children).unwrap().trim().is_empty();
    let deadline = Instant::now() + PATIENCE;
    while !has_none() {
        assert!(Instant::now() < deadline, "{children}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
