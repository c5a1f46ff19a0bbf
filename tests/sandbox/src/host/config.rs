//! `data/config.json` as the host writes it: exactly the manifest's keys, replaced by a rename.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::manifest::{Field, Manifest};

/// The stored values; none when there is no file yet.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not a JSON object", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(error.into()),
    }
}

/// The old values under exactly the manifest's keys: unknown ones are dropped, missing ones empty.
pub(super) fn fit_to_manifest(manifest: &Manifest, old: &Map<String, Value>) -> Map<String, Value> {
    let value = |field: &Field| old.get(&field.key).cloned().unwrap_or_else(|| empty(field));
    manifest
        .fields
        .iter()
        .map(|field| (field.key.clone(), value(field)))
        .collect()
}

/// What the form makes of a field's input.
///
/// Text is trimmed and empty text becomes null (inferred from 1.2.2, which relies on it); a
/// checkbox becomes a boolean, any text meaning that it is ticked.
pub(super) fn from_input(field: &Field, input: &str) -> Value {
    match (field.is_checkbox, input.trim()) {
        (true, input) => Value::Bool(!input.is_empty()),
        (false, "") => Value::Null,
        (false, input) => Value::String(input.to_owned()),
    }
}

/// The form's input that shows a stored value.
pub(super) fn to_input(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "1".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn empty(field: &Field) -> Value {
    if field.is_checkbox {
        Value::Bool(false)
    } else {
        Value::Null
    }
}

/// Replaces the file as Symfony's `dumpFile` does: a temporary file beside it, then a rename; the
/// mode of a file that was there stays.
pub(super) fn write(path: &Path, values: &Map<String, Value>) -> Result<()> {
    let folder = path.parent().context("a configuration without a folder")?;
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(php_json(values)?.as_bytes())?;
    fs::set_permissions(file.path(), Permissions::from_mode(mode))?;
    file.persist(path)?;
    Ok(())
}

/// Assumption: the host uses PHP's `json_encode` with default flags, which escapes slashes and
/// everything that is not ASCII; readers have to cope with it either way.
fn php_json(values: &Map<String, Value>) -> Result<String> {
    let mut text = String::new();
    for character in serde_json::to_string(values)?.chars() {
        match character {
            '/' => text.push_str("\\/"),
            character if character.is_ascii() => text.push(character),
            character => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_json_as_php_does() {
        let Value::Object(values) = json!({"a": "x/y", "b": "ü😀\"", "c": null}) else {
            unreachable!()
        };
        let text = php_json(&values).unwrap();
        assert_eq!(text, r#"{"a":"x\/y","b":"\u00fc\ud83d\ude00\"","c":null}"#);
        assert_eq!(
            serde_json::from_str::<Map<String, Value>>(&text).unwrap(),
            values
        );
    }
}
