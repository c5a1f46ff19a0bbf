//! Where backups come from.

pub mod creation;
pub mod directory;
pub mod rows;
pub mod uisp;

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::{BackupId, Version};
use crate::clock::StopReason;
use crate::http;
use crate::http::retry::{Retry, Retryable};
use crate::plugin::config::Settings;
use crate::zone::Zone;

/// A block of 4 MiB that takes longer than this is given up.
pub const BLOCK_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// One backup of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its identity.
    pub id: BackupId,
    /// Whether it can be copied; a backup that is being made, or that failed, cannot.
    pub finished: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Which version it is; `None` where a finished backup never changes.
    pub version: Option<Version>,
    /// A file with a time in the future, by which nobody can tell whether it still grows: it is finished once two
    /// runs have found it the same.
    #[serde(default)]
    pub is_from_the_future: bool,
    /// Making it has failed: there is nothing to be copied, now or later.
    #[serde(default)]
    pub has_failed: bool,
}

impl Backup {
    /// Whether there is or will be something that the mirror should have. An empty file whose name begins
    /// with a dot only marks its folder.
    pub fn is_wanted(&self) -> bool {
        let name = self.id.as_str().rsplit('/').next().unwrap_or_default();
        let is_mark =
            name.starts_with('.') && self.version.is_some_and(|version| version.bytes == 0);
        !self.has_failed && !is_mark
    }
}

/// The source's list, as far as it could be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The usable rows; no id stands twice.
    pub backups: Vec<Backup>,
    /// What is wrong with the others, one text each. A list with such rows is unfit for deletions.
    pub problems: Vec<String>,
    /// What has a different name in Dropbox than at the source, and which, one text each.
    pub renamed: Vec<String>,
    /// What was met and could not be taken: copies that could be it stay.
    pub doubts: Vec<Doubt>,
    /// Words for the state of a backup that nobody has documented, each with the backup's id.
    pub unknown_states: Vec<String>,
    /// The folder that was listed; none for UISP.
    pub origin: Option<Origin>,
}

/// Something in a folder that could not be taken: a link, a name that Dropbox cannot hold, something that
/// cannot be opened. Nobody knows what it holds, so it may be any backup at its path, below it, or of its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its path as [`BackupId::key`] has it, as far as that can be said; empty for the whole folder.
    pub key: String,
    /// Its length, if it is a file.
    pub bytes: Option<u64>,
    /// What it is and why it was not taken: `"db" is a link`.
    pub text: String,
    /// Nothing is missing from the mirror because of it: a link to something that is mirrored itself.
    pub is_harmless: bool,
}

/// Which folder it is that was listed: what was remembered of another one does not count for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its path without any link.
    pub folder: PathBuf,
    /// A number for the file system that it is on, and for its place there.
    pub file_system: u64,
}

/// A backup's content on its way.
pub struct Stream {
    /// The bytes from `offset` on. Returns an error where a connection that broke off would look like
    /// their end.
    pub reader: Box<dyn Read + Send>,
    /// Where the bytes begin; 0 where the source cannot begin elsewhere.
    pub offset: u64,
    /// Length of the whole backup in bytes, if the source says so.
    pub length: Option<u64>,
}

/// The kinds of sources, for words that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UISP server, whose finished backups never change.
    Uisp,
    /// A folder, whose files may change.
    Folder,
}

impl Kind {
    /// The kind that the configuration names.
    pub fn of(settings: &Settings) -> Self {
        match settings.backup_directory {
            Some(_) => Self::Folder,
            None => Self::Uisp,
        }
    }

    /// The source in the middle of a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uisp => "UISP",
            Self::Folder => "the backup folder",
        }
    }

    /// The source at the start of a sentence.
    pub fn name_at_start(self) -> &'static str {
        match self {
            Self::Uisp => "UISP",
            Self::Folder => "The backup folder",
        }
    }
}

/// A place that has backups.
pub trait Source: Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> Kind;

    /// All backups, in any state.
    ///
    /// # Errors
    /// [`Error`] unless the list is whole; unusable rows are not an error, see
    /// [`Listing::problems`].
    fn list(&self) -> Result<Listing, Error>;

    /// The timezone for names and for the log.
    ///
    /// # Errors
    /// A text that says why it is not known.
    fn timezone(&self) -> Result<Zone, String>;

    /// Has a fresh backup made and waits until it is finished. A source whose backups others make
    /// does nothing.
    ///
    /// # Errors
    /// [`Error`] if there is no new finished backup.
    fn create(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens a backup of the newest list, at `offset` if the source can begin there, else at its
    /// start. One try.
    ///
    /// # Errors
    /// [`Error`]; also when the answer is not a backup. While it is read, the reader's errors may
    /// hold an [`Error`] in turn.
    fn open(&self, id: &BackupId, offset: u64) -> Result<Stream, Error>;

    /// Ends every request in flight and refuses new ones; for a run that has to stop.
    fn shutdown(&self) {}
}

/// Why the source did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No complete answer.
    #[error("UISP could not be reached at {url} ({cause})")]
    Network {
        /// What was asked.
        url: String,
        /// What went wrong below.
        cause: http::Error,
    },
    /// 401 or 403.
    #[error("UISP does not accept the API token (status {status})")]
    Unauthorized {
        /// HTTP status.
        status: u16,
    },
    /// 429, or a server error that names a time.
    #[error("UISP asks for patience (status {status})")]
    Busy {
        /// HTTP status.
        status: u16,
        /// The wait that UISP asks for.
        retry_after: Option<Duration>,
    },
    /// Any other status but success.
    #[error("UISP answered with status {status}: {excerpt}")]
    Status {
        /// HTTP status.
        status: u16,
        /// Start of the body.
        excerpt: String,
    },
    /// A success whose body is not what was asked for.
    #[error("UISP's answer is not {expected}: {found}")]
    Unexpected {
        /// What the answer should have been.
        expected: &'static str,
        /// What it was instead, with the start of the body.
        found: String,
    },
    /// The content ended before its announced end, or broke off.
    #[error("UISP ended the download after {read} of {} bytes ({cause})", .announced.map_or("an unknown number of".into(), |n| n.to_string()))]
    Truncated {
        /// Bytes read.
        read: u64,
        /// Bytes announced.
        announced: Option<u64>,
        /// What the connection reported.
        cause: String,
    },
    /// The content comes, but so slowly that the other backups would never get their turn.
    #[error("the source sent {read} bytes and then less than a block in {} minutes", BLOCK_PATIENCE.as_secs() / 60)]
    TooSlow {
        /// Bytes read.
        read: u64,
    },
    /// UISP could not make the fresh backup.
    #[error("UISP says that making the backup failed")]
    CreationFailed,
    /// UISP is still making the fresh backup.
    #[error("UISP has not finished the new backup in {} minutes", creation::PATIENCE.as_secs() / 60)]
    CreationTooSlow,
    /// The content is not what was read before.
    #[error("the source sent another content than before")]
    OtherContent,
    /// A file or folder on this machine cannot be read.
    #[error("{path} cannot be read ({cause})")]
    Unreadable {
        /// What should have been read.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A file is no longer the one that was listed, or it changed while it was read.
    #[error("the file has changed since it was listed")]
    InUse,
    /// The run had to stop.
    #[error("the run was stopped")]
    Stopped(StopReason),
}

impl Error {
    /// Whether the source no longer has the backup that was asked for.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 404 | 410,
                ..
            }
        )
    }
}

impl Retryable for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Network {
                cause: http::Error::Network(_),
                ..
            }
            | Self::Truncated { .. } => Retry::Backoff,
            Self::Status { status, .. } if *status >= 500 => Retry::Backoff,
            Self::Busy { retry_after, .. } => Retry::After(*retry_after),
            _ => Retry::Never,
        }
    }

    fn stopped(reason: StopReason) -> Self {
        Self::Stopped(reason)
    }
}
