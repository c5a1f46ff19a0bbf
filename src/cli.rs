//! The command line: arguments in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lexopt::prelude::*;

use crate::clock;
use crate::commands::{self, Call, Command, status, watch};
use crate::findings::table;
use crate::page;
use crate::plugin::log::{self as plugin_log, Echo};
use crate::plugin::{self, PluginFolder};
use crate::run::{self, End};

/// What `--help` prints.
pub const HELP: &str = "\
Keeps a Dropbox folder an exact, verified mirror of a UISP server's backups.

Usage: backup-sync-dropbox [--root DIR] [COMMAND] [ARGUMENTS]

Without a command the program does one run, as UISP starts it: it reads
DIR/data/config.json, takes the Dropbox authorization as far as it goes, mirrors
new backups, deletes what is due, and says in DIR/data/plugin.log what it did.

Commands for people; each has its own --help:
  run        Do one run; with --dry-run, only tell what it would do.
  watch      Stay, and do a run every hour or once a day.
  check      Check every link of the chain and name the fix for what is broken.
  status     Tell how things stand, from local files only.
  list       List the backups at both ends, and why a file is kept.
  verify     Compare what is in Dropbox with what should be there.
  download   Get a backup back from Dropbox.
  versions   List the versions of a file that Dropbox still has.
  authorize  Authorize the program on the command line, without UISP's form.

Commands that UISP calls through the plugin's PHP files:
  setup      Take the authorization as far as it goes, as after the form was saved:
             show the link in the log, or exchange a pasted code. Mirrors nothing,
             takes a few seconds at most.
  page       Answer a web request for the status page, as CGI does:
             REQUEST_METHOD, QUERY_STRING, HTTP_COOKIE and, for a form on standard
             input, HTTP_HOST, HTTP_ORIGIN and HTTP_SEC_FETCH_SITE in, headers and
             body to standard output.

Options:
  --root DIR   The plugin's folder. Default: the current folder.
  --version    Print the version and exit.
  --help       Print this text and exit.

Exit codes:
  0  Done, or waiting for the next step of the setup.
  1  The run failed, and the log says why; or the command found something wrong,
     or could not be carried out.
  2  The command line is wrong.

Environment: RUST_LOG sets the detail of the log (info, debug). SSL_CERT_FILE
names a file of certificates that are trusted beside the public ones.
HTTPS_PROXY and NO_PROXY count for Dropbox. DROPBOX_API_URL, DROPBOX_CONTENT_URL
and DROPBOX_WEB_URL replace Dropbox's addresses (https, or http on this machine).
";

/// What the command line asks for.
enum Request {
    Run { root: PathBuf },
    Setup { root: PathBuf },
    Page { root: PathBuf },
    Command(Call),
    Help(&'static str),
    Version,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut root = PathBuf::from(".");
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("root") => root = arguments.value()?.into(),
            Long("version") | Short('V') => return Ok(Request::Version),
            Long("help") | Short('h') => return Ok(Request::Help(HELP)),
            Value(name) => return parse_command(&name.to_string_lossy(), root, arguments),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Request::Run { root })
}

fn parse_command(
    name: &str,
    mut root: PathBuf,
    mut arguments: lexopt::Parser,
) -> Result<Request, lexopt::Error> {
    if let "setup" | "page" = name {
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("root") => root = arguments.value()?.into(),
                Long("help") | Short('h') => return Ok(Request::Help(HELP)),
                _ => return Err(argument.unexpected()),
            }
        }
        return Ok(match name {
            "setup" => Request::Setup { root },
            _ => Request::Page { root },
        });
    }
    let command = Command::find(name).ok_or_else(|| {
        let names = commands::ALL.map(|command| command.name).join(", ");
        format!("there is no command {name:?}, only {names}, setup, page")
    })?;
    Ok(match command.parse(root, arguments)? {
        None => Request::Help(command.help),
        Some(call) if call.command.name == "run" && !call.has("dry-run") => Request::Run {
            root: call.folder.root().to_owned(),
        },
        Some(call) => {
            match call.command.name {
                "watch" => drop(watch::schedule(&call)?),
                "status" => status::check(&call)?,
                _ => {}
            }
            Request::Command(call)
        }
    })
}

/// Carries out the command line of this process.
pub fn main() -> ExitCode {
    let request = match parse(lexopt::Parser::from_env()) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("backup-sync-dropbox: {error}. Try --help.");
            return ExitCode::from(2);
        }
    };
    match request {
        Request::Help(text) => print!("{text}"),
        Request::Version => println!("backup-sync-dropbox {}", env!("CARGO_PKG_VERSION")),
        Request::Run { root } => return in_folder(root, |folder| logged(folder, run::run)),
        Request::Setup { root } => {
            return in_folder(root, |folder| logged(folder, run::saved::saved));
        }
        Request::Page { root } => return in_folder(root, answer),
        Request::Command(call) => {
            return in_folder(call.folder.root().to_owned(), |_| do_command(&call));
        }
    }
    ExitCode::SUCCESS
}

/// Carries out something in the plugin's folder, if it is one.
fn in_folder(root: PathBuf, carry_out: impl FnOnce(&PluginFolder) -> ExitCode) -> ExitCode {
    if root.is_dir() {
        return carry_out(&PluginFolder::new(root));
    }
    eprintln!(
        "backup-sync-dropbox: {} is not a folder. Name the plugin's folder with --root.",
        root.display()
    );
    ExitCode::from(2)
}

fn do_command(call: &Call) -> ExitCode {
    match call.command.name {
        "watch" => plugin_log::start(call.folder.log(), Echo::Output),
        _ => plugin_log::start_on_stderr(),
    }
    report_panics();
    match call.run() {
        Ok(commands::End::Well) => ExitCode::SUCCESS,
        Ok(commands::End::Wrong) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("backup-sync-dropbox: {failure}");
            ExitCode::from(1)
        }
    }
}

/// Answers the request in the environment.
fn answer(folder: &PluginFolder) -> ExitCode {
    let response = page::answer(folder, &page::Request::from_environment());
    match response.write(std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

/// Carries out something whose words go to the plugin's log, until a signal ends it.
fn logged(
    folder: &PluginFolder,
    carry_out: impl FnOnce(&PluginFolder, Arc<AtomicBool>) -> End,
) -> ExitCode {
    let echo = plugin::watched_every().map_or(Echo::Terminal, |_| Echo::Output);
    plugin_log::start(folder.log(), echo);
    report_panics();
    let signalled = clock::catch_signals();
    panic_for_a_test();
    match carry_out(folder, signalled) {
        End::Done => ExitCode::SUCCESS,
        End::Failed => ExitCode::from(1),
        End::CarriesOn => ExitCode::from(plugin::CARRY_ON),
    }
}

/// Panics if a test asks for it. Not in the shipped program, which is built without these checks.
fn panic_for_a_test() {
    debug_assert!(
        std::env::var_os("BACKUP_SYNC_PANIC").is_none(),
        "a test asked for this"
    );
}

/// A panic is a bug, and must not look like silence: it becomes the log's last line.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        table::ended_by_a_bug(place, text).log();
        std::process::exit(1);
    }));
}
