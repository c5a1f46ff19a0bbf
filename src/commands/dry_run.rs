//! `run --dry-run`: the very plan of the next run, with the reason for each action.

use serde_json::{Value, json};

use super::view::{self, View};
use super::{Call, Command, End, Failure, say, say_json};
use crate::mirror::overview::{Item, Status};
use crate::text;

const HELP: &str = "\
Does one run, as the program does without a command; or only tells what one
would do.

Usage: backup-sync-dropbox run [--root DIR]
       backup-sync-dropbox run --dry-run [--root DIR] [--json]

With --dry-run it makes the very plan that a run would carry out now, and
prints it with the reason for each action. It uploads, compares, deletes and
remembers nothing, does not touch the log, and does not wait for a run that is
going on. Use it before ticking \"Confirm clean-up\", or after changing a setting.

Deletions stand for what is done once everything else has succeeded: a run in
which something fails deletes nothing.

Options:
  --dry-run   Only tell.
  --root DIR  The plugin's folder. Default: the current folder.
  --json      With --dry-run: print one JSON document: timezone, unusable_rows,
              fit_for_deletions, actions (action, name, id, size, reason) and
              unchanged.
  --help      Print this text and exit.

Exit codes:
  0  Done, or waiting for the next step of the setup. With --dry-run: told.
  1  The run failed, and the log says why. With --dry-run: the plan could not be
     made, and the message says why.
  2  The command line is wrong.

Example:
  backup-sync-dropbox run --dry-run
";

/// The command. Without `--dry-run` it is a run, which is not done here.
pub const COMMAND: Command = Command {
    name: "run",
    help: HELP,
    options: &["dry-run", "json"],
    settings: &[],
    operands: (0, 0),
    run,
};

struct Action<'a> {
    word: &'static str,
    item: &'a Item,
    reason: String,
}

fn run(call: &Call) -> Result<End, Failure> {
    let view = View::new(call)?;
    let actions: Vec<Action<'_>> = view
        .items
        .iter()
        .filter_map(|item| action(item, &view))
        .collect();
    if call.has("json") {
        let mut document = view.json_head();
        document["actions"] = actions.iter().map(Action::as_json).collect();
        document["unchanged"] = json!(view.plan.unchanged);
        say_json(&document)?;
        return Ok(End::Well);
    }
    // In the order of a run.
    for word in ["upload", "replace", "compare", "delete", "keep"] {
        for action in actions.iter().filter(|action| action.word == word) {
            say(&format!(
                "{word:<7}  {}  ({})",
                action.item.name, action.reason
            ))?;
        }
    }
    for note in view.notes() {
        say(&note)?;
    }
    let count = |word| actions.iter().filter(|action| action.word == word).count();
    say(&format!(
        "A run would upload {}, replace {}, compare {}, delete {}, keep {} without a finished backup and leave {} unchanged. Nothing was done.",
        count("upload"),
        count("replace"),
        count("compare"),
        count("delete"),
        count("keep"),
        text::count(view.plan.unchanged, "file"),
    ))?;
    Ok(End::Well)
}

/// What a run does about an item; `None` if that is nothing.
fn action<'a>(item: &'a Item, view: &View) -> Option<Action<'a>> {
    let (word, reason) = match item.status {
        Status::Upload => ("upload", "it is not in Dropbox".into()),
        Status::Replace => ("replace", "its backup has changed since".into()),
        Status::Compare => ("compare", reason_to_compare(item, view).into()),
        Status::Delete => ("delete", reason_to_delete(item, view)),
        Status::Kept(reason) => ("keep", view::reason(reason, view.zone)),
        Status::Mirrored | Status::Unfinished | Status::Foreign => return None,
    };
    Some(Action { word, item, reason })
}

fn reason_to_compare(item: &Item, view: &View) -> &'static str {
    let known = item
        .id
        .as_ref()
        .is_some_and(|id| view.memory.mirrored.contains_key(id));
    if known {
        "it is not the file any more that was verified"
    } else {
        "this installation has not compared it with its backup yet"
    }
}

fn reason_to_delete(item: &Item, view: &View) -> String {
    let seen = item.id.as_ref().and_then(|id| view.plan.seen.get(id));
    match seen.and_then(|seen| seen.missing_since) {
        Some(since) => {
            let since = view.zone.local(since).format("%Y-%m-%d %H:%M");
            format!("its backup is gone, first missed {since}")
        }
        None => "its backup is gone".into(),
    }
}

impl Action<'_> {
    fn as_json(&self) -> Value {
        json!({
            "action": self.word,
            "name": self.item.name,
            "id": self.item.id,
            "size": self.item.file.as_ref().map(|file| file.metadata.size),
            "reason": self.reason,
        })
    }
}
