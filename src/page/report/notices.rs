//! What deserves attention, each with its sentence and its remedy. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::tables::finished;
use super::{Facts, NoMemory, Tone};
use crate::advice::{self, FIELD_ACCESS_CODE, FIELD_APP_KEY, FIELD_LEGACY_TOKEN, FIELD_UISP_TOKEN};
use crate::page::moments::{self, Moments};
use crate::plugin::config::Settings;
use crate::plugin::lock::Seen;
use crate::setup::stage::{Stage, stage};
use crate::source::Kind;
use crate::state::Memory;
use crate::text;

/// Less free space than this share of all is little.
const FREE_SHARE_MIN: u64 = 20;
/// Less free space than so many of the largest backup is little.
const FREE_BACKUPS_MIN: u64 = 3;

/// A sentence that can be a headline, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How urgent.
    pub tone: Tone,
    /// One sentence.
    pub title: String,
    /// What it means and what to do; a paragraph each.
    pub texts: Vec<String>,
    /// An address to open.
    pub link: Option<Link>,
}
/// An address and what is written on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The address.
    pub url: String,
    /// What it is for.
    pub label: &'static str,
}

fn notice(tone: Tone, title: impl Into<String>, text: impl Into<String>) -> Notice {
    Notice {
        tone,
        title: title.into(),
        texts: vec![text.into()],
        link: None,
    }
}

/// Everything that deserves attention.
pub(super) fn notices(facts: &Facts, memory: &Memory) -> Vec<Notice> {
    let mut notices = Vec::new();
    match &facts.memory {
        Ok(_) => {}
        Err(NoMemory::Damaged) => notices.push(notice(
            Tone::Bad,
            "The plugin's memory is damaged.",
            "The next run sets it aside, builds it anew and compares every file in Dropbox with its backup again. Nothing is deleted in that run. Click \"Execute manually\" on the plugin's page if you do not want to wait.",
        )),
        Err(NoMemory::Unreadable) => notices.push(notice(
            Tone::Bad,
            "The plugin's memory cannot be read.",
            "Correct the permissions of the plugin's data folder, so that UISP's web server can read its file state.json.",
        )),
    }
    match &facts.settings {
        Ok(settings) => {
            notices.extend(missing_token(settings));
            match setup_notice(facts, settings, memory) {
                Some(notice) => notices.push(notice),
                None if facts.memory.is_ok() => {
                    notices.extend(authorized_notices(facts, settings, memory));
                }
                None => {}
            }
        }
        Err(problems) => notices.push(Notice {
            tone: Tone::Bad,
            title: "The plugin's configuration cannot be used.".into(),
            texts: problems.clone(),
            link: None,
        }),
    }
    if facts.lock == Seen::Running {
        notices.push(running(facts));
    }
    notices
}

fn running(facts: &Facts) -> Notice {
    let text = if facts.progress.is_empty() {
        "Reload this page to see how far it has come."
    } else {
        "How far each large backup has come is shown below. Reload this page to see more."
    };
    notice(Tone::Busy, "A run is going on.", text)
}

fn missing_token(settings: &Settings) -> Option<Notice> {
    let is_missing = settings.uisp_token.is_none() && Kind::of(settings) == Kind::Uisp;
    is_missing.then(|| {
        notice(
            Tone::Bad,
            format!("The field \"{FIELD_UISP_TOKEN}\" is empty."),
            "Make a token in UISP under Network, Settings, Users, API tokens (read only is enough), put it into the plugin's configuration and save.",
        )
    })
}

/// The next step of the setup, while nothing can be mirrored without it.
fn setup_notice(facts: &Facts, settings: &Settings, memory: &Memory) -> Option<Notice> {
    let title = match stage(settings) {
        Stage::NeedsAppKey => "Setup, step 1 of 3: tell the plugin which Dropbox app to use.",
        Stage::NeedsCode { legacy: None, .. } => {
            "Setup, step 2 of 3: allow the plugin to use its folder in your Dropbox."
        }
        Stage::HasCode { fallback: None, .. } => {
            "Setup, step 2 of 3: the access code is about to be used."
        }
        Stage::HasRefreshToken { .. }
            if memory.runs.is_empty() && facts.lock != Seen::Running && facts.memory.is_ok() =>
        {
            "Setup, step 3 of 3: the first run is about to begin."
        }
        _ => return None,
    };
    Some(Notice {
        tone: Tone::Setup,
        title: title.into(),
        texts: Vec::new(),
        link: None,
    })
}

/// What can be told of an installation that mirrors, or has mirrored.
fn authorized_notices(facts: &Facts, settings: &Settings, memory: &Memory) -> Vec<Notice> {
    let is_running = facts.lock == Seen::Running;
    let kind = Kind::of(settings);
    let mut notices = Vec::new();
    if !is_running {
        notices.extend(never_run(memory));
        notices.extend(ended_badly(facts, memory));
        notices.extend(overdue_run(&facts.moments, memory));
        notices.extend(left_over(memory));
    }
    notices.extend(overdue_backup(&facts.moments, kind, memory));
    notices.extend(on_hold(kind, memory));
    notices.extend(little_space(memory));
    notices.extend(legacy_token(facts, settings));
    notices
}

fn never_run(memory: &Memory) -> Option<Notice> {
    memory.runs.is_empty().then(|| {
        notice(
            Tone::Busy,
            "The plugin has not run yet.",
            "Set its execution period to 24 hours, or click \"Execute manually\" on its page, under System, Plugins.",
        )
    })
}

fn ended_badly(facts: &Facts, memory: &Memory) -> Option<Notice> {
    if facts.lock == Seen::CutOff {
        return Some(notice(
            Tone::Warning,
            "The last run was cut off before its end.",
            "By the host's limit of one hour, a restart, a lack of memory or a kill. The next run carries on; there is nothing to do unless this repeats.",
        ));
    }
    let run = memory.runs.back().filter(|run| !run.succeeded)?;
    let error = run.error.clone();
    let mut texts = vec![error.unwrap_or_else(|| "The plugin's log says why.".into())];
    // An address is pending only where a run had to ask for a new authorization.
    let is_asked_again = memory.pending_authorization.is_some();
    let link = facts.url.clone().filter(|_| is_asked_again);
    if link.is_some() {
        texts.push(format!(
            "Open the link, copy the code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" of the plugin's configuration and save soon."
        ));
    }
    Some(Notice {
        tone: Tone::Bad,
        title: "The last run failed.".into(),
        texts,
        link: link.map(allow_access),
    })
}

fn overdue_run(moments: &Moments, memory: &Memory) -> Option<Notice> {
    let times = memory.runs.iter().map(|run| run.started_at);
    let usual = moments::usual_distance(times);
    let last = memory.runs.back()?.started_at;
    moments.is_overdue(last, usual).then(|| {
        notice(
            Tone::Warning,
            format!("No run since {}.", moments.at(last)),
            format!(
                "The plugin usually runs {}. See on the plugin's page, under System, Plugins, whether it is enabled and has an execution period, or click \"Execute manually\" there.",
                moments::every(usual)
            ),
        )
    })
}

fn left_over(memory: &Memory) -> Option<Notice> {
    let left = memory.runs.back().filter(|run| run.succeeded)?.left;
    let left = usize::try_from(left).ok().filter(|&left| left > 0)?;
    Some(notice(
        Tone::Busy,
        format!(
            "The last run had to end before everything was done: {} left.",
            text::count(left, "thing")
        ),
        "The next run carries on where it stopped; there is nothing to do.",
    ))
}

fn overdue_backup(moments: &Moments, kind: Kind, memory: &Memory) -> Option<Notice> {
    let inventory = memory.inventory.as_ref()?;
    let maker = kind.name_at_start();
    let remedy = match kind {
        Kind::Uisp => "See in UISP under Settings, Backups, whether backups are made.",
        Kind::Folder => "See whether the program that makes the backups still does.",
    };
    let mut times: Vec<DateTime<Utc>> = finished(inventory)
        .map(|(created_at, _)| created_at)
        .collect();
    times.sort();
    let Some(&newest) = times.last() else {
        return Some(notice(
            Tone::Warning,
            format!("{maker} has no finished backup."),
            remedy,
        ));
    };
    let usual: TimeDelta = moments::usual_distance(times.into_iter());
    // What has come since the list was read is not known.
    let at_listing = Moments {
        now: inventory.taken_at,
        ..*moments
    };
    at_listing.is_overdue(newest, usual).then(|| {
        notice(
            Tone::Warning,
            format!(
                "{maker} has no backup that is newer than {}.",
                moments.at(newest)
            ),
            format!(
                "Usually there is a new one {}. {remedy}",
                moments::every(usual)
            ),
        )
    })
}

fn on_hold(kind: Kind, memory: &Memory) -> Option<Notice> {
    let count = memory.on_hold.len();
    (count > 0).then(|| {
        let verb = if count == 1 { "is" } else { "are" };
        notice(
            Tone::Warning,
            format!("{} in Dropbox {verb} on hold.", text::count(count, "backup")),
            format!(
                "{} no longer lists them, but they are most of what the mirror holds, as after {}. Nothing of it is deleted. If they were deleted on purpose, {}; otherwise there is nothing to do.",
                kind.name_at_start(),
                advice::sudden_loss(kind),
                advice::confirm_cleanup(kind)
            ),
        )
    })
}

fn little_space(memory: &Memory) -> Option<Notice> {
    let space = memory.space.as_ref()?;
    let free = space.allocated.saturating_sub(space.used);
    let largest = memory.inventory.iter().flat_map(finished);
    let largest = largest.map(|(_, bytes)| bytes).max().unwrap_or_default();
    let needed = (space.allocated / FREE_SHARE_MIN).max(largest.saturating_mul(FREE_BACKUPS_MIN));
    (free < needed).then(|| {
        notice(
            Tone::Warning,
            format!("Dropbox is running out of space: {} free.", text::bytes(free)),
            format!(
                "The account has {} in all. Free some space there or get more before it is full: new backups could not be uploaded then.",
                text::bytes(space.allocated)
            ),
        )
    })
}

fn legacy_token(facts: &Facts, settings: &Settings) -> Option<Notice> {
    let next = match stage(settings) {
        Stage::HasLegacyToken(_) => {
            format!(
                "Fill the field \"{FIELD_APP_KEY}\" and save; this page then shows the next step."
            )
        }
        Stage::NeedsCode {
            legacy: Some(_), ..
        } => format!(
            "Open the link, copy the code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" and save soon. Then clear the old token."
        ),
        _ => return None,
    };
    Some(Notice {
        tone: Tone::Warning,
        title: "Dropbox retires the kind of token that is in use.".into(),
        texts: vec![format!(
            "The token in the field \"{FIELD_LEGACY_TOKEN}\" works for now. {next}"
        )],
        link: facts.url.clone().map(allow_access),
    })
}

pub(super) fn allow_access(url: String) -> Link {
    Link {
        url,
        label: "Open Dropbox and allow access",
    }
}
