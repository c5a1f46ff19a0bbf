//! `data/config.json`: the values of the configuration form, and the few that the plugin changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest;

use serde_json::{Map, Value};
use url::Url;

use super::HOST_FILE_BYTES_MAX;
use super::atomic::Replacement;
use super::environment::{self, Environment};
use crate::age::{self, Recipients};
use crate::retention::{self, KeepOlder};
use crate::secret::Secret;

/// Everything the admin can set, validated. Absent, `null`, empty and blank are the same: `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `unmsApiToken`: UISP's API token.
    pub uisp_token: Option<Secret>,
    /// `dropboxAppKey`: the app's key, public by nature.
    pub app_key: Option<String>,
    /// `dropboxAppSecret`; without it the authorization uses PKCE.
    pub app_secret: Option<Secret>,
    /// `dropboxAccessCode`: what Dropbox showed the admin; single use.
    pub access_code: Option<Secret>,
    /// `dropboxRefreshToken`: stored by the plugin.
    pub refresh_token: Option<Secret>,
    /// `dropboxAccessToken`: a long-lived token of old.
    pub legacy_token: Option<Secret>,
    /// `confirmCleanup`: the admin agrees to the deletions that are on hold.
    pub confirm_cleanup: bool,
    /// `keepDeletedDays`: how long a deleted backup stays in Dropbox.
    pub keep_deleted_days: u32,
    /// `keepOlder`: which of them stay longer; none if it keeps none.
    pub keep_older: Option<KeepOlder>,
    /// `uploadLimitMbps`: upload rate in bytes per second, more than zero.
    pub upload_bytes_per_second: Option<u32>,
    /// `dropboxFolder`: path of the mirror folder below the app's folder, `""` or `/a/b`.
    pub mirror_folder: String,
    /// `createBackup`: UISP makes a fresh backup at the start of each run.
    pub create_backup: bool,
    /// `healthcheckUrl`: told how each run went. The address is what gives access to the check.
    pub healthcheck_url: Option<Secret>,
    /// `inspect`: backups are looked at on their way, whether they are complete archives.
    pub inspect: bool,
    /// `backupDirectory`: a folder of backup files, mirrored instead of UISP's backups.
    pub backup_directory: Option<PathBuf>,
    /// `exclude`: lines as in .gitignore, which say what of the folder is left out.
    pub exclude: Vec<String>,
    /// `encryptTo`: whom everything is sealed to that is sent.
    pub encrypt_to: Option<Recipients>,
    /// `encryptionProof`: the word that the admin has read with the secret key.
    pub encryption_proof: Option<Secret>,
}

/// Bytes per second of one Mbit/s.
const BYTES_PER_SECOND_OF_MBPS: f64 = 125_000.0;
/// Largest accepted `uploadLimitMbps`.
const UPLOAD_LIMIT_MBPS_MAX: f64 = 10_000.0;

/// Largest accepted `keepDeletedDays`, ten years.
const KEEP_DELETED_DAYS_MAX: u32 = 3650;

/// Longest name of a folder in Dropbox, in characters.
const FOLDER_NAME_CHARS_MAX: usize = 255;

/// How often a change is begun again because the file changed meanwhile.
const CHANGE_ATTEMPTS_MAX: u32 = 10;
/// Room that a refresh token may take; real ones have less than 100 bytes.
const TOKEN_BYTES_MAX: usize = 8192;

/// The configuration cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read at all.
    #[error("{file} cannot be read ({cause})")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is no JSON object.
    #[error("{file} is damaged: {cause}")]
    Damaged {
        /// Path of the file.
        file: String,
        /// What is wrong, with line and column.
        cause: String,
    },
    /// Values that cannot be used.
    #[error("{} fields cannot be used", .0.len())]
    Invalid(Vec<Problem>),
    /// The file could not be replaced; its old content is whole.
    #[error("{file} cannot be written ({cause})")]
    Unwritable {
        /// Path of the file.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// A value that cannot be used. It is not quoted: it may be a secret in the wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field.
    pub key: String,
    /// The environment variable that the value is from, if it is from one.
    pub variable: Option<String>,
    /// What it must be.
    pub expected: String,
    /// What it holds.
    pub found: String,
}

/// Reads and validates the configuration.
///
/// # Errors
/// [`Error::Invalid`] holds every problem found, so that none waits for the next run.
pub fn load(path: &Path) -> Result<Settings, Error> {
    match inspect(path)? {
        (settings, problems) if problems.is_empty() => Ok(settings),
        (_, problems) => Err(Error::Invalid(problems)),
    }
}

/// Reads the configuration as far as it can be used, and every problem in it.
///
/// # Errors
/// If there is no such file, or nothing in it can be read.
pub fn inspect(path: &Path) -> Result<(Settings, Vec<Problem>), Error> {
    let mut values = read(path)?;
    let mut of_environment = Environment::of(path);
    of_environment.put_into(&mut values);
    let (settings, mut problems) = settings(values);
    for problem in &mut problems {
        problem.variable = of_environment.variable(&problem.key);
    }
    of_environment.problems.append(&mut problems);
    Ok((settings, of_environment.problems))
}

/// The variables of the environment that count although the file says something else.
///
/// # Errors
/// As [`inspect`].
pub fn contradictions(path: &Path) -> Result<Vec<String>, Error> {
    Ok(Environment::of(path).contradictions(&read(path)?))
}

/// What the values of the form mean, as far as they can be used, and every problem in them.
pub fn settings(values: Map<String, Value>) -> (Settings, Vec<Problem>) {
    let mut fields = Fields {
        values,
        problems: Vec::new(),
    };
    let secret = |text: Option<String>| text.map(Secret::new);
    let settings = Settings {
        uisp_token: secret(fields.text("unmsApiToken")),
        app_key: fields.text("dropboxAppKey"),
        app_secret: secret(fields.text("dropboxAppSecret")),
        access_code: secret(fields.text("dropboxAccessCode")),
        refresh_token: secret(fields.text("dropboxRefreshToken")),
        legacy_token: secret(fields.text("dropboxAccessToken")),
        confirm_cleanup: fields.checkbox("confirmCleanup"),
        keep_deleted_days: fields.whole_number("keepDeletedDays", KEEP_DELETED_DAYS_MAX),
        keep_older: fields.keep_older("keepOlder"),
        upload_bytes_per_second: fields.upload_limit("uploadLimitMbps"),
        mirror_folder: fields.mirror_folder("dropboxFolder"),
        create_backup: fields.checkbox("createBackup"),
        healthcheck_url: fields.web_address("healthcheckUrl"),
        inspect: fields.switch("inspect", true),
        backup_directory: fields.directory("backupDirectory"),
        exclude: fields.patterns("exclude"),
        encrypt_to: fields.recipients("encryptTo"),
        encryption_proof: secret(fields.text("encryptionProof")),
    };
    let mut settings = settings;
    if let Some(found) = settings.wrong_app_key() {
        let expected = "the \"App key\" on the Settings tab of your Dropbox app";
        fields.wrong("dropboxAppKey", expected, found);
        settings.app_key = None;
    }
    (settings, fields.problems)
}

/// Longest text that may be an app key; real ones have 15 characters.
const APP_KEY_CHARS_MAX: usize = 40;

impl Settings {
    /// What stands in the field of the app key, if that is plainly something else.
    fn wrong_app_key(&self) -> Option<&'static str> {
        let key = self.app_key.as_deref()?;
        let is_secret = |secret: &Secret| secret.expose() == key;
        if self.app_secret.as_ref().is_some_and(is_secret) {
            Some("the same as the field of the app secret")
        } else if key.contains("://") {
            Some("a link")
        } else if key.chars().count() > APP_KEY_CHARS_MAX || key.contains(char::is_whitespace) {
            Some("something longer")
        } else {
            None
        }
    }
}

/// By key a hash of each field that is filled in, to tell later which were changed.
pub fn fingerprints(path: &Path) -> BTreeMap<String, String> {
    let values = read(path).unwrap_or_default();
    let is_filled = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    };
    let filled = values.into_iter().filter(|(_, value)| is_filled(value));
    filled
        .map(|(key, value)| {
            let hash = digest::digest(&digest::SHA256, value.to_string().as_bytes());
            let hash = hash
                .as_ref()
                .iter()
                .take(6)
                .map(|byte| format!("{byte:02x}"));
            (key, hash.collect())
        })
        .collect()
}

/// A change of the keys that the plugin owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A code was exchanged: keep the token, empty the code field.
    Authorized {
        /// The new refresh token.
        refresh_token: &'a Secret,
        /// The code that was exchanged; another one in the file was pasted since and stays.
        spent_code: &'a Secret,
    },
    /// A code was refused: empty the field, unless another code was pasted since.
    ForgetCode {
        /// The refused code.
        spent_code: &'a Secret,
    },
    /// Somebody gave a code on the status page.
    Code(&'a Secret),
    /// Somebody named the app on the command line.
    AppKey(&'a str),
    /// The clean-up was done: untick the box.
    CleanupDone,
    /// The word was the right one: empty its field.
    ProofGiven,
    /// A secret key was pasted: a comment takes its place, so that nothing is sent unsealed because of an empty field.
    IdentityRemoved,
}

/// Re-reads the file, changes the plugin's own keys and replaces the file atomically. All other
/// keys, their order and the file's mode stay. A form that is saved in the meantime is not lost: the
/// change is made to its values then.
///
/// # Errors
/// [`Error`]; the old content is whole then.
pub fn change(path: &Path, change: &Change<'_>) -> Result<(), Error> {
    let unwritable = |cause| Error::Unwritable {
        file: path.display().to_string(),
        cause,
    };
    for _ in 0..CHANGE_ATTEMPTS_MAX {
        let before = read(path)?;
        let mut values = before.clone();
        change.apply(&mut values);
        if let Change::Authorized { spent_code, .. } | Change::ForgetCode { spent_code } = change {
            environment::note_spent(path, spent_code, &mut values);
        }
        let content = serde_json::to_vec(&values).map_err(|error| unwritable(error.into()))?;
        let replacement = Replacement::prepare(path, &content).map_err(unwritable)?;
        // Syncing takes time on a busy disk; the look and the rename do not.
        if read(path)? == before {
            return replacement.commit().map_err(unwritable);
        }
    }
    Err(unwritable(io::Error::other("it keeps changing")))
}

impl Change<'_> {
    /// Makes the change to the values of the form.
    pub fn apply(&self, values: &mut Map<String, Value>) {
        let mut forget = |spent: &Secret| {
            let current = values.get("dropboxAccessCode").and_then(Value::as_str);
            if current.is_some_and(|code| code.trim() == spent.expose()) {
                values.insert("dropboxAccessCode".into(), Value::Null);
            }
        };
        match self {
            Self::Authorized {
                refresh_token,
                spent_code,
            } => {
                forget(spent_code);
                let token = Value::String(refresh_token.expose().to_owned());
                values.insert("dropboxRefreshToken".into(), token);
            }
            Self::ForgetCode { spent_code } => forget(spent_code),
            Self::Code(code) => {
                let code = Value::String(code.expose().to_owned());
                values.insert("dropboxAccessCode".into(), code);
            }
            Self::AppKey(key) => {
                values.insert("dropboxAppKey".into(), Value::String((*key).to_owned()));
            }
            Self::CleanupDone => {
                values.insert("confirmCleanup".into(), Value::Bool(false));
            }
            Self::ProofGiven => {
                values.insert("encryptionProof".into(), Value::Null);
            }
            Self::IdentityRemoved => {
                for value in values.values_mut() {
                    let cleaned = value.as_str().and_then(age::without_identities);
                    if let Some(cleaned) = cleaned {
                        *value = Value::String(cleaned);
                    }
                }
            }
        }
    }
}

/// Whether secret keys of age are in the file, whatever field they were pasted into: the host shows and backs up what is in
/// it. A file that cannot be read is for others to tell of.
pub fn has_identities(path: &Path) -> bool {
    let values = read(path).unwrap_or_default();
    let mut texts = values.values().filter_map(Value::as_str);
    texts.any(|text| age::without_identities(text).is_some())
}

/// Writes, beside the file, as much as a change may take: shows, before a single-use code is spent,
/// that the token it buys can be stored.
///
/// # Errors
/// [`Error`] if it cannot.
pub fn rehearse_change(path: &Path) -> Result<(), Error> {
    let unwritable = |cause| Error::Unwritable {
        file: path.display().to_string(),
        cause,
    };
    let values = read(path)?;
    let mut content = serde_json::to_vec(&values).map_err(|error| unwritable(error.into()))?;
    content.resize(content.len() + TOKEN_BYTES_MAX, b' ');
    Replacement::prepare(path, &content).map_err(unwritable)?;
    Ok(())
}

fn read(path: &Path) -> Result<Map<String, Value>, Error> {
    let file = path.display().to_string();
    let content = match super::read(path, HOST_FILE_BYTES_MAX) {
        Ok(content) => content,
        // A fresh installation: the form was never saved.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(cause) => return Err(Error::Unreadable { file, cause }),
    };
    parse(&content).map_err(|cause| Error::Damaged { file, cause })
}

/// The values of the form, from the content of its file.
///
/// # Errors
/// What is wrong with it, unless it is a JSON object.
pub fn parse(content: &[u8]) -> Result<Map<String, Value>, String> {
    // Editors on Windows put a byte order mark in front.
    let json = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    match serde_json::from_slice(json) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => Err(format!("it holds {} instead of an object", kind_of(&other))),
        Err(error) if content.is_empty() => Err(format!("it is empty ({error})")),
        Err(error) => Err(error.to_string()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads typed values and collects what is wrong with them. Values are never quoted: they may be
/// secrets in the wrong field.
struct Fields {
    values: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Fields {
    fn wrong(&mut self, key: &str, expected: &str, found: &str) {
        self.problems.push(Problem {
            key: key.to_owned(),
            variable: None,
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }

    /// Trimmed text of one line; numbers and truth values count as their text.
    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.lines(key)?;
        if text.chars().any(char::is_control) {
            self.wrong(key, "one line of text", "a line break or control character");
            return None;
        }
        Some(text)
    }

    /// Trimmed text.
    fn lines(&mut self, key: &str) -> Option<String> {
        let text = match self.values.get(key)? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            other => {
                let found = kind_of(other);
                self.wrong(key, "a text", found);
                return None;
            }
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Lines, or a list of them.
    fn patterns(&mut self, key: &str) -> Vec<String> {
        let Some(Value::Array(list)) = self.values.get(key) else {
            let lines = self.lines(key).unwrap_or_default();
            return lines.lines().map(str::to_owned).collect();
        };
        let patterns: Vec<String> = list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if patterns.len() < list.len() {
            self.wrong(
                key,
                "a list of patterns, each a text",
                "something else in it",
            );
        }
        patterns
    }

    /// Public keys of age.
    fn recipients(&mut self, key: &str) -> Option<Recipients> {
        let text = self.lines(key)?;
        Recipients::parse(&text).unwrap_or_else(|problems| {
            for problem in problems {
                let expected =
                    "public keys of age (age1...), separated by spaces, commas or lines, or empty";
                self.wrong(key, expected, &format!("something else: {problem}"));
            }
            None
        })
    }

    /// Days, weeks, months and years of which a backup is kept.
    fn keep_older(&mut self, key: &str) -> Option<KeepOlder> {
        let text = self.lines(key)?;
        match text.parse::<KeepOlder>() {
            Ok(keep_older) => Some(keep_older).filter(|keep_older| !keep_older.is_empty()),
            Err(error) => {
                let expected = format!(
                    "numbers of days, weeks, months and years such as \"{}\", each part once, or empty",
                    retention::EXAMPLE
                );
                self.wrong(key, &expected, &error.to_string());
                None
            }
        }
    }

    /// A checkbox; the host has written `true`, and in older versions `"1"`.
    fn checkbox(&mut self, key: &str) -> bool {
        self.switch(key, false)
    }

    /// A choice between yes and no; absent is the `usual` one.
    fn switch(&mut self, key: &str, usual: bool) -> bool {
        let Some(text) = self.text(key) else {
            return usual;
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => true,
            "false" | "0" | "off" | "no" => false,
            _ => {
                self.wrong(key, "true or false", "something else");
                usual
            }
        }
    }

    /// A whole number from 0 to `max`; absent is 0.
    fn whole_number(&mut self, key: &str, max: u32) -> u32 {
        let Some(text) = self.text(key) else {
            return 0;
        };
        match text.parse() {
            Ok(number) if number <= max => number,
            _ => {
                self.wrong(
                    key,
                    &format!("a whole number from 0 to {max}"),
                    "something else",
                );
                0
            }
        }
    }

    /// A folder in Dropbox; leading and trailing slashes do not matter.
    fn mirror_folder(&mut self, key: &str) -> String {
        let Some(text) = self.text(key) else {
            return String::new();
        };
        let inner = text.trim_matches('/');
        let usable = |name: &str| {
            name.trim() == name
                && !["", ".", ".."].contains(&name)
                && !name.contains('\\')
                && name.chars().count() <= FOLDER_NAME_CHARS_MAX
        };
        if inner.is_empty() {
            String::new()
        } else if inner.split('/').all(usable) {
            format!("/{inner}")
        } else {
            let expected =
                "a folder such as Backups or Servers/Vienna, without \".\", \"..\" and backslashes";
            self.wrong(key, expected, "something else");
            String::new()
        }
    }

    /// A web address, kept as a secret: whoever knows it can use it.
    fn web_address(&mut self, key: &str) -> Option<Secret> {
        let text = self.text(key)?;
        let is_usable = Url::parse(&text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if is_usable {
            return Some(Secret::new(text));
        }
        self.wrong(
            key,
            "a web address that begins with https:// or http:// (a host name with other letters than a to z in its xn-- form)",
            "something else",
        );
        None
    }

    /// A folder on this machine.
    fn directory(&mut self, key: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(key)?);
        if path.is_absolute() {
            return Some(path);
        }
        self.wrong(
            key,
            "the whole path of a folder, beginning with a slash",
            "something else",
        );
        None
    }

    /// A rate in Mbit/s, with a decimal point or comma; absent or 0 is no limit.
    fn upload_limit(&mut self, key: &str) -> Option<u32> {
        let text = self.text(key)?;
        match text.replace(',', ".").parse::<f64>() {
            Ok(0.0) => None,
            Ok(rate) if (0.1..=UPLOAD_LIMIT_MBPS_MAX).contains(&rate) => {
                Some((rate * BYTES_PER_SECOND_OF_MBPS) as u32)
            }
            _ => {
                let expected =
                    format!("a number of Mbit/s from 0.1 to {UPLOAD_LIMIT_MBPS_MAX}, or empty");
                self.wrong(key, &expected, "something else");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn parse(content: &str) -> Result<Settings, String> {
        let (_folder, path) = file(content);
        load(&path).map_err(|error| format!("{error:?}"))
    }

    /// What counts where nothing is set.
    fn nothing() -> Settings {
        Settings {
            inspect: true,
            ..Settings::default()
        }
    }

    #[test]
    fn absent_null_empty_and_blank_are_the_same() {
        for content in [
            "{}",
            r#"{"dropboxAppKey":null}"#,
            r#"{"dropboxAppKey":""}"#,
            r#"{"dropboxAppKey":" \t "}"#,
        ] {
            assert_eq!(parse(content), Ok(nothing()), "{content}");
        }
        let missing = tempfile::tempdir().unwrap().path().join("config.json");
        assert_eq!(load(&missing).unwrap(), nothing());
    }

    #[test]
    fn values_are_trimmed_and_read_in_every_form_the_host_writes() {
        let settings = parse(
            "\u{feff}{\"dropboxAppKey\":\" key \",\"unmsApiToken\":12,\"confirmCleanup\":\"1\",\"keepDeletedDays\":\"7\",\"other\":[1]}",
        )
        .unwrap();
        assert_eq!(settings.app_key.as_deref(), Some("key"));
        assert_eq!(settings.uisp_token, Some(Secret::new("12")));
        assert!(settings.confirm_cleanup);
        assert_eq!(settings.keep_deleted_days, 7);
        assert!(
            !parse(r#"{"confirmCleanup":false}"#)
                .unwrap()
                .confirm_cleanup
        );
        assert!(parse(r#"{"confirmCleanup":true}"#).unwrap().confirm_cleanup);
    }

    #[test]
    fn every_problem_is_reported_at_once_and_no_value_is_quoted() {
        let text = parse(
            r#"{"dropboxAppKey":["fake-value"],"keepDeletedDays":-1,"confirmCleanup":"fake-value"}"#,
        )
        .unwrap_err();
        for part in ["dropboxAppKey", "keepDeletedDays", "confirmCleanup"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("fake-value"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_fresh_installation() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path()), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn deleted_backups_are_kept_for_ten_years_at_most() {
        let days = |days: u32| parse(&format!("{{\"keepDeletedDays\":{days}}}"));
        assert_eq!(days(3650).unwrap().keep_deleted_days, 3650);
        assert!(days(3651).unwrap_err().contains("from 0 to 3650"));
    }

    #[test]
    fn a_rehearsal_needs_a_folder_and_leaves_nothing() {
        let (folder, path) = file("{}");
        rehearse_change(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let elsewhere = folder.path().join("missing/config.json");
        assert!(matches!(
            rehearse_change(&elsewhere),
            Err(Error::Unwritable { .. })
        ));
    }

    #[test]
    fn the_upload_limit_is_read_in_every_form() {
        for (value, rate) in [
            ("null", None),
            ("0", None),
            ("\"\"", None),
            ("8", Some(1_000_000)),
            ("\"0,5\"", Some(62_500)),
            ("2.5", Some(312_500)),
        ] {
            let settings = parse(&format!("{{\"uploadLimitMbps\":{value}}}")).unwrap();
            assert_eq!(settings.upload_bytes_per_second, rate, "{value}");
        }
        for value in ["-1", "\"fast\"", "1e9", "\"NaN\"", "true"] {
            assert!(
                parse(&format!("{{\"uploadLimitMbps\":{value}}}")).is_err(),
                "{value}"
            );
        }
    }

    #[test]
    fn the_mirror_folder_is_a_path_below_the_root() {
        for (text, folder) in [
            ("", ""),
            ("/", ""),
            ("Backups", "/Backups"),
            ("/a/b c/", "/a/b c"),
            ("Bücher", "/Bücher"),
        ] {
            let settings = parse(&serde_json::json!({"dropboxFolder": text}).to_string()).unwrap();
            assert_eq!(settings.mirror_folder, folder, "{text}");
        }
        for text in ["..", "a/../b", "a//b", "a/ b", ".", "a\\b", "a\nb"] {
            let json = serde_json::json!({"dropboxFolder": text}).to_string();
            assert!(
                parse(&json).unwrap_err().contains("dropboxFolder"),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_and_directories_are_checked_and_never_quoted() {
        let good = parse(
            r#"{"healthcheckUrl":"https://hc.invalid/fake-id","backupDirectory":"/srv/x","createBackup":true}"#,
        );
        let good = good.unwrap();
        assert_eq!(
            good.healthcheck_url,
            Some(Secret::new("https://hc.invalid/fake-id"))
        );
        assert_eq!(good.backup_directory.as_deref(), Some(Path::new("/srv/x")));
        assert!(good.create_backup);
        for json in [
            r#"{"healthcheckUrl":"ftp://hc.invalid/fake-id"}"#,
            r#"{"healthcheckUrl":"fake-id"}"#,
            r#"{"healthcheckUrl":"file:///fake-id"}"#,
            r#"{"healthcheckUrl":"https://äX.invalid/fake-id"}"#,
            r#"{"backupDirectory":"fake-id/x"}"#,
        ] {
            let problem = parse(json).unwrap_err();
            assert!(!problem.contains("fake-id"), "{problem}");
        }
    }

    #[test]
    fn broken_json_is_located() {
        let text = parse("{\n \"a\": }").unwrap_err();
        assert!(
            text.contains("config.json") && text.contains("line 2 column 7"),
            "{text}"
        );
        assert!(!text.contains("empty"), "{text}");
        assert!(parse("[]").unwrap_err().contains("a list"));
        assert!(parse("").unwrap_err().contains("empty"));
    }

    #[test]
    fn a_change_keeps_foreign_keys_and_their_order() {
        let (_folder, path) = file(
            r#"{"z":{"b":1,"a":2},"dropboxAccessCode":" code ","dropboxRefreshToken":null,"a/b":"ü"}"#,
        );
        let change_it = |what: &Change<'_>| change(&path, what).unwrap();
        change_it(&Change::Authorized {
            refresh_token: &Secret::new("fake-token"),
            spent_code: &Secret::new("code"),
        });
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"z":{"b":1,"a":2},"dropboxAccessCode":null,"dropboxRefreshToken":"fake-token","a/b":"ü"}"#
        );
    }

    #[test]
    fn a_code_pasted_in_the_meantime_stays() {
        let (_folder, path) = file(r#"{"dropboxAccessCode":"newer"}"#);
        let spent_code = &Secret::new("older");
        change(&path, &Change::ForgetCode { spent_code }).unwrap();
        assert_eq!(load(&path).unwrap().access_code, Some(Secret::new("newer")));
    }
}
