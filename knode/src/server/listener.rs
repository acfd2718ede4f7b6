//! The HTTPS listener.

use std::net::SocketAddr;

use kcore::serve::Limits;
use kcore::tls::ServerTls;

use super::KubeletService;
use super::auth::read_peer;
use crate::{Error, Result};

/// Connections served at once; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1_000;
/// Requests at once on one HTTP/2 connection.
pub const MAX_STREAMS: u32 = 250;

/// A socket on which a node's API is reached, over TLS with HTTP/1.1 and HTTP/2.
///
/// The line and the headers of a request are bounded by [`kcore::serve::MAX_HEADER_BYTES`] and
/// [`kcore::serve::MAX_HEADERS`]; what is longer is answered with 431. No request has a body that
/// is read.
#[derive(Debug)]
pub struct Listener {
    inner: kcore::serve::Listener,
}

impl Listener {
    /// Takes an address; the kubelet's port is 10250.
    ///
    /// # Errors
    /// [`Backend`](Error::Backend) if the address cannot be had.
    pub async fn bind(address: SocketAddr, tls: ServerTls) -> Result<Self> {
        let limits = Limits::default().connections(MAX_CONNECTIONS).streams(MAX_STREAMS);
        let bound = kcore::serve::Listener::bind(address, tls, limits).await;
        let inner = bound.map_err(|source| Error::Backend {
            what: format!("cannot listen on {address}"),
            source: source.into(),
        })?;
        Ok(Self { inner })
    }

    /// The address that was taken: with the port, if any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// Serves until `shutdown` is ready, then lets requests under way end for a few seconds and
    /// closes what is left. Dropping the future closes every connection.
    pub async fn serve(&self, service: KubeletService, shutdown: impl Future<Output = ()> + Send) {
        self.inner.serve(service, read_peer, shutdown).await;
    }
}
