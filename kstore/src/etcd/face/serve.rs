//! Listening.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::Service as _;

use super::EtcdFace;

/// Calls at once on one connection.
const MAX_STREAMS: u32 = 1 << 16;

/// Bytes that may be under way to the server, of one call and of one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How often a silent connection is tried, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a connection could not be taken: the process has no file handles left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl EtcdFace {
    /// Serves whoever connects, without encryption, until `shutdown` comes; what is under way is
    /// dropped then. Fails if the listener does.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(self.shared.options.max_connections));
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // Nobody closes the semaphore.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
            let accepted = kcore::select! {
                () = &mut shutdown => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    let face = self.clone();
                    connections.spawn(async move {
                        face.serve_connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection until it ends.
    pub async fn serve_connection<I>(&self, stream: I)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let face = self.clone();
        let service = hyper::service::service_fn(move |request| face.clone().call(request));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
