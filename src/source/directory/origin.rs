//! Tells folders apart: the same path may lead to another disk tomorrow, or to another folder of the same disk.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use super::walk::open_below;
use crate::source::Origin;

/// Opens a folder, whatever links lead to it, and says which one that is.
///
/// # Errors
/// What the system says.
pub fn open(folder: &Path) -> io::Result<(OwnedFd, Origin)> {
    let folder = folder.canonicalize()?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    // Part by part again: that what is opened is what is named, also if a link appears just now.
    let below = folder.strip_prefix("/").unwrap_or(&folder);
    let open = open_below(&root, below, OFlags::DIRECTORY)?;
    let file_system = file_system(&open, &folder)?;
    Ok((
        open,
        Origin {
            folder,
            file_system,
        },
    ))
}

/// A number for the file system and the place in it. The one that file systems make of their serial numbers is
/// taken where there is one. The number of the device is not, if it can be helped: it changes when disks are
/// found in another order, and file servers get a new one at each mount. What is mounted is better then, such as
/// `nfs4 nas:/backups`.
fn file_system(folder: &OwnedFd, path: &Path) -> io::Result<u64> {
    let device = rustix::fs::fstat(folder)?.st_dev;
    // Some have none, and some show the device's there.
    let own = rustix::fs::fstatvfs(folder).map_or(0, |system| system.f_fsid);
    let has_own = own != 0 && own != device;
    let about = format!("/proc/self/fdinfo/{}", folder.as_raw_fd());
    let (about, mounts) = (fs::read_to_string(about), fs::read("/proc/self/mountinfo"));
    let mount = match (&about, &mounts) {
        (Ok(about), Ok(mounts)) => Mount::find(about, &String::from_utf8_lossy(mounts)),
        _ => None,
    };
    let mut hasher = Sha256::new();
    match &mount {
        _ if has_own => hasher.update(own.to_le_bytes()),
        Some(mount) => hasher.update(&mount.source),
        None => hasher.update(device.to_le_bytes()),
    }
    if let Some(place) = mount.and_then(|mount| mount.place_of(path)) {
        hasher.update(place);
    }
    let hash = hasher.finalize();
    Ok(hash
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A line of the kernel's table of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The folder of the file system that is mounted.
    root: Vec<u8>,
    /// Where.
    point: Vec<u8>,
    /// The kind of file system and where it is: `nfs4 nas:/backups`.
    source: String,
}

impl Mount {
    /// The mount that an open file is on, from what the kernel tells about the file.
    fn find(about: &str, mounts: &str) -> Option<Self> {
        let id = about
            .lines()
            .find_map(|line| line.strip_prefix("mnt_id:"))?
            .trim();
        let mut lines = mounts.lines().map(|line| line.split(' '));
        let mut words = lines.find_map(|mut words| (words.next() == Some(id)).then_some(words))?;
        // After the number: its parent's, the device, root, point, options, any number of fields, "-", kind, source.
        let (root, point) = (words.nth(2)?, words.next()?);
        words.find(|word| *word == "-")?;
        let (kind, source) = (words.next()?, words.next()?);
        Some(Self {
            root: unescaped(root),
            point: unescaped(point),
            source: format!("{kind} {source}"),
        })
    }

    /// The path within the file system of something that is mounted here: the same wherever and however often
    /// parts of the file system are mounted, as the sandboxes of services do.
    fn place_of(&self, path: &Path) -> Option<Vec<u8>> {
        let path = path.as_os_str().as_bytes();
        let names = |path: &[u8]| -> Vec<Vec<u8>> {
            let names = path
                .split(|byte| *byte == b'/')
                .filter(|name| !name.is_empty());
            names.map(<[u8]>::to_vec).collect()
        };
        let (root, point, path) = (names(&self.root), names(&self.point), names(path));
        let below = path.strip_prefix(point.as_slice())?;
        Some([&root, below].concat().join(&b'/'))
    }
}

/// The table writes spaces and the like as `\040`.
fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 253:0 /home /home ro,relatime master:1 - ext4 /dev/vda1 rw
41 22 0:45 / /mnt/our\\040nas rw - nfs4 nas:/backups rw,addr=192.0.2.1
";

    fn place(id: u32, path: &str) -> (String, String) {
        let about = format!("pos:\t0\nflags:\t0100000\nmnt_id:\t{id}\n");
        let mount = Mount::find(&about, MOUNTS).unwrap();
        let place = mount.place_of(Path::new(path)).unwrap();
        (mount.source, String::from_utf8(place).unwrap())
    }

    #[test]
    fn a_place_in_a_file_system_is_the_same_however_it_is_mounted() {
        let home = place(22, "/home/dsmr/backups");
        assert_eq!(home, ("ext4 /dev/vda1".into(), "home/dsmr/backups".into()));
        assert_eq!(place(30, "/home/dsmr/backups"), home);
        let nas = place(41, "/mnt/our nas/a");
        assert_eq!(nas, ("nfs4 nas:/backups".into(), "a".into()));
        assert_eq!(Mount::find("mnt_id:\t7\n", MOUNTS), None);
        assert_eq!(Mount::find("", "7 1 0:1 /"), None);
    }

    #[test]
    fn a_folder_is_named_without_links_and_others_differ() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["one", "other"] {
            fs::create_dir(path(name)).unwrap();
        }
        std::os::unix::fs::symlink("one", path("link")).unwrap();
        let origin = |name: &str| open(&path(name)).unwrap().1;
        assert_eq!(origin("one"), origin("link"));
        assert_eq!(origin("one"), origin("one"));
        assert_eq!(origin("one").folder, path("one").canonicalize().unwrap());
        assert_ne!(origin("one"), origin("other"));
        assert!(open(&path("none")).is_err());
    }
}
