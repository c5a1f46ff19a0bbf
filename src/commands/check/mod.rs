//! `check`: every link of the chain in order, and the fix for each that is broken.

mod dropbox;
mod local;
mod report;
mod source;

use std::time::Duration;

use super::{Call, Command, End, Failure};
use crate::clock::{self, Stop};
use crate::open;
use report::Report;

const HELP: &str = "\
Checks every link of the chain, in order, and names the fix for each that is
broken: the plugin's folder, its memory and configuration, the keys that copies
are encrypted to; UISP's address, token, list of backups and timezone; Dropbox's
servers, the clock, the authorization and each permission; whether the mirror
folder can be read and written; free space.

Usage: backup-sync-dropbox check [--root DIR] [--json]

Use it first when something does not work. It goes on after a problem as far as
it can. It changes nothing, except that it uploads a small file to the mirror
folder in Dropbox and removes it again. It takes a few seconds, and up to two
minutes if a server does not answer.

One line for each link:
  ok       as it should be
  problem  not as it should be; the fix follows behind \"->\"
  skipped  could not be checked because of a problem before it, or is not needed

Options:
  --root DIR  The plugin's folder. Default: the current folder.
  --json      Print one JSON document: ok and checks (link, result, message,
              fix).
  --help      Print this text and exit.

Exit codes:
  0  No link is broken.
  1  At least one is.
  2  The command line is wrong.

Example:
  backup-sync-dropbox check --root /data/ucrm/data/plugins/backup-sync-dropbox
";

/// The command.
pub const COMMAND: Command = Command {
    name: "check",
    help: HELP,
    options: &["json"],
    settings: &[],
    operands: (0, 0),
    run,
};

/// The source is given this long in all, retries included.
const SOURCE_LIMIT: Duration = Duration::from_secs(30);
/// Dropbox is given this long in all, retries included.
const DROPBOX_LIMIT: Duration = Duration::from_secs(60);

fn run(call: &Call) -> Result<End, Failure> {
    let signalled = clock::catch_signals();
    let mut report = Report::new(call.has("json"));
    local::check_folder(call, &mut report)?;
    local::check_memory(call, &mut report)?;
    let settings = local::check_configuration(call, &mut report)?;
    local::check_sealing(call, &settings, &mut report)?;
    let stop = Stop::within(SOURCE_LIMIT, signalled.clone());
    source::check(call, &settings, &stop, &mut report)?;
    let stop = Stop::within(DROPBOX_LIMIT, signalled);
    match open::dropbox(&settings, &stop) {
        Ok((http, hosts)) => {
            let body = || dropbox::check(call, &settings, &http, &hosts, &stop, &mut report);
            stop.watch(|| http.shutdown(), body)?;
        }
        Err(errors) => {
            for error in errors {
                report.problem("Dropbox address", &error)?;
            }
            report.skip_all(&["Dropbox", "authorization"], "its address is not known")?;
        }
    }
    report.end()
}
