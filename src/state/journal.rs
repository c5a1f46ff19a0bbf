//! What an unfinished upload leaves for the next run: one small append-only file an upload, in
//! `data/transfers/`.
//!
//! The first line names the upload session; each further line is a block that Dropbox holds, the word that the
//! session is complete, or one that its commit has failed. Lines are appended by single writes and not synced: after a
//! power cut the file may lack its end, which costs sending some blocks again and nothing else,
//! because the content hash of the committed file is compared in any case. A journal takes 72 bytes
//! for every 4 MiB.
//!
//! For a sealed upload the first line also holds the key, and each block is announced by a synced line of its own before it
//! is sent: of what was sent under a key, nothing else may ever be sent under it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Inside;
use crate::age::Seal;
use crate::backup_id::{BackupId, Version};
use crate::clock;
use crate::dropbox::content_hash::{BlockHash, ContentHash, Digested};
use crate::plugin::JOURNAL;
use crate::plugin::own::{Access, Folder};

/// Who may read a journal, and look into the folder of all.
const MODES: (u32, u32) = (0o600, 0o777);
/// Version of the format.
const VERSION: u32 = 1;
/// Dropbox forgets a session after seven days; this leaves a run's time as a margin.
const SESSION_HOURS: i64 = 7 * 24 - 2;
/// Largest journal that is read: a file of 2 TB has 40 MB.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The journals of all unfinished uploads.
#[derive(Clone, Debug)]
pub struct Journals {
    folder: PathBuf,
}

/// The journal of one upload, open for appending until it says that the session is complete: thousands of sessions may
/// wait for their commit, and a process may have few files open at a time.
#[derive(Debug, Default)]
pub struct Journal {
    file: Mutex<Option<File>>,
}

/// What an earlier run has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The upload session.
    pub session_id: String,
    /// What it is sealed with.
    pub seal: Option<Seal>,
    /// Blocks that were sent, by their index.
    pub blocks: BTreeMap<u64, Sent>,
    /// Set if the session is closed and holds everything: that, and what is inside if it is sealed.
    pub complete: Option<(Digested, Option<Inside>)>,
    /// Runs in which the session was complete and could not be made a file.
    pub failed_commits: u32,
}

/// A block that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub hash: BlockHash,
    /// Whether Dropbox has confirmed that it holds it.
    pub is_held: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    session_id: String,
    started_at: DateTime<Utc>,
    /// What the session holds a part of, where backups have versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<Seal>,
}

impl Journals {
    /// The journals in `folder`, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder, which must be there and no link.
    fn open(&self) -> io::Result<Folder> {
        let (data, name) = Folder::of(&self.folder)?;
        data.subfolder(name)
    }

    fn make(&self) -> io::Result<Folder> {
        let (data, name) = Folder::of(&self.folder)?;
        data.make_subfolder(name, MODES.1)
    }

    /// Begins a journal for a session that was just started for this version of a backup, in place of
    /// an older one. An upload goes on without a journal that cannot be written; only carrying it on
    /// is lost.
    pub fn begin(
        &self,
        id: &BackupId,
        version: Option<Version>,
        seal: Option<&Seal>,
        session_id: &str,
    ) -> Journal {
        let head = Head {
            version: VERSION,
            session_id: session_id.to_owned(),
            started_at: clock::now(),
            backup: version,
            seal: seal.cloned(),
        };
        let begun = || {
            let name = file_name(id);
            let create = |folder: Folder| folder.file_or_new(name.as_ref(), Access::Write, MODES.0);
            // The folder goes with its last journal, which another lane may be removing just now.
            let mut file = (self.open().and_then(create)).or_else(|_| create(self.make()?))?;
            file.set_len(0)?;
            let line = serde_json::to_string(&head)?;
            writeln!(file, "{line}")?;
            Ok(file)
        };
        kept(begun())
    }

    /// Whether an earlier run has begun with the upload.
    pub fn is_begun(&self, id: &BackupId) -> bool {
        let name = file_name(id);
        let look = |folder: Folder| folder.look(name.as_ref());
        matches!(self.open().and_then(look), Ok(Some(_)))
    }

    /// Whether nothing was begun that is not finished.
    pub fn is_empty(&self) -> bool {
        let names = self.open().and_then(|folder| folder.names());
        let is_journal = |name: &OsString| name.to_string_lossy().ends_with(JOURNAL);
        !names.is_ok_and(|names| names.iter().any(is_journal))
    }

    /// Opens a journal to go on with it.
    ///
    /// # Errors
    /// If it cannot be opened. A sealed upload must not go on then: what is sent under its key could not be noted.
    pub fn resume(&self, id: &BackupId) -> io::Result<Journal> {
        let name = file_name(id);
        let file = self.open()?.file(name.as_ref(), Access::Append)?;
        Ok(Journal {
            file: Mutex::new(Some(file)),
        })
    }

    /// What an earlier run has left of the upload of this version, sealed to these recipients or to none, if Dropbox
    /// can still have it.
    pub fn unfinished(
        &self,
        id: &BackupId,
        version: Option<Version>,
        recipients: Option<&str>,
    ) -> Option<Unfinished> {
        let name = file_name(id);
        let file = self.open().ok()?.file(name.as_ref(), Access::Read).ok()?;
        // What is cut off may have announced something.
        if file.metadata().ok()?.len() > BYTES_MAX {
            return None;
        }
        let mut content = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut content).ok()?;
        let found = parse(&String::from_utf8_lossy(&content), version, clock::now())?;
        let sealed_to = found.seal.as_ref().map(|seal| seal.recipients.as_str());
        (sealed_to == recipients).then_some(found)
    }

    /// Forgets an upload: it is committed, or starts from its beginning.
    pub fn remove(&self, id: &BackupId) {
        let name = file_name(id);
        match self.open().and_then(|folder| folder.remove(name.as_ref())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::debug!("The journal of {id} could not be removed: {error}");
            }
            _ => self.remove_empty_folder(),
        }
    }

    fn remove_empty_folder(&self) {
        if let Ok((data, name)) = Folder::of(&self.folder) {
            // The system refuses to remove a folder that is not empty.
            let _ = data.remove_subfolder(name);
        }
    }

    /// Removes the journals of all uploads that `wanted` does not name.
    pub fn retain<'a>(&self, wanted: impl IntoIterator<Item = &'a BackupId>) {
        let Ok(folder) = self.open() else {
            return;
        };
        let wanted: BTreeSet<String> = wanted.into_iter().map(file_name).collect();
        for name in folder.names().unwrap_or_default() {
            if let Some(name) = name.to_str()
                && name.ends_with(JOURNAL)
                && !wanted.contains(name)
                && let Err(error) = folder.remove(OsStr::new(name))
            {
                log::debug!("The journal {name} could not be removed: {error}");
            }
        }
        self.remove_empty_folder();
    }
}

/// One name for ids that are equal, whatever characters they have and however long they are.
fn file_name(id: &BackupId) -> String {
    format!("{}{JOURNAL}", ContentHash::of(id.key().as_bytes()))
}

/// The journal in the file, or one that keeps nothing, with a word in the log.
fn kept(file: io::Result<File>) -> Journal {
    let file = file.map_err(|error| {
        log::debug!("An upload cannot be carried on if it is interrupted: {error}")
    });
    Journal {
        file: Mutex::new(file.ok()),
    }
}

impl Journal {
    /// Announces a block of a sealed upload, on disk, before it is sent. If that cannot be written, the journal is emptied,
    /// so that nothing is ever sent again under its key.
    ///
    /// # Errors
    /// If even that fails: the block must not be sent.
    pub fn announce_block(&self, index: u64, hash: &BlockHash) -> io::Result<()> {
        let line = format!("sends {index} {}\n", ContentHash::from_bytes(*hash));
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = kept.as_mut() else {
            return Ok(());
        };
        let announced = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_data());
        if let Err(error) = announced {
            log::debug!("An upload cannot be carried on if it is interrupted: {error}");
            file.set_len(0)?;
            file.sync_data()?;
            *kept = None;
        }
        Ok(())
    }

    /// Notes a block that Dropbox holds.
    pub fn note_block(&self, index: u64, hash: &BlockHash) {
        self.append(&format!("{index} {}\n", ContentHash::from_bytes(*hash)));
    }

    /// Notes that the session is closed and holds everything, and closes the journal.
    pub fn note_complete(&self, digested: Digested, inside: Option<&Inside>) {
        let mut line = format!("complete {} {}", digested.bytes, digested.content_hash);
        if let Some(inside) = inside {
            line.push_str(&format!(" {} {}", inside.bytes, inside.content_hash));
        }
        self.append(&format!("{line}\n"));
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes in a journal that was opened again that the session could not be made a file, although Dropbox could be
    /// asked.
    pub fn note_failed_commit(&self) {
        self.append("failed\n");
    }

    fn append(&self, line: &str) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut file) = file.as_ref()
            && let Err(error) = file.write_all(line.as_bytes())
        {
            log::debug!("A journal could not be written: {error}");
        }
    }
}

/// Reads a journal up to the first line that is not whole; nothing if Dropbox cannot have its session any more.
pub fn parse(text: &str, version: Option<Version>, now: DateTime<Utc>) -> Option<Unfinished> {
    let mut lines = text
        .split_inclusive('\n')
        .map_while(|line| line.strip_suffix('\n'));
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let hours = (now - head.started_at).num_hours();
    let is_usable = head.version == VERSION && head.backup == version;
    if !is_usable || !(0..SESSION_HOURS).contains(&hours) {
        return None;
    }
    let mut unfinished = Unfinished {
        session_id: head.session_id,
        seal: head.seal,
        blocks: BTreeMap::new(),
        complete: None,
        failed_commits: 0,
    };
    for line in lines {
        if unfinished.note(line).is_none() {
            // What cannot be read may have announced something.
            if unfinished.seal.is_some() {
                return None;
            }
            break;
        }
    }
    Some(unfinished)
}

impl Unfinished {
    /// Takes in a line of the journal; `None` if it cannot be understood.
    fn note(&mut self, line: &str) -> Option<()> {
        let hash = |text: &str| ContentHash::try_from(text.to_owned()).ok();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["complete", bytes, content_hash, ref inside @ ..] => {
                let stored = Digested {
                    bytes: bytes.parse().ok()?,
                    content_hash: hash(content_hash)?,
                };
                let inside = match (&self.seal, inside) {
                    (None, []) => None,
                    (Some(seal), [bytes, content_hash]) => Some(Inside {
                        bytes: bytes.parse().ok()?,
                        content_hash: hash(content_hash)?,
                        recipients: seal.recipients.clone(),
                    }),
                    _ => return None,
                };
                self.complete = Some((stored, inside));
            }
            ["failed"] => self.failed_commits += 1,
            ["sends", index, block] => {
                let sent = Sent {
                    hash: hash(block)?.into_bytes(),
                    is_held: false,
                };
                self.blocks.insert(index.parse().ok()?, sent);
            }
            [index, block] => {
                let sent = Sent {
                    hash: hash(block)?.into_bytes(),
                    is_held: true,
                };
                self.blocks.insert(index.parse().ok()?, sent);
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dropbox::content_hash::block_hash;

    fn id() -> BackupId {
        BackupId::parse("A-1").unwrap()
    }

    #[test]
    fn what_was_noted_is_found_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::new(folder.path().join("transfers"));
        assert_eq!(journals.unfinished(&id(), None, None), None);
        let journal = journals.begin(&id(), None, None, "pid_upload_session:x");
        journal.note_block(1, &block_hash(b"b"));
        journals
            .resume(&id())
            .unwrap()
            .note_block(0, &block_hash(b"a"));
        let unfinished = journals.unfinished(&id(), None, None).unwrap();
        assert_eq!(unfinished.session_id, "pid_upload_session:x");
        let held = |hash| Sent {
            hash,
            is_held: true,
        };
        let expected = [(0, held(block_hash(b"a"))), (1, held(block_hash(b"b")))];
        assert_eq!(unfinished.blocks, BTreeMap::from(expected));
        assert_eq!(unfinished.complete, None);
        let digested = Digested {
            bytes: 2,
            content_hash: ContentHash::of(b"ab"),
        };
        journal.note_complete(digested, None);
        assert_eq!(
            journals.unfinished(&id(), None, None).unwrap().complete,
            Some((digested, None))
        );
        journals.resume(&id()).unwrap().note_failed_commit();
        journals.resume(&id()).unwrap().note_failed_commit();
        let unfinished = journals.unfinished(&id(), None, None).unwrap();
        assert_eq!(unfinished.failed_commits, 2);
        assert_eq!(unfinished.complete, Some((digested, None)));
        journals.retain([]);
        assert!(!folder.path().join("transfers").exists());
        assert!(journals.resume(&id()).is_err());
    }

    #[test]
    fn what_was_noted_of_another_version_is_not_carried_on() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::new(folder.path().join("transfers"));
        let id = BackupId::of_path("archive/a b.sql").unwrap();
        let version = |bytes| {
            let modified_at = "2026-11-21T00:00:00.123456789Z".parse().unwrap();
            Some(Version {
                bytes,
                modified_at,
                changed_at: modified_at,
                inode: 1,
            })
        };
        journals.begin(&id, version(1), None, "pid_upload_session:x");
        assert!(journals.unfinished(&id, version(1), None).is_some());
        assert_eq!(journals.unfinished(&id, version(2), None), None);
        assert_eq!(journals.unfinished(&id, None, None), None);
        journals.retain([&id]);
        assert!(journals.unfinished(&id, version(1), None).is_some());
    }

    #[test]
    fn a_session_that_dropbox_has_forgotten_is_not_carried_on() {
        let head = |time: &str| {
            format!("{{\"version\":1,\"session_id\":\"x\",\"started_at\":\"{time}\"}}\n")
        };
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        assert!(parse(&head("2026-11-15T00:00:00Z"), None, now).is_some());
        assert!(parse(&head("2026-11-14T00:00:00Z"), None, now).is_none());
        // The clock was set back since.
        assert!(parse(&head("2026-11-23T00:00:00Z"), None, now).is_none());
        let of_another_version = head("2026-11-15T00:00:00Z").replace(":1,", ":2,");
        assert!(parse(&of_another_version, None, now).is_none());
    }

    proptest! {
        #[test]
        fn a_journal_that_was_cut_off_or_damaged_is_read_as_far_as_it_goes(
            cut in 0..400usize,
            noise in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut text = String::from(
                "{\"version\":1,\"session_id\":\"x\",\"started_at\":\"2026-11-20T00:00:00Z\"}\n",
            );
            for index in 0..4 {
                text.push_str(&format!("{index} {}\n", ContentHash::of(b"x")));
            }
            let now = "2026-11-21T00:00:00Z".parse().unwrap();
            let whole = parse(&text, None, now).unwrap();
            let mut damaged = text.as_bytes()[..cut.min(text.len())].to_vec();
            damaged.extend(noise);
            if let Some(found) = parse(&String::from_utf8_lossy(&damaged), None, now) {
                let known = found.blocks.iter().filter(|(index, _)| whole.blocks.contains_key(index));
                prop_assert!(known.count() <= 4);
            }
            if let Some(found) = parse(&text[..cut.min(text.len())], None, now) {
                prop_assert!(found.blocks.iter().all(|(index, hash)| whole.blocks.get(index) == Some(hash)));
            }
        }
    }
}
