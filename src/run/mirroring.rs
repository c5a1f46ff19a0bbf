//! The work of a run: setup, then both lists, the plan, and the mirror that carries it out.

use super::announce::announce;
use super::outcome::Outcome;
use super::{log_all, store_late};
use crate::advice;
use crate::clock::{self, Stop};
use crate::dropbox::files::ListedFile;
use crate::dropbox::users::Space;
use crate::dropbox::{self, Credential, Dropbox};
use crate::mirror::survey::{self, Survey};
use crate::mirror::{Mirror, Summary, inventory, transfer};
use crate::open;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::secret::Secret;
use crate::setup::{NotAuthorized, Setup};
use crate::source::{self, Kind, Listing, Source};
use crate::state::{self, State};
use crate::zone::Zone;

/// What a run works with.
pub struct Run<'a> {
    pub folder: &'a PluginFolder,
    pub settings: &'a Settings,
    pub stop: &'a Stop,
    pub state: &'a mut State,
}

impl Run<'_> {
    pub fn carry_out(&mut self) -> Outcome {
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

fn usable_entries(entries: Result<Vec<ListedFile>, dropbox::Error>) -> Option<Vec<ListedFile>> {
    entries
        .map_err(|error| log::error!("The mirror folder in Dropbox could not be listed, so nothing is mirrored. {}. Cause: {error}.", advice::dropbox(&error)))
        .ok()
}
