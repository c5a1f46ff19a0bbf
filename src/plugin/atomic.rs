//! Replaces a file so that a reader, or the next run after a power cut, finds the old content or
//! the new one, never a mixture.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::Path;

use super::own::{Access, Folder};

/// Mode of files that did not exist: they may hold secrets.
const MODE_NEW: u32 = 0o600;
/// Beginning of the names of temporary files.
const TEMPORARY: &str = ".writing-";
/// How often another name is tried for a temporary file.
const NAMES_MAX: u32 = 100;

/// New content for a file, written and synced beside it, but not in its place yet.
///
/// Dropped without [`Replacement::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    folder: Folder,
    name: OsString,
    /// The temporary file; none any more once it has got its name.
    temporary: Option<OsString>,
}

impl Replacement {
    /// Writes `content` to a temporary file in the folder of `path`.
    ///
    /// An existing file's mode and, where we may set it, its owner are kept; a new file gets mode
    /// 0600 and the owner of its folder. So a run by root leaves files that the host's user can use.
    ///
    /// # Errors
    /// Any failure to write, and whatever stands at `path` but is no file of ours; it is left as it is.
    pub fn prepare(path: &Path, content: &[u8]) -> io::Result<Self> {
        Self::prepare_with(path, |file| file.write_all(content))
    }

    fn prepare_with(
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (folder, name) = Folder::of(path)?;
        let existing = folder.look(name)?;
        let (temporary, mut file) = temporary(&folder)?;
        let replacement = Self {
            folder,
            name: name.to_owned(),
            temporary: Some(temporary),
        };
        content(&mut file)?;
        if let Some(existing) = existing {
            // Only root can, and need not.
            let _ = fchown(&file, Some(existing.st_uid), Some(existing.st_gid));
            file.set_permissions(Permissions::from_mode(existing.st_mode & 0o777))?;
        }
        file.sync_all()?;
        Ok(replacement)
    }

    /// Puts the new content in its place: rename, fsync of the folder.
    ///
    /// # Errors
    /// If the file cannot be replaced; the old content is whole then.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            self.folder.rename(temporary, &self.name)?;
        }
        self.temporary = None;
        self.folder.sync()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed now is removed by a run.
            let _ = self.folder.remove(temporary);
        }
    }
}

/// A new file of a random name.
fn temporary(folder: &Folder) -> io::Result<(OsString, std::fs::File)> {
    let mut tries = 0;
    loop {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(12)
            .collect();
        let name = OsString::from(format!("{TEMPORARY}{random}"));
        tries += 1;
        match folder.make(&name, Access::Write, MODE_NEW) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES_MAX => {}
            made => return Ok((name, made?)),
        }
    }
}

/// Replaces the content of `path`; see [`Replacement`].
///
/// # Errors
/// Any failure to write; the old content is whole then.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    Replacement::prepare(path, content)?.commit()
}

/// The same with a content that is written bit by bit, and may be too long to be in memory as a whole.
///
/// # Errors
/// Any failure to write; the old content is whole then.
pub fn write_with(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let buffered = |file: &mut dyn Write| {
        let mut file = BufWriter::new(file);
        content(&mut file)?;
        file.flush()
    };
    Replacement::prepare_with(path, buffered)?.commit()
}

/// Removes temporary files that killed processes have left in `folder`. Only for the process that
/// holds the lock.
pub fn remove_leftovers(folder: &Path) {
    let Ok(folder) = Folder::open(folder) else {
        return;
    };
    let is_ours = |name: &OsStr| {
        name.to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY))
    };
    for name in folder.names().unwrap_or_default() {
        if is_ours(&name) {
            // What cannot be removed now is tried again by the next run.
            let _ = folder.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
