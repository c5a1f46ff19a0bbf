//! The installable ZIP and the programs in it. `BACKUP_SYNC_ZIP` names the ZIP, as `./build.sh release-test` does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod image;
mod isolation;
mod package;
