//! A folder of files as the source: the real binary, a real folder and the stand-in for Dropbox; no
//! UISP. Without root the test of unreadable files uses permissions alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod changing;
mod deletions;
mod dsmr_reader;
mod folder;
mod mirroring;
mod names;
#[allow(dead_code, reason = "shared with the behaviour tests")]
#[path = "../behaviour/support.rs"]
mod support;
mod units;
