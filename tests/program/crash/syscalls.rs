//! Killed between any two of its own changes on disk, by strace; and with a disk that fails from
//! any of them on.

use std::collections::BTreeMap;
use std::fs;

use super::kill::{KILLED, patient, under_strace};
use super::scenario::{self, Scenario, Stage};

/// Every system call by which the program changes something on disk. Opening is not among them,
/// because the loader opens many files; a file that was opened and not written yet is covered by
/// the kill before the write.
const CHANGES: &str = "write,rename,renameat,renameat2,fsync,fdatasync,fchmod,fchown,chown,\
ftruncate,flock,unlink,unlinkat,mkdir,mkdirat,rmdir";

/// Runs `stage` under strace. Returns its exit code and what strace wrote down.
fn run_under_strace(stage: &Stage, calls: &str, tampering: &str) -> (Option<i32>, String) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut command = under_strace(&patient(&stage.world), calls, tampering, trace.path());
    let code = command.output().unwrap().status.code();
    (code, fs::read_to_string(trace.path()).unwrap())
}

/// The changes on disk of an undisturbed run: each system call, with how many of its kind the
/// busiest thread makes, which is how strace counts.
fn changes_of(scenario: Scenario) -> BTreeMap<String, usize> {
    let stage = scenario.prepare();
    let (code, trace) = run_under_strace(&stage, CHANGES, "");
    assert_eq!(code, Some(0), "{}", stage.world.log());
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        if let Some((thread, rest)) = line.split_once(' ')
            && let Some((call, _)) = rest.trim_start().split_once('(')
            && CHANGES.split(',').any(|known| known == call)
        {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let mut changes = BTreeMap::new();
    for ((_, call), count) in counts {
        let most = changes.entry(call.to_owned()).or_default();
        *most = count.max(*most);
    }
    changes
}

/// Kills runs of a scenario just before every one of their changes on disk. Asserts that there
/// were at least so many kills.
fn kill_at_every_change(scenario: Scenario, kills_min: usize) {
    let changes = changes_of(scenario);
    let mut kills = 0;
    for (call, count) in &changes {
        for number in 1..=*count {
            let mut stage = scenario.prepare();
            stage.context += &format!(", before {call} {number}");
            let tampering = format!("signal=KILL:when={number}");
            let (code, trace) = run_under_strace(&stage, call, &tampering);
            let killed = trace.lines().rev().find(|line| line.contains("= ?"));
            stage.context += &format!(" ({})", killed.unwrap_or("not reached"));
            stage.assert_unharmed();
            if code == KILLED {
                kills += 1;
                stage.assert_recovers();
            } else {
                assert_eq!(code, Some(0), "{}: {}", stage.context, stage.world.log());
            }
        }
    }
    println!(
        "{}: {kills} kills at changes on disk: {changes:?}",
        scenario.name
    );
    assert!(kills >= kills_min, "{}: {kills} kills", scenario.name);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_a_setup_with_secret() {
    kill_at_every_change(scenario::SETUP, 30);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_a_setup_with_pkce() {
    kill_at_every_change(scenario::SETUP_PKCE, 30);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_a_takeover() {
    kill_at_every_change(scenario::TAKEOVER, 25);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_changes() {
    kill_at_every_change(scenario::CHANGES, 25);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_a_confirmed_clean_up() {
    kill_at_every_change(scenario::CLEANUP, 20);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_encrypted_changes() {
    kill_at_every_change(scenario::CHANGES.sealed(), 25);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_change_on_disk_of_a_run_that_takes_the_proof_of_the_key() {
    kill_at_every_change(scenario::PROOF, 25);
}

/// Lets the disk fail runs of a scenario from their first change on, from the second, and so on.
fn fail_from_every_change_on(scenario: Scenario, calls: &str, error: &str) {
    let changes = changes_of(scenario);
    let most = calls.split(',').filter_map(|call| changes.get(call)).max();
    for number in 1..=*most.unwrap() {
        let mut stage = scenario.prepare();
        stage.context += &format!(", {error} from {number} on");
        let tampering = format!("error={error}:when={number}+");
        let (code, _) = run_under_strace(&stage, calls, &tampering);
        stage.assert_unharmed();
        match code {
            Some(0) => stage.assert_done(),
            code => assert_eq!(code, Some(1), "{}: {}", stage.context, stage.world.log()),
        }
        stage.assert_recovers();
    }
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn a_disk_that_is_full_from_any_change_on() {
    for scenario in [scenario::SETUP, scenario::SETUP_PKCE, scenario::CHANGES] {
        fail_from_every_change_on(scenario, "write,rename,renameat,mkdir", "ENOSPC");
    }
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn a_disk_that_cannot_sync_from_any_change_on() {
    for scenario in [scenario::SETUP, scenario::CLEANUP] {
        fail_from_every_change_on(scenario, "fsync,fdatasync", "EIO");
    }
}
