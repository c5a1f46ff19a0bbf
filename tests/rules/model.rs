//! Histories in memory: the library's plan, carried out on a simulated folder with faults and
//! crashes, in the order in which the program does things.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::dropbox::content_hash::ContentHash;
use backup_sync_dropbox::dropbox::files::{FileMetadata, ListedFile};
use backup_sync_dropbox::mirror::names::Naming;
use backup_sync_dropbox::mirror::plan::{Plan, World};
use backup_sync_dropbox::row::{Decision, Reason};
use backup_sync_dropbox::source::{Backup, Listing};
use backup_sync_dropbox::state::{Mirrored, Pending, Seen};
use backup_sync_dropbox::zone::Zone;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use sandbox::reference::{Memory, Seed, Sight, Verdict, for_each_seed};

const DAY: i64 = 24 * 60;
/// Days of one history.
const DAYS: i64 = 250;
/// Histories of an ordinary test run.
const HISTORIES: u64 = 30;

#[test]
fn histories_in_memory() {
    let mut counts = Counts::default();
    for_each_seed(HISTORIES, |seed| {
        let _seed = Seed(seed, "histories_in_memory");
        let mut history = History::new(seed);
        history.live();
        history.settle();
        counts += history.counts;
    });
    eprintln!("{counts:?}");
    if std::env::var_os("MODEL_SEED").is_none() {
        counts.assert_everything_happened();
    }
}

/// How often the interesting things happened: a model that never meets them shows nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    runs: u64,
    good_runs: u64,
    uploads: u64,
    replacements: u64,
    deletions: u64,
    deletions_for_space: u64,
    deletions_confirmed: u64,
    holds: u64,
    retained: u64,
    crashes: u64,
    failures: u64,
    restores: u64,
    states_lost: u64,
    bad_lists: u64,
    protected_from_restored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.all().into_iter().zip(other.clone().all()) {
            *own += *other;
        }
    }
}

impl Counts {
    fn all(&mut self) -> [&mut u64; 15] {
        [
            &mut self.runs,
            &mut self.good_runs,
            &mut self.uploads,
            &mut self.replacements,
            &mut self.deletions,
            &mut self.deletions_for_space,
            &mut self.deletions_confirmed,
            &mut self.holds,
            &mut self.retained,
            &mut self.crashes,
            &mut self.failures,
            &mut self.restores,
            &mut self.states_lost,
            &mut self.bad_lists,
            &mut self.protected_from_restored,
        ]
    }

    fn assert_everything_happened(mut self) {
        let text = format!("{self:?}");
        for count in self.all() {
            assert!(*count >= 10, "too rare to mean anything: {text}");
        }
    }
}

// ---- the simulated world ----

#[derive(Clone, Debug, PartialEq)]
enum Progress {
    Running,
    Finished,
    Failed,
}

#[derive(Clone, Debug)]
struct HostBackup {
    id: String,
    progress: Progress,
    created: i64,
    content: u64,
}

/// One installation of the plugin: what the program remembers, and what the reference does.
#[derive(Clone, Debug, Default)]
struct Plugin {
    seen: BTreeMap<BackupId, Seen>,
    on_hold: BTreeSet<BackupId>,
    agreed: BTreeSet<BackupId>,
    pending: BTreeMap<BackupId, Pending>,
    mirrored: BTreeMap<BackupId, Mirrored>,
    reference: Memory,
    keep_deleted_days: u32,
    is_confirmed: bool,
}

/// A UISP server.
#[derive(Clone, Debug)]
struct Server {
    letter: char,
    made: u32,
    backups: Vec<HostBackup>,
    /// UISP's own retention: more finished backups than this are pruned, oldest first.
    keeps: usize,
    plugin: Plugin,
    /// What each backup holds: the server and the plugin's folder as they were.
    contents: BTreeMap<String, (Vec<HostBackup>, Plugin)>,
    /// Ids in the folder that this server can never have met since it was restored or lost its
    /// state. It must never delete them.
    strangers: BTreeSet<String>,
    /// Minutes by which its clock is wrong.
    clock_error: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    /// Id of a managed file; `None` marks a foreign one.
    id: Option<String>,
    content: u64,
    rev: u64,
}

/// What goes wrong in one run.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// Chance that an effect fails, and that it happens but is reported as failed.
    failing: f64,
    answer_lost: f64,
    /// The run is killed before this effect.
    crash_at: Option<usize>,
    /// Uploads find no space until deletions have made some.
    is_full: bool,
    /// The list has a row that cannot be used.
    has_bad_row: bool,
    /// The list is empty, or cut short and still JSON.
    shown: Shown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Shown {
    #[default]
    All,
    Nothing,
    Few,
}

struct History {
    random: Rng,
    now: i64,
    revs: u64,
    servers: Vec<Server>,
    folder: BTreeMap<String, Stored>,
    /// Deleted by the plugin or by a person; a person can bring them back.
    trash: Vec<(String, Stored)>,
    /// What people have put there, as it must stay.
    foreign: BTreeMap<String, Stored>,
    /// Chances of this history, so that histories differ in character.
    mischief: f64,
    has_clock_errors: bool,
    journal: Vec<String>,
    counts: Counts,
}

/// The run was killed.
struct Crashed;

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mischief = [0.0, 0.05, 0.15, 0.4][random.usize(..4)];
        let mut history = Self {
            has_clock_errors: random.u8(..4) == 0,
            random,
            now: 0,
            revs: 0,
            servers: Vec::new(),
            folder: BTreeMap::new(),
            trash: Vec::new(),
            foreign: BTreeMap::new(),
            mischief,
            journal: Vec::new(),
            counts: Counts::default(),
        };
        history.add_server();
        history
    }

    fn add_server(&mut self) {
        let letter = char::from(b'a' + u8::try_from(self.servers.len()).unwrap());
        let keep_deleted_days = self.random.choice([0, 0, 3, 14]).unwrap();
        self.servers.push(Server {
            letter,
            made: 0,
            backups: Vec::new(),
            keeps: self.random.usize(3..15),
            plugin: Plugin {
                keep_deleted_days,
                ..Plugin::default()
            },
            contents: BTreeMap::new(),
            strangers: BTreeSet::new(),
            clock_error: 0,
        });
        self.note(format!(
            "server {letter} appears, keeps deleted for {keep_deleted_days} days"
        ));
    }

    fn note(&mut self, event: String) {
        self.journal
            .push(format!("day {}: {event}", self.now / DAY));
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.f64() < probability
    }

    fn next_rev(&mut self) -> u64 {
        self.revs += 1;
        self.revs
    }

    fn live(&mut self) {
        while self.now < DAYS * DAY {
            self.now += DAY;
            self.disturb();
            for server in 0..self.servers.len() {
                self.host_day(server);
                let runs = [0, 1, 1, 1, 2][self.random.usize(..5)];
                for _ in 0..runs {
                    self.now += self.random.i64(0..120);
                    let trouble = self.trouble();
                    self.run(server, trouble);
                }
            }
        }
    }

    /// What the host does in a day: backups begin, end, fail, and are pruned.
    fn host_day(&mut self, index: usize) {
        let (begins, fails) = (self.chance(0.9), self.chance(0.1));
        let content = self.random.u64(..);
        let server = &mut self.servers[index];
        for backup in &mut server.backups {
            if backup.progress == Progress::Running {
                backup.progress = if fails {
                    Progress::Failed
                } else {
                    Progress::Finished
                };
            }
        }
        if begins {
            server.made += 1;
            let id = format!("{}-{:04}", server.letter, server.made);
            // A backup holds the server as it was when the backup began, without itself.
            server
                .contents
                .insert(id.clone(), (server.backups.clone(), server.plugin.clone()));
            server.backups.push(HostBackup {
                id,
                progress: Progress::Running,
                created: self.now,
                content,
            });
        }
        while server.backups.len() > server.keeps {
            server.backups.remove(0);
        }
    }

    fn trouble(&mut self) -> Trouble {
        let mut trouble = Trouble::default();
        if self.chance(self.mischief) {
            trouble.failing = self.random.choice([0.0, 0.1, 0.5]).unwrap();
            trouble.answer_lost = self.random.choice([0.0, 0.2]).unwrap();
            trouble.crash_at = self.chance(0.4).then(|| self.random.usize(..8));
            trouble.is_full = self.chance(0.2);
            trouble.has_bad_row = self.chance(0.1);
            trouble.shown = self
                .random
                .choice([Shown::All, Shown::All, Shown::Nothing, Shown::Few])
                .unwrap();
        }
        trouble
    }

    /// What people and accidents do.
    fn disturb(&mut self) {
        if !self.chance(self.mischief) {
            return;
        }
        let server = self.random.usize(..self.servers.len());
        match self.random.u8(..15) {
            0 if self.servers.len() < 3 => self.add_server(),
            1 => self.lose_state(server),
            2 => self.restore(server),
            3 => {
                let days = self.random.choice([0, 1, 7, 30]).unwrap();
                self.servers[server].plugin.keep_deleted_days = days;
                self.note(format!("keepDeletedDays of {server} is {days}"));
            }
            4 | 5 => {
                self.servers[server].plugin.is_confirmed = true;
                self.note(format!("clean-up of {server} is confirmed"));
            }
            6 => {
                let share = self.random.choice([0.2, 0.7, 1.0]).unwrap();
                let mut random = self.random.fork();
                self.servers[server]
                    .backups
                    .retain(|_| random.f64() >= share);
                self.note(format!(
                    "{share} of the backups of {server} are deleted by its admin"
                ));
            }
            7 => self.servers[server].keeps = self.random.usize(1..20),
            8 => self.put_foreign(),
            9 => self.tamper(),
            10 => self.remove_in_dropbox(),
            11 => self.bring_back(),
            12 if self.has_clock_errors => {
                self.servers[server].clock_error =
                    self.random.choice([0, 400 * DAY, -400 * DAY, 90]).unwrap();
                self.note(format!(
                    "clock of {server} is wrong by {}",
                    self.servers[server].clock_error
                ));
            }
            13 => self.unfinish(server),
            14 => self.tamper(),
            _ => {}
        }
    }

    /// The host changes its mind about a backup that was finished.
    fn unfinish(&mut self, index: usize) {
        let progress = if self.random.bool() {
            Progress::Failed
        } else {
            Progress::Running
        };
        let backups = &mut self.servers[index].backups;
        if let Some(backup) = self.random.choice(backups.iter_mut()) {
            backup.progress = progress;
            let event = format!("{} is no longer finished", backup.id);
            self.note(event);
        }
    }

    fn lose_state(&mut self, index: usize) {
        let present = self.managed_ids();
        let server = &mut self.servers[index];
        server.plugin = Plugin {
            keep_deleted_days: server.plugin.keep_deleted_days,
            ..Plugin::default()
        };
        server.strangers = present;
        self.counts.states_lost += 1;
        self.note(format!("server {index} loses its state"));
    }

    /// The server is gone and is set up again from one of its backups, plugin folder and state of
    /// that day with it. Backups that were made since are known to nobody but Dropbox.
    fn restore(&mut self, index: usize) {
        let present = self.managed_ids();
        let server = &mut self.servers[index];
        let Some((backups, plugin)) = self.random.choice(server.contents.values()).cloned() else {
            return;
        };
        // Assumption: it is not known whether a restored UISP lists the backups of that day, or none.
        server.backups = if self.random.bool() {
            backups
        } else {
            Vec::new()
        };
        server.plugin = plugin;
        let met = &server.plugin.reference.met;
        server.strangers = present
            .iter()
            .filter(|id| !met.contains_key(*id))
            .cloned()
            .collect();
        self.counts.restores += 1;
        self.note(format!("server {index} is restored from an old backup"));
    }

    fn managed_ids(&self) -> BTreeSet<String> {
        self.folder
            .values()
            .filter_map(|file| file.id.clone())
            .collect()
    }

    /// Files that are none of the plugin's, some of which nearly look so.
    fn put_foreign(&mut self) {
        let number = self.random.u8(..6);
        let name = match self.random.u8(..8) {
            0 => format!("holiday {number}.jpg"),
            1 => format!("unms-backup-20260101-000{number}_a-0001.unms.bak"),
            2 => format!("unms-backup-20269999-0000_a-000{number}.unms"),
            3 => format!("UNMS-backup-20260101-0000_a-000{number}.unms"),
            4 => format!("unms-backup-20260101-0000_a-000{number}.unms (1)"),
            5 => format!("unms-backup-20260101-0000_a_000{number}.unms"),
            6 => format!("unms-backup-20260101-0000_<b>{number}</b>.unms"),
            _ => format!("a-000{number}"),
        };
        let stored = Stored {
            id: None,
            content: self.random.u64(..),
            rev: self.next_rev(),
        };
        if !self.folder.contains_key(&name) {
            self.note(format!("somebody puts {name:?}"));
            self.foreign.insert(name.clone(), stored.clone());
            self.folder.insert(name, stored);
        }
    }

    fn some_managed(&mut self) -> Option<String> {
        let managed = self.folder.iter().filter(|(_, file)| file.id.is_some());
        self.random
            .choice(managed.map(|(name, _)| name.clone()).collect::<Vec<_>>())
    }

    fn tamper(&mut self) {
        let rev = self.next_rev();
        if let Some(name) = self.some_managed() {
            let file = self.folder.get_mut(&name).unwrap();
            (file.content, file.rev) = (rev, rev);
            self.note(format!("{name} is damaged in Dropbox"));
        }
    }

    fn remove_in_dropbox(&mut self) {
        if let Some(name) = self.some_managed() {
            let file = self.folder.remove(&name).unwrap();
            self.note(format!("{name} is removed in Dropbox"));
            self.trash.push((name, file));
        }
    }

    fn bring_back(&mut self) {
        if self.trash.is_empty() {
            return;
        }
        let (name, file) = self
            .trash
            .swap_remove(self.random.usize(..self.trash.len()));
        if !self.folder.contains_key(&name) {
            self.note(format!("{name} is brought back in Dropbox"));
            self.folder.insert(name, file);
        }
    }

    // ---- one run ----

    fn run(&mut self, index: usize, trouble: Trouble) {
        self.counts.runs += 1;
        self.note(format!("server {index} runs, {trouble:?}"));
        // This machine's clock does not count: Dropbox's does.
        let now = self.now;
        let listed = self.listed(index, trouble);
        // What it lists again it knows again.
        self.servers[index]
            .strangers
            .retain(|id| !listed.iter().any(|backup| backup.id == *id));
        let sight = self.sight(index, &listed, trouble, now);
        let listing = Listing {
            backups: listed
                .iter()
                .map(|backup| Backup {
                    id: BackupId::parse(&backup.id).unwrap(),
                    finished: backup.progress == Progress::Finished,
                    created_at: time(backup.created),
                    version: None,
                    is_from_the_future: false,
                    has_failed: false,
                })
                .collect(),
            problems: if trouble.has_bad_row {
                vec!["row 1: it has no id".into()]
            } else {
                Vec::new()
            },
            ..Listing::default()
        };
        let entries: Vec<ListedFile> = self
            .folder
            .iter()
            .map(|(name, file)| listed_file(name, file))
            .collect();
        let before = self.servers[index].plugin.clone();
        let mut plugin = before.clone();
        let plan = Plan::new(&World {
            listing: &listing,
            files: &entries,
            seen: &plugin.seen,
            on_hold: &plugin.on_hold,
            agreed: &plugin.agreed,
            pending: &plugin.pending,
            refused: &BTreeMap::new(),
            mirrored: &plugin.mirrored,
            unsealed: &BTreeMap::new(),
            recipients: None,
            proved: None,
            confirm_cleanup: plugin.is_confirmed,
            inspects: true,
            keep_deleted_days: plugin.keep_deleted_days,
            keep_older: None,
            naming: Naming::Dated(Zone::UTC),
            now: time(now),
        });
        let verdict = plugin.reference.judge(&sight);
        self.compare(&plan, &verdict, &plugin.reference);
        self.counts.holds += verdict.newly_held as u64;
        self.counts.bad_lists += u64::from(plan.unfit.is_some());
        let is_retained = |decision| matches!(decision, Decision::Keep(Reason::RetainedUntil(_)));
        self.counts.retained += plan.decided(is_retained).count() as u64;

        // The program stores what it saw before it does anything.
        plugin.seen.clone_from(&plan.seen);
        plugin.on_hold.clone_from(&plan.on_hold);
        plugin.agreed.clone_from(&plan.agreed);
        plugin.pending.clone_from(&plan.pending);
        // The tick counts once.
        plugin.is_confirmed = false;
        plugin.mirrored.retain(|id, _| plan.seen.contains_key(id));
        self.servers[index].plugin = plugin;
        let mut steps = trouble.crash_at.unwrap_or(usize::MAX);
        let carried_out = self.carry_out(index, &plan, &verdict, &listed, trouble, &mut steps);
        match carried_out {
            Err(Crashed) => self.counts.crashes += 1,
            Ok(false) => self.counts.failures += 1,
            Ok(true) => {
                self.counts.good_runs += 1;
                self.assert_mirrored(&listed, &verdict);
            }
        }
        for (name, file) in &self.foreign {
            self.check(self.folder.get(name) == Some(file), || {
                format!("foreign {name} was touched")
            });
        }
    }

    fn listed(&mut self, index: usize, trouble: Trouble) -> Vec<HostBackup> {
        let backups = self.servers[index].backups.clone();
        match trouble.shown {
            Shown::All => backups,
            Shown::Nothing => Vec::new(),
            Shown::Few => backups
                .into_iter()
                .filter(|_| self.random.u8(..4) == 0)
                .collect(),
        }
    }

    fn sight(&self, index: usize, listed: &[HostBackup], trouble: Trouble, now: i64) -> Sight {
        let plugin = &self.servers[index].plugin;
        Sight {
            list: listed
                .iter()
                .map(|backup| (backup.id.clone(), backup.progress == Progress::Finished))
                .collect(),
            has_bad_rows: trouble.has_bad_row,
            files: self
                .folder
                .iter()
                .filter_map(|(name, file)| Some((name.clone(), file.id.clone()?)))
                .collect(),
            contents: self
                .folder
                .iter()
                .map(|(name, file)| (name.clone(), plugin.content(file)))
                .collect(),
            keep: i64::from(plugin.keep_deleted_days) * DAY,
            is_confirmed: plugin.is_confirmed,
            is_key_proved: true,
            now,
        }
    }

    /// The plan is the verdict: nothing more, nothing less.
    fn compare(&self, plan: &Plan, verdict: &Verdict, reference: &Memory) {
        let goes: BTreeSet<String> = plan.deletions().map(|row| row.name.clone()).collect();
        self.check(goes == verdict.goes, || {
            format!("the plan deletes {goes:?}, the rules {:?}", verdict.goes)
        });
        let uploads: BTreeSet<String> = plan
            .uploads()
            .filter_map(|row| row.id.as_ref().map(ToString::to_string))
            .collect();
        self.check(uploads == verdict.missing, || {
            format!(
                "the plan uploads {uploads:?}, missing are {:?}",
                verdict.missing
            )
        });
        let on_hold: BTreeSet<String> = plan.on_hold.iter().map(ToString::to_string).collect();
        self.check(on_hold == reference.held, || {
            format!("on hold are {on_hold:?}, by the rules {:?}", reference.held)
        });
        let seen: BTreeMap<String, Option<i64>> = plan
            .seen
            .iter()
            .map(|(id, seen)| (id.to_string(), seen.missing_since.map(minutes)))
            .collect();
        self.check(seen == reference.met, || {
            format!("seen are {seen:?}, by the rules {:?}", reference.met)
        });
    }

    /// Carries the plan out as the program does; whether everything succeeded.
    fn carry_out(
        &mut self,
        index: usize,
        plan: &Plan,
        verdict: &Verdict,
        listed: &[HostBackup],
        trouble: Trouble,
        steps: &mut usize,
    ) -> Result<bool, Crashed> {
        let content_of: BTreeMap<&str, u64> = listed
            .iter()
            .map(|backup| (backup.id.as_str(), backup.content))
            .collect();
        let mut is_good = true;
        let mut space_was_made = false;
        let mut jobs: Vec<(String, BackupId)> = plan
            .uploads()
            .filter_map(|row| Some((row.name.clone(), row.id.clone()?)))
            .collect();
        for row in plan.comparisons() {
            let (name, id) = (&row.name, row.id.as_ref().unwrap());
            if self.folder[name].content == content_of[id.as_str()] {
                self.remember(index, id, name);
            } else {
                jobs.push((name.clone(), id.clone()));
            }
        }
        for (name, id) in jobs {
            if trouble.is_full && !space_was_made {
                let room = plan.deletions().count() as u64;
                if room == 0 {
                    is_good = false;
                    continue;
                }
                self.counts.deletions_for_space += room;
                is_good &= self.delete(index, plan, verdict, trouble, steps)?;
                space_was_made = true;
            }
            step(steps)?;
            if self.chance(trouble.failing) {
                is_good = false;
                continue;
            }
            let replaces = self.folder.contains_key(&name);
            let rev = self.next_rev();
            self.folder.insert(
                name.clone(),
                Stored {
                    id: Some(id.to_string()),
                    content: content_of[id.as_str()],
                    rev,
                },
            );
            self.counts.uploads += 1;
            self.counts.replacements += u64::from(replaces);
            step(steps)?;
            if self.chance(trouble.answer_lost) {
                is_good = false;
            } else {
                self.remember(index, &id, &name);
            }
        }
        if is_good && !space_was_made {
            is_good = self.delete(index, plan, verdict, trouble, steps)?;
        }
        Ok(is_good)
    }

    fn remember(&mut self, index: usize, id: &BackupId, name: &str) {
        let file = &self.folder[name];
        let mirrored = Mirrored {
            rev: rev_text(file),
            content_hash: hash(file.content),
            bytes: 8,
            verified_at: time(self.now),
            version: None,
            inside: None,
            inspected: Default::default(),
            is_being_deleted: false,
        };
        let content = file.content.to_string();
        let plugin = &mut self.servers[index].plugin;
        plugin.mirrored.insert(id.clone(), mirrored);
        plugin.reference.verified.insert(id.to_string(), content);
    }

    fn delete(
        &mut self,
        index: usize,
        plan: &Plan,
        verdict: &Verdict,
        trouble: Trouble,
        steps: &mut usize,
    ) -> Result<bool, Crashed> {
        let mut is_good = true;
        let mut gone = Vec::new();
        let mirrored = &mut self.servers[index].plugin.mirrored;
        for id in plan.deletions().filter_map(|row| row.id.as_ref()) {
            if let Some(known) = mirrored.get_mut(id) {
                known.is_being_deleted = true;
            }
        }
        for row in plan.deletions() {
            // What was done is remembered at the end; a crash before that forgets it.
            step(steps)?;
            if self.chance(trouble.failing) {
                is_good = false;
                continue;
            }
            let (name, id) = (&row.name, row.id.as_ref().unwrap());
            self.check(verdict.goes.contains(name), || {
                format!("{name} was not to go")
            });
            self.check_promises(index, id.as_str());
            let Some(file) = self.folder.remove(name) else {
                continue;
            };
            self.check(
                Some(rev_text(&file)) == row.file.as_ref().map(|file| file.rev.clone()),
                || format!("{name} changed since"),
            );
            self.counts.deletions += 1;
            self.trash.push((name.clone(), file));
            gone.push(id.clone());
        }
        step(steps)?;
        let plugin = &mut self.servers[index].plugin;
        for id in gone {
            let was_held = plugin.on_hold.remove(&id);
            self.counts.deletions_confirmed += u64::from(was_held);
            let is_left = self
                .folder
                .values()
                .any(|file| file.id.as_deref() == Some(id.as_str()));
            if !is_left {
                plugin.agreed.remove(&id);
                plugin.mirrored.remove(&id);
                plugin.seen.remove(&id);
                plugin.reference.forget(id.as_str());
            }
        }
        Ok(is_good)
    }

    /// What must hold for every deletion whatever the rules say, told from history alone.
    fn check_promises(&self, index: usize, id: &str) {
        let server = &self.servers[index];
        self.check(!server.strangers.contains(id), || {
            format!("{id} is deleted by a server that cannot know it")
        });
        let foreign_server = !id.starts_with(server.letter);
        self.check(!foreign_server, || {
            format!("{id} belongs to another server")
        });
        let last = server.plugin.reference.last_listed.get(id);
        let kept = last.map(|last| self.now - last);
        let keep = i64::from(server.plugin.keep_deleted_days) * DAY;
        self.check(kept.is_some_and(|kept| kept >= keep), || {
            format!("{id} was listed {kept:?} minutes ago and is kept for {keep}")
        });
    }

    /// After a good run every finished backup is there, whole, and what was to go is gone.
    fn assert_mirrored(&mut self, listed: &[HostBackup], verdict: &Verdict) {
        for backup in listed
            .iter()
            .filter(|backup| backup.progress == Progress::Finished)
        {
            let mut files = self
                .folder
                .values()
                .filter(|file| file.id.as_ref() == Some(&backup.id));
            let is_there = files.any(|file| file.content == backup.content);
            self.check(is_there, || format!("{} is not mirrored", backup.id));
        }
        for name in &verdict.goes {
            self.check(!self.folder.contains_key(name), || {
                format!("{name} did not go")
            });
        }
    }

    /// Everything calms down: in the end each server's list is mirrored, and what else is there
    /// is what nobody who is left can know.
    fn settle(&mut self) {
        for server in &mut self.servers {
            server.clock_error = 0;
            let longest = if self.has_clock_errors { 0 } else { 3 };
            server.plugin.keep_deleted_days = server.plugin.keep_deleted_days.min(longest);
        }
        for _ in 0..6 {
            self.now += DAY;
            for index in 0..self.servers.len() {
                self.servers[index].plugin.is_confirmed = true;
                self.run(index, Trouble::default());
            }
        }
        for index in 0..self.servers.len() {
            let server = &self.servers[index];
            if !server
                .backups
                .iter()
                .any(|backup| backup.progress == Progress::Finished)
            {
                continue;
            }
            let listed: BTreeSet<&str> = server
                .backups
                .iter()
                .map(|backup| backup.id.as_str())
                .collect();
            for file in self.folder.values() {
                let Some(id) = &file.id else { continue };
                let reference = &server.plugin.reference;
                // What somebody has put in the place of a copy stays.
                let is_own = reference.verified.get(id) == Some(&server.plugin.content(file));
                let is_known = is_own && reference.met.contains_key(id);
                self.check(!is_known || listed.contains(id.as_str()), || {
                    format!("{id} should have gone at last")
                });
            }
        }
        let strangers: BTreeSet<&String> = self.servers.iter().flat_map(|s| &s.strangers).collect();
        let kept = self.folder.values().filter_map(|file| file.id.as_ref());
        self.counts.protected_from_restored +=
            kept.filter(|id| strangers.contains(id)).count() as u64;
    }

    #[track_caller]
    fn check(&self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            let tail = &self.journal[self.journal.len().saturating_sub(40)..];
            panic!("{}\nafter:\n  {}", message(), tail.join("\n  "));
        }
    }
}

fn step(steps: &mut usize) -> Result<(), Crashed> {
    *steps = steps.checked_sub(1).ok_or(Crashed)?;
    Ok(())
}

fn time(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn minutes(time_: DateTime<Utc>) -> i64 {
    (time_ - time(0)).num_minutes()
}

fn hash(content: u64) -> ContentHash {
    ContentHash::of(&content.to_le_bytes())
}

impl Plugin {
    /// What is in a file, as far as this installation can take it for its own: what is there again after its deletion was
    /// ordered is somebody's.
    fn content(&self, file: &Stored) -> String {
        let id = file.id.as_deref().and_then(|id| BackupId::parse(id).ok());
        let known = id.and_then(|id| self.mirrored.get(&id));
        match known {
            Some(known) if known.is_being_deleted && known.rev != rev_text(file) => {
                "brought back".into()
            }
            _ => file.content.to_string(),
        }
    }
}

fn rev_text(file: &Stored) -> String {
    format!("015f{:019x}", file.rev)
}

fn listed_file(name: &str, file: &Stored) -> ListedFile {
    ListedFile {
        name: name.into(),
        metadata: FileMetadata {
            rev: rev_text(file),
            size: 8,
            content_hash: Some(hash(file.content)),
            server_modified: None,
            client_modified: None,
        },
    }
}
