//! What deserves attention: findings of the last run, and those that the page makes itself. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Facts, Tone};
use crate::findings::labels::{FIELD_ACCESS_CODE, FIELD_APP_KEY};
use crate::findings::{Finding, Level, advice, table};
use crate::page::moments::{self, Moments};
use crate::plugin::config::Settings;
use crate::plugin::lock::{self, Seen};
use crate::record::{Lists, Record, Unusable};
use crate::setup::guide::{self, Link};
use crate::setup::stage::{Stage, stage};
use crate::source::Kind;
use crate::text;

/// Less free space than this share of all is little.
const FREE_SHARE_MIN: u64 = 20;
/// Less free space than so many of the largest backup is little.
const FREE_BACKUPS_MIN: u64 = 3;
/// Errors and warnings of the last run that are shown; the log has them all.
const FINDINGS_MAX: usize = 10;

/// Longest part of a headline that another program may have worded.
const HEADLINE_CHARS_MAX: usize = 120;

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

impl Notice {
    fn new(tone: Tone, finding: &Finding) -> Self {
        let mut texts = vec![finding.explanation()];
        if !finding.cause.is_empty() {
            texts.push(format!("Cause: {}.", finding.cause));
        }
        texts.retain(|text| !text.is_empty());
        Self {
            tone,
            title: format!("{}.", finding.happened),
            texts,
            link: None,
        }
    }
}

impl From<Finding> for Notice {
    fn from(finding: Finding) -> Self {
        let tone = match finding.level {
            Level::Error => Tone::Bad,
            Level::Warning | Level::Gap => Tone::Warning,
            Level::Info => Tone::Busy,
        };
        Self::new(tone, &finding)
    }
}

/// Everything that deserves attention.
pub(super) fn notices(facts: &Facts, record: &Record) -> Vec<Notice> {
    let mut notices = Vec::new();
    notices.extend(facts.record.as_ref().err().map(|unusable| {
        Notice::from(match unusable {
            Unusable::Unreadable => table::record_unreadable(),
            Unusable::Damaged => table::record_damaged(),
        })
    }));
    match &facts.settings {
        Ok(settings) => {
            if settings.uisp_token.is_none() && Kind::of(settings) == Kind::Uisp {
                notices.push(table::no_uisp_token().into());
            }
            match setup_step(facts, settings, record) {
                Some(step) => notices.push(Notice {
                    tone: Tone::Setup,
                    title: format!("Setup, {}.", step.line()),
                    texts: Vec::new(),
                    link: None,
                }),
                None if facts.record.is_ok() => {
                    notices.extend(authorized_notices(facts, settings, record));
                }
                None => {}
            }
        }
        Err(problems) => notices.push(Notice {
            texts: problems.iter().map(Finding::line).collect(),
            ..table::configuration_unusable().into()
        }),
    }
    if facts.lock.is_running() {
        notices.push(going_on(facts).into());
    }
    notices
}

/// The step of the setup without which nothing can be mirrored.
fn setup_step(facts: &Facts, settings: &Settings, record: &Record) -> Option<guide::Step> {
    let stage = stage(settings);
    let waits = matches!(stage, Stage::HasRefreshToken { .. })
        && record.runs.is_empty()
        && !facts.lock.is_running()
        // With an address that waits for its code, nobody knows what is in the field of the token.
        && facts.url(record).is_none()
        && facts.record.is_ok();
    guide::step(&stage, None).or_else(|| waits.then(guide::first_run))
}

fn going_on(facts: &Facts) -> Finding {
    let since = match facts.lock {
        Seen::Running { since } => since,
        Seen::Free | Seen::CutOff => None,
    };
    let moments = &facts.moments;
    if let Some(since) = since.filter(|&since| lock::is_stuck(since, moments.now)) {
        return table::run_stuck(&moments.at(since));
    }
    let since = since.map_or_else(String::new, |since| {
        format!(", since {}", moments.at(since))
    });
    let hint = match facts.progress.is_empty() {
        true => "Reload this page to see how far it has come",
        false => "How far each large backup has come is shown below. Reload this page to see more",
    };
    table::going_on(&since, hint)
}

/// What can be told of an installation that mirrors, or has mirrored.
fn authorized_notices(facts: &Facts, settings: &Settings, record: &Record) -> Vec<Notice> {
    let kind = Kind::of(settings);
    let mut notices = Vec::new();
    if !facts.lock.is_running() {
        notices.extend(record.runs.is_empty().then(|| table::never_run().into()));
        notices.extend(ended_badly(facts, record));
        notices.extend(overdue_run(&facts.moments, record).map(Notice::from));
        notices.extend(left_over(record).map(Notice::from));
    }
    notices.extend(overdue_backup(&facts.moments, kind, record).map(Notice::from));
    notices.extend(newest_is_suspect(record).map(Notice::from));
    notices.extend(warnings(record));
    notices.extend(little_space(record).map(Notice::from));
    notices.extend(legacy_token(facts, settings));
    notices
}

fn ended_badly(facts: &Facts, record: &Record) -> Option<Notice> {
    if facts.lock == Seen::CutOff {
        return Some(table::last_run_cut_off().into());
    }
    let run = record.runs.back().filter(|run| !run.succeeded())?;
    if facts.is_changed {
        return Some(Notice {
            tone: Tone::Setup,
            ..table::saved_not_tried().into()
        });
    }
    let failed = table::last_run_failed();
    let mut texts: Vec<String> = run.errors().take(FINDINGS_MAX).map(Finding::line).collect();
    // An address is recorded only where a run had to ask for a new authorization.
    let link = facts.url(record);
    if link.is_some() {
        texts.push(format!(
            "Open the link, copy the code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" of the plugin's configuration and save soon."
        ));
    }
    let first = run
        .errors()
        .next()
        .map(|error| format!(": {}", briefly(error)));
    Some(Notice {
        title: format!("{}{}.", failed.happened, first.unwrap_or_default()),
        texts,
        link: link.map(Link::allow_access),
        ..failed.into()
    })
}

/// What went wrong, for a headline: what the other side said where that tells one failure from another.
fn briefly(error: &Finding) -> String {
    let is_general = matches!(&*error.code, "source_not_listed" | "mirror_not_listed");
    let (text, end) = match is_general && !error.cause.is_empty() {
        true => (&error.cause, " ("),
        false => (&error.happened, ", so "),
    };
    let brief = text.split(end).next().unwrap_or_default();
    // Addresses are for the paragraph below.
    let brief = brief.split(" at http").next().unwrap_or_default();
    brief.chars().take(HEADLINE_CHARS_MAX).collect()
}

/// What the last run warned of; what the page says itself is left out.
fn warnings(record: &Record) -> impl Iterator<Item = Notice> {
    let said_here = ["legacy_token", "run_cut_off"];
    let suspect = newest_is_suspect(record);
    let findings = record.runs.back().into_iter().flat_map(|run| &run.findings);
    findings
        .filter(move |finding| {
            matches!(finding.level, Level::Warning | Level::Gap)
                && !said_here.contains(&&*finding.code)
                && suspect
                    .as_ref()
                    .is_none_or(|suspect| suspect.happened != finding.happened)
        })
        .take(FINDINGS_MAX)
        .cloned()
        .map(Notice::from)
}

/// As long as the newest backup is no complete archive, the page says so, not only after the run that found it.
fn newest_is_suspect(record: &Record) -> Option<Finding> {
    let rows = &record.lists.as_ref()?.rows;
    let newest = rows
        .iter()
        .find(|row| row.finished().is_some() && row.file.is_some())?;
    let flaw = newest.inspected.flaw()?;
    Some(table::suspect(&newest.name, flaw.text()))
}

/// What keeps a state from being well that no other notice names.
pub(super) fn not_well(record: &Record, moments: &Moments) -> Notice {
    let lists = record.lists.as_ref().filter(|lists| lists.pending > 0);
    let finding = lists.map(|lists| {
        let since = lists
            .pending_since
            .map_or_else(String::new, |since| moments.at(since));
        table::not_there_yet(&text::count(lists.pending, "backup"), &since)
    });
    finding.unwrap_or_else(table::not_proved).into()
}

fn overdue_run(moments: &Moments, record: &Record) -> Option<Finding> {
    let times = record.runs.iter().map(|run| run.started_at);
    let usual = moments::usual_distance(times);
    let last = record.runs.back()?.started_at;
    moments
        .is_overdue(last, usual)
        .then(|| table::no_run_since(&moments.at(last), &moments::every(usual)))
}

fn left_over(record: &Record) -> Option<Finding> {
    let left = record.runs.back().filter(|run| run.succeeded())?.left;
    let left = usize::try_from(left).ok().filter(|&left| left > 0)?;
    Some(table::left_over(&text::count(left, "thing")))
}

fn overdue_backup(moments: &Moments, kind: Kind, record: &Record) -> Option<Finding> {
    let lists = record.lists.as_ref()?;
    let maker = kind.name_at_start();
    let finished = lists.rows.iter().filter_map(|row| row.finished());
    let mut times: Vec<DateTime<Utc>> = finished.map(|backup| backup.created_at).collect();
    times.sort();
    let Some(&newest) = times.last() else {
        return Some(table::no_backup(maker).advised(advice::no_new_backup(kind)));
    };
    let usual: TimeDelta = moments::usual_distance(times.into_iter());
    // What has come since the list was read is not known.
    let at_listing = Moments {
        now: lists.taken_at,
        ..*moments
    };
    at_listing.is_overdue(newest, usual).then(|| {
        table::no_backup_since(maker, &moments.at(newest), &moments::every(usual))
            .advised(advice::no_new_backup(kind))
    })
}

/// The longest file that is recorded.
fn largest(lists: &Lists) -> u64 {
    let files = lists.rows.iter().filter_map(|row| row.file.as_ref());
    files.map(|file| file.size).max().unwrap_or_default()
}

fn little_space(record: &Record) -> Option<Finding> {
    let space = record.space.as_ref()?;
    let free = space.allocated.saturating_sub(space.used);
    let largest = record.lists.as_ref().map_or(0, largest);
    let needed = (space.allocated / FREE_SHARE_MIN).max(largest.saturating_mul(FREE_BACKUPS_MIN));
    (free < needed).then(|| table::little_space(&text::bytes(free), &text::bytes(space.allocated)))
}

fn legacy_token(facts: &Facts, settings: &Settings) -> Option<Notice> {
    let next = match stage(settings) {
        Stage::HasLegacyToken(_) => {
            format!(
                "Fill in the field \"{FIELD_APP_KEY}\" and save; this page then shows the next step."
            )
        }
        Stage::NeedsCode {
            legacy: Some(_), ..
        } => format!(
            "Open the link, copy the code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" and save soon. Then clear the old token."
        ),
        _ => return None,
    };
    let mut notice = Notice::from(table::legacy_token_in_use());
    notice.texts.push(next);
    notice.link = facts
        .record
        .as_ref()
        .ok()
        .and_then(|record| facts.url(record))
        .map(Link::allow_access);
    Some(notice)
}
