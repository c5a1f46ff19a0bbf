//! `status`: what the plugin's own files tell, without asking anybody.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Call, Command, End, Failure, say, say_json};
use crate::clock;
use crate::findings::{Level, from};
use crate::inspect::Verdict;
use crate::plugin::config::{self, Settings};
use crate::plugin::lock;
use crate::record::RunRecord;
use crate::setup::guide;
use crate::setup::stage::{Stage, stage};
use crate::state::Memory;
use crate::text;
use crate::zone::Zone;

const HELP: &str = "\
Tells how things stand, from the plugin's own files: stage of the setup, last
run, last good run, what is in the mirror as far as runs have recorded it, and
what is on hold.

Usage: backup-sync-dropbox status [--root DIR] [--json]
       backup-sync-dropbox status --healthy [--root DIR] [HOURS]

It asks neither UISP nor Dropbox, changes nothing and answers at once; use it in
scripts and for monitoring. What \"check\" finds wrong today it cannot see.

Options:
  --healthy   Print one line, and tell by the exit code whether all is well:
              whether a run has found every backup in Dropbox within HOURS.
              Default: two times from run to run of \"watch\" and a quarter of an
              hour, or 26 hours where \"watch\" does not start the runs.
  --root DIR  The plugin's folder. Default: the current folder.
  --json      Print one JSON document: version, setup (needs_app_key,
              needs_code, has_code, authorized, legacy_token or unknown),
              configuration_problems, running, running_since, last_run and
              last_good_run (started_at, seconds, succeeded, well,
              uploaded, uploaded_bytes, deleted, error), mirrored (files, bytes,
              verified_at), inspected (complete, suspect, not_checked), on_hold
              and encryption (keys, proved; null where there is none).
  --help      Print this text and exit.

Exit codes:
  0  The files could be read; with --healthy: all was well.
  1  They could not; the message says why. With --healthy: it was not.
  2  The command line is wrong.

Example:
  backup-sync-dropbox status --json | jq -r .last_good_run.started_at
";

/// The command.
pub const COMMAND: Command = Command {
    name: "status",
    help: HELP,
    options: &["json", "healthy"],
    settings: &[],
    operands: (0, 1),
    run,
};

/// By the default, a run of each day counts, with time for the run itself.
const HEALTHY_FOR: TimeDelta = TimeDelta::hours(26);
/// Beyond two times from run to run: runs begin a little later than planned, and take their time.
const LATE_MAX: TimeDelta = TimeDelta::minutes(15);
/// Longest time that can be asked for: a year.
const HOURS_MAX: f64 = 8784.0;

/// Looks whether the operand is a number of hours, and stands where it may.
///
/// # Errors
/// What is wrong with it.
pub fn check(call: &Call) -> Result<(), String> {
    hours(call).map(drop)
}

fn hours(call: &Call) -> Result<Option<TimeDelta>, String> {
    let Some(operand) = call.operands.first() else {
        return Ok(None);
    };
    let operand = operand.to_string_lossy();
    if !call.has("healthy") {
        return Err(format!("{operand:?} is for --healthy"));
    }
    match operand.parse::<f64>() {
        Ok(hours) if (0.0..=HOURS_MAX).contains(&hours) => {
            Ok(Some(TimeDelta::seconds((hours * 3600.0) as i64)))
        }
        _ => Err(format!(
            "--healthy needs a number of hours, not {operand:?}"
        )),
    }
}

/// Whether all was well within the time, in a line.
fn tell_health(call: &Call) -> Result<End, Failure> {
    let record = call.record();
    let of_watcher = || {
        let seconds = i64::try_from(record.watched_every?).ok()?;
        Some(TimeDelta::try_seconds(seconds)? * 2 + LATE_MAX)
    };
    let asked = hours(call).map_err(Failure::new)?;
    let limit = asked.or_else(of_watcher).unwrap_or(HEALTHY_FOR);
    let told = |time: TimeDelta| text::duration(time.to_std().unwrap_or_default());
    let (is_healthy, how) = match record.well_at.map(|then| clock::now() - then) {
        None => (false, "no run has found all well yet".to_owned()),
        // A clock that was ahead then tells nothing.
        Some(age) if age < -LATE_MAX => {
            let how = "by this machine's clock, the last run that found all well is still to come";
            (false, how.to_owned())
        }
        Some(age) => (
            age <= limit,
            format!(
                "the last run that found all well ended {} ago, and {} may pass",
                told(age),
                told(limit)
            ),
        ),
    };
    say(&format!(
        "{}: {how}",
        if is_healthy { "Healthy" } else { "Not healthy" }
    ))?;
    Ok(if is_healthy { End::Well } else { End::Wrong })
}

fn run(call: &Call) -> Result<End, Failure> {
    if call.has("healthy") {
        return tell_health(call);
    }
    let (settings, problems) = match config::inspect(&call.folder.config()) {
        Ok((settings, problems)) => (Some(settings), problems.iter().map(from::field).collect()),
        Err(error) => (None, from::configuration(&error)),
    };
    let problems: Vec<String> = problems.iter().map(|problem| problem.line()).collect();
    let (memory, record) = (call.memory()?, call.record());
    let since = match lock::look(&call.folder.lock()) {
        lock::Seen::Running { since } => Some(since),
        lock::Seen::Free | lock::Seen::CutOff => None,
    };
    let recipients = settings.as_ref();
    let recipients = recipients.and_then(|settings| settings.encrypt_to.as_ref());
    let is_proved = recipients.is_some_and(|to| memory.is_proved(&to.fingerprint()));
    let (word, sentence) = setup(settings.as_ref());
    let last = record.runs.back();
    let last_good = record.runs.iter().rev().find(|run| run.succeeded());
    let [complete, suspect, not_checked] = inspected(&memory);
    let bytes: u64 = memory.mirrored.values().map(|file| file.bytes).sum();
    if call.has("json") {
        let verified_at = memory.mirrored.values().map(|file| file.verified_at).max();
        say_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "setup": word,
            "configuration_problems": problems,
            "running": since.is_some(),
            "running_since": since.flatten(),
            "last_run": last.map(as_json),
            "last_good_run": last_good.map(as_json),
            "mirrored": {"files": memory.mirrored.len(), "bytes": bytes, "verified_at": verified_at},
            "inspected": {"complete": complete, "suspect": suspect, "not_checked": not_checked},
            "on_hold": memory.on_hold,
            "encryption": recipients.map(|to| json!({"keys": to.count(), "proved": is_proved})),
        }))?;
        return Ok(End::Well);
    }
    let zone = memory.zone();
    say(&format!("Version        {}", env!("CARGO_PKG_VERSION")))?;
    say(&format!("Setup          {sentence}"))?;
    for problem in &problems {
        say(&format!("Configuration  {problem}"))?;
    }
    say(&format!(
        "Running now    {}",
        match since {
            None => "no".into(),
            Some(None) => "yes".into(),
            Some(Some(since)) => format!(
                "yes, since {}",
                zone.local(since).format("%Y-%m-%d %H:%M:%S")
            ),
        }
    ))?;
    say(&format!(
        "Last run       {}",
        last.map_or_else(|| "none yet".into(), |run| told(run, zone))
    ))?;
    if last.is_some_and(|run| !run.succeeded()) {
        let good =
            last_good.map_or_else(|| "none that is remembered".into(), |run| told(run, zone));
        say(&format!("Last good run  {good}"))?;
    }
    say(&format!(
        "Mirror         {} of {} recorded as verified",
        text::count(memory.mirrored.len(), "file"),
        text::bytes(bytes)
    ))?;
    say(&format!(
        "Inspected      {complete} complete, {suspect} suspect, {not_checked} not checked"
    ))?;
    say(&format!("On hold        {}", on_hold(&memory)))?;
    if let Some(recipients) = recipients {
        let keys = text::count(recipients.count(), "key");
        let proved = match is_proved {
            true => "it was shown that the copies can be opened",
            false => "nobody has shown yet that the copies can be opened",
        };
        say(&format!("Encryption     to {keys}; {proved}"))?;
    }
    say(&format!("Well           {}", well(last)))?;
    Ok(End::Well)
}

/// The stage of the setup: the word for JSON and the sentence for people.
fn setup(settings: Option<&Settings>) -> (&'static str, String) {
    let Some(stage) = settings.map(stage) else {
        let sentence = "not known, because the configuration cannot be read";
        return ("unknown", sentence.into());
    };
    let word = match &stage {
        Stage::NeedsAppKey => "needs_app_key",
        Stage::NeedsCode { .. } => "needs_code",
        Stage::HasCode { .. } => "has_code",
        Stage::HasRefreshToken { .. } => "authorized",
        Stage::HasLegacyToken(_) => "legacy_token",
    };
    let sentence = match (guide::step(&stage, None), &stage) {
        (Some(step), _) => step.line(),
        (None, Stage::HasRefreshToken { .. }) => "authorized".into(),
        (None, Stage::HasCode { .. }) => "authorized; an access code waits for the next run".into(),
        (None, Stage::NeedsCode { .. }) => format!(
            "{}; until then a legacy token is in use, which Dropbox retires",
            guide::allow_access(String::new()).line()
        ),
        (None, _) => "a legacy token is in use, which Dropbox retires; fill in the app key".into(),
    };
    (word, sentence)
}

fn told(run: &RunRecord, zone: Zone) -> String {
    let time = zone.local(run.started_at).format("%Y-%m-%d %H:%M:%S");
    let took = text::duration(std::time::Duration::from_secs(run.seconds));
    let how = if run.succeeded() {
        "succeeded"
    } else {
        "FAILED"
    };
    let error = error(run).map(|error| format!(". Its last error: {error}"));
    format!(
        "{time} ({}), {how} in {took}: {} uploaded ({}), {} deleted{}",
        zone.name(),
        run.uploaded,
        text::bytes(run.uploaded_bytes),
        run.deleted,
        error.unwrap_or_default()
    )
}

fn error(run: &RunRecord) -> Option<String> {
    run.errors().next_back().map(|error| error.line())
}

/// Whether the last run has proved that every backup is in Dropbox, or what it found instead.
fn well(last: Option<&RunRecord>) -> String {
    match last {
        None => "not known: nothing has run yet".into(),
        Some(run) if run.is_well => "yes: the last run found every backup in Dropbox".into(),
        Some(run) => {
            let found = run
                .findings
                .iter()
                .filter(|finding| finding.level >= Level::Gap);
            match found.clone().next() {
                Some(finding) => format!("no: {}", finding.line()),
                None => "not yet: something was left for the next run, or is not finished".into(),
            }
        }
    }
}

/// How many of the mirrored backups are complete archives, how many are suspect, and how many were not checked.
fn inspected(memory: &Memory) -> [usize; 3] {
    let mut counts = [0; 3];
    for file in memory.mirrored.values() {
        counts[match file.inspected {
            Verdict::Complete => 0,
            Verdict::Suspect(_) => 1,
            Verdict::NotChecked => 2,
        }] += 1;
    }
    counts
}

fn on_hold(memory: &Memory) -> String {
    match memory.on_hold.len() {
        0 => "nothing".into(),
        held => format!(
            "{}; tick \"Confirm clean-up\" if they were deleted on purpose",
            text::count(held, "backup")
        ),
    }
}

fn as_json(run: &RunRecord) -> Value {
    json!({
        "started_at": run.started_at,
        "seconds": run.seconds,
        "succeeded": run.succeeded(),
        "uploaded": run.uploaded,
        "uploaded_bytes": run.uploaded_bytes,
        "deleted": run.deleted,
        "well": run.is_well,
        "error": error(run),
    })
}
