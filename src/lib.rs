//! Keeps a Dropbox folder an exact, verified mirror of a UISP server's backups.
//!
//! The program is the binary; this library exists so that its parts can be tested from outside.
//! `docs/architecture.md` shows the floors of the house and which way dependencies point.

pub mod backup_id;
pub mod clock;
pub mod dropbox;
pub mod http;
pub mod plugin;
pub mod secret;
pub mod source;
