//! What a run is killed in the middle of, and what holds before, between and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use super::kill::{KILLED, healthy_run, patient};
use crate::sealed::id_in;
use crate::support::{PATIENCE, World};

const MIB: u64 = 1024 * 1024;
/// Large enough for an upload session of several pieces; they have 4 MiB each.
const LARGE: u64 = 9 * MIB + 1;
const TOKEN: &str = "oauth2/token";

/// A kind of run to be interrupted.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Names it in messages.
    pub name: &'static str,
    /// Whether everything is encrypted.
    is_sealed: bool,
    prepare: fn(bool) -> Stage,
}

/// A world just before the run, and what must hold from here on.
pub struct Stage {
    /// The world.
    pub world: World,
    /// What a message about it begins with.
    pub context: String,
    /// Files in Dropbox that must stay, with the content hashes that they may have.
    kept: BTreeMap<String, Vec<String>>,
    /// Files in Dropbox that the run deletes.
    due: Vec<String>,
    config: Value,
    config_mode: u32,
    /// The state, if there was one.
    state: Option<Value>,
}

/// The first authorization with an app secret, then the first mirror.
pub const SETUP: Scenario = Scenario {
    name: "setup with secret",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = pasted(true).sealing(is_sealed);
        world.add_backups(1, 2, 1000);
        world.uisp.add(Backup::numbered(3, LARGE));
        Stage::new(world, &[])
    },
};

/// The first authorization without an app secret.
pub const SETUP_PKCE: Scenario = Scenario {
    name: "setup with PKCE",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = pasted(false).sealing(is_sealed);
        world.add_backups(1, 1, 1000);
        Stage::new(world, &[])
    },
};

/// A folder left by version 1.2.2: one file is right, two are cut off.
pub const TAKEOVER: Scenario = Scenario {
    name: "takeover",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = World::authorized().sealing(is_sealed);
        world.add_backups(1, 2, 1000);
        world.uisp.add(Backup::numbered(3, LARGE));
        for backup in world.uisp.backups() {
            let mut bytes = backup.bytes();
            if !backup.id.ends_with('1') {
                bytes.truncate(bytes.len() / 2);
            }
            let path = format!("/unms-backup-20260101-0412_{}.unms", backup.id);
            world.dropbox.put(&path, &bytes);
        }
        Stage::new(world, &[])
    },
};

/// New backups, small and large, and two that are gone.
pub const CHANGES: Scenario = Scenario {
    name: "changes",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = mirrored(5, is_sealed);
        world.remove_backup(1);
        world.remove_backup(2);
        world.add_backups(6, 6, 1000);
        world.uisp.add(Backup::numbered(7, LARGE));
        Stage::new(world, &[1, 2])
    },
};

/// Most of the mirror is on hold, and the admin has just agreed to the clean-up.
pub const CLEANUP: Scenario = Scenario {
    name: "confirmed clean-up",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = mirrored(6, is_sealed);
        for number in 1..=5 {
            world.remove_backup(number);
        }
        let ended = healthy_run(&world);
        ended.assert_line(&["WARNING", "on hold"]);
        world.configure(json!({"confirmCleanup": true}));
        Stage::new(world, &[1, 2, 3, 4, 5])
    },
};

/// An upload that an earlier run had to leave.
pub const CARRIED_ON: Scenario = Scenario {
    name: "carried on",
    is_sealed: false,
    prepare: |is_sealed| {
        let world = mirrored(2, is_sealed);
        world.remove_backup(1);
        world.uisp.add(Backup::numbered(3, LARGE));
        let gate = Gate::new();
        let third = On::nth("files/upload_session/append_v2", 3);
        world.dropbox.inject(third, Action::Hold(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE));
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        gate.open();
        assert!(world.data("transfers").exists());
        Stage::new(world, &[1])
    },
};

/// Encryption was turned on, and the word that proves the key was just pasted: copies that are not encrypted go.
pub const PROOF: Scenario = Scenario {
    name: "proof of the key",
    is_sealed: true,
    prepare: |is_sealed| {
        let world = mirrored(2, false).sealing(is_sealed);
        let plain = world.dropbox.paths();
        let ended = healthy_run(&world);
        let word = world.owner.as_ref().unwrap().word(&ended);
        world.configure(json!({"encryptionProof": word}));
        world.uisp.add(Backup::numbered(3, LARGE));
        Stage::with_due(world, plain)
    },
};

/// All of them.
pub const ALL: [Scenario; 9] = [
    SETUP,
    SETUP_PKCE,
    TAKEOVER,
    CHANGES,
    CLEANUP,
    CARRIED_ON,
    CHANGES.sealed(),
    CARRIED_ON.sealed(),
    PROOF,
];

/// A world whose access code was just pasted.
fn pasted(has_secret: bool) -> World {
    let world = World::with_app(has_secret);
    let asked = healthy_run(&world);
    world.allow_and_paste(&asked);
    world
}

/// A world whose first `count` backups are in Dropbox; encrypted ones with a key that was proved.
fn mirrored(count: u32, is_sealed: bool) -> World {
    let world = World::authorized().sealing(is_sealed);
    world.add_backups(1, count, 1000);
    let ended = healthy_run(&world);
    ended.assert_line(&["Finished: "]);
    if let Some(owner) = &world.owner {
        owner.prove(&world, &ended);
    }
    world
}

impl Scenario {
    /// The same where everything is encrypted.
    pub const fn sealed(self) -> Self {
        Self {
            is_sealed: true,
            ..self
        }
    }

    /// Sets the scene.
    pub fn prepare(&self) -> Stage {
        let mut stage = (self.prepare)(self.is_sealed);
        let sealed = if self.is_sealed { ", encrypted" } else { "" };
        stage.context = format!("{}{sealed}", self.name);
        stage
    }
}

impl Stage {
    fn new(world: World, due: &[u32]) -> Self {
        let ids: Vec<String> = due.iter().map(|&n| Backup::numbered(n, 0).id).collect();
        let mut paths = world.dropbox.paths();
        paths.retain(|path| ids.iter().any(|id| id_in(path) == id));
        assert_eq!(paths.len(), due.len());
        Self::with_due(world, paths)
    }

    /// A world in which the files at these paths are to go.
    fn with_due(world: World, due: Vec<String>) -> Self {
        // Not ours, at every time: a foreign file, one of another server, one that nearly has our name.
        for name in [
            "notes.txt",
            "unms-backup-20200101-0000_other.unms",
            "unms-backup-20200101-0000_00000000-0000-4000-8000-000000000001.unms.part",
        ] {
            world.dropbox.put(&format!("/{name}"), b"not ours");
        }
        // What the plugin does not know, and whom the files belong to, has to survive as well.
        world.configure(json!({"ofAnotherVersion": {"a": [1, "ž"]}, "keepDeletedDays": "0"}));
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(world.data("config.json"), mode).unwrap();
        let mut kept = BTreeMap::new();
        for file in world.dropbox.files() {
            if !due.contains(&file.path) {
                let mut hashes = vec![world.hash_inside(&file)];
                hashes.extend(right_hash(&world, &file.path));
                kept.insert(file.path, hashes);
            }
        }
        Self {
            context: String::new(),
            kept,
            due,
            config: world.config(),
            config_mode: 0o640,
            state: world.data("state.json").exists().then(|| world.state()),
            world,
        }
    }

    /// Asserts what holds at any instant, whatever has happened.
    pub fn assert_unharmed(&self) {
        let context = &self.context;
        self.assert_config_unharmed();
        self.assert_state_unharmed();
        self.assert_the_word_counts_once();
        self.assert_dropbox_unharmed();
        let mut writing = 0;
        for (name, bytes) in self.files_in_data() {
            let is_temporary = name.starts_with(".writing-");
            writing += usize::from(is_temporary);
            let known = [
                "config.json",
                "plugin.log",
                "record.json",
                "state.json",
                "run.lock",
                "page.key",
            ];
            let is_journal = name.starts_with("transfers/") && name.ends_with(".journal");
            assert!(
                known.contains(&name.as_str()) || is_journal || is_temporary,
                "{context}: {name} in data/"
            );
            assert!(bytes < 300_000, "{context}: {name} has {bytes} bytes");
        }
        // A run writes one file at a time on its own behalf, and perhaps the log beside it.
        assert!(writing <= 2, "{context}: {writing} unfinished files stay");
        let log = self.world.log();
        assert!(log.is_empty() || log.ends_with('\n'), "{context}: {log}");
    }

    /// A tick of which note was taken and that is still there counts for nothing more.
    fn assert_the_word_counts_once(&self) {
        let is_ticked = self.world.config()["confirmCleanup"] == json!(true);
        if is_ticked && self.world.data("state.json").exists() {
            let state = self.world.state();
            let is_agreed = state["agreed"]
                .as_array()
                .is_some_and(|ids| !ids.is_empty());
            let is_used = state["tick_is_used"] == json!(true);
            assert!(is_used || !is_agreed, "{}: {state}", self.context);
        }
    }

    fn assert_config_unharmed(&self) {
        let context = &self.context;
        let path = self.world.data("config.json");
        let content = fs::read(&path).unwrap();
        let now: Value = serde_json::from_slice(&content)
            .unwrap_or_else(|error| panic!("{context}: config.json: {error}"));
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, self.config_mode, "{context}");
        let owned = [
            "dropboxRefreshToken",
            "dropboxAccessCode",
            "confirmCleanup",
            "encryptionProof",
        ];
        for (key, value) in self.config.as_object().unwrap() {
            if !owned.contains(&key.as_str()) {
                assert_eq!(&now[key], value, "{context}: {key}");
            }
        }
        let token = now["dropboxRefreshToken"].as_str().unwrap_or_default();
        let code = now["dropboxAccessCode"].as_str().unwrap_or_default();
        match self.config["dropboxRefreshToken"].as_str() {
            Some(before) => assert_eq!(token, before, "{context}: the refresh token"),
            // A second exchange has refused a code that a killed run had used, and emptied the field.
            None if self.world.count(TOKEN) > 1 => {}
            None => assert!(
                !token.is_empty() || code == self.config["dropboxAccessCode"],
                "{context}: neither code nor token"
            ),
        }
        // A code without its verifier could not be exchanged.
        let verifier = |state: &Value| state["pending_authorization"]["code_verifier"].clone();
        if !code.is_empty() && token.is_empty() {
            let before = self.state.as_ref().map(verifier);
            assert_eq!(before, Some(verifier(&self.world.state())), "{context}");
        }
    }

    fn has_token(&self) -> bool {
        let token = &self.world.config()["dropboxRefreshToken"];
        token.as_str().is_some_and(|token| !token.is_empty())
    }

    fn assert_state_unharmed(&self) {
        let path = self.world.data("state.json");
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(_) if self.state.is_none() => return,
            Err(error) => panic!("{}: state.json: {error}", self.context),
        };
        let state: Value = serde_json::from_slice(&content)
            .unwrap_or_else(|error| panic!("{}: state.json: {error}", self.context));
        assert_eq!(state["version"], json!(1), "{}", self.context);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{}", self.context);
    }

    fn assert_dropbox_unharmed(&self) {
        let context = &self.context;
        let mut kept = self.kept.clone();
        for file in self.world.dropbox.files() {
            let hash = &self.world.hash_inside(&file);
            if let Some(hashes) = kept.remove(&file.path) {
                assert!(hashes.contains(hash), "{context}: {} changed", file.path);
            } else if file.path.contains(" (set aside ") {
                let was_there = self.kept.values().any(|hashes| hashes.contains(hash));
                assert!(was_there, "{context}: {}", file.path);
            } else if !self.due.contains(&file.path) {
                let right = right_hash(&self.world, &file.path);
                assert_eq!(Some(hash), right.as_ref(), "{context}: {}", file.path);
            }
        }
        assert!(kept.is_empty(), "{context}: deleted: {:?}", kept.keys());
    }

    /// Lets the plugin run undisturbed, the admin do what its log asks for, and asserts that
    /// everything is in the end as if nothing had happened.
    pub fn assert_recovers(&self) {
        let (world, context) = (&self.world, &self.context);
        // A code that was exchanged by a run that did not live to store the token is used up.
        let may_be_spent = !self.has_token() && world.count(TOKEN) > 0;
        // A run that was killed is mentioned once, however it ended and whoever looks.
        let was_cut_off = fs::metadata(world.data("run.lock")).is_ok_and(|lock| lock.len() > 0);
        let mut ended = healthy_run(world);
        let mentioned = ended.log.contains("The run before this one was cut off");
        assert_eq!(mentioned, was_cut_off, "{context}: {}", ended.log);
        if may_be_spent && ended.log.contains("/authorize?") {
            if ended.code == Some(1) {
                ended.assert_line(&["ERROR: ", "refused the access code", "was used before"]);
            }
            world.allow_and_paste(&ended);
            ended = healthy_run(world);
        }
        assert_eq!(ended.code, Some(0), "{context}: {}", ended.log);
        assert!(!ended.log.contains("ERROR"), "{context}: {}", ended.log);
        self.assert_unharmed();
        self.assert_done();
        let pending = &world.state()["pending_authorization"];
        assert!(pending.is_null(), "{context}: a used verifier is kept");
        let names: Vec<String> = self.files_in_data().map(|(name, _)| name).collect();
        let expected = [
            "config.json",
            "page.key",
            "plugin.log",
            "record.json",
            "run.lock",
            "state.json",
        ];
        assert_eq!(names, expected, "{context}: left in data/");
        let stale = world.log().contains("Uploading \"");
        assert!(!stale, "{context}: old progress: {}", world.log());
    }

    /// Asserts that Dropbox and the configuration are as an undisturbed run leaves them.
    pub fn assert_done(&self) {
        let (world, context) = (&self.world, &self.context);
        for path in &self.due {
            assert!(world.dropbox.file(path).is_none(), "{context}: {path}");
        }
        let files = world.dropbox.files();
        for backup in world.uisp.backups() {
            let mine = files.iter().filter(|file| id_in(&file.path) == backup.id);
            let hashes: Vec<String> = mine.map(|file| world.hash_inside(file)).collect();
            assert_eq!(hashes, [backup.content_hash()], "{context}: {}", backup.id);
        }
        let config = world.config();
        assert_eq!(config["dropboxAccessCode"].as_str(), None, "{context}");
        assert!(self.has_token(), "{context}");
        assert_ne!(config["confirmCleanup"], json!(true), "{context}");
        assert_eq!(config["encryptionProof"].as_str(), None, "{context}");
    }

    /// Names and sizes of all files in `data/`.
    fn files_in_data(&self) -> impl Iterator<Item = (String, u64)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(self.world.data(""), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{prefix}{}", entry.file_name().display());
                let about = entry.metadata().unwrap();
                if about.is_dir() {
                    folders.push((entry.path(), format!("{name}/")));
                } else {
                    files.insert(name, about.len());
                }
            }
        }
        files.into_iter()
    }
}

/// The content hash that a managed file must have; none if UISP has no such backup.
fn right_hash(world: &World, path: &str) -> Option<String> {
    world.uisp.content_hash(id_in(path))
}

/// Starts a run of a stage, and kills it when `moment` says so; false if it ended by itself before.
pub fn killed_at_gate(stage: &Stage, gate: &Gate) -> bool {
    let mut run = patient(&stage.world).spawn().unwrap();
    while !gate.wait_reached(Duration::from_millis(20)) {
        if let Some(status) = run.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{}", stage.world.log());
            return false;
        }
    }
    run.kill().unwrap();
    assert_eq!(run.wait().unwrap().code(), KILLED);
    gate.open();
    let mark = fs::metadata(stage.world.data("run.lock")).unwrap().len();
    assert!(mark > 0, "{}: nothing tells of the kill", stage.context);
    true
}
