//! How long an item waits before it is tried again.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::BackoffPolicy;
use crate::collections::HashMap;

/// The first delay of [`ItemBackoff::default`].
pub const ITEM_FIRST: Duration = Duration::from_millis(5);
/// The longest delay of [`ItemBackoff::default`].
pub const ITEM_CAP: Duration = Duration::from_secs(1000);
/// Retries a second of [`TokenBucket::default`].
pub const BUCKET_RATE: f64 = 10.0;
/// Retries at once of [`TokenBucket::default`].
pub const BUCKET_BURST: u32 = 100;

/// Decides how long an item waits before its next try.
///
/// **Contract**
/// - `when` counts a try of the item and says how long it has to wait from `now`.
/// - `forget` makes the item's next try its first one.
/// - `retries` is how often the item was tried since it was forgotten.
pub trait RateLimiter<T>: Debug + Send + 'static {
    /// Counts a try and says how long the item waits.
    fn when(&mut self, item: &T, now: Instant) -> Duration;
    /// The item is done: its next try is its first one.
    fn forget(&mut self, item: &T);
    /// How often the item was tried since it was forgotten.
    fn retries(&self, item: &T) -> u32;
}

/// Each item backs off by itself: 5 ms, doubling up to 1,000 s unless told otherwise.
#[derive(Debug, Clone)]
pub struct ItemBackoff<T> {
    policy: BackoffPolicy,
    failures: HashMap<T, u32>,
}

impl<T> ItemBackoff<T> {
    /// Items back off by `policy`; its jitter and its reset are not used.
    #[must_use]
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: HashMap::default() }
    }
}

impl<T> Default for ItemBackoff<T> {
    fn default() -> Self {
        Self::new(BackoffPolicy::new(ITEM_FIRST, ITEM_CAP))
    }
}

impl<T: Clone + Eq + Hash + Debug + Send + 'static> RateLimiter<T> for ItemBackoff<T> {
    fn when(&mut self, item: &T, _now: Instant) -> Duration {
        let failures = self.failures.entry(item.clone()).or_default();
        let delay = self.policy.delay(*failures);
        *failures = failures.saturating_add(1);
        delay
    }

    fn forget(&mut self, item: &T) {
        self.failures.remove(item);
    }

    fn retries(&self, item: &T) -> u32 {
        self.failures.get(item).copied().unwrap_or_default()
    }
}

/// All items together may be tried at a steady rate, with bursts: 10 a second and 100 at once
/// unless told otherwise.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Option<Instant>,
}

impl TokenBucket {
    /// Gives `rate` tokens a second, and `burst` of them at once after a quiet time.
    #[must_use]
    pub fn new(rate: f64, burst: u32) -> Self {
        let burst = f64::from(burst);
        Self { rate: rate.max(f64::MIN_POSITIVE), burst, tokens: burst, filled: None }
    }

    fn fill(&mut self, now: Instant) {
        if let Some(filled) = self.filled {
            let gained = now.saturating_duration_since(filled).as_secs_f64() * self.rate;
            self.tokens = (self.tokens + gained).min(self.burst);
        }
        self.filled = Some(now);
    }

    /// Takes a token if there is one.
    pub fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Takes a token that may still have to come, and says when it does.
    pub fn reserve(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        let missing = (-self.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX)
    }
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self::new(BUCKET_RATE, BUCKET_BURST)
    }
}

impl<T> RateLimiter<T> for TokenBucket {
    fn when(&mut self, _item: &T, now: Instant) -> Duration {
        self.reserve(now)
    }

    fn forget(&mut self, _item: &T) {}

    fn retries(&self, _item: &T) -> u32 {
        0
    }
}

/// Two limiters at once: the longer wait counts.
#[derive(Debug, Clone)]
pub struct MaxOf<A, B>(pub A, pub B);

impl<T, A: RateLimiter<T>, B: RateLimiter<T>> RateLimiter<T> for MaxOf<A, B> {
    fn when(&mut self, item: &T, now: Instant) -> Duration {
        self.0.when(item, now).max(self.1.when(item, now))
    }

    fn forget(&mut self, item: &T) {
        self.0.forget(item);
        self.1.forget(item);
    }

    fn retries(&self, item: &T) -> u32 {
        self.0.retries(item).max(self.1.retries(item))
    }
}
