//! The work of a run: setup, then both lists, the plan, and the mirror that carries it out.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::outcome::Outcome;
use super::store_late;
use chrono::TimeDelta;

use crate::age::{self, Recipients};
use crate::backup_id::BackupId;
use crate::clock::{self, Stop};
use crate::dropbox::files::Listed;
use crate::dropbox::users::Space;
use crate::dropbox::{self, Dropbox, Hosts};
use crate::findings::{Finding, Findings, advice, from, table};
use crate::http::Client;
use crate::inspect::Verdict;
use crate::mirror::announce::{announce, kept_older, remarks, rivals};
use crate::mirror::names::Naming;
use crate::mirror::plan::Plan;
use crate::mirror::survey::{self, Asked, Survey};
use crate::mirror::{Mirror, Summary, transfer};
use crate::open;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::record::{self, Lists, Record};
use crate::secret::Secret;
use crate::setup::stage::{Stage, stage};
use crate::setup::{NotAuthorized, Setup};
use crate::source::{self, Backup, Kind, Listing, Source};
use crate::state::{Mirrored, Proof, State};
use crate::text;
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
            let asked = source
                .as_ref()
                .and_then(|source| self.ask_ahead(source, &http, &hosts));
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
            let Some(source) = &source else {
                return Outcome::NotMirrored;
            };
            let dropbox = Dropbox::new(
                http.clone(),
                hosts.clone(),
                stop.clone(),
                authorized.credential.clone(),
                authorized.access_token,
            );
            let outcome = self.mirror(source, &dropbox, asked);
            if let Some(code) = &authorized.unstored {
                store_late(self.folder, &authorized.credential, code, findings);
            }
            outcome
        })
    }

    /// Begins what needs no access token, where nothing but a new one is missing: UISP is asked, the connections on
    /// which Dropbox will be asked are opened. If there is no token, nobody looks at what came of it.
    fn ask_ahead(&self, source: &Arc<dyn Source>, http: &Client, hosts: &Hosts) -> Option<Asked> {
        let settings = self.settings;
        let is_authorized = matches!(stage(settings), Stage::HasRefreshToken { .. });
        // A fresh backup has to be in the list, and what a folder holds is looked at no earlier than necessary.
        if !is_authorized || source.kind() != Kind::Uisp || settings.create_backup {
            return None;
        }
        if !self.state.memory.space_is_unknowable {
            // The mirror's list comes over the connection of the token, at the same time.
            http.open_ahead(&hosts.api, 1);
        }
        let mirrored = self.state.memory.mirrored.keys();
        let mirrored: HashSet<u64> = mirrored.map(mark).collect();
        let (http, content) = (http.clone(), hosts.content.clone());
        let lanes = transfer::lanes(settings.upload_bytes_per_second);
        Some(Asked::new(source, move |listing| {
            let is_new = |backup: &Backup| backup.finished && !mirrored.contains(&mark(&backup.id));
            if listing.backups.iter().any(is_new) {
                http.open_ahead(&content, lanes);
            }
        }))
    }

    fn mirror(
        &mut self,
        source: &Arc<dyn Source>,
        dropbox: &Dropbox,
        asked: Option<Asked>,
    ) -> Outcome {
        let (settings, findings) = (self.settings, self.findings);
        let kind = source.kind();
        if settings.create_backup && kind == Kind::Uisp {
            findings.extend(self.fresh_backup(source.as_ref()));
        }
        let asks_for_space = !self.state.memory.space_is_unknowable;
        let asked = asked.unwrap_or_else(|| Asked::new(source, |_| {}));
        let Some(survey) = Survey::new(asked, dropbox, settings, asks_for_space) else {
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
        let (Some(listing), Some(mirrored)) = (listing, mirrored) else {
            return Outcome::NotMirrored;
        };
        findings.extend(wrong_clock(mirrored.clock_ahead));
        let memory = &mut self.state.memory;
        memory.tick_is_used &= settings.confirm_cleanup;
        memory.begin_with(&listing.origin);
        self.ask_for_proof();
        self.adopt_committed(&listing, &mirrored, survey::naming(settings, zone));
        let memory = &mut self.state.memory;
        let plan = survey::plan(&listing, &mirrored, memory, settings, zone);
        if settings.confirm_cleanup {
            self.note_agreement(&plan);
        }
        let machine = machine_name();
        let before = self.record.lists.as_ref();
        findings.extend(kept_older(&plan, before, kind));
        self.record.lists = Some(Lists::new(&plan.rows, &plan.pending, clock::now()));
        findings.extend(remarks(&plan, &listing, kind));
        findings.extend(rivals(&plan, &machine));
        findings.add(announce(&plan, kind));
        // The plan has everything that counts of both lists, which may be long.
        drop((listing, mirrored.files));
        let summary = Mirror {
            source: source.as_ref(),
            dropbox,
            stop: self.stop,
            state: self.state,
            record: self.record,
            findings,
            folder: &settings.mirror_folder,
            recipients: settings.encrypt_to.as_ref(),
            lanes: transfer::lanes(settings.upload_bytes_per_second),
            inspects: settings.inspect,
            keep_replaced_days: settings.keep_deleted_days,
            keeps_older: settings.keep_older.is_some(),
            machine,
            folders: mirrored.folders,
            plan,
            summary: Summary::default(),
            unsaved: Vec::new(),
        }
        .carry_out();
        Outcome::Mirrored(summary)
    }

    /// Takes note of the admin's word: it counts for the ids that are on hold now, and the box is unticked.
    /// Where an earlier run has done so and could not untick it, that alone is made up for.
    fn note_agreement(&mut self, plan: &Plan) {
        let memory = &mut self.state.memory;
        let was_used = std::mem::replace(&mut memory.tick_is_used, true);
        memory.agreed.clone_from(&plan.agreed);
        memory.on_hold.clone_from(&plan.on_hold);
        if let Err(error) = self.state.save() {
            let consequence = "Your agreement to the clean-up is taken note of by the next run";
            self.findings
                .add(table::memory_unwritable(consequence).because(&error));
            return;
        }
        let unticked = config::change(&self.folder.config(), &Change::CleanupDone);
        // What is ticked from now on is another word.
        self.state.memory.tick_is_used = unticked.is_err();
        let finding = match (plan.agreed.len(), unticked) {
            (_, Err(error)) => table::cleanup_not_unticked().after(&from::configuration(&error)),
            (_, Ok(())) if was_used => table::unticked_at_last(),
            (0, Ok(())) => table::nothing_to_agree_to(),
            (agreed, Ok(())) => table::agreed(&text::count(agreed, "backup")),
        };
        self.findings.add(finding);
    }

    /// Takes note of sealed files that a killed run has made and could not take note of. Nobody can compare them with their
    /// backups; their journals tell what is in them.
    fn adopt_committed(&mut self, listing: &Listing, mirrored: &Listed, naming: Naming) {
        let Some(recipients) = &self.settings.encrypt_to else {
            return;
        };
        let State {
            memory, journals, ..
        } = &mut *self.state;
        if journals.is_empty() {
            return;
        }
        let recipients = recipients.fingerprint();
        let now = mirrored.time.unwrap_or_else(clock::now);
        let backups = listing.backups.iter();
        let backups: BTreeMap<&BackupId, &Backup> =
            backups.map(|backup| (&backup.id, backup)).collect();
        for file in &mirrored.files {
            let id = naming.recognise_sealed(&file.name);
            let Some(Backup { id, version, .. }) = id.and_then(|id| backups.get(&id)) else {
                continue;
            };
            let left = journals.unfinished(id, *version, Some(&recipients));
            if let Some((stored, Some(inside))) = left.and_then(|left| left.complete)
                && file.metadata.content_hash == Some(stored.content_hash)
            {
                let mirrored = Mirrored {
                    rev: file.metadata.rev.clone(),
                    content_hash: stored.content_hash,
                    bytes: stored.bytes,
                    verified_at: clock::now(),
                    version: *version,
                    inside: Some(inside),
                    inspected: Verdict::NotChecked,
                    is_being_deleted: false,
                };
                memory.note_mirrored(id, mirrored, now);
            }
        }
    }

    /// Asks the owner to show that what is sealed can be opened, until they have done so for the present recipients.
    fn ask_for_proof(&mut self) {
        let (settings, memory) = (self.settings, &mut self.state.memory);
        let Some(recipients) = &settings.encrypt_to else {
            return;
        };
        let fingerprint = recipients.fingerprint();
        let known = memory.proof.take();
        let known = known.filter(|proof| proof.recipients == fingerprint);
        let Some(proof) = known.or_else(|| proof(recipients)) else {
            return;
        };
        let proof = memory.proof.insert(proof);
        let command = proof_command(proof);
        if let Some(given) = &settings.encryption_proof {
            let is_right = given.fingerprint() == proof.answer;
            proof.is_given |= is_right;
            let finding = match is_right {
                true => self.take_proof(),
                false => table::wrong_proof(),
            };
            self.findings.add(finding);
        }
        let proof = self.state.memory.proof.as_ref();
        if proof.is_some_and(|proof| !proof.is_given) {
            self.findings.add(table::prove_key(&command));
        }
    }

    /// Remembers that the right word was given, and only then empties its field.
    fn take_proof(&mut self) -> Finding {
        if let Err(error) = self.state.save() {
            let consequence = "The word in the field is looked at again by the next run";
            return table::memory_unwritable(consequence).because(&error);
        }
        match config::change(&self.folder.config(), &Change::ProofGiven) {
            Ok(()) => table::key_proved(),
            Err(error) => table::proof_not_emptied().after(&from::configuration(&error)),
        }
    }

    /// Has the source make a fresh backup, unless there is still work that was begun: a backup that is made in
    /// each run and never sent whole would be in the way of all others. Deletions do not wait for it: nothing
    /// that is deleted depends on it.
    fn fresh_backup(&self, source: &dyn Source) -> Option<Finding> {
        if self.state.memory.continuations > 0 || !self.state.journals.is_empty() {
            return Some(table::no_fresh_backup_yet());
        }
        self.findings
            .add(table::fresh_backup(source.kind().name_at_start()));
        match source.create() {
            // The rest of the run tells of a stop.
            Ok(()) | Err(source::Error::Stopped(_)) => None,
            Err(error) => {
                Some(table::no_fresh_backup().explained(&error, advice::creation(&error)))
            }
        }
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
}

/// A word that only the owner of the secret key can read; none where nothing can be sealed, which the uploads tell of.
fn proof(recipients: &Recipients) -> Option<Proof> {
    let letters = |_| fastrand::char('a'..='z');
    let word: String = (0..PROOF_LETTERS).map(letters).collect();
    Some(Proof {
        recipients: recipients.fingerprint(),
        sealed: age::sealed_text(&format!("{word}\n"), recipients).ok()?,
        answer: Secret::new(word).fingerprint(),
        is_given: false,
    })
}

/// Prints the word where the secret key is.
fn proof_command(proof: &Proof) -> String {
    format!("echo {} | base64 -d | age -d -i key.txt", proof.sealed)
}

/// Long enough that nobody guesses it.
const PROOF_LETTERS: usize = 10;

/// A short stand-in for an id, where being wrong costs nothing.
fn mark(id: &BackupId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.as_str().hash(&mut hasher);
    hasher.finish()
}

/// A clock that is this far off is worth a word; certificates bear with more.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// Tells of a clock that is wrong, by Dropbox's.
fn wrong_clock(ahead: Option<TimeDelta>) -> Option<Finding> {
    let ahead = ahead?;
    let off = text::duration(ahead.abs().to_std().unwrap_or_default());
    let direction = if ahead > TimeDelta::zero() {
        "ahead of"
    } else {
        "behind"
    };
    (ahead.abs() > SKEW_MAX).then(|| table::wrong_clock_here(&off, direction))
}

/// The name of this machine, as it may stand in a file's name.
fn machine_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = name
        .chars()
        .filter(is_plain)
        .take(MACHINE_CHARS_MAX)
        .collect();
    if name.is_empty() {
        "this machine".into()
    } else {
        name
    }
}

/// Longest name of a machine in a file's name.
const MACHINE_CHARS_MAX: usize = 32;
