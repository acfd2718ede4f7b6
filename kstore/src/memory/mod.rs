//! The store in memory: multi-version, watchable, and as fast as one lock allows.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::mvcc::{Core, MemoryOptions};
use crate::{
    KeyRange, LeaseId, LeaseStatus, Leases, Page, RangeOptions, Result, Revision, Store,
    StoreStatus, Txn, TxnResult, WatchOptions, WatchStream,
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
#[derive(Debug, Clone)]
pub struct MemoryStore {
    core: Arc<Core>,
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
        Self { core: Arc::new(Core::new(options)) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        tokio::task::consume_budget().await;
        self.core.range(&range, &options)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        tokio::task::consume_budget().await;
        self.core.txn(txn)
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        self.core.watch(range, options)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.core.compact(through).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        Ok(self.core.status())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        Ok(self.core.grant(ttl))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.core.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.core.revoke(lease)
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.core.time_to_live(lease)
    }

    async fn list(&self) -> Result<Vec<LeaseId>> {
        Ok(self.core.leases())
    }
}
