//! What happens at once when the form is saved: the authorization goes as far as it can.
//!
//! So the link is in the log when the page comes back, and a pasted code does not wait until it has
//! expired. Nothing is mirrored, and it takes a few seconds at most: the admin waits for the page.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{End, load_settings, open_state, remove_identities, request_run, store_late};
use crate::clock::{self, Stop};
use crate::dropbox::Credential;
use crate::findings::{Finding, Findings, advice, from, labels, table};
use crate::open;
use crate::plugin::PluginFolder;
use crate::plugin::config::{self, Settings};
use crate::plugin::key::Key;
use crate::plugin::lock::Lock;
use crate::record::{Answer, Asked, Record};
use crate::setup::stage::{Stage, stage};
use crate::setup::{NotAuthorized, Setup};
use crate::state::State;
use crate::text;

/// How long an admin waits for the page.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(8);

/// Takes the setup in `folder` as far as it goes after the form was saved, and tries what was changed.
///
/// Says nothing where there is nothing to do, and leaves everything to a run that goes on.
pub fn saved(folder: &PluginFolder, signalled: Arc<AtomicBool>) -> End {
    let stop = Stop::within(TIME_LIMIT, signalled);
    stop.guard(|| table::hangs().log());
    // Where it cannot be made, the page has no forms.
    let _ = Key::make(&folder.page_key());
    let settings = config::load(&folder.config()).ok();
    let settings = settings.filter(is_set_up);
    let has_identities = config::has_identities(&folder.config());
    if settings.is_some() && !has_identities && changed_fields(folder).is_empty() {
        return End::Done;
    }
    let findings = Findings::default();
    if let Err(strange) = folder.look() {
        findings.add(from::strange(&strange));
        return End::Failed;
    }
    // Also while a run goes on: such a key must not stay in the form.
    if !remove_identities(folder, &findings) || (settings.is_some() && has_identities) {
        return End::Failed;
    }
    let Ok(Some(_lock)) = Lock::take_unmarked(&folder.lock()) else {
        return End::Done;
    };
    let Some(mut state) = open_state(folder, &findings) else {
        return End::Failed;
    };
    let changed = changed_fields(folder);
    let mut record = Record::open(&folder.record());
    let mut said = vec![match changed.is_empty() {
        true => table::saved(),
        false => {
            let labels = changed.iter().map(|key| labels::of(key));
            table::saved_fields(&text::list(labels, changed.len()))
        }
    }];
    findings.extend(said.clone());
    if let Some(settings) = &settings
        && changed.iter().any(|key| key == "unmsApiToken")
    {
        said.extend(try_uisp(folder, settings, &stop, &findings));
    }
    let is_of_dropbox = |key: &String| key.starts_with("dropbox") && key != "dropboxFolder";
    if settings.is_none() || changed.iter().any(is_of_dropbox) {
        let brought = bring_forward(folder, &stop, &mut state, &mut record, &findings);
        let accepted = match brought {
            Brought::New => Some(table::authorized()),
            Brought::Stored => {
                findings.add(table::dropbox_accepts());
                Some(table::dropbox_accepts())
            }
            Brought::Nothing => None,
        };
        said.extend(accepted);
    }
    record.configured = Some(config::fingerprints(&folder.config()));
    record.answer = Some(Answer {
        at: clock::now(),
        asked: Asked::Saved,
        findings: said.into_iter().chain(findings.kept()).collect(),
    });
    if let Err(error) = record.save() {
        findings.add(table::record_unwritable().because(&error));
    }
    if findings.errors() > 0 {
        End::Failed
    } else {
        End::Done
    }
}

/// The keys of the fields that were changed since the last run or save, as far as that is known.
fn changed_fields(folder: &PluginFolder) -> Vec<String> {
    let record = Record::read(&folder.record()).unwrap_or_default();
    record.changed_fields(&config::fingerprints(&folder.config()))
}

/// Asks UISP for its list with the token that was saved. What there is to say is in the log then.
fn try_uisp(
    folder: &PluginFolder,
    settings: &Settings,
    stop: &Stop,
    findings: &Findings,
) -> Option<Finding> {
    let source = findings.accept(open::source(folder, settings, stop))?;
    match source.list() {
        Ok(listing) => {
            let finished = listing.backups.iter().filter(|backup| backup.finished);
            let accepted = table::uisp_accepts(&text::count(finished.count(), "backup"));
            findings.add(accepted.clone());
            Some(accepted)
        }
        Err(error) => {
            let finding = table::source_not_listed(source.kind().name_at_start());
            findings.add(finding.explained(&error, advice::listing(&error)));
            None
        }
    }
}

/// What came of the authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// A code was exchanged for a new one.
    New,
    /// The stored token gives access.
    Stored,
    /// Nothing yet.
    Nothing,
}

/// Takes the authorization as far as it goes, under the lock.
pub(super) fn bring_forward(
    folder: &PluginFolder,
    stop: &Stop,
    state: &mut State,
    record: &mut Record,
    findings: &Findings,
) -> Brought {
    let Some(settings) = load_settings(folder, findings) else {
        return Brought::Nothing;
    };
    let Some((http, hosts)) = findings.accept(open::dropbox(&settings, stop)) else {
        return Brought::Nothing;
    };
    let mut setup = Setup {
        http: &http,
        hosts: &hosts,
        stop,
        config: folder.config(),
        state,
        record,
        findings,
    };
    let authorized = stop.watch(|| http.shutdown(), || setup.authorize_saved(&settings));
    match authorized {
        Ok(authorized) => {
            let is_stored = authorized
                .unstored
                .is_none_or(|code| store_late(folder, &authorized.credential, &code, findings));
            let is_new = authorized.is_new && is_stored;
            if is_new {
                let requested = request_run(folder).map(|()| table::asked_to_start());
                findings.add(requested.unwrap_or_else(|finding| finding));
            }
            match authorized.credential {
                _ if is_new => Brought::New,
                Credential::RefreshToken { .. } if !authorized.is_new => Brought::Stored,
                _ => Brought::Nothing,
            }
        }
        Err(NotAuthorized::Stopped) => {
            findings.add(table::no_answer_after_saving());
            findings.extend(request_run(folder).err());
            Brought::Nothing
        }
        Err(NotAuthorized::Waiting | NotAuthorized::Failed) => Brought::Nothing,
    }
}

/// Whether the configuration leaves nothing to do for the authorization.
fn is_set_up(settings: &Settings) -> bool {
    matches!(
        stage(settings),
        Stage::HasRefreshToken { .. } | Stage::HasLegacyToken(_)
    )
}
