//! The container image: made by `Containerfile`, and run as people run it, where buildah, podman and runc are.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use sandbox::dropbox::{Dropbox, DropboxOptions, content_hash};
use sandbox::http::TestCa;
use serde_json::json;
use tempfile::TempDir;

use crate::isolation::prison::{program, skipped};

const IMAGE: &str = "localhost/backup-sync-dropbox:test";
/// The user of the image.
const USER: u32 = 1000;
/// How long a line of the log may be waited for; passing is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
/// The image holds the program and a few words about it.
const BYTES_MAX: u64 = 5_000_000;

/// A store of images of its own, the stand-in for Dropbox, and the folders that are mounted.
struct Engine {
    folder: TempDir,
    dropbox: Dropbox,
}

impl Engine {
    /// With the image; `None`, with a word, where that cannot be had.
    fn new() -> Option<Self> {
        let Some(zip) = std::env::var_os("BACKUP_SYNC_ZIP") else {
            skipped("BACKUP_SYNC_ZIP names no release ZIP");
            return None;
        };
        let program = program(Path::new(&zip), std::env::consts::ARCH)?;
        if !nix::unistd::geteuid().is_root() {
            skipped("only root can give a folder to the user of the image");
            return None;
        }
        for tool in ["buildah", "podman", "runc"] {
            let found = Command::new(tool).arg("--version").output();
            if !found.is_ok_and(|output| output.status.success()) {
                skipped(&format!("there is no {tool}, so no container is run"));
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let ca = TestCa::new().unwrap();
        let dropbox = Dropbox::start(DropboxOptions {
            tls: Some(ca.issue(&Dropbox::leaf()).unwrap()),
            ..DropboxOptions::default()
        })
        .unwrap();
        let engine = Self { folder, dropbox };
        for name in ["context", "data", "backups"] {
            fs::create_dir(engine.folder.path().join(name)).unwrap();
        }
        fs::write(engine.folder.path().join("ca.pem"), ca.pem()).unwrap();
        fs::write(
            engine.folder.path().join("context/backup-sync-dropbox"),
            program,
        )
        .unwrap();
        let built = engine
            .tool("buildah")
            .args([
                "bud",
                "--format",
                "docker",
                "--isolation",
                "chroot",
                "-t",
                IMAGE,
                "-f",
            ])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Containerfile"))
            .arg(engine.folder.path().join("context"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        let tried = engine.run(&["--version"]).output().unwrap();
        if !tried.status.success() {
            skipped(&format!(
                "containers do not run on this machine: {}",
                text(&tried)
            ));
            return None;
        }
        Some(engine)
    }

    /// A tool on the store.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.args(["--storage-driver", "vfs", "--root"]);
        command.arg(self.folder.path().join("images"));
        command
            .arg("--runroot")
            .arg(self.folder.path().join("running"));
        command
    }

    fn podman(&self) -> Command {
        let mut podman = self.tool("podman");
        // What also works inside of a container.
        podman.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        podman
    }

    /// As `contrib/compose.yaml` says it, on the network of the stand-ins.
    fn run(&self, arguments: &[&str]) -> Command {
        let mount =
            |name: &str, at: &str| format!("{}:{at}", self.folder.path().join(name).display());
        let mut command = self.podman();
        command
            .args([
                "run",
                "--rm",
                "--name",
                "mirror",
                "--network",
                "host",
                "--read-only",
            ])
            .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
            .args([
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=1000:1000",
            ])
            .args([
                "-v",
                &mount("data", "/data"),
                "-v",
                &mount("backups", "/backups:ro"),
            ])
            .args([
                "-v",
                &mount("ca.pem", "/ca.pem:ro"),
                "-e",
                "SSL_CERT_FILE=/ca.pem",
            ]);
        for (name, value) in [
            ("DROPBOX_API_URL", self.dropbox.api_url()),
            ("DROPBOX_CONTENT_URL", self.dropbox.content_url()),
            ("DROPBOX_WEB_URL", self.dropbox.web_url()),
            ("DROPBOX_APP_KEY", self.dropbox.app().key),
            ("TZ", "Pacific/Auckland".into()),
            ("BACKUP_SYNC_CLOCK_SPEED", "20".into()),
            ("BACKUP_SYNC_FILES_AGE", "3600".into()),
        ] {
            command.args(["-e", &format!("{name}={value}")]);
        }
        command.arg(IMAGE).args(arguments);
        command
    }

    /// Another process in the running container.
    fn health(&self) -> Output {
        let mut command = self.podman();
        command
            .args(["healthcheck", "run", "mirror"])
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A container that goes on, and the lines of its log.
struct Container(Child, Receiver<String>);

impl Container {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .try_for_each(|line| sender.send(line.unwrap()))
        });
        Self(child, lines)
    }

    fn wait_for(&self, part: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let line = self.1.recv_timeout(PATIENCE);
            seen.push(line.unwrap_or_else(|_| panic!("no {part:?} in {seen:#?}")));
            if let Some(line) = seen.last().filter(|line| line.contains(part)) {
                return line.clone();
            }
        }
    }
}

#[test]
fn a_container_is_set_up_runs_tells_its_health_and_stops() {
    let Some(engine) = Engine::new() else { return };
    let data = engine.folder.path().join("data");
    let configure = |fields: serde_json::Value| {
        let file = data.join("config.json");
        fs::write(&file, fields.to_string()).unwrap();
        chown(file, Some(USER), Some(USER)).unwrap();
    };
    fs::write(engine.folder.path().join("backups/dump.sql"), "content").unwrap();

    // The folder was made by root, as by "docker compose up" where it was missing.
    let refused = engine.run(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = text(&refused);
    for part in ["/data cannot be written by user 1000", "chown -R 1000:1000"] {
        assert!(told.contains(part), "{told}");
    }

    chown(&data, Some(USER), Some(USER)).unwrap();
    let container = Container::start(&mut engine.run(&[]));
    let url = container.wait_for("/authorize?");
    container.wait_for("Finished");
    let health = engine.health();
    assert!(!health.status.success(), "{health:?}");
    let code = engine.dropbox.allow(url.trim()).unwrap();
    configure(json!({"dropboxAccessCode": code}));
    container.wait_for("Authorized");
    let line = container.wait_for("Finished: 1 uploaded");
    // The zone is TZ's, although the image has no timezones.
    assert!(
        line.ends_with("+13:00)") || line.ends_with("+12:00)"),
        "{line}"
    );
    container.wait_for("Finished: 0 uploaded");
    let stored = engine.dropbox.files();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].content_hash, content_hash(b"content"));
    let health = engine.health();
    assert!(health.status.success(), "{health:?}");

    let stopped = engine
        .podman()
        .args(["stop", "--time", "10", "mirror"])
        .output()
        .unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    container.wait_for("The watcher ends");
    let Container(mut child, _) = container;
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // The next container goes on where that one was.
    let container = Container::start(&mut engine.run(&["watch", "--at", "03:30"]));
    container.wait_for("every day at 03:30 (Pacific/Auckland)");
    container.wait_for("Finished: 0 uploaded");
    let stop = ["stop", "--time", "10", "mirror"];
    assert!(
        engine
            .podman()
            .args(stop)
            .output()
            .unwrap()
            .status
            .success()
    );

    let mut size = engine.podman();
    size.args(["image", "inspect", "--format", "{{.Size}}", IMAGE]);
    let size: u64 = text(&size.output().unwrap()).trim().parse().unwrap();
    assert!(size < BYTES_MAX, "{size}");
    println!("The image has {size} bytes.");
}
