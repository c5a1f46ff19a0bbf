//! `list`: both sides, what differs, and why a file is kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::view::View;
use super::{Call, Command, End, Failure, say, say_json};
use crate::inspect::Flaw;
use crate::row::{Decision, Reason, Row};
use crate::text;

const HELP: &str = "\
Lists the backups at both ends, and what the next run would do about each.

Usage: backup-sync-dropbox list [--root DIR] [--json]

Use it to see whether a backup is in Dropbox, and why a file there is kept.
It asks UISP and Dropbox and changes nothing. The newest backup comes first.

  mirrored    in Dropbox, and found equal to its backup
  upload      not in Dropbox yet
  replace     in Dropbox, but the backup has changed since
  compare     in Dropbox, but not compared with its backup yet
  delete      the backup is gone; the file will be deleted
  kept        the backup is gone or unfinished, or another file holds it; the
              file stays, for the reason given (encrypted files end in .age)
  unfinished  not in Dropbox, because the backup is not finished
  foreign     in the folder, but none of the mirror's files; never touched

Of a backup that is no complete archive the line says what is wrong with it.

Options:
  --root DIR  The plugin's folder. Default: the current folder.
  --json      Print one JSON document: timezone, unusable_rows,
              fit_for_deletions, backups (name, id, status, reason, kept_until,
              tier, period, rank, created_at, size, content_hash, rev,
              encrypted, inspected (as by status) and flaw) and counts by
              status.
  --help      Print this text and exit.

Exit codes:
  0  Both lists could be read.
  1  They could not; the message says why.
  2  The command line is wrong.

Example:
  backup-sync-dropbox list --root /data/ucrm/data/plugins/backup-sync-dropbox
";

/// The command.
pub const COMMAND: Command = Command {
    name: "list",
    help: HELP,
    options: &["json"],
    settings: &[],
    operands: (0, 0),
    run,
};

fn run(call: &Call) -> Result<End, Failure> {
    let view = View::new(call)?;
    let rows = &view.plan.rows;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.decision.word()).or_default() += 1;
    }
    if call.has("json") {
        let mut document = view.json_head();
        document["backups"] = rows.iter().map(as_json).collect();
        document["counts"] = json!(counts);
        say_json(&document)?;
        return Ok(End::Well);
    }
    for row in rows {
        say(&line(row, &view))?;
    }
    for note in view.notes() {
        say(&note)?;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    match counts.as_slice() {
        [] => say("Nothing at either end.")?,
        counts => say(&format!("In all: {}.", counts.join(", ")))?,
    }
    Ok(End::Well)
}

fn line(row: &Row, view: &View) -> String {
    let size = row
        .file
        .as_ref()
        .map_or_else(|| "-".into(), |file| text::bytes(file.size));
    let why = match row.decision {
        Decision::Keep(_) => row.decision.reason(view.zone),
        _ => None,
    };
    let flaw = row
        .inspected
        .flaw()
        .map(|flaw| format!("suspect: {}", flaw.text()));
    let remarks: Vec<String> = why.into_iter().chain(flaw).collect();
    let why = match remarks.is_empty() {
        true => String::new(),
        false => format!("  ({})", remarks.join("; ")),
    };
    format!("{:<10}  {size:>7}  {}{why}", row.decision.word(), row.name)
}

fn as_json(row: &Row) -> Value {
    let (reason, until) = match row.decision {
        Decision::Keep(reason @ Reason::RetainedUntil(until)) => (Some(reason), Some(until)),
        Decision::Keep(reason) => (Some(reason), None),
        _ => (None, None),
    };
    let older = row.decision.older();
    json!({
        "name": row.name,
        "id": row.id,
        "status": row.decision.word(),
        "reason": reason.map(Reason::word),
        "kept_until": until,
        "tier": older.map(|kept| kept.tier),
        "period": older.map(|kept| kept.period()),
        "rank": older.map(|kept| kept.rank),
        "created_at": row.backup.as_ref().map(|backup| backup.created_at),
        "size": row.file.as_ref().map(|file| file.size),
        "content_hash": row.file.as_ref().and_then(|file| file.content_hash),
        "rev": row.file.as_ref().map(|file| &file.rev),
        "encrypted": row.sealed.is_some(),
        "inspected": row.inspected.word(),
        "flaw": row.inspected.flaw().map(Flaw::text),
    })
}
