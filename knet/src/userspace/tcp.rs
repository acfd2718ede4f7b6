//! Proxying TCP connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::balance::Balancer;

/// Connections of one address at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4_096;
/// How long an endpoint may take to answer a dial before the next one is tried.
const DIAL: Duration = Duration::from_secs(3);
/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves an address until it is dropped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, balancer: Arc<Balancer>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let balancer = Arc::clone(&balancer);
                connections.spawn(async move {
                    proxy(stream, &balancer).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn proxy(mut client: TcpStream, balancer: &Balancer) {
    let Ok(peer) = client.peer_addr() else { return };
    for endpoint in balancer.order(peer.ip()) {
        // A refused dial is tried on the next endpoint (N8).
        let dial = tokio::time::timeout(DIAL, TcpStream::connect(endpoint)).await;
        let Ok(Ok(mut server)) = dial else { continue };
        balancer.chosen(peer.ip(), endpoint);
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = copy_bidirectional(&mut client, &mut server).await;
        return;
    }
    // Nobody is there: the client is told at once, as a kernel's reject would.
    let _ = client.set_zero_linger();
}
