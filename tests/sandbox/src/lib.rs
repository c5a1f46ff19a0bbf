//! Stand-ins for the systems around the plugin. Shares no code with the shipped binary.
pub mod bench;
pub mod demo;
pub mod dropbox;
pub mod host;
mod html;
pub mod http;
pub mod licences;
pub mod network;
pub mod python;
pub mod reference;
pub mod uisp;
