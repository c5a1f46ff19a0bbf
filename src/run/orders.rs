//! What somebody asks for on the status page: a run, the use of an access code, the deletion of what is on hold.
//!
//! All of it is done under the run's lock, and on the word of a form that counts once: its key goes first.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::saved::{self, Brought};
use super::{open_state, request_run};
use crate::clock::{self, Stop};
use crate::findings::{Finding, Findings, from, table};
use crate::plugin::config::{self, Change};
use crate::plugin::key::{Key, Purpose};
use crate::plugin::lock::Lock;
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::record::{Answer, Asked, Record};
use crate::secret::Secret;
use crate::text;

/// What is asked for.
#[derive(Debug)]
pub enum Order {
    /// A run now.
    Run,
    /// To use the code that Dropbox has shown.
    Connect(Secret),
    /// To delete the files on hold; the digest tells which were shown.
    Agree(String),
}

impl Order {
    /// The kind of it, by which its form is named.
    pub fn asked(&self) -> Asked {
        match self {
            Self::Run => Asked::Run,
            Self::Connect(_) => Asked::Connect,
            Self::Agree(_) => Asked::Agree,
        }
    }
}

/// Who asks, and by which form.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Who it was shown to.
    pub user: &'a str,
    /// The login, for the log.
    pub login: &'a str,
    /// What makes it count.
    pub token: &'a str,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum Refusal {
    /// A run goes on, or another form is being worked on.
    Busy,
    /// The form was used before, is too old, or was made for somebody else.
    Stale,
    /// Other files are on hold than were shown.
    Changed,
    /// It cannot be done.
    Impossible(Finding),
}

/// Does what is asked for, and records what came of it.
///
/// # Errors
/// [`Refusal`]; nothing was done then.
pub fn carry_out(folder: &PluginFolder, order: &Order, form: &Form<'_>) -> Result<(), Refusal> {
    let impossible = Refusal::Impossible;
    folder
        .look()
        .map_err(|strange| impossible(from::strange(&strange)))?;
    let lock = Lock::take_unmarked(&folder.lock()).map_err(|error| {
        impossible(table::lock_not_taken(folder.lock().display()).because(&error))
    })?;
    let Some(_lock) = lock else {
        return Err(Refusal::Busy);
    };
    let purpose = Purpose {
        user: form.user,
        action: order.asked().word(),
    };
    let key = Key::read(&folder.page_key());
    if !key.is_some_and(|key| key.accepts(form.token, &purpose, clock::now())) {
        return Err(Refusal::Stale);
    }
    // From here on no form that was shown before counts, so none counts twice.
    Key::renew(&folder.page_key())
        .map_err(|error| impossible(table::key_unwritable().because(&error)))?;
    let mut record = Record::open(&folder.record());
    if let Some(zone) = record
        .timezone
        .as_deref()
        .and_then(|name| name.parse().ok())
    {
        plugin_log::set_zone(zone);
    }
    let findings = Findings::default();
    let done = match order {
        Order::Run => {
            request_run(folder).map_err(impossible)?;
            Some(table::asked_on_page(form.login))
        }
        Order::Connect(code) => connect(folder, code, form.login, &mut record, &findings),
        Order::Agree(digest) => Some(agree(folder, digest, form.login, &record, &findings)?),
    };
    if order.asked() != Asked::Connect {
        findings.extend(done.clone());
    }
    record.answer = Some(Answer {
        at: clock::now(),
        asked: order.asked(),
        findings: done.into_iter().chain(findings.kept()).collect(),
    });
    // It is in the log in any case.
    let _ = record.save();
    Ok(())
}

/// Uses a code as if it had been saved in the form. What there is to say is in the log then.
fn connect(
    folder: &PluginFolder,
    code: &Secret,
    login: &str,
    record: &mut Record,
    findings: &Findings,
) -> Option<Finding> {
    let stop = Stop::within(saved::TIME_LIMIT, Arc::new(AtomicBool::new(false)));
    stop.guard(|| table::hangs().log());
    let mut state = open_state(folder, findings)?;
    findings.add(table::code_on_page(login));
    if let Err(error) = config::change(&folder.config(), &Change::Code(code)) {
        findings.extend(from::configuration(&error));
        return None;
    }
    let brought = saved::bring_forward(folder, &stop, &mut state, record, findings);
    record.configured = Some(config::fingerprints(&folder.config()));
    (brought == Brought::New).then(table::authorized)
}

/// Takes note of the agreement to delete the files that were shown, and of no others.
fn agree(
    folder: &PluginFolder,
    digest: &str,
    login: &str,
    record: &Record,
    findings: &Findings,
) -> Result<Finding, Refusal> {
    let held = record.lists.as_ref().and_then(|lists| lists.held());
    let held = held.filter(|held| held.digest() == digest);
    let held = held.ok_or(Refusal::Changed)?;
    let Some(mut state) = open_state(folder, findings) else {
        let unreadable = table::memory_unreadable(folder.state().display());
        return Err(Refusal::Impossible(unreadable));
    };
    let memory = &mut state.memory;
    if !held.ids.iter().all(|id| memory.on_hold.contains(*id)) {
        return Err(Refusal::Changed);
    }
    memory.agreed.extend(held.ids.iter().map(|&id| id.clone()));
    state.save().map_err(|error| {
        let finding = table::memory_unwritable("Your agreement was not taken note of");
        Refusal::Impossible(finding.because(&error))
    })?;
    findings.extend(request_run(folder).err());
    let files = format!(
        "{} ({})",
        text::count(held.files.len(), "file"),
        text::bytes(held.bytes())
    );
    Ok(table::agreed_on_page(login, &files))
}
