//! Killed at random times, several runs in a row.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::kill::{KILLED, patient};
use super::scenario::{ALL, Scenario};

/// Kills unless `CRASH_KILLS` says otherwise.
const KILLS: u32 = 60;
/// At most so many runs of one world are killed in a row.
const IN_A_ROW: u32 = 6;

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn at_random_times() {
    let wanted = number_from_environment("CRASH_KILLS").map_or(KILLS, |kills| kills as u32);
    let seed = number_from_environment("CRASH_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    });
    // The seed decides scenarios and times; what the machine does until then, nothing can replay.
    println!("{wanted} random kills; CRASH_SEED={seed} chooses the same times again");
    let usual: Vec<Duration> = ALL.iter().map(undisturbed).collect();
    let todo = Mutex::new((wanted, seed));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = next(&todo) {
                    let kills = series(seed, &usual);
                    let mut todo = todo.lock().unwrap();
                    todo.0 = todo.0.saturating_sub(kills);
                }
            });
        }
    });
}

/// The seed of the next series, if there is more to do.
fn next(todo: &Mutex<(u32, u64)>) -> Option<u64> {
    let mut todo = todo.lock().unwrap();
    todo.1 = todo.1.wrapping_add(1);
    (todo.0 > 0).then_some(todo.1)
}

/// How long a run takes that nobody kills.
fn undisturbed(scenario: &Scenario) -> Duration {
    let stage = scenario.prepare();
    let start = Instant::now();
    let status = patient(&stage.world).output().unwrap().status;
    assert_eq!(status.code(), Some(0), "{}", stage.world.log());
    start.elapsed()
}

/// Kills some runs of one world one after another, then lets it recover. Returns the kills.
fn series(seed: u64, usual: &[Duration]) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let index = random.usize(..ALL.len());
    let mut stage = ALL[index].prepare();
    let mut kills = 0;
    for _ in 0..random.u32(1..=IN_A_ROW) {
        let after = usual[index].mul_f64(random.f64());
        stage.context += &format!(", after {} ms (series {seed})", after.as_millis());
        let mut run = patient(&stage.world).spawn().unwrap();
        std::thread::sleep(after);
        run.kill().unwrap();
        kills += u32::from(run.wait().unwrap().code() == KILLED);
        stage.assert_unharmed();
    }
    stage.assert_recovers();
    kills
}
