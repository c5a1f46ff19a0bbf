//! The scenarios, and how one is measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::dropbox::content_hash;
use crate::uisp::Backup;
use anyhow::{Context, Result};

use super::bare::Order;
use super::evenness::{Evenness, Recording};
use super::measure::{Cost, measure, own_cpu_seconds};
use super::timeline::Timeline;
use super::world::{Line, World};

/// What the measured run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Upload all backups; nothing is there.
    FirstRun,
    /// Nothing: all backups are mirrored.
    Nothing,
    /// Delete the files of so many backups.
    Delete(usize),
}

/// One thing to measure.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// For the report.
    pub name: &'static str,
    sizes: Vec<u64>,
    /// Small files of a folder that is the source then, instead of UISP's backups.
    files: usize,
    task: Task,
    /// The upload limit in Mbit/s, if there is one. The run must take longer than a minute then.
    limit_mbps: Option<u32>,
    /// Everything is encrypted.
    is_sealed: bool,
    /// Measured once only, because it takes minutes.
    is_long: bool,
}

/// What one or several runs took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// The program's cost.
    pub program: Cost,
    /// The bare copy loop's cost, where bytes were sent.
    pub bare: Option<Cost>,
    /// How it kept to its upload limit, where it had one.
    pub evenness: Option<Evenness>,
    /// Bytes of backups sent.
    pub bytes: u64,
    /// Requests that the Dropbox stand-in got from the program.
    pub dropbox_requests: usize,
    /// Requests that the UISP stand-in got from the program.
    pub uisp_requests: usize,
    /// CPU time of both stand-ins during the program's run, in seconds.
    pub stand_ins_cpu_seconds: f64,
}

const MIRRORED: usize = 30;
/// A public key of age whose secret key nobody has kept.
const RECIPIENT: &str = "age12v4frtfqjxpene2jjpyhfwqtt2kvweaqnz6h9sfhhuqfy8elf4uql9k86s";

impl Scenario {
    /// All of them, in the order of the report.
    pub fn all(line: Line, is_large: bool) -> Vec<Self> {
        let scenario = |name, sizes, task| Self {
            name,
            sizes,
            files: 0,
            task,
            limit_mbps: None,
            is_sealed: false,
            is_long: false,
        };
        // Where nothing is uploaded, sizes do not matter: they only delay the preparation.
        let small = vec![100_000; MIRRORED];
        let mixed = [vec![3_000_000; 30], vec![140_000_000]].concat();
        let mut all = vec![
            scenario("nothing to do, 30 mirrored", small.clone(), Task::Nothing),
            scenario(
                "first run of 30 x 5 MB",
                vec![5_000_000; 30],
                Task::FirstRun,
            ),
            scenario("one of 140 MB", vec![140_000_000], Task::FirstRun),
            scenario("one of 1 GiB", vec![1 << 30], Task::FirstRun),
            Self {
                is_sealed: true,
                ..scenario("one of 1 GiB, encrypted", vec![1 << 30], Task::FirstRun)
            },
            // The newest, which is the last here, goes first: its memory has to serve the small ones.
            scenario("140 MB, then 30 x 3 MB", mixed, Task::FirstRun),
            scenario("10 deletions of 30", small, Task::Delete(10)),
        ];
        // Over eight connections, and over the only one that so low a limit leaves.
        for (name, bytes, limit) in [
            ("420 MB at 40 Mbit/s", 420_000_000, 40),
            ("20 MB at 2 Mbit/s", 20_000_000, 2),
        ] {
            all.push(Self {
                limit_mbps: Some(limit),
                is_long: true,
                ..scenario(name, vec![bytes], Task::FirstRun)
            });
        }
        // What grows with the number of files shows best where the line is no limit.
        if line == Line::Loopback {
            for (name, task) in [
                ("first run of 32,000 files", Task::FirstRun),
                ("nothing to do, 32,000 files", Task::Nothing),
            ] {
                all.push(Self {
                    files: 32_000,
                    is_long: true,
                    ..scenario(name, Vec::new(), task)
                });
            }
        }
        if is_large {
            all.push(Self {
                is_long: true,
                ..scenario("one of 8 GiB", vec![8 << 30], Task::FirstRun)
            });
        }
        // What a new connection costs does not show in what takes minutes.
        all.retain(|scenario| line != Line::Far || !scenario.is_long);
        all
    }

    fn backups(&self) -> Vec<Backup> {
        (0..)
            .zip(&self.sizes)
            .map(|(number, &size)| Backup::numbered(number, size))
            .collect()
    }
}

/// Measures scenarios.
pub struct Bench<'a> {
    /// The program.
    pub program: &'a Path,
    /// HTTPS to Dropbox, as in real life.
    pub has_tls: bool,
    /// Runs of each scenario.
    pub repeat: usize,
    /// Shows what the last run of each did over time.
    pub has_timeline: bool,
}

impl Bench<'_> {
    /// The median of all runs of a scenario.
    ///
    /// # Errors
    /// When a run fails, or its mirror is not right.
    pub fn measure(&self, line: Line, scenario: &Scenario) -> Result<Measured> {
        let backups = scenario.backups();
        let mut hashes: BTreeMap<String, String> = backups
            .iter()
            .map(|backup| (backup.id.clone(), backup.content_hash()))
            .collect();
        hashes.extend(
            (0..scenario.files)
                .map(file_of_folder)
                .map(|(path, content)| (format!("/{path}"), content_hash(content.as_bytes()))),
        );
        let repeat = if scenario.is_long { 1 } else { self.repeat };
        let mut runs = Vec::new();
        for number in 1..=repeat {
            let has_timeline = self.has_timeline && number == repeat;
            let mut measured = self.run(line, scenario, &backups, &hashes, has_timeline)?;
            // Alternating with the program, so that a busy machine slows both.
            if scenario.task == Task::FirstRun
                && !backups.is_empty()
                && scenario.limit_mbps.is_none()
            {
                measured.bare = Some(self.copy(line, &backups, &hashes)?);
            }
            runs.push(measured);
        }
        Ok(median(&runs))
    }

    fn run(
        &self,
        line: Line,
        scenario: &Scenario,
        backups: &[Backup],
        hashes: &BTreeMap<String, String>,
        has_timeline: bool,
    ) -> Result<Measured> {
        let world = World::new(line, self.has_tls, backups)?;
        if let Some(limit) = scenario.limit_mbps {
            world.configure("uploadLimitMbps", &limit.to_string())?;
        }
        if scenario.is_sealed {
            world.configure("encryptTo", RECIPIENT)?;
        }
        if scenario.files > 0 {
            world.fill_folder((0..scenario.files).map(file_of_folder))?;
        }
        let command = world.run_of(self.program);
        let mut hashes = hashes.clone();
        if scenario.task != Task::FirstRun {
            measure(&command).with_context(|| world.log())?;
            world.check(&hashes)?;
        }
        if let Task::Delete(count) = scenario.task {
            for backup in &backups[..count] {
                world.uisp.remove(&backup.id);
                hashes.remove(&backup.id);
            }
        }
        world.clear_requests();
        let timeline = has_timeline.then(|| Timeline::record(&world.dropbox));
        let recording = scenario
            .limit_mbps
            .map(|limit| Recording::start(&world.dropbox, f64::from(limit) * 1e6 / 8.0));
        let cpu_before = own_cpu_seconds()?;
        let program = measure(&command).with_context(|| world.log())?;
        let stand_ins_cpu_seconds = own_cpu_seconds()? - cpu_before;
        if let Some(timeline) = timeline {
            eprint!("{}", timeline.stop());
        }
        let evenness = recording.and_then(Recording::stop);
        if scenario.is_sealed {
            world.check_sealed(backups)?;
        } else {
            world.check(&hashes)?;
        }
        let sent = match scenario.task {
            Task::FirstRun => scenario.sizes.iter().sum(),
            Task::Nothing | Task::Delete(_) => 0,
        };
        Ok(Measured {
            program,
            bare: None,
            evenness,
            bytes: sent,
            dropbox_requests: world.dropbox.requests().len(),
            uisp_requests: world.uisp.requests().len(),
            stand_ins_cpu_seconds,
        })
    }

    fn copy(
        &self,
        line: Line,
        backups: &[Backup],
        hashes: &BTreeMap<String, String>,
    ) -> Result<Cost> {
        let world = World::new(line, self.has_tls, backups)?;
        let order = Order::of(&world, backups);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["bench", "copy"])
            .arg(serde_json::to_string(&order)?);
        let cost = measure(&command)?;
        world.check(hashes)?;
        Ok(cost)
    }
}

/// One of a folder's small files: its path and its content.
fn file_of_folder(number: usize) -> (String, String) {
    let path = format!("{:03}/file-{number:06}.dump", number / 100);
    (path, format!("the content of file {number}"))
}

/// The median of each figure; of the memory the largest, because a peak is a promise.
fn median(runs: &[Measured]) -> Measured {
    let of = |figure: &dyn Fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let most = |figure: &dyn Fn(&Measured) -> u64| runs.iter().map(figure).max().unwrap_or(0);
    let cost = |part: &dyn Fn(&Measured) -> Cost| Cost {
        wall_seconds: of(&|run| part(run).wall_seconds),
        cpu_seconds: of(&|run| part(run).cpu_seconds),
        peak_bytes: most(&|run| part(run).peak_bytes),
    };
    let has_bare = runs.iter().any(|run| run.bare.is_some());
    Measured {
        program: cost(&|run| run.program),
        bare: has_bare.then(|| cost(&|run| run.bare.unwrap_or_default())),
        // Measured once.
        evenness: runs.first().and_then(|run| run.evenness),
        bytes: most(&|run| run.bytes),
        dropbox_requests: runs
            .iter()
            .map(|run| run.dropbox_requests)
            .max()
            .unwrap_or(0),
        uisp_requests: runs.iter().map(|run| run.uisp_requests).max().unwrap_or(0),
        stand_ins_cpu_seconds: of(&|run| run.stand_ins_cpu_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_and_the_peak_of_memory() {
        let run = |wall_seconds, peak_bytes| Measured {
            program: Cost {
                wall_seconds,
                peak_bytes,
                ..Cost::default()
            },
            ..Measured::default()
        };
        let median = median(&[run(3.0, 1), run(1.0, 2), run(2.0, 1)]);
        assert_eq!(median.program.wall_seconds, 2.0);
        assert_eq!(median.program.peak_bytes, 2);
        assert!(median.bare.is_none());
    }
}
