//! A world in which each kind of request occurs in every run, and the search for damage after a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use sandbox::dropbox::{Dropbox, DropboxOptions, StoredFile};
use sandbox::http::{Action, Gate, On, Server};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use super::expectation::{Attack, Cell, End};
use super::faults::ELSEWHERE;
use super::hosts::{self, Host, Replaced};
use super::requests::{Kind, Service};
use crate::sealed::id_in;
use crate::support::{Ended, PATIENCE, World, stranger};

const MIB: u64 = 1024 * 1024;
/// Two whole blocks and a rest: a concurrent session.
const LARGE: u64 = 8 * MIB + 1;
/// Backups that stay for ever.
const LASTING: u32 = 3;
/// A file that is none of the plugin's business.
const FOREIGN: &str = "/notes.txt";
/// A backup of another server that shares the folder.
const UNSEEN: &str = "/unms-backup-20250601-0412_00000000-0000-4000-8000-999999999999.unms";
/// The clock's speed for runs that must not be hurried.
const CALM: u32 = 20;
/// No line of the log is longer, whatever an answer held.
const LINE_CHARS_MAX: usize = 1500;

/// A world for the cells of one kind of request. Before each cell, a backup comes and one goes.
pub struct Scene {
    /// The servers and the plugin's folder.
    pub world: World,
    /// An address of this scene alone, for which Dropbox's certificate is good.
    pub address: Ipv4Addr,
    kind: Kind,
    round: u32,
    elsewhere: Server,
}

/// What there was before a run.
struct Before {
    files: BTreeMap<String, StoredFile>,
    /// Paths of the files that are to be deleted.
    due: BTreeSet<String>,
    config: Value,
    secrets: BTreeSet<String>,
}

/// Is called with the program once it has started.
type Meanwhile<'a> = Box<dyn FnOnce(&mut Child) + 'a>;

/// What a run will meet.
#[derive(Default)]
struct Arranged<'a> {
    /// A host in the place of the real one.
    replaced: Option<Replaced>,
    /// What happens while the run goes on.
    meanwhile: Option<Meanwhile<'a>>,
}

/// Which backup a round brings.
fn number_of(round: u32) -> u32 {
    100 + 2 * round
}

fn id_of(number: u32) -> String {
    Backup::numbered(number, 0).id
}

/// Whether a file is a copy that was set aside.
fn is_aside(path: &str) -> bool {
    path.contains(" (set aside ")
}

impl Scene {
    /// A world whose mirror is complete, and sealed or not.
    pub fn new(kind: Kind, is_sealed: bool) -> Self {
        static SCENES: AtomicU8 = AtomicU8::new(1);
        let [_, group, ..] = std::process::id().to_le_bytes();
        let address = Ipv4Addr::new(127, 77, group, SCENES.fetch_add(1, Ordering::Relaxed));
        let mut world = World::fresh();
        let mut leaf = Dropbox::leaf();
        leaf.names.push(address.to_string());
        world.dropbox = Dropbox::start(DropboxOptions {
            tls: Some(world.ca.issue(&leaf).unwrap()),
            page_size: 2,
            keep_content: is_sealed,
            ..DropboxOptions::default()
        })
        .unwrap();
        // Whoever authorizes is told which permissions are missing.
        if matches!(kind, Kind::Space | Kind::Code | Kind::CodeWithVerifier) {
            world.dropbox.set_app_scopes(&[
                "files.metadata.read",
                "files.content.write",
                "files.content.read",
                "account_info.read",
            ]);
        }
        let app = world.dropbox.app();
        world.configure(json!({
            "dropboxAppKey": app.key,
            "dropboxAppSecret": app.secret,
            "dropboxRefreshToken": world.dropbox.issue_refresh_token(),
        }));
        if kind == Kind::Create {
            world.configure(json!({"createBackup": true}));
        }
        let world = world.sealing(is_sealed);
        world.add_backups(1, LASTING, 1000);
        world.dropbox.put(FOREIGN, b"mine");
        world.dropbox.put(UNSEEN, b"another server's");
        let scene = Self {
            world,
            address,
            kind,
            round: 0,
            elsewhere: stranger(Ipv4Addr::LOCALHOST, None),
        };
        scene.bring(0);
        let ended = scene.run_calmly();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        if let Some(owner) = &scene.world.owner {
            owner.prove(&scene.world, &ended);
        }
        scene.assert_whole();
        scene
    }

    /// Plays one cell and leaves a complete mirror behind.
    pub fn play(&mut self, cell: &Cell) {
        self.next_round();
        let mut before = self.before();
        let mut arranged = self.arrange(cell);
        let ended = self.run(cell.speed, &mut arranged);
        let unused =
            self.world.dropbox.traffic().clear_faults() + self.world.uisp.traffic().clear_faults();
        assert_eq!(unused, 0, "the fault never struck:\n{}", ended.log);
        before.secrets.extend(self.secrets());
        self.assert_end(cell, &before, &ended);
        self.assert_undamaged(cell, &before, &ended);
        self.assert_discreet(&before.secrets, &ended);
        self.assert_went_nowhere_else();
        if let Some(replaced) = &arranged.replaced {
            replaced.assert_no_credential();
        }
        drop(arranged);
        self.recover(cell);
    }

    /// One backup comes, or two where one of them is to fail alone; those of the last round go.
    fn next_round(&mut self) {
        for backup in self.world.uisp.backups().into_iter().skip(LASTING as usize) {
            assert!(self.world.uisp.remove(&backup.id));
        }
        self.round += 1;
        self.bring(self.round);
        if self.kind.is_code() {
            self.paste_a_code();
        }
        if self.kind == Kind::Space {
            self.forget_refusal();
        }
        self.world.dropbox.traffic().clear_log();
        self.world.uisp.traffic().clear_log();
    }

    /// Has the space asked for again although Dropbox said that it may not be known.
    fn forget_refusal(&self) {
        let mut state = self.world.state();
        state["space_is_unknowable"] = json!(false);
        fs::write(self.world.data("state.json"), state.to_string()).unwrap();
    }

    fn bring(&self, round: u32) {
        let size = if self.kind.needs_large() {
            LARGE
        } else {
            20_000
        };
        let number = number_of(round);
        self.world.add_backups(number, number, size);
        if self.brings_two() {
            self.world.add_backups(number + 1, number + 1, 1000);
        }
        let strange = match self.kind {
            Kind::Compare => Backup::numbered(number + 1, 1000),
            // It has another content.
            Kind::Copy => Backup::numbered(number, size - 1),
            _ => return,
        };
        let ending = if self.world.owner.is_some() {
            "unms.age"
        } else {
            "unms"
        };
        let path = format!("/unms-backup-20260101-0000_{}.{ending}", strange.id);
        self.world.dropbox.put(&path, &strange.bytes());
    }

    /// One backup that fails must not keep another from being uploaded.
    fn brings_two(&self) -> bool {
        self.kind.is_download()
    }

    /// Does what the admin does: opens the address in the log and pastes the code.
    fn paste_a_code(&self) {
        let has_secret = self.kind == Kind::Code;
        let secret = has_secret.then(|| self.world.dropbox.app().secret);
        self.world.configure(json!({
            "dropboxAppSecret": secret,
            "dropboxAccessCode": null,
            "dropboxRefreshToken": null,
        }));
        let ended = self.run_calmly();
        self.world.allow_and_paste(&ended);
    }

    fn files(&self) -> BTreeMap<String, StoredFile> {
        let files = self.world.dropbox.files().into_iter();
        files.map(|file| (file.path.clone(), file)).collect()
    }

    fn listed(&self) -> BTreeMap<String, String> {
        let backups = self.world.uisp.backups().into_iter();
        backups
            .map(|backup| (backup.id.clone(), backup.content_hash()))
            .collect()
    }

    fn before(&self) -> Before {
        let files = self.files();
        let listed = self.listed();
        let is_due = |path: &&String| {
            *path != FOREIGN
                && *path != UNSEEN
                && !is_aside(path)
                && !listed.contains_key(id_in(path))
        };
        Before {
            due: files.keys().filter(is_due).cloned().collect(),
            files,
            config: self.world.config(),
            secrets: self.secrets(),
        }
    }

    /// The verifier that waits for its code.
    fn verifier(&self) -> Option<String> {
        let state = fs::read(self.world.data("state.json")).ok()?;
        let state: Value = serde_json::from_slice(&state).unwrap();
        let pending = &state["pending_authorization"];
        Some(pending["code_verifier"].as_str()?.to_owned())
    }

    /// Every secret that is in use now.
    fn secrets(&self) -> BTreeSet<String> {
        let config = self.world.config();
        let fields = [
            "unmsApiToken",
            "dropboxAppSecret",
            "dropboxAccessCode",
            "dropboxRefreshToken",
        ];
        let in_config = fields.iter().filter_map(|field| config[*field].as_str());
        let requests = self.world.dropbox.requests();
        let in_requests = requests
            .iter()
            .filter_map(|request| request.header("authorization")?.strip_prefix("Bearer "));
        let verifier = self.verifier();
        let secrets = in_config.chain(in_requests).chain(verifier.as_deref());
        secrets
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn arrange(&self, cell: &Cell) -> Arranged<'_> {
        if cell.kind == Kind::Metadata {
            // A commit whose answer is lost is looked for.
            let finish = Kind::Finish.route("");
            self.world
                .dropbox
                .inject(On::next(&finish), Action::AnswerLost);
        }
        if cell.kind == Kind::Renew {
            let expired = sandbox::dropbox::faults::unauthorized("expired_access_token");
            let on = Kind::List.on("", cell.lasting);
            self.world.dropbox.inject(on, expired);
        }
        // The newest backup goes first.
        let newest = id_of(number_of(self.round) + u32::from(self.brings_two()));
        let on = cell.kind.on(&newest, cell.lasting);
        let mut arranged = Arranged::default();
        match &cell.attack {
            Attack::Answer(Action::Redirect(to)) if to == ELSEWHERE => {
                let elsewhere = format!("{}/here", self.elsewhere.url());
                self.inject(cell.kind, on, Action::Redirect(elsewhere));
            }
            Attack::Answer(action) => self.inject(cell.kind, on, action.clone()),
            Attack::Host(host, trouble) => {
                arranged.replaced = Some(hosts::replace(self, *host, *trouble, cell.lasting));
            }
            Attack::HostLeaves => {
                let gate = Gate::new();
                self.inject(
                    cell.kind,
                    cell.kind.on(&newest, false),
                    Action::Hold(gate.clone()),
                );
                let replaced = hosts::put_door_before(self, Host::of(cell.kind));
                let door = replaced.door();
                let (returns, log) = (!cell.lasting, self.world.data("plugin.log"));
                arranged.meanwhile = Some(Box::new(move |child| {
                    assert!(gate.wait_reached(PATIENCE), "the request does not come");
                    door.close();
                    gate.open();
                    // The first try met the end of the connection, the second nobody.
                    if returns && wait_for_line(&log, "Try 2 of ", child) {
                        door.open();
                    }
                }));
                arranged.replaced = Some(replaced);
            }
            Attack::BrokenExpiry { after } => {
                let gate = Gate::new();
                let hold = Action::HoldAnswer(gate.clone());
                let kind = cell.kind;
                self.inject(*after, after.on(&newest, false), hold);
                arranged.meanwhile = Some(Box::new(move |_| {
                    assert!(gate.wait_reached(PATIENCE), "the request does not come");
                    self.world.dropbox.expire_access_tokens();
                    self.inject(kind, on, Action::TruncateResponse(2));
                    gate.open();
                }));
            }
        }
        if let Some(replaced) = &arranged.replaced
            && let Some(door) = replaced.late_door()
        {
            let log = self.world.data("plugin.log");
            arranged.meanwhile = Some(Box::new(move |child| {
                if wait_for_line(&log, "Try 1 of ", child) {
                    door.open();
                }
            }));
        }
        arranged
    }

    fn inject(&self, kind: Kind, on: On, action: Action) {
        if kind.service() == Service::Uisp {
            self.world.uisp.inject(on, action);
        } else {
            self.world.dropbox.inject(on, action);
        }
    }

    /// Does one run; its log is all that is in the log then.
    fn run(&self, speed: u32, arranged: &mut Arranged<'_>) -> Ended {
        let log = self.world.data("plugin.log");
        if log.exists() {
            fs::remove_file(&log).unwrap();
        }
        let mut command = self.world.command();
        command
            .env("BACKUP_SYNC_CLOCK_SPEED", speed.to_string())
            // Leaks would show at any level.
            .env("RUST_LOG", "trace");
        if let Some(replaced) = &arranged.replaced {
            command.envs(replaced.variables());
        }
        let mut child = command.spawn().unwrap();
        let outputs = [
            read_all(child.stdout.take().unwrap()),
            read_all(child.stderr.take().unwrap()),
        ];
        if let Some(meanwhile) = arranged.meanwhile.take() {
            meanwhile(&mut child);
        }
        for output in outputs {
            match output.recv_timeout(PATIENCE) {
                Ok(text) => assert_eq!(text, "", "a run prints nothing"),
                Err(_) => {
                    child.kill().unwrap();
                    panic!("the run does not end:\n{}", self.world.log());
                }
            }
        }
        Ended {
            code: child.wait().unwrap().code(),
            log: self.world.log(),
        }
    }

    fn run_calmly(&self) -> Ended {
        self.run(CALM, &mut Arranged::default())
    }

    fn count(&self, kind: Kind) -> usize {
        self.world.count(&kind.route(""))
    }

    fn assert_end(&self, cell: &Cell, before: &Before, ended: &Ended) {
        let log = &ended.log;
        let is_out_of_time = ended.last_line().starts_with("WARNING: Finished early");
        if is_out_of_time && cell.uses_up_the_time() {
            assert_eq!(ended.code, Some(0), "{log}");
            assert_eq!(self.count(Kind::Delete), 0, "{log}");
            return;
        }
        let end = match cell.expected.end {
            End::OthersGoOn if ended.last_line().starts_with("Finished: ") => End::Well,
            End::OutOfTime if !is_out_of_time && cell.may_be_out_of_tries() => End::BackupFailed,
            end => end,
        };
        let (code, begins) = match end {
            End::Well | End::WellWithoutDeletions | End::Warned | End::NameRefused => {
                (0, "Finished: ")
            }
            End::NothingMirrored | End::CodeSpent => (1, "ERROR: Finished: nothing was mirrored"),
            End::BackupFailed | End::BackupFailedDeletionsDone | End::TokenRefused => {
                (1, "ERROR: Finished: ")
            }
            End::FreshBackupFailed | End::DeletionFailed => (1, "ERROR: Finished: 1 uploaded"),
            End::OutOfTime => (0, "WARNING: Finished early"),
            End::OthersGoOn if ended.code == Some(0) => (0, "WARNING: Finished early"),
            End::OthersGoOn => (1, "ERROR: Finished: "),
        };
        assert_eq!(ended.code, Some(code), "{end:?} was expected:\n{log}");
        let last = ended.last_line();
        assert!(
            last.starts_with(begins),
            "the last line, {end:?} was expected:\n{log}"
        );
        let parts: &[&str] = match end {
            End::BackupFailed if cell.kind.is_download() => {
                &["1 uploaded", "0 deleted", "1 failed"]
            }
            End::BackupFailed => &["0 uploaded", "0 deleted", "1 failed"],
            End::NameRefused => &["0 uploaded", "0 deleted"],
            End::BackupFailedDeletionsDone => &["0 uploaded", "1 deleted", "1 failed"],
            End::FreshBackupFailed => &["1 failed"],
            End::DeletionFailed => &["0 deleted", "1 failed"],
            End::OutOfTime => &["0 deleted", "left for the next run"],
            End::OthersGoOn => &["1 uploaded", "0 deleted"],
            End::TokenRefused => &["0 deleted", "1 failed"],
            _ => &[],
        };
        for part in parts {
            assert!(last.contains(part), "\"{part}\" was expected:\n{log}");
        }
        let says = match (cell.expected.end, end) {
            (End::OutOfTime, End::BackupFailed) => "The next run tries again",
            _ => cell.expected.says,
        };
        assert_advice(end, says, ended);
        if matches!(end, End::Well | End::Warned | End::FreshBackupFailed) {
            self.assert_whole();
        }
        if end == End::WellWithoutDeletions {
            self.assert_everything_is_there();
        }
        if matches!(end, End::NothingMirrored | End::CodeSpent) {
            assert_eq!(self.files(), before.files, "{log}");
            let changes = [Kind::StartSmall, Kind::Append, Kind::Finish, Kind::Delete];
            assert_eq!(changes.map(|kind| self.count(kind)), [0; 4], "{log}");
        }
        if matches!(
            end,
            End::BackupFailed | End::OutOfTime | End::OthersGoOn | End::TokenRefused
        ) {
            assert_eq!(
                self.count(Kind::Delete),
                0,
                "a failed run deletes nothing:\n{log}"
            );
        }
    }

    /// Nothing that is not due has gone, nothing is stored that is no backup, and the
    /// configuration has what it had.
    fn assert_undamaged(&self, cell: &Cell, before: &Before, ended: &Ended) {
        let log = &ended.log;
        let after = self.files();
        let may_delete = matches!(cell.kind, Kind::Delete | Kind::Check)
            || matches!(
                cell.expected.end,
                End::Well | End::Warned | End::FreshBackupFailed | End::BackupFailedDeletionsDone
            )
            || ended.last_line().starts_with("Finished: ");
        for (path, file) in &before.files {
            let may_go = may_delete && before.due.contains(path);
            let is_kept = |other: &StoredFile| {
                is_aside(&other.path) && other.content_hash == file.content_hash
            };
            let may_go = may_go || after.values().any(is_kept);
            assert!(
                may_go || after.get(path) == Some(file),
                "{path} is not as it was:\n{log}"
            );
        }
        let listed = self.listed();
        for (path, file) in after
            .iter()
            .filter(|(path, _)| !before.files.contains_key(*path))
        {
            let expected = listed.get(id_in(path)) == Some(&self.world.hash_inside(file));
            let mut earlier = before.files.values();
            let is_copy = is_aside(path) && earlier.any(|e| e.content_hash == file.content_hash);
            assert!(expected || is_copy, "{path} is no backup:\n{log}");
        }
        self.assert_credentials(cell, before, log);
    }

    fn assert_credentials(&self, cell: &Cell, before: &Before, log: &str) {
        let mut config = self.world.config();
        if cell.kind.is_code() && cell.expected.end != End::NothingMirrored {
            let is_authorized = config["dropboxRefreshToken"].is_string();
            let is_spent = cell.expected.end == End::CodeSpent;
            assert_eq!(is_authorized, !is_spent, "{log}");
            assert!(config["dropboxAccessCode"].is_null(), "{log}");
            for field in ["dropboxRefreshToken", "dropboxAccessCode"] {
                config[field] = before.config[field].clone();
            }
        }
        assert_eq!(config, before.config, "{log}");
    }

    /// No secret is in any file but config.json, and the verifier alone in state.json.
    fn assert_discreet(&self, secrets: &BTreeSet<String>, ended: &Ended) {
        assert!(
            secrets.len() >= 3,
            "too few secrets to look for: {}",
            secrets.len()
        );
        for line in ended.log.lines() {
            assert!(
                line.chars().count() <= LINE_CHARS_MAX,
                "a long line: {line}"
            );
        }
        let mut files = Vec::new();
        collect_files(self.world.root(), &mut files);
        for (path, content) in files {
            if path.ends_with("data/config.json") {
                continue;
            }
            let verifier = self
                .verifier()
                .filter(|_| path.ends_with("data/state.json"));
            for secret in secrets
                .iter()
                .filter(|secret| verifier.as_ref() != Some(secret))
            {
                assert!(
                    !content.contains(secret),
                    "{path} holds a secret:\n{content}"
                );
            }
        }
    }

    /// No redirect was followed, and no credential was shown to the wrong service.
    fn assert_went_nowhere_else(&self) {
        let elsewhere = self.elsewhere.traffic().requests();
        assert!(
            elsewhere.is_empty(),
            "a redirect was followed: {elsewhere:?}"
        );
        for request in self.world.uisp.requests() {
            assert!(request.header("authorization").is_none(), "{request:?}");
        }
        for request in self.world.dropbox.requests() {
            assert!(request.header("x-auth-token").is_none(), "{request:?}");
        }
    }

    /// What Dropbox has refused is so long ago that it is tried again.
    fn let_weeks_pass(&self) {
        let path = self.world.data("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let refused = state["refused"].as_object_mut().unwrap();
        assert_eq!(refused.len(), 1);
        for time in refused.values_mut() {
            *time = json!("2020-01-01T00:00:00Z");
        }
        fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
    }

    /// With the fault gone, runs without further ado reach the mirror that there would have been.
    fn recover(&self, cell: &Cell) {
        let mut ended = self.run_calmly();
        if cell.expected.end == End::NameRefused {
            ended.assert_line(&["WARNING: ", "Dropbox refuses the name"]);
            self.let_weeks_pass();
            ended = self.run_calmly();
        }
        if cell.kind.is_code() && self.world.config()["dropboxRefreshToken"].is_null() {
            // The code is spent; the address in the log leads on.
            self.world.allow_and_paste(&ended);
            ended = self.run_calmly();
        }
        let log = &ended.log;
        assert_eq!(ended.code, Some(0), "the next run does not recover:\n{log}");
        let complaints = ["ERROR: ", "WARNING: "];
        let is_told = |line: &&str| self.kind == Kind::Copy && line.contains("differs from its");
        let mut lines = log.lines().filter(|line| !is_told(line));
        let is_quiet = !lines.any(|line| complaints.iter().any(|c| line.starts_with(c)));
        assert!(is_quiet, "the next run complains:\n{log}");
        self.assert_whole();
        let transfers = self.world.data("transfers");
        let journals = fs::read_dir(transfers).map_or(0, Iterator::count);
        assert_eq!(journals, 0, "journals are left over:\n{log}");
    }

    fn assert_everything_is_there(&self) {
        let files = self.files();
        for (id, hash) in self.listed() {
            let of_id = files.values().filter(|file| id_in(&file.path) == id);
            let hashes: Vec<String> = of_id.map(|file| self.world.hash_inside(file)).collect();
            assert_eq!(hashes, [hash], "{id}");
        }
    }

    /// The mirror is exactly what it should be.
    fn assert_whole(&self) {
        self.assert_everything_is_there();
        let files = self.files();
        let asides = files.keys().filter(|path| is_aside(path)).count();
        let expected = match self.kind {
            Kind::Copy => self.round as usize + 1,
            _ => 0,
        };
        assert_eq!(asides, expected, "one for each strange file: {files:#?}");
        assert_eq!(files.len(), self.listed().len() + asides + 2, "{files:#?}");
        assert!(files.contains_key(FOREIGN) && files.contains_key(UNSEEN));
    }
}

/// A run that failed says what happened, what it means and what to do; one that did not is silent.
fn assert_advice(end: End, says: &str, ended: &Ended) {
    let log = &ended.log;
    let lines = |level: &str| -> Vec<&str> {
        let all = log.lines().filter(|line| line.starts_with(level));
        all.filter(|line| !line.contains("Finished")).collect()
    };
    let (errors, warnings) = (lines("ERROR: "), lines("WARNING: "));
    let said = match end {
        End::Well | End::WellWithoutDeletions => {
            assert!(errors.is_empty() && warnings.is_empty(), "{log}");
            return;
        }
        End::OthersGoOn => return,
        End::OutOfTime => {
            assert!(errors.is_empty(), "{log}");
            return;
        }
        End::Warned | End::NameRefused => {
            assert!(errors.is_empty(), "{log}");
            warnings
        }
        _ => errors,
    };
    assert!(!said.is_empty(), "nothing says what is wrong:\n{log}");
    for line in &said {
        let sentences = line.matches(". ").count();
        // A file that differs is no fault that had a cause.
        let has_cause = line.contains(" Cause: ") || line.contains("differs from its original");
        let has_parts = has_cause && sentences >= 2;
        assert!(has_parts, "not three parts: {line}");
    }
    let is_said = said.iter().any(|line| line.contains(says));
    assert!(is_said, "\"{says}\" is not said:\n{log}");
}

/// Reads a pipe to its end, which comes with the end of the process.
fn read_all(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.read_to_string(&mut text);
        sender.send(read.map_or_else(|error| error.to_string(), |_| text))
    });
    receiver
}

fn collect_files(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            files.push((path.display().to_string(), content));
        }
    }
}

/// Waits for a text in the log; false if the run ends without it.
fn wait_for_line(log: &Path, text: &str, child: &mut Child) -> bool {
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() && since.elapsed() < PATIENCE {
        if fs::read_to_string(log).is_ok_and(|log| log.contains(text)) {
            return true;
        }
        // The log is a file, which nobody can wait for.
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}
