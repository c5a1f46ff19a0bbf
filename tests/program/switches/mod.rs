//! The optional switches of the form: a fresh backup, a folder of one's own, a monitoring service; and the
//! space that is known where a permission allows it.

mod creation;
mod folder;
pub mod healthcheck;
mod space;
