//! The plugin's program; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    backup_sync_dropbox::cli::main()
}

/// musl's own allocator asks the kernel for the memory of nearly every TLS record anew.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
