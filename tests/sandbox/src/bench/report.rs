//! The measured figures as tables, for the terminal and for `docs/benchmarks.md`.

use std::fmt::Write as _;

use super::machine;
use super::scenario::{Measured, Scenario};
use super::world::{Line, SHAPED_BYTES_PER_SECOND};

/// What was measured so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<(Line, Scenario, Measured)>,
}

impl Report {
    /// Adds a scenario's figures.
    pub fn add(&mut self, line: Line, scenario: Scenario, measured: Measured) {
        self.rows.push((line, scenario, measured));
    }

    /// Everything as text.
    pub fn print(&self, is_markdown: bool, is_plain: bool) -> String {
        let mut text = String::new();
        for (name, value) in machine::describe(is_plain) {
            let bullet = if is_markdown { "- " } else { "" };
            let _ = writeln!(text, "{bullet}{name}: {value}");
        }
        for table in [self.runs(), self.limits(), self.evenness()] {
            if table.rows.len() > 1 {
                let _ = writeln!(text, "\n{}", table.print(is_markdown));
            }
        }
        text
    }

    fn runs(&self) -> Table {
        let mut table = Table::new(&[
            "line",
            "run",
            "wall",
            "CPU",
            "peak memory",
            "requests to Dropbox",
            "to UISP",
            "rate",
            "of the limit",
            "mirror",
        ]);
        for (line, scenario, measured) in &self.rows {
            let cost = measured.program;
            let limit_seconds = measured.bare.map(|bare| match line {
                Line::Shaped | Line::Far => measured.bytes as f64 / SHAPED_BYTES_PER_SECOND as f64,
                Line::Loopback => bare.wall_seconds,
            });
            table.add(vec![
                line.name().into(),
                scenario.name.into(),
                seconds(cost.wall_seconds),
                seconds(cost.cpu_seconds),
                megabytes(cost.peak_bytes),
                measured.dropbox_requests.to_string(),
                measured.uisp_requests.to_string(),
                rate(measured.bytes, cost.wall_seconds),
                limit_seconds.map_or_else(nothing, |limit| percent(limit / cost.wall_seconds)),
                // A run whose mirror is not right ends the benchmark.
                "right".into(),
            ]);
        }
        table
    }

    /// The bare copy loop, and how busy the stand-ins were.
    fn limits(&self) -> Table {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let mut table = Table::new(&[
            "line",
            "run",
            "bare copy: wall",
            "CPU",
            "rate",
            "of 100 MB/s",
            "stand-ins' CPU in the program's run",
            "of the machine",
        ]);
        for (line, scenario, measured) in &self.rows {
            let Some(bare) = measured.bare else { continue };
            let copied = measured.bytes as f64 / bare.wall_seconds;
            let stand_ins = measured.stand_ins_cpu_seconds;
            table.add(vec![
                line.name().into(),
                scenario.name.into(),
                seconds(bare.wall_seconds),
                seconds(bare.cpu_seconds),
                rate(measured.bytes, bare.wall_seconds),
                percent(copied / SHAPED_BYTES_PER_SECOND as f64),
                seconds(stand_ins),
                percent(stand_ins / measured.program.wall_seconds / cores),
            ]);
        }
        table
    }

    /// How uploads kept to their limit.
    fn evenness(&self) -> Table {
        let mut table = Table::new(&[
            "line",
            "run",
            "limit",
            "slowest minute",
            "fastest minute",
            "largest burst",
        ]);
        for (line, scenario, measured) in &self.rows {
            let Some(evenness) = measured.evenness else {
                continue;
            };
            table.add(vec![
                line.name().into(),
                scenario.name.into(),
                format!("{:.1} MB/s", evenness.limit / 1e6),
                percent(evenness.least),
                percent(evenness.most),
                format!("{:.2} MB", evenness.burst_bytes / 1e6),
            ]);
        }
        table
    }
}

fn nothing() -> String {
    "-".into()
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn rate(bytes: u64, seconds: f64) -> String {
    if bytes == 0 {
        return nothing();
    }
    format!("{:.0} MB/s", bytes as f64 / 1e6 / seconds)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Rows of text in columns.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|&name| name.into()).collect();
        Self { rows: vec![head] }
    }

    fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn print(&self, is_markdown: bool) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let lengths = self.rows.iter().map(|row| row[column].chars().count());
                lengths.max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:<width$}"))
                .collect();
            let line = if is_markdown {
                format!("| {} |", cells.join(" | "))
            } else {
                cells.join("   ").trim_end().to_owned()
            };
            text.push_str(&line);
            text.push('\n');
            if number == 0 && is_markdown {
                let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                text.push_str(&format!("| {} |\n", rules.join(" | ")));
            }
        }
        text
    }
}
