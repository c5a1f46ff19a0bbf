//! What the plugin remembers between runs: `data/state.json`.
//!
//! Nothing here decides anything, and nothing is kept that the two listings can tell. Losing the
//! file costs no backup: without memory nothing in Dropbox was ever *seen*, so nothing is deleted.

pub mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, mem};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::{BackupId, Version};
use crate::clock::{self, Stopwatch};
use crate::dropbox::content_hash::{BlockHash, BlockHasher, ContentHash, Digested, block_hash};
use crate::inspect::Verdict;
use crate::plugin::own::Folder;
use crate::plugin::{self, atomic};
use crate::secret::Secret;
use crate::text;
use crate::zone::Zone;

use crate::source::Origin;
use journal::Journals;

/// Version of the format that this program writes.
const VERSION: u32 = 1;
/// Largest state that is read: a mirror of 100,000 files has about 30 MB.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What is saved now and then waits so many times as long as the last time took.
const SAVE_PAUSE: u32 = 20;

/// Everything remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    version: u32,
    /// IANA name of the host's timezone, for times until the host can be asked.
    pub timezone: Option<String>,
    /// The authorization that the admin has been asked for.
    pub pending_authorization: Option<PendingAuthorization>,
    /// The folder whose list the ids are from; none where they are UISP's.
    pub origin: Option<Origin>,
    /// Ids that this installation has met in the source's list and that still matter.
    pub seen: BTreeMap<BackupId, Seen>,
    /// Ids whose files wait for the admin's word before they are deleted.
    pub on_hold: BTreeSet<BackupId>,
    /// Those of them for which the admin has given it.
    pub agreed: BTreeSet<BackupId>,
    /// The tick in the form has been taken note of: it counts once, also where it could not be taken away.
    pub tick_is_used: bool,
    /// What the source listed and the mirror does not have in this version.
    pub pending: BTreeMap<BackupId, Pending>,
    /// Names that Dropbox has refused, and when.
    pub refused: BTreeMap<BackupId, DateTime<Utc>>,
    /// What is known to be in Dropbox, verified against the source.
    pub mirrored: BTreeMap<BackupId, Mirrored>,
    /// What was known of copies that are not sealed, since sealed ones have taken their place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unsealed: BTreeMap<BackupId, Mirrored>,
    /// Whether the owner can open what is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Dropbox said that the authorization does not let the plugin know the space.
    pub space_is_unknowable: bool,
    /// How many times in a row the plugin itself has asked for the next run.
    pub continuations: u32,
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
    /// When it was made, where no version of it says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A backup that the mirror does not have, or not in its present version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Since when.
    pub since: DateTime<Utc>,
    /// So many runs in a row have found it like this.
    pub runs: u32,
    /// The version that the newest of them found, and since when it has been that.
    pub version: Option<Version>,
    /// Since when the version has been the same.
    pub same_since: DateTime<Utc>,
}

/// A word that only the owner of the key can read: copies that are not sealed stay until it was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Fingerprint of the recipients that it was sealed to.
    pub recipients: String,
    /// Fingerprint of the word, which itself only who can open what is sealed shall know.
    pub answer: String,
    /// The word, sealed, in base64.
    pub sealed: String,
    /// Whether it was given back.
    pub is_given: bool,
}

/// A file in Dropbox that was found equal to its backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    /// Version of the file.
    pub rev: String,
    /// Hash of the file, and of the backup unless the file is sealed.
    pub content_hash: ContentHash,
    /// The file's length in bytes.
    pub bytes: u64,
    /// When they were compared; of a copy that is not sealed, when a sealed one took its place.
    pub verified_at: DateTime<Utc>,
    /// Which version of the backup it was, where backups have versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What is in the file, where it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
    /// Whether the backup is a complete archive.
    #[serde(default, skip_serializing_if = "Verdict::is_not_checked")]
    pub inspected: Verdict,
    /// Its deletion was ordered, and perhaps carried out: a file of another version is one that somebody has brought back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_being_deleted: bool,
}

/// What is in a sealed file, and who can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Hash of the backup.
    pub content_hash: ContentHash,
    /// Its length in bytes.
    pub bytes: u64,
    /// Fingerprint of the recipients.
    pub recipients: String,
}

/// What is known of a backup's file in Dropbox: of the sealed one, or of the one that is not.
pub fn known<'a>(
    mirrored: &'a BTreeMap<BackupId, Mirrored>,
    unsealed: &'a BTreeMap<BackupId, Mirrored>,
    id: &BackupId,
    is_sealed: bool,
) -> Option<&'a Mirrored> {
    let known = mirrored.get(id);
    let known = known.filter(|known| known.inside.is_some() == is_sealed);
    known.or_else(|| unsealed.get(id).filter(|_| !is_sealed))
}

impl Mirrored {
    /// Length and hash of the backup.
    pub fn of_backup(&self) -> Digested {
        let itself = Digested {
            bytes: self.bytes,
            content_hash: self.content_hash,
        };
        self.inside.as_ref().map_or(itself, Inside::digested)
    }
}

impl Inside {
    /// Length and hash of the backup.
    pub fn digested(&self) -> Digested {
        Digested {
            bytes: self.bytes,
            content_hash: self.content_hash,
        }
    }
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
    /// Hash of the file's content.
    saved: Option<BlockHash>,
    /// Since the last save, and how long it took.
    since_save: (Stopwatch, Duration),
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
            since_save: (Stopwatch::start(), Duration::ZERO),
            memory,
            journals: Journals::new(path.with_file_name("transfers")),
        };
        let fresh = || holding(Memory::default(), None);
        let cause = match Memory::read_with_hash(path) {
            Ok(None) => return Ok(Opened::Sound(fresh())),
            Ok(Some((memory, hash))) => return Ok(Opened::Sound(holding(memory, Some(hash)))),
            Err(Fault::Unreadable(error)) => return Err(error),
            Err(Fault::Damaged(cause)) => cause,
        };
        let name = format!(
            "state.json.damaged-{}",
            clock::now().format("%Y%m%dT%H%M%SZ")
        );
        let set_aside = path.with_file_name(&name);
        let (folder, own) = Folder::of(path)?;
        folder.rename(own, name.as_ref())?;
        Ok(Opened::Rebuilt {
            state: fresh(),
            set_aside,
            cause,
        })
    }

    /// Whether it is time to save what may also be saved later: however much is remembered, that takes a
    /// small part of a run's time.
    pub fn is_save_due(&self) -> bool {
        let (since, took) = self.since_save;
        since.elapsed() >= SAVE_PAUSE * took
    }

    /// Writes the memory to disk, synced, if it has changed.
    ///
    /// # Errors
    /// If it cannot be written; the file's old content is whole then.
    pub fn save(&mut self) -> io::Result<()> {
        let begun = Stopwatch::start();
        let written = self.write();
        self.since_save = (Stopwatch::start(), begun.elapsed());
        written
    }

    fn write(&mut self) -> io::Result<()> {
        self.memory.version = VERSION;
        let hash = self.memory.hash()?;
        if self.saved == Some(hash) {
            return Ok(());
        }
        atomic::write_with(&self.path, |file| {
            Ok(serde_json::to_writer_pretty(file, &self.memory)?)
        })?;
        self.saved = Some(hash);
        Ok(())
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
        Ok(Self::read_with_hash(path)?.map(|(memory, _)| memory))
    }

    /// The same with the hash of the file's content.
    fn read_with_hash(path: &Path) -> Result<Option<(Self, BlockHash)>, Fault> {
        match fs::metadata(path) {
            Ok(file) if file.len() > BYTES_MAX => {
                return Err(Fault::Damaged(format!("it has {} bytes", file.len())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::Unreadable(error)),
        }
        let content = plugin::read(path, BYTES_MAX).map_err(Fault::Unreadable)?;
        let mut memory: Self = serde_json::from_slice(&content)
            .map_err(|error| Fault::Damaged(text::json_fault(&error)))?;
        let hash = block_hash(&content);
        drop(content);
        memory.pack();
        if memory.version == VERSION {
            Ok(Some((memory, hash)))
        } else {
            Err(Fault::Damaged(format!(
                "its version is {}, not {VERSION}",
                memory.version
            )))
        }
    }

    /// Entries that come one by one leave a map's nodes half empty; together, they fill them.
    fn pack(&mut self) {
        self.seen = mem::take(&mut self.seen).into_iter().collect();
        self.pending = mem::take(&mut self.pending).into_iter().collect();
        self.mirrored = mem::take(&mut self.mirrored).into_iter().collect();
    }

    /// Forgets what another source has shown, if that is not the one that is listed now.
    pub fn begin_with(&mut self, origin: &Option<Origin>) {
        if self.origin != *origin {
            self.origin.clone_from(origin);
            self.seen.clear();
            self.on_hold.clear();
            self.agreed.clear();
            self.pending.clear();
            self.refused.clear();
            self.mirrored.clear();
            self.unsealed.clear();
        }
    }

    /// Notes what is known of the file that stands for a backup now. What was known of one that is not sealed is kept
    /// when a sealed one takes its place, at this time.
    pub fn note_mirrored(&mut self, id: &BackupId, mirrored: Mirrored, now: DateTime<Utc>) {
        let is_sealed = mirrored.inside.is_some();
        let before = self.mirrored.insert(id.clone(), mirrored);
        if let Some(before) = before.filter(|before| is_sealed && before.inside.is_none()) {
            let verified_at = now;
            let before = Mirrored {
                verified_at,
                ..before
            };
            self.unsealed.insert(id.clone(), before);
        }
    }

    /// Whether the owner has shown that what is sealed to these recipients can be opened.
    pub fn is_proved(&self, recipients: &str) -> bool {
        let proof = self.proof.as_ref();
        proof.is_some_and(|proof| proof.is_given && proof.recipients == recipients)
    }

    /// The host's timezone, or UTC until it is known.
    pub fn zone(&self) -> Zone {
        let name = self.timezone.as_deref();
        name.and_then(|name| name.parse().ok()).unwrap_or(Zone::UTC)
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
}
