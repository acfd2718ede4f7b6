//! Proxying UDP datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcore::collections::HashMap;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::balance::Balancer;

/// Clients of one address at once; the one that was silent longest makes room.
const MAX_CLIENTS: usize = 4_096;
/// How long a silent client keeps its endpoint.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of the largest datagram.
const MAX_DATAGRAM: usize = 65_535;
/// Pause after a receive that failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// One client's way to its endpoint and back.
struct Session {
    upstream: Arc<UdpSocket>,
    endpoint: SocketAddr,
    seen: Instant,
    answers: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Serves an address until it is dropped.
pub(super) async fn serve(socket: UdpSocket, balancer: Arc<Balancer>) {
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SocketAddr, Session> = HashMap::default();
    let mut datagram = vec![0; MAX_DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "datagram cannot be received");
                tokio::time::sleep(RECEIVE_PAUSE).await;
                continue;
            }
        };
        let now = Instant::now();
        // A client whose endpoint is gone gets another one with its next datagram.
        let fresh = sessions.get(&client).is_some_and(|session| {
            now.duration_since(session.seen) < IDLE && balancer.has(session.endpoint)
        });
        if !fresh {
            sessions.remove(&client);
            make_room(&mut sessions, now);
            if let Some(session) = open(&socket, client, &balancer).await {
                sessions.insert(client, session);
            }
        }
        if let Some(session) = sessions.get_mut(&client) {
            session.seen = now;
            let _ = session.upstream.send(&datagram[..length]).await;
        }
    }
}

fn make_room(sessions: &mut HashMap<SocketAddr, Session>, now: Instant) {
    if sessions.len() < MAX_CLIENTS {
        return;
    }
    sessions.retain(|_, session| now.duration_since(session.seen) < IDLE);
    if sessions.len() >= MAX_CLIENTS {
        let oldest = sessions.iter().min_by_key(|(_, session)| session.seen);
        if let Some(oldest) = oldest.map(|(client, _)| *client) {
            sessions.remove(&oldest);
        }
    }
}

async fn open(socket: &Arc<UdpSocket>, client: SocketAddr, balancer: &Balancer) -> Option<Session> {
    let endpoint = *balancer.order(client.ip()).first()?;
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let upstream = Arc::new(UdpSocket::bind(any).await.ok()?);
    upstream.connect(endpoint).await.ok()?;
    balancer.chosen(client.ip(), endpoint);
    let (from, to) = (Arc::clone(&upstream), Arc::clone(socket));
    let answers = tokio::spawn(async move {
        let mut datagram = vec![0; MAX_DATAGRAM];
        while let Ok(length) = from.recv(&mut datagram).await {
            let _ = to.send_to(&datagram[..length], client).await;
        }
    });
    let answers = answers.abort_handle();
    Some(Session { upstream, endpoint, seen: Instant::now(), answers })
}
