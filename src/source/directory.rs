//! A folder of files as a source of backups: each regular file below it is one, its path is the id.
//!
//! Links are never followed, neither to files nor to folders, not even when one appears during
//! the walk: every path is opened part by part. A file may change under its path, so each carries
//! its [`Version`], and whatever is no longer the version that was listed is not read to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{Backup, Error, Kind, Listing, Source, Stream};
use crate::backup_id::{BackupId, NAME_CHARS_MAX, Version};
use crate::clock;
use crate::zone::Zone;

/// A file that was changed less long ago may still be growing.
const QUIET: TimeDelta = TimeDelta::seconds(60);
/// Folders within folders, at most.
const DEPTH_MAX: usize = 100;
/// The folder is walked until two walks in a row find the same files, but not more often than this.
const WALKS_MAX: usize = 5;
/// Remarks of one kind that are described one by one.
const REMARKS_MAX: usize = 20;
/// Names that operating systems leave in folders and that Dropbox refuses, in any letter case.
const LITTER: [&str; 6] = [
    "desktop.ini",
    "thumbs.db",
    ".ds_store",
    "icon\r",
    ".dropbox",
    ".dropbox.attr",
];
/// The file system's own folder at the top of a volume; nobody but root may read it.
const LOST_AND_FOUND: &str = "lost+found";

/// A folder on this machine.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    /// Where the files of the newest list are.
    listed: Mutex<BTreeMap<BackupId, (PathBuf, Version)>>,
}

impl Directory {
    /// The files below `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            listed: Mutex::default(),
        }
    }

    fn open_top(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.folder, flags, Mode::empty())
            .map_err(|cause| unreadable(&self.folder, cause))
    }

    fn walk(&self) -> Result<Walk, Error> {
        let top = self.open_top()?;
        let mut walk = Walk::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            match open_below(&top, &folder, OFlags::DIRECTORY) {
                Ok(open) => walk.read(&open, &folder, &mut folders),
                // Gone, or no longer a folder; whether that lasts is seen by the next walk.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(cause) => walk.note_unreadable(&folder, cause),
            }
        }
        Ok(walk)
    }
}

impl Source for Directory {
    fn kind(&self) -> Kind {
        Kind::Folder
    }

    fn list(&self) -> Result<Listing, Error> {
        let walk = steady(|| self.walk())?;
        let (listing, places) = listing(&walk, clock::now());
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = places;
        Ok(listing)
    }

    /// The machine's timezone, else UTC.
    fn timezone(&self) -> Result<Zone, String> {
        let name = iana_time_zone::get_timezone().unwrap_or_default();
        Ok(name.parse().unwrap_or(Zone::UTC))
    }

    /// Always begins at the start: the file is on this machine, and comparing what
    /// was read before shows that it is still the same.
    fn open(&self, id: &BackupId, _offset: u64) -> Result<Stream, Error> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, version) = listed.get(id).cloned().ok_or(Error::InUse)?;
        drop(listed);
        let top = self.open_top()?;
        // A pipe in the file's place must not block.
        let file = match open_below(&top, &path, OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {
                return Err(Error::InUse);
            }
            Err(cause) => return Err(unreadable(&self.folder.join(path), cause)),
        };
        let reading = Reading::new(File::from(file), self.folder.join(path), version)?;
        Ok(Stream {
            reader: Box::new(reading),
            offset: 0,
            length: Some(version.bytes),
        })
    }
}

/// Opens a path below `top` without following a link in any part of it.
fn open_below(top: &OwnedFd, path: &Path, last: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut open = rustix::fs::openat(top, ".", flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = path.iter().peekable();
    while let Some(part) = parts.next() {
        let kind = if parts.peek().is_some() {
            OFlags::DIRECTORY
        } else {
            last
        };
        open = rustix::fs::openat(&open, part, flags | kind, Mode::empty())?;
    }
    Ok(open)
}

fn unreadable(path: &Path, cause: impl Into<io::Error>) -> Error {
    Error::Unreadable {
        path: path.display().to_string(),
        cause: cause.into(),
    }
}

fn version(stat: &Stat) -> Version {
    let time = |seconds, nanoseconds| {
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or_default();
        DateTime::from_timestamp(seconds, nanoseconds).unwrap_or_default()
    };
    Version {
        bytes: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_at: time(stat.st_mtime, stat.st_mtime_nsec),
        changed_at: time(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
    }
}

/// What one walk through the folder has found, by path.
#[derive(Clone, Debug, Default)]
struct Walk {
    files: BTreeMap<OsString, Version>,
    /// Links, pipes and the like.
    others: BTreeMap<OsString, Version>,
    problems: BTreeMap<OsString, String>,
}

impl Walk {
    /// Notes what is in an open folder; the folders in it go to `folders`.
    fn read(&mut self, open: &OwnedFd, folder: &Path, folders: &mut Vec<PathBuf>) {
        let entries = match Dir::read_from(open) {
            Ok(entries) => entries,
            Err(cause) => return self.note_unreadable(folder, cause),
        };
        for entry in entries {
            let name = match &entry {
                Ok(entry) => OsStr::from_bytes(entry.file_name().to_bytes()),
                Err(cause) => return self.note_unreadable(folder, *cause),
            };
            if name == "." || name == ".." {
                continue;
            }
            let path = folder.join(name);
            let stat = match rustix::fs::statat(open, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Deleted just now.
                Err(Errno::NOENT) => continue,
                Err(cause) => {
                    self.note_unreadable(&path, cause);
                    continue;
                }
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    self.files.insert(path.into_os_string(), version(&stat));
                }
                FileType::Directory if path == Path::new(LOST_AND_FOUND) => {}
                FileType::Directory if path.iter().count() > DEPTH_MAX => {
                    let problem = format!("{} is nested too deeply", path.display());
                    self.problems.insert(path.into_os_string(), problem);
                }
                FileType::Directory => folders.push(path),
                _ => {
                    self.others.insert(path.into_os_string(), version(&stat));
                }
            }
        }
    }

    fn note_unreadable(&mut self, path: &Path, cause: Errno) {
        let shown = match path.as_os_str().is_empty() {
            true => "the folder itself".into(),
            false => path.display().to_string(),
        };
        let cause = io::Error::from(cause);
        let problem = format!("{shown} cannot be read ({cause})");
        self.problems.insert(path.as_os_str().to_owned(), problem);
    }

    fn has_the_same_paths_as(&self, other: &Self) -> bool {
        self.files.keys().eq(other.files.keys())
            && self.others.keys().eq(other.others.keys())
            && self.problems.keys().eq(other.problems.keys())
    }
}

/// Walks until two walks in a row find the same files: a file that is renamed during a walk may be
/// missed under both of its names. A folder that never rests makes a list unfit for deletions.
fn steady(mut walk: impl FnMut() -> Result<Walk, Error>) -> Result<Walk, Error> {
    let mut last = walk()?;
    for _ in 1..WALKS_MAX {
        let next = walk()?;
        let is_steady = next.has_the_same_paths_as(&last);
        last = next;
        if is_steady {
            return Ok(last);
        }
    }
    let problem = "files kept coming and going while it was read".to_owned();
    last.problems.insert(OsString::new(), problem);
    Ok(last)
}

/// The list that a walk amounts to, and where its files are.
fn listing(walk: &Walk, now: DateTime<Utc>) -> (Listing, BTreeMap<BackupId, (PathBuf, Version)>) {
    let mut problems = Remarks::default();
    walk.problems
        .values()
        .for_each(|problem| problems.add(problem.clone()));
    let mut passed_over = Remarks::default();
    let mut usable = Vec::new();
    for (path, version) in &walk.files {
        match usable_id(path) {
            Ok(Some(id)) => usable.push((id, path, *version)),
            Ok(None) => {}
            Err(reason) => passed_over.add(reason),
        }
    }
    // In Dropbox a file cannot have the name of a folder either.
    let mut reserved: BTreeSet<String> = usable
        .iter()
        .flat_map(|(id, ..)| Path::new(id.key()).ancestors().skip(1))
        .filter_map(|folder| folder.to_str().map(str::to_owned))
        .collect();
    let wanted: BTreeSet<&str> = usable.iter().map(|(id, ..)| id.key()).collect();

    let mut renamed = Remarks::default();
    let mut backups = Vec::new();
    let mut places = BTreeMap::new();
    for (id, path, version) in &usable {
        let mut id = id.clone();
        if !reserved.insert(id.key().to_owned()) {
            let Some(other) = other_id(&id).filter(|other| !wanted.contains(other.key())) else {
                problems.add(format!("\"{id}\" cannot get a name of its own in Dropbox"));
                continue;
            };
            renamed.add(format!("\"{id}\" as \"{other}\""));
            id = other;
        }
        let is_quiet = (now - version.modified_at).abs() >= QUIET;
        places.insert(id.clone(), (PathBuf::from(path), *version));
        backups.push(Backup {
            id,
            finished: version.bytes > 0 && is_quiet,
            created_at: in_range(version.modified_at),
            version: Some(*version),
            is_from_the_future: false,
            has_failed: false,
        });
    }
    // They have no content to be copied, but they protect what is in Dropbox under their paths.
    for (path, version) in &walk.others {
        if let Ok(Some(id)) = usable_id(path)
            && reserved.insert(id.key().to_owned())
        {
            backups.push(Backup {
                id,
                finished: false,
                created_at: in_range(version.modified_at),
                version: None,
                is_from_the_future: false,
                has_failed: false,
            });
        }
    }
    let listing = Listing {
        backups,
        problems: problems.finish(),
        passed_over: passed_over.finish(),
        renamed: renamed.finish(),
        ..Listing::default()
    };
    (listing, places)
}

/// The id of a file; `None` if it is litter, an error if Dropbox cannot hold it.
fn usable_id(path: &OsStr) -> Result<Option<BackupId>, String> {
    let shown = path.to_string_lossy();
    let Some(text) = path.to_str() else {
        return Err(format!("\"{shown}\", because its name is not valid UTF-8"));
    };
    let (folders, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_litter = |name: &str| LITTER.contains(&name.to_lowercase().as_str());
    if is_litter(name) {
        return Ok(None);
    }
    if folders.split('/').any(is_litter) {
        return Err(format!(
            "\"{shown}\", because Dropbox refuses the name of its folder"
        ));
    }
    BackupId::of_path(text)
        .map(Some)
        .map_err(|reason| format!("\"{shown}\", because {reason}"))
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

/// Texts of one kind; beyond a number they are only counted.
#[derive(Default)]
struct Remarks {
    texts: Vec<String>,
    more: usize,
}

impl Remarks {
    fn add(&mut self, text: String) {
        if self.texts.len() < REMARKS_MAX {
            self.texts.push(text);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("and {} more", self.more));
        }
        self.texts
    }
}

/// A file being read, which must stay as it was listed until its end.
struct Reading {
    file: File,
    path: PathBuf,
    version: Version,
    /// What the system said of it when it was opened.
    opened: Stat,
}

impl Reading {
    fn new(file: File, path: PathBuf, version: Version) -> Result<Self, Error> {
        let stat = rustix::fs::fstat(&file).map_err(|cause| unreadable(&path, cause))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || self::version(&stat) != version {
            return Err(Error::InUse);
        }
        Ok(Self {
            file,
            path,
            version,
            opened: stat,
        })
    }

    fn check(&self) -> Result<(), Error> {
        let stat = rustix::fs::fstat(&self.file).map_err(|cause| unreadable(&self.path, cause))?;
        let mut now = version(&stat);
        // A name that the file loses, because another file takes its place, or gets leaves its content as
        // it is, but not its time of change.
        if stat.st_nlink != self.opened.st_nlink {
            now.changed_at = self.version.changed_at;
        }
        if now == self.version {
            Ok(())
        } else {
            Err(Error::InUse)
        }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.file.read(buffer) {
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Err(cause),
            Err(cause) => return Err(io::Error::other(unreadable(&self.path, cause))),
        };
        if count == 0 && !buffer.is_empty() {
            self.check().map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(paths: &[&str]) -> Walk {
        let version = Version {
            bytes: 1,
            modified_at: DateTime::UNIX_EPOCH,
            changed_at: DateTime::UNIX_EPOCH,
            inode: 1,
        };
        Walk {
            files: paths.iter().map(|path| (path.into(), version)).collect(),
            ..Walk::default()
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-21T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_list_is_taken_when_two_walks_in_a_row_agree() {
        let script = |walks: &[&[&str]]| {
            let mut walks = walks.iter();
            let mut taken = 0;
            let steady = steady(|| {
                taken += 1;
                Ok(walk(walks.next().unwrap()))
            });
            (steady.unwrap(), taken)
        };
        let (found, taken) = script(&[&["a"], &["a"]]);
        assert_eq!((found.files.len(), found.problems.len(), taken), (1, 0, 2));
        // "b" was renamed to "a" during the first walk, which saw neither.
        let (found, taken) = script(&[&[], &["a"], &["a"]]);
        assert_eq!((found.files.len(), found.problems.len(), taken), (1, 0, 3));
        // It never rests: what was found counts, but not for deletions.
        let (found, taken) = script(&[&["1"], &["2"], &["3"], &["4"], &["5"]]);
        assert_eq!(
            (found.files.len(), found.problems.len(), taken),
            (1, 1, WALKS_MAX)
        );
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
            let (listing, places) = listing(&walk(&files), now());
            prop_assert!(listing.problems.is_empty());
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
        }
    }
}
