//! A folder of files as the source: the real binary, a real folder and the stand-in for Dropbox; no
//! UISP. Without root the tests of other disks and of other people's files are left out.

mod changing;
mod deletions;
mod doubt;
mod dsmr_reader;
mod emptied;
mod environment;
mod exclude;
mod mirroring;
mod names;
mod origin;
mod units;
pub mod users;
pub mod world;
