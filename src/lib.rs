//! Keeps a Dropbox folder an exact, verified mirror of a UISP server's backups.
//!
//! The program is the binary; this library exists so that its parts can be tested from outside.
//! `docs/architecture.md` shows the floors of the house and which way dependencies point.

pub mod age;
pub mod backup_id;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod dropbox;
pub mod findings;
pub mod healthcheck;
pub mod http;
pub mod inspect;
pub mod mirror;
pub mod open;
pub mod page;
pub mod plugin;
pub mod progress_bar;
pub mod record;
pub mod retention;
pub mod row;
pub mod run;
pub mod secret;
pub mod setup;
pub mod source;
pub mod state;
pub mod text;
pub mod zone;
