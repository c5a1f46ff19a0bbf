//! The command line: arguments in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lexopt::prelude::*;

use crate::plugin::{PluginFolder, log as plugin_log};
use crate::run::{self, End};

const HELP: &str = "\
Keeps a Dropbox folder an exact, verified mirror of a UISP server's backups.

Usage: backup-sync-dropbox [--root DIR]

Without a command the program does one run, as UISP starts it: it reads
DIR/data/config.json, takes the Dropbox authorization as far as it goes, mirrors
new backups, deletes what is due, and says in DIR/data/plugin.log what it did.

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
    Help,
    Version,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut root = PathBuf::from(".");
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("root") => root = arguments.value()?.into(),
            Long("version") | Short('V') => return Ok(Request::Version),
            Long("help") | Short('h') => return Ok(Request::Help),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Request::Run { root })
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
        Request::Run { root } => return do_run(root),
    }
    ExitCode::SUCCESS
}

fn do_run(root: PathBuf) -> ExitCode {
    if !root.is_dir() {
        eprintln!(
            "backup-sync-dropbox: {} is no folder. Name the plugin's folder with --root.",
            root.display()
        );
        return ExitCode::from(2);
    }
    let folder = PluginFolder::new(root);
    plugin_log::start(folder.log());
    report_panics();
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&signalled)) {
            log::debug!("Signal {signal} cannot be caught: {error}");
        }
    }
    panic_for_a_test();
    match run::run(&folder, signalled) {
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
