//! `versions`: what Dropbox still has of a file from before it was replaced or deleted.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Call, Command, End, Failure, say, say_json, unlimited};
use crate::dropbox::Dropbox;
use crate::dropbox::files::{FileMetadata, Revisions};
use crate::findings::table;
use crate::text;

const HELP: &str = "\
Lists the versions of a file that Dropbox still has.

Usage: backup-sync-dropbox versions NAME [--root DIR] [--json]

NAME is the whole name of a file in the mirror folder, also of one that is
deleted there. Dropbox keeps what was replaced or deleted for 30 to 365 days,
as the account's plan has it. Use it when a bad backup was mirrored over a good
one: the command \"download NAME --version REV\" gets a version back. The newest
comes first, up to a hundred.

Options:
  --root DIR  The plugin's folder. Default: the current folder.
  --json      Print one JSON document: name, is_deleted, versions (rev, size,
              content_hash, stored_at, made_at, is_current) and has_more.
  --help      Print this text and exit.

Exit codes:
  0  There is at least one version.
  1  There is none, or Dropbox could not be asked; the message says why.
  2  The command line is wrong.

Example:
  backup-sync-dropbox versions dump.sql.gz
";

/// The command.
pub const COMMAND: Command = Command {
    name: "versions",
    help: HELP,
    options: &["json"],
    settings: &[],
    operands: (1, 1),
    run,
};

fn run(call: &Call) -> Result<End, Failure> {
    let stop = unlimited();
    let settings = call.settings()?;
    let dropbox = call.connect(&settings, &stop)?;
    let name = call.operands[0].to_string_lossy();
    let revisions = of(&dropbox, &settings.mirror_folder, &name)?;
    if call.has("json") {
        let versions = revisions.versions.iter().enumerate();
        let versions = versions.map(|(at, version)| as_json(version, is_current(&revisions, at)));
        say_json(&json!({
            "name": name,
            "is_deleted": revisions.is_deleted,
            "versions": versions.collect::<Vec<Value>>(),
            "has_more": revisions.has_more,
        }))?;
        return Ok(End::Well);
    }
    for (at, version) in revisions.versions.iter().enumerate() {
        let current = if is_current(&revisions, at) {
            "  (in the folder now)"
        } else {
            ""
        };
        say(&format!(
            "{}  {:>7}  {}{current}",
            time(version.server_modified),
            text::bytes(version.size),
            version.rev
        ))?;
    }
    if revisions.is_deleted {
        say(&format!(
            "\"{name}\" is deleted in Dropbox. Its versions can be downloaded as long as Dropbox has them."
        ))?;
    }
    if revisions.has_more {
        say("There are older ones; dropbox.com shows them all.")?;
    }
    Ok(End::Well)
}

/// What Dropbox has of the file `name` in the mirror folder: one version at least.
///
/// # Errors
/// If there is none, or Dropbox cannot be asked.
pub fn of(dropbox: &Dropbox, folder: &str, name: &str) -> Result<Revisions, Failure> {
    let none = || {
        Failure::new(format!(
            "Dropbox has no version of \"{name}\". Give the whole name, as \"list\" shows it; what was deleted too long ago is gone."
        ))
    };
    match dropbox.revisions(&format!("{folder}/{name}")) {
        Ok(revisions) if !revisions.versions.is_empty() => Ok(revisions),
        Ok(_) => Err(none()),
        Err(error) if error.is_not_found() => Err(none()),
        Err(error) => Err(table::versions_not_listed(name)
            .explained(&error, &error)
            .into()),
    }
}

fn is_current(revisions: &Revisions, at: usize) -> bool {
    at == 0 && !revisions.is_deleted
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(
        || "unknown time        ".into(),
        |time| time.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn as_json(version: &FileMetadata, is_current: bool) -> Value {
    json!({
        "rev": version.rev,
        "size": version.size,
        "content_hash": version.content_hash,
        "stored_at": version.server_modified,
        "made_at": version.client_modified,
        "is_current": is_current,
    })
}
