//! What the stand-ins refuse, and how.

mod client;
mod dropbox;
mod http_server;
mod uisp;
