//! The identity of a backup, validated before it reaches a path, a URL or a log line, and the version
//! of one that may change.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

/// The id of one backup: of a UISP server's, a UUID in practice; of a file in a folder, its path.
///
/// Ids are compared as Dropbox compares paths: without regard to letter case, and to how an accented
/// letter is put together. Two ids that differ in nothing else could not have two files.
///
/// Clones share their text: lists, plan and memory all name each backup, and there may be 100,000.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct BackupId {
    text: Arc<str>,
    /// What is compared, where it is not the text itself.
    key: Option<Arc<str>>,
}

/// Longest id of a server's backup; a UUID has 36 characters, a Dropbox name may have 255.
const LENGTH_MAX: usize = 64;
/// Longest name of a file or folder in Dropbox, in characters.
pub const NAME_CHARS_MAX: usize = 255;

/// The text is not usable as the id of a server's backup.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an id must be 1 to {LENGTH_MAX} characters out of A-Z, a-z, 0-9 and \"-\"")]
pub struct InvalidId;

/// Why Dropbox cannot hold a file at a path.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPath {
    /// Empty, absolute, or with `.`, `..` or nothing between two slashes.
    #[error("it is no plain relative path")]
    NotRelative,
    /// A line break, for example.
    #[error("it has a control character")]
    Control,
    /// Dropbox takes it for a separator.
    #[error("it has a backslash")]
    Backslash,
    /// Dropbox cuts it off or refuses it.
    #[error("a name in it ends in a space")]
    TrailingSpace,
    /// Longer than [`NAME_CHARS_MAX`].
    #[error("a name in it is longer than {NAME_CHARS_MAX} characters")]
    TooLong,
}

impl BackupId {
    /// Accepts `text` as the id of a server's backup if it is safe in a path, a URL and a file name.
    ///
    /// # Errors
    /// [`InvalidId`] for anything but 1 to 64 ASCII letters, digits and hyphens.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=LENGTH_MAX).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if fits && text.bytes().all(plain) {
            Ok(Self::with_key(text, text.to_ascii_lowercase()))
        } else {
            Err(InvalidId)
        }
    }

    /// Accepts `path`, with slashes, as the id of a file in a folder if Dropbox can hold a file there.
    ///
    /// # Errors
    /// [`InvalidPath`] says why it cannot.
    pub fn of_path(path: &str) -> Result<Self, InvalidPath> {
        for name in path.split('/') {
            if ["", ".", ".."].contains(&name) {
                return Err(InvalidPath::NotRelative);
            } else if name.chars().any(char::is_control) {
                return Err(InvalidPath::Control);
            } else if name.contains('\\') {
                return Err(InvalidPath::Backslash);
            } else if name.ends_with(' ') {
                return Err(InvalidPath::TrailingSpace);
            } else if name.chars().count() > NAME_CHARS_MAX {
                return Err(InvalidPath::TooLong);
            }
        }
        Ok(Self::with_key(path, path_key(path)))
    }

    /// The keys of what a path that may be no id was probably meant to be: `dump.sql` for this name and a space.
    pub fn likely_keys(path: &[u8]) -> Vec<String> {
        let mut text = String::new();
        for chunk in path.utf8_chunks() {
            text.push_str(chunk.valid());
            // A name from before UTF-8, or read with the wrong setting.
            text.extend(chunk.invalid().iter().copied().map(char::from));
        }
        let cleaned = |name: &str| {
            let is_held = |c: &char| !c.is_control() && *c != '\\';
            let name: String = name.chars().filter(is_held).collect();
            name.trim_end_matches(' ').to_owned()
        };
        let key = |text: &str| {
            let names = text.split('/').map(|name| match cleaned(name) {
                nothing if nothing.is_empty() => name.to_owned(),
                name => name,
            });
            path_key(&names.collect::<Vec<_>>().join("/"))
        };
        let mut keys = vec![key(&text)];
        // Backslashes may be from a system that separates names by them.
        if text.contains('\\') {
            keys.push(key(&text.replace('\\', "/")));
        }
        keys
    }

    fn with_key(text: &str, key: String) -> Self {
        Self {
            text: text.into(),
            key: (key != text).then(|| key.into()),
        }
    }

    /// The id as the source wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is compared: equal ids have equal keys.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.text)
    }
}

/// A path as Dropbox compares it. Assumption: it lower-cases letter by letter and composes accents;
/// its real rule is not published. Where it should differ, a commit meets a conflict and fails
/// loudly, or two files have two names that need not differ; nothing is replaced.
fn path_key(path: &str) -> String {
    path.chars().flat_map(char::to_lowercase).nfc().collect()
}

impl TryFrom<String> for BackupId {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::of_path(&text)
    }
}

impl Serialize for BackupId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for BackupId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for BackupId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BackupId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for BackupId {}

/// One version of a backup that may change under its id, as a file in a folder may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Length in bytes.
    pub bytes: u64,
    /// When its content was changed last, as exactly as the file system tells. Programs may set it to
    /// anything.
    pub modified_at: DateTime<Utc>,
    /// When the file system last noted any change of the file. No program can set it, so it tells of a
    /// content that was changed under its old length and time.
    pub changed_at: DateTime<Utc>,
    /// The number of the file on its file system, which tells of another file in its place; 0 where such
    /// numbers do not last.
    pub inode: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        for (one, other) in [
            ("Archive/Ü.sql", "archive/ü.SQL"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("ΟΔΟΣ", "οδοσ"),
        ] {
            assert_eq!(BackupId::of_path(one), BackupId::of_path(other), "{one}");
        }
        assert_ne!(BackupId::of_path("a/b"), BackupId::of_path("a-b"));
    }

    #[test]
    fn paths_that_dropbox_cannot_hold_are_refused_with_the_reason() {
        let longest = "ü".repeat(NAME_CHARS_MAX);
        for path in [
            "a",
            "a b/c.sql.gz",
            ".hidden",
            "a.",
            " a",
            "…/日本",
            &longest,
        ] {
            assert!(BackupId::of_path(path).is_ok(), "{path}");
        }
        for (path, reason) in [
            ("", InvalidPath::NotRelative),
            ("/a", InvalidPath::NotRelative),
            ("a/", InvalidPath::NotRelative),
            ("a//b", InvalidPath::NotRelative),
            ("a/../b", InvalidPath::NotRelative),
            (".", InvalidPath::NotRelative),
            ("a\nb", InvalidPath::Control),
            ("a\u{7f}", InvalidPath::Control),
            ("a\\b", InvalidPath::Backslash),
            ("a /b", InvalidPath::TrailingSpace),
            (&"x".repeat(256), InvalidPath::TooLong),
        ] {
            assert_eq!(BackupId::of_path(path), Err(reason), "{path:?}");
        }
    }

    #[test]
    fn what_a_name_was_meant_to_be_is_guessed() {
        for (path, keys) in [
            (&b"Dump.sql "[..], &["dump.sql"][..]),
            (b"Folder /a\nb ", &["folder/ab"]),
            (b"2026\\dump.sql", &["2026dump.sql", "2026/dump.sql"]),
            (b"M\xc3\xa4rz", &["m\u{e4}rz"]),
            (b"M\xe4rz", &["m\u{e4}rz"]),
            (b"a/ ", &["a/ "]),
            (b"\n", &["\n"]),
        ] {
            assert_eq!(BackupId::likely_keys(path), keys);
        }
    }

    proptest! {
        #[test]
        fn a_guess_is_never_the_whole_folder(path in prop::collection::vec(any::<u8>(), 1..40)) {
            prop_assert!(BackupId::likely_keys(&path).iter().all(|key| !key.is_empty()));
        }

        #[test]
        fn an_id_is_its_own_guess(path in "[A-Za-z\u{e9}/. ]{1,12}") {
            if let Ok(id) = BackupId::of_path(&path) {
                prop_assert_eq!(BackupId::likely_keys(path.as_bytes()), [id.key()]);
            }
        }

        #[test]
        fn a_path_is_refused_or_stays_below_the_folder(path in "[./\\\\a-c \n]{0,12}|\\PC{0,20}") {
            if let Ok(id) = BackupId::of_path(&path) {
                let parts = std::path::Path::new(id.as_str()).components();
                let plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(parts.clone().all(plain));
                prop_assert_eq!(parts.count(), path.split('/').count());
                prop_assert_eq!(BackupId::try_from(id.to_string()), Ok(id));
            }
        }

        #[test]
        fn an_id_of_a_server_is_the_same_read_as_a_path(text in "[A-Za-z0-9-]{1,64}") {
            let id = BackupId::parse(&text).unwrap();
            let path = BackupId::of_path(&text).unwrap();
            prop_assert_eq!(id.key(), path.key());
        }
    }
}
