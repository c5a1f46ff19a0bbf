//! Killed at every request to Dropbox and UISP: before it is carried out, and after it but before
//! the answer.

use sandbox::http::{Action, Gate, On};

use super::scenario::{self, Scenario, killed_at_gate};

/// Kills runs of a scenario at their first request, the second, and so on, until a run makes no
/// such request any more. Asserts that there were at least so many kills.
fn kill_at_every_request(scenario: Scenario, kills_min: u32) {
    let mut kills = 0;
    let holds = [
        ("before", Action::Hold as fn(Gate) -> Action),
        ("after", Action::HoldAnswer),
    ];
    for (moment, hold) in holds {
        for server in ["dropbox", "uisp"] {
            for number in 1.. {
                let mut stage = scenario.prepare();
                stage.context += &format!(", {moment} request {number} to {server}");
                let gate = Gate::new();
                let (on, hold) = (On::nth("*", number), hold(gate.clone()));
                match server {
                    "uisp" => stage.world.uisp.inject(on, hold),
                    _ => stage.world.dropbox.inject(on, hold),
                }
                if !killed_at_gate(&stage, &gate) {
                    break;
                }
                kills += 1;
                stage.assert_unharmed();
                stage.assert_recovers();
            }
        }
    }
    println!("{}: {kills} kills at requests", scenario.name);
    assert!(kills >= kills_min, "{}: {kills} kills", scenario.name);
}

#[test]
fn at_every_request_of_a_setup_with_secret() {
    kill_at_every_request(scenario::SETUP, 24);
}

#[test]
fn at_every_request_of_a_setup_with_pkce() {
    kill_at_every_request(scenario::SETUP_PKCE, 12);
}

#[test]
fn at_every_request_of_a_takeover() {
    kill_at_every_request(scenario::TAKEOVER, 22);
}

#[test]
fn at_every_request_of_changes() {
    kill_at_every_request(scenario::CHANGES, 24);
}

#[test]
fn at_every_request_of_a_confirmed_clean_up() {
    kill_at_every_request(scenario::CLEANUP, 12);
}

#[test]
fn at_every_request_of_an_upload_that_is_carried_on() {
    kill_at_every_request(scenario::CARRIED_ON, 14);
}

#[test]
#[ignore = "long; part of ./build.sh release-test"]
fn at_every_request_of_encrypted_changes() {
    kill_at_every_request(scenario::CHANGES.sealed(), 24);
}

#[test]
fn at_every_request_of_an_encrypted_upload_that_is_carried_on() {
    kill_at_every_request(scenario::CARRIED_ON.sealed(), 14);
}

#[test]
fn at_every_request_of_a_run_that_takes_the_proof_of_the_key() {
    kill_at_every_request(scenario::PROOF, 14);
}
