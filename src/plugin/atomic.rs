//! Replaces a file so that a reader, or the next run after a power cut, finds the old content or
//! the new one, never a mixture.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Mode of files that did not exist: they may hold secrets.
const MODE_NEW: u32 = 0o600;

/// Writes `content` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// An existing file keeps its mode and, where we may set it, its owner; a new file gets mode 0600
/// and the owner of its folder. So a run by root leaves files that the host's user can still use.
///
/// # Errors
/// Any failure to write; the old content is whole then.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("the path names no file"))?;
    let (mode, owner) = match fs::metadata(path) {
        Ok(existing) => (existing.permissions().mode() & 0o7777, existing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (MODE_NEW, fs::metadata(folder)?),
        Err(error) => return Err(error),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(folder)?;
    temporary.write_all(content)?;
    let file = temporary.as_file();
    give_to(file, &owner, temporary.path())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Gives the new file to the old one's owner. Only root can; for everybody else the file already
/// belongs to whom it can belong to, so a refusal is no failure. (No word in the log either: the
/// log itself is written through here.)
fn give_to(file: &File, owner: &Metadata, path: &Path) -> io::Result<()> {
    let current = file.metadata()?;
    if (current.uid(), current.gid()) != (owner.uid(), owner.gid()) {
        let _ = chown(path, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(())
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
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("missing/file.json"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
