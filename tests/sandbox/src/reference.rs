//! The reference: what a run must delete, and what it must leave, from the eight rules alone.
//!
//! It judges file by file and knows nothing of plans, hashes or requests. Times are minutes.

use std::collections::{BTreeMap, BTreeSet};

/// What an installation may remember. It is lost with the state and restored with a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Ids met in the host's list, and since when a complete list lacks them.
    pub met: BTreeMap<String, Option<i64>>,
    /// Ids that wait for the admin's word.
    pub held: BTreeSet<String>,
    /// Those of them for which it was given.
    pub agreed: BTreeSet<String>,
    /// What each backup was when it was stored, or found equal to its file: a file that is not that belongs to
    /// somebody else.
    pub verified: BTreeMap<String, String>,
    /// When an id was last seen in a list; only for checking, the rules do not need it.
    pub last_listed: BTreeMap<String, i64>,
}

/// What a run can see.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The host's list: id, and whether the backup is finished.
    pub list: BTreeMap<String, bool>,
    /// Whether the list had rows that made no sense.
    pub has_bad_rows: bool,
    /// Managed files: name and id. What is foreign is not even looked at (rule 1).
    pub files: BTreeMap<String, String>,
    /// What is in them.
    pub contents: BTreeMap<String, String>,
    /// `keepDeletedDays`, in minutes.
    pub keep: i64,
    /// `confirmCleanup`, as long as it has not been taken note of.
    pub is_confirmed: bool,
    /// Whether the files can be opened for certain: what nobody has shown to open does not go.
    pub is_key_proved: bool,
    /// The run's time, by Dropbox's clock.
    pub now: i64,
}

/// What the rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Names of files that go if nothing fails. Nothing else may ever go.
    pub goes: BTreeSet<String>,
    /// Finished backups without a file: they must be there afterwards.
    pub missing: BTreeSet<String>,
    /// Files that were put on hold by this run.
    pub newly_held: usize,
}

impl Memory {
    /// Judges one run, and remembers what it saw.
    pub fn judge(&mut self, sight: &Sight) -> Verdict {
        // Rules 2 and 4.
        let is_fit = !sight.has_bad_rows && sight.list.values().any(|finished| *finished);
        for id in sight.list.keys() {
            self.met.insert(id.clone(), None);
            self.last_listed.insert(id.clone(), sight.now);
            self.held.remove(id);
        }
        if is_fit {
            let matters = |id: &String| {
                sight.list.contains_key(id) || sight.files.values().any(|file| file == id)
            };
            self.met.retain(|id, _| matters(id));
            self.held.retain(|id| matters(id));
            self.verified.retain(|id, _| matters(id));
            for (_, since) in self
                .met
                .iter_mut()
                .filter(|(id, _)| !sight.list.contains_key(*id))
            {
                *since = Some(since.unwrap_or(sight.now));
            }
        }
        let passes_1_to_7 = |id: &String| {
            is_fit
                && sight.is_key_proved
                && !sight.list.contains_key(id)
                && self
                    .met
                    .get(id)
                    .is_some_and(|since| since.is_some_and(|since| since + sight.keep <= sight.now))
        };
        let is_own = |name: &String, id: &String| {
            let verified = self.verified.get(id);
            verified.is_some() && verified == sight.contents.get(name)
        };
        let due: Vec<(&String, &String)> = sight
            .files
            .iter()
            .filter(|(name, id)| passes_1_to_7(id) && is_own(name, id))
            .collect();
        // Rule 8. The admin's word counts for what is on hold when it is given. The share is that of the
        // files which this installation could ever delete, and of those that it sends: another server's
        // files in the same folder must not make its own losses look small.
        if sight.is_confirmed {
            self.agreed.extend(self.held.iter().cloned());
        }
        self.agreed.retain(|id| self.held.contains(id));
        let is_weighed = |(name, id): &(&String, &String)| {
            let is_strange = passes_1_to_7(id) && !is_own(name, id);
            self.met.contains_key(*id) && !is_strange
        };
        let own = sight.files.iter().filter(is_weighed);
        let (agreed, asked): (Vec<_>, Vec<_>) =
            due.iter().partition(|(_, id)| self.agreed.contains(*id));
        let own = own.count() - agreed.len();
        let is_there = |id: &String| sight.files.values().any(|file| file == id);
        let finished = sight.list.iter().filter(|(_, finished)| **finished);
        let sent = finished.filter(|(id, _)| !is_there(id)).count();
        let is_all = !asked.is_empty() && asked.len() == own + sent;
        let is_most = asked.len() >= 2 && 2 * asked.len() > own + sent;
        let (held, fresh): (Vec<_>, Vec<_>) =
            asked.iter().partition(|(_, id)| self.held.contains(*id));

        let mut verdict = Verdict {
            newly_held: if is_all || is_most { fresh.len() } else { 0 },
            ..Verdict::default()
        };
        for (name, _) in agreed {
            verdict.goes.insert(name.clone());
        }
        for (name, id) in fresh {
            if is_all || is_most {
                self.held.insert(id.clone());
            } else {
                verdict.goes.insert(name.clone());
            }
        }
        // What waits goes on waiting, whatever the share is now.
        assert!(held.iter().all(|(name, _)| !verdict.goes.contains(*name)));
        let finished = sight.list.iter().filter(|(_, finished)| **finished);
        verdict.missing = finished
            .map(|(id, _)| id.clone())
            .filter(|id| !sight.files.values().any(|file| file == id))
            .collect();
        verdict
    }

    /// A backup whose last file is deleted is forgotten: who brings it back keeps it.
    pub fn forget(&mut self, id: &str) {
        self.met.remove(id);
        self.verified.remove(id);
        self.held.remove(id);
        self.agreed.remove(id);
    }
}

/// Runs `history` with many seeds, or with the one that `MODEL_SEED` names.
pub fn for_each_seed(histories: u64, mut history: impl FnMut(u64)) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse().unwrap())
    };
    if let Some(seed) = number("MODEL_SEED") {
        return history(seed);
    }
    // Fixed seeds: the same commit is judged the same way everywhere. More histories reach further.
    for seed in 0..number("MODEL_HISTORIES").unwrap_or(histories) {
        history(seed);
    }
}

/// Names the seed when a history fails.
pub struct Seed(pub u64, pub &'static str);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, test) = self;
            eprintln!("replay with: MODEL_SEED={seed} cargo test {test}");
        }
    }
}
