//! A few histories through the real program, against the stand-ins: the same reference, real
//! requests, real files.
//!
//! A day passes by moving every time that the state remembers a day into the past; no clock has to
//! be deceived.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use sandbox::dropbox::{StoredFile, faults};
use sandbox::http::{Action, On};
use sandbox::uisp::{Backup, Creation};
use serde_json::{Value, json};

use crate::sealed::{asked_word, id_in};
use crate::support::World;
use sandbox::reference::{Memory, Seed, Sight, for_each_seed};

const DAY: i64 = 24 * 60;
const DAYS: usize = 25;
const HISTORIES: u64 = 4;

#[test]
fn histories_through_the_program() {
    play("histories_through_the_program", HISTORIES, false);
}

#[test]
fn histories_where_everything_is_encrypted() {
    play("histories_where_everything_is_encrypted", 3, true);
}

fn play(name: &'static str, histories: u64, is_sealed: bool) {
    let (mut deleted, mut held, mut freshly_made) = (0, 0, 0);
    for_each_seed(histories, |seed| {
        let _seed = Seed(seed, name);
        let mut history = History::new(seed, is_sealed);
        for _ in 0..DAYS {
            history.day();
        }
        // In calm weather one run brings everything up to date.
        history.run(false);
        history.world.uisp.backups().iter().for_each(|backup| {
            let is_it = |file: &StoredFile| {
                let is_its = !is_aside(&file.path) && id_in(&file.path) == backup.id;
                is_its && history.world.hash_inside(file) == backup.content_hash()
            };
            let is_there = history.world.dropbox.files().iter().any(is_it);
            assert!(is_there || backup.state != "success", "{}", history.told());
        });
        deleted += history.deleted;
        held += history.held;
        freshly_made += history.freshly_made;
    });
    eprintln!("{deleted} deletions, {held} on hold, {freshly_made} made by runs");
    let is_replay = std::env::var_os("MODEL_SEED").is_some();
    assert!(
        is_replay || (deleted >= 10 && held >= 5 && freshly_made >= 5),
        "too little happened: {deleted}, {held}, {freshly_made}"
    );
}

/// What one of the server's backups holds, and how many days ago it was made.
struct Copy {
    backups: Vec<Backup>,
    state: Option<Value>,
    memory: Memory,
    day: i64,
}

struct History {
    world: World,
    random: Rng,
    memory: Memory,
    copies: Vec<Copy>,
    foreign: BTreeMap<String, StoredFile>,
    /// Ids that the server cannot know since it was restored or lost its state.
    strangers: BTreeSet<String>,
    keep_days: i64,
    is_confirmed: bool,
    /// Each run has a fresh backup made.
    makes_fresh: bool,
    day: i64,
    made: u32,
    events: Vec<String>,
    deleted: usize,
    held: usize,
    freshly_made: usize,
}

impl History {
    fn new(seed: u64, is_sealed: bool) -> Self {
        let world = World::authorized().sealing(is_sealed);
        let creation = Creation::Succeeds { after_lists: 0 };
        world.uisp.configure(|options| options.creation = creation);
        Self {
            world,
            random: Rng::with_seed(seed),
            memory: Memory::default(),
            copies: Vec::new(),
            foreign: BTreeMap::new(),
            strangers: BTreeSet::new(),
            keep_days: 0,
            is_confirmed: false,
            makes_fresh: false,
            day: 0,
            made: 0,
            events: Vec::new(),
            deleted: 0,
            held: 0,
            freshly_made: 0,
        }
    }

    fn told(&self) -> String {
        format!("{}\n\n{}", self.events.join("\n"), self.world.log())
    }

    fn day(&mut self) {
        self.day += 1;
        let state = self.state().map(|state| in_the_past(&state, 1));
        self.put_state(state.as_ref());
        shift(&mut self.memory, 1);
        let event = self.random.u8(..13);
        self.events.push(format!("day {}: event {event}", self.day));
        match event {
            0 => self.restore(),
            1 => {
                self.lose_word();
                self.put_state(None);
                self.memory = Memory::default();
                self.strangers = self.managed().into_values().collect();
            }
            2 => {
                self.keep_days = self.random.i64(0..4);
                self.world
                    .configure(json!({"keepDeletedDays": self.keep_days.to_string()}));
            }
            3 => {
                self.is_confirmed = true;
                self.world.configure(json!({"confirmCleanup": true}));
            }
            4 | 5 => self.prune(0.6),
            6 => {
                let path = format!("/unms-backup-20260101-0000_{}.unms.part", self.day);
                let file = self.world.dropbox.put(&path, b"somebody's own");
                self.foreign.insert(path, file);
            }
            7 => {
                self.makes_fresh = !self.makes_fresh;
                self.world
                    .configure(json!({"createBackup": self.makes_fresh}));
            }
            _ => self.prune(0.1),
        }
        for _ in 0..self.random.u32(0..4) {
            self.made += 1;
            self.world.uisp.add(Backup::numbered(self.made, 1000));
        }
        self.copies.push(Copy {
            backups: self.world.uisp.backups(),
            state: self.state(),
            memory: self.memory.clone(),
            day: self.day,
        });
        let is_stormy = self.random.u8(..4) == 0;
        self.run(is_stormy);
    }

    fn prune(&mut self, share: f64) {
        for backup in self.world.uisp.backups() {
            if self.random.f64() < share {
                self.world.uisp.remove(&backup.id);
            }
        }
    }

    fn restore(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let copy = &self.copies[self.random.usize(..self.copies.len())];
        let age = self.day - copy.day;
        let state = copy.state.as_ref().map(|state| in_the_past(state, age));
        self.memory = copy.memory.clone();
        shift(&mut self.memory, age);
        self.lose_word();
        self.world.uisp.clear();
        copy.backups
            .iter()
            .for_each(|backup| self.world.uisp.add(backup.clone()));
        self.put_state(state.as_ref());
        let met = &self.memory.met;
        let ids = self.managed().into_values();
        self.strangers = ids.filter(|id| !met.contains_key(id)).collect();
    }

    /// With the memory goes the word that was pasted for it.
    fn lose_word(&self) {
        self.world.configure(json!({"encryptionProof": null}));
    }

    /// Names and ids of the managed files.
    fn managed(&self) -> BTreeMap<String, String> {
        let ending = match self.world.owner {
            Some(_) => ".unms.age",
            None => ".unms",
        };
        let mut files = self.world.dropbox.paths();
        files.retain(|path| path.ends_with(ending) && !is_aside(path));
        let with_id = |path: String| (path.clone(), id_in(&path).to_owned());
        files.into_iter().map(with_id).collect()
    }

    /// Whether the owner has shown, or is about to show, that what is encrypted can be opened.
    fn is_key_proved(&self) -> bool {
        let is_given = self.state().map(|state| state["proof"]["is_given"].clone());
        let is_pasted = self.world.config()["encryptionProof"].is_string();
        self.world.owner.is_none() || is_pasted || is_given == Some(json!(true))
    }

    fn run(&mut self, is_stormy: bool) {
        let listed = self.world.uisp.backups();
        let before = self.managed();
        self.strangers
            .retain(|id| !listed.iter().any(|backup| backup.id == *id));
        let mirrored = self.state().map(|state| state["mirrored"].clone());
        let mirrored = mirrored.unwrap_or_default();
        let contents: BTreeMap<String, String> = self
            .world
            .dropbox
            .files()
            .into_iter()
            .map(|file| {
                let known = &mirrored[before.get(&file.path).map_or("", String::as_str)];
                let is_doubtful = known["is_being_deleted"] == json!(true);
                match is_doubtful && known["rev"] != json!(file.rev) {
                    // What is there again after its deletion was ordered is somebody's.
                    true => (file.path, "brought back".to_owned()),
                    false => (file.path, file.content_hash),
                }
            })
            .collect();
        let now = Utc::now().timestamp() / 60;
        let is_key_proved = self.is_key_proved();
        if is_stormy {
            let route = self.random.choice([
                "files/upload_session/*",
                "files/delete_batch*",
                "nms/backups/*",
            ]);
            let nth = self.random.u64(1..4);
            let on = On::from_nth(route.unwrap(), nth);
            let action = self
                .random
                .choice([Action::AnswerLost, faults::server_error()])
                .unwrap();
            self.world.dropbox.inject(on.clone(), action.clone());
            self.world.uisp.inject(on, action);
        }
        let ended = self.world.run();
        self.world.dropbox.traffic().clear_faults();
        self.world.uisp.traffic().clear_faults();
        if let Some(owner) = &self.world.owner
            && asked_word(&ended.log).is_some()
        {
            self.world
                .configure(json!({"encryptionProof": owner.word(&ended)}));
        }
        // The run itself may have had one made.
        let listed_then = self.world.uisp.backups();
        self.freshly_made += listed_then.len() - listed.len();
        let sight = Sight {
            list: listed_then
                .iter()
                .map(|backup| (backup.id.clone(), true))
                .collect(),
            has_bad_rows: false,
            files: before.clone(),
            contents,
            keep: self.keep_days * DAY,
            is_confirmed: self.is_confirmed,
            is_key_proved,
            now,
        };
        let verdict = self.memory.judge(&sight);
        // What a run that failed has stored and found equal is for the program to say.
        let mirrored = self.state().map(|state| state["mirrored"].clone());
        let mirrored = mirrored
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        self.memory.verified = mirrored
            .map(|(id, file)| {
                (
                    id.clone(),
                    file["content_hash"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        self.held += verdict.newly_held;
        let after = self.managed();
        let gone: BTreeSet<String> = before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .cloned()
            .collect();
        assert!(
            gone.is_subset(&verdict.goes),
            "{gone:?} went, {verdict:?}\n{}",
            self.told()
        );
        self.deleted += gone.len();
        for name in &gone {
            let id = &before[name];
            assert!(
                !self.strangers.contains(id),
                "{id} was unknown\n{}",
                self.told()
            );
            self.memory.held.remove(id);
        }
        for (path, file) in &self.foreign {
            assert_eq!(
                self.world.dropbox.file(path).as_ref(),
                Some(file),
                "{}",
                self.told()
            );
        }
        if is_stormy && ended.code == Some(1) {
            // What is on hold is what the program says: deletions may have been done in part.
            return;
        }
        assert_eq!(ended.code, Some(0), "{}", self.told());
        assert_eq!(gone, verdict.goes, "{}", self.told());
        self.is_confirmed = self.world.config()["confirmCleanup"] == json!(true);
        let on_hold = self
            .state()
            .map(|state| state["on_hold"].clone())
            .unwrap_or_default();
        assert_eq!(on_hold, json!(self.memory.held), "{}", self.told());
    }

    fn state(&self) -> Option<Value> {
        let content = fs::read(self.world.data("state.json")).ok()?;
        Some(serde_json::from_slice(&content).unwrap())
    }

    fn put_state(&self, state: Option<&Value>) {
        let path = self.world.data("state.json");
        match state {
            Some(state) => fs::write(path, state.to_string()).unwrap(),
            None => {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn is_aside(path: &str) -> bool {
    path.contains(" (set aside ")
}

fn shift(memory: &mut Memory, days: i64) {
    for since in memory.met.values_mut().flatten() {
        *since -= days * DAY;
    }
    for listed in memory.last_listed.values_mut() {
        *listed -= days * DAY;
    }
}

/// The same state, with every time in it so many days earlier.
fn in_the_past(state: &Value, days: i64) -> Value {
    match state {
        Value::String(text) => match text.parse::<DateTime<Utc>>() {
            Ok(time) => json!(time - TimeDelta::days(days)),
            Err(_) => state.clone(),
        },
        Value::Array(items) => items.iter().map(|item| in_the_past(item, days)).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), in_the_past(value, days)));
            Value::Object(fields.collect())
        }
        _ => state.clone(),
    }
}
