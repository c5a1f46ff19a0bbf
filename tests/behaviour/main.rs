//! What a user sees: the real binary against strict stand-ins, over real sockets and TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod contract;
mod faults;
mod mirroring;
mod resuming;
mod setup;
mod support;
mod switches;
mod terminal;
