//! Forgetting history that nobody needs any more, for stores that keep it until they are told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcore::component::{self, Component, Context};

use crate::{Error, Store, StoreExt};

/// How long history is kept unless told otherwise: 5 minutes, as
/// [the API server's](https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/)
/// `--etcd-compaction-interval`.
const KEEP: Duration = Duration::from_secs(5 * 60);

/// A component that compacts a store: what was superseded longer ago than it keeps is forgotten.
///
/// etcd keeps its whole history until somebody does this. Several may do it for one store: what
/// one has compacted is nothing to the others.
pub struct Compaction {
    store: Arc<dyn Store>,
    keep: Duration,
}

impl Compaction {
    /// Compacts `store` every 5 minutes, up to where it was that long ago.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), keep: KEEP }
    }

    /// Keeps the history of `keep`, at least, and of twice that, at most.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep.max(Duration::from_millis(1));
        self
    }
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction").field("keep", &self.keep).finish_non_exhaustive()
    }
}

#[async_trait]
impl Component for Compaction {
    fn name(&self) -> &str {
        "store-compaction"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        ctx.health().ready();
        let mut old = None;
        loop {
            // A revision that cannot be read now is one that is not compacted next time.
            let now = self.store.revision().await.ok();
            if let Some(through) = old.take() {
                match self.store.compact(through).await {
                    Ok(()) => tracing::debug!(%through, "compacted"),
                    Err(Error::Compacted { .. }) => {}
                    Err(error) => tracing::warn!(%through, %error, "the store is not compacted"),
                }
            }
            old = now;
            kcore::select! {
                () = ctx.stop().stopped() => return Ok(()),
                () = tokio::time::sleep(self.keep) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kcore::component::Distribution;

    use super::*;
    use crate::{MemoryOptions, MemoryStore};

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_period_is_forgotten_and_nothing_younger() {
        let store = MemoryStore::with_options(MemoryOptions::default().retain_all());
        store.put("a", "1").await.unwrap();
        let first = store.put("a", "2").await.unwrap();
        let keep = Duration::from_secs(300);
        let compaction = Compaction::new(store.clone()).keep(keep);
        let running = Distribution::new().with(compaction).start();
        running.ready().await;
        tokio::time::sleep(keep / 2).await;
        let second = store.put("a", "3").await.unwrap();
        tokio::time::sleep(keep).await;
        assert_eq!(store.status().await.unwrap().compacted, first);
        tokio::time::sleep(keep).await;
        assert_eq!(store.status().await.unwrap().compacted, second);
        assert!(running.stop().await.is_clean());
    }
}
