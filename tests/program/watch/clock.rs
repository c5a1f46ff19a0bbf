//! The clock goes forward by days, changes for summer and winter, and is set. Debian's libfaketime moves it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::{Watcher, output, watch};
use crate::crash::clock::faketime;
use crate::folder::world::FolderWorld;

/// A watcher whose clock shows what the test says.
pub struct Timed {
    pub world: FolderWorld,
    pub watcher: Option<Watcher>,
    zone: &'static str,
    arguments: &'static [&'static str],
    clock: PathBuf,
}

impl Timed {
    pub fn new(zone: &'static str, arguments: &'static [&'static str], now: DateTime<Utc>) -> Self {
        let world = FolderWorld::new();
        let timed = Self {
            clock: world.root().join("clock"),
            world,
            watcher: None,
            zone,
            arguments,
        };
        timed.set(now);
        timed
    }

    /// Sets the clock.
    pub fn set(&self, now: DateTime<Utc>) {
        // By its distance from the real one, so that it goes on. The file is never seen half written.
        let ahead = now - Utc::now();
        let new = self.clock.with_extension("new");
        fs::write(&new, format!("{:+}", ahead.num_seconds())).unwrap();
        fs::rename(new, &self.clock).unwrap();
    }

    /// A command line on the same clock.
    fn timed(&self, mut command: Command) -> Command {
        command
            .env("TZ", self.zone)
            .env("BACKUP_SYNC_FILES_AGE", "3000000000")
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME_TIMESTAMP_FILE", &self.clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("NO_FAKE_STAT", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }

    pub fn start(&mut self) {
        let mut command = self.timed(watch(&self.world, self.arguments));
        self.watcher = Some(Watcher::start(&mut command));
    }

    /// Whether `status` calls it healthy.
    pub fn is_healthy(&self) -> bool {
        let mut command = self.timed(self.world.command());
        let (code, told) = output(command.args(["status", "--healthy"]));
        assert!(matches!(code, Some(0 | 1)), "{told}");
        code == Some(0)
    }

    /// Waits for the end of a run, and returns its line.
    pub fn wait_for_run(&mut self) -> String {
        self.watcher.as_mut().unwrap().wait_for("Finished")
    }

    pub fn stop(&mut self) {
        let (code, told) = self.watcher.take().unwrap().end("TERM");
        assert_eq!(code, Some(0), "{told}");
    }

    /// When runs began, as clocks there show it.
    pub fn runs(&self) -> Vec<String> {
        let log = self.world.log();
        let started = log.lines().filter(|line| line.starts_with("Started"));
        let time = |line: &str| line.rsplit_once(" (").unwrap().1[..16].to_owned();
        started.map(time).collect()
    }
}

/// Days around a change of the clocks: hour by hour, so that a run too many has every opportunity.
fn days_around(zone: &'static str, at: &'static [&'static str], first: &str, expected: &[&str]) {
    let mut now: DateTime<Utc> = first.parse().unwrap();
    let mut timed = Timed::new(zone, at, now);
    timed.start();
    timed.wait_for_run();
    // What the schedule says is tested in `schedule.rs`; here it is that the watcher does it and nothing else.
    for run in expected {
        let parsed = DateTime::parse_from_str(run, "%Y-%m-%dT%H:%M%z").unwrap();
        let due = parsed.to_utc();
        now = due - TimeDelta::seconds(30);
        timed.set(now);
        now = due + TimeDelta::minutes(6);
        timed.set(now);
        timed.wait_for_run();
    }
    let runs = timed.runs();
    timed.stop();
    let days: Vec<&str> = runs.iter().skip(1).map(|time| &time[..10]).collect();
    let wanted: Vec<&str> = expected.iter().map(|time| &time[..10]).collect();
    assert_eq!(days, wanted, "{zone}: {runs:?}");
}

#[test]
fn every_civil_day_has_one_run_when_clocks_change() {
    for (zone, at, first, expected) in [
        (
            "Europe/Vienna",
            &["--at", "02:30"][..],
            "2027-03-26T12:00:00Z",
            [
                "2027-03-27T02:30+0100",
                "2027-03-28T03:00+0200",
                "2027-03-29T02:30+0200",
            ],
        ),
        (
            "America/New_York",
            &["--at", "01:45"],
            "2027-11-05T12:00:00Z",
            [
                "2027-11-06T01:45-0400",
                "2027-11-07T01:45-0400",
                "2027-11-08T01:45-0500",
            ],
        ),
        (
            "Australia/Lord_Howe",
            &["--at", "02:10"],
            "2027-10-01T12:00:00Z",
            [
                "2027-10-02T02:10+1030",
                "2027-10-03T02:30+1100",
                "2027-10-04T02:10+1100",
            ],
        ),
    ] {
        days_around(zone, at, first, &expected);
    }
}

/// A machine without a battery for its clock starts in the past or, once, in the future.
#[test]
fn a_clock_that_is_set_by_years_neither_stops_the_runs_nor_hurries_them() {
    let mut timed = Timed::new(
        "UTC",
        &["--every", "1h"],
        "2040-01-01T00:00:00Z".parse().unwrap(),
    );
    timed.start();
    timed.wait_for_run();
    let mut now: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().unwrap();
    // The hour counts from when the watcher has seen it.
    while timed.runs().len() == 1 && now.year() == 2027 {
        timed.set(now);
        now += TimeDelta::minutes(20);
        std::thread::sleep(Duration::from_millis(100));
    }
    timed.wait_for_run();
    let runs = timed.runs();
    assert!(runs[1].starts_with("2027-"), "{runs:?}");
    timed.stop();
}
