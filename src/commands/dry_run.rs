//! `run --dry-run`: the very plan of the next run, with the reason for each action.

use serde_json::{Value, json};

use super::view::View;
use super::{Call, Command, End, Failure, say, say_json};
use crate::row::{Decision, Row};
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
              fit_for_deletions, actions (action, name, id, size, reason,
              tier, period, rank) and unchanged.
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
    row: &'a Row,
    reason: String,
}

fn run(call: &Call) -> Result<End, Failure> {
    let view = View::new(call)?;
    let rows = view.plan.rows.iter();
    let actions: Vec<Action<'_>> = rows.filter_map(|row| action(row, &view)).collect();
    if call.has("json") {
        let mut document = view.json_head();
        document["actions"] = actions.iter().map(Action::as_json).collect();
        document["unchanged"] = json!(view.plan.unchanged());
        say_json(&document)?;
        return Ok(End::Well);
    }
    // In the order of a run.
    for word in ["upload", "replace", "compare", "delete", "keep"] {
        for action in actions.iter().filter(|action| action.word == word) {
            say(&format!(
                "{word:<7}  {}  ({})",
                action.row.name, action.reason
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
        text::count(view.plan.unchanged(), "file"),
    ))?;
    Ok(End::Well)
}

/// What a run does about a row; `None` if that is nothing.
fn action<'a>(row: &'a Row, view: &View) -> Option<Action<'a>> {
    let word = match row.decision {
        Decision::Keep(_) => "keep",
        decision => decision.word(),
    };
    let reason = row.decision.reason(view.zone)?;
    Some(Action { word, row, reason })
}

impl Action<'_> {
    fn as_json(&self) -> Value {
        let older = self.row.decision.older();
        json!({
            "action": self.word,
            "name": self.row.name,
            "id": self.row.id,
            "size": self.row.file.as_ref().map(|file| file.size),
            "reason": self.reason,
            "tier": older.map(|kept| kept.tier),
            "period": older.map(|kept| kept.period()),
            "rank": older.map(|kept| kept.rank),
        })
    }
}
