//! The command line: arguments in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lexopt::prelude::*;

use crate::page;
use crate::plugin::{PluginFolder, log as plugin_log};
use crate::run::{self, End};

const HELP: &str = "\
Keeps a Dropbox folder an exact, verified mirror of a UISP server's backups.

Usage: backup-sync-dropbox [COMMAND] [--root DIR]

Without a command the program does one run, as UISP starts it: it reads
DIR/data/config.json, takes the Dropbox authorization as far as it goes, mirrors
new backups, deletes what is due, and says in DIR/data/plugin.log what it did.

Commands that UISP calls through the plugin's PHP files:
  setup        Take the authorization as far as it goes, as after the form was
               saved: show the link in the log, or exchange a pasted code. Mirrors
               nothing, takes a few seconds at most.
  page         Answer a web request for the status page, as CGI does: REQUEST_METHOD,
               QUERY_STRING and HTTP_COOKIE in, headers and body to standard output.

Options:
  --root DIR   The plugin's folder. Default: the current folder.
  --version    Print the version and exit.
  --help       Print this text and exit.

Exit codes:
  0  Done, or waiting for the next step of the setup.
  1  The run failed; the log says why.
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
    Help,
    Version,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut root = PathBuf::from(".");
    let mut command: Option<fn(PathBuf) -> Request> = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("root") => root = arguments.value()?.into(),
            Long("version") | Short('V') => return Ok(Request::Version),
            Long("help") | Short('h') => return Ok(Request::Help),
            Value(name) if command.is_none() => {
                command = Some(match name.to_str() {
                    Some("setup") => |root| Request::Setup { root },
                    Some("page") => |root| Request::Page { root },
                    _ => return Err(Value(name).unexpected()),
                });
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(command.unwrap_or(|root| Request::Run { root })(root))
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
        Request::Help => print!("{HELP}"),
        Request::Version => println!("backup-sync-dropbox {}", env!("CARGO_PKG_VERSION")),
        Request::Run { root } => return in_folder(root, |folder| logged(folder, run::run)),
        Request::Setup { root } => {
            return in_folder(root, |folder| logged(folder, run::saved::saved));
        }
        Request::Page { root } => return in_folder(root, answer),
    }
    ExitCode::SUCCESS
}

/// Carries out something in the plugin's folder, if it is one.
fn in_folder(root: PathBuf, carry_out: impl FnOnce(&PluginFolder) -> ExitCode) -> ExitCode {
    if root.is_dir() {
        return carry_out(&PluginFolder::new(root));
    }
    eprintln!(
        "backup-sync-dropbox: {} is no folder. Name the plugin's folder with --root.",
        root.display()
    );
    ExitCode::from(2)
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
    plugin_log::start(folder.log());
    report_panics();
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&signalled)) {
            log::debug!("Signal {signal} cannot be caught: {error}");
        }
    }
    panic_for_a_test();
    match carry_out(folder, signalled) {
        End::Done => ExitCode::SUCCESS,
        End::Failed => ExitCode::from(1),
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
        log::error!(
            "The plugin has ended because of a bug in it. Nothing is lost; the next run starts afresh. Please report this line: {text}, at {place}."
        );
        std::process::exit(1);
    }));
}
