//! The real program, over real sockets and TLS, against strict stand-ins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod browser;
mod client;
mod commands;
mod conformance;
mod contract;
mod crash;
mod demo;
mod faults;
mod folder;
mod hostile;
mod hostile_files;
mod hostile_names;
mod inspect;
mod launcher;
mod matrix;
mod mirroring;
mod model;
mod older;
mod page;
mod resuming;
mod sealed;
mod secrets;
mod setup;
mod support;
mod switches;
mod terminal;
mod truth;
mod watch;
