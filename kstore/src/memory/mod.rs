//! The store in memory: multi-version, watchable, and as fast as one lock allows.

mod history;
mod leases;
mod options;
mod plan;
mod ring;
mod state;
mod watcher;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::options::MemoryOptions;
use self::state::State;
use crate::{
    KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};

/// A [`Store`] in memory. It forgets all when its last handle is dropped; clones are handles to
/// the same store.
///
/// Operations wait for nothing but [their turn](tokio::task::coop): each takes one lock for as
/// long as it decides and applies. Watches of
/// the same range share one ring, so that an event costs the ranges it lies in, not the watchers.
/// Leases expire by tokio's clock; a small task on the granting runtime (whose time has to be
/// enabled) drives that while there are any, and no operation sees a lease past its end even if
/// that task is gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kstore::Result<()> {
/// use kstore::{MemoryOptions, MemoryStore, StoreExt};
/// let store = MemoryStore::with_options(MemoryOptions::default().quota_bytes(64 << 20));
/// let revision = store.create("greeting", "hello").await?;
/// assert_eq!(store.get("greeting").await?.unwrap().modified, revision);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

/// What the handles, the watchers and the lease task have in common.
struct Shared {
    options: MemoryOptions,
    state: RwLock<State>,
    /// The last revision whose events are in every ring they belong to.
    visible: AtomicU64,
    /// Tells the lease task that deadlines changed or that the store is gone.
    deadlines: Arc<Notify>,
}

impl MemoryStore {
    /// An empty store with default options.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::default())
    }

    /// An empty store.
    #[must_use]
    pub fn with_options(options: MemoryOptions) -> Self {
        let shared = Shared {
            options,
            state: RwLock::new(State::new()),
            visible: AtomicU64::new(Revision::FIRST.0),
            deadlines: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// The state, after every lease that is past its end has been ended.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        loop {
            let state = self.state.read();
            match state.leases.next_deadline() {
                Some(deadline) if deadline <= Instant::now() => drop(state),
                _ => return state,
            }
            self.write(|_| ());
        }
    }

    /// Changes the state, after every lease that is past its end has been ended; then wakes whom
    /// the changes concern, outside the lock.
    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write();
        if state.leases.next_deadline().is_some() {
            state.expire_leases(Instant::now());
        }
        let result = change(&mut state);
        state.trim(&self.options);
        state.publish(&self.options);
        // Released before the lock, so that a watcher that reads this and then finds its ring
        // empty knows that nothing up to here is for it.
        self.visible.store(state.revision().0, Ordering::Release);
        let wakers = state.take_wakers();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.deadlines.notify_one();
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        tokio::task::consume_budget().await;
        // Records are shared under the lock and copied outside it.
        if let Some(key) = range.as_single()
            && !options.count_only
        {
            let state = self.shared.read();
            let (revision, found) = (state.revision(), state.get(key, &options)?);
            drop(state);
            let revision = options.at.unwrap_or(revision);
            return Ok(history::page_of_one(found.as_deref(), revision, options.keys_only));
        }
        let found = self.shared.read().range(&range, &options)?;
        Ok(found.into_page(options.keys_only))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        tokio::task::consume_budget().await;
        plan::check(&txn, &self.shared.options)?;
        self.shared.write(|state| state.txn(txn, &self.shared.options))
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        watcher::watch(&self.shared, range, options)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.shared.write(|state| state.compact(through))
    }

    async fn status(&self) -> Result<StoreStatus> {
        Ok(self.shared.read().status())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}
