//! A folder that is the whole file system of a run, and the stand-ins that the run talks to.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandbox::dropbox::{Dropbox, DropboxOptions};
use sandbox::host::package::read;
use sandbox::http::TestCa;
use sandbox::network::in_private_network;
use sandbox::uisp::{Backup, Uisp, UispOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Dropbox's hosts.
pub const API: &str = "api.dropboxapi.com";
pub const CONTENT: &str = "content.dropboxapi.com";
pub const WEB: &str = "www.dropbox.com";

/// What the two servers are called by the program.
#[derive(Clone, Copy)]
pub struct Hosts {
    /// Where the stand-ins listen.
    pub address: IpAddr,
    /// Whether Dropbox's hosts have their real names.
    pub has_names: bool,
    /// The host in UISP's address.
    pub uisp: &'static str,
}

impl Hosts {
    /// No names at all.
    pub const NUMBERS: Self = Self {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_names: false,
        uisp: "127.0.0.1",
    };
}

/// A run's whole world.
pub struct Prison {
    /// Dropbox's stand-in.
    pub dropbox: Dropbox,
    /// UISP's stand-in.
    pub uisp: Uisp,
    hosts: Hosts,
    folder: TempDir,
}

/// Says what is not tested; past the test harness, which would keep it to itself.
pub fn skipped(reason: &str) {
    let _ = writeln!(io::stderr(), "skipped: {reason}");
}

/// Runs a test on a network of its own, or says why it cannot.
pub fn isolated(test: impl FnOnce(&Path) + Send) {
    let Some(zip) = std::env::var_os("BACKUP_SYNC_ZIP") else {
        skipped("BACKUP_SYNC_ZIP names no release ZIP");
        return;
    };
    if let Err(reason) = in_private_network(|| test(Path::new(&zip))) {
        skipped(&reason);
    }
}

/// The static program for an architecture; `None`, with a word, if the ZIP has none.
pub fn program(zip: &Path, architecture: &str) -> Option<Vec<u8>> {
    let packed = read(zip).unwrap();
    let content = |name: &str| {
        let entry = packed.iter().find(|entry| entry.name == name);
        entry.unwrap().content.clone()
    };
    let build = String::from_utf8(content("BUILD-INFO")).unwrap();
    if !build.contains(&format!("{architecture}: built, static, ")) {
        skipped(&format!("the ZIP has no static program for {architecture}"));
        return None;
    }
    Some(content(&format!("bin/{architecture}/backup-sync-dropbox")))
}

impl Prison {
    /// An empty folder but for the plugin's configuration and a file of certificates.
    pub fn new(hosts: Hosts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = TestCa::new().unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let dropbox = Dropbox::start(DropboxOptions {
            address: hosts.address,
            tls: Some(ca.issue(&Dropbox::leaf()).unwrap()),
            ..DropboxOptions::default()
        })
        .unwrap();
        let uisp = Uisp::start(UispOptions {
            address: hosts.address,
            ..UispOptions::default()
        })
        .unwrap();
        let prison = Self {
            dropbox,
            uisp,
            hosts,
            folder,
        };
        fs::create_dir_all(prison.path("plugin/data")).unwrap();
        let url = prison.named(&prison.uisp.local_url(), hosts.uisp);
        let ucrm = json!({"unmsLocalUrl": url, "pluginId": 1});
        prison.put("plugin/ucrm.json", ucrm.to_string().as_bytes(), 0o644);
        prison
    }

    /// A path in the folder, as seen from outside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the folder.
    pub fn put(&self, name: &str, content: &[u8], mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Fills in the form.
    pub fn configure(&self, fields: Value) {
        let path = self.path("plugin/data/config.json");
        let mut config =
            fs::read(&path).map_or(json!({}), |text| serde_json::from_slice(&text).unwrap());
        for (key, value) in fields.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(path, config.to_string()).unwrap();
    }

    /// Fills in the form as a finished setup leaves it.
    pub fn authorize(&self) {
        let app = self.dropbox.app();
        self.configure(json!({
            "unmsApiToken": self.uisp.token(),
            "dropboxAppKey": app.key,
            "dropboxAppSecret": app.secret,
            "dropboxRefreshToken": self.dropbox.issue_refresh_token(),
        }));
    }

    /// The whole log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("plugin/data/plugin.log")).unwrap_or_default()
    }

    /// Runs a command line with the folder as the root of the file system; `before` it, outside, another program.
    pub fn run(&self, before: &[&str], command: &[&str]) -> Output {
        let root = self.folder.path().to_str().unwrap();
        let words = [before, &["chroot", root], command].concat();
        let dropbox = |url: String, name| match self.hosts.has_names {
            true => self.named(&url, name),
            false => url,
        };
        Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SSL_CERT_FILE", "/ca.pem")
            .env("DROPBOX_API_URL", dropbox(self.dropbox.api_url(), API))
            .env(
                "DROPBOX_CONTENT_URL",
                dropbox(self.dropbox.content_url(), CONTENT),
            )
            .env("DROPBOX_WEB_URL", dropbox(self.dropbox.web_url(), WEB))
            // Waits between tries pass quickly; nothing here measures time.
            .env("BACKUP_SYNC_CLOCK_SPEED", "50")
            .output()
            .unwrap()
    }

    /// One run of the program, which must end well.
    pub fn run_well(&self, before: &[&str], command: &[&str]) {
        let output = self.run(before, command);
        assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", self.log());
        assert!(!self.log().contains("ERROR"), "{}", self.log());
    }

    /// From a filled-in app key to a mirrored backup of 100 MB, as an admin goes through it.
    pub fn set_up_and_mirror(&self, command: &[&str]) {
        self.uisp.add(Backup::numbered(1, 100_000_000));
        self.configure(
            json!({"unmsApiToken": self.uisp.token(), "dropboxAppKey": self.dropbox.app().key}),
        );
        self.run_well(&[], command);
        let log = self.log();
        let address = log.lines().find(|line| line.contains("/oauth2/authorize?"));
        let code = self.dropbox.allow(address.unwrap().trim()).unwrap();
        self.configure(json!({"dropboxAccessCode": code}));
        self.run_well(&[], command);
        self.assert_mirrored();
        // No timezones of the system are needed: this one is Caracas'.
        assert!(self.log().contains("-04:00)"), "{}", self.log());
    }

    /// Whether Dropbox holds exactly UISP's backups.
    pub fn assert_mirrored(&self) {
        let mut expected: Vec<String> = self
            .uisp
            .backups()
            .iter()
            .map(Backup::content_hash)
            .collect();
        let mut stored: Vec<String> = self
            .dropbox
            .files()
            .into_iter()
            .map(|file| file.content_hash)
            .collect();
        expected.sort();
        stored.sort();
        assert_eq!(stored, expected, "{}", self.log());
    }

    fn named(&self, url: &str, host: &str) -> String {
        let number = match self.hosts.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        url.replacen(&number, host, 1)
    }
}
