//! A store that takes no more than it is allowed to.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::{
    Error, KeyRange, Leases, Op, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn,
    TxnResult, WatchOptions, WatchStream,
};

/// What a [`LimitedStore`] allows. Nothing is limited unless it is set.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Requests a second, on average.
    pub requests_per_second: Option<f64>,
    /// Requests that may come at once without waiting; 1 unless set.
    pub burst: Option<u32>,
    /// How long a request may wait for its turn before it is refused; 1 s unless set.
    pub longest_wait: Option<Duration>,
    /// The largest value in bytes.
    pub max_value_bytes: Option<usize>,
    /// Bytes of keys and values, history included, that writes may fill.
    pub quota_bytes: Option<u64>,
    /// Watches that may be open at once.
    pub watchers: Option<usize>,
}

impl Limits {
    /// Lets `rate` requests a second through, and `burst` at once; others wait for their turn.
    #[must_use]
    pub fn requests(mut self, rate: f64, burst: u32) -> Self {
        self.requests_per_second = Some(rate);
        self.burst = Some(burst);
        self
    }

    /// Refuses requests that would wait for longer.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = Some(wait);
        self
    }

    /// Refuses values of more than `bytes`.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = Some(bytes);
        self
    }

    /// Refuses writes that would let keys and values pass `bytes`. Writers that come at once are
    /// each measured by what is stored already, so together they can pass it by what they write.
    #[must_use]
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }

    /// Refuses watches beyond `count`.
    #[must_use]
    pub fn watchers(mut self, count: usize) -> Self {
        self.watchers = Some(count);
        self
    }
}

/// A layer over any store that keeps its users within [`Limits`].
///
/// A request beyond the rate waits for its turn, in the order in which requests came, and is
/// refused with [`Busy`](Error::Busy) at once if its turn is too far off: so what waits is bounded.
/// What is refused was not applied. Reads, deletes and compaction go on over the quota. Leases are
/// the inner store's and are not limited.
///
/// ```
/// use kstore::{LimitedStore, Limits, MemoryStore};
/// let limits = Limits::default().requests(1000.0, 100).max_value_bytes(64 << 10);
/// let store = LimitedStore::new(MemoryStore::new(), limits);
/// ```
#[derive(Debug)]
pub struct LimitedStore<S> {
    inner: S,
    limits: Limits,
    /// When the next request's turn is, if all before came as slowly as is allowed.
    turn: Mutex<Option<Instant>>,
    /// What was in use by the last status, and what was put since.
    used: AtomicU64,
    watches: Option<Arc<Semaphore>>,
}

impl<S: Store> LimitedStore<S> {
    /// Keeps the users of `store` within `limits`.
    #[must_use]
    pub fn new(store: S, limits: Limits) -> Self {
        let watches = limits.watchers.map(|count| Arc::new(Semaphore::new(count)));
        // Nothing is known of what is there before the first status.
        let used = AtomicU64::new(u64::MAX);
        Self { inner: store, limits, turn: Mutex::default(), used, watches }
    }

    /// The store beneath, which is not limited.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Waits for a request's turn.
    async fn turn(&self) -> Result<()> {
        let Some(rate) = self.limits.requests_per_second else { return Ok(()) };
        let wait = {
            let mut turn = self.turn.lock();
            let (wait, next) = plan_turn(*turn, Instant::now(), rate, &self.limits)?;
            *turn = Some(next);
            wait
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Refuses a write that would pass the quota. The store is asked only when it might.
    async fn check_quota(&self, grows: u64) -> Result<()> {
        let Some(quota) = self.limits.quota_bytes.filter(|_| grows > 0) else { return Ok(()) };
        let mut used = self.used.load(Ordering::Relaxed);
        if used.saturating_add(grows) > quota {
            used = self.inner.status().await?.bytes;
            if used.saturating_add(grows) > quota {
                return Err(Error::OverQuota { used, quota });
            }
            self.used.store(used, Ordering::Relaxed);
        }
        self.used.fetch_add(grows, Ordering::Relaxed);
        Ok(())
    }

    fn check_values(&self, txn: &Txn) -> Result<()> {
        let Some(limit) = self.limits.max_value_bytes else { return Ok(()) };
        for op in txn.then.iter().chain(&txn.otherwise) {
            if let Op::Put { value, .. } = op
                && value.bytes.len() > limit
            {
                return Err(Error::TooLarge { what: "value", size: value.bytes.len(), limit });
            }
        }
        Ok(())
    }
}

/// How long the next request waits, and when the turn of the one after it is.
fn plan_turn(
    turn: Option<Instant>,
    now: Instant,
    rate: f64,
    limits: &Limits,
) -> Result<(Duration, Instant)> {
    let interval = Duration::from_secs_f64(1.0 / rate.max(1e-3));
    let burst = interval * limits.burst.unwrap_or(1).max(1).saturating_sub(1);
    let turn = turn.map_or(now, |turn| turn.max(now));
    let wait = turn.saturating_duration_since(now).saturating_sub(burst);
    let longest = limits.longest_wait.unwrap_or(Duration::from_secs(1));
    if wait > longest {
        return Err(Error::Busy { what: "requests wait", retry_after: wait });
    }
    Ok((wait, turn + interval))
}

/// The bytes that a transaction may add, whichever way its compares go.
fn growth(txn: &Txn) -> u64 {
    let bytes = |ops: &[Op]| {
        let puts = ops.iter().filter_map(|op| match op {
            Op::Put { key, value, .. } => Some((key.len() + value.bytes.len()) as u64),
            _ => None,
        });
        puts.sum::<u64>()
    };
    bytes(&txn.then).max(bytes(&txn.otherwise))
}

#[async_trait]
impl<S: Store> Store for LimitedStore<S> {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        self.turn().await?;
        self.inner.range(range, options).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.check_values(&txn)?;
        self.turn().await?;
        self.check_quota(growth(&txn)).await?;
        self.inner.txn(txn).await
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        let Some(watches) = &self.watches else {
            self.turn().await?;
            return self.inner.watch(range, options).await;
        };
        let Ok(place) = Arc::clone(watches).try_acquire_owned() else {
            let retry_after = Duration::from_secs(1);
            return Err(Error::Busy { what: "watches are open", retry_after });
        };
        self.turn().await?;
        let watch = self.inner.watch(range, options).await?;
        Ok(watch.map_batches(move |batches| {
            batches.inspect(move |_| {
                // Held for as long as the watch is open.
                let _place = &place;
            })
        }))
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.turn().await?;
        self.inner.compact(through).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }
}
