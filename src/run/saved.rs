//! What happens at once when the form is saved: the authorization goes as far as it can.
//!
//! So the link is in the log when the page comes back, and a pasted code does not wait until it has
//! expired. Nothing is mirrored, and it takes a few seconds at most: the admin waits for the page.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{End, load_settings, open_state, remove_identities, request_run, store_late};
use crate::clock::Stop;
use crate::findings::{Findings, from, table};
use crate::open;
use crate::plugin::PluginFolder;
use crate::plugin::config::{self, Settings};
use crate::plugin::key::Key;
use crate::plugin::lock::Lock;
use crate::record::Record;
use crate::setup::stage::{Stage, stage};
use crate::setup::{NotAuthorized, Setup};
use crate::state::State;

/// How long an admin waits for the page.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(8);

/// Takes the setup in `folder` as far as it goes after the form was saved.
///
/// Says nothing where there is nothing to do, and leaves everything to a run that goes on.
pub fn saved(folder: &PluginFolder, signalled: Arc<AtomicBool>) -> End {
    let stop = Stop::within(TIME_LIMIT, signalled);
    stop.guard(|| table::hangs().log());
    // Where it cannot be made, the page has no forms.
    let _ = Key::make(&folder.page_key());
    let is_set_up = config::load(&folder.config()).is_ok_and(|settings| is_set_up(&settings));
    if is_set_up && !config::has_identities(&folder.config()) {
        return End::Done;
    }
    let findings = Findings::default();
    if let Err(strange) = folder.look() {
        findings.add(from::strange(&strange));
        return End::Failed;
    }
    // Also while a run goes on: such a key must not stay in the form.
    if !remove_identities(folder, &findings) || is_set_up {
        return End::Failed;
    }
    let Ok(Some(_lock)) = Lock::take_unmarked(&folder.lock()) else {
        return End::Done;
    };
    let Some(mut state) = open_state(folder, &findings) else {
        return End::Failed;
    };
    let mut record = Record::open(&folder.record());
    findings.add(table::saved());
    bring_forward(folder, &stop, &mut state, &mut record, &findings);
    if findings.errors() > 0 {
        End::Failed
    } else {
        End::Done
    }
}

/// Takes the authorization as far as it goes, under the lock; returns whether a code was exchanged for a new one.
pub(super) fn bring_forward(
    folder: &PluginFolder,
    stop: &Stop,
    state: &mut State,
    record: &mut Record,
    findings: &Findings,
) -> bool {
    let Some(settings) = load_settings(folder, findings) else {
        return false;
    };
    let Some((http, hosts)) = findings.accept(open::dropbox(&settings, stop)) else {
        return false;
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
    let authorized = stop.watch(|| http.shutdown(), || setup.authorize(&settings));
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
            is_new
        }
        Err(NotAuthorized::Stopped) => {
            findings.add(table::no_answer_after_saving());
            findings.extend(request_run(folder).err());
            false
        }
        Err(NotAuthorized::Waiting | NotAuthorized::Failed) => false,
    }
}

/// Whether the configuration leaves nothing to do for the authorization.
fn is_set_up(settings: &Settings) -> bool {
    matches!(
        stage(settings),
        Stage::HasRefreshToken { .. } | Stage::HasLegacyToken(_)
    )
}
