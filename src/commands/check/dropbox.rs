//! Dropbox: its servers, the authorization, each permission, the mirror folder.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::{Call, Failure};
use super::report::Report;
use crate::clock::{self, Stop};
use crate::dropbox::download::Download;
use crate::dropbox::files::{Commit, FileMetadata, WriteMode};
use crate::dropbox::{self, Dropbox, Hosts};
use crate::findings::table;
use crate::http::Client;
use crate::mirror::survey;
use crate::plugin::config::Settings;
use crate::setup::stage::{Stage, stage};
use crate::setup::stored;
use crate::state::Memory;
use crate::text;
use crate::zone::Zone;

/// The probe file is removed within this time, also after the limit.
const CLEANUP_LIMIT: Duration = Duration::from_secs(15);
/// Tokens and TLS bear with a clock that is this far off.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

const METADATA_READ: &str = "permission files.metadata.read";
const CONTENT_WRITE: &str = "permission files.content.write";
const CONTENT_READ: &str = "permission files.content.read";
const ACCOUNT_READ: &str = "permission account_info.read";
const READABLE: &str = "mirror folder, reading";
const WRITABLE: &str = "mirror folder, writing";
const SPACE: &str = "free space";

/// Content of the probe file.
const PROBE: &[u8] =
    b"Made by \"backup-sync-dropbox check\" to see whether it can. It may be deleted.\n";

pub(super) fn check(
    call: &Call,
    settings: &Settings,
    http: &Client,
    hosts: &Hosts,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Failure> {
    let by_proxy = http
        .proxy_for(hosts.api.as_str())
        .map_or_else(String::new, |variable| {
            format!(" (through the proxy that {variable} names)")
        });
    match hosts.reach(http, stop) {
        Ok(time) => {
            report.ok("Dropbox", &format!("both servers answer{by_proxy}"))?;
            check_clock(time, report)?;
        }
        Err(error) => {
            report.problem("Dropbox", &table::broken(&error).advised(&error))?;
            return report.skip_all(&["clock", "authorization"], "Dropbox cannot be reached");
        }
    }
    let dropbox = match stored::connect(http, hosts, stop, settings) {
        Ok(dropbox) => dropbox,
        Err(error) => {
            report.problem("authorization", &error)?;
            let rest = [METADATA_READ, CONTENT_WRITE, READABLE, WRITABLE, SPACE];
            return report.skip_all(&rest, "there is no authorization");
        }
    };
    report.ok("authorization", authorized_by(settings))?;
    let permissions = Permissions {
        dropbox: &dropbox,
        settings,
    };
    permissions.check_reading(report)?;
    permissions.check_writing(call, report)?;
    permissions.check_optional(call, report)
}

fn authorized_by(settings: &Settings) -> &'static str {
    match stage(settings) {
        Stage::HasCode { .. } => "a stored token is there; an access code waits for the next run",
        Stage::HasLegacyToken(_) | Stage::NeedsCode { .. } => {
            "a legacy token is there; Dropbox retires such tokens, so fill in the app key"
        }
        _ => "the refresh token is accepted",
    }
}

fn check_clock(time: Option<DateTime<Utc>>, report: &mut Report) -> Result<(), Failure> {
    let Some(time) = time else {
        return report.skip_all(&["clock"], "Dropbox's answer names no time");
    };
    let ahead = clock::now() - time;
    let off = text::duration(ahead.abs().to_std().unwrap_or_default());
    if ahead.abs() <= SKEW_MAX {
        return report.ok("clock", "agrees with Dropbox's");
    }
    let direction = if ahead > TimeDelta::zero() {
        "ahead of"
    } else {
        "behind"
    };
    report.problem("clock", &table::wrong_clock(&off, direction))
}

struct Permissions<'a> {
    dropbox: &'a Dropbox,
    settings: &'a Settings,
}

impl Permissions<'_> {
    fn check_reading(&self, report: &mut Report) -> Result<(), Failure> {
        let listed = survey::list(self.dropbox, self.settings);
        if !report.permission(
            METADATA_READ,
            "needed to see what is in the folder",
            true,
            &listed,
        )? {
            return report.skip_all(&[READABLE], "the permission for it is missing");
        }
        match listed.map(|listed| listed.files) {
            Ok(files) => {
                // The timezone makes no difference for names that are there already.
                let naming = survey::naming(self.settings, Zone::UTC);
                let (own, foreign): (Vec<_>, Vec<_>) = files.iter().partition(|file| {
                    naming.recognise(&file.name).is_some()
                        || naming.recognise_sealed(&file.name).is_some()
                });
                let (own, foreign) = (text::count(own.len(), "backup"), foreign.len());
                report.ok(READABLE, &format!("{own} and {foreign} other files in it"))
            }
            Err(error) => report.problem(READABLE, &table::broken(&error).advised(&error)),
        }
    }

    /// Uploads a file as a run does, and removes it again.
    fn check_writing(&self, call: &Call, report: &mut Report) -> Result<(), Failure> {
        let session = self.dropbox.start_closed_session(&[PROBE]);
        if !report.permission(CONTENT_WRITE, "needed to upload and delete", true, &session)? {
            return report.skip_all(&[WRITABLE], "the permission for it is missing");
        }
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                return report.problem(WRITABLE, &table::broken(&error).advised(&error));
            }
        };
        // A mirror folder that the first run makes is not made for a probe.
        let folder = match self.dropbox.is_folder(&self.settings.mirror_folder) {
            Ok(true) => self.settings.mirror_folder.as_str(),
            _ => "",
        };
        let path = format!(
            "{folder}/backup-sync-dropbox-check-{:016x}.txt",
            fastrand::u64(..)
        );
        let commit = Commit {
            session_id: &session,
            length: PROBE.len() as u64,
            path: &path,
            mode: &WriteMode::Add,
            client_modified: None,
        };
        let commit = self.dropbox.finish_batch(&[commit]).pop();
        let (stored, removed) = match commit {
            Some(Ok(file)) => (Ok(()), self.dropbox.delete_file(&path, &file.rev)),
            other => match self.dropbox.file_metadata(&path) {
                // Only the answer was lost.
                Ok(Some(file)) => (Ok(()), self.dropbox.delete_file(&path, &file.rev)),
                Ok(None) => (Err(other), Ok(())),
                Err(error) => (Err(other), Err(error)),
            },
        };
        let removed = removed.or_else(|_| self.remove_late(call, &path));
        match stored {
            Ok(()) if folder == self.settings.mirror_folder => {
                report.ok(WRITABLE, "a file was uploaded and removed again")?;
            }
            Ok(()) => report.ok(
                WRITABLE,
                "a file was uploaded beside it, which the first run makes, and removed again",
            )?,
            Err(Some(Err(error))) => {
                report.problem(WRITABLE, &table::broken(&error).advised(&error))?;
            }
            Err(_) => report.problem(WRITABLE, &table::no_word_on_probe())?,
        }
        match removed {
            Ok(()) => Ok(()),
            Err(error) => report.problem(WRITABLE, &table::probe_stays(&path).because(&error)),
        }
    }

    /// Removes the probe with a client of its own, for when the first one was stopped.
    fn remove_late(&self, call: &Call, path: &str) -> Result<(), String> {
        let stop = Stop::within(CLEANUP_LIMIT, Arc::default());
        let dropbox = call
            .connect(self.settings, &stop)
            .map_err(|failure| failure.to_string())?;
        remove_if_there(&dropbox, path).map_err(|error| error.to_string())
    }

    fn check_optional(&self, call: &Call, report: &mut Report) -> Result<(), Failure> {
        // Nothing is there; what Dropbox says about that tells whether it would have been allowed.
        let nothing = FileMetadata {
            rev: "000000000".into(),
            size: 1,
            content_hash: None,
            server_modified: None,
            client_modified: None,
        };
        let path = format!("/backup-sync-dropbox-check-{:016x}.txt", fastrand::u64(..));
        let read = Download::new(self.dropbox, path, &nothing, 0).read(&mut [0]);
        report.permission(
            CONTENT_READ,
            "not needed for the mirror; \"download\" and \"verify --deep\" need it",
            false,
            &read,
        )?;
        let usage = self.dropbox.space_usage();
        if !report.permission(
            ACCOUNT_READ,
            "not needed for the mirror; it shows free space",
            false,
            &usage,
        )? {
            return report.skip_all(&[SPACE], "the permission for it is missing");
        }
        let usage = match usage {
            Ok(Some(usage)) => usage,
            Ok(None) => {
                return report.skip_all(&[SPACE], "Dropbox tells it in a way that is not known");
            }
            Err(error) => {
                return report.problem(SPACE, &table::broken(&error).advised(&error));
            }
        };
        let memory = Memory::read(&call.folder.state())
            .ok()
            .flatten()
            .unwrap_or_default();
        let largest = memory
            .mirrored
            .values()
            .map(|file| file.bytes)
            .max()
            .unwrap_or(1);
        let told = format!(
            "{} of {} are free",
            text::bytes(usage.free()),
            text::bytes(usage.allocated)
        );
        if usage.free() < largest {
            report.problem(SPACE, &table::no_space_for_one(&told))
        } else {
            report.ok(SPACE, &told)
        }
    }
}

fn remove_if_there(dropbox: &Dropbox, path: &str) -> Result<(), dropbox::Error> {
    match dropbox.file_metadata(path)? {
        Some(file) => dropbox.delete_file(path, &file.rev),
        None => Ok(()),
    }
}
