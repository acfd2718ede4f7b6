//! A store that fails on purpose, from a seed.
#![deny(clippy::missing_trait_methods)]

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use kcore::random::Random;

use crate::{
    Error, KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn,
    TxnResult, WatchOptions, WatchStream,
};

/// How likely each fault is, from 0 (never, the default) to 1.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// An operation fails with `Unavailable` and was not applied.
    pub before: f64,
    /// An operation fails with `Unavailable` and was applied: the caller cannot tell.
    pub after: f64,
    /// An operation takes up to [`longest_delay`](Self::longest_delay) longer, before it is
    /// applied or after.
    pub delay: f64,
    /// The longest delay; 10 ms unless set.
    pub longest_delay: Option<Duration>,
    /// A watch is cut with `Unavailable` before its next batch.
    pub cut: f64,
}

impl Faults {
    /// Fails operations that are not applied.
    #[must_use]
    pub fn before(mut self, probability: f64) -> Self {
        self.before = probability;
        self
    }

    /// Fails operations that are applied nevertheless.
    #[must_use]
    pub fn after(mut self, probability: f64) -> Self {
        self.after = probability;
        self
    }

    /// Delays operations by up to `longest`.
    #[must_use]
    pub fn delay(mut self, probability: f64, longest: Duration) -> Self {
        self.delay = probability;
        self.longest_delay = Some(longest);
        self
    }

    /// Cuts watches.
    #[must_use]
    pub fn cut(mut self, probability: f64) -> Self {
        self.cut = probability;
        self
    }
}

/// What a fault is caused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("injected fault")]
pub struct InjectedFault;

/// A layer over any store that injects [`Faults`], drawn from a seeded sequence.
///
/// It never lies: what it fails is `Unavailable`, and what it answers is the store's own answer.
/// Without faults it is transparent. Delays are tokio's sleeps. Leases are the inner store's and
/// do not fail.
///
/// ```
/// use kcore::random::Random;
/// use kstore::{Faults, FaultyStore, MemoryStore};
/// let faults = Faults::default().before(0.1).after(0.05);
/// let store = FaultyStore::new(MemoryStore::new(), Random::seeded(7), faults);
/// ```
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    random: Random,
    faults: Faults,
}

impl<S: Store> FaultyStore<S> {
    /// Lets `store` fail as `faults` say, in the order that `random` draws.
    #[must_use]
    pub fn new(store: S, random: Random, faults: Faults) -> Self {
        Self { inner: store, random, faults }
    }

    /// The store beneath, which does not fail.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    async fn with_faults<T: Send>(
        &self,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.delay().await;
        if draws(&self.random, self.faults.before) {
            return Err(Error::unavailable(InjectedFault));
        }
        let result = operation.await;
        self.delay().await;
        if draws(&self.random, self.faults.after) {
            return Err(Error::unavailable(InjectedFault));
        }
        result
    }

    async fn delay(&self) {
        if draws(&self.random, self.faults.delay) {
            let longest = self.faults.longest_delay.unwrap_or(Duration::from_millis(10));
            tokio::time::sleep(longest.mul_f64(self.random.fraction())).await;
        }
    }
}

/// Draws only where something can come of it, so that a fault that is off shifts no other.
fn draws(random: &Random, probability: f64) -> bool {
    probability > 0.0 && random.chance(probability)
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        self.with_faults(self.inner.range(range, options)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.with_faults(self.inner.txn(txn)).await
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        let watch = self.with_faults(self.inner.watch(range, options)).await?;
        if self.faults.cut <= 0.0 {
            return Ok(watch);
        }
        let (random, cut) = (self.random.fork(), self.faults.cut);
        Ok(watch.map_batches(|batches| {
            stream::unfold(Some((batches, random)), move |open| async move {
                let (mut batches, random) = open?;
                let batch = batches.next().await?;
                if draws(&random, cut) {
                    // Cut instead of told: the batch is for the watch that resumes.
                    return Some((Err(Error::unavailable(InjectedFault)), None));
                }
                Some((batch, Some((batches, random))))
            })
        }))
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.with_faults(self.inner.compact(through)).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.with_faults(self.inner.status()).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }
}
