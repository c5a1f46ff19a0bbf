//! Random histories of hosts, people and faults over hundreds of simulated days, judged by a
//! reference model that was written from the rules, not from the program.
//!
//! [`planner`] drives the plan of the library through many histories, in memory. [`binary`] drives
//! the real program through a few, against the stand-ins. A failure names its seed:
//! `MODEL_SEED=<seed>` replays it, `MODEL_HISTORIES=<number>` asks for more histories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod binary;
mod planner;
mod reference;
#[path = "../behaviour/support.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/behaviour, which uses all of it"
)]
mod support;

/// Runs `history` with many seeds, or with the one that `MODEL_SEED` names.
fn for_each_seed(histories: u64, mut history: impl FnMut(u64)) {
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
struct Seed(u64, &'static str);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, test) = self;
            eprintln!("replay with: MODEL_SEED={seed} cargo test --test model {test}");
        }
    }
}
