//! `data/plugin.log`: one line an event, as the host shows it to the admin.
//!
//! A line is `message (2026-11-21T04:12:09+01:00)`, with `WARNING: ` or `ERROR: ` in front where
//! due, in the host's timezone. Limitation: a line written while the file is being trimmed by
//! another process may be lost; only the run that holds the lock trims.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use log::{Level, LevelFilter, Record};

use super::atomic;
use super::own::{self, Access};
use crate::clock::{self, Stopwatch};
use crate::progress_bar::{self, ProgressBar};
use crate::secret;
use crate::text;
use crate::zone::Zone;

/// Target of a record whose text has several lines and is written as it is, without a time.
pub const BLOCK: &str = "block";

/// The host reads the whole file to show it; more than this is cut to [`BYTES_KEPT`].
const BYTES_MAX: u64 = 256 * 1024;
/// Newest part of the log that is kept by trimming.
const BYTES_KEPT: usize = 128 * 1024;

/// Mode of a new log, before the process's mask: there is no secret in it.
const MODE: u32 = 0o666;
/// How often the progress lines in the file are replaced.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// How every progress line begins, and no other line.
pub const PROGRESS_START: &str = "Uploading \"";

/// The timezone of the times in the log; UTC until the host's is known.
static ZONE: Mutex<Zone> = Mutex::new(Zone::UTC);

/// Sends the `log` crate's records to the plugin's log.
///
/// `RUST_LOG` may raise the level of our own records. The HTTP and TLS libraries stay silent below
/// WARN whatever it says: their details hold URLs, headers and bytes.
pub fn start(path: PathBuf, echo: Echo) {
    let mut builder = builder(LevelFilter::Info);
    builder.format(|buffer, record| {
        let zone = *ZONE.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.write_all(line(record, clock::now(), zone).as_bytes())
    });
    *PROGRESS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Progress {
        path,
        lines: String::new(),
        written: Stopwatch::start(),
        bars: BTreeMap::new(),
        echo,
    });
    builder.target(env_logger::Target::Pipe(Box::new(Sink)));
    if builder.try_init().is_err() {
        log::debug!("The log was started before.");
    }
}

/// Sends the `log` crate's records to standard error, from WARN on: for commands, which leave the
/// plugin's log to the runs.
pub fn start_on_stderr() {
    let mut builder = builder(LevelFilter::Warn);
    builder.format(|buffer, record| {
        let message = record.args().to_string();
        let level = level_mark(record.level());
        writeln!(
            buffer,
            "{level}{}",
            text::one_line(&secret::redact(&message))
        )
    });
    if builder.try_init().is_err() {
        log::debug!("The log was started before.");
    }
}

fn builder(level: LevelFilter) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    builder.parse_default_env();
    for library in ["ureq", "ureq_proto", "rustls", "oauth2", "webpki"] {
        builder.filter_module(library, LevelFilter::Warn);
    }
    builder
}

fn level_mark(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR: ",
        Level::Warn => "WARNING: ",
        Level::Info => "",
        Level::Debug => "DEBUG: ",
        Level::Trace => "TRACE: ",
    }
}

/// Sets the timezone of the lines to come.
pub fn set_zone(zone: Zone) {
    *ZONE.lock().unwrap_or_else(PoisonError::into_inner) = zone;
}

/// The timezone of the log.
pub fn zone() -> Zone {
    *ZONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts the log to its newest part, by whole lines, and removes the progress that a killed run left
/// at its end.
///
/// # Errors
/// If it cannot be written; it is left alone then.
pub fn trim(path: &Path) -> io::Result<()> {
    let Ok((tail, length)) = tail(path) else {
        return Ok(());
    };
    let is_whole = tail.len() as u64 == length;
    let kept = without_last_progress(if is_whole { &tail } else { newest(&tail) });
    if kept.len() as u64 == length {
        return Ok(());
    }
    atomic::write(path, kept)
}

/// The log, or its end if it is too long, and its length.
fn tail(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut file = own::open(path, Access::Read)?;
    let length = file.metadata()?.len();
    if length > BYTES_MAX {
        file.seek(SeekFrom::Start(length - BYTES_KEPT as u64))?;
    }
    let mut tail = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut tail)?;
    Ok((tail, length))
}

fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    own::open(path, Access::Read)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Takes the progress lines off the end of the file, in place.
fn cut_off_progress(path: &Path) -> io::Result<()> {
    let kept = without_last_progress(&whole(path)?).len();
    own::open(path, Access::Write)?.set_len(kept as u64)
}

/// The content without the progress lines at its end.
fn without_last_progress(mut content: &[u8]) -> &[u8] {
    loop {
        let body = content.strip_suffix(b"\n").unwrap_or(content);
        let start = body
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        if start >= content.len() || !content[start..].starts_with(PROGRESS_START.as_bytes()) {
            return content;
        }
        content = &content[..start];
    }
}

/// The progress lines at the end of a log, without their times.
pub fn shown_progress(path: &Path) -> Vec<String> {
    let (tail, _) = tail(path).unwrap_or_default();
    let kept = without_last_progress(&tail).len();
    let lines = String::from_utf8_lossy(tail.get(kept..).unwrap_or_default());
    lines
        .lines()
        .map(|line| line.rsplit_once(" (").map_or(line, |(text, _)| text))
        .map(str::to_owned)
        .collect()
}

/// The whole lines of the end of a log.
fn newest(tail: &[u8]) -> &[u8] {
    match tail.iter().position(|&byte| byte == b'\n') {
        Some(end) => &tail[end + 1..],
        None => tail,
    }
}

/// The line, or for [`BLOCK`] the lines, that a record becomes.
fn line(record: &Record<'_>, now: DateTime<Utc>, zone: Zone) -> String {
    let message = record.args().to_string();
    let message = secret::redact(&message);
    if record.target() == BLOCK {
        return message
            .lines()
            .map(|line| text::one_line(line) + "\n")
            .collect();
    }
    stamp(level_mark(record.level()), &message, now, zone)
}

fn stamp(level: &str, message: &str, now: DateTime<Utc>, zone: Zone) -> String {
    let message = text::one_line(message);
    let time = zone.local(now).to_rfc3339_opts(SecondsFormat::Secs, false);
    format!("{level}{message} ({time})\n")
}

/// The end of the log that changes in place while transfers go on.
static PROGRESS: Mutex<Option<Progress>> = Mutex::new(None);

/// The log file, the progress lines at its end, and the bars on the terminal.
#[derive(Debug)]
struct Progress {
    path: PathBuf,
    lines: String,
    /// When the lines were written last, or the transfers began.
    written: Stopwatch,
    /// By name of the transfer.
    bars: BTreeMap<String, ProgressBar>,
    echo: Echo,
}

/// Where lines go beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// To standard error, if somebody watches there.
    Terminal,
    /// To standard output, which somebody collects.
    Output,
}

/// A transfer that goes on.
#[derive(Debug)]
pub struct Transfer {
    /// What is transferred.
    pub name: String,
    /// Bytes that have arrived.
    pub held: u64,
    /// All bytes, where their number is known.
    pub length: Option<u64>,
    /// The same for the log, as a sentence that begins with [`PROGRESS_START`].
    pub line: String,
}

/// Shows how far these transfers have come, and no other ones any more: on a terminal as bars, in the
/// log as its last lines, which are replaced every few seconds.
///
/// The file is replaced as a whole each time, so that a reader sees whole lines at any instant.
pub fn progress(transfers: &[Transfer]) {
    let mut progress = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(progress) = progress.as_mut() else {
        return;
    };
    if progress.bars.is_empty() {
        progress.written = Stopwatch::start();
    }
    progress.show_bars(transfers);
    if transfers.is_empty() || progress.written.elapsed() >= PROGRESS_EVERY {
        progress.show_lines(transfers);
    }
}

/// Appends whole lines, or nothing: half a line on a full disk would be glued to the next one.
///
/// The file is opened for each line, so that a trimmed one is not written under its old name.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = own::open_or_make(path, Access::Append, MODE)?;
    let length = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        // What cannot be cut off stays.
        let _ = file.set_len(length);
    })
}

impl Progress {
    /// Appends lines; progress lines stay behind them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.lines.is_empty() {
            return append(&self.path, bytes);
        }
        let mut content = self.without_progress()?;
        content.extend_from_slice(bytes);
        content.extend_from_slice(self.lines.as_bytes());
        atomic::write(&self.path, &content)
    }

    fn show_bars(&mut self, transfers: &[Transfer]) {
        self.bars
            .retain(|name, _| transfers.iter().any(|transfer| transfer.name == *name));
        for transfer in transfers {
            let Transfer {
                name, held, length, ..
            } = transfer;
            self.bars
                .entry(name.clone())
                .or_insert_with(|| ProgressBar::new(&text::one_line(name), *held, *length))
                .advance_to(*held);
        }
    }

    fn show_lines(&mut self, transfers: &[Transfer]) {
        let stamped = |transfer: &Transfer| stamp("", &transfer.line, clock::now(), zone());
        let lines: String = transfers.iter().map(stamped).collect();
        self.written = Stopwatch::start();
        if lines == self.lines {
            return;
        }
        let shown = self.without_progress().and_then(|mut content| {
            content.extend_from_slice(lines.as_bytes());
            atomic::write(&self.path, &content)
        });
        self.lines = lines;
        if shown.is_err() {
            // Progress is a convenience; what cannot be written is not worth a line. A disk that
            // cannot sync may have taken the new lines nevertheless.
            self.lines.clear();
            let _ = cut_off_progress(&self.path);
        }
    }

    fn without_progress(&self) -> io::Result<Vec<u8>> {
        let mut content = whole(&self.path)?;
        if content.ends_with(self.lines.as_bytes()) {
            content.truncate(content.len() - self.lines.len());
        }
        Ok(content)
    }
}

/// Writes to the log file, and to its [`Echo`] where somebody watches or the file refuses.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        static COMPLAINED: OnceLock<()> = OnceLock::new();
        let mut progress = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(progress) = progress.as_mut() else {
            return Ok(bytes.len());
        };
        let written = progress.append(bytes);
        let is_watched = match progress.echo {
            Echo::Terminal => io::stderr().is_terminal(),
            Echo::Output => true,
        };
        if is_watched || written.is_err() {
            let mut echo = Vec::new();
            if let Err(error) = written
                && COMPLAINED.set(()).is_ok()
            {
                let file = progress.path.display();
                echo = format!(
                    "ERROR: The log {file} cannot be written ({error}). Its lines follow here. Check free disk space and the permissions of the plugin's data folder.\n"
                ).into_bytes();
            }
            echo.extend_from_slice(bytes);
            // Nothing is left to report a failure of it to.
            let _ = progress_bar::above_bars(|| match progress.echo {
                Echo::Terminal => io::stderr().write_all(&echo),
                Echo::Output => io::stdout().write_all(&echo),
            });
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(level: Level, target: &str, text: &str) -> String {
        let now = "2026-11-21T03:12:09.5Z".parse().unwrap();
        let record = format_args!("{text}");
        line(
            &Record::builder()
                .level(level)
                .target(target)
                .args(record)
                .build(),
            now,
            "Europe/Vienna".parse().unwrap(),
        )
    }

    #[test]
    fn a_line_has_level_message_and_local_time() {
        assert_eq!(
            written(Level::Info, "x", "Uploaded \"a\"."),
            "Uploaded \"a\". (2026-11-21T04:12:09+01:00)\n"
        );
        assert!(written(Level::Warn, "x", "m").starts_with("WARNING: m ("));
        assert!(written(Level::Error, "x", "m").starts_with("ERROR: m ("));
    }

    #[test]
    fn an_event_is_one_line_and_a_block_stays_as_it_is() {
        assert_eq!(
            written(Level::Info, "x", "a\r\nb\x1b[0m").lines().count(),
            1
        );
        assert_eq!(written(Level::Info, BLOCK, "a\nb"), "a\nb\n");
    }

    #[test]
    fn progress_is_found_at_the_end_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.log");
        assert!(shown_progress(&path).is_empty());
        let time = "(2026-11-21T04:12:09+01:00)";
        let line = |text: &str| format!("{text} {time}\n");
        let end = line("Uploading \"a\": 41 %.") + &line("Uploading \"b\": 5 MB so far.");
        fs::write(
            &path,
            line("Uploading \"x\": 1 %.") + &line("Started") + &end,
        )
        .unwrap();
        assert_eq!(
            shown_progress(&path),
            ["Uploading \"a\": 41 %.", "Uploading \"b\": 5 MB so far."]
        );
    }

    #[test]
    fn trimming_keeps_whole_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.log");
        let content: String = (0..20_000).map(|n| format!("line number {n}\n")).collect();
        fs::write(&path, &content).unwrap();
        trim(&path).unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.len() <= BYTES_KEPT && kept.len() > BYTES_KEPT - 100);
        assert!(kept.starts_with("line number ") && content.ends_with(&kept));
        trim(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    }
}
