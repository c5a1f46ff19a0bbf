//! Random histories of folders through the real program: files that are linked, badly named, refused, unreadable,
//! empty, half written, moved, rewritten, larger than a run, and files that become folders; two machines in one folder
//! of Dropbox, lost memories, people who change, delete and bring back, retention that is changed, storms, runs that
//! are stopped or killed; machines that begin to encrypt, cease to, change their keys, and prove them or not. Dropbox's clock
//! is days away from the machine's. What must never happen is told from the history alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use age::x25519::Identity;
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use sandbox::dropbox::faults;
use sandbox::http::{Action, Gate, On};
use sandbox::reference::{Seed, for_each_seed};
use serde_json::{Value, json};

use super::machines::Machine;
use crate::folder::users;
use crate::folder::world::FolderWorld;
use crate::sealed;
use crate::support::{Ended, FILES_AGE, PATIENCE};

const DAYS: u64 = 16;
const HISTORIES: u64 = 16;
const HOUR: Duration = Duration::from_secs(3600);
/// Three blocks, so that it can be stopped between them.
const LARGE: usize = 9 * 1024 * 1024;
/// Keys that somebody may encrypt to.
const KEYS: usize = 3;
/// So many runs in a row may send something of which nothing arrives, at most.
const VAIN_MAX: u32 = 8;

#[test]
fn no_history_of_a_folder_loses_a_backup_or_calls_a_gap_well() {
    let mut counts = Counts::default();
    for_each_seed(HISTORIES, |seed| {
        let _seed = Seed(seed, "no_history_of_a_folder");
        let world = FolderWorld::new();
        let mut history = History::new(&world, seed);
        for day in 0..DAYS {
            history.day(day);
        }
        history.calm_down();
        counts.add(&history.counts);
    });
    eprintln!("{counts:?}");
    if std::env::var_os("MODEL_SEED").is_none() {
        counts.assert_everything_happened();
    }
}

/// How often what matters happened.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn assert_everything_happened(&self) {
        for what in [
            "well",
            "not well",
            "failed",
            "deleted",
            "replaced",
            "set aside",
            "linked",
            "badly named",
            "refused",
            "empty",
            "young",
            "unreadable",
            "large",
            "turned over",
            "killed",
            "stopped",
            "retained",
            "memory lost",
            "changed by somebody",
            "brought back",
            "encrypts",
            "other key",
            "encrypts no more",
            "proved",
            "wrong word",
            "sealed",
            "sealed anew",
            "superseded",
            "kept for its key",
        ] {
            assert!(
                self.0.contains_key(what),
                "never happened: {what}: {self:?}"
            );
        }
    }
}

/// Why a file of the source cannot be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Ready,
    /// Written just now.
    Young,
    /// What was in it is lost.
    Empty,
    /// Moved to another disk; a link is in its place.
    Linked,
    /// Its name ends in a space.
    BadlyNamed,
    /// The program may not read it.
    Unreadable,
    /// Dropbox takes no file of its name.
    Refused,
}

/// A file in Dropbox.
#[derive(Clone, PartialEq, Eq)]
struct Stored {
    bytes: Vec<u8>,
    /// What is in it.
    content: String,
    /// The key that opens it, if one is needed.
    key: Option<usize>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.40?} for {:?}", self.content, self.key)
    }
}

#[derive(Clone, Debug)]
struct Entry {
    content: String,
    condition: Condition,
}

/// A machine, what its folder holds, and what it can know.
struct Place<'a> {
    machine: Machine<'a>,
    entries: BTreeMap<String, Entry>,
    /// Contents that it has stored at a path, or found equal to its own there, since it began to remember.
    own: BTreeSet<(String, String)>,
    /// The admin's word was given. It is for what was on hold then, however late that goes.
    is_ticked: bool,
    /// For so many days a copy stays whose original is gone.
    keep_days: u32,
    /// When what is not in the folder any more went.
    gone_since: BTreeMap<String, Duration>,
    /// So many runs in a row have sent something of which nothing has arrived.
    vain: u32,
    /// What it encrypts to, and whether the word for that was given, as far as it remembers.
    key: Option<usize>,
    is_proved: bool,
    /// Keys whose words were given at any time: their owner can open what is for them.
    owned: BTreeSet<usize>,
    /// Since when a copy that is not encrypted has one beside it that is.
    taken_over: BTreeMap<String, Duration>,
    /// What its last run has logged.
    log: String,
}

impl Place<'_> {
    /// Whether whoever runs it can open a file, as far as was shown.
    fn can_open(&self, file: &Stored) -> bool {
        file.key.is_none_or(|key| self.owned.contains(&key))
    }

    /// The same for what it stores now.
    fn can_open_new(&self) -> bool {
        self.key.is_none_or(|key| self.owned.contains(&key))
    }
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    /// Requests fail.
    Storm,
    /// It is asked to stop.
    Stopped,
    /// It is killed.
    Killed,
}

/// Where a copy was that was set aside because it was replaced.
fn original_of(path: &str) -> Option<String> {
    let (stem, rest) = path.split_once(" (replaced ")?;
    let (_, ending) = rest.split_once(')')?;
    Some(format!("{stem}{ending}"))
}

struct History<'a> {
    world: &'a FolderWorld,
    places: Vec<Place<'a>>,
    random: Rng,
    made: u64,
    /// How far Dropbox's clock has been put forward.
    clock: Duration,
    elsewhere: tempfile::TempDir,
    /// What the program deleted, and people may bring back.
    trash: Vec<(String, Vec<u8>)>,
    keys: Vec<Identity>,
    events: Vec<String>,
    counts: Counts,
}

impl<'a> History<'a> {
    fn new(world: &'a FolderWorld, seed: u64) -> Self {
        let mut history = Self {
            world,
            places: vec![],
            random: Rng::with_seed(seed),
            made: 0,
            clock: Duration::ZERO,
            elsewhere: tempfile::tempdir().unwrap(),
            trash: vec![],
            keys: (0..KEYS).map(|_| Identity::generate()).collect(),
            events: vec![],
            counts: Counts::default(),
        };
        for _ in 0..=history.random.usize(..2) {
            history.places.push(Place {
                machine: Machine::beside(world),
                entries: BTreeMap::new(),
                own: BTreeSet::new(),
                is_ticked: false,
                keep_days: 0,
                gone_since: BTreeMap::new(),
                vain: 0,
                key: None,
                is_proved: false,
                owned: BTreeSet::new(),
                taken_over: BTreeMap::new(),
                log: String::new(),
            });
        }
        for place in 0..history.places.len() {
            history.change_retention(place);
            for _ in 0..5 {
                history.write(place, Condition::Ready);
            }
        }
        history
    }

    fn tell(&mut self, event: String) {
        self.events.push(event);
    }

    fn told(&self) -> String {
        let tail = self.events.len().saturating_sub(30);
        self.events[tail..].join("\n")
    }

    // ---- what happens ----

    fn day(&mut self, day: u64) {
        let hours = self.random.u32(1..40);
        self.let_pass(HOUR * hours);
        for place in 0..self.places.len() {
            self.tell(format!("-- day {day}, machine {place}"));
            for _ in 0..self.random.usize(1..4) {
                self.disturb(place);
            }
            let weather = match self.random.u8(..12) {
                0 | 1 => Weather::Storm,
                2 | 3 => Weather::Stopped,
                4 | 5 => Weather::Killed,
                _ => Weather::Calm,
            };
            self.run(place, weather);
        }
    }

    fn let_pass(&mut self, time: Duration) {
        self.world.dropbox.advance_clock(time);
        self.clock += time;
    }

    fn disturb(&mut self, place: usize) {
        match self.random.u8(..32) {
            0..=4 => self.write(place, Condition::Ready),
            5 => self.write(place, Condition::Young),
            6 => self.write(place, Condition::Empty),
            7 => self.write(place, Condition::Refused),
            8 => self.spoil(place, Condition::Linked),
            9 => self.spoil(place, Condition::BadlyNamed),
            10 | 11 => self.heal(place),
            12..=14 => self.remove(place, 1),
            15 => self.remove(place, 3),
            16 => self.move_one(place),
            17 | 22 => self.mistreat_the_memory(place),
            18 => self.change_in_dropbox(),
            19 => self.spoil(place, Condition::Unreadable),
            20 => self.turn_over(place),
            21 | 23 => self.change_retention(place),
            24..=26 => self.change_key(place),
            27..=29 => self.prove(place),
            _ => self.bring_back(),
        }
    }

    /// A content that was never there before, often of the same length as others.
    fn content(&mut self) -> String {
        self.made += 1;
        let padding = match self.random.u8(..20) {
            0 => LARGE,
            1..=5 => 30,
            _ => 4,
        };
        if padding == LARGE {
            self.counts.note("large");
        }
        format!("{:06} {}", self.made, "x".repeat(padding))
    }

    fn path(&self, place: usize, name: &str) -> PathBuf {
        self.places[place].machine.path(name)
    }

    fn write(&mut self, place: usize, condition: Condition) {
        let number = self.random.u8(..12);
        let name = match self.random.u8(..4) {
            0 => format!("folder/{number}"),
            1 => format!("folder/deep/{number}"),
            _ => format!("dump-{number}"),
        };
        let name = match condition {
            Condition::Refused => format!("\u{1f680}-{number}"),
            _ => name,
        };
        // A file that is not ready is not written upon a link.
        let entry = self.places[place].entries.get(&name);
        let is_in_the_way = self.path(place, &name).is_dir();
        if is_in_the_way || entry.is_some_and(|entry| entry.condition != Condition::Ready) {
            return;
        }
        let content = self.content();
        let written = match condition {
            Condition::Empty => "",
            _ => &content,
        };
        let machine = &self.places[place].machine;
        machine.write_at(&name, written, self.time(condition));
        self.note_condition(condition);
        self.tell(format!("writes {name}: {content:.40?}, {condition:?}"));
        self.put(place, name, Entry { content, condition });
    }

    fn put(&mut self, place: usize, name: String, entry: Entry) {
        let place = &mut self.places[place];
        place.gone_since.remove(&name);
        place.entries.insert(name, entry);
    }

    fn take(&mut self, place: usize, name: &str) -> Entry {
        let place = &mut self.places[place];
        place.gone_since.insert(name.to_owned(), self.clock);
        place.entries.remove(name).unwrap()
    }

    /// When a file that is written now was changed last: at rest for days, each a little younger than the last.
    fn time(&self, condition: Condition) -> SystemTime {
        match condition {
            Condition::Young => SystemTime::now() + FILES_AGE,
            _ => SystemTime::now() - HOUR * 72 + Duration::from_secs(self.made),
        }
    }

    fn note_condition(&mut self, condition: Condition) {
        self.counts.note(match condition {
            Condition::Ready => return,
            Condition::Young => "young",
            Condition::Empty => "empty",
            Condition::Linked => "linked",
            Condition::BadlyNamed => "badly named",
            Condition::Unreadable => "unreadable",
            Condition::Refused => "refused",
        });
    }

    fn some_entry(&mut self, place: usize, condition: Option<Condition>) -> Option<String> {
        let entries = self.places[place].entries.iter();
        let fits = |entry: &Entry| match condition {
            Some(condition) => entry.condition == condition,
            None => entry.condition != Condition::Ready,
        };
        let names: Vec<String> = entries
            .filter(|(_, entry)| fits(entry))
            .map(|(name, _)| name.clone())
            .collect();
        self.random.choice(names)
    }

    fn spoil(&mut self, place: usize, condition: Condition) {
        let Some(name) = self.some_entry(place, Some(Condition::Ready)) else {
            return;
        };
        let path = self.path(place, &name);
        match condition {
            Condition::Linked => {
                self.made += 1;
                let target = self.elsewhere.path().join(self.made.to_string());
                fs::rename(&path, &target).unwrap();
                symlink(target, path).unwrap();
            }
            Condition::Unreadable => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            }
            _ => fs::rename(&path, self.path(place, &format!("{name} "))).unwrap(),
        }
        self.note_condition(condition);
        self.tell(format!("{name} is {condition:?} now"));
        self.places[place].entries.get_mut(&name).unwrap().condition = condition;
    }

    fn heal(&mut self, place: usize) {
        if let Some(name) = self.some_entry(place, None) {
            self.heal_one(place, &name);
        }
    }

    fn heal_one(&mut self, place: usize, name: &str) {
        let path = self.path(place, name);
        let Entry { content, condition } = self.places[place].entries[name].clone();
        match condition {
            Condition::Ready => {}
            Condition::Linked => {
                let target = fs::read_link(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::rename(target, path).unwrap();
            }
            Condition::BadlyNamed => {
                fs::rename(self.path(place, &format!("{name} ")), path).unwrap();
            }
            Condition::Unreadable => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }
            Condition::Young | Condition::Empty => {
                self.made += 1;
                let time = self.time(Condition::Ready);
                self.places[place].machine.write_at(name, &content, time);
            }
            Condition::Refused => {
                let entry = self.take(place, name);
                let plain = name.replace('\u{1f680}', "renamed");
                fs::rename(path, self.path(place, &plain)).unwrap();
                let entry = Entry {
                    condition: Condition::Ready,
                    ..entry
                };
                self.put(place, plain, entry);
                self.tell(format!("{name} is renamed"));
                return;
            }
        }
        self.tell(format!("{name} is as it was"));
        self.places[place].entries.get_mut(name).unwrap().condition = Condition::Ready;
    }

    fn remove(&mut self, place: usize, count: usize) {
        for _ in 0..count {
            let Some(name) = self.some_entry(place, Some(Condition::Ready)) else {
                return;
            };
            fs::remove_file(self.path(place, &name)).unwrap();
            self.take(place, &name);
            self.tell(format!("{name} is removed"));
        }
    }

    fn move_one(&mut self, place: usize) {
        let Some(name) = self.some_entry(place, Some(Condition::Ready)) else {
            return;
        };
        self.made += 1;
        let new = format!("moved-{}", self.made);
        fs::rename(self.path(place, &name), self.path(place, &new)).unwrap();
        let entry = self.take(place, &name);
        self.put(place, new.clone(), entry);
        self.tell(format!("{name} is {new} now"));
    }

    /// A file becomes a folder with one file, or the reverse.
    fn turn_over(&mut self, place: usize) {
        let Some(name) = self.some_entry(place, Some(Condition::Ready)) else {
            return;
        };
        let new = match name.strip_suffix("/inner") {
            Some(folder) => folder.to_owned(),
            None => format!("{name}/inner"),
        };
        let (old, path) = (self.path(place, &name), self.path(place, &new));
        if self.places[place].entries.contains_key(&new) {
            return;
        }
        fs::remove_file(old).unwrap();
        self.take(place, &name);
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
        let content = self.content();
        let time = self.time(Condition::Ready);
        self.places[place].machine.write_at(&new, &content, time);
        self.tell(format!("{name} becomes {new}: {content:.40?}"));
        self.counts.note("turned over");
        let condition = Condition::Ready;
        self.put(place, new, Entry { content, condition });
    }

    fn change_retention(&mut self, place: usize) {
        let days = self.random.choice([0, 0, 0, 3]).unwrap();
        let place = &mut self.places[place];
        place.keep_days = days;
        let fields = json!({"keepDeletedDays": days.to_string()});
        place.machine.configure(&fields);
        self.tell(format!("copies stay {days} days"));
    }

    /// Encrypts to a key, to another one, or no more.
    fn change_key(&mut self, place: usize) {
        let before = self.places[place].key;
        let is_off = before.is_some() && self.random.u8(..3) == 0;
        let key = (!is_off).then(|| self.random.usize(..KEYS));
        if key == before {
            return;
        }
        let recipient = key.map(|key| self.keys[key].to_public().to_string());
        let place = &mut self.places[place];
        place.machine.configure(&json!({"encryptTo": recipient}));
        // The word of one key is remembered while nothing is encrypted.
        if key.is_some() {
            place.is_proved = false;
        }
        place.key = key;
        self.counts.note(match (before, key) {
            (_, None) => "encrypts no more",
            (None, _) => "encrypts",
            _ => "other key",
        });
        self.tell(format!("encrypts to {key:?}"));
    }

    /// Gives the word that the last run asked for, or another one.
    fn prove(&mut self, place: usize) {
        let place = &mut self.places[place];
        let Some(key) = place.key else {
            return;
        };
        let asked = sealed::asked_word(&place.log);
        let word = asked.and_then(|sealed| age::decrypt(&self.keys[key], &sealed).ok());
        let word = word.map_or("nonsense".into(), |word| String::from_utf8(word).unwrap());
        place
            .machine
            .configure(&json!({"encryptionProof": word.trim()}));
        self.tell(format!("gives the word {:?}", word.trim()));
    }

    fn mistreat_the_memory(&mut self, place: usize) {
        let place = &mut self.places[place];
        match self.random.u8(..4) {
            0 | 1 => {
                let _ = fs::remove_file(place.machine.data("state.json"));
                place.own.clear();
                place.is_ticked = false;
                place.is_proved = false;
                self.counts.note("memory lost");
                self.events.push("the memory is lost".into());
            }
            2 => {
                let _ = fs::remove_file(place.machine.data("record.json"));
            }
            _ => {
                place.is_ticked = true;
                place.machine.configure(&json!({"confirmCleanup": true}));
                self.events.push("the box is ticked".into());
            }
        }
    }

    /// Somebody writes into a copy, or deletes one by hand.
    fn change_in_dropbox(&mut self) {
        let Some(path) = self.random.choice(self.world.dropbox.paths()) else {
            return;
        };
        if self.random.bool() {
            let content = format!("somebody's {}", self.content());
            self.world.dropbox.put(&path, content.as_bytes());
            self.counts.note("changed by somebody");
            self.tell(format!("{path} is changed in Dropbox to {content:.40?}"));
        } else {
            self.world.dropbox.remove(&path);
            self.tell(format!("{path} is removed in Dropbox"));
        }
    }

    fn bring_back(&mut self) {
        let Some((path, bytes)) = self.trash.pop() else {
            return;
        };
        let is_in_the_way =
            |other: &String| is_at_or_below(other, &path) || is_at_or_below(&path, other);
        if !self.world.dropbox.paths().iter().any(is_in_the_way) {
            self.world.dropbox.put(&path, &bytes);
            self.counts.note("brought back");
            self.tell(format!("{path} is brought back"));
        }
    }

    // ---- a run, and what must hold ----

    fn stored(&self) -> BTreeMap<String, Stored> {
        let stored = |path: String| {
            // Perhaps deleted just now: what a run has ordered may come after its end.
            let bytes = self.world.dropbox.read(&path)?;
            let opens = |key: &usize| age::decrypt(&self.keys[*key], &bytes).ok();
            let opened = (0..KEYS).find_map(|key| Some((opens(&key)?, Some(key))));
            let (content, key) = opened.unwrap_or_else(|| (bytes.clone(), None));
            let content = String::from_utf8(content).unwrap();
            let file = Stored {
                bytes,
                content,
                key,
            };
            Some((path, file))
        };
        self.world
            .dropbox
            .paths()
            .into_iter()
            .filter_map(stored)
            .collect()
    }

    fn run(&mut self, index: usize, weather: Weather) -> bool {
        let refused: BTreeSet<String> = self
            .places
            .iter()
            .flat_map(|place| {
                place
                    .entries
                    .keys()
                    .filter(|name| name.starts_with('\u{1f680}'))
                    .cloned()
            })
            .collect();
        for name in refused {
            for path in [format!("/{name}"), format!("/{name}.age")] {
                let error = json!({".tag": "path", "reason": {".tag": "malformed_path"}, "upload_session_id": "x"});
                self.world
                    .dropbox
                    .refuse_commits(Some(&path), error, u32::MAX);
            }
        }
        // What is half written goes on being written.
        for (name, entry) in &self.places[index].entries {
            if entry.condition == Condition::Young {
                let time = self.time(Condition::Young);
                self.places[index]
                    .machine
                    .write_at(name, &entry.content, time);
            }
        }
        let before = self.stored();
        let sent_before = self.sent();
        let ended = self.play(index, weather);
        let is_sent = self.sent() > sent_before;
        let after = self.stored();
        let is_over = ended.code.is_some();
        let is_well = is_over && {
            let record: Value = self.places[index].machine.record();
            record["runs"].as_array().unwrap().last().unwrap()["is_well"] == json!(true)
        };
        self.tell(format!(
            "runs, {weather:?}, ends with {:?}, {}",
            ended.code,
            if is_well { "well" } else { "not well" }
        ));
        self.counts.note(match (ended.code, is_well) {
            (Some(0), true) => "well",
            (Some(0), false) => "not well",
            (None, _) => "killed",
            _ => "failed",
        });
        if is_over && weather == Weather::Stopped && ended.log.contains("asked to stop") {
            self.counts.note("stopped");
        }
        self.note_word(index, &ended);
        self.assert_nothing_is_lost(index, &before, &after, &ended);
        let is_new = |(path, file): &(&String, &Stored)| {
            before.get(*path) != Some(*file) && !path.contains(" (")
        };
        // What an earlier run has ordered may arrive in this one.
        let says =
            |verb: &str, path: &str| ended.log.contains(&format!("{verb} \"{}\" (", &path[1..]));
        let is_of_this_run =
            |(path, _): &(&String, &Stored)| says("Uploaded", path) || says("Replaced", path);
        for (path, file) in after.iter().filter(is_new).filter(is_of_this_run) {
            let is_as_it_should = self.places[index].key == file.key;
            assert!(
                is_as_it_should,
                "{path} was stored: {file:?}\n{}\n{}",
                self.told(),
                ended.log
            );
            if let Some(before) = before.get(path).filter(|_| file.key.is_some()) {
                let is_anew = before.key != file.key && before.content == file.content;
                self.counts
                    .note(if is_anew { "sealed anew" } else { "sealed" });
            }
        }
        let place = &mut self.places[index];
        if after.iter().any(|file| is_new(&file)) {
            place.vain = 0;
        } else if is_sent && matches!(weather, Weather::Calm | Weather::Stopped) {
            place.vain += 1;
        }
        let is_vain = place.vain > VAIN_MAX;
        assert!(!is_vain, "nothing arrives\n{}\n{}", self.told(), ended.log);
        let (clock, place) = (self.clock, &mut self.places[index]);
        for (path, file) in after.iter().filter(|(path, _)| !before.contains_key(*path)) {
            if path.contains(" (replaced ") {
                place.own.insert((path.clone(), file.content.clone()));
                place.gone_since.insert(plain(path)[1..].to_owned(), clock);
                self.counts.note("retained");
            }
        }
        if is_well {
            self.assert_everything_is_there(index, &after, &ended);
        }
        let place = &mut self.places[index];
        for (name, entry) in &place.entries {
            for path in [format!("/{name}"), format!("/{name}.age")] {
                let is_whole = entry.condition == Condition::Ready;
                let is_it = |file: &Stored| file.content == entry.content;
                if is_whole && after.get(&path).is_some_and(is_it) {
                    place.own.insert((path, entry.content.clone()));
                }
            }
        }
        let has_both = |path: &String| after.contains_key(&format!("{path}.age"));
        place
            .taken_over
            .retain(|path, _| after.contains_key(path) && has_both(path));
        for path in after.keys().filter(|path| has_both(path)) {
            place.taken_over.entry(path.clone()).or_insert(clock);
        }
        // Nothing is on hold for a run that was stopped before it had read the lists.
        let has_read = !ended.log.contains("nothing was mirrored");
        assert!(
            ended.code != Some(0) || !has_read || !place.machine.is_ticked(),
            "{}",
            ended.log
        );
        is_well
    }

    /// What a run says about the word that was given.
    fn note_word(&mut self, index: usize, ended: &Ended) {
        let place = &mut self.places[index];
        place.log.clone_from(&ended.log);
        if ended
            .log
            .contains("is right: the encrypted copies can be opened")
        {
            place.is_proved = true;
            place.owned.extend(place.key);
            self.counts.note("proved");
        } else if ended.log.contains("is not the one that was encrypted") {
            self.counts.note("wrong word");
        }
    }

    /// Requests so far that carried content.
    fn sent(&self) -> usize {
        let traffic = self.world.dropbox.traffic();
        ["start", "append_v2"]
            .map(|route| traffic.count(&format!("files/upload_session/{route}")))
            .iter()
            .sum()
    }

    /// One run, a minute after what came before.
    fn play(&mut self, index: usize, weather: Weather) -> Ended {
        self.let_pass(Duration::from_secs(60));
        let routes: &[&str] = match weather {
            Weather::Calm => &[],
            Weather::Storm => &[
                "files/upload_session/*",
                "files/delete_batch*",
                "files/copy_v2",
            ],
            Weather::Killed => &[
                "files/upload_session/*",
                "files/delete_batch*",
                "files/copy_v2",
                "files/*",
                "files/*",
            ],
            Weather::Stopped => &["files/upload_session/append_v2", "files/*"],
        };
        let gate = Gate::new();
        if let Some(route) = self.random.choice(routes) {
            let nth = self.random.u64(1..4);
            let (on, action) = match weather {
                Weather::Storm => {
                    let action = [Action::AnswerLost, faults::server_error()];
                    let action = self.random.choice(action).unwrap();
                    (On::from_nth(route, nth), action)
                }
                _ => {
                    let hold = [Action::Hold(gate.clone()), Action::HoldAnswer(gate.clone())];
                    (On::nth(route, nth), self.random.choice(hold).unwrap())
                }
            };
            self.world.dropbox.inject(on, action);
        }
        let machine = &self.places[index].machine;
        users::give(&machine.path(""));
        let log = || fs::read_to_string(machine.data("plugin.log")).unwrap_or_default();
        let before = log();
        let plain = machine.command();
        let mut command = users::lowered(plain, machine.root(), self.world.ca.pem_path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        if matches!(weather, Weather::Stopped | Weather::Killed) && is_reached(&gate, &mut run) {
            let pid = Pid::from_child(&run);
            let signal = match weather {
                Weather::Killed => Signal::KILL,
                _ => Signal::TERM,
            };
            kill_process(pid, signal).unwrap();
        }
        let ended = run.wait().unwrap();
        gate.open();
        self.world.dropbox.traffic().clear_faults();
        let after = log();
        Ended {
            code: ended.code(),
            log: after.get(before.len()..).unwrap_or(&after).to_owned(),
        }
    }

    /// A copy leaves Dropbox only if the machine knew it, and its source has nothing that could be it.
    fn assert_nothing_is_lost(
        &mut self,
        index: usize,
        before: &BTreeMap<String, Stored>,
        after: &BTreeMap<String, Stored>,
        ended: &Ended,
    ) {
        let place = &self.places[index];
        let told = || format!("{}\n{}", self.told(), ended.log);
        let (mut deleted, mut set_aside, mut replaced) = (BTreeSet::new(), 0, 0);
        let mut superseded = 0;
        for (path, file) in before {
            let (content, name) = (&file.content, &plain(path)[1..]);
            let now = after.get(path);
            // Another one holds the same for whoever could open this one.
            let is_as_good = |there: &Stored| {
                there.content == *content && (there.key == file.key || place.can_open(there))
            };
            if now.is_some_and(is_as_good) {
                continue;
            }
            if after.values().any(is_as_good) {
                match now {
                    None if file.key.is_none() && !path.contains(" (") => superseded += 1,
                    _ => set_aside += 1,
                }
                continue;
            }
            // What was set aside before the memory was lost is the second copy of what is replaced since.
            let original = original_of(path).unwrap_or_else(|| path.clone());
            let is_own = [path.clone(), original]
                .into_iter()
                .any(|path| place.own.contains(&(path, content.clone())));
            assert!(
                is_own,
                "{path}, {content:?}, was not this machine's to lose\n{}",
                told()
            );
            let doubtful = place.entries.iter().find(|(_, entry)| {
                entry.content == *content
                    && !matches!(entry.condition, Condition::Ready | Condition::Empty)
            });
            assert!(doubtful.is_none(), "{path} is {doubtful:?}\n{}", told());
            match (place.entries.get(name), now) {
                (Some(entry), Some(now)) => {
                    let is_new =
                        entry.condition == Condition::Ready && now.content == entry.content;
                    let is_last = !place.can_open(now) && (file.key != now.key);
                    assert!(!is_last, "{path} became {now:?}\n{}", told());
                    assert!(
                        is_new && place.keep_days == 0,
                        "{path} was replaced by {now:?} for {entry:?}\n{}",
                        told()
                    );
                    replaced += 1;
                }
                (Some(entry), None) => {
                    let sealed = after.get(&format!("{path}.age"));
                    let is_there = sealed.is_some_and(|file| place.can_open(file));
                    let days = Duration::from_secs(24 * 3600) * place.keep_days;
                    let since = place.taken_over.get(path).copied();
                    let is_due = since.is_some_and(|since| self.clock + HOUR >= since + days);
                    let may_go = is_there && (is_due || days.is_zero()) && place.can_open_new();
                    assert!(may_go, "{path} is gone for {entry:?}\n{}", told());
                    superseded += 1;
                }
                (None, Some(now)) => panic!("{path} became {now:?}\n{}", told()),
                (None, None) => {
                    let since = place.gone_since.get(name).copied().unwrap_or_default();
                    let days = Duration::from_secs(24 * 3600) * place.keep_days;
                    // The real clock goes on beside the one that is put forward.
                    let is_due = self.clock + HOUR >= since + days;
                    assert!(is_due, "{path} went too early\n{}", told());
                    let may_go = place.can_open_new() || file.key == place.key;
                    assert!(may_go, "{path} went, for another key\n{}", told());
                    deleted.insert(name);
                }
            }
        }
        let deleted = deleted.len();
        if deleted > 0 {
            let is_awaited = |(name, entry): (&String, &Entry)| {
                let mut there = before.keys().map(|path| &plain(path)[1..]);
                entry.condition == Condition::Young && !there.any(|there| there == name)
            };
            let awaited = place.entries.iter().find(|entry| is_awaited(*entry));
            assert!(
                awaited.is_none(),
                "deleted although {awaited:?} is to come\n{}",
                told()
            );
            let is_own = |(path, file): &(&String, &Stored)| {
                let is_stored = place.own.contains(&((*path).clone(), file.content.clone()));
                is_stored || place.entries.contains_key(&plain(path)[1..])
            };
            let left = after.iter().filter(is_own).map(|(path, _)| plain(path));
            let left = left.collect::<BTreeSet<_>>().len();
            let is_too_much = left == 0 || deleted > 1 && deleted > left;
            assert!(
                place.is_ticked || !is_too_much,
                "{deleted} went, {left} are left\n{}",
                told()
            );
            let has_failed = ended.log.contains("could not be uploaded");
            assert!(
                !has_failed,
                "deleted although an upload has failed\n{}",
                told()
            );
        }
        for (path, file) in before.iter().filter(|(path, _)| !after.contains_key(*path)) {
            self.trash.push((path.clone(), file.bytes.clone()));
        }
        if ended.log.contains("Nobody has shown yet") {
            self.counts.note("kept for its key");
        }
        for (what, count) in [
            ("deleted", deleted),
            ("set aside", set_aside),
            ("replaced", replaced),
            ("superseded", superseded),
        ] {
            (0..count).for_each(|_| self.counts.note(what));
        }
        let gone = before.keys().filter(|path| !after.contains_key(*path));
        let gone: BTreeSet<&String> = gone.collect();
        self.places[index]
            .own
            .retain(|(path, _)| !gone.contains(path));
    }

    /// "Well" means that every backup that the source may have is in Dropbox in its present version.
    fn assert_everything_is_there(
        &self,
        index: usize,
        after: &BTreeMap<String, Stored>,
        ended: &Ended,
    ) {
        let place = &self.places[index];
        for (name, entry) in &place.entries {
            let sealed = after.get(&format!("/{name}.age"));
            let sealed = sealed.filter(|file| match (place.key, place.is_proved) {
                (Some(key), true) => file.key == Some(key),
                (Some(_), false) => file.key.is_some(),
                (None, _) => place.can_open(file),
            });
            let not_sealed = after.get(&format!("/{name}"));
            let not_sealed = not_sealed.filter(|_| place.key.is_none());
            let mut there = sealed.into_iter().chain(not_sealed);
            let is_there = there.any(|file| file.content == entry.content);
            assert!(
                entry.condition == Condition::Ready && is_there,
                "called well without {name}, {entry:?}\n{}\n{}",
                self.told(),
                ended.log
            );
        }
    }

    /// Everything is healed, nobody interferes: all that there is arrives, and all is called well.
    fn calm_down(&mut self) {
        for place in 0..self.places.len() {
            let names: Vec<String> = self.places[place].entries.keys().cloned().collect();
            names.iter().for_each(|name| self.heal_one(place, name));
            if self.places[place].entries.is_empty() {
                self.write(place, Condition::Ready);
            }
        }
        self.clear_the_way();
        // Machines that share names would fight for ever.
        let last = self.places.len() - 1;
        let mut is_well = false;
        for _ in 0..4 {
            self.let_pass(HOUR * 24 * 8);
            let place = &mut self.places[last];
            place.is_ticked = true;
            place.machine.configure(&json!({"confirmCleanup": true}));
            is_well = self.run(last, Weather::Calm);
        }
        assert!(is_well, "not well in the end\n{}", self.told());
    }

    /// People move away what stays in the place of a folder, or of a file that is in the way of one.
    fn clear_the_way(&self) {
        let names = self.places.iter().flat_map(|place| place.entries.keys());
        let wanted = names.flat_map(|name| [format!("/{name}"), format!("/{name}.age")]);
        let wanted: Vec<String> = wanted.collect();
        for path in self.world.dropbox.paths() {
            let is_in_the_way = |wanted: &String| {
                *wanted != path && (is_at_or_below(wanted, &path) || is_at_or_below(&path, wanted))
            };
            if wanted.iter().any(is_in_the_way) {
                self.world.dropbox.remove(&path);
            }
        }
    }
}

/// The path that a file would have if it were not encrypted.
fn plain(path: &str) -> &str {
    path.strip_suffix(".age").unwrap_or(path)
}

/// Waits until a request of the run stands at the gate; false if the run ends before one does.
fn is_reached(gate: &Gate, run: &mut Child) -> bool {
    let slice = Duration::from_millis(20);
    let slices = PATIENCE.as_millis() / slice.as_millis();
    for _ in 0..slices {
        if gate.wait_reached(slice) {
            return true;
        } else if run.try_wait().unwrap().is_some() {
            return false;
        }
    }
    panic!("neither a request nor an end");
}

fn is_at_or_below(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
