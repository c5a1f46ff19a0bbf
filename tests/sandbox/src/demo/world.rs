//! The demo's world: a UISP server with its plugin host, and a Dropbox account, all on loopback.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::dropbox::{App, Dropbox, DropboxOptions, StoredFile};
use crate::host::{Launch, Plugin, PluginHost};
use crate::http::TestCa;
use crate::uisp::{Backup, Uisp, UispOptions};

/// What the admin copies from Dropbox's App Console.
pub const APP_KEY: &str = "test-app-key";

/// Everything around the plugin.
pub struct World {
    /// The Dropbox account.
    pub dropbox: Dropbox,
    /// UISP's API.
    pub uisp: Uisp,
    host: PluginHost,
    // Held for as long as the servers and the plugin need the files.
    _ca: Option<TestCa>,
    _folder: TempDir,
}

impl World {
    /// A world where Dropbox is reached over TLS, as in reality.
    ///
    /// # Errors
    /// No port or no temporary folder can be had.
    pub fn with_tls() -> Result<Self> {
        Self::new(Some(TestCa::new()?))
    }

    /// A world where Dropbox is reached without TLS, so that a browser can open its pages: it does not
    /// know the test authority.
    ///
    /// # Errors
    /// No port or no temporary folder can be had.
    pub fn for_browsers(crm_url: &str) -> Result<Self> {
        let mut world = Self::new(None)?;
        world.host = world.host.with_crm_url(crm_url);
        Ok(world)
    }

    fn new(ca: Option<TestCa>) -> Result<Self> {
        let tls = match &ca {
            Some(ca) => Some(ca.issue(&Dropbox::leaf())?),
            None => None,
        };
        let dropbox = Dropbox::start(DropboxOptions {
            app: App::new(
                APP_KEY,
                "test-app-secret",
                &[
                    "files.metadata.read",
                    "files.content.write",
                    "files.content.read",
                    "account_info.read",
                ],
            ),
            tls,
            ..DropboxOptions::default()
        })?;
        let uisp = Uisp::start(UispOptions::default())?;
        let folder = tempfile::tempdir()?;
        let mut host = PluginHost::new(folder.path().join("plugins"), &uisp.local_url())
            .with_env("DROPBOX_API_URL", &dropbox.api_url())
            .with_env("DROPBOX_CONTENT_URL", &dropbox.content_url())
            .with_env("DROPBOX_WEB_URL", &dropbox.web_url());
        if let Some(ca) = &ca {
            let path = ca.pem_path().to_str();
            let path = path.context("a temporary folder whose name is not UTF-8")?;
            host = host.with_env("SSL_CERT_FILE", path);
        }
        Ok(Self {
            dropbox,
            uisp,
            host,
            _ca: ca,
            _folder: folder,
        })
    }

    /// Uploads the ZIP on the host's plugin page.
    ///
    /// # Errors
    /// The host's reason for refusing it.
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
