//! Reads arguments as strictly as Dropbox: unknown fields, wrong types and unmatched patterns are refused.

use serde_json::{Map, Value};

/// What is wrong with an argument, in the form Dropbox puts it: field path, colon, complaint.
#[derive(Debug)]
pub(super) struct BadArgument(pub(super) String);

type Parsed<T> = Result<T, BadArgument>;

/// The fields of one struct, taken out one by one; what is left over at the end is unknown.
pub(super) struct Fields {
    at: String,
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(value: Value) -> Parsed<Self> {
        Self::at(String::new(), value)
    }

    fn at(at: String, value: Value) -> Parsed<Self> {
        match value {
            Value::Object(map) => Ok(Self { at, map }),
            other => Err(BadArgument(format!(
                "{at}expected object, got {}",
                kind(&other)
            ))),
        }
    }

    /// A complaint about one field.
    pub(super) fn bad(&self, name: &str, complaint: impl std::fmt::Display) -> BadArgument {
        BadArgument(format!("{}{name}: {complaint}", self.at))
    }

    fn required(&mut self, name: &str) -> Parsed<Value> {
        self.map
            .remove(name)
            .ok_or_else(|| BadArgument(format!("{}missing required field '{name}'", self.at)))
    }

    /// An optional field; `null` says the same as absence.
    fn optional(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &str) -> Parsed<String> {
        match self.required(name)? {
            Value::String(text) => Ok(text),
            other => Err(self.bad(name, format!("expected string, got {}", kind(&other)))),
        }
    }

    pub(super) fn optional_string(&mut self, name: &str) -> Parsed<Option<String>> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(name, format!("expected string, got {}", kind(&other)))),
        }
    }

    pub(super) fn bool_or(&mut self, name: &str, default: bool) -> Parsed<bool> {
        // A field with a default is not nullable.
        match self.map.remove(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.bad(name, format!("expected boolean, got {}", kind(&other)))),
        }
    }

    pub(super) fn unsigned(&mut self, name: &str) -> Parsed<u64> {
        let value = self.required(name)?;
        value
            .as_u64()
            .ok_or_else(|| self.bad(name, format!("expected integer, got {}", kind(&value))))
    }

    pub(super) fn optional_within(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Parsed<Option<u64>> {
        match self.optional(name) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|number| range.contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(self.bad(name, format!("{value} is not within {range:?}"))),
            },
        }
    }

    pub(super) fn fields(&mut self, name: &str) -> Parsed<Fields> {
        let value = self.required(name)?;
        Self::at(format!("{}{name}: ", self.at), value)
    }

    /// A list of structs, at most `most` long.
    pub(super) fn list(&mut self, name: &str, most: usize) -> Parsed<Vec<Fields>> {
        let entries = match self.required(name)? {
            Value::Array(entries) if entries.len() <= most => entries,
            Value::Array(entries) => {
                let complaint = format!("list has {} entries, at most {most}", entries.len());
                return Err(self.bad(name, complaint));
            }
            other => return Err(self.bad(name, format!("expected list, got {}", kind(&other)))),
        };
        entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| Self::at(format!("{}{name}[{index}]: ", self.at), entry))
            .collect()
    }

    /// A union: the tag and, for a member that carries one, the value. A member without a value may be
    /// written as a plain string; one with a value may not.
    pub(super) fn union(
        &mut self,
        name: &str,
        voids: &[&str],
        valued: &[&str],
    ) -> Parsed<Option<(String, Option<Value>)>> {
        let Some(value) = self.optional(name) else {
            return Ok(None);
        };
        let (tag, members) = match value {
            Value::String(tag) => (tag, None),
            Value::Object(mut members) => match members.remove(".tag") {
                Some(Value::String(tag)) => (tag, Some(members)),
                _ => return Err(self.bad(name, "missing '.tag' key")),
            },
            other => return Err(self.bad(name, format!("expected union, got {}", kind(&other)))),
        };
        if voids.contains(&tag.as_str()) {
            if let Some(unknown) = members.and_then(|members| members.into_iter().next()) {
                return Err(self.bad(name, format!("unknown field '{}'", unknown.0)));
            }
            return Ok(Some((tag, None)));
        }
        if !valued.contains(&tag.as_str()) {
            return Err(self.bad(name, format!("unknown tag '{tag}'")));
        }
        match members.and_then(|mut members| members.remove(&tag)) {
            Some(value) => Ok(Some((tag, Some(value)))),
            None => Err(self.bad(name, format!("tag '{tag}' needs a value"))),
        }
    }

    /// A path argument of the given kind.
    pub(super) fn path(&mut self, name: &str, pattern: Pattern) -> Parsed<String> {
        let path = self.string(name)?;
        pattern.check(&path).map_err(|why| self.bad(name, why))?;
        Ok(path)
    }

    /// A whole-second UTC timestamp in the one form Dropbox takes.
    pub(super) fn optional_time(&mut self, name: &str) -> Parsed<Option<String>> {
        let Some(text) = self.optional_string(name)? else {
            return Ok(None);
        };
        const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";
        match chrono::NaiveDateTime::parse_from_str(&text, FORM) {
            Ok(time) if time.format(FORM).to_string() == text => Ok(Some(text)),
            _ => Err(self.bad(
                name,
                format!("time data '{text}' does not match format '{FORM}'"),
            )),
        }
    }

    /// The hash of a request's bytes: 64 hex digits.
    pub(super) fn optional_hash(&mut self, name: &str) -> Parsed<Option<String>> {
        let hash = self.optional_string(name)?;
        match &hash {
            Some(text) if text.len() != 64 => {
                Err(self.bad(name, format!("'{text}' must be 64 characters")))
            }
            _ => Ok(hash),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn end(self) -> Parsed<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(BadArgument(format!("{}unknown field '{name}'", self.at))),
        }
    }

    /// Accepts and ignores fields that exist in the specification but change nothing here.
    pub(super) fn ignore_bools(&mut self, names: &[&str]) -> Parsed<()> {
        for name in names {
            self.bool_or(name, false)?;
        }
        Ok(())
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// The path patterns of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// For listing: the root is the empty string.
    List,
    /// For reading one item, which is never the root.
    Read,
    /// For writing, by path or id.
    Write,
    /// For creating a folder: a path only.
    Create,
}

impl Pattern {
    fn text(self) -> &'static str {
        match self {
            Self::List => r"(/(.|[\r\n])*)?|id:.*|(ns:[0-9]+(/(.|[\r\n])*)?)",
            Self::Read => r"(/(.|[\r\n])*|id:.*)|(rev:[0-9a-f]{9,})|(ns:[0-9]+(/(.|[\r\n])*)?)",
            Self::Write => r"(/(.|[\r\n])*)|(ns:[0-9]+(/(.|[\r\n])*)?)|(id:.*)",
            Self::Create => r"(/(.|[\r\n])*)|(ns:[0-9]+(/(.|[\r\n])*)?)",
        }
    }

    fn check(self, path: &str) -> Result<(), String> {
        if self == Self::List && path == "/" {
            return Err("Specify the root folder as an empty string rather than as \"/\".".into());
        }
        if self == Self::Read && path == "/" {
            return Err("The root folder is unsupported.".into());
        }
        let is_namespace = path.strip_prefix("ns:").is_some_and(|rest| {
            let digits = rest.split('/').next().unwrap_or_default();
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        let is_rev = path.strip_prefix("rev:").is_some_and(|rev| {
            rev.len() >= 9
                && rev
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let matches = path.starts_with('/')
            || is_namespace
            || (path.starts_with("id:") && self != Self::Create)
            || (path.is_empty() && self == Self::List)
            || (is_rev && self == Self::Read);
        if matches {
            Ok(())
        } else {
            Err(format!("'{path}' did not match pattern '{}'", self.text()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_follow_the_specification() {
        for (pattern, path, is_accepted) in [
            (Pattern::List, "", true),
            (Pattern::List, "/", false),
            (Pattern::List, "/a", true),
            (Pattern::List, "a", false),
            (Pattern::List, "rev:0123456789", false),
            (Pattern::Read, "", false),
            (Pattern::Read, "/", false),
            (Pattern::Read, "rev:0123456789", true),
            (Pattern::Read, "rev:012345", false),
            (Pattern::Write, "", false),
            (Pattern::Write, "id:abc", true),
            (Pattern::Write, "ns:12/a", true),
            (Pattern::Write, "ns:/a", false),
            (Pattern::Create, "id:abc", false),
        ] {
            assert_eq!(
                pattern.check(path).is_ok(),
                is_accepted,
                "{pattern:?} {path:?}"
            );
        }
    }

    #[test]
    fn times_have_one_form() {
        for (text, is_accepted) in [
            ("2026-11-21T04:12:09Z", true),
            ("2026-11-21T04:12:09.123Z", false),
            ("2026-11-21T04:12:09+00:00", false),
            ("2026-11-21 04:12:09Z", false),
            ("2026-2-1T04:12:09Z", false),
            ("2026-02-30T04:12:09Z", false),
        ] {
            let mut fields = Fields::of(json!({"time": text})).unwrap();
            assert_eq!(fields.optional_time("time").is_ok(), is_accepted, "{text}");
        }
    }

    #[test]
    fn unions_with_a_value_are_no_plain_strings() {
        let read = |value: Value| {
            Fields::of(json!({"mode": value}))
                .unwrap()
                .union("mode", &["add", "overwrite"], &["update"])
                .is_ok()
        };
        assert!(read(json!("add")));
        assert!(read(json!({".tag": "add"})));
        assert!(read(json!({".tag": "update", "update": "0123456789"})));
        assert!(!read(json!("update")));
        assert!(!read(json!("replace")));
        assert!(!read(json!({"add": true})));
    }

    #[test]
    fn leftovers_are_unknown_fields() {
        let mut fields = Fields::of(json!({"path": "/a", "pth": "/b"})).unwrap();
        fields.path("path", Pattern::Write).unwrap();
        assert_eq!(fields.end().unwrap_err().0, "unknown field 'pth'");
    }
}
