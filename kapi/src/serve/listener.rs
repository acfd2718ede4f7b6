//! The HTTPS listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kcore::component::{self, Component, Context};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::util::MapRequestLayer;
use tower::{Layer as _, ServiceExt as _};

use super::ServeError;
use super::pki::{Certificate, ClusterCa};
use crate::api_server::ApiServer;
use crate::http::{ApiService, PeerCertificate};

/// Connections served at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// Requests at once on one HTTP/2 connection: an informer for each kind, and some.
const MAX_STREAMS: u32 = 1_000;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may go on when the listener stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket on which an API server is reached, over TLS with HTTP/1.1 and HTTP/2.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
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
        let tls = Arc::new(tls_config(ca, certificate)?);
        let failed = |source| ServeError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls })
    }

    /// The address that was taken: with the port, if any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then lets requests under way end for a few seconds.
    pub async fn serve(&self, service: ApiService, shutdown: impl Future<Output = ()> + Send) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (self.socket.accept().await, slot)
            };
            let (accepted, slot) = kcore::select! {
                () = &mut shutdown => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let watcher = graceful.watcher();
                    let (acceptor, service) = (acceptor.clone(), service.clone());
                    tokio::spawn(async move {
                        connection(stream, acceptor, service, watcher).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
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

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: ApiService,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = peer.map(|certificate| PeerCertificate(certificate.as_ref().into()));
    let identify = MapRequestLayer::new(move |mut request: http::Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request
    });
    let service = TowerToHyperService::new(identify.layer(service).boxed_clone());
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(error, "connection ended");
    }
}

fn tls_config(
    ca: &ClusterCa,
    certificate: &Certificate,
) -> Result<rustls::ServerConfig, ServeError> {
    let bad = |why: String| ServeError::Certificate { what: "server certificate".to_owned(), why };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes())
        .map_err(|error| bad(error.to_string()))?;
    roots.add(authority).map_err(|error| bad(error.to_string()))?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| bad(error.to_string()))?;
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes())
        .map_err(|error| bad(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())
        .map_err(|error| bad(error.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![chain], key)
        .map_err(|error| bad(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
