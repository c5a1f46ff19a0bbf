//! One run, from the lock to the last log line: setup, then mirror.

mod announce;
mod mirroring;
mod outcome;
pub mod saved;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock::{self, Stop, StopReason};
use crate::dropbox::Credential;
use crate::healthcheck::{Healthcheck, Ping};
use crate::mirror::Summary;
use crate::open;
use crate::plugin::config::{self, Settings};
use crate::plugin::lock::{self, Lock};
use crate::plugin::{PluginFolder, atomic, log as plugin_log};
use crate::secret::Secret;
use crate::setup::{Authorized, NotAuthorized};
use crate::state::{Opened, RunRecord, State};
use crate::zone::Zone;
use mirroring::Run;
use outcome::{Outcome, report};

/// How a run ended, as the process's exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything done, or waiting for the admin's next setup step, or another run is going on.
    Done,
    /// Something failed; the log says what.
    Failed,
}

/// Runs that the plugin itself asks for, one after another: a week of runs of an hour.
const CONTINUATIONS_MAX: u32 = 170;
/// How long a run waits for the lock: what holds it may be no run, but a form that was just saved.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// How often it tries meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// Does one run in `folder`. Ends early once `signalled` is set.
pub fn run(folder: &PluginFolder, signalled: Arc<AtomicBool>) -> End {
    let stop = Stop::new(signalled);
    if let Err(error) = std::fs::create_dir_all(folder.data()) {
        log::error!(
            "The plugin's data folder {} cannot be made. Correct the permissions of the plugin's folder. Cause: {error}.",
            folder.data().display()
        );
        return End::Failed;
    }
    atomic::adopt(&folder.data());
    let lock = match take_lock(&folder.lock(), &stop) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            log::info!("Another run is still going on; this one ends without doing anything.");
            return End::Done;
        }
        Err(error) => {
            log::error!(
                "The lock {} cannot be taken, so it is not certain that no other run is going on. Correct the permissions of the plugin's data folder. Cause: {error}.",
                folder.lock().display()
            );
            return End::Failed;
        }
    };
    atomic::remove_leftovers(&folder.data());
    plugin_log::trim(&folder.log());
    let Some(mut state) = open_state(folder) else {
        return End::Failed;
    };
    log::info!(
        "Started: backup-sync-dropbox {}.",
        env!("CARGO_PKG_VERSION")
    );
    if lock.is_after_a_cut_off_run {
        log::warn!(
            "The run before this one was cut off before its end: by the host's limit of one hour, a restart, a lack of memory or a kill. This one carries on; there is nothing to do unless this repeats."
        );
    }

    let settings = load_settings(folder);
    let healthcheck = settings.as_ref().and_then(open_healthcheck);
    let tell = |ping| {
        if let Some(healthcheck) = &healthcheck {
            healthcheck.tell(ping);
        }
    };
    tell(Ping::Start);
    let started_at = clock::now();
    let mut outcome = match &settings {
        Some(settings) => Run {
            folder,
            settings,
            stop: &stop,
            state: &mut state,
        }
        .carry_out(),
        None => Outcome::NotMirrored,
    };
    // Without UISP there is nobody to be asked.
    if let Outcome::Mirrored { summary, .. } = &outcome
        && state.memory.backup_folder.is_none()
    {
        continue_later(folder, &stop, summary, &mut state.memory.continuations);
    }
    if !matches!(outcome, Outcome::Setup(NotAuthorized::Waiting)) {
        let summary = outcome.summary();
        state.memory.record_run(RunRecord {
            started_at,
            seconds: stop.age().as_secs(),
            succeeded: !outcome.has_failed(),
            uploaded: summary.uploaded as u64,
            uploaded_bytes: summary.uploaded_bytes,
            deleted: summary.deleted as u64,
            left: summary.left as u64,
            error: plugin_log::last_error(),
        });
        if let Err(error) = state.save() {
            log::error!(
                "The plugin's memory (data/state.json) could not be written at the end of the run. Free disk space or correct the permissions of the plugin's data folder. Cause: {error}."
            );
            outcome = outcome.failed();
        }
    }
    if outcome.has_failed() {
        let error = plugin_log::last_error().unwrap_or_default();
        tell(Ping::Bad(&error));
    } else if outcome.is_complete() {
        tell(Ping::Good);
    }
    report(&outcome, &stop)
}

/// The configuration, or `None` with an ERROR for everything that is wrong with it.
fn load_settings(folder: &PluginFolder) -> Option<Settings> {
    match config::load(&folder.config()) {
        Ok(settings) => Some(settings),
        Err(config::Error::Invalid(problems)) => {
            problems.iter().for_each(|problem| log::error!("{problem}"));
            None
        }
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}

/// The monitoring service, if there is one. What keeps it from being told keeps Dropbox from being
/// reached too, and is reported there.
fn open_healthcheck(settings: &Settings) -> Option<Healthcheck> {
    Healthcheck::new(settings.healthcheck_url.clone()?).ok()
}

/// Takes the lock, or returns `None` if another run holds it, which goes on for long.
fn take_lock(path: &Path, stop: &Stop) -> io::Result<Option<Lock>> {
    loop {
        let lock = Lock::take(path)?;
        if lock.is_some() || lock::look(path) == lock::Seen::Running || stop.age() > LOCK_PATIENCE {
            return Ok(lock);
        }
        log::debug!("The lock is held, but not by a run; it is tried again.");
        if stop.sleep(LOCK_POLL).is_err() {
            return Ok(None);
        }
    }
}

/// Asks the host to start the plugin again soon when the time limit has ended a run that made
/// progress. The host does so when it finds the file.
fn continue_later(folder: &PluginFolder, stop: &Stop, summary: &Summary, continuations: &mut u32) {
    if stop.winding_down() != Some(StopReason::TimeLimit) || summary.left == 0 {
        *continuations = 0;
        return;
    }
    if summary.sent_bytes == 0 || *continuations >= CONTINUATIONS_MAX {
        log::info!(
            "UISP is not asked to start the plugin again at once; its next regular run carries on."
        );
        *continuations = 0;
        return;
    }
    if request_run(folder) {
        *continuations += 1;
        log::info!(
            "UISP is asked to start the plugin again at once, so that it carries on ({continuations} of at most {CONTINUATIONS_MAX} times in a row)."
        );
    }
}

/// Asks the host to start the plugin at once, which it does within about a minute.
fn request_run(folder: &PluginFolder) -> bool {
    match std::fs::File::create(folder.execution_request()) {
        Ok(_) => {
            atomic::adopt(&folder.execution_request());
            true
        }
        Err(error) => {
            log::warn!(
                "UISP could not be asked to start the plugin at once; its next regular run carries on. Correct the permissions of the plugin's folder. Cause: {error}."
            );
            false
        }
    }
}

/// Opens the memory; from here on the log is in the timezone that it knows.
fn open_state(folder: &PluginFolder) -> Option<State> {
    match State::open(&folder.state()) {
        Ok(Opened::Sound(state)) => {
            let zone = state.memory.timezone.as_deref();
            let known = zone.and_then(|name| name.parse().ok());
            plugin_log::set_zone(known.unwrap_or(Zone::UTC));
            Some(state)
        }
        Ok(Opened::Rebuilt {
            state,
            set_aside,
            cause,
        }) => {
            log::warn!(
                "The plugin's memory (data/state.json) is damaged; it was set aside as {} and is built anew. Nothing is deleted in Dropbox in this run, and every file there is compared with its backup again. There is nothing to do. Cause: {cause}.",
                set_aside.display()
            );
            Some(state)
        }
        Err(error) => {
            log::error!(
                "The plugin's memory {} cannot be read. Correct the permissions of the plugin's data folder. Cause: {error}.",
                folder.state().display()
            );
            None
        }
    }
}

/// Tries once more to store a new authorization; says how that went.
fn store_late(folder: &PluginFolder, credential: &Credential, code: &Secret) -> bool {
    let stored = Authorized::store(credential, &folder.config(), code);
    match &stored {
        Ok(()) => log::info!("The new authorization is stored now."),
        Err(error) => log::error!(
            "The new authorization is lost, because it could not be stored. {error} Then authorize again: the log shows how."
        ),
    }
    stored.is_ok()
}

/// The value, or `None` with an ERROR for each thing that is wrong.
fn log_all<T>(opened: Result<T, Vec<open::Error>>) -> Option<T> {
    opened
        .map_err(|errors| errors.iter().for_each(|error| log::error!("{error}")))
        .ok()
}
