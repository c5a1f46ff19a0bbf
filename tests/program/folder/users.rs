//! Runs by somebody whom permissions keep out, as they do not root.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::World;

/// A user that no system has.
const NOBODY: u32 = 54_321;

/// Gives everything in a folder to that user, links and what is behind them not.
pub fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// The command line of a run by somebody whom permissions keep out, as they do not root.
pub fn as_ordinary_user(world: &World) -> Command {
    lowered(world.command(), world.root(), world.ca.pem_path())
}

/// The same for a command line of the binary whose files are in `home`.
pub fn lowered(plain: Command, home: &Path, ca_pem: &Path) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return plain;
    }
    let place = home.join("bin");
    let (binary, ca) = (place.join("backup-sync-dropbox"), place.join("ca.pem"));
    if !place.exists() {
        fs::create_dir(&place).unwrap();
        for (from, to) in [(plain.get_program(), &binary), (ca_pem.as_os_str(), &ca)] {
            // By another process: a descriptor open here would be inherited by what others start.
            let status = Command::new("cp").arg(from).arg(to).status();
            assert!(status.unwrap().success());
        }
    }
    give(home);
    let mut command = Command::new(&binary);
    command.args(plain.get_args()).env_clear();
    let variables = plain.get_envs();
    command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
    command.env("SSL_CERT_FILE", ca).uid(NOBODY).gid(NOBODY);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}
