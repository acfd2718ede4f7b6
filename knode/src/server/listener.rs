//! The HTTPS listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::Layer as _;
use tower::util::MapRequestLayer;

use super::auth::read_peer;
use super::{KubeletService, Tls};
use crate::{Error, Result};

/// Connections served at once; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1_000;
/// Requests at once on one HTTP/2 connection.
pub const MAX_STREAMS: u32 = 250;
/// The line and headers of a request, in bytes; a longer request is answered with 431. No request
/// has a body that is read.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The headers of a request.
pub const MAX_HEADERS: usize = 100;
/// How long a handshake, and the headers of a request, may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may go on when the listener stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket on which a node's API is reached, over TLS with HTTP/1.1 and HTTP/2.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Tls,
}

impl Listener {
    /// Takes an address; the kubelet's port is 10250.
    ///
    /// # Errors
    /// [`Backend`](Error::Backend) if the address cannot be had.
    pub async fn bind(address: SocketAddr, tls: Tls) -> Result<Self> {
        let failed = |source: std::io::Error| Error::Backend {
            what: format!("cannot listen on {address}"),
            source: source.into(),
        };
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
    /// Dropping the future stops accepting; what was accepted goes on.
    pub async fn serve(&self, service: KubeletService, shutdown: impl Future<Output = ()> + Send) {
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
                    let (watcher, service) = (graceful.watcher(), service.clone());
                    let acceptor = TlsAcceptor::from(self.tls.current());
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

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: KubeletService,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = peer.and_then(|certificate| read_peer(certificate));
    let identify = MapRequestLayer::new(move |mut request: http::Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request
    });
    let service = TowerToHyperService::new(identify.layer(service));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX));
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(error, "connection ended");
    }
}
