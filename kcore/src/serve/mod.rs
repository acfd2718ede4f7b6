//! Services behind a socket: TLS, HTTP/1.1 and HTTP/2 with bounds, a graceful end.
//!
//! [`Listener`] serves any `tower::Service` over HTTP requests. It knows sockets, certificates and
//! limits; paths, formats and who a certificate is are the service's.

mod limits;
mod listener;
#[cfg(test)]
mod tests;

pub use limits::{Limits, MAX_HEADER_BYTES, MAX_HEADERS};
pub use listener::Listener;

/// What the body of a response may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
