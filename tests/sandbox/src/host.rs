//! UISP's plugin host: installs the ZIP, keeps the configuration form, starts runs and shows the log.
//!
//! Modelled on the public plugin documentation and on what PHP's `ZipArchive` was measured to do.
//! What is not known about the real host is marked `Assumption:` where it is decided.
//!
//! Limitations: no execution period (the caller or a [`Schedule`] of planned runs decides when a run
//! starts), no one-hour kill by the clock (see [`Run::kill`]), no "hung" state of an old running marker.

mod archive;
mod config;
pub mod manifest;
pub mod package;
mod plugin;
pub mod repository;
mod run;
mod schedule;
#[cfg(test)]
mod tests;
pub mod web;

pub use archive::extract_like_php;
pub use manifest::Manifest;
pub use plugin::Plugin;
pub use run::{Outcome, Run, Signal, find_php, send_signal};
pub use schedule::Schedule;

use std::path::{Path, PathBuf};

use anyhow::Result;

/// What starts a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// `php main.php`, as the real host does.
    Php(PathBuf),
    /// The program in `bin/` directly, for machines that cannot have PHP.
    Program,
}

/// The host's own settings, as far as plugins can tell them apart.
#[derive(Clone, Debug)]
pub struct PluginHost {
    folder: PathBuf,
    version: String,
    unms_local_url: String,
    crm_local_url: String,
    launch: Launch,
    environment: Vec<(String, String)>,
}

impl PluginHost {
    /// A host that keeps its plugins in `folder` and tells them that UISP answers at `unms_local_url`.
    pub fn new(folder: impl Into<PathBuf>, unms_local_url: &str) -> Self {
        Self {
            folder: folder.into(),
            version: "2.4.206".to_owned(),
            unms_local_url: unms_local_url.to_owned(),
            crm_local_url: "http://localhost/crm/".to_owned(),
            launch: find_php().map_or(Launch::Program, Launch::Php),
            environment: Vec::new(),
        }
    }

    /// Adds a variable to the otherwise clean environment of everything that the host starts.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the version that manifests are checked against.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Replaces the address at which plugins reach the CRM, for `current-user`.
    #[must_use]
    pub fn with_crm_url(mut self, url: &str) -> Self {
        self.crm_local_url = url.to_owned();
        self
    }

    /// Chooses how plugins are started; the default is PHP where there is one.
    #[must_use]
    pub fn with_launch(mut self, launch: Launch) -> Self {
        self.launch = launch;
        self
    }

    /// How plugins are started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Uploads a plugin's ZIP to this host, which does not know the plugin yet.
    ///
    /// # Errors
    /// The host's reason for refusing the archive.
    pub fn install(&self, zip: &Path) -> Result<Plugin> {
        Plugin::install(self.clone(), zip)
    }

    /// A plugin whose folder is there already, enabled; for folders as an older version left them.
    ///
    /// # Errors
    /// The folder has no valid manifest.
    pub fn open(&self, name: &str) -> Result<Plugin> {
        Plugin::open(self.clone(), name)
    }
}
