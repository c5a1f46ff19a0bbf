//! Backups, runs and transfers as rows of tables. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::findings::Finding;
use crate::mirror::names::Naming;
use crate::page::moments::Moments;
use crate::record::{Lists, Record, RunRecord};
use crate::row::{self, Decision, Provenance, Reason};
use crate::text;

/// Rows of the table of backups; there may be many more.
const ROWS_MAX: usize = 100;
/// How the names of a server's backups begin.
const DATED_PREFIX: &str = "unms-backup-";
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

/// A backup in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The file's name, or the id where there is no file yet.
    pub name: String,
    /// When it was made.
    pub created_at: String,
    /// Its size, where it is known.
    pub size: String,
    /// Whether the source has it.
    pub in_source: &'static str,
    /// Whether and since when Dropbox has it.
    pub in_dropbox: String,
    /// Whether and when it was compared, or what is wrong with the backup itself.
    pub verified: String,
    /// It is safe.
    pub is_safe: bool,
}

impl Row {
    /// The name in two parts between which a line may break: a managed file's time, and its id.
    pub fn name_parts(&self) -> (&str, &str) {
        let end = self.name.find('_').map_or(0, |at| at + 1);
        if self.name.starts_with(DATED_PREFIX) {
            self.name.split_at(end)
        } else {
            ("", &self.name)
        }
    }
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

/// The newest backups, and how many more there are.
pub(super) fn rows(lists: Option<&Lists>, moments: &Moments) -> (Vec<Row>, usize) {
    let Some(lists) = lists else {
        return (Vec::new(), 0);
    };
    let shown = lists.rows.iter().take(ROWS_MAX);
    let shown: Vec<Row> = shown.map(|row| shown_row(row, moments)).collect();
    let more = lists.rows_count.saturating_sub(shown.len());
    (shown, more)
}

fn shown_row(row: &row::Row, moments: &Moments) -> Row {
    let file = row.file.as_ref();
    Row {
        name: match (file, &row.id) {
            (None, Some(id)) => id.to_string(),
            _ => row.name.clone(),
        },
        created_at: made_at(row, moments),
        size: file.map_or_else(unknown, |file| text::bytes(file.size)),
        in_source: match (&row.backup, row.decision) {
            (Some(backup), _) if backup.finished => "yes",
            (Some(_), _) => "not finished",
            (None, Decision::Keep(Reason::NeverSeen)) => "never seen",
            (None, _) => "no longer",
        },
        in_dropbox: match (file, row.decision) {
            (None, Decision::Wait) => "no".into(),
            (None, Decision::Refuse) => "refuses its name".into(),
            (None, _) => "not yet".into(),
            (Some(_), Decision::Keep(Reason::OnHold)) => "on hold".into(),
            (Some(_), Decision::Keep(Reason::RetainedUntil(until))) => {
                format!("kept until {}", moments.short(until))
            }
            (Some(_), Decision::Keep(Reason::Older(kept))) => format!("kept, {kept}"),
            (Some(_), Decision::Delete { .. } | Decision::Supersede) => {
                "until the next complete run".into()
            }
            (Some(_), Decision::Replace(Provenance::OtherRecipients)) => {
                "encrypted to other keys".into()
            }
            (Some(_), Decision::Replace(_)) => "an older version".into(),
            (Some(_), Decision::Compare(_)) => "not compared yet".into(),
            (Some(file), _) => since(file.server_modified, moments),
        },
        verified: match (row.verified_at, row.inspected.flaw()) {
            (_, Some(flaw)) => format!("no complete archive: {}", flaw.text()),
            (Some(verified_at), None) => moments.short(verified_at),
            (None, None) => "no".into(),
        },
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

/// When the backup of a row was made.
pub(super) fn made_at(row: &row::Row, moments: &Moments) -> String {
    let made = row.backup.as_ref().map(|backup| backup.created_at);
    let made = made.or_else(|| Naming::Dated(moments.zone).time_in(&row.name));
    made.map_or_else(unknown, |made| moments.short(made))
}

fn unknown() -> String {
    "not known".into()
}

fn since(stored_at: Option<DateTime<Utc>>, moments: &Moments) -> String {
    stored_at.map_or_else(
        || "yes".into(),
        |stored_at| format!("since {}", moments.short(stored_at)),
    )
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
