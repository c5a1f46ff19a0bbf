//! What a user sees: the real binary against strict stand-ins, over real sockets and TLS.

mod mirroring;
mod setup;
mod support;
