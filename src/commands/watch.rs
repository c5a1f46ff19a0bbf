//! `watch`: stays, and starts runs by a schedule. For a container, or a machine without a scheduler.
//!
//! Each run is a process of its own, so that whatever becomes of it costs one run. As the first process of a
//! container it also takes note of the ends of processes that lost their parents.

mod schedule;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{AtFlags, CWD};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::{Call, Command, End, Failure};
use crate::clock::{self, Alarm, Stopwatch};
use crate::findings::table;
use crate::plugin::{self, PluginFolder, log as plugin_log};
use crate::zone::Zone;
use schedule::Schedule;

const HELP: &str = "\
Stays, and does a run at once and then by a schedule: for a container, or a
machine on which nothing else starts the program.

Usage: backup-sync-dropbox watch [--root DIR] [--every TIME]
       backup-sync-dropbox watch [--root DIR] --at HH:MM

Each run is a process of its own. The lines of the log go to standard output as
well. A run also begins when data/config.json was changed, and at once after one
that the time limit has ended in the middle of its uploads. SIGTERM and SIGINT
end everything within ten seconds; the next run carries on.

Options:
  --every TIME  The time from run to run, from 5m to 7d. Default: 1h.
  --at HH:MM    One run a day at this time of the timezone that TZ names, or of
                this machine's. If clocks skip the time, the run begins when
                they do; if they show it twice, at the first time.
  --root DIR    The plugin's folder. Default: the current folder.
  --help        Print this text and exit.

A run begins up to five minutes later than that, or up to a tenth of the time
from run to run, so that not everybody asks Dropbox in the same second.

Exit codes:
  0  A signal has ended it.
  1  The folder for its data cannot be used; the message says why.
  2  The command line is wrong, or TZ names no timezone.

Example:
  backup-sync-dropbox --root /var/lib/backup-sync-dropbox watch --at 03:30
";

/// The command.
pub const COMMAND: Command = Command {
    name: "watch",
    help: HELP,
    options: &[],
    settings: &["at", "every"],
    operands: (0, 0),
    run,
};

/// A run ends itself before this age.
const RUN_MAX: Duration = Duration::from_secs(65 * 60);
/// So long a run that was told to end may take on the wall's clock; who stops a container waits ten seconds.
const END_PATIENCE: Duration = Duration::from_secs(8);
/// How often a watcher looks at the clock, which may be set, and at the configuration.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it looks at a run, if no signal wakes it.
const LOOK_AT_RUN_EVERY: Duration = Duration::from_secs(1);
/// A clock that is set back further than this makes the schedule begin anew.
const SET_BACK_MAX: TimeDelta = TimeDelta::hours(1);

/// What the options ask for.
///
/// # Errors
/// What is wrong with them, or with `TZ`.
pub fn schedule(call: &Call) -> Result<Schedule, String> {
    let zone = Zone::of_this_machine().map_err(|name| {
        format!("there is no timezone {name:?}, which TZ names; use a name such as Europe/Vienna")
    });
    let schedule = Schedule::parse(call.value("at"), call.value("every"), || zone.clone());
    // Also where only the log goes by it.
    schedule.and_then(|schedule| zone.map(|_| schedule))
}

fn run(call: &Call) -> Result<End, Failure> {
    let schedule = schedule(call).map_err(Failure::new)?;
    see_that_data_can_be_written(&call.folder)?;
    let signalled = clock::catch_signals();
    let alarm = Alarm::new().map_err(|error| table::cannot_watch().because(&error))?;
    plugin_log::set_zone(Zone::of_this_machine().unwrap_or(Zone::UTC));
    table::watching(&schedule.to_string()).log();
    let watcher = Watcher {
        folder: &call.folder,
        schedule,
        signalled,
        alarm,
    };
    watcher.watch()?;
    table::watching_ends().log();
    Ok(End::Well)
}

/// The most frequent mistake with a container, told before anything else is tried.
fn see_that_data_can_be_written(folder: &PluginFolder) -> Result<(), Failure> {
    let data = folder.data();
    folder
        .make_data()
        .map_err(|error| table::data_folder_not_made(data.display()).because(&error))?;
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::accessat(CWD, &data, access, AtFlags::EACCESS).map_err(|error| {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let error = std::io::Error::from(error);
        table::data_not_writable(data.display(), user, group).because(&error)
    })?;
    Ok(())
}

/// How a run ended, as far as the watcher has to know.
enum RunEnd {
    /// It is over.
    Over,
    /// The time limit has ended it, and the next one is to begin at once.
    CarriesOn,
}

struct Watcher<'a> {
    folder: &'a PluginFolder,
    schedule: Schedule,
    signalled: Arc<AtomicBool>,
    alarm: Alarm,
}

impl Watcher<'_> {
    /// Starts runs until a signal comes.
    fn watch(&self) -> Result<(), Failure> {
        while !self.is_signalled() {
            // What is changed during a run counts as well. If the run itself has changed something, one more begins,
            // which finds nothing to do.
            let (begun, configured) = (clock::now(), self.configured());
            if let RunEnd::Over = self.do_run()? {
                self.wait_for_next(begun, &configured)?;
            }
        }
        Ok(())
    }

    fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }

    /// Does a run and waits for its end.
    fn do_run(&self) -> Result<RunEnd, Failure> {
        let status = match self.start() {
            Ok(child) => self.wait_for_end(&child)?,
            Err(error) => {
                table::run_not_started().because(&error).log();
                return Ok(RunEnd::Over);
            }
        };
        match status.map(|status| (status.exit_status(), status.terminating_signal())) {
            Some((Some(code), _)) if code == i32::from(plugin::CARRY_ON) => {
                return Ok(RunEnd::CarriesOn);
            }
            // It was this process that has killed it.
            _ if self.is_signalled() => {}
            Some((None, Some(signal))) => table::run_died(signal).log(),
            // It has told by itself what went wrong.
            _ => {}
        }
        Ok(RunEnd::Over)
    }

    fn start(&self) -> std::io::Result<Child> {
        // Also where the program's file has been replaced meanwhile.
        let program = "/proc/self/exe";
        let interval = self.schedule.interval().num_seconds();
        std::process::Command::new(program)
            .arg0(env!("CARGO_PKG_NAME"))
            .arg("--root")
            .arg(self.folder.root())
            .env(plugin::WATCHED, interval.to_string())
            .stdin(Stdio::null())
            .spawn()
    }

    /// Waits for the end of a run, and sees to it: a signal is passed on, and what does not end is killed. No status if
    /// somebody else has taken it.
    fn wait_for_end(&self, child: &Child) -> Result<Option<WaitStatus>, Failure> {
        let Some(child) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let send = |signal| {
            if let Err(error) = rustix::process::kill_process(child, signal) {
                log::debug!("The run cannot be sent a signal: {error}");
            }
        };
        let age = Stopwatch::start();
        let mut told_to_end = None;
        loop {
            match ended(child) {
                Ended::NotYet => {}
                Ended::With(status) => return Ok(Some(status)),
                Ended::Unknown => return Ok(None),
            }
            let is_late = told_to_end
                .is_some_and(|since: std::time::Instant| since.elapsed() >= END_PATIENCE);
            if is_late || age.elapsed() >= RUN_MAX {
                send(Signal::KILL);
            } else if self.is_signalled() && told_to_end.is_none() {
                told_to_end = Some(clock::instant());
                send(Signal::TERM);
            }
            self.wait(LOOK_AT_RUN_EVERY)?;
        }
    }

    /// Waits for the next run's time, for a change of the configuration, or for a signal.
    fn wait_for_next(
        &self,
        mut begun: DateTime<Utc>,
        known: &[Option<Mark>],
    ) -> Result<(), Failure> {
        let mut changed = None;
        let jitter = self.schedule.jitter().num_seconds();
        let jitter = TimeDelta::seconds(fastrand::i64(0..=jitter));
        while !self.is_signalled() {
            let now = clock::now();
            if begun - now > SET_BACK_MAX {
                begun = now;
            }
            let due = self.schedule.next(begun) + jitter;
            if now >= due {
                return Ok(());
            }
            let configured = self.configured();
            // Whoever is still writing it is given the time until the next look.
            if configured != known && changed.replace(configured.clone()) == Some(configured) {
                table::configuration_changed().log();
                return Ok(());
            }
            let left = (due - now).to_std().unwrap_or_default();
            self.wait(clock::wall(left.min(LOOK_EVERY)))?;
            // Orphans.
            while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        }
        Ok(())
    }

    fn wait(&self, at_most: Duration) -> Result<(), Failure> {
        let waited = self.alarm.wait(at_most);
        waited.map_err(|error| table::cannot_watch().because(&error).into())
    }

    /// What tells whether somebody has changed the configuration.
    fn configured(&self) -> Vec<Option<Mark>> {
        let code = std::env::var_os("DROPBOX_ACCESS_CODE_FILE").map(PathBuf::from);
        let files = [self.folder.config()].into_iter().chain(code);
        files.map(|file| mark(&file)).collect()
    }
}

/// Length, number and time of change of a file.
type Mark = (u64, u64, i64, i64);

fn mark(file: &Path) -> Option<Mark> {
    let seen = std::fs::metadata(file).ok()?;
    Some((seen.len(), seen.ino(), seen.mtime(), seen.mtime_nsec()))
}

/// Whether a child has ended.
enum Ended {
    NotYet,
    With(WaitStatus),
    Unknown,
}

/// Takes note of all children that have ended.
fn ended(child: Pid) -> Ended {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) if process == child => return Ended::With(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ended::NotYet,
            Err(_) => return Ended::Unknown,
        }
    }
}
