//! Stand-ins for the systems around the plugin. Shares no code with the shipped binary.
pub mod host;

pub mod dropbox;
pub mod http;
pub mod licences;
pub mod uisp;
