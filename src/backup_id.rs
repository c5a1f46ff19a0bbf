//! The identity of a backup, validated before it reaches a path, a URL or a log line.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of one backup of a UISP server, a UUID in practice.
///
/// Ids are compared without regard to letter case, as Dropbox compares paths: two ids that differ
/// in case only could not have two files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// Longest id accepted; a UUID has 36 characters, a Dropbox name may have 255.
const LENGTH_MAX: usize = 64;

/// The text is not usable as an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an id must be 1 to {LENGTH_MAX} characters out of A-Z, a-z, 0-9 and \"-\"")]
pub struct InvalidId;

impl BackupId {
    /// Accepts `text` if it is safe in a path, a URL and a file name.
    ///
    /// # Errors
    /// [`InvalidId`] for anything but 1 to 64 ASCII letters, digits and hyphens.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=LENGTH_MAX).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if fits && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId)
        }
    }

    /// The id as the source wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BackupId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for BackupId {
    fn cmp(&self, other: &Self) -> Ordering {
        let own = self.0.bytes().map(|byte| byte.to_ascii_lowercase());
        own.cmp(other.0.bytes().map(|byte| byte.to_ascii_lowercase()))
    }
}

impl PartialOrd for BackupId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BackupId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for BackupId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_refused() {
        let long = "a".repeat(65);
        for text in [
            "", "../x", "a/b", "a b", "a\n", "%2e", "ü", "a.b", "a_b", &long,
        ] {
            assert_eq!(BackupId::parse(text), Err(InvalidId), "{text:?}");
        }
    }

    #[test]
    fn letter_case_does_not_make_another_id() {
        assert_eq!(BackupId::parse("AB-1"), BackupId::parse("ab-1"));
    }
}
