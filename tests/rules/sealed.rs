//! What the planner does about sealed copies, by example, then over generated worlds: nothing goes that may be the last
//! copy that the owner can open.

use std::collections::BTreeSet;

use backup_sync_dropbox::backup_id::BackupId;
use backup_sync_dropbox::dropbox::content_hash::ContentHash;
use backup_sync_dropbox::dropbox::files::ListedFile;
use backup_sync_dropbox::mirror::plan::Plan;
use backup_sync_dropbox::row::{Decision, Provenance, Reason, Row};
use backup_sync_dropbox::source::Doubt;
use backup_sync_dropbox::state::{Inside, Mirrored};
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use crate::planner::{
    Case, backup, case, config, day, decision, file, id, id_of, is_idle, mirrored, version,
};

/// Fingerprints of recipients.
const US: &str = "us";
const OTHERS: &str = "others";
/// How much longer a sealed file is.
const SEALED_BYTES: u64 = 200;

/// The name of a backup's sealed copy.
fn sealed_name(case: &Case, text: &str) -> String {
    format!("{}.age", case.naming.file_name(&backup(text, true)))
}

/// The sealed copy of a backup of one byte.
fn sealed_file(case: &Case, text: &str) -> ListedFile {
    let mut file = file(&sealed_name(case, text));
    file.metadata.content_hash = Some(ContentHash::of(text.as_bytes()));
    file.metadata.size += SEALED_BYTES;
    file
}

/// The record of that copy.
fn sealed_record(text: &str, recipients: &str, plain: &Mirrored) -> Mirrored {
    Mirrored {
        content_hash: ContentHash::of(text.as_bytes()),
        bytes: plain.bytes + SEALED_BYTES,
        inside: Some(Inside {
            content_hash: plain.content_hash,
            bytes: plain.bytes,
            recipients: recipients.into(),
        }),
        ..plain.clone()
    }
}

/// Everything is sealed to us from now on.
fn seal(case: &mut Case, is_proved: bool) {
    case.recipients = Some(US.into());
    case.proved = is_proved.then(|| US.into());
}

/// Adds the sealed copy of a backup, stored after the one that is not sealed, which stays known.
fn add_sealed(case: &mut Case, text: &str, recipients: &str) {
    let plain = case.mirrored.get(&id(text)).cloned();
    let known = sealed_record(text, recipients, &plain.clone().unwrap_or_else(mirrored));
    case.entries.push(sealed_file(case, text));
    case.mirrored.insert(id(text), known);
    if let Some(plain) = plain {
        case.unsealed.insert(id(text), plain);
    }
}

/// Both copies of `ids`, of which `listed` are at the source.
fn doubled(ids: &[&str], listed: &[&str], is_proved: bool) -> Case {
    let mut case = Case::new(ids, listed);
    ids.iter().for_each(|text| add_sealed(&mut case, text, US));
    seal(&mut case, is_proved);
    case
}

/// The decision about a backup's copy that is sealed, or about the other one.
fn of_copy(plan: &Plan, text: &str, is_sealed: bool) -> Option<Decision> {
    let is_it = |row: &&Row| {
        row.id == Some(id(text)) && row.sealed.is_some() == is_sealed && row.file.is_some()
    };
    plan.rows.iter().find(is_it).map(|row| row.decision)
}

/// The rows whose files go.
fn going(plan: &Plan) -> impl Iterator<Item = &Row> {
    plan.decided(|decision| matches!(decision, Decision::Delete { .. } | Decision::Supersede))
}

fn plain(plan: &Plan, text: &str) -> Option<Decision> {
    of_copy(plan, text, false)
}

fn sealed(plan: &Plan, text: &str) -> Option<Decision> {
    of_copy(plan, text, true)
}

fn keep(reason: Reason) -> Option<Decision> {
    Some(Decision::Keep(reason))
}

#[test]
fn everything_is_sent_anew_beside_what_is_there() {
    let mut case = Case::new(&["a"], &["a"]);
    seal(&mut case, true);
    let plan = case.plan();
    let sent: Vec<&str> = plan.uploads().map(|row| row.name.as_str()).collect();
    assert_eq!(sent, [sealed_name(&case, "a")]);
    assert_eq!(plain(&plan, "a"), keep(Reason::NotSealedYet));
}

#[test]
fn a_plain_copy_goes_for_a_verified_one_to_the_present_recipients_that_can_be_opened() {
    let plan = doubled(&["a", "b"], &["a", "b"], true).plan();
    assert_eq!(sealed(&plan, "a"), Some(Decision::Mirrored));
    assert_eq!(plain(&plan, "a"), Some(Decision::Supersede));

    let plan = doubled(&["a", "b"], &["a", "b"], false).plan();
    assert_eq!(plain(&plan, "a"), keep(Reason::KeyNotProved));

    let changed: fn(&mut Case) = |case| {
        let sealed = case
            .entries
            .iter_mut()
            .find(|file| file.name.ends_with("age"));
        sealed.unwrap().metadata.content_hash = Some(ContentHash::of(b"changed"));
    };
    let gone: fn(&mut Case) = |case| case.remove(&sealed_name(case, "a"));
    let for_others: fn(&mut Case) = |case| {
        let known = case.mirrored.get_mut(&id("a")).unwrap();
        known.inside.as_mut().unwrap().recipients = OTHERS.into();
    };
    let unknown: fn(&mut Case) = |case| drop(case.mirrored.remove(&id("a")));
    for change in [changed, gone, for_others, unknown] {
        let mut case = doubled(&["a", "b"], &["a", "b"], true);
        change(&mut case);
        let plan = case.plan();
        assert_eq!(plain(&plan, "a"), keep(Reason::NotSealedYet));
        assert_eq!(plain(&plan, "b"), Some(Decision::Supersede));
    }
}

#[test]
fn a_plain_copy_that_nobody_knows_goes_if_it_is_the_same_and_was_there_before() {
    let stored = |case: &mut Case, name: &str, time: DateTime<Utc>| {
        let file = case
            .entries
            .iter_mut()
            .find(|file| file.name.ends_with(name));
        file.unwrap().metadata.server_modified = Some(time);
    };
    let mut case = doubled(&["a", "b"], &["a", "b"], true);
    case.unsealed.remove(&id("a"));
    stored(&mut case, "a.unms", day(-3));
    stored(&mut case, "a.unms.age", day(-2));
    assert_eq!(plain(&case.plan(), "a"), Some(Decision::Supersede));
    let mut since = case.clone();
    stored(&mut since, "a.unms", day(-1));
    assert_eq!(plain(&since.plan(), "a"), keep(Reason::StoredSince));
    // What this installation has stored is its own to delete, whenever that was.
    since.unsealed.insert(id("a"), mirrored());
    assert_eq!(plain(&since.plan(), "a"), Some(Decision::Supersede));
    // Unless its deletion was ordered, and this is another version: somebody has brought it back.
    let ordered = since.unsealed.get_mut(&id("a")).unwrap();
    ordered.is_being_deleted = true;
    assert_eq!(plain(&since.plan(), "a"), Some(Decision::Supersede));
    since.unsealed.get_mut(&id("a")).unwrap().rev = "015f0000000000000000009".into();
    assert_eq!(plain(&since.plan(), "a"), keep(Reason::StoredSince));
    case.entries[0].metadata.content_hash = Some(ContentHash::of(b"another"));
    let plan = case.plan();
    assert_eq!(plain(&plan, "a"), keep(Reason::Strange));
    assert!(
        is_idle(&plan),
        "what can be told without reading is not read"
    );
}

#[test]
fn a_plain_copy_of_an_earlier_version_stays_as_long_as_a_replaced_one() {
    let mut case = Case::of_folder(&["a"], &["a"]);
    case.keep_deleted_days = 5;
    add_sealed(&mut case, "a", US);
    seal(&mut case, true);
    // A sealed one took its place at day -1, and the backup changes each night.
    for (today, expected) in [
        (3, keep(Reason::RetainedUntil(day(4)))),
        (4, Some(Decision::Supersede)),
    ] {
        case.now = day(today);
        case.listing.backups[0].version = version(1, 20 + today);
        let outdated = version(1, 10 + today);
        case.mirrored.get_mut(&id("a")).unwrap().version = outdated;
        assert_eq!(plain(&case.plan(), "a"), expected);
    }
}

#[test]
fn copies_for_earlier_recipients_are_sealed_anew_once_the_new_key_was_proved() {
    let mut case = Case::of_folder(&["a", "b"], &["a", "b"]);
    add_sealed(&mut case, "a", OTHERS);
    case.remove("a");
    seal(&mut case, false);
    assert_eq!(sealed(&case.plan(), "a"), Some(Decision::Mirrored));
    seal(&mut case, true);
    let other_recipients = Decision::Replace(Provenance::OtherRecipients);
    assert_eq!(sealed(&case.plan(), "a"), Some(other_recipients));
    // One that was only touched is not looked at first, since it is sent in any case.
    case.listing.backups[0].version = version(1, 9);
    let outdated = Decision::Replace(Provenance::Outdated);
    assert_eq!(sealed(&case.plan(), "a"), Some(outdated));
    case.proved = None;
    let compared = Decision::Compare(Provenance::Outdated);
    assert_eq!(sealed(&case.plan(), "a"), Some(compared));
}

#[test]
fn until_the_key_is_proved_nothing_goes_that_others_can_open() {
    for recipients in [US, OTHERS] {
        let mut case = Case::new(&["a", "b", "c", "d"], &["a", "b", "c"]);
        add_sealed(&mut case, "d", recipients);
        seal(&mut case, false);
        let plan = case.plan();
        assert_eq!(plain(&plan, "d"), keep(Reason::KeyNotProved));
        match recipients {
            OTHERS => assert_eq!(sealed(&plan, "d"), keep(Reason::KeyNotProved)),
            _ => assert!(matches!(sealed(&plan, "d"), Some(Decision::Delete { .. }))),
        }
        seal(&mut case, true);
        let plan = case.plan();
        assert!(matches!(plain(&plan, "d"), Some(Decision::Delete { .. })));
        assert!(matches!(sealed(&plan, "d"), Some(Decision::Delete { .. })));
    }
}

#[test]
fn without_recipients_a_sealed_copy_stands_for_its_backup_if_it_can_be_opened() {
    let mut case = Case::new(&["a"], &["a"]);
    add_sealed(&mut case, "a", US);
    case.entries.remove(0);
    for (proved, is_enough) in [(Some(US), true), (Some(OTHERS), false), (None, false)] {
        case.proved = proved.map(String::from);
        let plan = case.plan();
        assert_eq!(is_idle(&plan), is_enough, "{proved:?}");
        let expected = match is_enough {
            true => Some(Decision::Mirrored),
            false => keep(Reason::SealedEarlier),
        };
        assert_eq!(sealed(&plan, "a"), expected);
    }
}

#[test]
fn a_doubt_of_the_length_of_what_is_inside_protects_a_sealed_copy() {
    let mut case = Case::of_folder(&["a", "b", "c"], &["b", "c"]);
    add_sealed(&mut case, "a", US);
    case.remove("a");
    seal(&mut case, true);
    assert!(matches!(
        sealed(&case.plan(), "a"),
        Some(Decision::Delete { .. })
    ));
    let mut refused = case.clone();
    case.listing.doubts.push(Doubt {
        key: "elsewhere/x".into(),
        bytes: Some(1),
        text: "a name that Dropbox cannot hold".into(),
        is_harmless: false,
    });
    assert_eq!(sealed(&case.plan(), "a"), keep(Reason::Doubtful));
    // The same for one that Dropbox has refused, in an earlier run or in this one.
    let mut moved = backup("moved", true);
    moved.version = version(1, 0);
    refused.listing.backups.push(moved);
    let mut plan = refused.plan();
    assert!(matches!(sealed(&plan, "a"), Some(Decision::Delete { .. })));
    let row = plan.rows.iter_mut().find(|row| row.id == Some(id("moved")));
    row.unwrap().decision = Decision::Refuse;
    plan.weigh_again();
    assert_eq!(sealed(&plan, "a"), keep(Reason::Doubtful));
    refused.refused.insert(id("moved"), day(0));
    assert_eq!(sealed(&refused.plan(), "a"), keep(Reason::Doubtful));
}

#[test]
fn rule_8_weighs_backups_and_not_copies() {
    // Two of four go: that is not more than what stays, however many copies there are.
    let plan = doubled(&["a", "b", "c", "d"], &["a", "b"], true).plan();
    assert_eq!(going(&plan).count(), 2 + 4);
    assert!(plan.on_hold.is_empty());
    // Three of four are too much, also where copies that are not sealed stay.
    for is_proved in [true, false] {
        let plan = doubled(&["a", "b", "c", "d"], &["a"], is_proved).plan();
        let is_gone = |row: &Row| id_of(row) != &id("a");
        assert!(!going(&plan).any(is_gone));
        assert_eq!(plan.on_hold.len(), 3);
    }
}

#[test]
fn what_goes_with_the_admins_word_does_not_count_as_staying() {
    // One was agreed to; its copy that is not sealed stays, as the key was not proved. Two of the other three would go.
    let mut case = doubled(&["a", "b", "c", "d"], &["d"], false);
    case.on_hold.insert(id("a"));
    case.agreed.insert(id("a"));
    let plan = case.plan();
    assert!(matches!(sealed(&plan, "a"), Some(Decision::Delete { .. })));
    assert_eq!(plain(&plan, "a"), keep(Reason::KeyNotProved));
    for held in ["b", "c"] {
        assert_eq!(sealed(&plan, held), keep(Reason::OnHold));
    }
}

#[test]
fn in_a_folder_a_name_is_that_of_a_sealed_copy_or_of_a_file_of_that_name() {
    // The source has x and x.age; nothing is known of what is in Dropbox at x.age.
    let mut case = Case::of_folder(&["x", "x.age"], &["x", "x.age"]);
    assert!(case.plan().rows.iter().all(|row| row.sealed.is_none()));
    seal(&mut case, true);
    let plan = case.plan();
    assert!(sealed(&plan, "x.age").is_none() && sealed(&plan, "x").is_none());
    assert_eq!(decision(&plan, "x"), Decision::Upload);
    case.mirrored.clear();
    let plan = case.plan();
    assert_eq!(
        sealed(&plan, "x"),
        Some(Decision::Replace(Provenance::Unknown))
    );
}

/// What there is of a backup beside what a case without sealing has.
#[derive(Clone, Debug)]
struct Double {
    has_file: bool,
    recipients: Option<&'static str>,
    is_changed: bool,
    /// The copy that is not sealed was stored by somebody.
    is_plain_unknown: bool,
}

fn double() -> impl Strategy<Value = Double> {
    (
        prop::bool::weighted(0.7),
        prop_oneof![1 => Just(None), 4 => Just(Some(US)), 2 => Just(Some(OTHERS))],
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(has_file, recipients, is_changed, is_plain_unknown)| Double {
                has_file,
                recipients,
                is_changed,
                is_plain_unknown,
            },
        )
}

/// Worlds in which some copies are sealed, to whomever.
fn sealed_case() -> impl Strategy<Value = Case> {
    let somebody = || prop_oneof![1 => Just(None), 3 => Just(Some(US)), 1 => Just(Some(OTHERS))];
    let doubles = prop::collection::vec(double(), 32);
    (case(), doubles, somebody(), somebody()).prop_map(|(mut case, doubles, recipients, proved)| {
        case.recipients = recipients.map(String::from);
        case.proved = proved.map(String::from);
        for (text, double) in texts(&case).iter().zip(doubles) {
            if double.has_file {
                case.entries.push(sealed_file(&case, text));
            }
            if double.is_changed {
                let file = case.entries.last_mut().unwrap();
                file.metadata.content_hash = Some(ContentHash::of(b"changed"));
            }
            let before = case.mirrored.get(&id(text)).cloned();
            if let Some(recipients) = double.recipients {
                let plain = before.clone().unwrap_or_else(mirrored);
                let known = sealed_record(text, recipients, &plain);
                case.mirrored.insert(id(text), known);
                if let Some(before) = before.filter(|_| !double.is_plain_unknown) {
                    case.unsealed.insert(id(text), before);
                }
            }
        }
        case
    })
}

/// All ids that a case knows of.
fn texts(case: &Case) -> Vec<String> {
    let listed = case.listing.backups.iter().map(|backup| &backup.id);
    let known = case.seen.keys().chain(case.mirrored.keys());
    let all: BTreeSet<&BackupId> = listed.chain(known).collect();
    all.into_iter().map(ToString::to_string).collect()
}

/// The sealed copy of this backup that is there as it was verified, to these recipients.
fn has_verified(case: &Case, id: &BackupId, recipients: &str) -> bool {
    let known = case.mirrored.get(id).filter(|known| {
        let inside = known.inside.as_ref();
        inside.is_some_and(|inside| inside.recipients == recipients)
    });
    known.is_some_and(|known| {
        case.entries.iter().any(|file| {
            let is_it = case.naming.recognise_sealed(&file.name).as_ref() == Some(id);
            is_it && file.metadata.content_hash == Some(known.content_hash)
        })
    })
}

/// The world after a run that did everything it planned.
fn after(case: &Case, plan: &Plan) -> Case {
    let mut next = case.clone();
    next.seen.clone_from(&plan.seen);
    next.on_hold.clone_from(&plan.on_hold);
    next.agreed.clone_from(&plan.agreed);
    next.confirm_cleanup = false;
    for row in plan.uploads().chain(plan.comparisons()) {
        let backup = row.backup.as_ref().unwrap();
        next.remove(&row.name);
        let mut file = file(&row.name);
        let plain = Mirrored {
            version: backup.version,
            bytes: backup.version.map_or(1, |version| version.bytes),
            ..mirrored()
        };
        let known = match &case.recipients {
            Some(recipients) => sealed_record(backup.id.as_str(), recipients, &plain),
            None => plain,
        };
        file.metadata.content_hash = Some(known.content_hash);
        file.metadata.size = known.bytes;
        next.entries.push(file);
        let before = next.mirrored.insert(backup.id.clone(), known);
        if let Some(before) = before.filter(|before| before.inside.is_none()) {
            next.unsealed.insert(backup.id.clone(), before);
        }
    }
    going(plan).for_each(|row| next.remove(&row.name));
    next
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_plain_copy_goes_only_for_one_that_can_be_opened(case in sealed_case()) {
        let plan = case.plan();
        let listed: BTreeSet<&BackupId> = case.listing.backups.iter().map(|b| &b.id).collect();
        for row in going(&plan) {
            let is_listed = listed.contains(id_of(row));
            prop_assert_eq!(is_listed, row.decision == Decision::Supersede);
            if is_listed {
                prop_assert!(row.sealed.is_none());
                let recipients = case.recipients.as_deref();
                prop_assert!(recipients.is_some() && recipients == case.proved.as_deref());
                prop_assert!(has_verified(&case, id_of(row), recipients.unwrap()));
            }
        }
    }

    #[test]
    fn without_a_proof_only_what_is_sealed_anew_goes(mut case in sealed_case()) {
        case.recipients = Some(US.into());
        case.proved = case.proved.filter(|proved| proved != US);
        let plan = case.plan();
        for row in going(&plan) {
            prop_assert!(row.name.ends_with(".age"));
            prop_assert!(has_verified(&case, id_of(row), case.recipients.as_deref().unwrap()));
        }
        let is_replaced = |decision| decision == Decision::Replace(Provenance::OtherRecipients);
        prop_assert_eq!(plan.decided(is_replaced).count(), 0);
    }

    #[test]
    fn what_is_sent_is_sealed_if_it_is_to_be(case in sealed_case()) {
        for row in case.plan().uploads() {
            prop_assert_eq!(row.name.ends_with(".age"), case.recipients.is_some(), "{}", row.name);
        }
    }

    #[test]
    fn where_nothing_is_sealed_nothing_is_different(case in case()) {
        let plan = case.plan();
        prop_assert!(plan.rows.iter().all(|row| row.sealed.is_none()));
        let sealed = [
            Decision::Supersede,
            Decision::Keep(Reason::NotSealedYet),
            Decision::Keep(Reason::KeyNotProved),
            Decision::Keep(Reason::SealedEarlier),
            Decision::Keep(Reason::StoredSince),
            Decision::Replace(Provenance::OtherRecipients),
        ];
        prop_assert!(!plan.rows.iter().any(|row| sealed.contains(&row.decision)));
        let mut other = case.clone();
        other.proved = Some(US.into());
        other.unsealed = case.mirrored.clone();
        prop_assert_eq!(plan, other.plan());
    }

    #[test]
    fn rule_8_weighs_the_same_with_and_without_doubles(case in case(), is_proved in any::<bool>()) {
        let mut single = case.clone();
        single.entries.retain(|file| single.naming.recognise(&file.name).is_none());
        let mut double = case.clone();
        // One of each kind: several of the same kind are weighed as several.
        let mut met = BTreeSet::new();
        double.entries.retain(|file| {
            let id = double.naming.recognise(&file.name);
            id.is_none_or(|id| met.insert(id))
        });
        for text in texts(&case) {
            let is_copy = |file: &&ListedFile| case.naming.recognise(&file.name) == Some(id(&text));
            let Some(copy) = case.entries.iter().find(is_copy) else {
                continue;
            };
            for case in [&mut single, &mut double] {
                let mut file = sealed_file(case, &text);
                if copy.metadata.content_hash != Some(mirrored().content_hash) {
                    file.metadata.content_hash = copy.metadata.content_hash;
                }
                case.entries.push(file);
                if let Some(plain) = case.mirrored.remove(&id(&text)) {
                    let known = sealed_record(&text, US, &plain);
                    case.mirrored.insert(id(&text), known);
                    case.unsealed.insert(id(&text), plain);
                }
            }
        }
        seal(&mut single, is_proved);
        seal(&mut double, is_proved);
        let (single, double) = (single.plan(), double.plan());
        prop_assert_eq!(&single.on_hold, &double.on_hold);
        let sealed_ones = |plan: &Plan| -> BTreeSet<String> {
            let sealed = going(plan).filter(|row| row.name.ends_with(".age"));
            sealed.map(|row| row.name.clone()).collect()
        };
        prop_assert_eq!(sealed_ones(&single), sealed_ones(&double));
    }

    #[test]
    fn a_run_on_an_unchanged_world_finds_nothing_to_send(case in sealed_case()) {
        let next = after(&case, &case.plan());
        let plan = next.plan();
        prop_assert!(is_idle(&plan), "{:?}", plan.rows);
        let third = after(&next, &plan);
        let plan = third.plan();
        prop_assert!(is_idle(&plan), "{:?}", plan.rows);
        let is_superseded = |decision| decision == Decision::Supersede;
        prop_assert_eq!(plan.decided(is_superseded).count(), 0);
    }
}

#[test]
fn the_worlds_have_everything_in_them() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = sealed_case();
    let mut found = BTreeSet::new();
    for _ in 0..500 {
        let plan = strategy.new_tree(&mut runner).unwrap().current().plan();
        found.extend(plan.rows.iter().map(|row| format!("{:?}", row.decision)));
    }
    for expected in [
        "Supersede",
        "Keep(NotSealedYet)",
        "Keep(KeyNotProved)",
        "Keep(SealedEarlier)",
        "Keep(Strange)",
        "Replace(OtherRecipients)",
        "Replace(Outdated)",
        "Replace(Changed)",
        "Replace(Unknown)",
        "Mirrored",
    ] {
        assert!(
            found.contains(expected),
            "{expected} never happened: {found:?}"
        );
    }
}
