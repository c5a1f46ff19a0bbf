//! UISP's list of backups, read row by row: whatever a row holds beside the three fields that count is
//! passed over without being kept, so that a hostile list costs no more memory than its own text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Backup, Listing};
use crate::backup_id::BackupId;
use crate::clock;
use crate::http;

/// How far a backup is, by UISP's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be copied.
    Finished,
    /// It is being made.
    UnderWay,
    /// It was given up.
    Failed,
    /// Nobody has documented the word.
    Unknown,
}

impl State {
    /// What a word means.
    /// Assumption: `success` and `in-progress` are the words that UISP documents; letter case, hyphens and the
    /// like make no difference, and words that plainly speak of a failure mean one. No other word is guessed at.
    pub fn of(word: &str) -> Self {
        let letters = word.chars().filter(|c| c.is_alphanumeric());
        let word = letters.collect::<String>().to_lowercase();
        match word.as_str() {
            "success" => Self::Finished,
            "inprogress" => Self::UnderWay,
            _ if ["fail", "error", "cancel", "abort"]
                .iter()
                .any(|beginning| word.starts_with(beginning)) =>
            {
                Self::Failed
            }
            _ => Self::Unknown,
        }
    }
}

/// How much of a foreign word is shown.
const EXCERPT_CHARS: usize = 40;
/// Unknown states that are described one by one.
const UNKNOWN_MAX: usize = 20;
/// Rows of a list, at most; a server makes a few a day.
const ROWS_MAX: usize = 1_000_000;
/// Problems of a list that are described one by one.
const PROBLEMS_MAX: usize = 20;

/// Sorts the rows of the list into usable backups and problems.
///
/// # Errors
/// Unless the text is a JSON list.
pub fn parse(json: &[u8]) -> Result<Listing, serde_json::Error> {
    let rows: Rows = serde_json::from_slice(json)?;
    Ok(rows.0)
}

/// The state of one backup, if the list names it.
///
/// # Errors
/// Unless the text is a JSON list.
pub fn state_of(json: &[u8], id: &BackupId) -> Result<Option<State>, serde_json::Error> {
    let rows: Vec<Row> = serde_json::from_slice(json)?;
    let row = rows.into_iter().find(|row| {
        let own = row.id.text("id").map(BackupId::parse);
        own.is_ok_and(|own| own.as_ref() == Ok(id))
    });
    Ok(row.and_then(|row| row.state.text("state").ok().map(State::of)))
}

/// The list.
struct Rows(Listing);

/// The fields that count, of one row.
struct Row {
    id: Field,
    state: Field,
    created_at: Field,
}

/// One field, as far as it matters.
#[derive(Default)]
enum Field {
    #[default]
    Missing,
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Rows;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows, A::Error> {
                let mut sorting = Sorting::default();
                while let Some(row) = rows.next_element::<Row>()? {
                    if sorting.rows == ROWS_MAX {
                        return Err(A::Error::custom(format!("more than {ROWS_MAX} rows")));
                    }
                    sorting.take(&row);
                }
                Ok(Rows(sorting.finish()))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The methods of a visitor that skips the values it has no use for.
macro_rules! other_values {
    ($value:ty, $other:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_bool<E>(self, _: bool) -> Result<$value, E> {
            Ok($other)
        }
        fn visit_i64<E>(self, _: i64) -> Result<$value, E> {
            Ok($other)
        }
        fn visit_u64<E>(self, _: u64) -> Result<$value, E> {
            Ok($other)
        }
        fn visit_f64<E>(self, _: f64) -> Result<$value, E> {
            Ok($other)
        }
        fn visit_unit<E>(self) -> Result<$value, E> {
            Ok($other)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<$value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($other)
        }
    };
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Row;
            other_values!(Row, Row::EMPTY);
            fn visit_str<E>(self, _: &str) -> Result<Row, E> {
                Ok(Row::EMPTY)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Row, A::Error> {
                let mut row = Row::EMPTY;
                while let Some(key) = fields.next_key::<Cow<'_, str>>()? {
                    match key.as_ref() {
                        "id" => row.id = fields.next_value()?,
                        "state" => row.state = fields.next_value()?,
                        "createdAt" => row.created_at = fields.next_value()?,
                        _ => {
                            fields.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(row)
            }
        }
        deserializer.deserialize_any(Object)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Field;
            other_values!(Field, Field::Other);
            fn visit_str<E>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.trim().to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Field, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Field {
    fn text(&self, name: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) if !text.is_empty() => Ok(text),
            Self::Text(_) | Self::Other => Err(format!("its {name} is not a text")),
            Self::Missing => Err(format!("it has no {name}")),
        }
    }
}

impl Row {
    /// A row without fields; also stands for a row that is not an object.
    const EMPTY: Self = Self {
        id: Field::Missing,
        state: Field::Missing,
        created_at: Field::Missing,
    };

    /// The backup, and the word for its state if nobody knows it.
    fn backup(&self) -> Result<(Backup, Option<String>), String> {
        let id = self.id.text("id")?;
        let id = BackupId::parse(id).map_err(|error| {
            let id = http::excerpt(id.as_bytes(), EXCERPT_CHARS);
            format!("its id \"{id}\" is not usable, {error}")
        })?;
        let word = self.state.text("state")?;
        let state = State::of(word);
        let created_at = match self.created_at() {
            Ok(time) => time,
            Err(problem) if state == State::Finished => return Err(problem),
            // Nobody needs the time of what cannot be copied yet. It is the newest there is.
            Err(_) => clock::now(),
        };
        let unknown = || http::excerpt(word.as_bytes(), EXCERPT_CHARS);
        let unknown = (state == State::Unknown).then(unknown);
        let backup = Backup {
            id,
            finished: state == State::Finished,
            created_at,
            version: None,
            is_from_the_future: false,
            has_failed: state == State::Failed,
        };
        Ok((backup, unknown))
    }

    fn created_at(&self) -> Result<DateTime<Utc>, String> {
        let text = self.created_at.text("createdAt")?;
        parse_time(text).ok_or_else(|| {
            let time = http::excerpt(text.as_bytes(), EXCERPT_CHARS);
            format!("its createdAt \"{time}\" is not an ISO 8601 time")
        })
    }
}

/// The listing in the making.
#[derive(Default)]
struct Sorting {
    listing: Listing,
    known: BTreeSet<BackupId>,
    rows: usize,
    problems: usize,
    unknown: usize,
}

impl Sorting {
    fn take(&mut self, row: &Row) {
        self.rows += 1;
        let parsed = row.backup().and_then(|(backup, unknown)| {
            if self.known.insert(backup.id.clone()) {
                Ok((backup, unknown))
            } else {
                Err(format!("its id {} is in another row, too", backup.id))
            }
        });
        match parsed {
            Ok((backup, unknown)) => {
                if let Some(word) = unknown {
                    self.unknown += 1;
                    if self.unknown <= UNKNOWN_MAX {
                        let text = format!("{}: {word}", backup.id);
                        self.listing.unknown_states.push(text);
                    }
                }
                self.listing.backups.push(backup);
            }
            Err(problem) => {
                self.problems += 1;
                if self.problems <= PROBLEMS_MAX {
                    let problem = format!("row {}: {problem}", self.rows);
                    self.listing.problems.push(problem);
                }
            }
        }
    }

    fn finish(mut self) -> Listing {
        if self.problems > PROBLEMS_MAX {
            let more = self.problems - PROBLEMS_MAX;
            self.listing.problems.push(format!("and {more} more rows"));
        }
        if self.unknown > UNKNOWN_MAX {
            let more = self.unknown - UNKNOWN_MAX;
            let text = format!("and {more} more backups");
            self.listing.unknown_states.push(text);
        }
        self.listing
    }
}

/// ISO 8601 in the forms that servers write: `T` or a space, with or without seconds and fraction,
/// `Z`, `+01:00`, `+0100` or `+01`. A time without offset is taken as UTC.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim().replacen(' ', "T", 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return in_range(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text, format) {
            return in_range(time.to_utc());
        }
    }
    let text = text.trim_end_matches(['Z', 'z']);
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return in_range(time.and_utc());
        }
    }
    None
}

/// A file name has room for four digits of year, in any timezone.
fn in_range(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let last = NaiveDate::from_ymd_opt(9999, 1, 1)?;
    (first..last).contains(&time.date_naive()).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rows(rows: &[Value]) -> Listing {
        parse(json!(rows).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_a_list_is_a_list() {
        for text in ["", "{}", "null", "\"a\"", "[", "[]]", "<html>", "[1,"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let listing = parse(deep.as_bytes()).unwrap();
        assert_eq!((listing.backups.len(), listing.problems.len()), (0, 1));
    }

    #[test]
    fn rows_are_strict_about_three_fields_and_blind_to_others() {
        let listing = rows(&[
            json!({"id":"a","state":"success","createdAt":"2020-12-04T17:28:00.123Z","size":1}),
            json!({"id":"b","state":"in-progress","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"c","state":"something new\n","createdAt":"2020-12-04 17:28"}),
            json!({"id":"d","state":"In_Progress"}),
            json!({"id":"e","state":"failed","createdAt":1607102880}),
            json!({"id":"f","state":"Success","createdAt":"2020-12-04T17:28:00Z"}),
        ]);
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let finished: Vec<bool> = listing.backups.iter().map(|b| b.finished).collect();
        assert_eq!(finished, [true, false, false, false, false, true]);
        assert_eq!(listing.unknown_states, ["c: something new"]);
    }

    #[test]
    fn words_for_a_state_are_known_or_not_guessed_at() {
        for (word, state) in [
            ("success", State::Finished),
            ("in-progress", State::UnderWay),
            ("IN PROGRESS", State::UnderWay),
            ("inProgress", State::UnderWay),
            ("failed", State::Failed),
            ("Failure", State::Failed),
            ("error", State::Failed),
            ("canceled", State::Failed),
            ("cancelled", State::Failed),
            ("completed", State::Unknown),
            ("unsuccessful", State::Unknown),
            ("successful", State::Unknown),
            ("-", State::Unknown),
        ] {
            assert_eq!(State::of(word), state, "{word}");
        }
        let many: Vec<Value> = (0..100)
            .map(|n| json!({"id": n.to_string(), "state": format!("\u{1b}[2J{}", "x".repeat(999))}))
            .collect();
        let listing = rows(&many);
        assert_eq!(listing.unknown_states.len(), UNKNOWN_MAX + 1);
        for text in &listing.unknown_states {
            assert!(
                text.chars().count() < 60 && !text.contains('\u{1b}'),
                "{text}"
            );
        }
    }

    #[test]
    fn one_bad_row_does_not_hide_the_good_ones() {
        let good = json!({"id":"a","state":"success","createdAt":"2020-12-04T17:28:00Z"});
        for bad in [
            json!(null),
            json!("a"),
            json!({"state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":7,"state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"../x","state":"success","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","state":"","createdAt":"2020-12-04T17:28:00Z"}),
            json!({"id":"b","state":"success"}),
            json!({"id":"b","state":"success","createdAt":"yesterday"}),
            json!({"id":"b","state":"success","createdAt":1607102880}),
            good.clone(),
            json!({"id":"A","state":"success","createdAt":"2020-12-04T17:28:00Z"}),
        ] {
            let listing = rows(&[good.clone(), bad.clone()]);
            assert_eq!(listing.backups.len(), 1, "{bad}");
            assert_eq!(listing.problems.len(), 1, "{bad}");
        }
    }

    #[test]
    fn problems_are_counted_not_listed_without_end() {
        let listing = rows(&vec![json!(null); 1000]);
        assert_eq!(listing.problems.len(), PROBLEMS_MAX + 1);
        assert!(listing.problems.last().unwrap().contains("980 more"));
    }

    #[test]
    fn every_iso_form_of_a_time_is_read() {
        for text in [
            "2020-12-04T17:28:00Z",
            "2020-12-04T17:28:00.000Z",
            "2020-12-04 17:28:00",
            "2020-12-04T17:28",
            "2020-12-04T17:28Z",
            "2020-12-04T18:28:00+01:00",
            "2020-12-04T18:28:00.0+0100",
            "2020-12-04T18:28:00+01",
            "2020-12-04T13:28-0400",
        ] {
            let time = parse_time(text).map(|time| time.to_rfc3339());
            assert_eq!(time.as_deref(), Some("2020-12-04T17:28:00+00:00"), "{text}");
        }
        for text in [
            "",
            "now",
            "2020-13-04T17:28:00Z",
            "12345-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_row_and_no_time_panics(text in "\\PC{0,40}", id in any::<String>()) {
            let _ = parse_time(&text);
            let _ = rows(&[json!({"id": id, "state": text, "createdAt": text})]);
            let _ = parse(text.as_bytes());
        }
    }
}
