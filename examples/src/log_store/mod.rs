//! A `Store` from scratch: the present, a log of the changes that led to it, and nothing else.
//!
//! A read of the past takes the present and undoes the log; a watch is a place in the log;
//! compaction cuts the log's head off. It has no leases and keeps nothing across a restart.

mod state;
mod watcher;

use std::sync::Arc;

use kstore::{
    KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use state::State;

/// What a [`LogStore`] keeps.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Bytes of keys and values that writes may fill, history included.
    pub quota_bytes: u64,
    /// Changes that are remembered; a watcher that is further behind is closed.
    pub history: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { quota_bytes: 256 << 20, history: 50_000 }
    }
}

/// An ordered history in memory, behind one lock that is never held across an await.
#[derive(Debug)]
pub struct LogStore {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

impl LogStore {
    /// An empty store.
    #[must_use]
    pub fn new(options: LogOptions) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(options))), changed: watch::Sender::new(()) }
    }
}

#[async_trait::async_trait]
impl Store for LogStore {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        self.state.lock().read(&range, &options)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        let result = self.state.lock().commit(txn)?;
        self.changed.send_replace(());
        Ok(result)
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        watcher::watch(&self.state, self.changed.subscribe(), range, &options)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.state.lock().compact(through)
    }

    async fn status(&self) -> Result<StoreStatus> {
        let state = self.state.lock();
        let mut status = StoreStatus::at(state.revision);
        status.compacted = state.compacted;
        status.bytes = state.bytes;
        status.keys = state.now.len() as u64;
        status.watchers = self.changed.receiver_count() as u64;
        Ok(status)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
}
