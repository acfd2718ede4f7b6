//! A store's state in memory: multi-version, watchable, behind one lock.
//!
//! [`MemoryStore`](crate::MemoryStore) is this and nothing else. A journal adds that what happens
//! is written down before anybody is told: transactions are decided over the newest state, while
//! readers and watchers see what is durable (S2).

mod entry;
mod history;
mod leases;
mod options;
mod plan;
mod replay;
mod ring;
mod state;
mod watcher;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::entry::{Entry, Saved, SavedLease, Written};
pub use self::options::MemoryOptions;
#[cfg(feature = "etcd")]
pub(crate) use self::plan::check_duplicates;
pub(crate) use self::state::State;
use crate::{
    Durability, KeyRange, Page, RangeOptions, Record, Result, Revision, StoreStatus, Txn,
    TxnResult, WatchOptions, WatchStream,
};

/// Who makes what happens durable.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// Takes what happened, up to `newest`. Called under the state's lock, so in the order in
    /// which it happened.
    fn push(&self, entries: Vec<Entry>, newest: Revision, durability: Durability) -> Shown;
    /// How often something was taken.
    fn pushed(&self) -> u64;
    /// Called when the state's lock has been let go after something was taken.
    fn flush(&self);
}

/// When what a sink took may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// At once: nothing that is not durable need be.
    Now,
    /// Once it is settled.
    Later,
}

/// What the handles of a store, its watchers and its lease task have in common.
pub(crate) struct Core {
    options: MemoryOptions,
    state: RwLock<State>,
    /// The last revision whose events are in every ring they belong to.
    visible: AtomicU64,
    /// Tells the lease task that deadlines changed or that the store is gone.
    deadlines: Arc<Notify>,
    /// How long the last sync took, in nanoseconds; 0 if there was none.
    synced: AtomicU64,
    /// None for a store that forgets: what happens is as durable as it gets at once.
    sink: Option<Arc<dyn Sink>>,
}

impl Core {
    pub(crate) fn new(options: MemoryOptions) -> Self {
        Self::over(options, State::new(), None)
    }

    /// A core over a state; what happens from now on goes to `sink`.
    pub(crate) fn over(
        options: MemoryOptions,
        mut state: State,
        sink: Option<Arc<dyn Sink>>,
    ) -> Self {
        if sink.is_some() {
            state.write_down();
        }
        let visible = AtomicU64::new(state.revision().0);
        let (synced, deadlines) = (AtomicU64::new(0), Arc::default());
        Self { options, state: RwLock::new(state), visible, deadlines, synced, sink }
    }

    /// Nothing can undo what happened up to `revision`: readers see it, and watchers are told.
    pub(crate) fn settle(&self, revision: Revision) {
        let mut state = self.state.write();
        state.settle(revision, &self.options);
        self.tell(state);
    }

    /// Lets go of the state, and wakes whom its changes concern.
    fn tell(&self, mut state: RwLockWriteGuard<'_, State>) {
        // Released before the lock, so that a watcher that reads this and then finds its ring
        // empty knows that nothing up to here is for it.
        self.visible.store(state.revision().0, Ordering::Release);
        let wakers = state.take_wakers();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    fn visible(&self) -> Revision {
        Revision(self.visible.load(Ordering::Acquire))
    }

    /// The state, after every lease that is past its end has been ended.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
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
        self.write_and_count(Durability::Durable, change).0
    }

    /// The same, and how often the sink had taken something when that was done: once it has
    /// settled all of it, what the change saw and did is as durable as it has to be.
    fn write_and_count<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut State) -> T,
    ) -> (T, u64) {
        let mut state = self.state.write();
        let mut taken = false;
        if state.leases.next_deadline().is_some() {
            state.expire_leases(Instant::now());
            taken |= self.hand_over(&mut state, Durability::Durable);
        }
        let result = change(&mut state);
        taken |= self.hand_over(&mut state, durability);
        let count = self.sink.as_ref().map_or(0, |sink| sink.pushed());
        state.trim(&self.options);
        self.tell(state);
        if let Some(sink) = self.sink.as_ref().filter(|_| taken) {
            sink.flush();
        }
        (result, count)
    }

    /// Gives the sink what happened; without one it is shown at once. True if it took something.
    fn hand_over(&self, state: &mut State, durability: Durability) -> bool {
        let newest = state.newest();
        let Some(sink) = &self.sink else {
            state.settle(newest, &self.options);
            return false;
        };
        let entries = state.take_entries();
        if entries.is_empty() {
            return false;
        }
        if sink.push(entries, newest, durability) == Shown::Now {
            state.settle(newest, &self.options);
        }
        true
    }

    pub(crate) fn range(&self, range: &KeyRange, options: &RangeOptions) -> Result<Page> {
        // Records are shared under the lock and copied outside it.
        if let Some(key) = range.as_single()
            && !options.count_only
        {
            let state = self.read();
            let (revision, found) = (state.revision(), state.get(key, options)?);
            drop(state);
            let revision = options.at.unwrap_or(revision);
            return Ok(history::page_of_one(found.as_deref(), revision, options.keys_only));
        }
        let found = self.read().range(range, options)?;
        Ok(found.into_page(options.keys_only))
    }

    pub(crate) fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.txn_and_count(txn).map(|(result, _)| result)
    }

    pub(crate) fn txn_and_count(&self, txn: Txn) -> Result<(TxnResult, u64)> {
        plan::check(&txn, &self.options)?;
        let durability = txn.durability;
        let (result, count) =
            self.write_and_count(durability, |state| state.txn(txn, &self.options));
        Ok((result?, count))
    }

    /// How often the sink had taken something, all that happened so far included.
    pub(crate) fn count(&self) -> u64 {
        let _state = self.state.read();
        self.sink.as_ref().map_or(0, |sink| sink.pushed())
    }

    /// Begins to save what is there: it stays readable until [`Core::unpin`]. Nothing happens
    /// between this and `also`.
    pub(crate) fn pin<T>(&self, also: impl FnOnce() -> T) -> (Saved, T) {
        let mut state = self.state.write();
        let newest = state.newest();
        (state.pin(newest), also())
    }

    /// Begins to save what is durable: it stays readable until [`Core::unpin`].
    pub(crate) fn pin_durable(&self) -> Saved {
        let mut state = self.state.write();
        let durable = state.revision();
        state.pin(durable)
    }

    /// The newest revision, which may still be undone by a power cut.
    pub(crate) fn newest(&self) -> Revision {
        self.state.read().newest()
    }

    /// So long the last sync took.
    pub(crate) fn synced(&self, took: Duration) {
        self.synced.store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn unpin(&self, revision: Revision) {
        self.state.write().unpin(revision);
    }

    /// The records after a key, as they were at a pinned revision.
    pub(crate) fn page(&self, after: Option<&[u8]>, at: Revision, most: usize) -> Vec<Arc<Record>> {
        self.state.read().page(after, at, most)
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        range: KeyRange,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        watcher::watch(self, range, options)
    }

    /// Forgets what was superseded at or before `through`. Whoever drops the future leaves the
    /// rest to the writes that follow.
    pub(crate) async fn compact(&self, through: Revision) -> Result<()> {
        self.write(|state| state.compact(through))?;
        // In steps, between which others have the lock: half a million keys take a while.
        while self.write(|state| state.is_late()) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let synced = Some(self.synced.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        StoreStatus { sync_latency: synced.map(Duration::from_nanos), ..self.read().status() }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.deadlines.notify_one();
    }
}
