//! Sealed backups: what leaves the machine can be opened with the owner's secret key alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sandbox::http::{Action, Exchange, Gate, On};
use sandbox::uisp::Backup;
use serde_json::{Value, json};

use crate::folder::users;
use crate::folder::world::FolderWorld;
use crate::support::{Ended, PATIENCE, World};

const MIB: u64 = 1024 * 1024;
const BLOCK: u64 = 4 * MIB;
const APPEND: &str = "files/upload_session/append_v2";

/// Somebody who can open what is sealed to them.
pub struct Owner(Identity);

impl Owner {
    pub fn new() -> Self {
        Self(Identity::generate())
    }

    fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    pub fn open(&self, sealed: &[u8]) -> Vec<u8> {
        self.try_open(sealed).unwrap()
    }

    /// What is inside of something that is sealed to this owner.
    pub fn try_open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        age::decrypt(&self.0, sealed).ok()
    }

    /// The word that the log asks for.
    pub fn word(&self, ended: &Ended) -> String {
        let word = self.open(&asked_word(&ended.log).unwrap());
        String::from_utf8(word).unwrap().trim().to_owned()
    }

    /// Shows that this owner can open what is sealed.
    pub fn prove(&self, world: &World, ended: &Ended) -> Ended {
        world.configure(json!({"encryptionProof": self.word(ended)}));
        let ended = world.run_well();
        ended.assert_line(&["is right: the encrypted copies can be opened"]);
        assert_eq!(world.config()["encryptionProof"], json!(null));
        ended
    }
}

/// The sealed word that a log asks for.
pub fn asked_word(log: &str) -> Option<Vec<u8>> {
    let (_, rest) = log.rsplit_once("run: echo ")?;
    let (sealed, _) = rest.split_once(' ')?;
    Some(BASE64.decode(sealed).unwrap())
}

/// Seals everything to these from now on.
pub fn seal_to(world: &World, owners: &[&Owner]) {
    let recipients: Vec<String> = owners.iter().map(|owner| owner.recipient()).collect();
    world.configure(json!({"encryptTo": recipients.join("\n")}));
}

/// The id in a managed file's name, sealed or not.
pub fn id_in(path: &str) -> &str {
    let (_, id) = path.rsplit_once('_').unwrap_or_default();
    id.trim_end_matches(".age").trim_end_matches(".unms")
}

/// Asserts that Dropbox has each of UISP's backups, sealed so that the owner can open it, and nothing else.
fn assert_sealed(world: &World, owner: &Owner) {
    let backups = world.uisp.backups();
    let paths = world.dropbox.paths();
    assert_eq!(paths.len(), backups.len(), "{paths:?}");
    for backup in backups {
        let ending = format!("_{}.unms.age", backup.id);
        let path = paths.iter().find(|path| path.ends_with(&ending));
        let path = path.unwrap_or_else(|| panic!("no {ending} in {paths:?}"));
        let sealed = world.dropbox.read(path).unwrap();
        assert!(owner.open(&sealed) == backup.bytes(), "{path}");
    }
}

/// How many of the files in Dropbox are sealed, and how many are not.
fn counts(world: &World) -> (usize, usize) {
    let paths = world.dropbox.paths();
    let sealed = paths.iter().filter(|path| path.ends_with(".age")).count();
    (sealed, paths.len() - sealed)
}

#[test]
fn every_recipient_can_open_what_arrives_and_nothing_is_sent_again() {
    for owners in [1, 3] {
        let world = World::authorized().moving_much();
        let owners: Vec<Owner> = (0..owners).map(|_| Owner::new()).collect();
        seal_to(&world, &owners.iter().collect::<Vec<_>>());
        for (number, size) in (1..).zip([1, 65_536, 4 * MIB, 8 * MIB, 9 * MIB, 20 * MIB + 7]) {
            world.uisp.add(Backup::numbered(number, size));
        }
        let ended = world.run_well();
        ended.assert_line(&["Finished: 6 uploaded"]);
        owners.iter().for_each(|owner| assert_sealed(&world, owner));
        assert!(!world.data("transfers").exists());
        let ended = world.run_well();
        ended.assert_line(&["Finished: 0 uploaded"]);
        world.remove_backup(1);
        world.run_well();
        owners.iter().for_each(|owner| assert_sealed(&world, owner));
    }
}

#[test]
fn plain_copies_go_only_once_sealed_ones_are_there_and_the_key_was_proved() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 3, 20_000);
    world.run_well();
    world.assert_mirrored();
    seal_to(&world, &[&owner]);
    let ended = world.run_well();
    assert_eq!(counts(&world), (3, 3));
    ended.assert_line(&["WARNING: Nobody has shown yet", "Encryption proof"]);
    // Also one whose backup is gone may be all that the owner can open.
    world.remove_backup(1);
    world.run_well();
    assert_eq!(counts(&world), (2, 3));
    world.configure(json!({"encryptionProof": "nonsense"}));
    let ended = world.run_well();
    ended.assert_line(&["WARNING: The word in the field"]);
    assert_eq!(counts(&world), (2, 3));
    let ended = owner.prove(&world, &ended);
    ended.assert_line(&["Deleted", "an encrypted copy has taken its place"]);
    assert_sealed(&world, &owner);
    let ended = world.run_well();
    assert!(!ended.log.contains("WARNING"), "{}", ended.log);
}

#[test]
fn what_an_older_plugin_has_left_is_compared_before_it_goes() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 3, 20_000);
    world.run_well();
    // The memory is lost; one copy is not what it should be.
    fs::remove_file(world.data("state.json")).unwrap();
    let damaged = world.dropbox.paths()[0].clone();
    world.dropbox.put(&damaged, &[0; 20_000]);
    seal_to(&world, &[&owner]);
    let ended = world.run_well();
    assert_eq!(counts(&world), (3, 3));
    let read = world.uisp.traffic().requests().len();
    owner.prove(&world, &ended);
    assert_eq!(counts(&world), (3, 1));
    for _ in 0..2 {
        world.run_well().assert_line(&["0 to compare"]);
        assert!(world.dropbox.file(&damaged).is_some());
        assert_eq!(world.record()["lists"]["finished"], json!(3));
    }
    let requests = world.uisp.traffic().requests();
    let requests = requests[read..].iter();
    assert!(
        !requests.clone().any(|e| e.route.contains("file")),
        "{:?}",
        requests
    );
}

#[test]
fn new_keys_replace_copies_only_once_they_were_proved() {
    let world = World::authorized();
    let (first, second) = (Owner::new(), Owner::new());
    world.add_backups(1, 2, 20_000);
    seal_to(&world, &[&first]);
    let ended = world.run_well();
    first.prove(&world, &ended);
    seal_to(&world, &[&second]);
    world.uisp.add(Backup::numbered(3, 20_000));
    let ended = world.run_well();
    ended.assert_line(&["2 files in Dropbox are encrypted to other keys"]);
    ended.assert_line(&["Finished: 1 uploaded"]);
    // One whose backup is gone stays: it may be the last that somebody can open.
    world.remove_backup(1);
    let ended = world.run_well();
    assert_eq!(counts(&world), (3, 0));
    let ended = second.prove(&world, &ended);
    ended.assert_line(&["Replaced"]);
    assert_sealed(&world, &second);
}

#[test]
fn without_keys_sealed_copies_are_left_and_new_ones_are_plain() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 2, 20_000);
    seal_to(&world, &[&owner]);
    let ended = world.run_well();
    owner.prove(&world, &ended);
    world.configure(json!({"encryptTo": null}));
    world.uisp.add(Backup::numbered(3, 20_000));
    let ended = world.run_well();
    ended.assert_line(&["Finished: 1 uploaded"]);
    assert_eq!(counts(&world), (2, 1));
    world.run_well().assert_line(&["Finished: 0 uploaded"]);
    world.remove_backup(1);
    world.run_well();
    assert_eq!(counts(&world), (1, 1));
}

#[test]
fn without_memory_sealed_copies_are_set_aside_and_sent_again() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 2, 20_000);
    seal_to(&world, &[&owner]);
    world.run_well();
    fs::remove_file(world.data("state.json")).unwrap();
    world.run_well().assert_line(&["Finished: 2 uploaded"]);
    let asides = world.dropbox.paths().into_iter();
    let asides: Vec<String> = asides
        .filter(|path| path.contains(" (set aside "))
        .collect();
    assert_eq!(asides.len(), 2);
    for aside in asides {
        owner.open(&world.dropbox.read(&aside).unwrap());
        world.dropbox.remove(&aside);
    }
    assert_sealed(&world, &owner);
    world.run_well().assert_line(&["Finished: 0 uploaded"]);
}

#[test]
fn a_secret_key_in_the_form_is_taken_out_and_nothing_is_sent_unsealed() {
    let world = World::authorized();
    world.add_backups(1, 1, 20_000);
    let secret = "AGE-SECRET-KEY-1FAKEFAKEFAKEFAKEFAKE";
    world.configure(json!({"encryptTo": secret}));
    let ended = world.run_badly();
    ended.assert_line(&["ERROR: A secret key of age", "age-keygen"]);
    for _ in 0..2 {
        assert!(!world.config().to_string().contains("FAKE"));
        assert!(!world.log().contains("FAKE"));
        assert_eq!(world.dropbox.files().len(), 0);
        world
            .run_badly()
            .assert_line(&["ERROR", "\"encryptTo\"", "it names no key"]);
    }
    world.configure(json!({"encryptTo": null}));
    world.run_well();
    world.assert_mirrored();
}

#[test]
fn what_is_no_key_is_named_by_its_place_and_nothing_is_sent() {
    let world = World::authorized();
    world.add_backups(1, 1, 20_000);
    let good = Owner::new().recipient();
    for (text, parts) in [
        (format!("{good} age1fake"), ["entry 2", "cannot be read"]),
        (
            format!("{good}\nssh-ed25519 AAAA"),
            ["entry 2", "an SSH key"],
        ),
        ("age1pq1fake".into(), ["entry 1", "post-quantum"]),
    ] {
        world.configure(json!({"encryptTo": text}));
        let ended = world.run_badly();
        ended.assert_line(&["ERROR", "\"encryptTo\"", parts[0], parts[1]]);
        assert!(!ended.log.contains(&text), "{}", ended.log);
    }
    assert_eq!(world.dropbox.files().len(), 0);
}

/// What was sent of upload sessions: by session and place, every content that arrived whole there.
fn sent(world: &World) -> BTreeMap<(String, u64), BTreeSet<(u64, u32)>> {
    let mut sent: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for exchange in world.dropbox.requests() {
        let length = exchange.header("content-length").unwrap_or_default();
        if exchange.route == APPEND && length == exchange.body_bytes.to_string() {
            let argument = exchange.header("dropbox-api-arg").unwrap();
            let argument: Value = serde_json::from_str(argument).unwrap();
            let session = argument["cursor"]["session_id"].as_str().unwrap();
            let place = argument["cursor"]["offset"].as_u64().unwrap();
            let content = (exchange.body_bytes, exchange.body_sum);
            sent.entry((session.to_owned(), place))
                .or_default()
                .insert(content);
        }
    }
    sent
}

/// Where the plain content stands of which the first byte of a sealed block is made.
fn boundary(block: u64) -> u64 {
    /// Header and nonce, for one recipient.
    const BEFORE: u64 = 184;
    /// A chunk of the format, plain and sealed.
    const CHUNK: [u64; 2] = [65_536, 65_552];
    let at = (block * BLOCK).saturating_sub(BEFORE);
    at / CHUNK[1] * CHUNK[0] + (at % CHUNK[1]).min(CHUNK[0])
}

/// Kills a run after so many blocks have arrived of which the run knows, and `in_flight` more; puts `changed` into the
/// backup's place, and runs to the end. Of each block only one content may have been sent.
fn change_after_a_kill(size: u64, known: u64, in_flight: u64, changed: Backup) -> Ended {
    let what = (known, in_flight, changed.size, changed.altered_at);
    let world = World::authorized().moving_much().sealing(true);
    let owner = world.owner.as_ref().unwrap();
    world.uisp.add(Backup::numbered(1, size));
    let mut command = world.command();
    if in_flight == 1 {
        // On one lane, what comes after it is not sent. The limit passes quickly.
        world.configure(json!({"uploadLimitMbps": 2}));
    } else {
        command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
    }
    let gate = Gate::new();
    let hold = Action::HoldAnswer(gate.clone());
    world.dropbox.inject(On::from_nth(APPEND, known + 1), hold);
    let run = world.start_as(&mut command);
    let is_whole = |e: &&Exchange| {
        let whole = e.header("content-length") == Some(&e.body_bytes.to_string());
        e.route == APPEND && whole
    };
    let traffic = world.dropbox.traffic();
    let is_sent =
        |log: &[Exchange]| log.iter().filter(is_whole).count() as u64 >= known + in_flight;
    assert!(traffic.wait_for(PATIENCE, is_sent), "{}", world.log());
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    traffic.clear_faults();
    gate.open();
    world.uisp.clear();
    world.uisp.add(changed);
    world.configure(json!({"uploadLimitMbps": null}));
    let ended = world.run_well();
    assert_sealed(&world, owner);
    for (place, contents) in sent(&world) {
        assert_eq!(contents.len(), 1, "{what:?} {place:?}: {}", ended.log);
    }
    ended
}

#[test]
fn of_what_was_sent_under_a_key_nothing_else_is_ever_sent_under_it() {
    let blocks = 3;
    let size = blocks * BLOCK + 12_345;
    let altered = |place| Backup {
        altered_at: Some(place),
        ..Backup::numbered(1, size)
    };
    for known in 0..=blocks {
        // All were sent, whatever the run knew of that, and then the last byte before each boundary changes, or the first
        // one behind it.
        let in_flight = if known < blocks { blocks - known } else { 1 };
        for place in [boundary(known), boundary(known + 1).min(size) - 1] {
            let ended = change_after_a_kill(size, known, in_flight, altered(place));
            ended.assert_line(&["begins again from its start", "another content than before"]);
        }
        // Only one more was sent, and it or the one before it changes.
        let before = boundary(known).checked_sub(1);
        for place in before.into_iter().chain([boundary(known)]) {
            let ended = change_after_a_kill(size, known, 1, altered(place));
            ended.assert_line(&["begins again from its start", "another content than before"]);
        }
    }
    for length in [size - 20_000, size + 100, 2 * BLOCK] {
        let other = Backup::numbered(1, length);
        let ended = change_after_a_kill(size, 1, blocks - 1, other);
        ended.assert_line(&["begins again from its start", "another content than before"]);
    }
}

/// Kills eight runs that send a backup of so many bytes; what is sent in all stays within a block for each lane and kill.
fn kill_eight(size: u64) -> (World, Owner) {
    let world = World::authorized().moving_much();
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    world.uisp.add(Backup::numbered(1, size));
    let kills = 8;
    for _ in 0..kills {
        let gate = Gate::new();
        world
            .dropbox
            .inject(On::nth(APPEND, 2), Action::Hold(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE), "{}", world.log());
        run.signal("KILL");
        assert_eq!(run.wait(), None);
        world.dropbox.traffic().clear_faults();
    }
    let ended = world.run_well();
    ended.assert_line(&["goes on; Dropbox holds"]);
    assert_sealed(&world, &owner);
    let sent = world.dropbox.traffic().body_bytes(APPEND);
    let path = &world.dropbox.paths()[0];
    let sealed = world.dropbox.file(path).unwrap().size;
    assert!(sent <= sealed + kills * 8 * BLOCK, "{sent} bytes");
    (world, owner)
}

#[test]
fn eight_kills_cost_little_and_the_result_can_be_opened() {
    kill_eight(64 * MIB + 5);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn eight_kills_during_256_mib_cost_little_and_age_itself_opens_the_result() {
    let (world, owner) = kill_eight(256 * MIB + 5);
    let folder = tempfile::tempdir().unwrap();
    let [key, sealed] = ["key.txt", "backup.age"].map(|name| folder.path().join(name));
    fs::write(&key, owner.0.to_string().expose_secret()).unwrap();
    let path = &world.dropbox.paths()[0];
    fs::write(&sealed, world.dropbox.read(path).unwrap()).unwrap();
    let mut age = Command::new("age");
    let opened = age.arg("-d").arg("-i").args([&key, &sealed]).output();
    let opened = opened.unwrap();
    assert!(opened.status.success(), "{opened:?}");
    assert!(opened.stdout == Backup::numbered(1, 256 * MIB + 5).bytes());
}

#[test]
fn what_a_killed_run_has_committed_is_known_by_its_journal() {
    for size in [20_000, 9 * MIB] {
        let world = World::authorized();
        let owner = Owner::new();
        world.uisp.add(Backup::numbered(1, size));
        world.run_well();
        seal_to(&world, &[&owner]);
        let gate = Gate::new();
        let finish = On::next("files/upload_session/finish_batch_v2");
        world
            .dropbox
            .inject(finish, Action::HoldAnswer(gate.clone()));
        let run = world.start();
        assert!(gate.wait_reached(PATIENCE), "{}", world.log());
        run.signal("KILL");
        run.wait();
        gate.open();
        let ended = world.run_well();
        ended.assert_line(&["Finished: 0 uploaded"]);
        assert_eq!(counts(&world), (1, 1));
        owner.prove(&world, &ended);
        assert_sealed(&world, &owner);
        assert!(!world.data("transfers").exists());
    }
}

#[test]
fn what_may_be_stored_and_cannot_be_looked_for_is_not_sent_again_under_another_key() {
    for size in [20_000, 9 * MIB] {
        let world = World::authorized().sealing(true);
        world.uisp.add(Backup::numbered(1, size));
        let finish = On::next("files/upload_session/finish_batch_v2");
        world.dropbox.inject(finish, Action::AnswerLost);
        let look = On::every("files/get_metadata");
        world.dropbox.inject(look, Action::text(403, "no"));
        let ended = world.run_badly();
        ended.assert_line(&["ERROR: ", "could not be uploaded", "files/get_metadata"]);
        world.dropbox.traffic().clear_faults();
        // It is the file that its journal tells of.
        world.run_well().assert_line(&["Finished: 0 uploaded"]);
        world.assert_mirrored();
        assert_eq!(world.dropbox.files().len(), 1);
    }
}

#[test]
fn the_key_is_private_and_gone_after_the_commit() {
    let world = World::authorized();
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    world.uisp.add(Backup::numbered(1, 20 * MIB));
    let (run, _gate) = world.start_held("files/upload_session/finish_batch_v2");
    let journal = fs::read_dir(world.data("transfers"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mode = journal.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(journal.path()).unwrap();
    let (_, key) = text.split_once("\"file_key\":\"").unwrap();
    let key = key[..22].to_owned();
    run.signal("KILL");
    run.wait();
    let ended = world.run_well();
    ended.assert_line(&["was sent before"]);
    assert_sealed(&world, &owner);
    assert!(!world.data("transfers").exists());
    for file in ["state.json", "record.json", "plugin.log", "config.json"] {
        assert!(
            !fs::read_to_string(world.data(file)).unwrap().contains(&key),
            "{file}"
        );
    }
}

#[test]
fn files_of_a_folder_are_sealed_whatever_their_names() {
    let world = FolderWorld::new();
    let owner = Owner::new();
    world.write("a.sql", "one");
    world.write("a.sql.age", "two");
    world.write("sub/b", "three");
    world.run_well();
    seal_to(&world, &[&owner]);
    let ended = world.run();
    // The place of one's copy is taken by the other's, which is not sealed.
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    owner.prove(&world, &ended);
    world.run_well();
    let opened = |path: &str| owner.open(&world.dropbox.read(path).unwrap());
    assert_eq!(opened("/a.sql.age"), b"one");
    assert_eq!(opened("/a.sql.age.age"), b"two");
    assert_eq!(opened("/sub/b.age"), b"three");
    assert_eq!(world.dropbox.paths().len(), 3);
    // Another version, of the same length and of another.
    world.write("a.sql", "eno");
    world.write("sub/b", "thirty");
    world.run_well().assert_line(&["Finished: 2 uploaded"]);
    assert_eq!(opened("/a.sql.age"), b"eno");
    assert_eq!(opened("/sub/b.age"), b"thirty");
    // One that was only touched is compared with what is inside.
    world.let_rest("a.sql");
    let ended = world.run_well();
    ended.assert_line(&["Finished: 0 uploaded"]);
    world.run_well().assert_line(&["0 to compare"]);
    world.remove("a.sql.age");
    world.run_well();
    assert_eq!(world.dropbox.paths(), ["/a.sql.age", "/sub/b.age"]);
}

#[test]
fn what_could_not_be_noted_is_not_sent_under_an_old_key() {
    let world = World::authorized().moving_much();
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    let size = 6 * BLOCK;
    world.uisp.add(Backup::numbered(1, size));
    // Kills a run when so many blocks have arrived, whose answers it never sees.
    let kill_after = |arrived: usize| {
        let gate = Gate::new();
        let hold = Action::HoldAnswer(gate.clone());
        world.dropbox.inject(On::from_nth(APPEND, 1), hold);
        let before = world.count(APPEND);
        let plain = world.command();
        let mut command = users::lowered(plain, world.root(), world.ca.pem_path());
        command.env_remove("BACKUP_SYNC_CLOCK_SPEED");
        let run = world.start_as(&mut command);
        let traffic = world.dropbox.traffic();
        let whole = |e: &&Exchange| e.header("content-length") == Some(&e.body_bytes.to_string());
        let is_sent = |log: &[Exchange]| {
            let sent = log.iter().filter(|e| e.route == APPEND);
            sent.skip(before).filter(whole).count() >= arrived
        };
        assert!(traffic.wait_for(PATIENCE, is_sent), "{}", world.log());
        run.signal("KILL");
        run.wait();
        traffic.clear_faults();
        gate.open();
    };
    world.dropbox.inject(On::nth(APPEND, 3), Action::AnswerLost);
    kill_after(2);
    let journals = fs::read_dir(world.data("transfers")).unwrap();
    for journal in journals {
        let read_only = fs::Permissions::from_mode(0o400);
        fs::set_permissions(journal.unwrap().path(), read_only).unwrap();
    }
    kill_after(6);
    world.uisp.clear();
    world.uisp.add(Backup {
        altered_at: Some(5 * BLOCK + 100),
        ..Backup::numbered(1, size)
    });
    world.run_well();
    assert_sealed(&world, &owner);
    for (place, contents) in sent(&world) {
        assert_eq!(contents.len(), 1, "{place:?}");
    }
}

#[test]
fn a_copy_that_others_can_open_is_set_aside_until_the_new_key_was_proved() {
    let world = FolderWorld::new();
    let (first, second) = (Owner::new(), Owner::new());
    world.write("a.sql", "one");
    world.write("b.sql", "two");
    seal_to(&world, &[&first]);
    let ended = world.run_well();
    first.prove(&world, &ended);
    seal_to(&world, &[&second]);
    world.write("a.sql", "three");
    world.run_well();
    let find = || {
        let paths = world.dropbox.paths().into_iter();
        let aside: Vec<String> = paths.filter(|path| path.contains(" (replaced ")).collect();
        aside
    };
    assert_eq!(find().len(), 1, "{:?}", world.dropbox.paths());
    assert_eq!(first.open(&world.dropbox.read(&find()[0]).unwrap()), b"one");
    // It stays until then, and the next one, which is for the new key, is not set aside.
    world.write("a.sql", "seven");
    let ended = world.run_well();
    assert_eq!(find().len(), 1);
    second.prove(&world, &ended);
    world.run_well();
    assert_eq!(world.dropbox.paths(), ["/a.sql.age", "/b.sql.age"]);
    let opened = |path: &str| second.open(&world.dropbox.read(path).unwrap());
    assert_eq!(opened("/a.sql.age"), b"seven");
    assert_eq!(opened("/b.sql.age"), b"two");
    assert!(!world.log().contains("is not one that this program stored"));
}

#[test]
fn new_keys_leave_no_second_copies_whatever_is_kept() {
    let world = World::authorized();
    let (first, second) = (Owner::new(), Owner::new());
    world.configure(json!({"keepDeletedDays": 30}));
    world.add_backups(1, 4, 20_000);
    for owner in [&first, &second] {
        seal_to(&world, &[owner]);
        let ended = world.run_well();
        let ended = owner.prove(&world, &ended);
        assert!(!ended.log.contains("about to be replaced"), "{}", ended.log);
        assert_sealed(&world, owner);
    }
}

#[test]
fn without_keys_what_nobody_has_shown_to_open_does_not_stand_for_a_backup() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 2, 20_000);
    seal_to(&world, &[&owner]);
    world.run_well();
    // The secret key is lost, perhaps, and so is encrypting given up.
    world.configure(json!({"encryptTo": null}));
    world.run_well().assert_line(&["Finished: 2 uploaded"]);
    assert_eq!(counts(&world), (2, 2));
    world.run_well().assert_line(&["Finished: 0 uploaded"]);
}

#[test]
fn a_plain_copy_that_another_machine_has_stored_since_is_left_to_it() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 2, 20_000);
    seal_to(&world, &[&owner]);
    let ended = world.run_well();
    owner.prove(&world, &ended);
    let sealed = world.dropbox.paths()[0].clone();
    let plain = sealed.strip_suffix(".age").unwrap();
    let backup = world.uisp.backups().into_iter();
    let mut backup = backup.filter(|backup| plain.contains(&backup.id));
    world
        .dropbox
        .advance_clock(std::time::Duration::from_secs(60));
    world.dropbox.put(plain, &backup.next().unwrap().bytes());
    for _ in 0..2 {
        world
            .run_well()
            .assert_line(&["1 file in Dropbox is not encrypted"]);
        assert_eq!(counts(&world), (2, 1));
    }
}

#[test]
fn a_replaced_plain_copy_stays_as_long_as_others_and_not_for_ever() {
    let world = FolderWorld::new();
    let owner = Owner::new();
    world.configure(json!({"keepDeletedDays": 10}));
    world.write("a.sql", "one");
    world.run_well();
    seal_to(&world, &[&owner]);
    world.write("a.sql", "three");
    let ended = world.run_well();
    owner.prove(&world, &ended);
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    for number in 0..5 {
        assert!(world.dropbox.file("/a.sql").is_some(), "day {number}");
        // It changes each night.
        world.dropbox.advance_clock(4 * day);
        world.write("a.sql", format!("night {number}"));
        world.run_well();
        if number == 2 {
            assert!(world.dropbox.file("/a.sql").is_none());
            break;
        }
    }
}

#[test]
fn the_right_word_is_remembered_before_its_field_is_emptied_and_never_written_down() {
    let world = World::authorized();
    let owner = Owner::new();
    world.add_backups(1, 1, 20_000);
    seal_to(&world, &[&owner]);
    let ended = world.run_well();
    let word = owner.word(&ended);
    world.configure(json!({"encryptionProof": word.to_uppercase()}));
    let before = world.state();
    // The state has grown past what the disk takes.
    let ended = world.run_as(&mut world.command_with_full_disk(512));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert_eq!(world.state(), before);
    assert_eq!(
        world.config()["encryptionProof"],
        json!(word.to_uppercase())
    );
    world
        .run_well()
        .assert_line(&["is right: the encrypted copies can be opened"]);
    for file in ["state.json", "record.json", "plugin.log", "config.json"] {
        let text = fs::read_to_string(world.data(file)).unwrap();
        assert!(!text.to_lowercase().contains(&word), "{file}");
    }
}

#[test]
fn a_secret_key_is_taken_out_of_any_field_at_once_when_the_form_is_saved() {
    let world = World::authorized();
    world.add_backups(1, 1, 20_000);
    let owner = Owner::new();
    seal_to(&world, &[&owner]);
    let secret = "AGE-SECRET-KEY-1FAKEFAKEFAKEFAKEFAKE";
    world.configure(json!({"encryptionProof": secret}));
    let mut save = world.command();
    save.arg("setup");
    let ended = world.run_as(&mut save);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    ended.assert_line(&["ERROR: A secret key of age"]);
    assert!(!world.config().to_string().contains("FAKE"));
    assert_eq!(world.run_as(&mut save).log, "");
    assert!(!world.log().contains("FAKE"));
}
