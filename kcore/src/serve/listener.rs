//! The HTTPS listener.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::util::MapRequestLayer;
use tower::{Layer as _, Service};

use super::{BoxError, Limits};
use crate::tls::ServerTls;

/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least that HTTP/1.1 can be read with, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;

/// A socket on which a service is reached, over TLS with HTTP/1.1 and HTTP/2. Requests may ask
/// for an upgrade of an HTTP/1.1 connection.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: ServerTls,
    limits: Limits,
}

impl Listener {
    /// Takes an address.
    ///
    /// # Errors
    /// If the address is taken, or none of this machine's.
    pub async fn bind(address: SocketAddr, tls: ServerTls, limits: Limits) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, tls, limits })
    }

    /// The address that was taken: with the port, if any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then lets requests under way end for a few seconds and
    /// closes what is left.
    ///
    /// Every request carries what `identify` makes of the certificate of its connection, in DER
    /// and verified, as an extension; none if there is no certificate or nothing is made of it.
    ///
    /// Dropping the future closes every connection but those that were upgraded.
    pub async fn serve<S, B, P>(
        &self,
        service: S,
        identify: impl Fn(&[u8]) -> Option<P> + Send + Sync + 'static,
        shutdown: impl Future<Output = ()> + Send,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
        P: Clone + Send + Sync + 'static,
    {
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let identify = Arc::new(identify);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (self.socket.accept().await, slot)
            };
            let (accepted, slot) = crate::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => continue,
                accepted = accepted => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (watcher, service) = (graceful.watcher(), service.clone());
            let (acceptor, limits) = (self.tls.acceptor(), self.limits.clone());
            let identify = Arc::clone(&identify);
            connections.spawn(async move {
                connection(stream, acceptor, service, &*identify, watcher, &limits).await;
                drop(slot);
            });
        }
        let _ = tokio::time::timeout(self.limits.drain, graceful.shutdown()).await;
    }
}

async fn connection<S, B, P>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: S,
    identify: &(impl Fn(&[u8]) -> Option<P> + Send + Sync),
    watcher: Watcher,
    limits: &Limits,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    P: Clone + Send + Sync + 'static,
{
    // Without it an answer is only slower.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = peer.and_then(|certificate| identify(certificate));
    let identified = MapRequestLayer::new(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request
    });
    let service = TowerToHyperService::new(identified.layer(service));
    let builder = builder(limits);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(error, "connection ended");
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_buf_size(limits.header_bytes.max(LEAST_BUFFER))
        .max_headers(limits.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
