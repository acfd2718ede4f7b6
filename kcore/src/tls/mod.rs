//! TLS for whoever connects and for whoever listens: certificates in PEM become configurations of
//! rustls, with `ring` underneath, TLS 1.2 and 1.3, and nothing weaker.
//!
//! [`ClientTls`] says whom to believe and what to show, [`ServerTls`] what to serve as. Keys are
//! in no error and no `Debug` (X8).
//! <https://kubernetes.io/docs/setup/best-practices/certificates/>

mod certificate;
mod client;
mod error;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod unchecked;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use certificate::Certificate;
pub use client::{ClientTls, Connector};
pub use error::{ConnectError, Error};
pub use server::ServerTls;

/// What fallible calls of this module return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The one provider: a process may hold others without either noticing.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
