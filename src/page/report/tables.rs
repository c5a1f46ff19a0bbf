//! Backups, runs and transfers as rows of tables. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::page::moments::Moments;
use crate::state::{Inventory, KeptBecause, Memory, RunRecord, StoredFile};
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
    /// Whether and when it was compared.
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
        match run {
            RunRecord {
                succeeded: false, ..
            } => Self::Failed,
            RunRecord { left: 1.., .. } => Self::Unfinished,
            _ => Self::Complete,
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

/// Time and size of every finished backup that is recorded; 0 where the size is not known.
pub(super) fn finished(inventory: &Inventory) -> impl Iterator<Item = (DateTime<Utc>, u64)> {
    let finished = inventory.listed.values().filter(|listed| listed.finished);
    finished.map(|listed| {
        let bytes = listed.file.as_ref().map_or(0, |file| file.bytes);
        (listed.created_at, bytes)
    })
}

/// How many backups are safe, without a final full stop.
pub(super) fn safe_sentence(inventory: &Inventory) -> String {
    let (finished, stored) = inventory.finished_and_stored();
    match (stored, finished) {
        (_, 0) => "There is no finished backup to copy".into(),
        (0, 1) => "The only backup is not in Dropbox yet".into(),
        (1, 1) => "The only backup is in Dropbox".into(),
        (stored, all) if stored == all => format!("All {all} backups are in Dropbox"),
        (stored, all) => format!("{stored} of {all} backups are in Dropbox"),
    }
}

/// The newest backups, and how many more there are.
pub(super) fn rows(inventory: Option<&Inventory>, moments: &Moments) -> (Vec<Row>, usize) {
    let Some(inventory) = inventory else {
        return (Vec::new(), 0);
    };
    // By time, newest first; a file without a backup has the time in its name, which sorts alike.
    let mut rows: BTreeMap<(Reverse<String>, String), Row> = BTreeMap::new();
    for (id, listed) in &inventory.listed {
        let file = listed.file.as_ref();
        let name = file.map_or_else(|| id.to_string(), |file| file.name.clone());
        let created_at = moments.short(listed.created_at);
        let row = Row {
            size: file.map_or_else(|| "not known".into(), |file| text::bytes(file.bytes)),
            in_source: if listed.finished {
                "yes"
            } else {
                "not finished"
            },
            in_dropbox: match file {
                Some(file) => since(file.stored_at, moments),
                None if listed.finished => "not yet".into(),
                None => "no".into(),
            },
            verified: verified(file, moments),
            is_safe: file.is_some(),
            created_at: created_at.clone(),
            name: name.clone(),
        };
        rows.insert((Reverse(created_at), name), row);
    }
    for kept in &inventory.kept {
        let name = kept.file.name.clone();
        let created_at = time_in_name(&name);
        let row = Row {
            size: text::bytes(kept.file.bytes),
            in_source: match kept.because {
                KeptBecause::NeverSeen => "never seen",
                _ => "no longer",
            },
            in_dropbox: kept_text(kept.because, kept.file.stored_at, moments),
            verified: verified(Some(&kept.file), moments),
            is_safe: true,
            created_at: created_at.clone(),
            name: name.clone(),
        };
        rows.insert((Reverse(created_at), name), row);
    }
    let kept = inventory.kept_count.saturating_sub(inventory.kept.len());
    let unrecorded = kept + inventory.older.finished;
    let more = unrecorded + rows.len().saturating_sub(ROWS_MAX);
    (rows.into_values().take(ROWS_MAX).collect(), more)
}

fn since(stored_at: Option<DateTime<Utc>>, moments: &Moments) -> String {
    stored_at.map_or_else(
        || "yes".into(),
        |stored_at| format!("since {}", moments.short(stored_at)),
    )
}

fn kept_text(because: KeptBecause, stored_at: Option<DateTime<Utc>>, moments: &Moments) -> String {
    match because {
        KeptBecause::OnHold => "on hold".into(),
        KeptBecause::RetainedUntil(until) => format!("kept until {}", moments.short(until)),
        KeptBecause::Due => "until the next complete run".into(),
        KeptBecause::NeverSeen | KeptBecause::ListUnfit => since(stored_at, moments),
    }
}

fn verified(file: Option<&StoredFile>, moments: &Moments) -> String {
    match file.and_then(|file| file.verified_at) {
        Some(verified_at) => moments.short(verified_at),
        None => "no".into(),
    }
}

/// The time in a managed file's name, `unms-backup-20261119-0412_...`, as the table shows times.
fn time_in_name(name: &str) -> String {
    name.strip_prefix(DATED_PREFIX)
        .and_then(|rest| NaiveDateTime::parse_from_str(rest.get(..13)?, "%Y%m%d-%H%M").ok())
        .map_or_else(
            || "not known".into(),
            |time| time.format("%Y-%m-%d %H:%M").to_string(),
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
pub(super) fn runs(memory: &Memory, moments: &Moments) -> Vec<Run> {
    let newest = memory.runs.iter().rev().take(RUNS_MAX);
    newest
        .map(|run| Run {
            started_at: moments.short(run.started_at),
            ending: Ending::of(run),
            work: work(run),
            took: text::duration(Duration::from_secs(run.seconds)),
            error: run.error.as_deref().map(first_sentence),
        })
        .collect()
}

/// What happened; what it means and what to do stands in the notice about the newest run, and in the log.
fn first_sentence(error: &str) -> String {
    let sentence = error.split_once(". ").map_or(error, |(first, _)| first);
    format!("{}.", sentence.trim_end_matches('.'))
}

/// The most that a remembered run has uploaded, in bytes.
pub(super) fn highest(memory: &Memory) -> u64 {
    let uploaded = memory.runs.iter().map(|run| run.uploaded_bytes);
    uploaded.max().unwrap_or_default()
}

/// All remembered runs, oldest first.
pub(super) fn bars(memory: &Memory, moments: &Moments) -> Vec<Bar> {
    let highest = u128::from(highest(memory).max(1));
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
    memory.runs.iter().map(bar).collect()
}
