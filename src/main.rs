//! The plugin's program; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    backup_sync_dropbox::cli::main()
}
