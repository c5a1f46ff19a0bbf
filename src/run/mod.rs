//! One run, from the lock to the last log line: setup, then mirror.

mod mirroring;
pub mod orders;
mod outcome;
pub mod saved;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::{self, Stop, StopReason};
use crate::dropbox::Credential;
use crate::findings::{Finding, Findings, Level, from, table};
use crate::healthcheck::{Healthcheck, Ping};
use crate::mirror::Summary;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::key::Key;
use crate::plugin::lock::{self, Lock};
use crate::plugin::own::{self, Access};
use crate::plugin::{self, PluginFolder, atomic, log as plugin_log};
use crate::record::{Record, RunRecord};
use crate::secret::Secret;
use crate::setup::Authorized;
use crate::state::{Fault, Opened, State};
use mirroring::Run;
use outcome::Outcome;

/// How a run ended, as the process's exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything done, or waiting for the admin's next setup step, or another run is going on.
    Done,
    /// Something failed; the log says what.
    Failed,
    /// For a watcher: the next run is to begin at once.
    CarriesOn,
}

/// Runs that the plugin itself asks for, one after another: a week of runs of an hour.
const CONTINUATIONS_MAX: u32 = 170;
/// How long a run waits for the lock: what holds it may be no run, but a form that was just saved.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// How often it tries meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(250);
/// Errors that a monitoring service is told.
const ERRORS_TOLD: usize = 10;

/// Does one run in `folder`. Ends early once `signalled` is set.
pub fn run(folder: &PluginFolder, signalled: Arc<AtomicBool>) -> End {
    let stop = Stop::new(signalled);
    stop.guard(|| table::hangs().log());
    let findings = Findings::default();
    let lock = match begin(folder, &stop) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            findings.add(another_run(folder));
            return End::Done;
        }
        Err(finding) => {
            findings.add(finding);
            return End::Failed;
        }
    };
    if let Err(error) = plugin_log::trim(&folder.log()) {
        findings.add(table::log_not_shortened(folder.log().display()).because(&error));
    }
    let Some(mut state) = open_state(folder, &findings) else {
        return End::Failed;
    };
    let mut record = Record::open(&folder.record());
    findings.add(table::started(env!("CARGO_PKG_VERSION")));
    if lock.is_after_a_cut_off_run {
        findings.add(table::run_cut_off());
    }

    let settings = load_settings(folder, &findings);
    tell_contradictions(folder, &mut record, &findings);
    let monitor = settings.as_ref().and_then(Monitor::new);
    monitor.iter().for_each(Monitor::tell_start);
    let started_at = clock::now();
    let outcome = settings.as_ref().map_or(Outcome::NotMirrored, |settings| {
        Run {
            folder,
            settings,
            stop: &stop,
            state: &mut state,
            record: &mut record,
            findings: &findings,
        }
        .carry_out()
    });
    let is_watched = plugin::watched_every().is_some();
    let continued = state.memory.continuations;
    // Without UISP and without a watcher there is nobody to be asked.
    if let Outcome::Mirrored(summary) = &outcome
        && (state.memory.origin.is_none() || is_watched)
    {
        let host = (!is_watched).then_some(folder);
        let continuations = &mut state.memory.continuations;
        findings.extend(continue_later(host, &stop, summary, continuations));
    }
    if let Err(error) = state.save() {
        findings.add(table::memory_unwritable("Its old content is unchanged").because(&error));
    }
    let is_well = outcome.is_complete(&findings) && state.memory.pending.is_empty();
    if let Some(monitor) = &monitor {
        monitor.tell_end(is_well, &findings);
    }
    if is_well {
        record.well_at = Some(clock::now());
    }
    record.watched_every = plugin::watched_every().map(|every| every.as_secs());
    if !outcome.waits_for_setup() {
        record.add_run(RunRecord {
            is_well,
            ..run_record(started_at, &stop, outcome.summary(), &findings)
        });
        record.configured = Some(config::fingerprints(&folder.config()));
        record.tried.clone_from(&record.configured);
        if let Err(error) = record.save() {
            findings.add(table::record_unwritable().because(&error));
        }
    }
    match outcome.end(&findings, &stop) {
        _ if is_watched && state.memory.continuations > continued => End::CarriesOn,
        end => end,
    }
}

/// Makes the data folder and takes the lock; `None` if another run holds it.
fn begin(folder: &PluginFolder, stop: &Stop) -> Result<Option<Lock>, Finding> {
    folder.look().map_err(|strange| from::strange(&strange))?;
    folder
        .make_data()
        .map_err(|error| table::data_folder_not_made(folder.data().display()).because(&error))?;
    let lock = take_lock(&folder.lock(), stop);
    let lock =
        lock.map_err(|error| table::lock_not_taken(folder.lock().display()).because(&error))?;
    if lock.is_some() {
        atomic::remove_leftovers(&folder.data());
        // For the page, which only UISP shows. Where it cannot be made, the page has no forms.
        if folder.ucrm().exists() {
            let _ = Key::make(&folder.page_key());
        }
    }
    Ok(lock)
}

fn run_record(
    started_at: DateTime<Utc>,
    stop: &Stop,
    summary: Summary,
    findings: &Findings,
) -> RunRecord {
    RunRecord {
        started_at,
        seconds: stop.age().as_secs(),
        uploaded: summary.uploaded as u64,
        uploaded_bytes: summary.uploaded_bytes,
        replaced: summary.replaced as u64,
        deleted: summary.deleted as u64,
        left: summary.left as u64,
        is_well: false,
        findings: findings.kept(),
    }
}

/// The monitoring service, if there is one.
struct Monitor(Healthcheck);

impl Monitor {
    /// What keeps it from being told keeps Dropbox from being reached, too, and is reported there.
    fn new(settings: &Settings) -> Option<Self> {
        Healthcheck::new(settings.healthcheck_url.clone()?)
            .ok()
            .map(Self)
    }

    fn tell_start(&self) {
        // Its silence costs nothing; what counts is told at the end.
        let _ = self.0.tell(Ping::Start);
    }

    /// A good word only where all is well, a bad one where something failed or may be missing; none
    /// where the run was stopped, or a backup is not finished yet.
    fn tell_end(&self, is_well: bool, findings: &Findings) {
        let bad = findings
            .kept()
            .into_iter()
            .filter(|finding| finding.level >= Level::Gap);
        let bad: Vec<String> = bad
            .take(ERRORS_TOLD)
            .map(|finding| finding.line())
            .collect();
        let told = if !bad.is_empty() {
            self.0.tell(Ping::Bad(&bad.join("\n")))
        } else if is_well {
            self.0.tell(Ping::Good)
        } else {
            Ok(())
        };
        findings.extend(told.err());
    }
}

/// The configuration, or `None` with a finding for everything that is wrong with it.
fn load_settings(folder: &PluginFolder, findings: &Findings) -> Option<Settings> {
    if !remove_identities(folder, findings) {
        return None;
    }
    let settings = config::load(&folder.config());
    findings.accept(settings.map_err(|error| from::configuration(&error)))
}

/// Tells once which variables of the environment count against the file.
fn tell_contradictions(folder: &PluginFolder, record: &mut Record, findings: &Findings) {
    // A file that cannot be read is told of elsewhere.
    let found = config::contradictions(&folder.config()).unwrap_or_default();
    if !found.is_empty() && found != record.contradictions {
        findings.add(table::environment_counts(&found.join(", ")));
    }
    record.contradictions = found;
}

/// Takes secret keys of age out of the configuration. False if they stay: such a key may be in any field, and would be
/// sent to whom that is for.
fn remove_identities(folder: &PluginFolder, findings: &Findings) -> bool {
    let path = folder.config();
    if !config::has_identities(&path) {
        return true;
    }
    let removed = config::change(&path, &Change::IdentityRemoved);
    let is_removed = removed.is_ok();
    findings.add(match removed {
        Ok(()) => table::identity_removed(),
        Err(error) => table::identity_stays().after(&from::configuration(&error)),
    });
    is_removed
}

/// Takes the lock, or returns `None` if another run holds it, which goes on for long.
fn take_lock(path: &Path, stop: &Stop) -> io::Result<Option<Lock>> {
    loop {
        let lock = Lock::take(path)?;
        if lock.is_some() || lock::look(path).is_running() || stop.age() > LOCK_PATIENCE {
            return Ok(lock);
        }
        log::debug!("The lock is held, but not by a run; it is tried again.");
        if stop.sleep(LOCK_POLL).is_err() {
            return Ok(None);
        }
    }
}

/// What is said where another run holds the lock. The zone of the log is not known yet.
fn another_run(folder: &PluginFolder) -> Finding {
    let lock::Seen::Running { since: Some(since) } = lock::look(&folder.lock()) else {
        return table::another_run("");
    };
    let text = since.format("%Y-%m-%d %H:%M UTC").to_string();
    if lock::is_stuck(since, clock::now()) {
        table::run_stuck(&text)
    } else {
        table::another_run(&format!(", since {text}"))
    }
}

/// Asks the host to start the plugin again soon when the time limit has ended a run that made
/// progress. The host does so when it finds the file; a watcher, which is no host, learns it by the exit code.
fn continue_later(
    host: Option<&PluginFolder>,
    stop: &Stop,
    summary: &Summary,
    continuations: &mut u32,
) -> Option<Finding> {
    if stop.winding_down() != Some(StopReason::TimeLimit) || summary.left == 0 {
        *continuations = 0;
        return None;
    }
    if summary.sent_bytes == 0 || *continuations >= CONTINUATIONS_MAX {
        *continuations = 0;
        return host.map(|_| table::regular_run_carries_on());
    }
    if let Err(finding) = host.map_or(Ok(()), request_run) {
        return Some(finding);
    }
    *continuations += 1;
    Some(match host {
        Some(_) => table::asked_to_carry_on(*continuations, CONTINUATIONS_MAX),
        None => table::next_run_carries_on(*continuations, CONTINUATIONS_MAX),
    })
}

/// Asks the host to start the plugin at once, which it does within about a minute.
fn request_run(folder: &PluginFolder) -> Result<(), Finding> {
    let request = folder.execution_request();
    own::open_or_make(&request, Access::Write, 0o666)
        .map_err(|error| table::not_asked_to_start().because(&error))?;
    Ok(())
}

/// Opens the memory; from here on the log is in the timezone that it knows.
fn open_state(folder: &PluginFolder, findings: &Findings) -> Option<State> {
    match State::open(&folder.state()) {
        Ok(Opened::Sound(state)) => {
            plugin_log::set_zone(state.memory.zone());
            Some(state)
        }
        Ok(Opened::Rebuilt {
            state,
            set_aside,
            cause,
        }) => {
            findings.add(table::memory_rebuilt(set_aside.display()).because(&cause));
            Some(state)
        }
        Err(error) => {
            findings.add(from::memory(&folder.state(), &Fault::Unreadable(error)));
            None
        }
    }
}

/// Tries once more to store a new authorization; returns whether it is stored now.
fn store_late(
    folder: &PluginFolder,
    credential: &Credential,
    code: &Secret,
    findings: &Findings,
) -> bool {
    let stored = Authorized::store(credential, &folder.config(), code);
    findings.add(match &stored {
        Ok(()) => table::authorization_stored(),
        Err(error) => table::authorization_lost().after(&from::configuration(error)),
    });
    stored.is_ok()
}
