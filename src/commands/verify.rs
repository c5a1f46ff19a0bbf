//! `verify`: whether the mirror holds what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, Command, End, Failure, say, say_json, unlimited};
use crate::backup_id::BackupId;
use crate::clock::Stop;
use crate::dropbox::content_hash::{ContentHasher, Digested};
use crate::dropbox::download::Download;
use crate::dropbox::files::FileMetadata;
use crate::dropbox::{self, Dropbox};
use crate::findings::{Finding, Level, advice, table};
use crate::mirror::announce::{long_pending, remarks};
use crate::mirror::{survey, transfer};
use crate::open;
use crate::plugin::config::Settings;
use crate::row::{Decision, Row};
use crate::source::{self, Kind, Listing, Source};
use crate::state::{self, Memory, Mirrored};
use crate::text;

const HELP: &str = "\
Compares every backup in Dropbox with what is known about it.

Usage: backup-sync-dropbox verify [--deep] [--root DIR] [--json]

Size and content hash of each file, as Dropbox reports them, are compared with
what runs have recorded, and with the backup itself where UISP still has it,
which reads it from UISP. With --deep the files are downloaded as well and their
content is hashed here; that needs the permission files.content.read and takes
as long as downloading everything. Nothing is changed or repaired: a run does
that for backups that UISP still has.

One line for each file:
  ok       equal to everything it could be compared with, which is named
  differs  not equal; the line says to what
  missing  recorded or listed in UISP, but not in Dropbox
  unknown  neither recorded nor in UISP, so there is nothing to compare with
  failed   it could not be compared; the line says why

Options:
  --deep      Download the files, too.
  --root DIR  The plugin's folder. Default: the current folder.
  --json      Print one JSON document: ok, deep, source_asked, source_problem,
              gaps, files (name, result, compared_with, problems) and counts by
              result. compared_with holds record, source and content; gaps holds
              what the source may have that could not be read.
  --help      Print this text and exit.

Exit codes:
  0  Every backup is there: nothing differs, nothing is missing, and everything
     could be read and compared.
  1  Something differs, is missing, or could not be read or compared.
  2  The command line is wrong.

Example:
  backup-sync-dropbox verify --deep
";

/// The command.
pub const COMMAND: Command = Command {
    name: "verify",
    help: HELP,
    options: &["deep", "json"],
    settings: &[],
    operands: (0, 0),
    run,
};

/// How much is downloaded at a time.
const PIECE_BYTES: usize = 256 * 1024;

fn run(call: &Call) -> Result<End, Failure> {
    let stop = unlimited();
    let settings = call.settings()?;
    let memory = call.memory()?;
    let dropbox = call.connect(&settings, &stop)?;
    let listed = survey::list(&dropbox, &settings)
        .map_err(|error| table::mirror_folder_not_listed().explained(&error, &error))?;
    let mut origin = Origin::find(call, &settings, &stop);
    let zone = memory.zone();
    let plan = survey::plan(&origin.listing, &listed, &memory, &settings, zone);

    let mut report = Report {
        is_json: call.has("json"),
        files: Vec::new(),
        counts: BTreeMap::new(),
    };
    for row in plan.rows.iter().filter(|row| row.id.is_some()) {
        let Some(file) = &row.file else {
            let why = match row.decision {
                Decision::Upload => "its backup is finished, but it is not in Dropbox",
                Decision::Refuse => "Dropbox refuses its name",
                _ if row
                    .id
                    .as_ref()
                    .is_some_and(|id| plan.pending.contains_key(id)) =>
                {
                    "its backup is listed, but not finished, and not in Dropbox"
                }
                _ => continue,
            };
            report.add(&row.name, Verdict::missing(why))?;
            continue;
        };
        let record = row.id.as_ref().and_then(|id| {
            let Memory {
                mirrored, unsealed, ..
            } = &memory;
            state::known(mirrored, unsealed, id, row.sealed.is_some())
        });
        let mut verdict = Verdict::default();
        verdict.compare_record(file, record);
        let is_pending = row
            .id
            .as_ref()
            .is_some_and(|id| plan.pending.contains_key(id));
        if is_pending && row.finished().is_none() {
            let problem = "it is not the present version of its backup, which is not finished yet";
            verdict.problems.push(problem.into());
        }
        let inside = record
            .filter(|_| row.sealed.is_some())
            .map(Mirrored::of_backup);
        origin.compare(row, file, inside, &stop, &mut verdict);
        if call.has("deep") {
            let path = format!("{}/{}", settings.mirror_folder, row.name);
            verdict.compare_content(&dropbox, path, file)?;
        }
        report.add(&row.name, verdict)?;
    }
    let told: BTreeSet<&BackupId> = plan
        .rows
        .iter()
        .filter(|row| row.file.is_some() || row.backup.is_some())
        .filter_map(|row| row.id.as_ref())
        .collect();
    for id in memory.mirrored.keys().filter(|id| !told.contains(id)) {
        let why = "it was recorded as verified, but is not in Dropbox any more";
        report.add(id.as_str(), Verdict::missing(why))?;
    }
    // A source that was not asked has not shown an empty list.
    if origin.source.is_some() {
        let gaps = remarks(&plan, &origin.listing, Kind::of(&settings)).into_iter();
        let gaps = gaps.chain(long_pending(&plan, &plan.pending));
        let gaps = gaps.filter(|finding| finding.level >= Level::Gap);
        origin.gaps = gaps.map(|finding| finding.line()).collect();
    }
    report.end(call, &origin)
}

/// The place that the backups came from, as far as it can be asked.
struct Origin {
    /// The source, if it has given its list.
    source: Option<Arc<dyn Source>>,
    listing: Listing,
    /// Why it was not asked although it is configured, or not to the end.
    problem: Option<String>,
    /// What it may have that the mirror lacks.
    gaps: Vec<String>,
}

impl Origin {
    fn find(call: &Call, settings: &Settings, stop: &Stop) -> Self {
        let mut origin = Self {
            source: None,
            listing: Listing::default(),
            problem: None,
            gaps: Vec::new(),
        };
        if settings.uisp_token.is_none() && settings.backup_directory.is_none() {
            return origin;
        }
        match open::source(&call.folder, settings, stop) {
            Err(errors) => origin.problem = Some(Failure::from(errors).to_string()),
            Ok(source) => match source.list() {
                Ok(listing) => {
                    origin.listing = listing;
                    origin.source = Some(source);
                }
                Err(error) => {
                    let finding = table::backups_not_listed(source.kind().name_at_start());
                    let finding = finding.explained(&error, advice::listing(&error));
                    origin.problem = Some(finding.line());
                }
            },
        }
        origin
    }

    /// Compares a file with its backup, if that is there and finished.
    /// What is in a sealed file only the record knows.
    fn compare(
        &mut self,
        row: &Row,
        file: &FileMetadata,
        inside: Option<Digested>,
        stop: &Stop,
        verdict: &mut Verdict,
    ) {
        let (Some(source), Some(backup)) = (&self.source, row.finished()) else {
            return;
        };
        if row.sealed.is_some() && inside.is_none() {
            return;
        }
        match transfer::digest(source.as_ref(), backup, stop) {
            Ok(digested) if row.sealed.is_some() => {
                verdict.compared_with.push("source");
                if Some(digested) != inside {
                    verdict
                        .problems
                        .push("what is in it is not its backup, as it is now".into());
                }
            }
            Ok(digested) => verdict.compare("source", "its backup", file, digested),
            Err(error) => {
                let finding = table::backup_unreadable().explained(&error, &error);
                verdict.fail(&finding);
                if matches!(
                    error,
                    source::Error::Network { .. } | source::Error::Unauthorized { .. }
                ) {
                    // The others would only take as long to fail in the same way.
                    self.problem = Some(format!(
                        "{} could not be asked any more: {error}.",
                        source.kind().name_at_start()
                    ));
                    self.source = None;
                }
            }
        }
    }
}

/// What came out for one file.
#[derive(Debug, Default)]
struct Verdict {
    compared_with: Vec<&'static str>,
    problems: Vec<String>,
    is_missing: bool,
    has_failed: bool,
}

impl Verdict {
    fn missing(why: &str) -> Self {
        Self {
            problems: vec![why.to_owned()],
            is_missing: true,
            ..Self::default()
        }
    }

    fn fail(&mut self, finding: &Finding) {
        self.has_failed = true;
        self.problems.push(finding.line());
    }

    fn word(&self) -> &'static str {
        match self {
            Self {
                is_missing: true, ..
            } => "missing",
            Self {
                has_failed: true, ..
            } => "failed",
            Self { problems, .. } if !problems.is_empty() => "differs",
            Self { compared_with, .. } if compared_with.is_empty() => "unknown",
            _ => "ok",
        }
    }

    fn compare(&mut self, with: &'static str, what: &str, file: &FileMetadata, other: Digested) {
        self.compared_with.push(with);
        if file.size != other.bytes {
            self.problems.push(format!(
                "Dropbox has {} bytes, {what} has {}",
                file.size, other.bytes
            ));
        } else if file
            .content_hash
            .is_some_and(|hash| hash != other.content_hash)
        {
            self.problems
                .push(format!("its content hash is not that of {what}"));
        } else if file.content_hash.is_none() {
            self.problems
                .push("Dropbox reports no content hash for it".into());
        }
    }

    fn compare_record(&mut self, file: &FileMetadata, record: Option<&Mirrored>) {
        if let Some(record) = record {
            let digested = Digested {
                bytes: record.bytes,
                content_hash: record.content_hash,
            };
            self.compare("record", "what was recorded", file, digested);
        }
    }

    fn compare_content(
        &mut self,
        dropbox: &Dropbox,
        path: String,
        file: &FileMetadata,
    ) -> Result<(), Failure> {
        match content(dropbox, path, file) {
            Ok(digested) => self.compare("content", "what was downloaded", file, digested),
            Err(
                error @ (dropbox::Error::MissingScope { .. }
                | dropbox::Error::LegacyTokenRefused { .. }
                | dropbox::Error::AccessRefused { .. }),
            ) => return Err(table::nothing_downloads().explained(&error, &error).into()),
            Err(error) => self.fail(&table::copy_unreadable().explained(&error, &error)),
        }
        Ok(())
    }
}

/// Length and hash of what a download gives.
fn content(
    dropbox: &Dropbox,
    path: String,
    file: &FileMetadata,
) -> Result<Digested, dropbox::Error> {
    let mut download = Download::new(dropbox, path, file, 0);
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match download.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

struct Report {
    is_json: bool,
    files: Vec<Value>,
    counts: BTreeMap<&'static str, usize>,
}

impl Report {
    fn add(&mut self, name: &str, verdict: Verdict) -> Result<(), Failure> {
        let word = verdict.word();
        *self.counts.entry(word).or_default() += 1;
        if self.is_json {
            self.files.push(json!({
                "name": name,
                "result": word,
                "compared_with": verdict.compared_with,
                "problems": verdict.problems,
            }));
            return Ok(());
        }
        let why = match word {
            "ok" => format!("compared with {}", verdict.compared_with.join(", ")),
            "unknown" => "nothing to compare with".into(),
            _ => verdict.problems.join("; "),
        };
        say(&format!("{word:<7}  {name}  ({why})"))
    }

    fn end(self, call: &Call, origin: &Origin) -> Result<End, Failure> {
        let is_good = |(&word, _): (&&'static str, &usize)| matches!(word, "ok" | "unknown");
        // Nothing is proved by files with which nothing could be compared.
        let is_proof = origin.source.is_some() || self.counts.contains_key("ok");
        let is_ok = self.counts.iter().all(is_good)
            && origin.problem.is_none()
            && origin.gaps.is_empty()
            && is_proof;
        if self.is_json {
            say_json(&json!({
                "ok": is_ok,
                "deep": call.has("deep"),
                "source_asked": origin.source.is_some(),
                "source_problem": origin.problem,
                "gaps": origin.gaps,
                "files": self.files,
                "counts": self.counts,
            }))?;
        } else {
            for gap in &origin.gaps {
                say(gap)?;
            }
            if let Some(problem) = &origin.problem {
                say(&format!("Not everything could be compared. {problem}"))?;
            } else if origin.source.is_none() {
                say(if is_proof {
                    "No source of backups is configured here, so the files were not compared with one."
                } else {
                    "No source of backups is configured here, and nothing is recorded of what runs have verified, so nothing was compared with anything."
                })?;
            }
            let counts: Vec<String> = self
                .counts
                .iter()
                .map(|(word, count)| format!("{count} {word}"))
                .collect();
            match counts.as_slice() {
                [] => say("There is no backup in Dropbox, and none that should be.")?,
                counts => say(&format!(
                    "In all {}: {}.",
                    text::count(self.total(), "file"),
                    counts.join(", ")
                ))?,
            }
        }
        Ok(if is_ok { End::Well } else { End::Wrong })
    }

    fn total(&self) -> usize {
        self.counts.values().sum()
    }
}
