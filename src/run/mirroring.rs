//! The work of a run: setup, then both lists, the plan, and the mirror that carries it out.

use super::outcome::Outcome;
use super::store_late;
use crate::clock::{self, Stop};
use crate::dropbox::files::Listed;
use crate::dropbox::users::Space;
use crate::dropbox::{self, Dropbox};
use crate::findings::{Finding, Findings, advice, from, table};
use crate::mirror::announce::{announce, remarks};
use crate::mirror::survey::{self, Survey};
use crate::mirror::{Mirror, Summary, transfer};
use crate::open;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::record::{self, Lists, Record};
use crate::setup::{NotAuthorized, Setup};
use crate::source::{self, Kind, Source};
use crate::state::State;
use crate::zone::Zone;

/// What a run works with.
pub struct Run<'a> {
    pub folder: &'a PluginFolder,
    pub settings: &'a Settings,
    pub stop: &'a Stop,
    pub state: &'a mut State,
    pub record: &'a mut Record,
    pub findings: &'a Findings,
}

impl Run<'_> {
    pub fn carry_out(&mut self) -> Outcome {
        let (settings, findings) = (self.settings, self.findings);
        let source = findings.accept(open::source(self.folder, settings, self.stop));
        let Some((http, hosts)) = findings.accept(open::dropbox(settings, self.stop)) else {
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
                record: self.record,
                findings,
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
            if let Some(code) = &authorized.unstored {
                store_late(self.folder, &authorized.credential, code, findings);
            }
            outcome
        })
    }

    fn mirror(&mut self, source: &dyn Source, dropbox: &Dropbox) -> Outcome {
        let (settings, findings) = (self.settings, self.findings);
        let kind = source.kind();
        if settings.create_backup && kind == Kind::Uisp {
            findings.add(table::fresh_backup(kind.name_at_start()));
            findings.extend(fresh_backup(source).err());
        }
        let asks_for_space = !self.state.memory.space_is_unknowable;
        let Some(survey) = Survey::new(source, dropbox, settings, asks_for_space) else {
            return Outcome::NotMirrored;
        };
        if self.stop.requested().is_some() {
            return Outcome::Stopped;
        }
        self.note_space(survey.space);
        let zone = self.zone(survey.timezone);
        let listing = survey.listing.map_err(|error| {
            let finding = table::source_not_listed(kind.name_at_start());
            vec![finding.explained(&error, advice::listing(&error))]
        });
        let mirrored = survey
            .mirrored
            .map_err(|error| vec![table::mirror_not_listed().explained(&error, &error)]);
        let (listing, mirrored) = (findings.accept(listing), findings.accept(mirrored));
        let (Some(listing), Some(Listed { files, .. })) = (listing, mirrored) else {
            return Outcome::NotMirrored;
        };
        let now = clock::now();
        let memory = &mut self.state.memory;
        let plan = survey::plan(&listing, &files, memory, settings, zone, now);
        memory.planned_at = memory.latest_time().max(now);
        memory.backup_folder.clone_from(&settings.backup_directory);
        self.record.lists = Some(Lists::new(&plan.rows, now));
        findings.extend(remarks(&plan, &listing, kind));
        findings.add(announce(&plan, kind));
        let is_fit = plan.unfit.is_none();
        let summary = Mirror {
            source,
            dropbox,
            stop: self.stop,
            state: self.state,
            record: self.record,
            findings,
            folder: &settings.mirror_folder,
            lanes: transfer::lanes(settings.upload_bytes_per_second),
            plan,
            summary: Summary::default(),
        }
        .carry_out();
        if settings.confirm_cleanup && summary.deletions_done && is_fit {
            findings.add(self.untick_cleanup());
        }
        Outcome::Mirrored(summary)
    }

    /// Remembers how much space there is, for the status page.
    fn note_space(&mut self, asked: Option<Result<Option<Space>, dropbox::Error>>) {
        match asked {
            Some(Ok(Some(Space { used, allocated }))) => {
                self.record.space = Some(record::Space {
                    used,
                    allocated,
                    asked_at: clock::now(),
                });
            }
            Some(Err(
                dropbox::Error::MissingScope { .. } | dropbox::Error::LegacyTokenRefused { .. },
            )) => {
                self.record.space = None;
                self.state.memory.space_is_unknowable = true;
            }
            Some(Err(error)) => log::debug!("The space in Dropbox is not known: {error}"),
            Some(Ok(None)) | None => {}
        }
    }

    /// The host's timezone: UISP's word, else that of an earlier run, else UTC.
    fn zone(&mut self, asked: Result<Zone, String>) -> Zone {
        let zone = asked.unwrap_or_else(|cause| {
            let zone = plugin_log::zone();
            self.findings
                .add(table::no_timezone(zone.name()).because(&cause));
            zone
        });
        plugin_log::set_zone(zone);
        self.state.memory.timezone = Some(zone.name().to_owned());
        self.record.timezone.clone_from(&self.state.memory.timezone);
        zone
    }

    fn untick_cleanup(&self) -> Finding {
        match config::change(&self.folder.config(), &Change::CleanupDone) {
            Ok(()) => table::cleanup_done(),
            Err(error) => table::cleanup_not_unticked().after(&from::configuration(&error)),
        }
    }
}

/// Has the source make a fresh backup. Deletions do not wait for it: nothing that is deleted depends on it.
fn fresh_backup(source: &dyn Source) -> Result<(), Finding> {
    match source.create() {
        // The rest of the run tells of a stop.
        Ok(()) | Err(source::Error::Stopped(_)) => Ok(()),
        Err(error) => Err(table::no_fresh_backup().explained(&error, advice::creation(&error))),
    }
}
