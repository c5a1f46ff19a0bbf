//! The status page, the widget and saving the form: the real program as `public.php` and
//! `hook_configure.php` start it, and every state of the page as a reviewed snapshot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod access;
mod backups;
mod crm;
mod php;
mod saving;
mod states;
#[path = "../behaviour/support.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/behaviour, which uses all of it"
)]
mod support;
