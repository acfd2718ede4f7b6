//! Connections to agents that wait for their next request.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use kcore::collections::HashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::nodes::{NodeAddress, NodeBody};

/// Connections to one agent that are kept: several people read logs of one node at once.
pub(super) const MAX_IDLE_PER_NODE: usize = 8;
/// Connections to all agents that are kept; further ones are closed after use.
pub(super) const MAX_IDLE: usize = 1_000;
/// How long a connection is good for that nobody uses, as with Go's transports; it is closed within
/// twice that time.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(90);

/// A connection that ends with this value.
pub(super) struct Connection {
    pub(super) sender: SendRequest<NodeBody>,
    task: AbortHandle,
}

impl Connection {
    pub(super) fn new(sender: SendRequest<NodeBody>, task: AbortHandle) -> Self {
        Self { sender, task }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a connection is good for: an agent's address, and whether its certificate was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    authority: String,
    unverified: bool,
}

impl Key {
    pub(super) fn of(node: &NodeAddress) -> Self {
        Self { authority: node.authority(), unverified: node.skip_verification }
    }
}

struct Kept {
    connection: Connection,
    since: Instant,
}

impl Kept {
    fn is_good(&self, now: Instant) -> bool {
        !self.connection.sender.is_closed() && now.duration_since(self.since) < IDLE_TIME
    }
}

/// The connections that are kept, the one used last at the end.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    by_key: HashMap<Key, Vec<Kept>>,
    total: usize,
    /// Who looks after those that nobody uses.
    watch: Option<AbortHandle>,
}

impl Idle {
    /// Closes what is too old, or was closed by the agent.
    fn sweep(&mut self, now: Instant) {
        self.by_key.retain(|_, kept| {
            kept.retain(|kept| kept.is_good(now));
            !kept.is_empty()
        });
        self.total = self.by_key.values().map(Vec::len).sum();
    }
}

impl Pool {
    /// The connection of a key that was used last.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let idle = &mut *idle;
        let now = Instant::now();
        let of_key = idle.by_key.get_mut(key)?;
        let mut found = None;
        while let Some(kept) = of_key.pop() {
            idle.total -= 1;
            if kept.is_good(now) {
                found = Some(kept.connection);
                break;
            }
        }
        if of_key.is_empty() {
            idle.by_key.remove(key);
        }
        found
    }

    /// Keeps a connection for later, if there is room and it is still open.
    pub(super) fn put(self: &Arc<Self>, key: Key, connection: Connection) {
        // A body may be dropped when its runtime has ended, and its connection with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let now = Instant::now();
        let mut idle = self.idle.lock();
        if idle.total >= MAX_IDLE {
            idle.sweep(now);
        }
        if connection.sender.is_closed() || idle.total >= MAX_IDLE {
            return;
        }
        let of_key = idle.by_key.entry(key).or_default();
        of_key.push(Kept { connection, since: now });
        if of_key.len() > MAX_IDLE_PER_NODE {
            // The one that nobody has needed for the longest time.
            of_key.remove(0);
        } else {
            idle.total += 1;
        }
        if idle.watch.as_ref().is_none_or(AbortHandle::is_finished) {
            idle.watch = Some(runtime.spawn(watch(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Closes what is too old; whether anything is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle.lock();
        idle.sweep(Instant::now());
        if idle.total == 0 {
            // Whoever keeps the next one finds nobody there, though this task has not ended yet.
            idle.watch = None;
        }
        idle.total > 0
    }
}

/// Closes connections that nobody uses, as long as there are some.
async fn watch(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIME).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.sweep() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    fn key(node: usize) -> Key {
        Key::of(&NodeAddress::new("n", format!("node-{node}"), 10_250))
    }

    /// A connection, and the agent's end of it.
    async fn connection() -> (Connection, DuplexStream) {
        let (here, there) = tokio::io::duplex(64);
        let (sender, connection) = http1::handshake(TokioIo::new(here)).await.unwrap();
        let task = tokio::spawn(async move { drop(connection.await) });
        (Connection::new(sender, task.abort_handle()), there)
    }

    async fn is_closed(end: &mut DuplexStream) -> bool {
        // Whoever ends has a turn before this one is believed to be open.
        tokio::time::timeout(Duration::from_millis(1), end.read_u8()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_kept_of_one_agent_and_of_all() {
        let pool: Arc<Pool> = Arc::default();
        let mut ends = Vec::new();
        for _ in 0..MAX_IDLE_PER_NODE + 2 {
            let (connection, end) = connection().await;
            pool.put(key(0), connection);
            ends.push(end);
        }
        for (at, end) in ends.iter_mut().enumerate() {
            assert_eq!(is_closed(end).await, at < 2, "the oldest ones go: {at}");
        }
        assert_eq!(pool.idle.lock().total, MAX_IDLE_PER_NODE);
        for node in 1.. {
            let (connection, mut end) = connection().await;
            pool.put(key(node), connection);
            if is_closed(&mut end).await {
                assert_eq!(node, MAX_IDLE - MAX_IDLE_PER_NODE + 1);
                break;
            }
            ends.push(end);
        }
        assert_eq!(pool.idle.lock().total, MAX_IDLE);
        // What agents closed makes room.
        ends.truncate(MAX_IDLE_PER_NODE);
        tokio::task::yield_now().await;
        let (connection, mut end) = connection().await;
        pool.put(key(MAX_IDLE), connection);
        assert!(!is_closed(&mut end).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_for_what_it_was_made_for() {
        let pool: Arc<Pool> = Arc::default();
        let node = NodeAddress::new("n", "node-0", 10_250);
        let (connection, end) = connection().await;
        pool.put(Key::of(&node.clone().skip_verification()), connection);
        assert!(pool.take(&Key::of(&node)).is_none(), "its certificate was not checked");
        assert!(pool.take(&key(1)).is_none());
        let unchecked = Key::of(&node.skip_verification());
        let connection = pool.take(&unchecked).unwrap();
        assert!(pool.take(&unchecked).is_none());
        pool.put(unchecked.clone(), connection);
        drop(end);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(pool.take(&unchecked).is_none(), "the agent closed it");
        assert_eq!(pool.idle.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_needs_to_come_for_one_to_be_closed() {
        let pool: Arc<Pool> = Arc::default();
        for _ in 0..2 {
            let (connection, mut end) = connection().await;
            pool.put(key(0), connection);
            tokio::time::sleep(IDLE_TIME - Duration::from_secs(1)).await;
            let connection = pool.take(&key(0)).expect("it is good for a little longer");
            pool.put(key(0), connection);
            tokio::time::sleep(IDLE_TIME * 2).await;
            assert!(is_closed(&mut end).await);
            assert_eq!(pool.idle.lock().total, 0);
        }
    }
}
