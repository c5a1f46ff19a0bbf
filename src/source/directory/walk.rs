//! Looks at everything in a folder, by open descriptors alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use chrono::DateTime;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::exclude::Exclude;
use crate::backup_id::Version;

/// Folders within folders, at most.
const DEPTH_MAX: usize = 100;
/// The folder is walked until two walks in a row find the same, but not more often than this.
const WALKS_MAX: usize = 5;
/// Room for the names that one system call gives.
const NAMES_BYTES: usize = 32 * 1024;
/// Folders that systems put on disks and into shares, in lower case: file systems, Windows, macOS, desktops,
/// and the file servers of Synology, QNAP and NetApp. Nobody's backups are in them.
const OF_SYSTEMS: [&str; 22] = [
    "lost+found",
    ".trash",
    ".trashes",
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    ".snapshot",
    ".snapshots",
    "~snapshot",
    ".zfs",
    "@eadir",
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    ".@__thumb",
    ".spotlight-v100",
    ".fseventsd",
    ".temporaryitems",
    ".documentrevisions-v100",
];
/// And the trash folder of each user, by number.
const TRASH_OF: &str = ".trash-";
/// File systems whose numbers of files do not outlive a mount, or not even memory pressure: FAT, exFAT, SMB,
/// FUSE, overlays.
const WITHOUT_LASTING_NUMBERS: [u32; 6] = [
    0x4d44,
    0x2011_bab0,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x794c_7630,
];

/// What walks through a folder have found, by path.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Regular files.
    pub files: BTreeMap<OsString, Version>,
    /// Folders that were read; the empty path is the top.
    pub folders: BTreeSet<OsString>,
    /// What could not be taken. A file among it is in `files` as well.
    pub others: BTreeMap<OsString, Other>,
    /// Why nothing can be said about what is missing.
    pub problem: Option<String>,
}

/// Something that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// A link, and where it leads.
    /// With the length of the file that it leads to, if it is one.
    Link(PathBuf, Option<u64>),
    /// A pipe or a socket.
    Channel(&'static str),
    /// A device.
    Device,
    /// It is listed, but the system does not open or read it.
    Unreadable(Errno),
    /// A folder below too many others.
    TooDeep,
    /// It was there, and then it was not. Its length, if it was a file.
    Vanished(Option<u64>),
}

/// Walks until two walks in a row find the same paths: a file that is renamed during a walk may be
/// missed under both of its names. Then tries whether each file can be opened.
pub fn walk(top: &OwnedFd, exclude: &Exclude) -> Walk {
    let mut walk = steady(|| Walk::once(top, exclude));
    walk.try_files(top);
    walk
}

fn steady(mut walk: impl FnMut() -> Walk) -> Walk {
    let mut last = walk();
    let mut earlier: BTreeMap<OsString, Option<u64>> = BTreeMap::new();
    let mut is_steady = false;
    for _ in 1..WALKS_MAX {
        let next = walk();
        is_steady = next.has_the_same_paths_as(&last);
        if is_steady {
            last = next;
            break;
        }
        earlier.extend(std::mem::replace(&mut last, next).lengths());
    }
    if !is_steady {
        last.problem = Some("files kept coming and going while it was read".to_owned());
    }
    for (path, bytes) in earlier {
        if !last.has(&path) {
            last.others.insert(path, Other::Vanished(bytes));
        }
    }
    last
}

impl Walk {
    fn once(top: &OwnedFd, exclude: &Exclude) -> Self {
        let mut walk = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            match open_below(top, &folder, OFlags::DIRECTORY) {
                Ok(open) => walk.read(&open, &folder, exclude, &mut folders),
                Err(cause) => walk.note_unreadable(folder, cause),
            }
        }
        walk
    }

    /// Notes what is in an open folder; the folders in it go to `folders`.
    fn read(
        &mut self,
        open: &OwnedFd,
        folder: &Path,
        exclude: &Exclude,
        folders: &mut Vec<PathBuf>,
    ) {
        let numbers_last = numbers_last(open);
        let mut names = Vec::with_capacity(NAMES_BYTES);
        // Not the iterator that also the standard library has: it takes the answer that there is no such
        // folder for the end of an empty one.
        let mut entries = RawDir::new(open, names.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let name = match entry {
                Ok(entry) => OsStr::from_bytes(entry.file_name().to_bytes()).to_owned(),
                Err(Errno::INTR) => continue,
                Err(cause) => return self.note_unreadable(folder.to_owned(), cause),
            };
            if name == "." || name == ".." {
                continue;
            }
            let path = folder.join(&name);
            let stat = match rustix::fs::statat(open, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // If it was deleted just now, the next walk does not meet it.
                Err(cause) => {
                    self.note_unreadable(path, cause);
                    continue;
                }
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if exclude.has(&path, kind == FileType::Directory) {
                continue;
            }
            let other = match kind {
                FileType::RegularFile => {
                    let version = version(&stat, numbers_last);
                    self.files.insert(path.into_os_string(), version);
                    continue;
                }
                FileType::Directory if is_of_a_system(&name) => continue,
                FileType::Directory if path.iter().count() > DEPTH_MAX => Other::TooDeep,
                FileType::Directory => {
                    folders.push(path);
                    continue;
                }
                FileType::Symlink => match rustix::fs::readlinkat(open, &name, Vec::new()) {
                    Ok(target) => {
                        let target = OsString::from_vec(target.into_bytes()).into();
                        Other::Link(target, length_behind(open, &name))
                    }
                    Err(cause) => Other::Unreadable(cause),
                },
                FileType::Fifo => Other::Channel("a pipe"),
                FileType::Socket => Other::Channel("a socket"),
                _ => Other::Device,
            };
            self.others.insert(path.into_os_string(), other);
        }
        self.folders.insert(folder.as_os_str().to_owned());
    }

    fn note_unreadable(&mut self, path: PathBuf, cause: Errno) {
        if path.as_os_str().is_empty() {
            let cause = std::io::Error::from(cause);
            self.problem = Some(format!("the folder itself cannot be read ({cause})"));
        }
        self.others
            .insert(path.into_os_string(), Other::Unreadable(cause));
    }

    /// Opens each file and closes it again: only that shows whether the system allows it. For 32,000 files it takes
    /// half as long as the walks before it.
    fn try_files(&mut self, top: &OwnedFd) {
        let mut at: Option<(&Path, Result<OwnedFd, Errno>)> = None;
        for path in self.files.keys() {
            let file = Path::new(path);
            let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
                continue;
            };
            let open = match &at {
                Some((open, _)) if *open == folder => &at,
                _ => {
                    at = Some((folder, open_below(top, folder, OFlags::DIRECTORY)));
                    &at
                }
            };
            let opened = match open {
                Some((_, Ok(open))) => try_file(open, name),
                Some((_, Err(cause))) => Err(Other::Unreadable(*cause)),
                None => Ok(()),
            };
            if let Err(other) = opened {
                self.others.insert(path.clone(), other);
            }
        }
    }

    /// All paths, with the lengths of files.
    fn lengths(self) -> impl Iterator<Item = (OsString, Option<u64>)> {
        let files = self.files.into_iter();
        let files = files.map(|(path, version)| (path, Some(version.bytes)));
        let folders = self.folders.into_iter().map(|path| (path, None));
        let others = self.others.into_keys().map(|path| (path, None));
        others.chain(folders).chain(files)
    }

    fn has(&self, path: &OsStr) -> bool {
        self.files.contains_key(path)
            || self.folders.contains(path)
            || self.others.contains_key(path)
    }

    fn has_the_same_paths_as(&self, other: &Self) -> bool {
        self.files.keys().eq(other.files.keys())
            && self.folders == other.folders
            && self.others.keys().eq(other.others.keys())
    }
}

fn try_file(folder: &OwnedFd, name: &OsStr) -> Result<(), Other> {
    // A pipe that took the file's place must not block, nor a file that somebody has locked against it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Err(Other::Vanished(None)),
            _ => Err(Other::Unreadable(Errno::NOENT)),
        },
        Err(cause) => Err(Other::Unreadable(cause)),
    }
}

/// Opens a path below `top` without following a link in any part of it.
pub fn open_below(top: &OwnedFd, path: &Path, last: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some((name, folders)) = split_last(path) else {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY;
        return rustix::fs::openat(top, ".", flags, Mode::empty());
    };
    let mut open: Option<OwnedFd> = None;
    for folder in folders {
        // A folder may let through whom it does not let read.
        let flags = flags | OFlags::PATH | OFlags::DIRECTORY;
        let from = open.as_ref().unwrap_or(top);
        open = Some(rustix::fs::openat(from, folder, flags, Mode::empty())?);
    }
    let from = open.as_ref().unwrap_or(top);
    rustix::fs::openat(from, name, flags | OFlags::RDONLY | last, Mode::empty())
}

fn split_last(path: &Path) -> Option<(&OsStr, impl Iterator<Item = &OsStr>)> {
    let name = path.file_name()?;
    Some((name, path.parent()?.iter()))
}

/// Whether a file of this folder has the same number tomorrow.
fn numbers_last(folder: &OwnedFd) -> bool {
    // The numbers of file systems have 32 bits, whatever the type that carries them.
    rustix::fs::fstatfs(folder)
        .is_ok_and(|system| !WITHOUT_LASTING_NUMBERS.contains(&(system.f_type as u32)))
}

/// The length of the file that a link leads to. It is not opened: only somebody who put a backup elsewhere and linked
/// it back is to be recognised.
fn length_behind(folder: &OwnedFd, link: &OsStr) -> Option<u64> {
    let stat = rustix::fs::statat(folder, link, AtFlags::NO_AUTOMOUNT).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then_some(u64::try_from(stat.st_size).ok()?)
}

/// Whether a folder is one of those that systems make for themselves.
fn is_of_a_system(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    OF_SYSTEMS.contains(&name.as_str()) || name.strip_prefix(TRASH_OF).is_some_and(is_number)
}

/// What the system says of a file; its number only if that lasts.
pub fn version(stat: &Stat, number_lasts: bool) -> Version {
    let time = |seconds, nanoseconds| {
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or_default();
        DateTime::from_timestamp(seconds, nanoseconds).unwrap_or_default()
    };
    Version {
        bytes: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_at: time(stat.st_mtime, stat.st_mtime_nsec),
        changed_at: time(stat.st_ctime, stat.st_ctime_nsec),
        inode: if number_lasts { stat.st_ino } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(paths: &[&str]) -> Walk {
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

    #[test]
    fn walks_go_on_until_two_in_a_row_agree_and_what_vanished_meanwhile_is_in_doubt() {
        let script = |walks: &[&[&str]]| {
            let mut walks = walks.iter();
            let mut taken = 0;
            let walk = steady(|| {
                taken += 1;
                found(walks.next().unwrap())
            });
            let vanished = walk
                .others
                .keys()
                .map(|path| path.to_str().unwrap().to_owned());
            let vanished: Vec<String> = vanished.collect();
            (
                walk.files.len(),
                vanished.join(" "),
                walk.problem.is_some(),
                taken,
            )
        };
        assert_eq!(script(&[&["a"], &["a"]]), (1, "".into(), false, 2));
        // "b" was renamed to "a" during the first walk, which saw neither.
        assert_eq!(script(&[&[], &["a"], &["a"]]), (1, "".into(), false, 3));
        let (renamed, vanished) = ([&["a", "b"][..], &["a"], &["a"]], "b".to_owned());
        assert_eq!(script(&renamed), (1, vanished, false, 3));
        // It never rests: what was found counts, but not for deletions.
        let restless = [&["1"][..], &["2"], &["3"], &["4"], &["5"]];
        assert_eq!(script(&restless), (1, "1 2 3 4".into(), true, WALKS_MAX));
    }

    #[test]
    fn what_is_too_deep_is_in_doubt_and_an_unreadable_top_forbids_deletions() {
        let folder = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", DEPTH_MAX + 1).collect();
        fs::create_dir_all(folder.path().join(&deep)).unwrap();
        let mut walk = Walk::once(
            &fs::File::open(folder.path()).unwrap().into(),
            &Exclude::default(),
        );
        assert_eq!(walk.others[deep.as_os_str()], Other::TooDeep);
        assert_eq!(walk.problem, None);
        walk.note_unreadable(PathBuf::new(), Errno::IO);
        assert!(walk.problem.is_some());
    }

    #[test]
    fn folders_of_systems_are_known_in_any_letter_case() {
        for name in [
            "lost+found",
            "$Recycle.Bin",
            ".Trash",
            ".Trash-1000",
            "@eaDir",
            "System Volume Information",
        ] {
            assert!(is_of_a_system(OsStr::new(name)), "{name}");
        }
        let guide = include_str!("../../../docs/folder.md").to_lowercase();
        let is_told = |name: &&str| guide.contains(&format!("`{name}`"));
        let untold: Vec<&str> = OF_SYSTEMS
            .into_iter()
            .filter(|name| !is_told(name))
            .collect();
        assert!(untold.is_empty(), "docs/folder.md does not name {untold:?}");
        for name in [
            "trash",
            ".Trash-",
            ".Trash-backup",
            "lost+found.old",
            "snapshots",
        ] {
            assert!(!is_of_a_system(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn everything_in_a_folder_is_met_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for folder in ["sub/below", "sub/LOST+FOUND", ".Trash-0"] {
            fs::create_dir_all(path(folder)).unwrap();
            fs::write(path(folder).join("file"), "x").unwrap();
        }
        symlink("sub", path("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let top = fs::File::open(folder.path()).unwrap().into();
        let walk = walk(&top, &Exclude::default());
        let keys = |walk: &Walk| walk.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&walk), ["sub/below/file"]);
        assert!(walk.folders.iter().eq(["", "sub", "sub/below"]));
        assert_eq!(
            walk.others[OsStr::new("link")],
            Other::Link("sub".into(), None)
        );
        assert_eq!(
            walk.others[OsStr::new("socket")],
            Other::Channel("a socket")
        );
        assert_eq!((walk.others.len(), walk.problem), (2, None));
    }
}
