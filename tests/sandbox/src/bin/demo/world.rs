//! The demo's world: a UISP server with its plugin host, and a Dropbox account, all on loopback.

use std::path::Path;

use anyhow::{Context, Result};
use sandbox::dropbox::{App, Dropbox, DropboxOptions, StoredFile};
use sandbox::host::{Launch, Plugin, PluginHost};
use sandbox::http::TestCa;
use sandbox::uisp::{Backup, Uisp, UispOptions};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

/// What the admin copies from Dropbox's App Console.
pub const APP_KEY: &str = "test-app-key";

/// Everything around the plugin.
pub struct World {
    pub dropbox: Dropbox,
    pub uisp: Uisp,
    host: PluginHost,
    // Held for as long as the servers and the plugin need the files.
    _ca: TestCa,
    _folder: TempDir,
}

impl World {
    /// A server with a few backups, one of them larger than Dropbox takes in a single request.
    pub fn new() -> Result<Self> {
        let ca = TestCa::new()?;
        let dropbox = Dropbox::start(DropboxOptions {
            app: App::new(
                APP_KEY,
                "test-app-secret",
                &["files.metadata.read", "files.content.write"],
            ),
            tls: Some(ca.issue(&Dropbox::leaf())?),
            ..DropboxOptions::default()
        })?;
        let uisp = Uisp::start(UispOptions::default())?;
        for (number, size) in [
            (300, 5 * MIB),
            (301, 160 * MIB),
            (302, 12 * MIB + 345),
            (303, 4 * MIB),
            (304, 7 * MIB + 1),
        ] {
            uisp.add(Backup::numbered(number, size));
        }

        let folder = tempfile::tempdir()?;
        let ca_path = ca
            .pem_path()
            .to_str()
            .context("a temporary folder whose name is not UTF-8")?;
        let host = PluginHost::new(folder.path().join("plugins"), &uisp.local_url())
            .with_env("DROPBOX_API_URL", &dropbox.api_url())
            .with_env("DROPBOX_CONTENT_URL", &dropbox.content_url())
            .with_env("DROPBOX_WEB_URL", &dropbox.web_url())
            .with_env("SSL_CERT_FILE", ca_path);
        Ok(Self {
            dropbox,
            uisp,
            host,
            _ca: ca,
            _folder: folder,
        })
    }

    /// Uploads the ZIP on the host's plugin page.
    pub fn install(&self, zip: &Path) -> Result<Plugin> {
        self.host.install(zip)
    }

    /// Whether PHP starts the plugin, as on a real host.
    pub fn has_php(&self) -> bool {
        matches!(self.host.launch(), Launch::Php(_))
    }

    /// The stored file that holds a backup, recognised by the id in its name.
    pub fn mirrored(&self, backup: &Backup) -> Option<StoredFile> {
        self.dropbox
            .files()
            .into_iter()
            .find(|file| file.path.contains(&backup.id))
    }

    /// Adds a finished backup, a day younger than the newest one.
    pub fn add_backup(&self, size: u64) -> Backup {
        let number = |backup: &Backup| {
            backup
                .id
                .rsplit('-')
                .next()
                .and_then(|digits| digits.parse().ok())
        };
        let newest: u32 = self
            .uisp
            .backups()
            .iter()
            .filter_map(number)
            .max()
            .unwrap_or(300);
        let backup = Backup::numbered(newest + 1, size);
        self.uisp.add(backup.clone());
        backup
    }
}

/// The newest authorization link in a log.
pub fn authorization_link(log: &str) -> Option<&str> {
    let start = log.rfind("/oauth2/authorize?")?;
    let start = log[..start]
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + 1);
    log[start..].split_whitespace().next()
}

/// A size as people read it.
pub fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
