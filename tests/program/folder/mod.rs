//! A folder of files as the source: the real binary, a real folder and the stand-in for Dropbox; no
//! UISP. Without root the test of unreadable files uses permissions alone.

mod changing;
mod deletions;
mod dsmr_reader;
mod mirroring;
mod names;
mod units;
pub mod world;
