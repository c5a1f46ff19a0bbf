//! Backups, runs and transfers as rows of tables. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::findings::Finding;
use crate::mirror::names::Naming;
use crate::page::moments::Moments;
use crate::record::{Lists, Record, RunRecord};
use crate::row::{self, Decision, Provenance, Reason};
use crate::text;

/// Rows of the list of backups until somebody asks for all that are recorded.
const ROWS_MAX: usize = 100;
/// Rows of the list of runs; the chart has all that are remembered.
const RUNS_MAX: usize = 10;

/// A backup on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The file's name.
    pub name: String,
    /// How far it has come, where that is known.
    pub percent: Option<u8>,
    /// The rest of the line: bytes, rate, time left.
    pub details: String,
}

/// A backup in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The file's name, or the id where there is no file yet.
    pub name: String,
    /// When it was made.
    pub made_at: String,
    /// Its size; empty where it is not known.
    pub size: String,
    /// Where it is, and why.
    pub state: String,
    /// It is safe.
    pub is_safe: bool,
}

/// The backups of a month, or what is not this installation's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Tells it from the others.
    pub id: String,
    /// What they have in common: `November 2026`.
    pub title: String,
    /// How many they are, and their size.
    pub sum: String,
    /// Newest first.
    pub rows: Vec<Row>,
    /// Whether somebody most likely wants to see it.
    pub is_open: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was done.
    Complete,
    /// Something was left for the next one.
    Unfinished,
    /// Something failed.
    Failed,
}

impl Ending {
    fn of(run: &RunRecord) -> Self {
        match run.succeeded() {
            false => Self::Failed,
            true if run.left > 0 => Self::Unfinished,
            true => Self::Complete,
        }
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unfinished => "carried on later",
            Self::Failed => "failed",
        }
    }

    /// The class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unfinished => "unfinished",
            Self::Failed => "failed",
        }
    }
}

/// A run in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub started_at: String,
    /// How it ended.
    pub ending: Ending,
    /// What it did.
    pub work: String,
    /// How long it took.
    pub took: String,
    /// What went wrong.
    pub error: Option<String>,
}

/// A run in the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Height in thousandths of the highest.
    pub height: u64,
    /// How it ended.
    pub ending: Ending,
    /// The same in words.
    pub title: String,
}

/// How many backups are safe, without a final full stop.
pub(super) fn safe_sentence(lists: &Lists) -> String {
    match (lists.stored, lists.finished) {
        (_, 0) => "There is no finished backup to copy".into(),
        (0, 1) => "The only backup is not in Dropbox yet".into(),
        (1, 1) => "The only backup is in Dropbox".into(),
        (stored, all) if stored == all => format!("All {all} backups are in Dropbox"),
        (stored, all) => format!("{stored} of {all} backups are in Dropbox"),
    }
}

/// The backups by month, newest first, and how many more there are; those that this installation never saw come last.
pub(super) fn groups(
    lists: Option<&Lists>,
    moments: &Moments,
    shows_all: bool,
    source: &str,
) -> (Vec<Group>, usize) {
    let Some(lists) = lists else {
        return (Vec::new(), 0);
    };
    let shown = if shows_all {
        lists.rows.len()
    } else {
        ROWS_MAX
    };
    let shown = lists.rows.get(..shown).unwrap_or(&lists.rows);
    let (others, own): (Vec<&row::Row>, Vec<_>) = shown
        .iter()
        .partition(|row| row.decision == Decision::Keep(Reason::NeverSeen));
    let month = |row: &&row::Row| made(row, moments).map(|made| moments.month(made));
    let mut groups: Vec<Group> = own
        .chunk_by(|a, b| month(a) == month(b))
        .map(|rows| {
            let title = rows.first().and_then(month);
            group(
                &title.unwrap_or_else(|| "Without a date".into()),
                rows,
                moments,
                source,
            )
        })
        .collect();
    if let Some(newest) = groups.first_mut() {
        newest.is_open = true;
    }
    if !others.is_empty() {
        groups.push(group(
            "From other servers, or from before",
            &others,
            moments,
            source,
        ));
    }
    (groups, lists.rows_count.saturating_sub(shown.len()))
}

fn group(title: &str, rows: &[&row::Row], moments: &Moments, source: &str) -> Group {
    let sizes = rows.iter().filter_map(|row| row.file.as_ref());
    let bytes = sizes.map(|file| file.size).sum();
    Group {
        id: title.to_lowercase().replace([' ', ','], "-"),
        title: title.to_owned(),
        sum: format!(
            "{}, {}",
            text::count(rows.len(), "file"),
            text::bytes(bytes)
        ),
        rows: rows
            .iter()
            .map(|row| shown_row(row, moments, source))
            .collect(),
        is_open: false,
    }
}

fn shown_row(row: &row::Row, moments: &Moments, source: &str) -> Row {
    let file = row.file.as_ref();
    Row {
        name: match (file, &row.id) {
            (None, Some(id)) => id.to_string(),
            _ => row.name.clone(),
        },
        made_at: made_at(row, moments),
        size: file.map_or_else(String::new, |file| text::bytes(file.size)),
        state: state(row, moments, source),
        is_safe: matches!(
            row.decision,
            Decision::Mirrored
                | Decision::Keep(_)
                | Decision::Delete { .. }
                | Decision::Supersede
                | Decision::Replace(Provenance::OtherRecipients)
        ),
    }
}

/// Where a backup is, and why.
fn state(row: &row::Row, moments: &Moments, source: &str) -> String {
    let mut verified = row.verified_at.map_or_else(
        || "in Dropbox, never compared".into(),
        |verified_at| format!("verified {}", moments.day(verified_at)),
    );
    if let Some(flaw) = row.inspected.flaw() {
        verified.push_str(&format!(", but no complete archive: {}", flaw.text()));
    }
    match row.decision {
        Decision::Wait => "not finished yet".into(),
        Decision::Refuse => "Dropbox refuses its name".into(),
        _ if row.file.is_none() => "not in Dropbox yet".into(),
        Decision::Mirrored => verified,
        Decision::Compare(_) => "in Dropbox, not compared yet".into(),
        Decision::Replace(Provenance::OtherRecipients) => "encrypted to other keys".into(),
        Decision::Replace(_) => "an older version is in Dropbox".into(),
        Decision::Keep(Reason::OnHold) => format!("no longer in {source}, on hold"),
        Decision::Keep(Reason::RetainedUntil(until)) => {
            format!("no longer in {source}, kept until {}", moments.day(until))
        }
        Decision::Keep(Reason::Older(kept)) => format!("no longer in {source}, kept: {kept}"),
        Decision::Delete { .. } | Decision::Supersede => {
            format!("no longer in {source}, stays until the next complete run")
        }
        Decision::Keep(Reason::NeverSeen) => format!("never seen in {source}"),
        Decision::Keep(Reason::Unfinished) => format!("not finished in {source}; {verified}"),
        _ if row.backup.is_none() => format!("no longer in {source}; {verified}"),
        _ => verified,
    }
}

fn made(row: &row::Row, moments: &Moments) -> Option<DateTime<Utc>> {
    let made = row.backup.as_ref().map(|backup| backup.created_at);
    made.or_else(|| Naming::Dated(moments.zone).made_at(&row.name, row.file.as_ref()?))
}

/// When the backup of a row was made.
pub(super) fn made_at(row: &row::Row, moments: &Moments) -> String {
    made(row, moments).map_or_else(|| "not known".into(), |made| moments.day(made))
}

/// The parts of a progress line: `Uploading "NAME": 41 %, 5.0 MB of 12 MB, 3.0 MB/s, 2 s left.`
pub(super) fn transfer(line: &str) -> Transfer {
    let rest = line.split_once('"').map_or(line, |(_, rest)| rest);
    let (name, details) = rest.rsplit_once("\": ").unwrap_or((rest, ""));
    let percent = details
        .split_once(" %")
        .and_then(|(percent, _)| percent.parse().ok())
        .filter(|percent| *percent <= 100);
    Transfer {
        name: name.to_owned(),
        percent,
        details: details.to_owned(),
    }
}

fn work(run: &RunRecord) -> String {
    let mut parts = vec![format!(
        "{} uploaded ({})",
        run.uploaded,
        text::bytes(run.uploaded_bytes)
    )];
    if run.deleted > 0 {
        parts.push(format!("{} deleted", run.deleted));
    }
    if run.left > 0 {
        parts.push(format!("{} left for the next run", run.left));
    }
    parts.join(", ")
}

/// The newest runs, newest first.
pub(super) fn runs(record: &Record, moments: &Moments) -> Vec<Run> {
    let newest = record.runs.iter().rev().take(RUNS_MAX);
    newest
        .map(|run| Run {
            started_at: moments.short(run.started_at),
            ending: Ending::of(run),
            work: work(run),
            took: text::duration(Duration::from_secs(run.seconds)),
            error: run.errors().next_back().map(what_happened),
        })
        .collect()
}

/// What it means and what to do stands in the notice about the newest run, and in the log.
fn what_happened(error: &Finding) -> String {
    format!("{}.", error.happened)
}

/// The most that a remembered run has uploaded, in bytes.
pub(super) fn highest(record: &Record) -> u64 {
    let uploaded = record.runs.iter().map(|run| run.uploaded_bytes);
    uploaded.max().unwrap_or_default()
}

/// All remembered runs, oldest first.
pub(super) fn bars(record: &Record, moments: &Moments) -> Vec<Bar> {
    let highest = u128::from(highest(record).max(1));
    let bar = |run: &RunRecord| {
        let thousandths = u128::from(run.uploaded_bytes) * 1000 / highest;
        let ending = Ending::of(run);
        let started_at = moments.short(run.started_at);
        Bar {
            height: u64::try_from(thousandths).unwrap_or_default(),
            ending,
            title: format!("{started_at}: {}, {}", ending.word(), work(run)),
        }
    };
    record.runs.iter().map(bar).collect()
}
