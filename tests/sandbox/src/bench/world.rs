//! The stand-ins and a plugin folder for one scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::dropbox::{Dropbox, DropboxOptions};
use crate::http::{Link, TestCa};
use crate::uisp::{Backup, Uisp, UispOptions};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What all connections of the shaped link carry together, in bytes a second.
pub const SHAPED_BYTES_PER_SECOND: u64 = 100_000_000;

/// The line between the program and Dropbox. UISP is always local and unshaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// As fast as the machine.
    Loopback,
    /// 60 ms a request, 20 MB/s a connection, 100 MB/s in all.
    Shaped,
    /// The same with 120 ms for each new TLS connection.
    Far,
}

impl Line {
    /// For the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Shaped => "shaped",
            Self::Far => "far",
        }
    }

    fn link(self) -> Link {
        match self {
            Self::Loopback => Link::default(),
            Self::Shaped => Link {
                per_request_latency: Duration::from_millis(60),
                bytes_per_second_per_connection: Some(20_000_000),
                bytes_per_second_total: Some(SHAPED_BYTES_PER_SECOND),
                ..Link::default()
            },
            Self::Far => Link {
                per_handshake_latency: Duration::from_millis(120),
                ..Self::Shaped.link()
            },
        }
    }
}

/// Everything around the program.
pub struct World {
    pub dropbox: Dropbox,
    pub uisp: Uisp,
    ca: Option<TestCa>,
    folder: TempDir,
}

impl World {
    /// Fresh stand-ins with these backups at UISP, and an authorized plugin that has not run yet.
    pub fn new(line: Line, has_tls: bool, backups: &[Backup]) -> Result<Self> {
        let ca = has_tls.then(TestCa::new).transpose()?;
        let tls = ca
            .as_ref()
            .map(|ca| ca.issue(&Dropbox::leaf()))
            .transpose()?;
        let dropbox = Dropbox::start(DropboxOptions {
            tls,
            keep_content: false,
            ..DropboxOptions::default()
        })?;
        dropbox.set_link(line.link());
        // As the App Console gives them: with the permission to know the space, which it ticks by itself.
        dropbox.set_app_scopes(&[
            "files.metadata.read",
            "files.content.write",
            "account_info.read",
        ]);
        let uisp = Uisp::start(UispOptions::default())?;
        for backup in backups {
            uisp.add(backup.clone());
        }
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("data"))?;
        let ucrm = json!({ "unmsLocalUrl": uisp.local_url(), "pluginId": 1 });
        fs::write(folder.path().join("ucrm.json"), ucrm.to_string())?;
        let app = dropbox.app();
        let config = json!({
            "unmsApiToken": uisp.token(),
            "dropboxAppKey": app.key,
            "dropboxAppSecret": app.secret,
            "dropboxRefreshToken": dropbox.issue_refresh_token(),
        });
        fs::write(folder.path().join("data/config.json"), config.to_string())?;
        Ok(Self {
            dropbox,
            uisp,
            ca,
            folder,
        })
    }

    /// One run of the program, as the plugin host starts it.
    pub fn run_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--root")
            .arg(self.folder.path())
            .env("DROPBOX_API_URL", self.dropbox.api_url())
            .env("DROPBOX_CONTENT_URL", self.dropbox.content_url())
            .env("DROPBOX_WEB_URL", self.dropbox.web_url())
            // What was just written would be too young to be copied.
            .env("BACKUP_SYNC_FILES_AGE", "3600");
        if let Some(path) = self.ca_path() {
            command.env("SSL_CERT_FILE", path);
        }
        command
    }

    /// Sets one of the plugin's settings, as saving the form does.
    ///
    /// # Errors
    /// When the configuration cannot be changed.
    pub fn configure(&self, key: &str, value: &str) -> Result<()> {
        let path = self.folder.path().join("data/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
        config[key] = value.into();
        fs::write(path, config.to_string())?;
        Ok(())
    }

    /// Makes a folder with these files, by path and content, the source.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn fill_folder(&self, files: impl Iterator<Item = (String, String)>) -> Result<()> {
        let folder = self.folder.path().join("source");
        for (path, content) in files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        self.configure("backupDirectory", &folder.display().to_string())
    }

    /// The certificate authority's file, where Dropbox is reached over TLS.
    pub fn ca_path(&self) -> Option<&Path> {
        self.ca.as_ref().map(TestCa::pem_path)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.dropbox.traffic().clear_log();
        self.uisp.traffic().clear_log();
    }

    /// Checks that the files in Dropbox are the backups in `expected`, by id, with these content hashes.
    ///
    /// # Errors
    /// When they are not; the plugin's log is part of the message.
    pub fn check(&self, expected: &BTreeMap<String, String>) -> Result<()> {
        let stored: BTreeMap<String, String> = self
            .dropbox
            .files()
            .into_iter()
            .map(|file| {
                // In a folder, the path itself is the id.
                let name = file.path.trim_end_matches(".unms");
                let id = name.rsplit('_').next().unwrap_or(name);
                (id.to_owned(), file.content_hash)
            })
            .collect();
        ensure!(
            stored == *expected,
            "the mirror is not right: {} files, {} expected\n{}",
            stored.len(),
            expected.len(),
            self.log()
        );
        Ok(())
    }

    /// Checks that the files in Dropbox have the names and lengths of these backups, encrypted to one key. Nobody here can
    /// open them; the tests can open theirs.
    ///
    /// # Errors
    /// When they have not; the plugin's log is part of the message.
    pub fn check_sealed(&self, backups: &[Backup]) -> Result<()> {
        let length = |size: u64| 168 + 16 + size + 16 * size.div_ceil(65_536);
        let files = self.dropbox.files();
        let is_there = |backup: &Backup| {
            let ending = format!("_{}.unms.age", backup.id);
            files
                .iter()
                .any(|file| file.path.ends_with(&ending) && file.size == length(backup.size))
        };
        ensure!(
            files.len() == backups.len() && backups.iter().all(is_there),
            "the mirror is not right: {files:?}\n{}",
            self.log()
        );
        Ok(())
    }

    /// The plugin's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("data/plugin.log")).unwrap_or_default()
    }
}
