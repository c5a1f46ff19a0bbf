//! What the page says: from what is known to headline, notices, tables. Pure; all of the page's wording is here.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::moments::{self, Moments};
use crate::advice::{
    APP_CONSOLE, FIELD_ACCESS_CODE, FIELD_APP_KEY, FIELD_CONFIRM_CLEANUP, FIELD_LEGACY_TOKEN,
    FIELD_UISP_TOKEN,
};
use crate::plugin::config::Settings;
use crate::plugin::lock::Seen;
use crate::setup::stage::{Stage, stage};
use crate::state::{Inventory, KeptBecause, Memory, RunRecord};
use crate::text;

/// Rows of the table of backups; there may be many more.
const ROWS_MAX: usize = 100;
/// Rows of the list of runs; the chart has all that are remembered.
const RUNS_MAX: usize = 10;
/// Less free space than this share of all is little.
const FREE_SHARE_MIN: u64 = 20;
/// Less free space than so many of the largest backup is little.
const FREE_BACKUPS_MIN: u64 = 3;

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
    /// When the lists were read.
    pub listed_at: Option<String>,
    /// The newest runs, newest first.
    pub runs: Vec<Run>,
    /// All runs that are remembered, oldest first.
    pub bars: Vec<Bar>,
    /// Bytes of the highest bar.
    pub highest_bar: String,
    /// The mirror folder below the app's own.
    pub folder: String,
    /// The timezone of all times.
    pub zone: String,
    /// The time of the page.
    pub now: String,
}

/// One step of the setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub title: &'static str,
    /// Where the admin stands.
    pub progress: StepProgress,
    /// What to do; for the current step only.
    pub texts: Vec<String>,
    /// What to open for it.
    pub link: Option<Link>,
}

/// Where the admin stands with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepProgress {
    /// Behind.
    Done,
    /// To be done now.
    Current,
    /// To come.
    Ahead,
}

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
    /// Whether UISP has it.
    pub in_uisp: &'static str,
    /// Whether and since when Dropbox has it.
    pub in_dropbox: String,
    /// Whether and when it was compared.
    pub verified: String,
    /// It is safe.
    pub is_safe: bool,
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

/// Decides what the page says.
pub fn report(facts: &Facts) -> Report {
    let moments = &facts.moments;
    let empty = Memory::default();
    let memory = facts.memory.as_ref().unwrap_or(&empty);
    let mut notices = notices(facts, memory);
    // Stable: of equally urgent ones the first stays first.
    notices.sort_by_key(|notice| notice.tone);
    let last_run = memory.runs.back().map(|run| {
        let took = text::duration(Duration::from_secs(run.seconds));
        format!("Last run {}, {took}.", moments.at(run.started_at))
    });
    let safe = memory.inventory.as_ref().map(safe_sentence);
    let mut summary: Vec<String> = safe.into_iter().chain(last_run).collect();
    let lead = if notices.is_empty() {
        let title = if summary.is_empty() {
            "Nothing is known yet.".into()
        } else {
            summary.remove(0)
        };
        Notice {
            tone: Tone::Good,
            title,
            texts: Vec::new(),
            link: None,
        }
    } else {
        notices.remove(0)
    };
    let (backups, more_backups) = rows(memory.inventory.as_ref(), moments);
    let highest = memory.runs.iter().map(|run| run.uploaded_bytes).max();
    let highest = highest.unwrap_or_default();
    Report {
        lead,
        summary,
        notices,
        steps: steps(facts, memory),
        transfers: facts.progress.iter().map(|line| transfer(line)).collect(),
        backups,
        more_backups,
        listed_at: memory
            .inventory
            .as_ref()
            .map(|inventory| moments.at(inventory.taken_at)),
        runs: memory
            .runs
            .iter()
            .rev()
            .take(RUNS_MAX)
            .map(|run| listed_run(run, moments))
            .collect(),
        bars: memory
            .runs
            .iter()
            .map(|run| bar(run, highest, moments))
            .collect(),
        highest_bar: text::bytes(highest),
        folder: facts
            .settings
            .as_ref()
            .map(|settings| settings.mirror_folder.clone())
            .unwrap_or_default(),
        zone: moments.zone_name(),
        now: moments.at(moments.now),
    }
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
fn notices(facts: &Facts, memory: &Memory) -> Vec<Notice> {
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
            "Correct the permissions of the plugin's data folder, so that its file state.json can be read by UISP's web server.",
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
    let is_missing = settings.uisp_token.is_none() && settings.backup_directory.is_none();
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
    let mut notices = Vec::new();
    if !is_running {
        notices.extend(ended_badly(facts, memory));
        notices.extend(overdue_run(&facts.moments, memory));
        notices.extend(left_over(memory));
    }
    notices.extend(overdue_backup(&facts.moments, settings, memory));
    notices.extend(on_hold(memory));
    notices.extend(little_space(memory));
    notices.extend(legacy_token(facts, settings));
    notices
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
    let is_asked_again = memory.pending_authorization.is_some();
    Some(Notice {
        tone: Tone::Bad,
        title: "The last run failed.".into(),
        texts: vec![error.unwrap_or_else(|| "The plugin's log says why.".into())],
        link: facts
            .url
            .clone()
            .filter(|_| is_asked_again)
            .map(allow_access),
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

fn overdue_backup(moments: &Moments, settings: &Settings, memory: &Memory) -> Option<Notice> {
    let inventory = memory.inventory.as_ref()?;
    let (maker, remedy) = if settings.backup_directory.is_some() {
        (
            "The folder",
            "See whether the program that makes the backups still does.",
        )
    } else {
        (
            "UISP",
            "See in UISP under Settings, Backups, whether backups are made.",
        )
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
    moments.is_overdue(newest, usual).then(|| {
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

fn on_hold(memory: &Memory) -> Option<Notice> {
    let count = memory.on_hold.len();
    (count > 0).then(|| {
        let verb = if count == 1 { "is" } else { "are" };
        notice(
            Tone::Warning,
            format!("{} in Dropbox {verb} on hold.", text::count(count, "backup")),
            format!(
                "UISP no longer lists them, but they are most of what the mirror holds, as after restoring UISP from one of these backups. Nothing of it is deleted. If they were deleted in UISP on purpose, tick \"{FIELD_CONFIRM_CLEANUP}\" in the plugin's configuration and save; otherwise there is nothing to do."
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

fn allow_access(url: String) -> Link {
    Link {
        url,
        label: "Open Dropbox and allow access",
    }
}

/// The steps of the setup; none once the plugin has run with an authorization.
fn steps(facts: &Facts, memory: &Memory) -> Vec<Step> {
    let Ok(settings) = &facts.settings else {
        return Vec::new();
    };
    let (current, texts, link) = match stage(settings) {
        Stage::NeedsAppKey => (0, app_key_texts(), Some(Link {
            url: APP_CONSOLE.into(),
            label: "Open Dropbox's App Console",
        })),
        Stage::NeedsCode { legacy: None, .. } => match facts.url.clone() {
            Some(url) => (1, code_texts(), Some(allow_access(url))),
            None => (1, vec![
                "Save the plugin's configuration once more, or click \"Execute manually\" on the plugin's page. The link then appears here and in the log.".into(),
            ], None),
        },
        Stage::HasCode { fallback: None, .. } => (1, vec![format!(
            "The code in the field \"{FIELD_ACCESS_CODE}\" is used by the next run. Click \"Execute manually\" on the plugin's page: the code expires after a few minutes."
        )], None),
        Stage::HasRefreshToken { .. } if memory.runs.is_empty() && facts.memory.is_ok() => (2, vec![
            "Dropbox accepted the code, and UISP was asked to start the plugin, which takes about a minute. If nothing happens, see that the plugin is enabled and click \"Execute manually\" on its page. Set its execution period to 24 hours.".into(),
        ], None),
        _ => return Vec::new(),
    };
    let mut guide = Some((texts, link));
    [
        "Choose the Dropbox app",
        "Allow access",
        "Copy the first backups",
    ]
    .into_iter()
    .enumerate()
    .map(|(number, title)| {
        let progress = match number.cmp(&current) {
            std::cmp::Ordering::Less => StepProgress::Done,
            std::cmp::Ordering::Equal => StepProgress::Current,
            std::cmp::Ordering::Greater => StepProgress::Ahead,
        };
        let is_current = progress == StepProgress::Current;
        let (texts, link) = guide.take_if(|_| is_current).unwrap_or_default();
        Step {
            title,
            progress,
            texts,
            link,
        }
    })
    .collect()
}

fn app_key_texts() -> Vec<String> {
    vec![
        "Create an app there with \"Scoped access\" and \"App folder\", and give it a name.".into(),
        "On its Permissions tab tick files.metadata.read and files.content.write, then submit."
            .into(),
        format!(
            "Copy the App key from its Settings tab into the field \"{FIELD_APP_KEY}\" of the plugin's configuration and save. This page then shows the next step."
        ),
    ]
}

fn code_texts() -> Vec<String> {
    vec![
        "Click \"Allow\" on Dropbox's page.".into(),
        format!(
            "Copy the access code that Dropbox shows into the field \"{FIELD_ACCESS_CODE}\" of the plugin's configuration and save soon: it expires after a few minutes."
        ),
    ]
}

/// Time and size of every finished backup; 0 where the size is not known.
fn finished(inventory: &Inventory) -> impl Iterator<Item = (DateTime<Utc>, u64)> {
    let finished = inventory.listed.values().filter(|listed| listed.finished);
    finished.map(|listed| {
        let bytes = listed.file.as_ref().map_or(0, |file| file.bytes);
        (listed.created_at, bytes)
    })
}

/// How many backups are safe.
fn safe_sentence(inventory: &Inventory) -> String {
    let finished = inventory.listed.values().filter(|listed| listed.finished);
    let stored = finished.clone().filter(|listed| listed.file.is_some());
    match (stored.count(), finished.count()) {
        (_, 0) => "There is no finished backup to copy.".into(),
        (1, 1) => "The only backup is in Dropbox.".into(),
        (stored, all) if stored == all => format!("All {all} backups are in Dropbox."),
        (stored, all) => format!("{stored} of {} are in Dropbox.", text::count(all, "backup")),
    }
}

/// The newest backups, and how many more there are.
fn rows(inventory: Option<&Inventory>, moments: &Moments) -> (Vec<Row>, usize) {
    let Some(inventory) = inventory else {
        return (Vec::new(), 0);
    };
    // By time, newest first; a file without a backup has the time in its name, which sorts alike.
    let mut rows: BTreeMap<(std::cmp::Reverse<String>, String), Row> = BTreeMap::new();
    for (id, listed) in &inventory.listed {
        let file = listed.file.as_ref();
        let name = file.map_or_else(|| id.to_string(), |file| file.name.clone());
        let created_at = moments.short(listed.created_at);
        let row = Row {
            size: file.map_or_else(|| "not known".into(), |file| text::bytes(file.bytes)),
            in_uisp: if listed.finished {
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
        rows.insert((std::cmp::Reverse(created_at), name), row);
    }
    for kept in &inventory.kept {
        let name = kept.file.name.clone();
        let created_at = time_in_name(&name);
        let row = Row {
            size: text::bytes(kept.file.bytes),
            in_uisp: match kept.because {
                KeptBecause::Unfinished => "not finished",
                KeptBecause::NeverSeen => "never seen",
                _ => "no longer",
            },
            in_dropbox: kept_text(kept.because, kept.file.stored_at, moments),
            verified: verified(Some(&kept.file), moments),
            is_safe: true,
            created_at: created_at.clone(),
            name: name.clone(),
        };
        rows.insert((std::cmp::Reverse(created_at), name), row);
    }
    let unrecorded = inventory.kept_count.saturating_sub(inventory.kept.len());
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
        KeptBecause::NeverSeen | KeptBecause::Unfinished | KeptBecause::ListUnfit => {
            since(stored_at, moments)
        }
    }
}

fn verified(file: Option<&crate::state::StoredFile>, moments: &Moments) -> String {
    match file.and_then(|file| file.verified_at) {
        Some(verified_at) => moments.short(verified_at),
        None => "no".into(),
    }
}

/// The time in a managed file's name, `unms-backup-20261119-0412_...`, as the table shows times.
fn time_in_name(name: &str) -> String {
    let digits: String = name.chars().filter(char::is_ascii_digit).take(12).collect();
    match chrono::NaiveDateTime::parse_from_str(&digits, "%Y%m%d%H%M") {
        Ok(time) => time.format("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "not known".into(),
    }
}

/// The parts of a progress line: `Uploading "NAME": 41 %, 5.0 MB of 12 MB, 3.0 MB/s, 2 s left.`
fn transfer(line: &str) -> Transfer {
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

fn listed_run(run: &RunRecord, moments: &Moments) -> Run {
    Run {
        started_at: moments.short(run.started_at),
        ending: Ending::of(run),
        work: work(run),
        took: text::duration(Duration::from_secs(run.seconds)),
        error: run.error.as_deref().map(first_sentence),
    }
}

/// What happened; what it means and what to do stands in the notice about the newest run, and in the log.
fn first_sentence(error: &str) -> String {
    let sentence = error.split_once(". ").map_or(error, |(first, _)| first);
    format!("{}.", sentence.trim_end_matches('.'))
}

fn bar(run: &RunRecord, highest: u64, moments: &Moments) -> Bar {
    let thousandths = u128::from(run.uploaded_bytes) * 1000 / u128::from(highest.max(1));
    let ending = Ending::of(run);
    Bar {
        height: u64::try_from(thousandths).unwrap_or_default(),
        ending,
        title: format!(
            "{}: {}, {}",
            moments.short(run.started_at),
            ending.word(),
            work(run)
        ),
    }
}
