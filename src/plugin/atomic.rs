//! Replaces a file so that a reader, or the next run after a power cut, finds the old content or
//! the new one, never a mixture.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Mode of files that did not exist: they may hold secrets.
const MODE_NEW: u32 = 0o600;
/// Beginning of the names of temporary files.
const TEMPORARY: &str = ".writing-";

/// New content for a file, written and synced beside it, but not in its place yet.
///
/// Dropped without [`Replacement::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Replacement {
    /// Writes `content` to a temporary file in the folder of `path`.
    ///
    /// An existing file's mode and, where we may set it, its owner are kept; a new file gets mode
    /// 0600 and the owner of its folder. So a run by root leaves files that the host's user can use.
    ///
    /// # Errors
    /// Any failure to write; the old content is whole then.
    pub fn prepare(path: &Path, content: &[u8]) -> io::Result<Self> {
        let folder = folder_of(path)?;
        let (mode, owner) = match fs::metadata(path) {
            Ok(existing) => (existing.permissions().mode() & 0o7777, existing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (MODE_NEW, fs::metadata(folder)?)
            }
            Err(error) => return Err(error),
        };
        let mut temporary = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(folder)?;
        temporary.write_all(content)?;
        let file = temporary.as_file();
        give_to(&file.metadata()?, &owner, temporary.path());
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(Self {
            temporary,
            path: path.to_owned(),
        })
    }

    /// Puts the new content in its place: rename, fsync of the folder.
    ///
    /// # Errors
    /// If the file cannot be replaced; the old content is whole then.
    pub fn commit(self) -> io::Result<()> {
        self.temporary
            .persist(&self.path)
            .map_err(|error| error.error)?;
        File::open(folder_of(&self.path)?)?.sync_all()
    }
}

/// Replaces the content of `path`; see [`Replacement`].
///
/// # Errors
/// Any failure to write; the old content is whole then.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    Replacement::prepare(path, content)?.commit()
}

/// Gives a file or folder that was just made to the owner of the folder that it is in, for the same
/// reason. Only root can; for everybody else it already belongs to whom it can belong to.
pub fn adopt(path: &Path) {
    if let Ok(folder) = folder_of(path)
        && let (Ok(made), Ok(owner)) = (fs::metadata(path), fs::metadata(folder))
    {
        give_to(&made, &owner, path);
    }
}

/// Removes temporary files that killed processes have left in `folder`. Only for the process that
/// holds the lock.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY))
        {
            // What cannot be removed now is tried again by the next run.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("the path names no file"))
}

/// A refusal is no failure, and there is no word of it in the log: the log itself is written
/// through here.
fn give_to(made: &Metadata, owner: &Metadata, path: &Path) {
    if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) {
        let _ = chown(path, Some(owner.uid()), Some(owner.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        write(&path, b"one").unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(mode(), 0o664);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".writing-AbC123", "state.json"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_leftovers(folder.path());
        let left = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(left.file_name(), "state.json");
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("missing/file.json"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
