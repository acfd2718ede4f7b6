//! The HTTPS listener.

use std::net::SocketAddr;

use async_trait::async_trait;
use kcore::component::{self, Component, Context};
use kcore::serve::Limits;
use kcore::tls::{Certificate, ServerTls};

use super::ServeError;
use super::pki::ClusterCa;
use crate::api_server::ApiServer;
use crate::http::{ApiService, PeerCertificate};

/// Connections served at once; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Requests at once on one HTTP/2 connection: an informer for each kind, and some.
pub const MAX_STREAMS: u32 = 1_000;

/// A socket on which an API server is reached, over TLS with HTTP/1.1 and HTTP/2.
///
/// The line and the headers of a request are bounded by [`kcore::serve::MAX_HEADER_BYTES`] and
/// [`kcore::serve::MAX_HEADERS`]; what is longer is answered with 431.
#[derive(Debug)]
pub struct Listener {
    inner: kcore::serve::Listener,
}

impl Listener {
    /// Takes an address. Clients may present a certificate of the cluster's authority.
    ///
    /// # Errors
    /// If the address is taken, or the certificate is not usable.
    pub async fn bind(
        address: SocketAddr,
        ca: &ClusterCa,
        certificate: &Certificate,
    ) -> Result<Self, ServeError> {
        let tls = ServerTls::new(certificate, Some(ca.certificate_pem()))?;
        let limits = Limits::default().connections(MAX_CONNECTIONS).streams(MAX_STREAMS);
        let inner = kcore::serve::Listener::bind(address, tls, limits).await;
        Ok(Self { inner: inner.map_err(|source| ServeError::Listen { address, source })? })
    }

    /// The address that was taken: with the port, if any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// Serves until `shutdown` is ready, then lets requests under way end for a few seconds and
    /// closes what is left. Dropping the future closes every connection.
    pub async fn serve(&self, service: ApiService, shutdown: impl Future<Output = ()> + Send) {
        let identify = |certificate: &[u8]| Some(PeerCertificate(certificate.into()));
        self.inner.serve(service, identify, shutdown).await;
    }
}

/// An API server behind a socket, as a part of a distribution.
#[derive(Debug)]
pub struct HttpsServer {
    listener: Listener,
    service: ApiService,
}

impl ApiServer {
    /// The server behind a socket that was taken for it.
    #[must_use]
    pub fn listen(&self, listener: Listener) -> HttpsServer {
        HttpsServer { listener, service: self.service() }
    }
}

#[async_trait]
impl Component for HttpsServer {
    fn name(&self) -> &'static str {
        "kube-apiserver"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        self.listener.serve(self.service.clone(), ctx.stop().stopped()).await;
        Ok(())
    }
}
