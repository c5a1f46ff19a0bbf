//! The configuration as a container gets it: by environment variables, or by files that they name, as Docker mounts
//! secrets. What stands there counts more than what is in `data/config.json`, which keeps what changes.
//!
//! UISP's environment is not ours and tells nothing: beside its `ucrm.json` no variable counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::config::Problem;
use super::{HOST_FILE_BYTES_MAX, PluginFolder};
use crate::age;
use crate::secret::Secret;

/// The variables, and the fields that they stand for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("DROPBOX_APP_KEY", "dropboxAppKey"),
    ("DROPBOX_APP_SECRET", "dropboxAppSecret"),
    ("DROPBOX_ACCESS_CODE", ACCESS_CODE),
    ("DROPBOX_FOLDER", "dropboxFolder"),
    ("BACKUP_DIRECTORY", "backupDirectory"),
    ("KEEP_DELETED_DAYS", "keepDeletedDays"),
    ("KEEP_OLDER", "keepOlder"),
    ("INSPECT", "inspect"),
    ("EXCLUDE", "exclude"),
    ("AGE_RECIPIENTS", "encryptTo"),
    ("HEALTHCHECK_URL", "healthcheckUrl"),
    ("UPLOAD_LIMIT_MBPS", "uploadLimitMbps"),
];

const ACCESS_CODE: &str = "dropboxAccessCode";
/// The field by which the file remembers that a code of the environment was used or refused, without telling it.
const SPENT: &str = "spentAccessCode";
/// Behind a variable's name: that of the file that holds the value.
const FILE: &str = "_FILE";

/// What the environment says.
#[derive(Debug, Default)]
pub struct Environment {
    /// By field: the variable, and its value.
    values: BTreeMap<&'static str, (String, String)>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Environment {
    /// What counts for the configuration in this file.
    pub fn of(config: &Path) -> Self {
        let root = config.parent().and_then(Path::parent);
        let is_of_uisp = root.is_some_and(|root| PluginFolder::new(root).ucrm().exists());
        match is_of_uisp {
            true => Self::default(),
            false => Self::read(|name| std::env::var_os(name)),
        }
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut environment = Self::default();
        for (name, key) in VARIABLES {
            let file = format!("{name}{FILE}");
            let is_set = |name: &str| variable(name).filter(|value| !value.is_empty());
            let (name, text) = match (is_set(name), is_set(&file)) {
                (None, None) => continue,
                (Some(_), Some(_)) => {
                    let found = format!("a value, as {file} does");
                    environment.wrong(name, "the only one of the two", &found);
                    continue;
                }
                (Some(value), None) => (name.to_string(), value.into_string().ok()),
                (None, Some(path)) => match read(Path::new(&path)) {
                    Ok(content) => (file, String::from_utf8(content).ok()),
                    Err(cause) => {
                        let found = format!("{}: {cause}", Path::new(&path).display());
                        environment.wrong(&file, "the path of a file that can be read", &found);
                        continue;
                    }
                },
            };
            match text.as_deref().map(str::trim) {
                None => environment.wrong(&name, "text", "other bytes"),
                Some("") => {}
                Some(text) if age::without_identities(text).is_some() => {
                    let found = "a secret key of age, which must not be on this machine";
                    environment.wrong(&name, "a value for its purpose", found);
                }
                Some(text) => {
                    environment.values.insert(key, (name, text.to_owned()));
                }
            }
        }
        environment
    }

    fn wrong(&mut self, variable: &str, expected: &str, found: &str) {
        self.problems.push(Problem {
            key: String::new(),
            variable: Some(variable.to_owned()),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }

    /// Puts the values in the place of those of the file; a code that was spent counts no more.
    pub fn put_into(&self, values: &mut Map<String, Value>) {
        for (key, (_, value)) in &self.values {
            if *key != ACCESS_CODE || !is_spent(value, values) {
                values.insert((*key).to_owned(), Value::String(value.clone()));
            }
        }
    }

    /// The variable that a field's value is from.
    pub fn variable(&self, key: &str) -> Option<String> {
        self.values.get(key).map(|(name, _)| name.clone())
    }

    /// The variables that say something else than the file.
    pub fn contradictions(&self, values: &Map<String, Value>) -> Vec<String> {
        let differs = |key: &str, value: &str| match values.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.trim().is_empty() && text.trim() != value,
            Some(Value::Array(lines)) => {
                let lines = lines.iter().filter_map(Value::as_str);
                !lines.eq(value.lines())
            }
            Some(other) => {
                let text = other.to_string();
                text != value
            }
        };
        let counts = |key: &str, value: &str| key != ACCESS_CODE || !is_spent(value, values);
        let own = self.values.iter();
        let differing = own.filter(|(key, (_, value))| counts(key, value) && differs(key, value));
        differing.map(|(_, (name, _))| name.clone()).collect()
    }
}

/// Notes in the values of the file that a code of the environment was spent.
pub fn note_spent(config: &Path, code: &Secret, values: &mut Map<String, Value>) {
    let environment = Environment::of(config);
    if let Some((_, given)) = environment.values.get(ACCESS_CODE)
        && given == code.expose()
    {
        values.insert(SPENT.into(), Value::String(code.fingerprint()));
    }
}

fn is_spent(code: &str, values: &Map<String, Value>) -> bool {
    let spent = values.get(SPENT).and_then(Value::as_str);
    spent.is_some_and(|spent| spent == Secret::new(code).fingerprint())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(HOST_FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}
