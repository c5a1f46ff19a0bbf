//! The binary is killed at every request, at every step of its own writing and at random times; and
//! the system around it fails it: disk, permissions, clock, the admin, another run, an update.
//!
//! `CRASH_KILLS` sets the number of random kills, `CRASH_SEED` replays a series of them. Needs
//! strace and, for the clock, libfaketime; without root the tests of disk and permissions are left out.

mod boundaries;
pub mod clock;
mod disk;
pub mod kill;
mod permissions;
mod random;
mod scenario;
mod syscalls;
mod together;
