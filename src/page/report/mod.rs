//! What the page says: from what is known to headline, notices, tables. Pure; all of the page's wording is here.

mod answer;
mod notices;
mod steps;
mod tables;

use std::collections::VecDeque;
use std::time::Duration;

use super::moments::Moments;
use crate::findings::Finding;
use crate::plugin::config::Settings;
use crate::plugin::lock::Seen;
use crate::record::{Record, Unusable};
use crate::row::Decision;
use crate::setup::stage::stage;
use crate::source::Kind;
use crate::text;

pub use answer::{Answered, HeldFile, OnHold};
pub use notices::Notice;
pub use steps::{Step, StepProgress};
pub use tables::{Bar, Ending, Group, Row, Run, Transfer};

/// Everything that the page depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Time and timezone.
    pub moments: Moments,
    /// The configuration, or what is wrong with it.
    pub settings: Result<Settings, Vec<Finding>>,
    /// The record, or why there is none.
    pub record: Result<Record, Unusable>,
    /// Whether a run goes on.
    pub lock: Seen,
    /// The lines at the end of the log that change while a run goes on.
    pub progress: Vec<String>,
    /// The host was asked for a run that it has not begun yet.
    pub is_run_planned: bool,
    /// The form was saved with other values since the last run.
    pub is_changed: bool,
    /// The number by which the host knows the plugin.
    pub plugin_id: Option<u64>,
    /// Somebody asks for all backups that are recorded.
    pub shows_all: bool,
}

impl Facts {
    /// The address that the admin was last asked to open, if it is that of the configured app.
    fn url(&self, record: &Record) -> Option<String> {
        let stage = stage(self.settings.as_ref().ok()?);
        let key = &stage.app()?.key;
        let shown = record.authorization.as_ref();
        shown
            .filter(|shown| shown.app_key == *key)
            .map(|shown| shown.url.clone())
    }
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
    /// Where the plugin's form is, seen from the page.
    ///
    /// Assumption: the page is at `crm/_plugins/<name>/public.php`, and the form at `crm/system/plugins/<number>`.
    pub form: Option<String>,
    /// A run goes on.
    pub is_running: bool,
    /// What came of the form that was sent last.
    pub answer: Option<Answered>,
    /// Whether somebody may want a run now.
    pub offers_run: bool,
    /// What waits for the admin's word.
    pub on_hold: Option<OnHold>,
    /// How many backups are safe, and when the last run was; unless the lead says it.
    pub summary: Vec<String>,
    /// What else there is to know.
    pub notices: Vec<Notice>,
    /// The steps of the setup, until it is done.
    pub steps: Vec<Step>,
    /// What is being uploaded.
    pub transfers: Vec<Transfer>,
    /// The backups by month, newest first.
    pub backups: Vec<Group>,
    /// How many there are beyond those.
    pub more_backups: usize,
    /// How many of these can be shown here.
    pub recorded_backups: usize,
    /// All that are recorded are shown.
    pub shows_all: bool,
    /// The names say more than the times.
    pub is_of_folder: bool,
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
    /// The keys that new copies are encrypted to, by number; empty where they are not.
    pub keys: String,
    /// The timezone of all times.
    pub zone: String,
    /// The time of the page.
    pub now: String,
}

/// Decides what the page says.
pub fn report(facts: &Facts) -> Report {
    let moments = &facts.moments;
    let empty = Record::default();
    let record = facts.record.as_ref().unwrap_or(&empty);
    let lists = record.lists.as_ref();
    let mut notices = notices::notices(facts, record);
    // Stable: of equally urgent ones the first stays first.
    notices.sort_by_key(|notice| notice.tone);
    let mut sentences = safety(record, moments);
    let is_well = record.runs.back().is_some_and(|run| run.is_well);
    if notices.is_empty() && !is_well {
        notices.push(notices::not_well(record, moments));
    }
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
    let source = facts.settings.as_ref().map_or(Kind::Uisp, Kind::of).name();
    let (backups, more_backups) = tables::groups(lists, moments, facts.shows_all, source);
    Report {
        lead,
        form: facts
            .plugin_id
            .map(|number| format!("../../system/plugins/{number}")),
        is_running: facts.lock.is_running(),
        answer: answer::answer(facts, record),
        offers_run: answer::offers_run(facts),
        on_hold: answer::on_hold(record, moments),
        summary: sentences.into(),
        notices,
        steps: steps::steps(facts, record),
        transfers: facts
            .progress
            .iter()
            .map(|line| tables::transfer(line))
            .collect(),
        backups,
        more_backups,
        recorded_backups: lists.map_or(0, |lists| lists.rows.len()),
        shows_all: facts.shows_all,
        is_of_folder: facts
            .settings
            .as_ref()
            .is_ok_and(|settings| Kind::of(settings) == Kind::Folder),
        listed_at: lists
            .map(|lists| moments.at(lists.taken_at))
            .unwrap_or_default(),
        runs: tables::runs(record, moments),
        bars: tables::bars(record, moments),
        highest_bar: text::bytes(tables::highest(record)),
        source,
        folder: facts
            .settings
            .as_ref()
            .map(|settings| settings.mirror_folder.clone())
            .unwrap_or_default(),
        keys: facts
            .settings
            .as_ref()
            .ok()
            .and_then(|settings| settings.encrypt_to.as_ref())
            .map(|keys| text::count(keys.count(), "key"))
            .unwrap_or_default(),
        zone: moments.zone_name(),
        now: moments.at(moments.now),
    }
}

/// How many backups are safe, and when the last run was.
fn safety(record: &Record, moments: &Moments) -> VecDeque<String> {
    let last_run = record.runs.back();
    let safe = record.lists.as_ref().map(|lists| {
        let safe = tables::safe_sentence(lists);
        // A run that could not read both lists leaves the older picture.
        let is_old = last_run.is_some_and(|run| run.started_at > lists.taken_at);
        let as_of = if is_old {
            format!(", as listed {}", moments.at(lists.taken_at))
        } else {
            String::new()
        };
        format!("{safe}{as_of}.")
    });
    let newest = record.lists.as_ref().and_then(|lists| {
        let newest = lists
            .rows
            .iter()
            .find(|row| row.decision == Decision::Mirrored)?;
        Some(format!(
            "Newest verified copy: {}.",
            moments.at(newest.finished()?.created_at)
        ))
    });
    let last_run = last_run.map(|run| {
        let took = match run.seconds {
            0 => "less than a second".into(),
            // Number and unit stay together.
            seconds => text::duration(Duration::from_secs(seconds)).replace(' ', "\u{a0}"),
        };
        format!("Last run {}, {took}.", moments.at(run.started_at))
    });
    safe.into_iter().chain(newest).chain(last_run).collect()
}
