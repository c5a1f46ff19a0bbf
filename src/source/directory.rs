//! A folder of files as a source of backups: each regular file below it is one, its path is the id.
//!
//! Links are never followed, neither to files nor to folders, not even when one appears during
//! the walk: every path is opened part by part. A file may change under its path, so each carries
//! its [`Version`], and whatever is no longer the version that was listed is not read to its end.

mod exclude;
mod listing;
mod origin;
mod walk;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::{Error, Kind, Listing, Source, Stream};
use crate::backup_id::{BackupId, Version};
use crate::clock;
use crate::zone::Zone;
use exclude::Exclude;
use listing::Places;
use walk::{open_below, version};

/// A folder on this machine.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    exclude: Exclude,
    /// The folder of the newest list, open, and where its files are.
    listed: Mutex<Option<(Arc<OwnedFd>, Places)>>,
}

impl Directory {
    /// The files below `folder`, without those that the patterns leave out.
    pub fn new(folder: PathBuf, exclude: &[String]) -> Self {
        Self {
            folder,
            exclude: Exclude::new(exclude),
            listed: Mutex::default(),
        }
    }
}

impl Source for Directory {
    fn kind(&self) -> Kind {
        Kind::Folder
    }

    fn list(&self) -> Result<Listing, Error> {
        let (top, origin) =
            origin::open(&self.folder).map_err(|cause| unreadable(&self.folder, cause))?;
        let walk = walk::walk(&top, &self.exclude);
        let tops = [self.folder.as_path(), origin.folder.as_path()];
        let (listing, places) = listing::listing(&walk, &tops, clock::now_for_files());
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        *listed = Some((Arc::new(top), places));
        Ok(Listing {
            origin: Some(origin),
            ..listing
        })
    }

    fn timezone(&self) -> Result<Zone, String> {
        Zone::of_this_machine()
            .map_err(|name| format!("there is no timezone {name:?}, which TZ names"))
    }

    /// Always begins at the start: the file is on this machine, and comparing what
    /// was read before shows that it is still the same.
    fn open(&self, id: &BackupId, _offset: u64) -> Result<Stream, Error> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let (top, places) = listed.as_ref().ok_or(Error::InUse)?;
        let (path, version) = places.get(id).cloned().ok_or(Error::InUse)?;
        let top = Arc::clone(top);
        drop(listed);
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

fn unreadable(path: &Path, cause: impl Into<io::Error>) -> Error {
    Error::Unreadable {
        path: path.display().to_string(),
        cause: cause.into(),
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
        if walk::version(&stat, version.inode != 0) != version {
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
        let mut now = version(&stat, self.version.inode != 0);
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
