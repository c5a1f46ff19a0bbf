//! What can be done on the page, and what came of it. Pure.

use chrono::TimeDelta;

use super::{Facts, Tone};
use crate::findings::{Finding, Level};
use crate::page::moments::Moments;
use crate::record::{Answer, Asked, Record, RunRecord};
use crate::row::Row;
use crate::setup::stage::{Stage, stage};
use crate::text;

/// How long an answer stays on the page if nothing else happens.
const SHOWN_FOR: TimeDelta = TimeDelta::hours(1);

/// What came of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How it went.
    pub tone: Tone,
    /// A paragraph each.
    pub texts: Vec<String>,
}

/// The files on hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnHold {
    /// Newest first; empty if there are more than are recorded.
    pub files: Vec<HeldFile>,
    /// How many they are: `2 files`.
    pub count: String,
    /// All bytes of them.
    pub size: String,
    /// Tells these from others; none where nobody can agree to them here.
    pub digest: Option<String>,
}

/// One file on hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFile {
    /// When its backup was made.
    pub made_at: String,
    /// Its size.
    pub size: String,
    /// Its name.
    pub name: String,
}

/// The answer to the newest form, until a run has begun since.
pub(super) fn answer(facts: &Facts, record: &Record) -> Option<Answered> {
    let answer = newest(facts, record)?;
    let is_bad = |level: Level| answer.findings.iter().any(|finding| finding.level >= level);
    Some(Answered {
        tone: match (is_bad(Level::Error), is_bad(Level::Warning)) {
            (true, _) => Tone::Bad,
            (false, true) => Tone::Warning,
            (false, false) => Tone::Good,
        },
        texts: answer
            .findings
            .iter()
            .map(|finding| said(answer, finding))
            .collect(),
    })
}

fn newest<'a>(facts: &Facts, record: &'a Record) -> Option<&'a Answer> {
    let answer = record.answer.as_ref()?;
    let age = facts.moments.now - answer.at;
    // Who has just authorized the plugin may be told so beside its first run.
    let has_begun = facts.lock.is_running() && answer.asked != Asked::Connect;
    let has_run = |run: &RunRecord| run.started_at >= answer.at;
    let is_over = has_begun
        || record.runs.back().is_some_and(has_run)
        || !(TimeDelta::zero()..=SHOWN_FOR).contains(&age);
    (!is_over).then_some(answer)
}

/// A finding for somebody who has just sent a form; the log tells it to others.
fn said(answer: &Answer, finding: &Finding) -> String {
    match (finding.level, answer.asked) {
        (Level::Info, Asked::Run) => "UISP is asked to start the plugin, which takes about a minute.",
        (Level::Info, Asked::Connect) => "Connected: Dropbox accepted the code. UISP is asked to start the plugin, which takes about a minute.",
        (Level::Info, Asked::Agree) => "You agreed: the next run deletes these files from Dropbox. UISP is asked to start it, which takes about a minute.",
        _ => return finding.line(),
    }
    .to_owned()
}

/// Whether a run could do something that none does by itself in this minute.
pub(super) fn offers_run(facts: &Facts) -> bool {
    let is_set_up = facts.settings.as_ref().is_ok_and(|settings| {
        !matches!(
            stage(settings),
            Stage::NeedsAppKey | Stage::NeedsCode { legacy: None, .. }
        )
    });
    is_set_up && !facts.lock.is_running() && !facts.is_run_planned
}

/// What waits for the admin's word, by the newest lists.
pub(super) fn on_hold(record: &Record, moments: &Moments) -> Option<OnHold> {
    let lists = record.lists.as_ref().filter(|lists| lists.on_hold > 0)?;
    let held = lists.held();
    let files = held.iter().flat_map(|held| &held.files);
    let is_agreed = record
        .answer
        .as_ref()
        .is_some_and(|answer| answer.asked == Asked::Agree && answer.at > lists.taken_at);
    Some(OnHold {
        files: files.map(|row| held_file(row, moments)).collect(),
        count: text::count(lists.on_hold, "file"),
        size: held
            .as_ref()
            .map_or_else(String::new, |held| text::bytes(held.bytes())),
        digest: held.filter(|_| !is_agreed).map(|held| held.digest()),
    })
}

fn held_file(row: &Row, moments: &Moments) -> HeldFile {
    let size = row.file.as_ref().map(|file| file.size);
    HeldFile {
        made_at: super::tables::made_at(row, moments),
        size: size.map_or_else(String::new, text::bytes),
        name: row.name.clone(),
    }
}
