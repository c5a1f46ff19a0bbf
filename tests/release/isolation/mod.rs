//! The programs of the release ZIP where nothing else is: in folders that hold a program and what the test puts there,
//! on a network of their own. Shows that they need no library, no shell, no certificates and no timezones of the system.
//!
//! Needs root, for `chroot` and the network, and the ZIP in `BACKUP_SYNC_ZIP`, as `build.sh test` has them. What cannot
//! be tried is skipped with its reason.

mod bare;
mod names;
mod php;
pub mod prison;
