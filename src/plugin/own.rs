//! The plugin's own files, opened so that nothing else can stand under their names.
//!
//! Whoever owns the plugin's folder may put a link, a pipe, or another name of somebody else's file where a
//! file of ours should be, and the program may run as root. So names are looked up in the open folder, the
//! last part of a path is never followed, what was opened is looked at before it is used, and owners are set
//! on open files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For writing from its start.
    Write,
    /// For writing at its end.
    Append,
}

/// What stands under a name of ours is not ours; the text says what it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotOurs(String);

impl NotOurs {
    /// Whether this is why something failed.
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

fn not_ours<T>(what: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(NotOurs(what.into())))
}

/// An open folder with files of ours.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    stat: Stat,
}

impl Folder {
    /// Opens a folder. The path may be a link, as on hosts whose data is on another disk, if root, the user
    /// who runs the program, or the owner of the folder that it leads to has made it: with a link of anybody else
    /// it would be their word where root writes.
    ///
    /// # Errors
    /// If it cannot be opened, or the link is somebody else's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = Self::of_fd(openat(CWD, path, FOLDER_FLAGS, Mode::empty())?)?;
        let stands = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_link = kind(&stands) == FileType::Symlink;
        let trusted = [0, geteuid().as_raw(), folder.stat.st_uid];
        if is_link && !trusted.contains(&stands.st_uid) {
            return not_ours(format!(
                "it is a link that user {} made, to a folder of user {}",
                stands.st_uid, folder.stat.st_uid
            ));
        }
        let is_same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        if !is_link && !is_same(&stands, &folder.stat) {
            return not_ours("it was replaced while it was opened");
        }
        Ok(folder)
    }

    /// Opens the folder that a path lies in, as [`Folder::open`], and gives the name behind it.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn of(path: &Path) -> io::Result<(Self, &OsStr)> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("the path names no file"));
        };
        let here = folder.as_os_str().is_empty();
        let folder = if here { Path::new(".") } else { folder };
        Ok((Self::open(folder)?, name))
    }

    /// Opens a folder in it, which may not be a link.
    ///
    /// # Errors
    /// If there is none.
    pub fn subfolder(&self, name: &OsStr) -> io::Result<Self> {
        let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
        Self::of_fd(openat(&self.fd, name, flags, Mode::empty())?)
    }

    /// Makes a folder in it, if there is none, and gives it to this folder's owner if it is the running user's.
    ///
    /// # Errors
    /// If there is none then.
    pub fn make_subfolder(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let made = self.subfolder(name)?;
        if made.stat.st_uid == geteuid().as_raw()
            && let Ok(open) = made.to_read()
        {
            self.adopt(open, &made.stat);
        }
        // With its owner as it is now.
        Self::of_fd(made.fd)
    }

    fn of_fd(fd: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// What stands under a name of ours; `None` if there is nothing.
    ///
    /// # Errors
    /// [`NotOurs`] if it is no file of ours.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.check(&stat).map(|()| Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn check(&self, stat: &Stat) -> io::Result<()> {
        match kind(stat) {
            // What root has made here for somebody is fine; a second name may have been made for root's file.
            FileType::RegularFile if stat.st_nlink > 1 && stat.st_uid != self.stat.st_uid => {
                not_ours(format!(
                    "it is a second name of a file of user {}",
                    stat.st_uid
                ))
            }
            FileType::RegularFile => Ok(()),
            kind => not_ours(word(kind)),
        }
    }

    /// Looks whether a folder of ours may stand under a name.
    ///
    /// # Errors
    /// [`NotOurs`] if something else does.
    pub fn look_for_folder(&self, name: &OsStr) -> io::Result<()> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if kind(&stat) == FileType::Directory => Ok(()),
            Ok(stat) => not_ours(word(kind(&stat))),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file of ours.
    ///
    /// # Errors
    /// If there is none, or something else.
    pub fn file(&self, name: &OsStr, access: Access) -> io::Result<File> {
        // Opening a device or a pipe may already do something.
        self.look(name)?;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::Append => OFlags::WRONLY | OFlags::APPEND,
        };
        let flags = flags | FILE_FLAGS;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        self.check(&fstat(&file)?)?;
        Ok(file)
    }

    /// Makes a file, which belongs to the folder's owner.
    ///
    /// # Errors
    /// If it is there already, or cannot be made.
    pub fn make(&self, name: &OsStr, access: Access, mode: u32) -> io::Result<File> {
        let append = match access {
            Access::Append => OFlags::APPEND,
            Access::Read | Access::Write => OFlags::empty(),
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | append | FILE_FLAGS;
        let mode = Mode::from_raw_mode(mode);
        let file = File::from(openat(&self.fd, name, flags, mode)?);
        self.adopt(&file, &fstat(&file)?);
        Ok(file)
    }

    /// Opens a file of ours to write into it, and makes it if there is none.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn file_or_new(&self, name: &OsStr, access: Access, mode: u32) -> io::Result<File> {
        match self.file(name, access) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.make(name, access, mode) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.file(name, access)
                    }
                    made => made,
                }
            }
            opened => opened,
        }
    }

    /// Gives what was just made in this folder to the folder's owner. Only root can; what others make is theirs
    /// already. A refusal is no failure, and there is no word of it in the log: the log itself comes through here.
    fn adopt(&self, made: impl AsFd, stat: &Stat) {
        let (user, group) = (self.stat.st_uid, self.stat.st_gid);
        if (stat.st_uid, stat.st_gid) != (user, group) {
            let _ = fchown(made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        }
    }

    /// Gives a file in it another name in it, and replaces what stands there.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a name, not what it may lead to.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Removes a folder in it that is empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_subfolder(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// The names in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        use std::os::unix::ffi::OsStringExt;
        let entries = Dir::new(self.to_read()?)?;
        entries
            .map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())))
            .collect()
    }

    /// Makes sure that names that were given or removed stay so after a power cut.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.to_read()?)?)
    }

    /// The folder, opened to be read; looking names up in it takes less.
    fn to_read(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.fd, ".", flags, Mode::empty())?)
    }
}

const FOLDER_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A pipe that nobody writes into must not be waited for.
const FILE_FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "it is a file",
        FileType::Symlink => "it is a link",
        FileType::Directory => "it is a folder",
        FileType::Fifo => "it is a pipe",
        FileType::Socket => "it is a socket",
        _ => "it is a device",
    }
}

/// Opens a file of ours by its path; see [`Folder`].
///
/// # Errors
/// As [`Folder::file`].
pub fn open(path: &Path, access: Access) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.file(name, access)
}

/// Opens a file of ours by its path to write into it, and makes it if there is none; see [`Folder`].
///
/// # Errors
/// As [`Folder::file_or_new`].
pub fn open_or_make(path: &Path, access: Access, mode: u32) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.file_or_new(name, access, mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_not_ours_is_neither_opened_nor_made() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "x").unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(&target, at("link")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, at("pipe"), pipe, Mode::RWXU, 0).unwrap();
        for (name, what) in [
            ("link", "it is a link"),
            ("dangling", "it is a link"),
            ("folder", "it is a folder"),
            ("pipe", "it is a pipe"),
        ] {
            for access in [Access::Read, Access::Write, Access::Append] {
                for error in [
                    open(&at(name), access).unwrap_err(),
                    open_or_make(&at(name), access, 0o600).unwrap_err(),
                ] {
                    assert!(NotOurs::is_cause_of(&error), "{name}: {error}");
                    assert_eq!(error.to_string(), what);
                }
            }
        }
        assert!(!at("nothing").exists());
        assert_eq!(fs::read(&target).unwrap(), b"x");
    }

    #[test]
    fn a_folder_of_the_same_user_may_be_behind_a_link_but_not_inside() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        symlink(&real, &link).unwrap();
        drop(open_or_make(&link.join("file"), Access::Write, 0o600).unwrap());
        assert!(real.join("file").exists());
        let outer = Folder::open(folder.path()).unwrap();
        assert!(outer.subfolder("real".as_ref()).is_ok());
        assert!(outer.subfolder("link".as_ref()).is_err());
    }
}
