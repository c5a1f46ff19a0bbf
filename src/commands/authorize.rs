//! `authorize`: the authorization on the command line, for where no form is.

use std::io::{self, BufRead};

use super::{Call, Command, End, Failure, say, unlimited};
use crate::dropbox::oauth::App;
use crate::findings::{Findings, from, table};
use crate::open;
use crate::plugin::config::{self, Change, Settings};
use crate::plugin::lock::Lock;
use crate::secret::Secret;
use crate::setup::{NotAuthorized, Setup};
use crate::state::{Fault, Opened, State};

const HELP: &str = "\
Authorizes the program to use its folder in Dropbox, on the command line.

Usage: backup-sync-dropbox authorize [--app-key KEY] [--root DIR]

It prints an address to open in a browser, on this machine or any other, waits
for the code that Dropbox shows there, and stores the authorization that the
code buys in DIR/data/config.json. Use it where UISP's form is not: to get
backups back on another machine, or to mirror a folder. In UISP, fill in the
form instead; saving it does the same.

The code is read from standard input, so that it stands in no list of processes
and in no history of a shell. An authorization that is stored already is
replaced once the new one is there.

Options:
  --app-key KEY  The \"App key\" on the Settings tab of your app in Dropbox's App
                 Console; it is stored. Not needed if it is stored already.
  --root DIR     The folder to keep it in. Default: the current folder.
  --help         Print this text and exit.

Exit codes:
  0  The authorization is stored.
  1  It is not; the message says why.
  2  The command line is wrong.

Example:
  backup-sync-dropbox authorize --app-key abcdefghijklmno
";

/// The command.
pub const COMMAND: Command = Command {
    name: "authorize",
    help: HELP,
    options: &[],
    settings: &["app-key"],
    operands: (0, 0),
    run,
};

fn run(call: &Call) -> Result<End, Failure> {
    let folder = &call.folder;
    folder.look().map_err(|strange| from::strange(&strange))?;
    folder
        .make_data()
        .map_err(|error| table::data_folder_not_made(folder.data().display()).because(&error))?;
    let Ok(Some(_lock)) = Lock::take_unmarked(&call.folder.lock()) else {
        return Err(table::run_goes_on().into());
    };
    if let Some(key) = call.value("app-key") {
        config::change(&call.folder.config(), &Change::AppKey(key.trim()))?;
    }
    let settings = call.settings()?;
    let Some(key) = settings.app_key.clone() else {
        return Err(table::app_key_not_given().into());
    };
    let app = App {
        key,
        secret: settings.app_secret.clone(),
    };
    let mut state = open_state(call)?;
    let stop = unlimited();
    let (http, hosts) = open::dropbox(&settings, &stop)?;
    let (mut record, findings) = (call.record(), Findings::default());
    let mut setup = Setup {
        http: &http,
        hosts: &hosts,
        stop: &stop,
        config: call.folder.config(),
        state: &mut state,
        record: &mut record,
        findings: &findings,
    };
    let url = setup.address(&app).map_err(failed)?;
    for line in [
        "Open this address in a browser and click \"Allow\":",
        "",
        url.as_str(),
        "",
        "Then paste the code that Dropbox shows, and press Enter:",
    ] {
        say(line)?;
    }
    let authorized = setup
        .authorize(&Settings {
            access_code: Some(read_code()?),
            // What is stored must not stand in for a code that is refused.
            refresh_token: None,
            legacy_token: None,
            ..settings
        })
        .map_err(failed)?;
    if authorized.unstored.is_some() {
        return Err(failed(NotAuthorized::Failed));
    }
    say(&format!(
        "Authorized. The authorization is stored in {}; keep that file secret.",
        call.folder.config().display()
    ))?;
    Ok(End::Well)
}

fn open_state(call: &Call) -> Result<State, Failure> {
    match State::open(&call.folder.state()) {
        Ok(Opened::Sound(state) | Opened::Rebuilt { state, .. }) => Ok(state),
        Err(error) => {
            let fault = Fault::Unreadable(error);
            Err(from::memory(&call.folder.state(), &fault).into())
        }
    }
}

fn read_code() -> Result<Secret, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match line.trim() {
        code if read.is_ok() && !code.is_empty() => Ok(Secret::new(code)),
        _ => Err(table::no_code_given().into()),
    }
}

/// What went wrong stands above, as an ERROR.
fn failed(_: NotAuthorized) -> Failure {
    table::nothing_authorized().into()
}
