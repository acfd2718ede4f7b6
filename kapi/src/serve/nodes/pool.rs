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
