//! What holds without starting the program: its rules and parsers, the page in every state, and the files of the
//! repository against each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in its helpers"
)]

mod age_kit;
mod architecture;
mod corpus;
mod docs;
mod inspect;
mod last_complete;
mod licences;
mod manual;
mod model;
mod older;
mod outline;
mod parsers;
mod planner;
mod reliability;
mod sealed;
mod states;
