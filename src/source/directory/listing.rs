//! What walks through a folder amount to as a list of backups. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::walk::{Other, Walk};
use crate::backup_id::{BackupId, NAME_CHARS_MAX, Version};
use crate::source::{Backup, Doubt, Listing};
use crate::text;

/// A file that was changed less long ago may still be growing.
const QUIET: TimeDelta = TimeDelta::seconds(60);
/// Steps along links, at most: those of a loop have no end.
const STEPS_MAX: usize = 1000;
/// Names that operating systems leave in folders and that Dropbox refuses, in any letter case.
const LITTER: [&str; 6] = [
    "desktop.ini",
    "thumbs.db",
    ".ds_store",
    "icon\r",
    ".dropbox",
    ".dropbox.attr",
];

/// Where the files of a list are, and in which version they were listed.
pub type Places = BTreeMap<BackupId, (PathBuf, Version)>;

/// The list that walks amount to, and where its files are. `tops` are the absolute paths of the folder.
pub fn listing(walk: &Walk, tops: &[&Path], now: DateTime<Utc>) -> (Listing, Places) {
    let mut listing = Listing {
        problems: walk.problem.iter().cloned().collect(),
        ..Listing::default()
    };
    let mut usable = Vec::new();
    for (path, version) in &walk.files {
        match usable_id(path) {
            Ok(Some(id)) => usable.push((id, path, *version)),
            Ok(None) => {}
            Err(reason) => {
                let keys = BackupId::likely_keys(path.as_bytes()).into_iter();
                listing.doubts.extend(keys.map(|key| Doubt {
                    key,
                    bytes: Some(version.bytes),
                    text: format!("{}, because {reason}", shown(path)),
                    is_harmless: false,
                }));
            }
        }
    }
    // In Dropbox a file cannot have the name of a folder either, and none takes the name of what may be
    // something else tomorrow.
    let others = walk
        .others
        .iter()
        .filter(|(path, _)| !walk.files.contains_key(*path));
    let mut reserved = BTreeSet::new();
    for (path, other) in others {
        let id = match usable_id(path) {
            // The top itself is no entry of it.
            _ if path.is_empty() => continue,
            Ok(None) => continue,
            Ok(Some(id)) => Some(id),
            Err(_) => None,
        };
        if let Some(id) = &id
            && !matches!(other, Other::Vanished(_))
        {
            reserved.insert(id.key().to_owned());
            reserved.extend(folders_of(id));
        }
        let keys = match id {
            Some(id) => vec![id.key().to_owned()],
            None => BackupId::likely_keys(path.as_bytes()),
        };
        let keys = keys.into_iter();
        let doubts = keys.map(|key| doubt(walk, tops, path, other, key));
        listing.doubts.extend(doubts);
    }
    reserved.extend(usable.iter().flat_map(|(id, ..)| folders_of(id)));
    let wanted: BTreeSet<&str> = usable.iter().map(|(id, ..)| id.key()).collect();

    let mut places = Vec::new();
    for (id, path, version) in &usable {
        let other = walk.others.get(*path);
        let mut id = id.clone();
        if !reserved.insert(id.key().to_owned()) {
            let Some(renamed) = other_id(&id).filter(|other| !wanted.contains(other.key())) else {
                listing.doubts.push(Doubt {
                    key: id.key().to_owned(),
                    bytes: Some(version.bytes),
                    text: format!("{}, because no name is left for it in Dropbox", shown(path)),
                    is_harmless: false,
                });
                continue;
            };
            if other.is_none() {
                listing.renamed.push(format!(
                    "{} as {}",
                    shown(path),
                    shown(renamed.as_str().as_ref())
                ));
            }
            id = renamed;
        }
        if let Some(other) = other {
            let mut doubt = doubt(walk, tops, path, other, id.key().to_owned());
            doubt.bytes = Some(version.bytes);
            listing.doubts.push(doubt);
            continue;
        }
        places.push((id.clone(), (PathBuf::from(path), *version)));
        listing.backups.push(backup(id, *version, now));
    }
    (listing, places.into_iter().collect())
}

fn backup(id: BackupId, version: Version, now: DateTime<Utc>) -> Backup {
    // A copy that gets the time of its original keeps it while it still grows, but not that of its change.
    let touched_at = version.modified_at.max(version.changed_at);
    Backup {
        id,
        finished: version.bytes > 0 && now - touched_at >= QUIET,
        created_at: in_range(version.modified_at),
        version: Some(version),
        is_from_the_future: touched_at - now >= QUIET,
        has_failed: false,
    }
}

/// Why something that was met is not in the list.
fn doubt(walk: &Walk, tops: &[&Path], path: &OsStr, other: &Other, key: String) -> Doubt {
    let name = shown(path);
    let (bytes, is_harmless, text) = match other {
        Other::Link(target, bytes) => {
            let is_harmless = leads_to_what_is_listed(walk, tops, path, target);
            let target = shown(target.as_os_str());
            let bytes = bytes.filter(|_| !is_harmless);
            (bytes, is_harmless, format!("{name}, a link to {target}"))
        }
        Other::Channel(what) => (None, true, format!("{name}, {what}")),
        Other::Device => (None, false, format!("{name}, a device")),
        Other::TooDeep => (None, false, format!("{name}, which is nested too deeply")),
        Other::Unreadable(cause) => {
            let cause = io::Error::from(*cause);
            (
                None,
                false,
                format!("{name}, which cannot be read ({cause})"),
            )
        }
        Other::Vanished(bytes) => (
            *bytes,
            true,
            format!("{name}, which vanished while the folder was read"),
        ),
    };
    Doubt {
        key,
        bytes,
        text,
        is_harmless,
    }
}

/// Whether a link, or a chain of them, leads to a file or folder that is listed under its own name. Judged by
/// the names alone: what is outside of the folder is left alone, as it may be a server that does not answer.
fn leads_to_what_is_listed(walk: &Walk, tops: &[&Path], link: &OsStr, target: &Path) -> bool {
    let is_folder = |place: &Path| walk.folders.contains(place.as_os_str());
    let mut place = Path::new(link)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    // The parts of the way that are still to be gone, the next one last.
    let mut way = Vec::new();
    if !set_out(tops, target, &mut place, &mut way) {
        return false;
    }
    for _ in 0..STEPS_MAX {
        let Some(part) = way.pop() else {
            let is_file =
                |place: &OsStr| walk.files.contains_key(place) && !walk.others.contains_key(place);
            return is_folder(&place) || is_file(place.as_os_str());
        };
        if !is_folder(&place) {
            return false;
        } else if part == ".." {
            if !place.pop() {
                return false;
            }
        } else {
            place.push(part);
            if let Some(Other::Link(target, _)) = walk.others.get(place.as_os_str()) {
                place.pop();
                if !set_out(tops, target, &mut place, &mut way) {
                    return false;
                }
            }
        }
    }
    false
}

/// Puts the parts of a link's target in front of the way; `false` if it leads out of the folder.
fn set_out(tops: &[&Path], target: &Path, place: &mut PathBuf, way: &mut Vec<OsString>) -> bool {
    let mut target = target;
    if target.is_absolute() {
        let below = tops.iter().find_map(|top| target.strip_prefix(top).ok());
        let Some(below) = below else { return false };
        place.clear();
        target = below;
    }
    let parts = target.components().rev();
    let parts = parts.filter(|part| *part != Component::CurDir);
    way.extend(parts.map(|part| part.as_os_str().to_owned()));
    true
}

/// A path as it may stand in a line.
fn shown(path: &OsStr) -> String {
    format!("\"{}\"", text::one_line(&path.to_string_lossy()))
}

/// Keys of the folders that a file lies in.
fn folders_of(id: &BackupId) -> impl Iterator<Item = String> {
    let folders = Path::new(id.key()).ancestors().skip(1);
    folders.filter_map(|folder| folder.to_str().map(str::to_owned))
}

/// The id of a file; `None` if it is litter, an error if Dropbox cannot hold it.
fn usable_id(path: &OsStr) -> Result<Option<BackupId>, String> {
    let Some(text) = path.to_str() else {
        return Err("its name is not valid UTF-8".into());
    };
    let (folders, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_litter = |name: &str| LITTER.contains(&name.to_lowercase().as_str());
    if is_litter(name) {
        return Ok(None);
    }
    if folders.split('/').any(is_litter) {
        return Err("Dropbox refuses the name of its folder".into());
    }
    BackupId::of_path(text)
        .map(Some)
        .map_err(|reason| reason.to_string())
}

/// The id for a file whose own id is taken: the name gets a mark that follows from its exact
/// path, so that it is the same in every run.
fn other_id(id: &BackupId) -> Option<BackupId> {
    let hash = Sha256::digest(id.as_str().as_bytes());
    let mark: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let mark = format!(" ({mark})");
    let (folder, name) = match id.as_str().rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), id.as_str()),
    };
    let dot = name.char_indices().skip(1).find(|(_, c)| *c == '.');
    let (stem, endings) = name.split_at(dot.map_or(name.len(), |(at, _)| at));
    let room = NAME_CHARS_MAX.checked_sub(mark.len() + endings.chars().count())?;
    let stem: String = stem.chars().take(room).collect();
    BackupId::of_path(&format!("{folder}{stem}{mark}{endings}")).ok()
}

/// Dropbox takes times with four digits of year.
fn in_range(time: DateTime<Utc>) -> DateTime<Utc> {
    let year =
        |year| NaiveDate::from_ymd_opt(year, 1, 1).map(|day| day.and_time(Default::default()));
    match (year(1970), year(9999)) {
        (Some(first), Some(last)) => time.clamp(first.and_utc(), last.and_utc()),
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::io::Errno;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T00:00:00Z".parse().unwrap()
    }

    /// A file of so many bytes, changed so many seconds ago: its content, and anything of it.
    fn version(bytes: u64, modified: i64, changed: i64) -> Version {
        Version {
            bytes,
            modified_at: now() - TimeDelta::seconds(modified),
            changed_at: now() - TimeDelta::seconds(changed),
            inode: 1,
        }
    }

    /// Files at rest, and the folders that they are in.
    fn walk(paths: &[&str]) -> Walk {
        let mut walk = Walk::default();
        for path in paths {
            walk.files.insert(path.into(), version(1, 999, 999));
            let folders = Path::new(path).ancestors().skip(1);
            walk.folders.extend(folders.map(OsString::from));
        }
        walk
    }

    fn listed(walk: &Walk) -> (Listing, Places) {
        let tops = [Path::new("/link"), Path::new("/disk/backups")];
        listing(walk, &tops, now())
    }

    #[test]
    fn what_cannot_be_taken_is_in_doubt() {
        let mut walk = walk(&["a", "sub/closed", "sub/gone", "dump.sql "]);
        for (path, other) in [
            ("link", Other::Link("elsewhere".into(), Some(9))),
            ("Pipe", Other::Channel("a pipe")),
            ("device", Other::Device),
            ("Shut", Other::Unreadable(Errno::ACCESS)),
            ("sub/closed", Other::Unreadable(Errno::ACCESS)),
            ("sub/gone", Other::Vanished(None)),
            ("deep", Other::TooDeep),
            ("was", Other::Vanished(Some(7))),
            ("Thumbs.db", Other::Device),
        ] {
            walk.others.insert(path.into(), other);
        }
        let (listing, places) = listed(&walk);
        assert_eq!(places.len(), 1);
        let mut doubts: Vec<_> = listing.doubts.iter().collect();
        doubts.sort_by_key(|doubt| &doubt.key);
        let found: Vec<_> = doubts
            .iter()
            .map(|doubt| (doubt.key.as_str(), doubt.bytes, doubt.is_harmless))
            .collect();
        let expected = [
            ("deep", None, false),
            ("device", None, false),
            ("dump.sql", Some(1), false),
            ("link", Some(9), false),
            ("pipe", None, true),
            ("shut", None, false),
            ("sub/closed", Some(1), false),
            ("sub/gone", Some(1), true),
            ("was", Some(7), true),
        ];
        assert_eq!(found, expected);
        assert!(doubts[2].text.ends_with("a name in it ends in a space"));
        assert_eq!(doubts[3].text, "\"link\", a link to \"elsewhere\"");
        assert!(
            doubts[5]
                .text
                .contains("\"Shut\", which cannot be read (Permission")
        );
    }

    #[test]
    fn a_link_to_what_is_listed_is_harmless() {
        let harmless = |path: &str, target: &str| {
            let mut walk = walk(&["dump-5.sql", "sub/dump-4.sql", "shut", "bad "]);
            walk.others
                .insert("shut".into(), Other::Unreadable(Errno::IO));
            for (path, target) in [
                ("chain", "sub/up"),
                ("sub/up", "../dump-5.sql"),
                ("loop", "loop"),
                ("dangling", "nowhere"),
                ("out", "/etc"),
                (path, target),
            ] {
                walk.others
                    .insert(path.into(), Other::Link(target.into(), None));
            }
            let (listing, _) = listed(&walk);
            let keys = BackupId::likely_keys(path.as_bytes());
            let doubt = listing
                .doubts
                .iter()
                .find(|doubt| keys.contains(&doubt.key));
            doubt.unwrap().is_harmless
        };
        for (path, target) in [
            ("latest", "dump-5.sql"),
            ("latest", "./sub//dump-4.sql"),
            ("latest", "/disk/backups/dump-5.sql"),
            ("latest", "/link/sub/dump-4.sql"),
            ("sub/latest", "../dump-5.sql"),
            ("sub/latest", "dump-4.sql"),
            ("latest", "sub"),
            ("latest", "chain"),
            ("around", "."),
        ] {
            assert!(harmless(path, target), "{path} -> {target}");
        }
        for (path, target) in [
            ("latest", "/disk/other/dump-5.sql"),
            ("latest", "../backups/dump-5.sql"),
            ("latest", "/disk/backups/../dump-5.sql"),
            ("latest", "dump-5.sql/../sub"),
            ("latest", "loop"),
            ("latest", "dangling"),
            ("latest", "out/passwd"),
            ("latest", "shut"),
            ("db", "/big/db"),
        ] {
            assert!(!harmless(path, target), "{path} -> {target}");
        }
    }

    #[test]
    fn no_file_takes_the_name_of_what_may_be_another_one_tomorrow() {
        let mut walk = walk(&["Dump.sql", "dump.sql", "THING"]);
        let unreadable = || Other::Unreadable(Errno::IO);
        walk.others.insert("Dump.sql".into(), unreadable());
        walk.others.insert("thing".into(), unreadable());
        let (listing, _) = listed(&walk);
        let ids: Vec<&str> = listing
            .backups
            .iter()
            .map(|backup| backup.id.as_str())
            .collect();
        assert_eq!(ids.len(), 2);
        assert!(
            ids[0].starts_with("THING (") && ids[1].starts_with("dump ("),
            "{ids:?}"
        );
        assert_eq!(listing.renamed.len(), 2);
        let keys: BTreeSet<&str> = listing
            .doubts
            .iter()
            .map(|doubt| doubt.key.as_str())
            .collect();
        assert_eq!(keys, ["dump.sql", "thing"].into());
    }

    #[test]
    fn a_file_is_finished_once_content_and_file_have_been_at_rest() {
        let state = |version| {
            let mut walk = Walk::default();
            walk.files.insert("a".into(), version);
            let backup = listed(&walk).0.backups.remove(0);
            (backup.finished, backup.is_from_the_future)
        };
        assert_eq!(state(version(1, 60, 60)), (true, false));
        for young in [
            version(1, 59, 999),
            version(1, 999, 59),
            version(1, -59, 999),
        ] {
            assert_eq!(state(young), (false, false), "{young:?}");
        }
        for early in [version(1, -300, 999), version(1, 999, -300)] {
            assert_eq!(state(early), (false, true), "{early:?}");
        }
        assert_eq!(state(version(0, 999, 999)), (false, false));
    }

    #[test]
    fn every_time_that_a_file_can_have_is_one_that_dropbox_takes() {
        const YEAR: i64 = 365 * 24 * 60 * 60;
        for (years_ago, year) in [(1, "2025"), (2000, "1970"), (-10_000, "9999")] {
            let made = backup(
                BackupId::of_path("a").unwrap(),
                version(1, years_ago * YEAR, 999),
                now(),
            );
            let told = made.created_at.format("%Y").to_string();
            assert_eq!(told, year);
        }
    }

    #[test]
    fn the_mark_goes_before_the_endings_and_names_stay_short_enough() {
        let id = |path: &str| BackupId::of_path(path).unwrap();
        let marked = |path: &str| other_id(&id(path)).unwrap().to_string();
        assert!(marked("a/b/Dump.sql.gz").starts_with("a/b/Dump ("));
        assert!(marked("a/b/Dump.sql.gz").ends_with(").sql.gz"));
        assert!(marked(".hidden").starts_with(".hidden ("));
        assert!(marked("plain").starts_with("plain ("));
        let long = format!("a/{}.sql", "x".repeat(251));
        assert!(marked(&long).ends_with(").sql") && marked(&long).len() == 2 + NAME_CHARS_MAX);
        assert_ne!(marked("a/x"), marked("A/x"));
    }

    proptest! {
        #[test]
        fn every_file_has_one_id_that_no_other_path_disturbs(
            paths in prop::collection::btree_set("[aA\u{e9}]{1,2}(/[aAbe.\u{301}]{1,3}){0,2}", 0..25),
        ) {
            // A path is a file or a folder.
            let is_folder = |path: &String| {
                let inside = format!("{path}/");
                paths.iter().any(|other| other.starts_with(&inside))
            };
            let files: Vec<&str> = paths
                .iter()
                .filter(|path| !is_folder(path) && BackupId::of_path(path).is_ok())
                .map(String::as_str)
                .collect();
            let (listing, places) = listed(&walk(&files));
            prop_assert!(listing.problems.is_empty() && listing.doubts.is_empty());
            let placed: BTreeSet<&str> = places.values().filter_map(|(path, _)| path.to_str()).collect();
            prop_assert_eq!(placed, files.iter().copied().collect());
            prop_assert_eq!(listing.backups.len(), files.len());
            let ids: BTreeSet<&BackupId> = listing.backups.iter().map(|backup| &backup.id).collect();
            prop_assert_eq!(ids.len(), files.len());
            for backup in &listing.backups {
                prop_assert!(backup.finished);
                // No file lies where another one needs a folder.
                for folder in Path::new(backup.id.as_str()).ancestors().skip(1) {
                    let folder = BackupId::of_path(folder.to_str().unwrap());
                    prop_assert!(folder.map_or(true, |folder| !ids.contains(&folder)));
                }
            }
            // Without rivals a file keeps its path.
            let renamed = listing.backups.iter().filter(|backup| !files.contains(&backup.id.as_str()));
            prop_assert_eq!(renamed.count(), listing.renamed.len());
        }

        #[test]
        fn no_name_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let path = OsStr::from_bytes(&bytes);
            if let Ok(Some(id)) = usable_id(path) {
                let _ = other_id(&id);
            }
            let mut walk = Walk::default();
            walk.files.insert(path.into(), version(1, 999, 999));
            walk.others.insert("a".into(), Other::Link(path.into(), None));
            let _ = listed(&walk);
        }
    }
}
