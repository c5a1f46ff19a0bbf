//! A small blocking HTTP/1.1 server that misbehaves on request: the ground the network stand-ins stand on.
//!
//! Frameworks prevent what tests need here (half an answer, a reset in the middle of a body, an answer
//! that never comes), so this server speaks the protocol over `std::net` itself, one thread a connection.
//! Absent on purpose: HTTP/2, compression, pipelining beyond what falls out of reading in order.

mod body;
mod connection;
mod fault;
mod link;
mod message;
mod proxy;
mod server;
mod stop;
mod tls;
mod traffic;

pub use body::RequestBody;
pub use fault::{Action, Fault, Gate, On};
pub use link::Link;
pub use message::{Body, Head, Response};
pub use proxy::ConnectProxy;
pub use server::{Handler, Request, Server, ServerOptions};
pub use tls::{Leaf, TestCa, TlsConfig, self_signed};
pub use traffic::{Exchange, Traffic};
