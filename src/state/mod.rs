//! What the plugin remembers between runs: `data/state.json`.
//!
//! Nothing here decides anything, and nothing is kept that the two listings can tell. Losing the
//! file costs no backup: without memory nothing in Dropbox was ever *seen*, so nothing is deleted.

pub mod journal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::{BackupId, Version};
use crate::clock;
use crate::dropbox::content_hash::{BlockHash, BlockHasher, ContentHash};
use crate::plugin::{self, atomic};
use crate::secret::Secret;
use crate::text;

use journal::Journals;

/// Version of the format that this program writes.
const VERSION: u32 = 1;
/// Largest state that is read: a mirror of 100,000 files has about 30 MB.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Runs kept for the record.
const RUNS_MAX: usize = 60;

/// Everything remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    version: u32,
    /// IANA name of the host's timezone, for times until the host can be asked.
    pub timezone: Option<String>,
    /// The authorization that the admin has been asked for.
    pub pending_authorization: Option<PendingAuthorization>,
    /// The backup folder whose list the ids are from; none where they are UISP's.
    pub backup_folder: Option<PathBuf>,
    /// Ids that this installation has met in the source's list and that still matter.
    pub seen: BTreeMap<BackupId, Seen>,
    /// Ids whose files wait for the admin's word before they are deleted.
    pub on_hold: BTreeSet<BackupId>,
    /// What is known to be in Dropbox, verified against the source.
    pub mirrored: BTreeMap<BackupId, Mirrored>,
    /// The account's space, where the authorization lets the plugin know it.
    pub space: Option<Space>,
    /// Dropbox said that the authorization does not let the plugin know the space.
    pub space_is_unknowable: bool,
    /// How many times in a row the plugin itself has asked for the next run.
    pub continuations: u32,
    /// The newest runs, oldest first.
    pub runs: VecDeque<RunRecord>,
    /// What the newest run that could read both lists found.
    pub inventory: Option<Inventory>,
}

/// One authorization in the making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingAuthorization {
    /// The app that the URL was made for.
    pub app_key: String,
    /// The verifier that belongs to the URL's challenge.
    pub code_verifier: Secret,
}

/// A backup that the source's list has named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Since when a complete list has not named it any more.
    pub missing_since: Option<DateTime<Utc>>,
}

/// A file in Dropbox that was found equal to its backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    /// Version of the file.
    pub rev: String,
    /// Hash of the backup, and of the file.
    pub content_hash: ContentHash,
    /// Length in bytes.
    pub bytes: u64,
    /// When they were compared.
    pub verified_at: DateTime<Utc>,
    /// Which version of the backup it was, where backups have versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
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

/// One run, for the status page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub seconds: u64,
    /// Whether everything was done.
    pub succeeded: bool,
    /// Files sent.
    pub uploaded: u64,
    /// Bytes of the files sent.
    pub uploaded_bytes: u64,
    /// Files deleted.
    pub deleted: u64,
    /// Things left for the next run.
    #[serde(default)]
    pub left: u64,
    /// The last error, if there was one.
    pub error: Option<String>,
}

/// What both lists showed, and what became of it since; for the status page, nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// When the lists were read.
    pub taken_at: DateTime<Utc>,
    /// The newest backups of the source's list.
    pub listed: BTreeMap<BackupId, Listed>,
    /// The finished ones that are older than those.
    #[serde(default)]
    pub older: Older,
    /// Managed files whose backups the source does not list, newest first, as far as they are recorded.
    pub kept: Vec<Kept>,
    /// How many there are of them.
    pub kept_count: usize,
}

/// Finished backups that are counted, not recorded one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Older {
    /// How many there are.
    pub finished: usize,
    /// How many of them are in Dropbox.
    pub stored: usize,
}

/// A backup in the source's list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Whether it can be copied.
    pub finished: bool,
    /// Its file in Dropbox.
    pub file: Option<StoredFile>,
}

/// A file in Dropbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Since when Dropbox has it.
    pub stored_at: Option<DateTime<Utc>>,
    /// When it was found equal to its backup, if it was.
    pub verified_at: Option<DateTime<Utc>>,
}

/// A managed file whose backup the source does not list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The file.
    pub file: StoredFile,
    /// Why it is there.
    pub because: KeptBecause,
}

/// Why a managed file is there although the source does not list its backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBecause {
    /// The source's list could not be trusted that far.
    ListUnfit,
    /// This installation never saw its backup.
    NeverSeen,
    /// It stays until then.
    RetainedUntil(DateTime<Utc>),
    /// It waits for the admin's word.
    OnHold,
    /// Nothing keeps it: the next run that completes deletes it.
    Due,
}

/// Why there is no memory to read although there is a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The system does not let us read it.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It cannot be understood.
    #[error("{0}")]
    Damaged(String),
}

/// The memory and the file that it lives in.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// Hash of the memory as it stands in the file.
    saved: Option<BlockHash>,
    /// What is remembered; changes reach the disk with [`State::save`].
    pub memory: Memory,
    /// What unfinished uploads have left.
    pub journals: Journals,
}

/// How a state was found.
#[derive(Debug)]
pub enum Opened {
    /// Read, or new because there was none.
    Sound(State),
    /// The file could not be understood; it was set aside and the memory is empty.
    Rebuilt {
        /// The fresh state.
        state: State,
        /// Where the damaged file is now.
        set_aside: PathBuf,
        /// What was wrong with it.
        cause: String,
    },
}

impl State {
    /// Reads the state.
    ///
    /// # Errors
    /// If the file can neither be read nor, being damaged, be set aside.
    pub fn open(path: &Path) -> io::Result<Opened> {
        let holding = |memory: Memory, saved| Self {
            path: path.to_owned(),
            saved,
            memory,
            journals: Journals::new(path.with_file_name("transfers")),
        };
        let fresh = || holding(Memory::default(), None);
        let cause = match Memory::read(path) {
            Ok(None) => return Ok(Opened::Sound(fresh())),
            Ok(Some(memory)) => {
                let hash = memory.hash()?;
                return Ok(Opened::Sound(holding(memory, Some(hash))));
            }
            Err(Fault::Unreadable(error)) => return Err(error),
            Err(Fault::Damaged(cause)) => cause,
        };
        let name = format!(
            "state.json.damaged-{}",
            clock::now().format("%Y%m%dT%H%M%SZ")
        );
        let set_aside = path.with_file_name(name);
        fs::rename(path, &set_aside)?;
        Ok(Opened::Rebuilt {
            state: fresh(),
            set_aside,
            cause,
        })
    }

    /// Writes the memory to disk, synced, if it has changed.
    ///
    /// # Errors
    /// If it cannot be written; the file's old content is whole then.
    pub fn save(&mut self) -> io::Result<()> {
        self.memory.version = VERSION;
        let hash = self.memory.hash()?;
        if self.saved == Some(hash) {
            return Ok(());
        }
        let content = serde_json::to_vec_pretty(&self.memory)?;
        atomic::write(&self.path, &content)?;
        self.saved = Some(hash);
        Ok(())
    }
}

impl Inventory {
    /// Notes that a backup's file is there and equals it; `is_new` if it was not there before.
    pub fn note_stored(&mut self, id: &BackupId, file: StoredFile, is_new: bool) {
        match self.listed.get_mut(id) {
            Some(listed) => listed.file = Some(file),
            None if is_new => self.older.stored = self.older.finished.min(self.older.stored + 1),
            None => {}
        }
    }

    /// How many finished backups there are, and how many of them are in Dropbox.
    pub fn finished_and_stored(&self) -> (usize, usize) {
        let finished = self.listed.values().filter(|listed| listed.finished);
        let stored = finished.clone().filter(|listed| listed.file.is_some());
        (
            self.older.finished + finished.count(),
            self.older.stored + stored.count(),
        )
    }

    /// Notes that a file is gone.
    pub fn note_deleted(&mut self, name: &str) {
        self.kept.retain(|kept| kept.file.name != name);
        self.kept_count = self.kept_count.saturating_sub(1);
    }
}

impl Memory {
    /// Hash of the file that it is written to; the content itself may have tens of megabytes.
    fn hash(&self) -> io::Result<BlockHash> {
        let mut hasher = BlockHasher::default();
        serde_json::to_writer_pretty(&mut hasher, self)?;
        Ok(hasher.finish())
    }

    /// Reads what is remembered and changes nothing; `None` if there is no memory yet.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(path: &Path) -> Result<Option<Self>, Fault> {
        match fs::metadata(path) {
            Ok(file) if file.len() > BYTES_MAX => {
                return Err(Fault::Damaged(format!("it has {} bytes", file.len())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::Unreadable(error)),
        }
        let content = plugin::read(path, BYTES_MAX).map_err(Fault::Unreadable)?;
        let memory: Self = serde_json::from_slice(&content)
            .map_err(|error| Fault::Damaged(text::json_fault(&error)))?;
        if memory.version == VERSION {
            Ok(Some(memory))
        } else {
            Err(Fault::Damaged(format!(
                "its version is {}, not {VERSION}",
                memory.version
            )))
        }
    }

    /// The latest time that an earlier run has noted. A clock that shows less was set back, and must
    /// not make young absences look old when it is right again.
    pub fn latest_time(&self) -> DateTime<Utc> {
        let runs = self.runs.iter().map(|run| run.started_at);
        let absences = self.seen.values().filter_map(|seen| seen.missing_since);
        runs.chain(absences).max().unwrap_or_default()
    }

    /// Adds a run to the record and drops the oldest beyond the bound.
    pub fn record_run(&mut self, run: RunRecord) {
        self.runs.push_back(run);
        while self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(path: &Path) -> State {
        match State::open(path).unwrap() {
            Opened::Sound(state) => state,
            Opened::Rebuilt { cause, .. } => panic!("damaged: {cause}"),
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = sound(&path);
        let id = BackupId::parse("a-1").unwrap();
        state.memory.seen.insert(id.clone(), Seen::default());
        state.memory.on_hold.insert(id);
        state.memory.timezone = Some("Europe/Prague".into());
        state.save().unwrap();
        assert_eq!(sound(&path).memory, state.memory);
    }

    #[test]
    fn the_state_of_an_older_version_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let old = r#"{"version":1,"runs":[{"started_at":"2026-11-21T03:12:00Z","seconds":1,"succeeded":true,"uploaded":0,"uploaded_bytes":0,"deleted":0,"error":null}]}"#;
        fs::write(&path, old).unwrap();
        assert_eq!(sound(&path).memory.runs.len(), 1);
    }

    #[test]
    fn an_unchanged_memory_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = sound(&path);
        state.save().unwrap();
        fs::remove_file(&path).unwrap();
        state.save().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_file_is_set_aside_whole() {
        for damaged in [
            "",
            "{\"version\":1,\"seen\":",
            "[]",
            "{\"version\":99}",
            "{\"version\":1,\"on_hold\":[\"../x\"]}",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.json");
            fs::write(&path, damaged).unwrap();
            let Opened::Rebuilt {
                state, set_aside, ..
            } = State::open(&path).unwrap()
            else {
                panic!("taken for sound: {damaged}");
            };
            assert!(state.memory.seen.is_empty() && !path.exists());
            assert_eq!(fs::read_to_string(set_aside).unwrap(), damaged);
        }
    }

    #[test]
    fn the_record_of_runs_is_bounded() {
        let mut memory = Memory::default();
        for seconds in 0..100 {
            memory.record_run(RunRecord {
                started_at: clock::now(),
                seconds,
                succeeded: true,
                uploaded: 0,
                uploaded_bytes: 0,
                deleted: 0,
                left: 0,
                error: None,
            });
        }
        assert_eq!(memory.runs.len(), RUNS_MAX);
        assert_eq!(memory.runs.back().map(|run| run.seconds), Some(99));
    }
}
