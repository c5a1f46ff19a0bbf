//! The host's contract on disk: where files are, what they mean, and how they are written safely.

pub mod atomic;
pub mod config;
pub mod environment;
pub mod key;
pub mod lock;
pub mod log;
pub mod own;
pub mod ucrm;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use own::{Access, Folder, NotOurs};

/// Largest `config.json` and `ucrm.json` that is read; real ones have less than 4 kB.
pub const HOST_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// If it cannot be read, is longer, or is no file of ours.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = own::open(path, Access::Read)?;
    // A long one is not to be copied from one place to the next while it grows.
    let length = file.metadata()?.len().min(limit);
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(content)
}

const LOG: &str = "plugin.log";
const CONFIG: &str = "config.json";
const STATE: &str = "state.json";
const RECORD: &str = "record.json";
const LOCK: &str = "run.lock";
const KEY: &str = "page.key";
/// All files directly in `data/`.
const FILES: [&str; 6] = [LOCK, LOG, CONFIG, STATE, RECORD, KEY];
/// The folder in `data/` of what unfinished uploads leave.
const TRANSFERS: &str = "transfers";
/// How the names of the files in it end.
pub const JOURNAL: &str = ".journal";

/// The variable by which a watcher tells its runs that it is there, and how many seconds lie between them.
pub const WATCHED: &str = "BACKUP_SYNC_WATCHED";
/// The exit code by which a run asks its watcher to start the next one at once.
pub const CARRY_ON: u8 = 3;

/// The time between the runs of the watcher that has started this one, if one has.
pub fn watched_every() -> Option<Duration> {
    let seconds = std::env::var(WATCHED).ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Something that stands where something of ours should be.
#[derive(Debug)]
pub struct Strange {
    /// Where it stands.
    pub path: PathBuf,
    /// What it is.
    pub what: String,
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
        self.data().join(CONFIG)
    }

    /// The log that the host shows on the plugin's page.
    pub fn log(&self) -> PathBuf {
        self.data().join(LOG)
    }

    /// What the plugin remembers between runs.
    pub fn state(&self) -> PathBuf {
        self.data().join(STATE)
    }

    /// What is only looked at: runs, lists, space.
    pub fn record(&self) -> PathBuf {
        self.data().join(RECORD)
    }

    /// Held by the one run that is going on.
    pub fn lock(&self) -> PathBuf {
        self.data().join(LOCK)
    }

    /// What the forms of the status page are signed with.
    pub fn page_key(&self) -> PathBuf {
        self.data().join(KEY)
    }

    /// A file that plans a run: the host starts one when it finds it.
    pub fn execution_request(&self) -> PathBuf {
        self.root.join(".ucrm-plugin-execution-requested")
    }

    /// Makes `data/` where it is missing. What root has made belongs to the owner of the plugin's folder then.
    ///
    /// # Errors
    /// If there is no such folder, or one that nobody should write into; see [`own::Folder::open`].
    pub fn make_data(&self) -> io::Result<()> {
        const MODE: u32 = 0o777;
        let made = Folder::open(&self.root)?.make_subfolder(OsStr::new("data"), MODE);
        // It may be a link, which is not given to anybody.
        match Folder::open(&self.data()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(made.err().unwrap_or(error))
            }
            opened => opened.map(drop),
        }
    }

    /// Looks whether everything in `data/` that has a name of ours is ours. What cannot be seen is left to those
    /// who open it.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn look(&self) -> Result<(), Strange> {
        let ours = |path: PathBuf, looked: io::Result<()>| match looked {
            Err(error) if NotOurs::is_cause_of(&error) => Err(Strange {
                path,
                what: error.to_string(),
            }),
            _ => Ok(()),
        };
        let path = self.data();
        let data = match Folder::open(&path) {
            Ok(data) => data,
            Err(error) => return ours(path, Err(error)),
        };
        for name in FILES {
            ours(path.join(name), data.look(name.as_ref()).map(drop))?;
        }
        let path = path.join(TRANSFERS);
        let transfers = TRANSFERS.as_ref();
        ours(path.clone(), data.look_for_folder(transfers))?;
        if let Ok(journals) = data.subfolder(transfers) {
            for name in journals.names().unwrap_or_default() {
                if name.as_bytes().ends_with(JOURNAL.as_bytes()) {
                    ours(path.join(&name), journals.look(&name).map(drop))?;
                }
            }
        }
        Ok(())
    }

    /// The host's addresses.
    pub fn ucrm(&self) -> PathBuf {
        self.root.join("ucrm.json")
    }
}
