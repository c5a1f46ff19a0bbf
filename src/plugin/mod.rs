//! The host's contract on disk: where files are, what they mean, and how they are written safely.

pub mod atomic;
pub mod config;
pub mod lock;
pub mod log;
pub mod ucrm;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest `config.json` and `ucrm.json` that is read; real ones have less than 4 kB.
pub const HOST_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// If it cannot be read, or is longer.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(content)
}

/// The plugin folder, as the host lays it out.
#[derive(Clone, Debug)]
pub struct PluginFolder {
    root: PathBuf,
}

impl PluginFolder {
    /// The plugin folder at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What survives an update of the plugin.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The values of the configuration form.
    pub fn config(&self) -> PathBuf {
        self.data().join("config.json")
    }

    /// The log that the host shows on the plugin's page.
    pub fn log(&self) -> PathBuf {
        self.data().join("plugin.log")
    }

    /// What the plugin remembers between runs.
    pub fn state(&self) -> PathBuf {
        self.data().join("state.json")
    }

    /// What is only looked at: runs, lists, space.
    pub fn record(&self) -> PathBuf {
        self.data().join("record.json")
    }

    /// Held by the one run that is going on.
    pub fn lock(&self) -> PathBuf {
        self.data().join("run.lock")
    }

    /// A file that plans a run: the host starts one when it finds it.
    pub fn execution_request(&self) -> PathBuf {
        self.root.join(".ucrm-plugin-execution-requested")
    }

    /// The host's addresses.
    pub fn ucrm(&self) -> PathBuf {
        self.root.join("ucrm.json")
    }
}
