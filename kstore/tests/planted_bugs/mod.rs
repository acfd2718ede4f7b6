//! A store with one bug, planted where only long or concurrent histories meet it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use kstore::{
    Compare, Event, EventKind, KeyRange, Leases, MemoryStore, Op, OpResult, Page, RangeOptions,
    Record, Result, Revision, Store, StoreExt, StoreStatus, Target, Txn, TxnResult, Value,
    WatchBatch, WatchOptions, WatchStream,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A point read sometimes shows the revision before.
    StaleRead,
    /// A deletion is acknowledged and not done.
    LostDelete,
    /// A deletion is undone by a compaction through its revision.
    LostDeleteAtCompaction,
    /// A deleted key is sometimes there again.
    Resurrected,
    /// The first read after a pause shows what was there before it.
    StaleAfterPause,
    /// A watcher that was slow misses a batch.
    DroppedForSlow,
    /// A create looks first and writes later.
    CreateRace,
    /// A swap looks first and writes later.
    SwapRace,
    /// A write is acknowledged with the revision of the one before.
    RevisionReuse,
    /// Later pages show the present.
    TornPages,
    /// A txn of several puts is done one by one, with waits between.
    HalfTxn,
    /// A batch is taken from the source before the watcher is there to take it.
    LossyNext,
    /// A watch tells of a key outside its range.
    ForeignEvent,
    /// A watch swaps two revisions.
    OutOfOrder,
    /// A watch tells an event twice.
    Duplicate,
    /// A watch tells one revision in two batches.
    SplitRevision,
    /// A watch tells progress before the events.
    EarlyProgress,
    /// A resumed watch starts one revision late.
    ResumeGap,
    /// A watch leaves out an event.
    Dropped,
    /// An update looks like a create.
    WrongCreate,
    /// The previous record is the new one.
    WrongPrevious,
    /// Slow watchers are never closed.
    EndlessPatience,
    /// Values compare by length first.
    ValueCompare,
    /// Compaction frees nothing that the status shows.
    HiddenBytes,
}

/// Events of one watch before a bug of watches strikes: more than short cases see.
const LONG: usize = 40;

/// What a client does not do for so long is a pause.
const PAUSE: Duration = Duration::from_millis(1);

/// Watches of one store before [`Bug::ResumeGap`] strikes.
const MANY: u64 = 20;

#[derive(Debug)]
pub(super) struct Buggy {
    inner: MemoryStore,
    bug: Option<Bug>,
    reads: AtomicU64,
    watches: AtomicU64,
    most_bytes: AtomicU64,
    /// Whether the bug strikes all keys, or those of the case alone that is to catch it.
    everywhere: bool,
    /// What was deleted last, and when.
    deleted: Mutex<Option<(Revision, Record)>>,
    /// What a compaction brought back.
    ghost: Mutex<Option<Record>>,
    /// When somebody read last, and the revision then.
    read: Mutex<Option<(Instant, Revision)>>,
}

impl Buggy {
    pub(super) fn new(inner: MemoryStore, bug: Option<Bug>) -> Self {
        let count = AtomicU64::default;
        let [reads, watches, most_bytes] = [count(), count(), count()];
        let (deleted, ghost, read) = Default::default();
        Self { inner, bug, reads, watches, most_bytes, everywhere: false, deleted, ghost, read }
    }

    /// Whoever looks anywhere is to find it.
    pub(super) fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }

    fn puts_under(&self, txn: &Txn, prefix: &str) -> bool {
        puts_under(txn, if self.everywhere { "" } else { prefix })
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Looks, lets others run, then writes without looking again.
    async fn racing(&self, mut txn: Txn) -> Result<TxnResult> {
        let looked = Txn { then: vec![], otherwise: vec![], ..txn.clone() };
        let looked = self.inner.txn(looked).await?;
        if !looked.succeeded {
            return Ok(looked);
        }
        tokio::task::yield_now().await;
        txn.compares.clear();
        self.inner.txn(txn).await
    }

    /// The page as it was when there last was something.
    async fn as_it_was(&self, range: &KeyRange, page: Page) -> Result<Page> {
        for revision in (2..page.revision.0).rev().take(8) {
            let options = RangeOptions::default().at(Revision(revision));
            let before = self.inner.range(range.clone(), options).await?;
            if !before.records.is_empty() {
                return Ok(before);
            }
        }
        Ok(page)
    }

    async fn one_by_one(&self, txn: Txn) -> Result<TxnResult> {
        let mut result = TxnResult::default();
        for op in txn.then {
            result = self.inner.txn(Txn::default().and_then(op)).await?;
            tokio::task::yield_now().await;
        }
        Ok(result)
    }
}

fn is_create(txn: &Txn) -> bool {
    matches!(txn.compares[..], [Compare { target: Target::Modified(Revision(0)), .. }])
}

fn is_swap(txn: &Txn) -> bool {
    matches!(txn.compares[..], [Compare { target: Target::Modified(Revision(1..)), .. }])
        && matches!(txn.then[..], [Op::Put { .. }])
}

fn puts_under(txn: &Txn, prefix: &str) -> bool {
    let under = |op: &Op| matches!(op, Op::Put { key, .. } if key.starts_with(prefix.as_bytes()));
    txn.then.iter().any(under)
}

#[async_trait]
impl Store for Buggy {
    async fn range(&self, range: KeyRange, mut options: RangeOptions) -> Result<Page> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.has(Bug::TornPages) && options.limit.is_some() {
            options.at = None;
        }
        let mut page = self.inner.range(range.clone(), options.clone()).await?;
        let linear = range.as_single().is_some_and(|key| key.starts_with(b"linear/"));
        if self.has(Bug::StaleRead) && linear && reads.is_multiple_of(3) {
            let before = Revision(page.revision.0.saturating_sub(3).max(1));
            page = self.inner.range(range.clone(), options.clone().at(before)).await?;
        }
        if self.has(Bug::Resurrected)
            && linear
            && page.records.is_empty()
            && reads.is_multiple_of(3)
        {
            page = self.as_it_was(&range, page).await?;
        }
        if self.has(Bug::StaleAfterPause) && linear {
            let (now, new) = (Instant::now(), page.revision);
            let before = self.read.lock().replace((now, new));
            if let Some((_, old)) = before.filter(|(then, _)| now - *then > PAUSE) {
                page = self.inner.range(range, options.at(old)).await?;
            }
        } else if let Some(ghost) = self.ghost.lock().clone()
            && page.records.is_empty()
            && range.as_single() == Some(&ghost.key)
        {
            page.records.push(ghost);
        }
        Ok(page)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResult> {
        match self.bug {
            Some(Bug::CreateRace) if is_create(&txn) && self.puts_under(&txn, "creates/") => {
                self.racing(txn).await
            }
            Some(Bug::SwapRace) if is_swap(&txn) && self.puts_under(&txn, "swaps/") => {
                self.racing(txn).await
            }
            Some(Bug::HalfTxn) if txn.compares.is_empty() && puts_under(&txn, "1/") => {
                self.one_by_one(txn).await
            }
            Some(Bug::RevisionReuse) => {
                let reused = puts_under(&txn, "revisions/3/");
                let mut result = self.inner.txn(txn).await?;
                result.revision.0 -= u64::from(reused);
                Ok(result)
            }
            Some(Bug::LostDelete) => {
                let lost = matches!(&txn.then[..], [Op::Delete(range)]
                    if range.start().starts_with(b"linear/"));
                if lost {
                    txn.then = vec![];
                }
                self.inner.txn(txn).await
            }
            Some(Bug::ValueCompare) => {
                for compare in &mut txn.compares {
                    if let Target::Value(bytes) = &mut compare.target {
                        bytes.truncate(1);
                    }
                }
                self.inner.txn(txn).await
            }
            Some(Bug::LostDeleteAtCompaction) => {
                let result = self.inner.txn(txn).await?;
                if let Some(OpResult::Delete { deleted }) = result.responses.first()
                    && let Some(record) = deleted.first()
                {
                    *self.deleted.lock() = Some((result.revision, record.clone()));
                }
                Ok(result)
            }
            _ => self.inner.txn(txn).await,
        }
    }

    async fn watch(&self, range: KeyRange, mut options: WatchOptions) -> Result<WatchStream> {
        let watches = self.watches.fetch_add(1, Ordering::Relaxed);
        let resumed = options.after.is_some() && (self.everywhere || watches > MANY);
        if self.has(Bug::ResumeGap) && resumed {
            options.after = options.after.map(Revision::next);
        }
        let watch = self.inner.watch(range.clone(), options.clone()).await?;
        let Some(bug) = self.bug else { return Ok(watch) };
        if bug == Bug::DroppedForSlow && self.everywhere {
            return Ok(impatient(watch));
        }
        if bug == Bug::LossyNext && range.start().starts_with(b"k/") {
            return Ok(lossy(watch, self.inner.clone()));
        }
        // Only the recorded histories: they are where these bugs have names. A key outside the
        // range needs a range that leaves some out.
        let recorded =
            self.everywhere || range.contains(b"history/a/3") || range.contains(b"history/b/1");
        if !recorded || (bug == Bug::ForeignEvent && range.start().is_empty()) {
            return Ok(watch);
        }
        let long = if self.everywhere { 2 } else { LONG };
        let mut told = 0;
        let mut struck = false;
        let wants_previous = options.previous;
        Ok(watch.map_batches(move |batches| {
            batches.flat_map(move |batch| {
                let mut out = vec![batch];
                if let Ok(WatchBatch::Events { events, .. }) = &out[0] {
                    told += events.len();
                    if told > long && !struck {
                        let batch = out.remove(0).expect("it is a batch");
                        let (changed, done) = strike(bug, batch, wants_previous);
                        struck = done;
                        out = changed.into_iter().map(Ok).collect();
                    }
                }
                stream::iter(out)
            })
        }))
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        let deleted = self.deleted.lock().take();
        *self.ghost.lock() = deleted.filter(|(at, _)| *at == through).map(|(_, record)| record);
        self.inner.compact(through).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        let mut status = self.inner.status().await?;
        let most = self.most_bytes.fetch_max(status.bytes, Ordering::Relaxed);
        if self.has(Bug::HiddenBytes) {
            status.bytes = status.bytes.max(most);
        }
        Ok(status)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }
}

/// Forgets a batch for which it had to wait.
fn impatient(watch: WatchStream) -> WatchStream {
    let mut last = Instant::now();
    watch.map_batches(move |batches| {
        batches.filter(move |batch| {
            let now = Instant::now();
            let slow = now - std::mem::replace(&mut last, now) > PAUSE;
            let events = matches!(batch, Ok(WatchBatch::Events { .. }));
            std::future::ready(!(slow && events))
        })
    })
}

/// Has its batch in hand while it is pending, and forgets it if whoever asked has gone on to write
/// before asking again.
fn lossy(watch: WatchStream, store: MemoryStore) -> WatchStream {
    watch.map_batches(move |mut batches| {
        let mut in_hand = None;
        stream::poll_fn(move |cx| {
            let now = store.revision().now_or_never().and_then(Result::ok);
            if let Some((batch, then)) = in_hand.take()
                && then == now
            {
                return Poll::Ready(batch);
            }
            in_hand = Some((std::task::ready!(batches.poll_next_unpin(cx)), now));
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
}

/// What a buggy watch makes of a batch, and whether the bug struck.
fn strike(bug: Bug, batch: WatchBatch, previous: bool) -> (Vec<WatchBatch>, bool) {
    let WatchBatch::Events { revision, mut events } = batch else { return (vec![batch], false) };
    let whole = |events| WatchBatch::Events { revision, events };
    let modified = |event: &Event| event.record.modified;
    match bug {
        Bug::ForeignEvent => {
            let mut event = events[events.len() - 1].clone();
            event.record.key = "elsewhere".into();
            event.previous = None;
            events.push(event);
            (vec![whole(events)], true)
        }
        Bug::OutOfOrder => {
            let Some(at) = events.windows(2).position(|w| modified(&w[0]) < modified(&w[1])) else {
                return (vec![whole(events)], false);
            };
            events.swap(at, at + 1);
            (vec![whole(events)], true)
        }
        Bug::Duplicate => {
            events.push(events[events.len() - 1].clone());
            (vec![whole(events)], true)
        }
        Bug::SplitRevision => {
            let Some(at) = events.windows(2).position(|w| modified(&w[0]) == modified(&w[1]))
            else {
                return (vec![whole(events)], false);
            };
            let rest = events.split_off(at + 1);
            (vec![whole(events), whole(rest)], true)
        }
        Bug::EarlyProgress => (vec![WatchBatch::Progress(revision), whole(events)], true),
        Bug::Dropped => {
            let last = events.pop();
            let struck = last.is_some();
            let rest =
                if events.is_empty() { WatchBatch::Progress(Revision(1)) } else { whole(events) };
            (vec![rest], struck)
        }
        Bug::WrongCreate => {
            let update = |e: &&mut Event| e.kind == EventKind::Put && !e.is_create();
            let Some(event) = events.iter_mut().find(update) else {
                return (vec![whole(events)], false);
            };
            event.record.created = event.record.modified;
            (vec![whole(events)], true)
        }
        Bug::WrongPrevious => {
            let Some(event) = events.iter_mut().find(|e| previous && e.previous.is_some()) else {
                return (vec![whole(events)], false);
            };
            let record = Record { value: Value::new("wrong"), ..event.record.clone() };
            event.previous = Some(record);
            (vec![whole(events)], true)
        }
        _ => (vec![whole(events)], false),
    }
}
