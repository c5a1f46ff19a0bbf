//! One run, from the lock to the last log line: setup, then mirror.

pub mod saved;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::advice;
use crate::backup_id::BackupId;
use crate::clock::{self, Stop, StopReason};
use crate::dropbox::files::Entry;
use crate::dropbox::users::Space;
use crate::dropbox::{self, Credential, Dropbox};
use crate::healthcheck::{Healthcheck, Ping};
use crate::mirror::plan::{KeepReason, Plan, Unfit};
use crate::mirror::survey::{self, Survey};
use crate::mirror::{Mirror, Summary, inventory, transfer};
use crate::open;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::lock::{self, Lock};
use crate::plugin::{PluginFolder, atomic, log as plugin_log};
use crate::secret::Secret;
use crate::setup::{Authorized, NotAuthorized, Setup};
use crate::source::{self, Kind, Listing, Source};
use crate::state::{self, Opened, RunRecord, State};
use crate::text;
use crate::zone::Zone;

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
/// Names of files quoted in one line.
const NAMES_IN_A_LINE: usize = 5;

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

/// What a run came to.
enum Outcome {
    /// It ended in setup.
    Setup(NotAuthorized),
    /// Source or mirror folder could not be read, or the configuration cannot be used.
    NotMirrored,
    /// It had to stop before it knew what to do.
    Stopped,
    /// It mirrored, with this result.
    Mirrored { summary: Summary, unchanged: usize },
}

impl Outcome {
    /// What was done.
    fn summary(&self) -> Summary {
        match self {
            Self::Mirrored { summary, .. } => *summary,
            _ => Summary::default(),
        }
    }

    /// Whether something failed.
    fn has_failed(&self) -> bool {
        match self {
            Self::Mirrored { summary, .. } => summary.failed > 0,
            Self::Setup(NotAuthorized::Failed) | Self::NotMirrored => true,
            Self::Setup(NotAuthorized::Waiting | NotAuthorized::Stopped) | Self::Stopped => false,
        }
    }

    /// Whether every backup is in Dropbox.
    fn is_complete(&self) -> bool {
        matches!(self, Self::Mirrored { summary, .. } if summary.failed == 0 && summary.left == 0)
    }

    /// The same with one more failure.
    fn failed(self) -> Self {
        match self {
            Self::Mirrored {
                mut summary,
                unchanged,
            } => {
                summary.failed += 1;
                Self::Mirrored { summary, unchanged }
            }
            _ => Self::NotMirrored,
        }
    }
}

/// Writes the last line of the run.
fn report(outcome: &Outcome, stop: &Stop) -> End {
    let took = text::duration(stop.age());
    let Outcome::Mirrored { summary, unchanged } = outcome else {
        return match outcome {
            Outcome::Setup(NotAuthorized::Waiting) => {
                log::info!(
                    "Finished: waiting for the next step of the setup; nothing was mirrored."
                );
                End::Done
            }
            Outcome::Setup(NotAuthorized::Stopped) | Outcome::Stopped => {
                log::warn!(
                    "Finished early, because the run was asked to stop or took too long: nothing was mirrored, in {took}. The next run carries on."
                );
                End::Done
            }
            _ => {
                log::error!(
                    "Finished: nothing was mirrored, in {took}. The errors above say what to do."
                );
                End::Failed
            }
        };
    };
    let mut parts = vec![
        format!(
            "{} uploaded ({})",
            summary.uploaded,
            text::bytes(summary.uploaded_bytes)
        ),
        format!("{} deleted", summary.deleted),
        format!("{} unchanged", unchanged + summary.verified),
    ];
    if summary.left > 0 {
        parts.push(format!("{} left for the next run", summary.left));
    }
    if summary.failed > 0 {
        parts.push(format!("{} failed", summary.failed));
    }
    let parts = parts.join(", ");
    if summary.failed > 0 {
        log::error!("Finished: {parts}, in {took}. The errors above say what to do.");
        return End::Failed;
    }
    match stop.requested().or(stop.winding_down()) {
        Some(StopReason::Signal) => log::warn!(
            "Finished early, because the run was asked to stop: {parts}, in {took}. The next run carries on."
        ),
        Some(StopReason::TimeLimit) if summary.left > 0 => log::warn!(
            "Finished early, because the host ends runs after an hour: {parts}, in {took}. The next run carries on."
        ),
        _ => log::info!("Finished: {parts}, in {took}."),
    }
    End::Done
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

/// What a run works with.
struct Run<'a> {
    folder: &'a PluginFolder,
    settings: &'a Settings,
    stop: &'a Stop,
    state: &'a mut State,
}

impl Run<'_> {
    fn carry_out(&mut self) -> Outcome {
        let settings = self.settings;
        let source = log_all(open::source(self.folder, settings, self.stop));
        let Some((http, hosts)) = log_all(open::dropbox(settings, self.stop)) else {
            return Outcome::NotMirrored;
        };
        let stop = self.stop;
        let shutdown = || {
            http.shutdown();
            source.iter().for_each(|source| source.shutdown());
        };
        stop.watch(shutdown, || {
            let mut setup = Setup {
                http: &http,
                hosts: &hosts,
                stop,
                config: self.folder.config(),
                state: self.state,
            };
            let authorized = match setup.authorize(settings) {
                Ok(authorized) => authorized,
                // The way on is shown also where the source is not configured yet.
                Err(NotAuthorized::Waiting) if source.is_none() => return Outcome::NotMirrored,
                Err(reason) => return Outcome::Setup(reason),
            };
            let Some(source) = source.as_deref() else {
                return Outcome::NotMirrored;
            };
            let dropbox = Dropbox::new(
                http.clone(),
                hosts.clone(),
                stop.clone(),
                authorized.credential.clone(),
                authorized.access_token,
            );
            let outcome = self.mirror(source, &dropbox);
            match &authorized.unstored {
                Some(code) => self.store_late(&authorized.credential, code, outcome),
                None => outcome,
            }
        })
    }

    /// Stores a new authorization that could not be stored when it was made.
    fn store_late(&self, credential: &Credential, code: &Secret, outcome: Outcome) -> Outcome {
        if store_late(self.folder, credential, code) {
            outcome
        } else {
            outcome.failed()
        }
    }

    fn mirror(&mut self, source: &dyn Source, dropbox: &Dropbox) -> Outcome {
        let settings = self.settings;
        let creates = settings.create_backup && source.kind() == Kind::Uisp;
        let fresh_backup_failed = creates && !create_backup(source);
        let asks_for_space = !self.state.memory.space_is_unknowable;
        let Some(survey) = Survey::new(source, dropbox, settings, asks_for_space) else {
            return Outcome::NotMirrored;
        };
        if self.stop.requested().is_some() {
            return Outcome::Stopped;
        }
        self.note_space(survey.space);
        let zone = self.zone(survey.timezone);
        let listing = usable_listing(survey.listing, source.kind());
        let (Some(listing), Some(entries)) = (listing, usable_entries(survey.entries)) else {
            return Outcome::NotMirrored;
        };
        let memory = &self.state.memory;
        let now = clock::now();
        let plan = survey::plan(&listing, &entries, memory, settings, zone, now);
        let inventory = inventory::take(
            &listing,
            &entries,
            survey::naming(settings, zone),
            &plan,
            &memory.mirrored,
            now,
        );
        self.state.memory.inventory = Some(inventory);
        self.state
            .memory
            .backup_folder
            .clone_from(&settings.backup_directory);
        announce(&plan, &listing, source.kind());
        let mut summary = Mirror {
            source,
            dropbox,
            stop: self.stop,
            state: self.state,
            folder: &settings.mirror_folder,
            lanes: transfer::lanes(settings.upload_bytes_per_second),
        }
        .carry_out(&plan);
        // Deletions do not wait for it: nothing that is deleted depends on it.
        summary.failed += usize::from(fresh_backup_failed);
        if settings.confirm_cleanup && summary.deletions_done && plan.unfit.is_none() {
            self.untick_cleanup(&mut summary);
        }
        Outcome::Mirrored {
            summary,
            unchanged: plan.unchanged,
        }
    }

    /// Remembers how much space there is, for the status page.
    fn note_space(&mut self, asked: Option<Result<Option<Space>, dropbox::Error>>) {
        let memory = &mut self.state.memory;
        match asked {
            Some(Ok(Some(Space { used, allocated }))) => {
                memory.space = Some(state::Space {
                    used,
                    allocated,
                    asked_at: clock::now(),
                });
            }
            Some(Err(
                dropbox::Error::MissingScope { .. } | dropbox::Error::LegacyTokenRefused { .. },
            )) => {
                memory.space = None;
                memory.space_is_unknowable = true;
            }
            Some(Err(error)) => log::debug!("The space in Dropbox is not known: {error}"),
            Some(Ok(None)) | None => {}
        }
    }

    /// The host's timezone: UISP's word, else that of an earlier run, else UTC.
    fn zone(&mut self, asked: Result<Zone, String>) -> Zone {
        let zone = asked.unwrap_or_else(|cause| {
            let zone = plugin_log::zone();
            log::warn!("UISP's timezone is not known, so times are in {}, also in the names of new files. Backups are recognised all the same. If this repeats, set the timezone in UISP's settings. Cause: {cause}.", zone.name());
            zone
        });
        plugin_log::set_zone(zone);
        self.state.memory.timezone = Some(zone.name().to_owned());
        zone
    }

    fn untick_cleanup(&self, summary: &mut Summary) {
        match config::change(&self.folder.config(), &Change::CleanupDone) {
            Ok(()) => {
                log::info!("The clean-up is done; its box in the configuration is unticked again.")
            }
            Err(error) => {
                summary.failed += 1;
                log::error!(
                    "The clean-up is done, but its box could not be unticked; please untick it. {error}"
                );
            }
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

/// Has the source make a fresh backup; returns whether it did.
fn create_backup(source: &dyn Source) -> bool {
    log::info!(
        "{} makes a fresh backup first.",
        source.kind().name_at_start()
    );
    match source.create() {
        Ok(()) => true,
        // The rest of the run says so.
        Err(source::Error::Stopped(_)) => true,
        Err(error) => {
            log::error!(
                "A fresh backup could not be made; those that exist are mirrored. {}. Cause: {error}.",
                advice::creation(&error)
            );
            false
        }
    }
}

fn usable_listing(listing: Result<Listing, source::Error>, kind: Kind) -> Option<Listing> {
    let source = kind.name_at_start();
    listing
        .map_err(|error| log::error!("{source}'s list of backups could not be read, so nothing is mirrored and nothing is deleted. {}. Cause: {error}.", advice::listing(&error)))
        .ok()
}

fn usable_entries(entries: Result<Vec<Entry>, dropbox::Error>) -> Option<Vec<Entry>> {
    entries
        .map_err(|error| log::error!("The mirror folder in Dropbox could not be listed, so nothing is mirrored. {}. Cause: {error}.", advice::dropbox(&error)))
        .ok()
}

/// Says what is going to happen, and what needs attention.
fn announce(plan: &Plan, listing: &Listing, kind: Kind) {
    let (source, source_at_start) = (kind.name(), kind.name_at_start());
    for problem in &listing.problems {
        log::warn!(
            "{source_at_start}'s list of backups has an entry that cannot be used: {problem}."
        );
    }
    match plan.unfit {
        Some(Unfit::BadRows) => log::warn!(
            "Because {source}'s list has entries that cannot be used, nothing is deleted in Dropbox in this run; usable backups are uploaded. If this repeats, {}.",
            advice::unusable_entries(kind)
        ),
        Some(Unfit::NothingFinished) => log::warn!(
            "{source_at_start} lists no finished backup, so nothing is deleted in Dropbox. {}.",
            advice::nothing_finished(kind)
        ),
        None => {}
    }
    let finished = listing
        .backups
        .iter()
        .filter(|backup| backup.finished)
        .count();
    log::info!(
        "{source_at_start} has {}: {} to upload, {} to compare, {} unchanged.",
        text::count(finished, "finished backup"),
        plan.uploads.len(),
        plan.verifications.len(),
        plan.unchanged
    );
    if kind == Kind::Folder {
        announce_files(plan, listing);
    }
    let held: Vec<&str> = plan.kept_as(KeepReason::OnHold).collect();
    if !held.is_empty() {
        log::warn!(
            "{} in Dropbox would be deleted because {source} no longer lists their backups, but that is most of what the mirror holds, as after {}. Nothing of it is deleted: {}. If the backups were deleted on purpose, {}; otherwise there is nothing to do.",
            text::count(held.len(), "file"),
            advice::sudden_loss(kind),
            text::list(held.iter().copied(), NAMES_IN_A_LINE),
            advice::confirm_cleanup(kind)
        );
    }
    let unknown: Vec<&str> = plan.kept_as(KeepReason::NeverSeen).collect();
    if !unknown.is_empty() {
        log::info!(
            "Kept {} in Dropbox that this installation never saw in {source} (from another server, or from before): {}.",
            text::count(unknown.len(), "backup"),
            text::list(unknown.iter().copied(), NAMES_IN_A_LINE)
        );
    }
}

/// Says what is special about backups that are files and may change.
fn announce_files(plan: &Plan, listing: &Listing) {
    if !listing.passed_over.is_empty() {
        log::warn!(
            "Dropbox cannot hold some files of the backup folder, so they are not mirrored: {}. Rename them, or move them out of the folder.",
            listing.passed_over.join("; ")
        );
    }
    if !listing.renamed.is_empty() {
        log::info!(
            "Dropbox takes some names of the backup folder for the same, so these files have other names there: {}.",
            listing.renamed.join("; ")
        );
    }
    for upload in &plan.uploads {
        let Some(replaced) = &upload.replaces else {
            continue;
        };
        if let Some((before, after)) = upload.sudden_shrink() {
            log::warn!(
                "\"{}\" has suddenly become much smaller: {} instead of {}. It replaces the copy in Dropbox all the same. Check whether it is a whole backup; if not, Dropbox keeps the larger one among the file's previous versions, as a rule for 30 days.",
                upload.name,
                text::bytes(after),
                text::bytes(before)
            );
        } else if !replaced.is_outdated {
            log::warn!(
                "The copy of \"{}\" in Dropbox is not what this program stored there or knows ({} instead of {}). {}. It is replaced now; there is nothing to do.",
                upload.name,
                text::bytes(replaced.file.size),
                text::bytes(upload.backup.version.map_or(0, |version| version.bytes)),
                advice::differing_copy(Kind::Folder)
            );
        }
    }
    announce_waiting(plan, listing);
}

/// Names the files of a backup folder that have no finished backup, by their reasons.
fn announce_waiting(plan: &Plan, listing: &Listing) {
    let (mut young, mut empty, mut emptied, mut others) = (vec![], vec![], vec![], vec![]);
    for backup in listing.backups.iter().filter(|backup| !backup.finished) {
        let has_copy = || {
            let mut copies = plan.kept_as(KeepReason::Unfinished);
            copies.any(|name| BackupId::of_path(name).as_ref() == Ok(&backup.id))
        };
        let names = match backup.version {
            Some(version) if version.bytes > 0 => &mut young,
            Some(_) if has_copy() => &mut emptied,
            Some(_) => &mut empty,
            None => &mut others,
        };
        names.push(backup.id.as_str());
    }
    let quoted = |names: &[&str]| text::list(names.iter().copied(), NAMES_IN_A_LINE);
    if !emptied.is_empty() {
        log::warn!(
            "Some files of the backup folder are empty now, but not their copies in Dropbox, which stay: {}. Check the program that makes these backups, and whether its disk is full.",
            quoted(&emptied)
        );
    }
    for (names, reason) in [
        (
            young,
            "changed within the last minute and may still be growing",
        ),
        (empty, "empty"),
        (others, "links or no files"),
    ] {
        if !names.is_empty() {
            log::info!("Not copied, because {reason}: {}.", quoted(&names));
        }
    }
}
