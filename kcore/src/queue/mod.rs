//! The work queue: keys that need work, each once, each with one worker at a time.
//!
//! An item that is added while it is queued is queued once; one that is added while it is worked
//! on is queued again when that work is done. So no change is missed and no two workers ever hold
//! one key. <https://kubernetes.io/docs/concepts/architecture/controller/>

mod limiter;
mod metrics;
mod state;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use limiter::{
    BUCKET_BURST, BUCKET_RATE, ITEM_CAP, ITEM_FIRST, ItemBackoff, MaxOf, RateLimiter, TokenBucket,
};
pub use metrics::{Durations, QueueMetrics};

use crate::collections::HashSet;
use state::State;

/// The most items a queue holds unless told otherwise.
pub const DEFAULT_CAPACITY: usize = 1_000_000;

/// What can be queued: a key.
pub trait Item: Clone + Eq + Hash + Debug + Send + 'static {}

impl<T: Clone + Eq + Hash + Debug + Send + 'static> Item for T {}

/// What became of an item that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in the queue, or will be when the work on it ends.
    Queued,
    /// It was in the queue already.
    Duplicate,
    /// The queue is full. A resync brings the item back.
    Full,
    /// The queue was shut down.
    ShutDown,
}

/// A work queue. Clones are handles of one queue.
///
/// Delays are kept by whoever waits in [`get`](Self::get), so a queue spawns nothing, and under
/// tokio's paused time it is deterministic: items come out in the order in which they got ready.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use kcore::queue::WorkQueue;
/// let queue = WorkQueue::new();
/// queue.add("a");
/// queue.add("a");
/// let claim = queue.get().await.expect("it is open");
/// assert_eq!(*claim, "a");
/// claim.done();
/// assert!(queue.is_empty());
/// # }
/// ```
pub struct WorkQueue<T: Item>(Arc<Inner<T>>);

struct Inner<T: Item> {
    state: Mutex<State<T>>,
    limiter: Mutex<Box<dyn RateLimiter<T>>>,
    /// One wake per ready item; all are woken by shutdown and by an earlier due time.
    wake: Notify,
    idle: Notify,
}

impl<T: Item> WorkQueue<T> {
    /// A queue with the limits of client-go's default controller queue: 5 ms to 1,000 s per item,
    /// 10 retries a second and 100 at once over all.
    #[must_use]
    pub fn new() -> Self {
        Self::with(DEFAULT_CAPACITY, MaxOf(ItemBackoff::default(), TokenBucket::default()))
    }

    /// A queue of at most `capacity` items, ready or delayed, and with limits of its own.
    #[must_use]
    pub fn with(capacity: usize, limiter: impl RateLimiter<T>) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State::new(capacity)),
            limiter: Mutex::new(Box::new(limiter)),
            wake: Notify::new(),
            idle: Notify::new(),
        }))
    }

    /// Queues an item, unless it is queued already.
    pub fn add(&self, item: T) -> Added {
        let added = self.0.state.lock().add(item, Instant::now());
        if added == Added::Queued {
            self.0.wake.notify_one();
        }
        added
    }

    /// Queues an item after `delay`. Of several delays the earliest counts.
    pub fn add_after(&self, item: T, delay: Duration) -> Added {
        if delay.is_zero() {
            return self.add(item);
        }
        let now = Instant::now();
        // A delay beyond what the clock can show is cut to the longest backoff there is.
        let due = now.checked_add(delay).unwrap_or(now + ITEM_CAP);
        let (added, rearm) = self.0.state.lock().add_at(item, due);
        if rearm {
            self.0.wake.notify_waiters();
        }
        added
    }

    /// Queues an item when the rate limiter lets it: for work that failed.
    pub fn add_rate_limited(&self, item: T) -> Added {
        let delay = self.0.limiter.lock().when(&item, Instant::now());
        self.0.state.lock().retried();
        self.add_after(item, delay)
    }

    /// Ends an item's backoff: for work that succeeded, and for work that is given up.
    pub fn forget(&self, item: &T) {
        self.0.limiter.lock().forget(item);
    }

    /// How often an item came back through the rate limiter since it was forgotten.
    #[must_use]
    pub fn retries(&self, item: &T) -> u32 {
        self.0.limiter.lock().retries(item)
    }

    /// Waits for an item and claims it. `None` once the queue is shut down and empty.
    ///
    /// An item is claimed in the same step in which the future completes: dropping the future
    /// before loses none.
    pub async fn get(&self) -> Option<Claim<T>> {
        loop {
            let mut woken = std::pin::pin!(self.0.wake.notified());
            woken.as_mut().enable();
            let due = match self.try_claim() {
                Ok(claim) => return claim,
                Err(due) => due,
            };
            match due {
                Some(due) => crate::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => woken.await,
            }
        }
    }

    /// Claims an item if one is ready.
    #[must_use]
    pub fn try_get(&self) -> Option<Claim<T>> {
        self.try_claim().ok().flatten()
    }

    /// `Ok(None)` if there will be nothing, `Err` with the next due time if there is nothing yet.
    fn try_claim(&self) -> Result<Option<Claim<T>>, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        state.promote(now);
        let Some(item) = state.claim(now) else {
            return if state.is_open() || !state.is_idle() {
                Err(state.next_due())
            } else {
                Ok(None)
            };
        };
        if state.has_ready() {
            // Several items can get ready by one wake: it is handed on.
            self.0.wake.notify_one();
        }
        drop(state);
        Ok(Some(Claim { queue: self.clone(), item: Some(item) }))
    }

    /// Takes no more items. What is ready is still handed out, what is delayed is dropped.
    pub fn shut_down(&self) {
        self.0.state.lock().close();
        self.0.wake.notify_waiters();
        self.0.idle.notify_waiters();
    }

    /// Shuts down and waits until the ready items are worked off. Somebody has to work on them.
    /// Dropping the future leaves the queue shut down.
    pub async fn drain(&self) {
        self.shut_down();
        loop {
            let mut idle = std::pin::pin!(self.0.idle.notified());
            idle.as_mut().enable();
            if self.0.state.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        !self.0.state.lock().is_open()
    }

    /// How many items are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metrics().depth
    }

    /// Whether no item is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every item that is ready, delayed or in work.
    #[must_use]
    pub fn known(&self) -> HashSet<T> {
        self.0.state.lock().known()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> QueueMetrics {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        state.promote(now);
        let metrics = state.metrics(now);
        if state.has_ready() {
            self.0.wake.notify_one();
        }
        metrics
    }

    fn finish(&self, item: &T, rest: Duration) {
        let mut state = self.0.state.lock();
        let now = Instant::now();
        match now.checked_add(rest).filter(|_| !rest.is_zero()) {
            Some(until) => {
                state.rest(item, now, until);
                // Who sleeps until a later time has to look again.
                self.0.wake.notify_one();
            }
            None => state.done(item, now),
        }
        if state.has_ready() {
            self.0.wake.notify_one();
        }
        if state.is_idle() {
            self.0.idle.notify_waiters();
            if !state.is_open() {
                // Who waits for another item will get none.
                self.0.wake.notify_waiters();
            }
        }
    }
}

impl<T: Item> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Item> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Debug for WorkQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

/// An item in work: nobody else gets it until this is [`done`](Self::done).
///
/// Dropped without that, because its worker panicked or was dropped, the item goes back into the
/// queue through the rate limiter.
#[must_use = "a claim that is dropped puts its item back; call `done` when the work is"]
pub struct Claim<T: Item> {
    queue: WorkQueue<T>,
    item: Option<T>,
}

impl<T: Item> Claim<T> {
    /// Ends the work. If the item was added meanwhile it is queued again.
    pub fn done(mut self) {
        if let Some(item) = self.item.take() {
            self.queue.finish(&item, Duration::ZERO);
        }
    }

    /// Ends the work with success: its backoff starts over.
    pub fn succeed(self) {
        self.queue.forget(&self);
        self.done();
    }

    /// Ends the work with success, and hands the item out again no sooner than after `pause`,
    /// whoever adds it: what is costly to work on gathers its changes.
    pub fn succeed_and_rest(mut self, pause: Duration) {
        self.queue.forget(&self);
        if let Some(item) = self.item.take() {
            self.queue.finish(&item, pause);
        }
    }

    /// Ends the work and asks for another try when the rate limiter lets it.
    pub fn retry(self) {
        self.queue.add_rate_limited(T::clone(&self));
        self.done();
    }
}

impl<T: Item> Deref for Claim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("only done takes the item, and it takes the claim with it"),
        }
    }
}

impl<T: Item> Drop for Claim<T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.queue.add_rate_limited(item.clone());
            self.queue.finish(&item, Duration::ZERO);
        }
    }
}

impl<T: Item + fmt::Display> fmt::Display for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<T: Item> Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.item).finish()
    }
}
