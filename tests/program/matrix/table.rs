//! Runs the cells of a table, several at a time, and prints what came of each.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::Place;
use super::expectation::Cell;
use super::requests::Kind;
use super::scene::Scene;
use crate::support::Permits;

/// Runs at a time, in all tables together. Most of them wait most of the time.
const WORKERS: usize = 8;
static RUNS: Permits = Permits::new(WORKERS);

/// How long a fault stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It strikes one request.
    Once,
    /// It strikes every one from the first on.
    Lasting,
}

/// A row of a table.
pub struct Row {
    name: String,
    places: Vec<Place>,
}

impl Row {
    /// A row with one place for each column.
    pub fn new(name: &str, places: Vec<Place>) -> Self {
        Self {
            name: name.into(),
            places,
        }
    }
}

/// A table to be filled.
pub struct Sheet {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// Everything is encrypted in the worlds of its cells.
    is_sealed: bool,
    /// Of the cells of each kind of request, one in so many is played.
    one_in: usize,
    /// Kinds of requests that are not hit.
    left_out: Vec<Kind>,
}

/// The cells that share a world, one after another.
struct Series {
    kind: Kind,
    cells: Vec<(Index, Cell)>,
}

/// Row and column of a place, and which of its cells.
type Index = (usize, usize, usize);

/// What came of each cell.
type Results = BTreeMap<Index, Result<(), String>>;

impl Sheet {
    /// An empty table.
    pub fn new(title: &'static str, columns: Vec<String>) -> Self {
        Self {
            title,
            columns,
            rows: Vec::new(),
            is_sealed: false,
            one_in: 1,
            left_out: Vec::new(),
        }
    }

    /// The same table where everything is encrypted, which is never compared with its backup.
    pub fn sealed(self) -> Self {
        let sealed = Self {
            is_sealed: true,
            ..self
        };
        sealed.without(Kind::Compare)
    }

    /// The same table without one kind of request.
    pub fn without(mut self, kind: Kind) -> Self {
        self.left_out.push(kind);
        self
    }

    /// A sample of this table.
    pub fn one_in(self, one_in: usize) -> Self {
        Self { one_in, ..self }
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Runs all cells whose fault stays like this, and prints the table.
    ///
    /// # Panics
    /// If a cell did not come to what it should.
    pub fn fill(&self, stay: Stay) {
        let queue = Mutex::new(self.series(stay));
        let results = Mutex::new(Results::new());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().pop();
                        let Some(series) = next else { return };
                        let played = play(series, self.is_sealed);
                        results.lock().unwrap().extend(played);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap();
        self.print(stay, &results);
        let failures: Vec<String> = results.into_values().filter_map(Result::err).collect();
        let texts = failures.join("\n\n");
        assert!(
            failures.is_empty(),
            "{} cells failed:\n\n{texts}",
            failures.len()
        );
    }

    /// The cells, in series of one kind of request.
    fn series(&self, stay: Stay) -> Vec<Series> {
        let only = std::env::var("MATRIX_ONLY").unwrap_or_default();
        let mut series: Vec<Series> = Vec::new();
        let mut met: BTreeMap<&str, usize> = BTreeMap::new();
        for (row, places) in self.rows.iter().enumerate() {
            for (column, place) in places.places.iter().enumerate() {
                for (index, cell) in place.iter().flatten().enumerate() {
                    if cell.lasting != (stay == Stay::Lasting) || !cell.name.contains(&only) {
                        continue;
                    }
                    if self.left_out.contains(&cell.kind) {
                        continue;
                    }
                    // Other rows for other columns.
                    let met = met.entry(cell.kind.name()).or_insert(column);
                    *met += 1;
                    if !met.is_multiple_of(self.one_in) {
                        continue;
                    }
                    let mut cell = cell.clone();
                    if self.is_sealed {
                        cell.expected = cell.expected.sealed(cell.kind, cell.lasting);
                    }
                    let kind = cell.kind;
                    let entry = ((row, column, index), cell);
                    match series.iter_mut().find(|series| series.kind == kind) {
                        Some(series) => series.cells.push(entry),
                        None => series.push(Series {
                            kind,
                            cells: vec![entry],
                        }),
                    }
                }
            }
        }
        series
    }

    fn print(&self, stay: Stay, results: &Results) {
        let mut reasons: Vec<&str> = Vec::new();
        let mut lines = Vec::new();
        for (row, places) in self.rows.iter().enumerate() {
            let mut texts = Vec::new();
            for (column, place) in places.places.iter().enumerate() {
                texts.push(match place {
                    Err(reason) => {
                        if !reasons.contains(reason) {
                            reasons.push(reason);
                        }
                        let note = reasons.iter().position(|known| known == reason);
                        format!("({})", note.unwrap_or_default() + 1)
                    }
                    Ok(cells) => {
                        let result = |index| results.get(&(row, column, index));
                        match (0..cells.len()).find_map(result) {
                            Some(Ok(())) => "ok",
                            Some(Err(_)) => "FAILED",
                            // Left out, or with no such cell.
                            None => "-",
                        }
                        .to_owned()
                    }
                });
            }
            lines.push((&places.name, texts));
        }
        let first = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let longest = |text: &str| text.split_whitespace().map(str::len).max().unwrap_or(0);
            let texts = lines.iter().map(|(_, texts)| texts[column].len()).max();
            texts.unwrap_or(0).max(longest(&self.columns[column]))
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let sealed = if self.is_sealed { ", encrypted" } else { "" };
        say(&format!("\n{}, {stay:?}{sealed}\n", self.title));
        let words: Vec<Vec<&str>> = self
            .columns
            .iter()
            .map(|column| column.split_whitespace().collect())
            .collect();
        let height = words.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let texts: Vec<&str> = words
                .iter()
                .map(|words| words.get(line).copied().unwrap_or_default())
                .collect();
            print_line("", first, &texts, &widths);
        }
        for (name, texts) in &lines {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            print_line(name, first, &texts, &widths);
        }
        for (index, reason) in reasons.iter().enumerate() {
            say(&format!("({}) {reason}", index + 1));
        }
    }
}

/// Prints past the test runner's capture: the matrix is shown by every run, not by failing ones only.
pub fn say(line: &str) {
    // A terminal that is gone does not matter.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn print_line(name: &str, first: usize, texts: &[&str], widths: &[usize]) {
    let cells: Vec<String> = texts
        .iter()
        .zip(widths)
        .map(|(text, width)| format!("{text:<width$}"))
        .collect();
    say(&format!("{name:<first$}  {}", cells.join("  ").trim_end()));
}

/// Plays the cells of a series in one world; a new world follows a failure.
fn play(series: Series, is_sealed: bool) -> Results {
    let kind = series.kind;
    let mut scene = None;
    let play = |(index, cell): (Index, Cell)| {
        let _permit = RUNS.permit();
        let played = catch_unwind(AssertUnwindSafe(|| {
            let scene = scene.get_or_insert_with(|| Scene::new(kind, is_sealed));
            scene.play(&cell);
        }));
        let result = played.map_err(|panic| {
            scene = None;
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let lasts = if cell.lasting { "lasting" } else { "once" };
            let sealed = if is_sealed { ", encrypted" } else { "" };
            let text = text.unwrap_or("no text");
            format!("{}, {lasts}{sealed}: {text}", cell.name)
        });
        (index, result)
    };
    series.cells.into_iter().map(play).collect()
}
