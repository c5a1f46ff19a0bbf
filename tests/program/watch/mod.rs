//! `watch`: the real program as it stays, starts runs and is stopped.

mod clock;
mod six_weeks;
mod stopping;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output};
use std::sync::mpsc::{self, Receiver};

use serde_json::json;

use crate::folder::world::FolderWorld;
use crate::support::{PATIENCE, World, send_signal};

/// A watcher, and the lines of its standard output.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// The command line of a watcher.
fn watch(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command();
    command.arg("watch").args(arguments);
    command
}

impl Watcher {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .try_for_each(|line| sender.send(line.unwrap()))
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for the next line that has this in it.
    fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal and waits for the end: the exit code, and what was still said.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        send_signal(self.child.id(), signal);
        let code = self.child.wait().unwrap().code();
        self.seen.extend(self.lines.iter());
        (code, self.seen.join("\n"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A test that has failed leaves nothing behind.
        let _ = self.child.kill();
    }
}

fn output(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let told = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code(), told)
}

#[test]
fn a_time_or_a_zone_that_does_not_exist_ends_with_two() {
    let world = World::fresh();
    for (arguments, zone, hint) in [
        (&["--at", "25:00"][..], "", "--at needs a time"),
        (&["--at", "soon"], "", "not \"soon\""),
        (&["--every", "1"], "", "--every needs a time"),
        (&["--every", "1m"], "", "from 5m to 7d"),
        (
            &["--at", "03:00", "--every", "1h"],
            "",
            "exclude each other",
        ),
        (
            &["--at", "03:00"],
            "Europe/Wien",
            "\"Europe/Wien\", which TZ names",
        ),
        (&[], "CET-1CEST", "\"CET-1CEST\", which TZ names"),
        (&["now"], "", "now"),
    ] {
        let (code, told) = output(watch(&world, arguments).env("TZ", zone));
        assert_eq!(code, Some(2), "{arguments:?} {told}");
        assert!(told.contains(hint), "{arguments:?} {told}");
    }
    assert_eq!(world.log(), "");
}

#[test]
fn a_run_at_the_start_whose_lines_are_told_and_one_after_each_change_of_the_configuration() {
    let world = FolderWorld::new();
    world.write("dump.sql", "one");
    let mut command = watch(&world, &["--every", "7d"]);
    let mut watcher = Watcher::start(command.env("TZ", "Pacific/Auckland"));
    watcher.wait_for("Watching: a run now, and then every 168 h");
    watcher.wait_for("Finished: 1 uploaded");
    world.assert_stored(&["dump.sql"]);
    world.write("dump-2.sql", "two");
    world.configure(json!({"keepDeletedDays": 3}));
    watcher.wait_for("The configuration was changed");
    watcher.wait_for("Finished: 1 uploaded");
    world.assert_stored(&["dump.sql", "dump-2.sql"]);
    let (code, told) = watcher.end("TERM");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.matches("Started:").count(), 2, "{told}");
    // The same lines in the same order, with the same times.
    assert_eq!(told.trim(), world.log().trim());
    assert!(told.lines().all(|line| line.ends_with(":00)")), "{told}");
    assert!(told.lines().last().unwrap().contains("The watcher ends"));
}

/// What the first run of a container shows: the address, and what to do with the code.
#[test]
fn a_code_that_is_pasted_meanwhile_is_used_soon() {
    let world = FolderWorld::not_authorized();
    world.write("dump.sql", "one");
    let mut watcher = Watcher::start(&mut watch(&world, &["--at", "03:30"]));
    let url = watcher.wait_for("/authorize?");
    watcher.wait_for("Finished");
    let code = world.dropbox.allow(&url).unwrap();
    world.configure(json!({"dropboxAccessCode": code}));
    watcher.wait_for("Authorized");
    watcher.wait_for("Finished: 1 uploaded");
    assert_eq!(watcher.end("INT").0, Some(0));
}

#[test]
fn a_run_that_panics_or_is_killed_costs_one_run() {
    let world = FolderWorld::new();
    world.write("dump.sql", "one");
    let mut watcher = Watcher::start(watch(&world, &[]).env("BACKUP_SYNC_PANIC", "1"));
    for days in 1..3 {
        watcher.wait_for("ERROR: The plugin has ended because of a bug in it");
        world.configure(json!({"keepDeletedDays": days}));
    }
    assert_eq!(watcher.end("TERM").0, Some(0));

    let (mut watcher, gate) = held(&world);
    let run = fs_children(watcher.child.id());
    send_signal(run, "KILL");
    watcher.wait_for("ERROR: A run was ended by signal 9");
    gate.open();
    world.configure(json!({"keepDeletedDays": 3}));
    watcher.wait_for("WARNING: The run before this one was cut off");
    watcher.wait_for("Finished: 1 uploaded");
    assert_eq!(watcher.end("TERM").0, Some(0));
}

/// A watcher whose run waits for Dropbox.
fn held(world: &World) -> (Watcher, sandbox::http::Gate) {
    let gate = sandbox::http::Gate::new();
    let hold = sandbox::http::Action::Hold(gate.clone());
    world
        .dropbox
        .inject(sandbox::http::On::next("files/list_folder"), hold);
    let watcher = Watcher::start(&mut watch(world, &[]));
    assert!(gate.wait_reached(PATIENCE), "{}", world.log());
    (watcher, gate)
}

/// The one child of a process.
fn fs_children(process: u32) -> u32 {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(path).unwrap();
    children.trim().parse().unwrap()
}

#[test]
fn health_is_told_by_the_age_of_the_last_run_that_found_all_well() {
    let world = FolderWorld::new();
    let health = |arguments: &[&str]| {
        let mut command = world.command();
        command.args(["status", "--healthy"]).args(arguments);
        let (code, told) = output(&mut command);
        assert_eq!(told.lines().count(), 1, "{told}");
        (code, told)
    };
    assert_eq!(
        health(&[]),
        (
            Some(1),
            "Not healthy: no run has found all well yet\n".into()
        )
    );
    world.write("dump.sql", "one");
    world.run_well();
    assert_eq!(health(&[]).0, Some(0));
    assert_eq!(health(&["0.5"]).0, Some(0));
    // One that finds a gap, or fails, does not make it young again, however often it comes.
    let ago = |hours: i64, watched: Option<u64>| {
        let mut record = world.record();
        let then = chrono::Utc::now() - chrono::TimeDelta::minutes(60 * hours - 1);
        record["well_at"] = json!(then);
        record["watched_every"] = json!(watched);
        std::fs::write(world.data("record.json"), record.to_string()).unwrap();
    };
    for (hours, watched, arguments, expected) in [
        (26, None, &[][..], 0),
        (27, None, &[], 1),
        (2, Some(3600), &[], 0),
        (3, Some(3600), &[], 1),
        (48, Some(86400), &[], 0),
        (49, Some(86400), &[], 1),
        (49, Some(86400), &["50"], 0),
        (3, None, &["2"], 1),
        // The clock was ahead.
        (-1, None, &[], 1),
    ] {
        ago(hours, watched);
        let (code, told) = health(arguments);
        assert_eq!(
            code,
            Some(expected),
            "{hours} {watched:?} {arguments:?} {told}"
        );
    }
    ago(30, None);
    std::os::unix::fs::symlink("/nowhere", world.path("link")).unwrap();
    world.run_well();
    assert_eq!(health(&[]).0, Some(1));
    std::fs::remove_file(world.path("link")).unwrap();
    world.run_well();
    assert_eq!(health(&[]).0, Some(0));
    for (arguments, hint) in [
        (&["status", "--healthy", "soon"][..], "a number of hours"),
        (&["status", "--healthy", "-1"], "-1"),
        (&["status", "5"], "is for --healthy"),
    ] {
        let (code, told) = output(world.command().args(arguments));
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(hint), "{told}");
    }
}
