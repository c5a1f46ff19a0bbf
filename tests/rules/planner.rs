//! The planner: each rule of deletion by example, then all of them over generated worlds.

use std::collections::{BTreeMap, BTreeSet};

use backup_sync_dropbox::backup_id::{BackupId, Version};
use backup_sync_dropbox::dropbox::content_hash::ContentHash;
use backup_sync_dropbox::dropbox::files::{FileMetadata, ListedFile};
use backup_sync_dropbox::inspect::Verdict;
use backup_sync_dropbox::mirror::names::Naming;
use backup_sync_dropbox::mirror::plan::{Plan, Unfit, World, retained_until};
use backup_sync_dropbox::record::Lists;
use backup_sync_dropbox::retention::KeepOlder;
use backup_sync_dropbox::row::{Decision, Provenance, Reason, Row};
use backup_sync_dropbox::source::{Backup, Doubt, Listing};
use backup_sync_dropbox::state::{Mirrored, Pending, Seen};
use backup_sync_dropbox::zone::Zone;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// UISP's.
const NAMING: Naming = Naming::Dated(Zone::UTC);

/// A world that owns its parts.
#[derive(Clone, Debug)]
pub struct Case {
    pub listing: Listing,
    pub entries: Vec<ListedFile>,
    pub seen: BTreeMap<BackupId, Seen>,
    pub on_hold: BTreeSet<BackupId>,
    pub agreed: BTreeSet<BackupId>,
    pub pending: BTreeMap<BackupId, Pending>,
    pub refused: BTreeMap<BackupId, DateTime<Utc>>,
    pub mirrored: BTreeMap<BackupId, Mirrored>,
    pub unsealed: BTreeMap<BackupId, Mirrored>,
    pub recipients: Option<String>,
    pub proved: Option<String>,
    pub confirm_cleanup: bool,
    pub inspects: bool,
    pub keep_deleted_days: u32,
    pub keep_older: Option<KeepOlder>,
    pub naming: Naming,
    pub now: DateTime<Utc>,
}

pub fn id(text: &str) -> BackupId {
    BackupId::of_path(text).unwrap()
}

pub fn day(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::days(number)
}

pub fn backup(text: &str, finished: bool) -> Backup {
    Backup {
        id: id(text),
        finished,
        created_at: day(-100),
        version: None,
        is_from_the_future: false,
        has_failed: false,
    }
}

pub fn file(name: &str) -> ListedFile {
    ListedFile {
        name: name.into(),
        metadata: FileMetadata {
            rev: "015f0000000000000000001".into(),
            size: 1,
            content_hash: Some(ContentHash::of(b"x")),
            server_modified: None,
            client_modified: None,
        },
    }
}

fn name(text: &str) -> String {
    NAMING.file_name(&backup(text, true))
}

pub fn mirrored() -> Mirrored {
    Mirrored {
        rev: "015f0000000000000000001".into(),
        content_hash: ContentHash::of(b"x"),
        bytes: 1,
        verified_at: day(-1),
        version: None,
        inside: None,
        inspected: Verdict::NotChecked,
        is_being_deleted: false,
    }
}

impl Case {
    /// All of `ids` are in Dropbox, verified and seen; those of `listed` are finished at the source.
    pub fn new(ids: &[&str], listed: &[&str]) -> Self {
        Self {
            listing: Listing {
                backups: listed.iter().map(|id| backup(id, true)).collect(),
                ..Listing::default()
            },
            entries: ids.iter().map(|id| file(&name(id))).collect(),
            seen: ids.iter().map(|text| (id(text), Seen::default())).collect(),
            on_hold: BTreeSet::new(),
            agreed: BTreeSet::new(),
            pending: BTreeMap::new(),
            refused: BTreeMap::new(),
            mirrored: ids.iter().map(|text| (id(text), mirrored())).collect(),
            unsealed: BTreeMap::new(),
            recipients: None,
            proved: None,
            confirm_cleanup: false,
            inspects: true,
            keep_deleted_days: 0,
            keep_older: None,
            naming: NAMING,
            now: day(0),
        }
    }

    /// The same for a folder of files, each one byte long.
    pub fn of_folder(ids: &[&str], listed: &[&str]) -> Self {
        let mut case = Self::new(ids, listed);
        case.naming = Naming::Paths;
        case.entries = ids.iter().map(|id| file(id)).collect();
        for backup in &mut case.listing.backups {
            backup.version = version(1, 0);
        }
        for mirrored in case.mirrored.values_mut() {
            mirrored.version = version(1, 0);
        }
        case
    }

    pub fn plan(&self) -> Plan {
        Plan::new(&World {
            listing: &self.listing,
            files: &self.entries,
            seen: &self.seen,
            on_hold: &self.on_hold,
            agreed: &self.agreed,
            pending: &self.pending,
            refused: &self.refused,
            mirrored: &self.mirrored,
            unsealed: &self.unsealed,
            recipients: self.recipients.as_deref(),
            proved: self.proved.as_deref(),
            confirm_cleanup: self.confirm_cleanup,
            inspects: self.inspects,
            keep_deleted_days: self.keep_deleted_days,
            keep_older: self.keep_older.as_ref(),
            naming: self.naming,
            now: self.now,
        })
    }

    /// The world after a run that did everything it planned.
    pub fn after(&self, plan: &Plan) -> Self {
        let mut next = self.clone();
        next.seen.clone_from(&plan.seen);
        next.on_hold.clone_from(&plan.on_hold);
        next.agreed.clone_from(&plan.agreed);
        next.pending.clone_from(&plan.pending);
        // The tick counts once.
        next.confirm_cleanup = false;
        for row in plan.uploads() {
            let backup = row.backup.as_ref().unwrap();
            next.remove(&row.name);
            let mut file = file(&row.name);
            file.metadata.size = backup.version.map_or(1, |version| version.bytes);
            next.entries.push(file);
            next.remember(backup);
        }
        for row in plan.comparisons() {
            next.remember(row.backup.as_ref().unwrap());
        }
        for row in plan.deletions() {
            next.remove(&row.name);
            next.on_hold.remove(id_of(row));
            next.agreed.remove(id_of(row));
            next.seen.remove(id_of(row));
        }
        next
    }

    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|file| file.name != name);
    }

    fn remember(&mut self, backup: &Backup) {
        let version = backup.version;
        let mirrored = Mirrored {
            version,
            ..mirrored()
        };
        self.mirrored.insert(backup.id.clone(), mirrored);
    }

    /// Whether the row's file is there, in just this version.
    fn holds(&self, row: &Row) -> bool {
        let is_it =
            |file: &ListedFile| file.name == row.name && Some(&file.metadata) == row.file.as_ref();
        self.entries.iter().any(is_it)
    }

    /// Ids of the managed files, with repetitions.
    fn managed(&self) -> Vec<BackupId> {
        self.entries
            .iter()
            .filter_map(|file| self.naming.recognise(&file.name))
            .collect()
    }
}

/// A version of so many bytes, written on such a day.
pub fn version(bytes: u64, written: i64) -> Option<Version> {
    let modified_at = day(-100 + written);
    Some(Version {
        bytes,
        modified_at,
        changed_at: modified_at,
        inode: 1,
    })
}

pub fn id_of(row: &Row) -> &BackupId {
    row.id.as_ref().unwrap()
}

/// Ids of the files that go, in the order of the ids.
fn deleted(plan: &Plan) -> Vec<&str> {
    let mut ids: Vec<&str> = plan.deletions().map(|row| id_of(row).as_str()).collect();
    ids.sort_unstable();
    ids
}

/// What the plan does about the file of this id.
pub fn decision(plan: &Plan, text: &str) -> Decision {
    let row = plan.rows.iter().find(|row| row.id == Some(id(text)));
    row.unwrap().decision
}

/// Whether nothing is sent and nothing compared.
pub fn is_idle(plan: &Plan) -> bool {
    plan.uploads().count() + plan.comparisons().count() == 0
}

fn kept(plan: &Plan, reason: Reason) -> usize {
    plan.kept_as(reason).count()
}

#[test]
fn a_backup_that_is_gone_is_deleted() {
    let plan = Case::new(&["a", "b", "c"], &["a", "b"]).plan();
    assert_eq!(deleted(&plan), ["c"]);
    assert_eq!(plan.unchanged(), 2);
}

#[test]
fn rule_1_only_managed_files_in_the_folder_itself_are_deleted() {
    let mut case = Case::new(&["a", "b"], &["a"]);
    for foreign in [
        "holiday.jpg",
        "unms-backup-20260101-0000_b.unms.bak",
        "b",
        "unms-backup-99999999-0000_b.unms",
    ] {
        case.entries.push(file(foreign));
    }
    case.seen.insert(id("c"), Seen::default());
    assert_eq!(deleted(&case.plan()), ["b"]);
}

#[test]
fn rule_2_a_list_with_a_bad_row_deletes_nothing() {
    let mut case = Case::new(&["a", "b"], &["a"]);
    case.listing.problems.push("row 2: it has no id".into());
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(plan.unfit, Some(Unfit::BadRows));
    assert_eq!(kept(&plan, Reason::ListUnfit), 1);
    let missing = |seen: &BTreeMap<BackupId, Seen>| -> Vec<_> {
        let since = |(id, seen): (&BackupId, &Seen)| (id.clone(), seen.missing_since);
        seen.iter().map(since).collect()
    };
    let unchanged = missing(&plan.seen) == missing(&case.seen);
    assert!(unchanged, "nothing is dated or forgotten either");
}

#[test]
fn rule_3_a_listed_id_is_protected_in_any_state() {
    let mut case = Case::new(&["a", "b", "C"], &["a"]);
    case.listing.backups.push(backup("b", false));
    case.listing.backups.push(backup("c", false));
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(kept(&plan, Reason::Unfinished), 2);
}

#[test]
fn rule_4_a_list_without_a_finished_backup_deletes_nothing() {
    let mut case = Case::new(&["a"], &[]);
    assert!(deleted(&case.plan()).is_empty());
    case.listing.backups.push(backup("b", false));
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(plan.unfit, Some(Unfit::NothingFinished));
}

#[test]
fn rule_5_an_id_that_was_never_seen_is_kept() {
    let mut case = Case::new(&["a", "b"], &["a"]);
    case.seen.remove(&id("b"));
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(kept(&plan, Reason::NeverSeen), 1);
}

#[test]
fn rule_5_a_file_that_was_neither_stored_nor_found_equal_is_kept() {
    // Another machine or somebody has replaced it, or it was never compared.
    let changed: fn(&mut Case) = |case| {
        case.entries[1].metadata.content_hash = Some(ContentHash::of(b"another"));
    };
    let unknown: fn(&mut Case) = |case| drop(case.mirrored.remove(&id("b")));
    for change in [changed, unknown] {
        let mut case = Case::new(&["a", "b", "c"], &["a"]);
        change(&mut case);
        let plan = case.plan();
        assert_eq!(deleted(&plan), ["c"]);
        assert_eq!(kept(&plan, Reason::Strange), 1);
    }
}

#[test]
fn rule_7_a_deleted_backup_stays_for_the_days_configured() {
    let mut case = Case::new(&["a", "b"], &["a"]);
    case.keep_deleted_days = 3;
    for age in 0..3 {
        case.now = day(age);
        let plan = case.plan();
        assert!(deleted(&plan).is_empty(), "day {age}");
        assert_eq!(kept(&plan, Reason::RetainedUntil(day(3))), 1);
        case = case.after(&plan);
    }
    case.now = day(3);
    assert_eq!(deleted(&case.plan()), ["b"]);
}

#[test]
fn rule_7_the_days_begin_anew_when_a_backup_was_listed_again() {
    let mut case = Case::new(&["a", "b"], &["a"]);
    case.keep_deleted_days = 3;
    case = case.after(&case.plan());
    case.listing.backups.push(backup("b", true));
    case = case.after(&case.plan());
    case.listing.backups.pop();
    case.now = day(10);
    assert!(deleted(&case.plan()).is_empty());
}

#[test]
fn rule_8_most_of_the_mirror_is_put_on_hold() {
    let case = Case::new(&["a", "b", "c", "d", "e", "f"], &["a", "b"]);
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(kept(&plan, Reason::OnHold), 4);
    assert_eq!(plan.on_hold.len(), 4);
}

#[test]
fn rule_8_everything_and_more_than_half_are_held_whatever_their_number() {
    for (here, listed, goes) in [
        // Half is not more than half.
        (&["a", "b", "c", "d"][..], &["a", "b"][..], 2),
        (&["a", "b", "c", "d", "e"], &["a", "b"], 0),
        (&["a", "b", "c"], &["a"], 0),
        (&["a", "b"], &["a"], 1),
        // What this run uploads counts: one is made, one goes.
        (&["a"], &["new"], 1),
        (&["a", "b"], &["new"], 0),
        (&["a", "b", "c"], &["new"], 0),
        (&["a", "b"], &["new", "newer"], 2),
    ] {
        let plan = Case::new(here, listed).plan();
        assert_eq!(deleted(&plan).len(), goes, "{here:?} {listed:?}");
    }
    // Everything, and nothing is sent: the listed backup is there under another name.
    let mut all = Case::new(&["a"], &["b"]);
    all.entries.push(file(&name("b")));
    all.mirrored.insert(id("b"), mirrored());
    assert_eq!(deleted(&all.plan()), ["a"], "one of two is not all");
    let mut alone = Case::new(&["a"], &["b"]);
    alone.refused.insert(id("b"), day(0));
    assert!(
        deleted(&alone.plan()).is_empty(),
        "nothing else would be left"
    );
}

#[test]
fn rule_8_a_hold_stays_when_the_share_shrinks() {
    let mut case = Case::new(&["a", "b", "c", "d", "e", "f"], &["a", "b"]);
    case = case.after(&case.plan());
    for new in ["n1", "n2", "n3", "n4", "n5", "n6"] {
        case.listing.backups.push(backup(new, true));
    }
    case = case.after(&case.plan());
    let plan = case.plan();
    assert!(deleted(&plan).is_empty());
    assert_eq!(kept(&plan, Reason::OnHold), 4);
}

#[test]
fn rule_8_an_id_listed_again_leaves_the_hold() {
    let mut case = Case::new(&["a", "b", "c", "d", "e", "f"], &["a", "b"]);
    case = case.after(&case.plan());
    case.listing.backups.push(backup("c", true));
    let plan = case.plan();
    assert!(!plan.on_hold.contains(&id("c")));
    assert_eq!(plan.on_hold.len(), 3);
}

#[test]
fn rule_8_the_admins_word_counts_for_what_was_on_hold_when_it_was_given() {
    let mut case = Case::new(&["a", "b", "c", "d", "e", "f"], &["a", "b"]);
    case.confirm_cleanup = true;
    assert!(
        deleted(&case.plan()).is_empty(),
        "nothing was on hold when the box was ticked"
    );
    case = case.after(&case.plan());
    case.confirm_cleanup = true;
    let plan = case.plan();
    assert_eq!(deleted(&plan).len(), 4);
    // The run fails, and much more goes missing before the next one: the word is for the four.
    let mut later = case.clone();
    later.confirm_cleanup = false;
    later.agreed.clone_from(&plan.agreed);
    later.on_hold.clone_from(&plan.on_hold);
    for new in ["n1", "n2", "n3"] {
        later.entries.push(file(&name(new)));
        later.seen.insert(id(new), Seen::default());
        later.mirrored.insert(id(new), mirrored());
    }
    let plan = later.plan();
    assert_eq!(deleted(&plan), ["c", "d", "e", "f"]);
    assert_eq!(kept(&plan, Reason::OnHold), 3);
    // A single one more is no sudden loss: what was agreed to is not weighed with it.
    later.remove(&name("n1"));
    later.remove(&name("n2"));
    assert_eq!(deleted(&later.plan()), ["c", "d", "e", "f", "n3"]);
}

#[test]
fn rule_8_a_hold_ends_with_the_file() {
    let mut case = Case::new(&["a", "b", "c", "d", "e", "f"], &["a", "b"]);
    case = case.after(&case.plan());
    case.remove(&name("c"));
    let plan = case.plan();
    assert!(!plan.on_hold.contains(&id("c")) && plan.on_hold.len() == 3);
}

#[test]
fn rule_8_what_did_not_arrive_keeps_nothing() {
    // Three go and three come: that is half.
    let mut plan = Case::new(&["a", "b", "c"], &["d", "e", "f"]).plan();
    assert!(!plan.weigh_again());
    assert_eq!(deleted(&plan).len(), 3);
    // One of the three was gone when its turn came; the others are there or still to come.
    let gone = plan.rows.iter_mut().find(|row| row.id == Some(id("d")));
    let gone = gone.unwrap();
    (gone.backup, gone.decision) = (None, Decision::Wait);
    assert!(plan.weigh_again());
    assert!(deleted(&plan).is_empty());
    assert_eq!(plan.on_hold.len(), 3);
    // Weighed again, nothing is looser.
    assert!(!plan.weigh_again());
    assert!(deleted(&plan).is_empty());
}

#[test]
fn rule_8_what_others_have_put_there_makes_no_deletion_look_small() {
    let replaced: fn(&mut Case) = |case| {
        for entry in &mut case.entries[3..] {
            entry.metadata.content_hash = Some(ContentHash::of(b"another machine's"));
        }
    };
    let never_seen: fn(&mut Case) = |case| case.seen.retain(|seen, _| *seen < id("d"));
    for change in [replaced, never_seen] {
        let mut case = Case::new(&["a", "b", "c", "d", "e"], &["a"]);
        change(&mut case);
        let plan = case.plan();
        assert!(deleted(&plan).is_empty(), "two of three go");
        assert_eq!(kept(&plan, Reason::OnHold), 2);
    }
}

#[test]
fn rule_3_what_was_refused_in_this_run_may_be_what_a_copy_is_of() {
    for (bytes, goes) in [(1, 0), (5, 1)] {
        let mut case = Case::of_folder(&["a", "b", "c"], &["b", "c", "renamed"]);
        case.listing.backups[2].version = version(bytes, 0);
        let mut plan = case.plan();
        assert_eq!(deleted(&plan), ["a"]);
        let renamed = plan
            .rows
            .iter_mut()
            .find(|row| row.decision == Decision::Upload);
        renamed.unwrap().decision = Decision::Refuse;
        plan.weigh_again();
        assert_eq!(deleted(&plan).len(), goes);
    }
}

#[test]
fn a_newer_list_of_the_same_run_only_keeps() {
    let plan = || Case::new(&["a", "b", "c", "d", "e"], &["d", "e", "f"]).plan();
    let list = |ids: &[&str]| Listing {
        backups: ids.iter().map(|id| backup(id, true)).collect(),
        ..Listing::default()
    };
    for (newer, goes) in [
        (list(&["d", "e"]), &["a", "b", "c"][..]),
        (list(&["A", "d", "e"]), &["b", "c"]),
        (list(&[]), &[]),
        (
            Listing {
                problems: vec!["row 1: it has no id".into()],
                ..list(&["d", "e"])
            },
            &[],
        ),
    ] {
        let mut plan = plan();
        plan.heed(&newer);
        assert_eq!(deleted(&plan), goes, "{newer:?}");
    }
}

// ---- what could not be taken, and what is still to come ----

fn doubt(key: &str, bytes: Option<u64>) -> Doubt {
    Doubt {
        key: key.into(),
        bytes,
        text: format!("\"{key}\" is a link"),
        is_harmless: false,
    }
}

#[test]
fn what_could_not_be_taken_protects_its_path_what_is_below_and_what_has_its_length() {
    for (doubt, stays) in [
        (doubt("db", None), &["db/1", "db/x/2"][..]),
        (doubt("db/1", None), &["db/1"]),
        (doubt("other", None), &[]),
        (doubt("", None), &["db/1", "db/x/2", "e"]),
        (doubt("db /renamed", Some(1)), &["db/1", "db/x/2", "e"]),
        (doubt("db /renamed", Some(2)), &[]),
        (doubt("e", Some(2)), &["e"]),
        // A name is no folder of what begins like it.
        (doubt("d", None), &[]),
    ] {
        let listed = ["k1", "k2", "k3", "k4"];
        let mut case = Case::of_folder(&["db/1", "db/x/2", "e", "k1", "k2", "k3", "k4"], &listed);
        case.listing.doubts.push(doubt.clone());
        let plan = case.plan();
        let kept = plan.kept_as(Reason::Doubtful).map(|row| row.name.as_str());
        let mut kept: Vec<&str> = kept.collect();
        kept.sort_unstable();
        assert_eq!(kept, stays, "{doubt:?}");
        assert_eq!(deleted(&plan).len(), 3 - stays.len(), "{doubt:?}");
    }
}

#[test]
fn a_newer_file_that_is_not_ready_postpones_the_deletion_of_older_ones() {
    for (name, bytes, written, goes) in [
        ("dump-2", 1, 1, 0),
        ("dump-2", 0, 1, 0),
        // It is older than what goes, or marks a folder.
        ("dump-2", 1, -1, 1),
        (".gitkeep", 0, 1, 1),
    ] {
        let mut case = Case::of_folder(&["dump-1", "readme"], &["readme"]);
        case.mirrored.get_mut(&id("dump-1")).unwrap().version = version(1, 0);
        case.listing.backups.push(Backup {
            finished: false,
            version: version(bytes, written),
            ..backup(name, false)
        });
        let plan = case.plan();
        assert_eq!(deleted(&plan).len(), goes, "{name} {bytes} {written}");
        assert_eq!(kept(&plan, Reason::Awaited), 1 - goes);
        // A copy that is still being made may have the time of its original.
        let made = &mut case.listing.backups[1];
        made.version.as_mut().unwrap().changed_at = day(-90);
        let waits = usize::from(made.is_wanted());
        assert_eq!(kept(&case.plan(), Reason::Awaited), waits, "{name}");
    }
}

#[test]
fn what_waits_is_newer_also_where_the_clock_of_whoever_writes_the_files_is_ahead() {
    let mut case = Case::of_folder(&["dump-1", "readme"], &["readme"]);
    case.mirrored.get_mut(&id("dump-1")).unwrap().version = version(1, 110);
    let mut next = version(1, 111);
    next.as_mut().unwrap().changed_at = day(0);
    case.listing.backups.push(Backup {
        is_from_the_future: true,
        version: next,
        ..backup("dump-2", false)
    });
    assert_eq!(kept(&case.plan(), Reason::Awaited), 1);
}

#[test]
fn what_somebody_brought_back_is_not_the_copy_whose_deletion_was_ordered() {
    let mut case = Case::of_folder(&["dump", "other"], &["dump", "other"]);
    case.listing.backups[0].version = version(2, 1);
    let replaced = |provenance| Decision::Replace(provenance);
    let known = case.mirrored.get_mut(&id("dump")).unwrap();
    known.is_being_deleted = true;
    assert_eq!(
        decision(&case.plan(), "dump"),
        replaced(Provenance::Outdated)
    );
    // The same content, as another version: it is set aside before anything takes its place.
    case.mirrored.get_mut(&id("dump")).unwrap().rev = "015f0000000000000000009".into();
    assert_eq!(
        decision(&case.plan(), "dump"),
        replaced(Provenance::Changed)
    );
}

#[test]
fn a_file_whose_time_nobody_knows_is_as_old_as_its_copy() {
    for (stored, goes) in [(0, 0), (2, 1)] {
        let mut case = Case::of_folder(&["dump-1", "readme"], &["readme"]);
        case.mirrored.get_mut(&id("dump-1")).unwrap().version = None;
        case.entries[0].metadata.server_modified = Some(day(-100 + stored));
        case.listing.backups.push(Backup {
            version: version(1, 1),
            ..backup("dump-2", false)
        });
        assert_eq!(deleted(&case.plan()).len(), goes, "{stored}");
    }
}

#[test]
fn while_a_backup_of_uisp_is_refused_the_older_ones_stay() {
    let mut case = Case::new(&["a", "b", "c"], &["b", "c", "new"]);
    let mut plan = case.plan();
    assert_eq!(deleted(&plan), ["a"]);
    let new = plan
        .rows
        .iter_mut()
        .find(|row| row.decision == Decision::Upload);
    new.unwrap().decision = Decision::Refuse;
    plan.weigh_again();
    assert_eq!(
        kept(&plan, Reason::Awaited),
        1,
        "in the run that learns of it"
    );
    case.refused.insert(id("new"), day(0));
    assert_eq!(kept(&case.plan(), Reason::Awaited), 1, "in the next one");
}

#[test]
fn a_file_from_the_future_is_finished_once_two_runs_found_it_the_same() {
    let mut case = Case::of_folder(&[], &["a"]);
    case.listing.backups[0].finished = false;
    case.listing.backups[0].is_from_the_future = true;
    let first = case.plan();
    assert_eq!(decision(&first, "a"), Decision::Wait);
    case = case.after(&first);
    assert_eq!(
        decision(&case.plan(), "a"),
        Decision::Wait,
        "at the same time"
    );
    case.now += TimeDelta::minutes(2);
    let plan = case.plan();
    assert_eq!(decision(&plan, "a"), Decision::Upload);
    // Once copied it stays trusted.
    case = case.after(&plan);
    case.pending.clear();
    for _ in 0..2 {
        let plan = case.plan();
        assert_eq!(decision(&plan, "a"), Decision::Mirrored);
        assert!(plan.pending.is_empty());
        case = case.after(&plan);
    }
    // It has changed since.
    case.listing.backups[0].version = version(7, 1);
    let unfinished = Decision::Keep(Reason::Unfinished);
    assert_eq!(decision(&case.plan(), "a"), unfinished);
    // What a clock that was ahead has noted delays nothing.
    let mut ahead = case.clone();
    ahead.now += TimeDelta::days(400);
    ahead = ahead.after(&ahead.plan());
    ahead.now = case.now;
    ahead = ahead.after(&ahead.plan());
    ahead.now += TimeDelta::minutes(2);
    assert!(matches!(decision(&ahead.plan(), "a"), Decision::Replace(_)));
    // An empty one is nothing, however old it gets.
    case.listing.backups[0].version = version(0, 1);
    case = case.after(&case.plan());
    case.now += TimeDelta::days(1);
    assert_eq!(decision(&case.plan(), "a"), unfinished);
}

#[test]
fn a_refused_name_is_tried_again_after_a_week_and_holds_nothing_up() {
    let mut case = Case::of_folder(&["old", "b"], &["b", "bad"]);
    case.refused.insert(id("bad"), day(0));
    let version_of_another_length = version(5, 0);
    case.listing.backups[1].version = version_of_another_length;
    assert_eq!(decision(&case.plan(), "bad"), Decision::Refuse);
    assert_eq!(deleted(&case.plan()), ["old"]);
    // It may be what the copy is of.
    case.listing.backups[1].version = version(1, 0);
    assert_eq!(kept(&case.plan(), Reason::Doubtful), 1);
    case.now = day(7);
    assert_eq!(decision(&case.plan(), "bad"), Decision::Upload);
    // A clock that was ahead once delays nothing.
    case.now = day(-1);
    assert_eq!(decision(&case.plan(), "bad"), Decision::Upload);
}

#[test]
fn days_can_be_added_to_every_time_that_is_remembered() {
    let last = DateTime::<Utc>::MAX_UTC;
    assert_eq!(retained_until(last, 3650), last);
    assert_eq!(retained_until(day(0), 30), day(30));
}

#[test]
fn what_is_missing_is_counted_until_it_is_there() {
    let mut case = Case::new(&["a"], &["a", "b"]);
    for runs in 1..=3 {
        let plan = case.plan();
        let pending = &plan.pending[&id("b")];
        assert_eq!((pending.runs, pending.since), (runs, day(0)));
        assert_eq!(plan.pending.len(), 1);
        case.pending = plan.pending;
        case.now += TimeDelta::days(1);
    }
    // The page tells since when the longest of them is missing.
    let mut pending = case.pending.clone();
    let newer = Pending {
        since: day(1),
        ..pending[&id("b")].clone()
    };
    pending.insert(id("a"), newer.clone());
    pending.insert(id("c"), newer);
    let lists = Lists::new(&[], &pending, case.now);
    assert_eq!((lists.pending, lists.pending_since), (3, Some(day(0))));
    let case = case.after(&case.plan());
    assert!(case.plan().pending.is_empty());
    // What failed is no backup, now or later.
    let mut case = Case::new(&["a"], &["a"]);
    case.listing.backups.push(Backup {
        has_failed: true,
        ..backup("b", false)
    });
    assert!(case.plan().pending.is_empty());
}

#[test]
fn a_changed_timezone_uploads_nothing_again() {
    let mut case = Case::new(&["a"], &["a"]);
    case.entries = vec![file("unms-backup-20010101-0000_a.unms")];
    assert!(is_idle(&case.plan()));
}

#[test]
fn newest_backups_go_first() {
    let ids = ["old", "new", "middle"];
    // By their times, also where no name tells them.
    for mut case in [Case::new(&[], &ids), Case::of_folder(&[], &ids)] {
        for (backup, age) in case.listing.backups.iter_mut().zip([-3, -1, -2]) {
            backup.created_at = day(age);
        }
        let plan = case.plan();
        let order: Vec<&str> = plan.uploads().map(|row| id_of(row).as_str()).collect();
        assert_eq!(order, ["new", "middle", "old"]);
    }
}

#[test]
fn a_file_that_changed_since_it_was_verified_is_verified_again() {
    let mut case = Case::new(&["a"], &["a"]);
    case.entries[0].metadata.content_hash = Some(ContentHash::of(b"other"));
    assert_eq!(
        decision(&case.plan(), "a"),
        Decision::Compare(Provenance::Changed)
    );
}

// ---- backups that change ----

#[test]
fn a_version_that_is_known_is_not_looked_at_again() {
    let case = Case::of_folder(&["a/b", "c"], &["a/b", "c"]);
    let plan = case.plan();
    assert_eq!(plan.unchanged(), 2);
    assert!(is_idle(&plan));
}

#[test]
fn another_version_of_another_length_replaces_exactly_the_file_that_is_there() {
    let mut case = Case::of_folder(&["a"], &["a"]);
    case.listing.backups[0].version = version(9, 1);
    let plan = case.plan();
    let row = plan.uploads().next().unwrap();
    assert_eq!(row.name, case.entries[0].name);
    assert_eq!(row.file.as_ref(), Some(&case.entries[0].metadata));
    assert_eq!(row.decision, Decision::Replace(Provenance::Outdated));
    assert_eq!(row.verified_at, None, "not as this version");
}

#[test]
fn another_version_of_the_same_length_is_read_before_it_is_sent() {
    let mut case = Case::of_folder(&["a"], &["a"]);
    case.listing.backups[0].version = version(1, 1);
    let plan = case.plan();
    assert_eq!(
        decision(&plan, "a"),
        Decision::Compare(Provenance::Outdated)
    );
    assert_eq!(case.after(&plan).plan().unchanged(), 1);
}

#[test]
fn a_file_that_this_program_did_not_put_there_is_no_outdated_copy() {
    for bytes in [1, 9] {
        let mut case = Case::of_folder(&["a"], &["a"]);
        case.mirrored.clear();
        case.listing.backups[0].version = version(bytes, 0);
        let expected = match bytes {
            9 => Decision::Replace(Provenance::Unknown),
            _ => Decision::Compare(Provenance::Unknown),
        };
        assert_eq!(decision(&case.plan(), "a"), expected);
    }
}

#[test]
fn an_unfinished_version_replaces_nothing_and_protects_its_copy() {
    let mut case = Case::of_folder(&["a", "b"], &["a", "b"]);
    case.listing.backups[0].version = version(0, 1);
    case.listing.backups[0].finished = false;
    let plan = case.plan();
    assert!(is_idle(&plan));
    assert!(deleted(&plan).is_empty());
    assert_eq!(kept(&plan, Reason::Unfinished), 1);
}

#[test]
fn less_than_half_is_a_sudden_shrink() {
    for (before, after, is_sudden) in [(9, 4, true), (9, 5, false), (10, 5, false), (2, 9, false)] {
        let mut case = Case::of_folder(&["a"], &["a"]);
        case.entries[0].metadata.size = before;
        case.listing.backups[0].version = version(after, 1);
        let shrink = case.plan().rows[0].sudden_shrink();
        assert_eq!(shrink, is_sudden.then_some((before, after)));
    }
}

#[test]
fn a_path_is_the_same_in_every_letter_case_and_form_of_accents() {
    let mut case = Case::of_folder(&["Archive/caf\u{e9}", "b"], &["archive/cafe\u{301}", "b"]);
    assert_eq!(case.plan().unchanged(), 2);
    assert!(deleted(&case.plan()).is_empty());
    case.listing.backups.remove(0);
    assert_eq!(deleted(&case.plan()), ["Archive/caf\u{e9}"]);
}

// ---- generated worlds ----

const IDS: [&str; 14] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "A1",
    "a2",
    "00000000-0000-4000-8000-000000000001",
    "x-y",
    "Z",
    "9",
];

pub fn case() -> impl Strategy<Value = Case> {
    // For each id: at the source (no, unfinished, finished), files in Dropbox, seen (no, listed
    // lately, missing for some days), on hold, verified, verified file unchanged.
    let item = (
        0..3u8,
        prop_oneof![2 => Just(0usize), 5 => Just(1), 1 => Just(2)],
        prop_oneof![1 => Just(None), 4 => (-5..12i64).prop_map(Some)],
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.9),
        // In a folder: what is remembered is the version there is, and its length.
        prop::bool::weighted(0.8),
        prop_oneof![4 => Just(1u64), 1 => Just(0), 1 => Just(7)],
    );
    (
        prop::collection::vec(item, IDS.len()),
        prop::collection::btree_set("[a-z_.-]{1,30}", 0..3),
        prop::bool::weighted(0.1),
        any::<bool>(),
        prop_oneof![3 => Just(0u32), 1 => 1..10u32],
        any::<bool>(),
    )
        .prop_map(
            |(items, foreign, bad_row, confirm_cleanup, keep_deleted_days, is_folder)| {
                let mut case = Case::new(&[], &[]);
                case.confirm_cleanup = confirm_cleanup;
                if is_folder {
                    case.naming = Naming::Paths;
                }
                case.keep_deleted_days = keep_deleted_days;
                if bad_row {
                    case.listing.problems.push("row 1: it has no id".into());
                }
                for name in foreign {
                    // In a folder every path is managed; nobody has seen these.
                    let folder = if is_folder { "foreign/" } else { "" };
                    case.entries.push(file(&format!("{folder}x{name}")));
                }
                for (text, (source, files, seen, on_hold, verified, unchanged, same, bytes)) in
                    IDS.iter().zip(items)
                {
                    // In Dropbox a path has one file.
                    let files = if is_folder { files.min(1) } else { files };
                    if source > 0 {
                        let mut backup = backup(text, source == 2);
                        if is_folder {
                            backup.version = version(bytes, 1);
                            backup.finished &= bytes > 0;
                        }
                        case.listing.backups.push(backup);
                    }
                    for copy in 0..files {
                        let mut file = if is_folder {
                            file(text)
                        } else {
                            file(&format!("unms-backup-2026010{}-0000_{text}.unms", copy + 1))
                        };
                        if !unchanged {
                            file.metadata.content_hash = Some(ContentHash::of(b"changed"));
                        }
                        case.entries.push(file);
                    }
                    if let Some(age) = seen {
                        let missing_since = (age >= 0).then(|| day(-age));
                        let seen = Seen {
                            missing_since,
                            created_at: None,
                        };
                        case.seen.insert(id(text), seen);
                    }
                    if on_hold {
                        case.on_hold.insert(id(text));
                    }
                    if verified && files > 0 {
                        let known = if same {
                            version(bytes, 1)
                        } else {
                            version(1, 0)
                        };
                        let known = Mirrored {
                            version: known.filter(|_| is_folder),
                            ..mirrored()
                        };
                        case.mirrored.insert(id(text), known);
                    }
                }
                case
            },
        )
}

/// Cases per property; more with `PROPTEST_CASES`, as the soak test sets it.
pub fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(4000))
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_deleted_that_a_rule_protects(case in case()) {
        let plan = case.plan();
        let finished = case.listing.backups.iter().any(|backup| backup.finished);
        for row in plan.deletions() {
            let id = id_of(row);
            prop_assert!(case.holds(row));
            prop_assert_eq!(&case.naming.recognise(&row.name), &row.id);
            prop_assert!(case.listing.problems.is_empty());
            prop_assert!(finished);
            prop_assert!(!case.listing.backups.iter().any(|backup| backup.id == *id));
            let seen = case.seen.get(id);
            prop_assert!(seen.is_some());
            let since = seen.and_then(|seen| seen.missing_since).unwrap_or(case.now);
            let days = TimeDelta::days(i64::from(case.keep_deleted_days));
            prop_assert!(since + days <= case.now);
            let known = case.mirrored.get(id).map(|known| known.content_hash);
            prop_assert_eq!(known, row.file.as_ref().and_then(|file| file.content_hash));
            let is_agreed = case.confirm_cleanup || case.agreed.contains(id);
            prop_assert!(is_agreed || !case.on_hold.contains(id));
        }
        let unconfirmed = plan
            .deletions()
            .filter(|row| !case.on_hold.contains(id_of(row)))
            .count();
        let uploads = plan.decided(|decision| decision == Decision::Upload).count();
        prop_assert!(unconfirmed <= 1 || unconfirmed * 2 <= case.managed().len() + uploads);
    }

    #[test]
    fn only_finished_backups_are_sent_and_only_what_is_there_is_replaced(case in case()) {
        let plan = case.plan();
        for row in plan.uploads() {
            prop_assert!(row.finished().is_some());
            match &row.file {
                Some(_) => {
                    prop_assert!(case.holds(row));
                    prop_assert_eq!(&case.naming.recognise(&row.name), &row.id);
                }
                None => prop_assert!(!case.managed().contains(id_of(row))),
            }
        }
        for row in plan.comparisons() {
            prop_assert!(row.finished().is_some() && case.holds(row));
        }
    }

    #[test]
    fn everything_at_both_ends_has_one_row(case in case()) {
        let plan = case.plan();
        let files = plan.rows.iter().filter(|row| row.file.is_some());
        let mut names: Vec<&str> = files.clone().map(|row| row.name.as_str()).collect();
        let mut there: Vec<&str> = case.entries.iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        there.sort_unstable();
        prop_assert_eq!(names, there);
        for row in files {
            prop_assert!(case.holds(row));
        }
        for backup in &case.listing.backups {
            let rows = plan.rows.iter().filter(|row| row.backup.as_ref() == Some(backup));
            let duplicate = Decision::Keep(Reason::Duplicate);
            let unfinished = Decision::Keep(Reason::Unfinished);
            let mut main = rows.filter(|row| row.decision != duplicate);
            let first = main.next();
            prop_assert!(first.is_some());
            prop_assert!(main.all(|row| row.decision == unfinished));
        }
    }

    #[test]
    fn a_second_run_on_an_unchanged_world_plans_nothing(case in case()) {
        let mut next = case.after(&case.plan());
        // Verified means equal: what differed has been replaced.
        for file in &mut next.entries {
            let own = case.naming.recognise(&file.name);
            if case.listing.backups.iter().any(|backup| Some(&backup.id) == own.as_ref()) {
                file.metadata.content_hash = Some(ContentHash::of(b"x"));
            }
        }
        let plan = next.plan();
        prop_assert!(is_idle(&plan));
        // Only what the first run put on hold may follow, and only with the admin's word.
        for row in plan.deletions() {
            prop_assert!(next.agreed.contains(id_of(row)));
        }
        let third = next.after(&plan);
        prop_assert!(third.plan().deletions().next().is_none());
    }

    #[test]
    fn after_a_good_run_the_managed_files_are_the_finished_backups(case in case()) {
        let plan = case.plan();
        let next = case.after(&plan);
        let managed: BTreeSet<BackupId> = next.managed().into_iter().collect();
        let finished: BTreeSet<BackupId> = case
            .listing
            .backups
            .iter()
            .filter(|backup| backup.finished)
            .map(|backup| backup.id.clone())
            .collect();
        prop_assert!(managed.is_superset(&finished));
        let keeps = |decision| matches!(decision, Decision::Keep(reason) if reason != Reason::Duplicate);
        let kept: BTreeSet<BackupId> = plan.decided(keeps).map(|row| id_of(row).clone()).collect();
        let others: BTreeSet<BackupId> = managed.difference(&finished).cloned().collect();
        prop_assert_eq!(others, kept, "what stays without a backup is named with its reason");
    }

    #[test]
    fn the_order_of_the_listings_does_not_matter(case in case(), seed in any::<u64>()) {
        let mut shuffled = case.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        random.shuffle(&mut shuffled.entries);
        random.shuffle(&mut shuffled.listing.backups);
        prop_assert_eq!(case.plan(), shuffled.plan());
    }
}
