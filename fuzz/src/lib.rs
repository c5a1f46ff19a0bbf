//! What holds for whatever comes from outside, one module for each fuzz target. `tests/corpus.rs` tries it on the corpus.

pub mod config;
pub mod dropbox_error;
pub mod journal;
pub mod rows;
