//! What the page says: from what is known to headline, notices, tables. Pure; all of the page's wording is here.

mod notices;
mod steps;
mod tables;

use std::collections::VecDeque;
use std::time::Duration;

use super::moments::Moments;
use crate::plugin::config::Settings;
use crate::plugin::lock::Seen;
use crate::source::Kind;
use crate::state::Memory;
use crate::text;

pub use notices::{Link, Notice};
pub use steps::{Step, StepProgress};
pub use tables::{Bar, Ending, Row, Run, Transfer};

/// Everything that the page depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Time and timezone.
    pub moments: Moments,
    /// The configuration, or what is wrong with it.
    pub settings: Result<Settings, Vec<String>>,
    /// The memory, or why there is none, and whether a run mends that.
    pub memory: Result<Memory, NoMemory>,
    /// The address that the admin was last asked to open.
    pub url: Option<String>,
    /// Whether a run goes on.
    pub lock: Seen,
    /// The lines at the end of the log that change while a run goes on.
    pub progress: Vec<String>,
}

/// Why the memory cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMemory {
    /// The system does not let us read it.
    Unreadable,
    /// The next run builds it anew.
    Damaged,
}

/// How things stand, in the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Backups are not copied.
    Bad,
    /// Something may go wrong.
    Warning,
    /// The admin's next step of the setup.
    Setup,
    /// Something goes on by itself.
    Busy,
    /// All is well.
    Good,
}

impl Tone {
    /// In a word: also what stands in the page for those who do not see colours.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bad => "Problem",
            Self::Warning => "Attention",
            Self::Setup => "Next step",
            Self::Busy => "In progress",
            Self::Good => "All well",
        }
    }

    /// The class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warning => "warning",
            Self::Setup => "setup",
            Self::Busy => "busy",
            Self::Good => "good",
        }
    }
}

/// What the page says.
#[derive(Clone, Debug)]
pub struct Report {
    /// The most urgent thing.
    pub lead: Notice,
    /// How many backups are safe, and when the last run was; unless the lead says it.
    pub summary: Vec<String>,
    /// What else there is to know.
    pub notices: Vec<Notice>,
    /// The steps of the setup, until it is done.
    pub steps: Vec<Step>,
    /// What is being uploaded.
    pub transfers: Vec<Transfer>,
    /// The backups, newest first.
    pub backups: Vec<Row>,
    /// How many there are beyond those.
    pub more_backups: usize,
    /// When the lists were read, if they ever were.
    pub listed_at: String,
    /// The newest runs, newest first.
    pub runs: Vec<Run>,
    /// All runs that are remembered, oldest first.
    pub bars: Vec<Bar>,
    /// Bytes of the highest bar.
    pub highest_bar: String,
    /// The source, in the middle of a sentence.
    pub source: &'static str,
    /// The mirror folder below the app's own.
    pub folder: String,
    /// The timezone of all times.
    pub zone: String,
    /// The time of the page.
    pub now: String,
}

/// Decides what the page says.
pub fn report(facts: &Facts) -> Report {
    let moments = &facts.moments;
    let empty = Memory::default();
    let memory = facts.memory.as_ref().unwrap_or(&empty);
    let mut notices = notices::notices(facts, memory);
    // Stable: of equally urgent ones the first stays first.
    notices.sort_by_key(|notice| notice.tone);
    let mut sentences = safety(memory, moments);
    let lead = if notices.is_empty() {
        Notice {
            tone: Tone::Good,
            title: sentences.pop_front().unwrap_or_default(),
            texts: Vec::new(),
            link: None,
        }
    } else {
        notices.remove(0)
    };
    let (backups, more_backups) = tables::rows(memory.inventory.as_ref(), moments);
    Report {
        lead,
        summary: sentences.into(),
        notices,
        steps: steps::steps(facts, memory),
        transfers: facts
            .progress
            .iter()
            .map(|line| tables::transfer(line))
            .collect(),
        backups,
        more_backups,
        listed_at: memory
            .inventory
            .as_ref()
            .map(|inventory| moments.at(inventory.taken_at))
            .unwrap_or_default(),
        runs: tables::runs(memory, moments),
        bars: tables::bars(memory, moments),
        highest_bar: text::bytes(tables::highest(memory)),
        source: facts.settings.as_ref().map_or(Kind::Uisp, Kind::of).name(),
        folder: facts
            .settings
            .as_ref()
            .map(|settings| settings.mirror_folder.clone())
            .unwrap_or_default(),
        zone: moments.zone_name(),
        now: moments.at(moments.now),
    }
}

/// How many backups are safe, and when the last run was.
fn safety(memory: &Memory, moments: &Moments) -> VecDeque<String> {
    let last_run = memory.runs.back();
    let safe = memory.inventory.as_ref().map(|inventory| {
        let safe = tables::safe_sentence(inventory);
        // A run that could not read both lists leaves the older picture.
        let is_old = last_run.is_some_and(|run| run.started_at > inventory.taken_at);
        let as_of = if is_old {
            format!(", as listed {}", moments.at(inventory.taken_at))
        } else {
            String::new()
        };
        format!("{safe}{as_of}.")
    });
    let last_run = last_run.map(|run| {
        let took = match run.seconds {
            0 => "less than a second".into(),
            // Number and unit stay together.
            seconds => text::duration(Duration::from_secs(seconds)).replace(' ', "\u{a0}"),
        };
        format!("Last run {}, {took}.", moments.at(run.started_at))
    });
    safe.into_iter().chain(last_run).collect()
}
