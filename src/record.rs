//! `data/record.json`: what is only looked at. The newest runs, what both lists showed and what became of it since,
//! the space, the address to open. Nothing is decided by it, and losing it costs nothing; the status page reads this
//! file alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use crate::backup_id::BackupId;
use crate::findings::Finding;
use crate::plugin::{self, atomic};
use crate::row::{Decision, Reason, Row};
use crate::state::Pending;

/// Version of the format that this program writes.
const VERSION: u32 = 1;
/// Largest record that is read; the bounds below keep it under two megabytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Runs that are kept.
const RUNS_MAX: usize = 60;
/// Rows that are kept one by one: the newest.
const ROWS_MAX: usize = 1000;
/// Findings that are kept of an older run: what went wrong in the first place.
const OLD_FINDINGS_MAX: usize = 1;

/// Everything that is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    version: u32,
    #[serde(skip)]
    path: PathBuf,
    /// IANA name of the host's timezone.
    pub timezone: Option<String>,
    /// The address that the admin was last asked to open, until somebody did.
    pub authorization: Option<ShownAddress>,
    /// The account's space, where the authorization lets the plugin know it.
    pub space: Option<Space>,
    /// When the last run ended that found all well.
    pub well_at: Option<DateTime<Utc>>,
    /// Seconds from run to run of the watcher that has started the newest run, if one has.
    pub watched_every: Option<u64>,
    /// Variables of the environment of which it was told that they differ from the configuration.
    pub contradictions: Vec<String>,
    /// The newest runs, oldest first.
    pub runs: VecDeque<RunRecord>,
    /// What the newest run that could read both lists found.
    pub lists: Option<Lists>,
    /// By key a hash of each field of the form, as the last run or save of the form left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured: Option<BTreeMap<String, String>>,
    /// The same as the last run left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<BTreeMap<String, String>>,
    /// What was asked for last outside of a run, and what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What came of something that somebody has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When.
    pub at: DateTime<Utc>,
    /// What was asked for.
    pub asked: Asked,
    /// What there is to say to it.
    pub findings: Vec<Finding>,
}

/// What can be asked for outside of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A run.
    Run,
    /// To use an access code.
    Connect,
    /// To delete what is on hold.
    Agree,
    /// To work with what was saved in the form.
    Saved,
}

impl Asked {
    /// Its name in forms.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Connect => "connect",
            Self::Agree => "agree",
            Self::Saved => "saved",
        }
    }
}

/// An authorization URL; its challenge is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownAddress {
    /// The app that it was made for.
    pub app_key: String,
    /// The address.
    pub url: String,
}

/// Space in the Dropbox account at one time, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Used.
    pub used: u64,
    /// What there is in all.
    pub allocated: u64,
    /// When Dropbox said so.
    pub asked_at: DateTime<Utc>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub seconds: u64,
    /// Files sent.
    pub uploaded: u64,
    /// Bytes of the files sent.
    pub uploaded_bytes: u64,
    /// Files deleted.
    pub deleted: u64,
    /// Of the files sent, those that replaced a copy.
    #[serde(default)]
    pub replaced: u64,
    /// Things left for the next run.
    pub left: u64,
    /// Every backup that the source may have is in Dropbox in its present version, verified.
    #[serde(default)]
    pub is_well: bool,
    /// What deserves attention; of older runs, only what went wrong first.
    pub findings: Vec<Finding>,
}

/// What both lists showed, and what became of it since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// When they were read.
    pub taken_at: DateTime<Utc>,
    /// The newest rows, without foreign files.
    pub rows: Vec<Row>,
    /// How many rows there are in all.
    pub rows_count: usize,
    /// Finished backups of the source.
    pub finished: usize,
    /// How many of them have a verified file in Dropbox.
    pub stored: usize,
    /// How many backups the mirror does not have, or not in their present version.
    pub pending: usize,
    /// Since when the longest of them is missing.
    pub pending_since: Option<DateTime<Utc>>,
    /// Files that wait for the admin's word.
    pub on_hold: usize,
}

/// Why there is a record that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The system does not let us read it.
    Unreadable,
    /// It cannot be understood; the next run writes it anew.
    Damaged,
}

impl RunRecord {
    /// Whether everything was done that was to be done.
    pub fn succeeded(&self) -> bool {
        self.errors().next().is_none()
    }

    /// What went wrong.
    pub fn errors(&self) -> impl DoubleEndedIterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_error())
    }
}

impl Lists {
    /// What `rows` show, newest first.
    pub fn new(
        rows: &[Row],
        pending: &BTreeMap<BackupId, Pending>,
        taken_at: DateTime<Utc>,
    ) -> Self {
        let own = || rows.iter().filter(|row| row.id.is_some() && !row.is_gone());
        let finished = || own().filter(|row| row.finished().is_some() && !row.is_beside);
        Self {
            taken_at,
            rows: own().take(ROWS_MAX).cloned().collect(),
            rows_count: own().count(),
            finished: finished().count(),
            stored: finished()
                .filter(|row| row.decision == Decision::Mirrored)
                .count(),
            pending: pending.len(),
            pending_since: pending.values().map(|pending| pending.since).min(),
            on_hold: own()
                .filter(|row| row.decision == Decision::Keep(Reason::OnHold))
                .count(),
        }
    }
}

/// The files that wait for the admin's word.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// Their rows, newest first.
    pub files: Vec<&'a Row>,
    /// Their ids, each once and in order.
    pub ids: BTreeSet<&'a BackupId>,
}

impl Held<'_> {
    /// All bytes of them.
    pub fn bytes(&self) -> u64 {
        let sizes = self.files.iter().filter_map(|row| row.file.as_ref());
        sizes.map(|file| file.size).sum()
    }

    /// Tells these ids from all others.
    pub fn digest(&self) -> String {
        let mut digest = digest::Context::new(&digest::SHA256);
        for id in &self.ids {
            digest.update(id.as_str().as_bytes());
            // No id has a line break in it.
            digest.update(b"\n");
        }
        URL_SAFE_NO_PAD.encode(digest.finish())
    }
}

impl Lists {
    /// The files on hold; none where there are none, or more than are recorded, so that nobody agrees to what is not shown.
    pub fn held(&self) -> Option<Held<'_>> {
        let is_held = |row: &&Row| row.decision == Decision::Keep(Reason::OnHold);
        let files: Vec<&Row> = self.rows.iter().filter(is_held).collect();
        let ids = files.iter().filter_map(|row| row.id.as_ref()).collect();
        let is_whole = !files.is_empty() && files.len() == self.on_hold;
        is_whole.then_some(Held { files, ids })
    }
}

impl Record {
    /// The record for a run to go on with: empty where there is none that can be used.
    pub fn open(path: &Path) -> Self {
        let record = Self::read(path).unwrap_or_default();
        Self {
            version: VERSION,
            path: path.to_owned(),
            ..record
        }
    }

    /// Reads the record; an empty one if there is none.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        let content = match plugin::read(path, BYTES_MAX) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(_) => return Err(Unusable::Unreadable),
        };
        let record: Self = serde_json::from_slice(&content).map_err(|_| Unusable::Damaged)?;
        match record.version {
            VERSION => Ok(record),
            _ => Err(Unusable::Damaged),
        }
    }

    /// Writes it where it was opened.
    ///
    /// # Errors
    /// If it cannot be written; the file's old content is whole then.
    pub fn save(&self) -> io::Result<()> {
        atomic::write(&self.path, &serde_json::to_vec(self)?)
    }

    /// The fields of the form that differ from what was noted, by key; none where nothing was noted yet.
    pub fn changed_fields(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let Some(before) = &self.configured else {
            return Vec::new();
        };
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed = keys
            .into_iter()
            .filter(|&key| before.get(key) != now.get(key));
        changed.cloned().collect()
    }

    /// The most files that one of the runs has replaced; none without a run. Who runs every hour replaces once a
    /// day, so all that are kept count.
    pub fn usual_replacements(&self) -> Option<usize> {
        usize::try_from(self.runs.iter().map(|run| run.replaced).max()?).ok()
    }

    /// Adds a run and drops the oldest beyond the bound, and the details of the one before.
    pub fn add_run(&mut self, run: RunRecord) {
        if let Some(last) = self.runs.back_mut() {
            last.findings
                .sort_by_key(|finding| std::cmp::Reverse(finding.level));
            last.findings.truncate(OLD_FINDINGS_MAX);
        }
        self.runs.push_back(run);
        while self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
    }
}
