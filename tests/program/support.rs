//! A world for one test: a Dropbox, a UISP and a plugin folder, and the binary to run in it.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::time::Duration;
use std::{fs, io};

use sandbox::dropbox::{Dropbox, DropboxOptions, StoredFile, content_hash};
use sandbox::host::package::{Package, Program};
use sandbox::http::{
    Action, Gate, Handler, Head, On, Request, Response, Server, ServerOptions, TestCa, TlsConfig,
};
use sandbox::uisp::{Backup, Uisp, UispOptions};
use serde_json::{Value, json};

use crate::sealed::{Owner, id_in, seal_to};

/// Everything around the binary.
pub struct World {
    /// Dropbox, over TLS.
    pub dropbox: Dropbox,
    /// UISP, over plain HTTP as inside the containers.
    pub uisp: Uisp,
    /// Issued Dropbox's certificate.
    pub ca: TestCa,
    /// Who can open what is in Dropbox, where it is sealed.
    pub owner: Option<Owner>,
    folder: tempfile::TempDir,
    /// How many times faster than the wall's clock the program's runs.
    clock_speed: u32,
    _permit: Option<Permit>,
}

/// Waits between tries pass quickly; nothing here measures time. A small request still has a second.
const CLOCK_SPEED: u32 = 100;
/// The same for runs that move so many megabytes that a busy machine takes long for them.
const CALM_CLOCK_SPEED: u32 = 10;

/// There are more test threads than processors, because most tests wait. Those that move much do not: one at a time.
static MOVERS: Permits = Permits::new(1);

thread_local! {
    /// That this thread has a permit.
    static HAS_ONE: Cell<bool> = const { Cell::new(false) };
}

/// A number of things that may go on at once.
pub struct Permits {
    left: Mutex<usize>,
    returned: Condvar,
}

/// One of them; it is returned when dropped.
pub struct Permit(&'static Permits);

impl Permits {
    /// So many.
    pub const fn new(number: usize) -> Self {
        Self {
            left: Mutex::new(number),
            returned: Condvar::new(),
        }
    }

    /// Waits for one; `None` for a thread that has one by this already, as a test with two worlds.
    pub fn permit_of_this_thread(&'static self) -> Option<Permit> {
        if HAS_ONE.get() {
            return None;
        }
        let permit = self.permit();
        HAS_ONE.set(true);
        Some(permit)
    }

    /// Waits for one.
    pub fn permit(&'static self) -> Permit {
        let left = self.left.lock().unwrap();
        let mut left = self.returned.wait_while(left, |left| *left == 0).unwrap();
        *left -= 1;
        Permit(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        HAS_ONE.set(false);
        *self.0.left.lock().unwrap() += 1;
        self.0.returned.notify_one();
    }
}

/// How much older files look to the program than they are.
pub const FILES_AGE: Duration = Duration::from_secs(60 * 60);

/// How long a test waits for what must happen; passing is a failure, so it is long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A run that goes on while the test does something.
pub struct Running(Child);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The lines that the run added to the log.
    pub log: String,
}

impl World {
    /// A world with an authorized plugin.
    pub fn authorized() -> Self {
        Self::authorized_with(DropboxOptions::default())
    }

    /// The same with a Dropbox of choice; its TLS is set here.
    pub fn authorized_with(options: DropboxOptions) -> Self {
        let world = Self::with(options);
        let app = world.dropbox.app();
        world.configure(json!({
            "dropboxAppKey": app.key,
            "dropboxAppSecret": app.secret,
            "dropboxRefreshToken": world.dropbox.issue_refresh_token(),
        }));
        world
    }

    /// A world whose configuration holds nothing but UISP's token.
    pub fn fresh() -> Self {
        Self::with(DropboxOptions::default())
    }

    /// A world whose configuration names the app, but holds no authorization.
    pub fn with_app(has_secret: bool) -> Self {
        let world = Self::fresh();
        let app = world.dropbox.app();
        world.configure(json!({
            "dropboxAppKey": app.key,
            "dropboxAppSecret": has_secret.then_some(app.secret),
        }));
        world
    }

    fn with(options: DropboxOptions) -> Self {
        let ca = TestCa::new().unwrap();
        let tls = Some(ca.issue(&Dropbox::leaf()).unwrap());
        let dropbox = Dropbox::start(DropboxOptions { tls, ..options }).unwrap();
        let uisp = Uisp::start(UispOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let world = Self {
            dropbox,
            uisp,
            ca,
            owner: None,
            folder,
            clock_speed: CLOCK_SPEED,
            _permit: None,
        };
        let ucrm = json!({"unmsLocalUrl": world.uisp.local_url(), "pluginId": 1});
        fs::write(world.root().join("ucrm.json"), ucrm.to_string()).unwrap();
        world.configure(json!({"unmsApiToken": world.uisp.token()}));
        world
    }

    /// The same world for runs that move so much that the usual clock would be too fast.
    pub fn calm(self) -> Self {
        Self {
            clock_speed: CALM_CLOCK_SPEED,
            ..self.moving_much()
        }
    }

    /// The same world for runs that move much on the usual clock.
    pub fn moving_much(self) -> Self {
        Self {
            _permit: MOVERS.permit_of_this_thread(),
            ..self
        }
    }

    /// The same world where everything is sealed to an owner, if `is_sealed`.
    pub fn sealing(mut self, is_sealed: bool) -> Self {
        if is_sealed {
            let owner = Owner::new();
            seal_to(&self, &[&owner]);
            self.owner = Some(owner);
        }
        self
    }

    /// The hash of a file's content; of what its owner can open, of what is inside.
    pub fn hash_inside(&self, file: &StoredFile) -> String {
        let owner = self.owner.as_ref();
        let owner = owner.filter(|_| file.path.ends_with(".age"));
        let opened = owner.and_then(|owner| owner.try_open(&self.dropbox.read(&file.path)?));
        opened.map_or_else(|| file.content_hash.clone(), |bytes| content_hash(&bytes))
    }

    /// The plugin's folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the plugin's data folder.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root().join("data").join(name)
    }

    /// Sets fields of the configuration, as saving the form does.
    pub fn configure(&self, fields: Value) {
        let mut config = self.config();
        for (key, value) in fields.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(self.data("config.json"), config.to_string()).unwrap();
    }

    /// The configuration as it stands on disk.
    pub fn config(&self) -> Value {
        match fs::read(self.data("config.json")) {
            Ok(content) => serde_json::from_slice(&content).unwrap(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
            Err(error) => panic!("{error}"),
        }
    }

    /// What is only recorded for those who look.
    pub fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data("record.json")).unwrap()).unwrap()
    }

    /// The state as it stands on disk.
    pub fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data("state.json")).unwrap()).unwrap()
    }

    /// The whole log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.data("plugin.log")).unwrap_or_default()
    }

    /// The binary's command line, ready for more.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup-sync-dropbox"));
        command
            .arg("--root")
            .arg(self.root())
            .env_clear()
            .env("SSL_CERT_FILE", self.ca.pem_path())
            .env("DROPBOX_API_URL", self.dropbox.api_url())
            .env("DROPBOX_CONTENT_URL", self.dropbox.content_url())
            .env("DROPBOX_WEB_URL", self.dropbox.web_url())
            .env("BACKUP_SYNC_CLOCK_SPEED", self.clock_speed.to_string())
            .env("BACKUP_SYNC_FILES_AGE", FILES_AGE.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The same with files limited to `bytes`, so that writing a larger one fails as on a full
    /// disk, also for root.
    pub fn command_with_full_disk(&self, bytes: usize) -> Command {
        // The limit counts blocks of 512 bytes. Passing it is a signal, unless that is ignored.
        self.command_within(&format!("trap '' XFSZ; ulimit -f {}", bytes / 512))
    }

    /// The same for a process that may have so many files open at a time.
    pub fn command_with_few_files(&self, number: usize) -> Command {
        self.command_within(&format!("ulimit -n {number}"))
    }

    fn command_within(&self, limit: &str) -> Command {
        let plain = self.command();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a run on the wall's clock, for tests that hold its requests: its timeouts must not
    /// pass meanwhile.
    pub fn start(&self) -> Running {
        let mut command = self.command();
        command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
        Running(command.spawn().unwrap())
    }

    /// Starts a run and waits until its next request to Dropbox on `route` stands at the gate.
    pub fn start_held(&self, route: &str) -> (Running, Gate) {
        let gate = Gate::new();
        let hold = Action::Hold(gate.clone());
        self.dropbox.inject(On::next(route), hold);
        let run = self.start();
        assert!(gate.wait_reached(PATIENCE), "{}", self.log());
        (run, gate)
    }

    /// Starts a run with this command line.
    pub fn start_as(&self, command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }

    /// Does one run.
    pub fn run(&self) -> Ended {
        self.run_as(&mut self.command())
    }

    /// Does one run with this command line.
    pub fn run_as(&self, command: &mut Command) -> Ended {
        let before = self.log().len();
        let output = finished(command.spawn().unwrap());
        let log = self.log();
        assert!(
            output.stdout.is_empty(),
            "a run prints nothing: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ended {
            code: output.status.code(),
            log: log.get(before..).unwrap_or(&log).to_owned(),
        }
    }

    /// Does one run that must end well.
    pub fn run_well(&self) -> Ended {
        let ended = self.run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("ERROR"), "{}", ended.log);
        ended
    }

    /// Does one run that must fail, and say so in its last line.
    pub fn run_badly(&self) -> Ended {
        let ended = self.run();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert!(
            ended.last_line().starts_with("ERROR: Finished"),
            "{}",
            ended.log
        );
        ended
    }

    /// Does what the admin does with the URL in the log: allows, copies the code into the form.
    pub fn allow_and_paste(&self, ended: &Ended) -> String {
        let code = self.dropbox.allow(ended.url()).unwrap();
        self.configure(json!({"dropboxAccessCode": code}));
        code
    }

    /// Adds finished backups number `from` to `to`, of `size` bytes each.
    pub fn add_backups(&self, from: u32, to: u32, size: u64) {
        for number in from..=to {
            self.uisp.add(Backup::numbered(number, size));
        }
    }

    /// Removes a numbered backup at the host.
    pub fn remove_backup(&self, number: u32) {
        assert!(self.uisp.remove(&Backup::numbered(number, 0).id));
    }

    /// Asserts that the managed files are exactly the finished backups, with the right content. Copies that
    /// were set aside are none.
    pub fn assert_mirrored(&self) {
        let mut expected: Vec<(String, String)> = self
            .uisp
            .backups()
            .iter()
            .filter(|backup| backup.state == "success")
            .map(|backup| (backup.id.clone(), backup.content_hash()))
            .collect();
        let mut stored: Vec<(String, String)> = self
            .dropbox
            .files()
            .into_iter()
            .filter(|file| !file.path.contains(" (set aside "))
            .map(|file| {
                assert_eq!(
                    file.path.ends_with(".age"),
                    self.owner.is_some(),
                    "{file:?}"
                );
                (id_in(&file.path).to_owned(), self.hash_inside(&file))
            })
            .collect();
        expected.sort();
        stored.sort();
        assert_eq!(stored, expected);
    }

    /// How many requests a route got.
    pub fn count(&self, route: &str) -> usize {
        self.dropbox.traffic().count(route)
    }
}

impl Running {
    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        send_signal(self.0.id(), name);
    }

    /// Waits for its end and returns the exit code; `None` after a signal.
    pub fn wait(self) -> Option<i32> {
        finished(self.0).status.code()
    }
}

impl Ended {
    /// The last line of the log, without its time.
    pub fn last_line(&self) -> &str {
        let line = self.log.lines().last().unwrap_or_default();
        line.rsplit_once(" (").map_or(line, |(text, _)| text)
    }

    /// The authorization URL that the run printed.
    pub fn url(&self) -> &str {
        let url = self.log.lines().find(|line| line.contains("/authorize?"));
        url.unwrap_or_else(|| panic!("no URL in:\n{}", self.log))
    }

    /// Asserts that the log has a line with all these parts.
    pub fn assert_line(&self, parts: &[&str]) {
        let found = self
            .log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} in:\n{}", self.log);
    }
}

/// Sends a signal by its name.
pub fn send_signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name]).arg(process.to_string());
    assert!(kill.status().unwrap().success());
}

/// Waits for the end of a process; one that does not end is killed and is a failure.
fn finished(child: Child) -> Output {
    let process = child.id();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        send_signal(process, "KILL");
        panic!("the run does not end");
    })
}

/// A server that nobody should ask anything; its log tells who did.
pub fn stranger(address: Ipv4Addr, tls: Option<TlsConfig>) -> Server {
    struct Stranger;
    impl Handler for Stranger {
        fn route(&self, head: &Head) -> String {
            head.path().to_owned()
        }
        fn handle(&self, _: &mut Request<'_>) -> io::Result<Response> {
            Ok(Response::text(200, "[]"))
        }
    }
    let options = ServerOptions {
        address: address.into(),
        tls,
        ..ServerOptions::default()
    };
    Server::start(options, Arc::new(Stranger)).unwrap()
}

/// The installable ZIP with the program under test, made once.
pub fn working_zip() -> &'static Path {
    static ZIP: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("working.zip");
        let package = Package {
            checkout: env!("CARGO_MANIFEST_DIR").into(),
            commit: "test".to_owned(),
            commit_time: 1_795_306_485,
            programs: vec![Program::Built {
                architecture: std::env::consts::ARCH.to_owned(),
                how: "a debug program".to_owned(),
                path: env!("CARGO_BIN_EXE_backup-sync-dropbox").into(),
            }],
        };
        package.write(&path).unwrap();
        path
    });
    &ZIP
}
