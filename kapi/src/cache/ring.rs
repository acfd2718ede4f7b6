//! A bounded log of changes that any number of watchers read, each with a cursor of its own.
//!
//! A change is stored once, however many watch. Changes gather in an open segment and are sealed
//! together, so that watchers wake once per batch and not once per change.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use kcore::client::{WatchBatch, WatchEvent};
use kcore::object::Object;
use parking_lot::Mutex;

/// One change of a collection.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The revision of the write.
    pub(crate) revision: u64,
    /// The new state; of a deletion, the last one, at the deletion's revision.
    pub(crate) object: Object,
    /// The state before; none if the object is new.
    pub(crate) previous: Option<Object>,
    /// Whether the object is gone.
    pub(crate) deleted: bool,
}

impl Change {
    /// The change as a watcher without selector sees it.
    fn plain(&self) -> WatchEvent {
        let object = self.object.clone();
        match (self.deleted, &self.previous) {
            (true, _) => WatchEvent::Deleted(object),
            (false, None) => WatchEvent::Added(object),
            (false, Some(_)) => WatchEvent::Modified(object),
        }
    }
}

/// Changes that were sealed together.
#[derive(Debug)]
pub(crate) struct Segment {
    changes: Box<[Change]>,
    bytes: usize,
    plain: OnceLock<WatchBatch>,
}

impl Segment {
    pub(crate) fn new(changes: Vec<Change>) -> Self {
        let bytes = changes.iter().map(|change| change.object.counted_bytes()).sum();
        Self { changes: changes.into(), bytes, plain: OnceLock::new() }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// All changes, as every watcher without selector shares them.
    pub(crate) fn plain(&self) -> WatchBatch {
        self.plain.get_or_init(|| self.changes.iter().map(Change::plain).collect()).clone()
    }

    fn last_revision(&self) -> u64 {
        self.changes.last().map_or(0, |change| change.revision)
    }
}

/// How much a ring keeps for watchers that lag or come back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimits {
    /// Changes.
    pub(crate) changes: usize,
    /// Bytes of the changes' objects.
    pub(crate) bytes: usize,
}

/// Where a watcher stands in a ring: the number of the next segment it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor(u64);

/// The watcher fell out of the ring, or asked for more than it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lagged;

/// The log.
#[derive(Debug)]
pub(crate) struct Ring {
    inner: Mutex<Inner>,
    limits: RingLimits,
}

#[derive(Debug)]
struct Inner {
    segments: VecDeque<Arc<Segment>>,
    /// Number of the first segment kept.
    first: u64,
    /// Every change after this revision is kept.
    since: u64,
    changes: usize,
    bytes: usize,
    open: Vec<Change>,
    wakers: Vec<Waker>,
}

impl Ring {
    /// A ring that is complete from `since` on.
    pub(crate) fn new(since: u64, limits: RingLimits) -> Self {
        let inner = Inner {
            segments: VecDeque::new(),
            first: 0,
            since,
            changes: 0,
            bytes: 0,
            open: Vec::new(),
            wakers: Vec::new(),
        };
        Self { inner: Mutex::new(inner), limits }
    }

    /// Says that the ring is complete from `since` on. It must be empty.
    pub(crate) fn start(&self, since: u64) {
        self.inner.lock().since = since;
    }

    /// The revision from which the ring is complete.
    pub(crate) fn since(&self) -> u64 {
        self.inner.lock().since
    }

    /// Adds a change to the open segment. Returns whether it is the first in it.
    pub(crate) fn push(&self, change: Change) -> bool {
        let mut inner = self.inner.lock();
        inner.open.push(change);
        inner.open.len() == 1
    }

    /// Seals the open segment and wakes whoever waits for it.
    pub(crate) fn seal(&self) {
        let wakers = {
            let mut inner = self.inner.lock();
            if inner.open.is_empty() {
                return;
            }
            let segment = Segment::new(std::mem::take(&mut inner.open));
            inner.changes += segment.changes.len();
            inner.bytes += segment.bytes;
            inner.segments.push_back(Arc::new(segment));
            inner.trim(self.limits);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The end of the ring: what is sealed from now on. Changes that are open are still to come.
    pub(crate) fn end(&self) -> Cursor {
        self.inner.lock().end()
    }

    /// The changes after `revision`, sealed and open, up to now.
    pub(crate) fn after(&self, revision: u64) -> Result<Vec<Arc<Segment>>, Lagged> {
        let inner = self.inner.lock();
        if revision < inner.since {
            return Err(Lagged);
        }
        let from = inner.segments.partition_point(|s| s.last_revision() <= revision);
        let mut segments: Vec<_> = inner.segments.range(from..).cloned().collect();
        if !inner.open.is_empty() {
            segments.push(Arc::new(Segment::new(inner.open.clone())));
        }
        Ok(segments)
    }

    /// The next segment behind the cursor.
    pub(crate) fn poll_next(
        &self,
        cursor: &mut Cursor,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<Segment>, Lagged>> {
        let mut inner = self.inner.lock();
        let Some(at) = cursor.0.checked_sub(inner.first) else { return Poll::Ready(Err(Lagged)) };
        let segment = usize::try_from(at).ok().and_then(|at| inner.segments.get(at)).cloned();
        if let Some(segment) = segment {
            cursor.0 += 1;
            return Poll::Ready(Ok(segment));
        }
        if !inner.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// If the watcher at `cursor` has read all there is, what `read` returns, called before
    /// another change can come in.
    pub(crate) fn if_drained<T>(&self, cursor: Cursor, read: impl FnOnce() -> T) -> Option<T> {
        let inner = self.inner.lock();
        (inner.open.is_empty() && cursor == inner.end()).then(read)
    }
}

impl Inner {
    fn end(&self) -> Cursor {
        Cursor(self.first + self.segments.len() as u64)
    }

    /// Drops the oldest segments while there are too many. The newest one always stays.
    fn trim(&mut self, limits: RingLimits) {
        while self.segments.len() > 1
            && (self.changes > limits.changes || self.bytes > limits.bytes)
        {
            let Some(segment) = self.segments.pop_front() else { return };
            self.first += 1;
            self.changes -= segment.changes.len();
            self.bytes -= segment.bytes;
            self.since = segment.last_revision();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    const LIMITS: RingLimits = RingLimits { changes: 4, bytes: usize::MAX };

    fn change(revision: u64) -> Change {
        let object = Object::from_typed(ConfigMap::default()).unwrap().at_version(revision);
        Change { revision, object, previous: None, deleted: false }
    }

    fn write(ring: &Ring, revisions: std::ops::RangeInclusive<u64>) {
        for revision in revisions {
            ring.push(change(revision));
            ring.seal();
        }
    }

    async fn next(ring: &Ring, cursor: &mut Cursor) -> Result<u64, Lagged> {
        poll_fn(|cx| ring.poll_next(cursor, cx)).await.map(|segment| segment.last_revision())
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_and_holds_nobody_up() {
        // S7.
        let ring = Ring::new(0, LIMITS);
        let (mut slow, mut quick) = (ring.end(), ring.end());
        for revision in 1..=10 {
            write(&ring, revision..=revision);
            assert_eq!(next(&ring, &mut quick).await, Ok(revision));
        }
        assert_eq!(next(&ring, &mut slow).await, Err(Lagged));
        assert_eq!(ring.inner.lock().changes, LIMITS.changes, "memory is bounded");
    }

    #[test]
    fn what_was_dropped_cannot_be_resumed_from() {
        let ring = Ring::new(0, LIMITS);
        write(&ring, 1..=10);
        assert_eq!(ring.since(), 6);
        assert!(ring.after(5).is_err(), "A2");
        let kept: Vec<u64> =
            ring.after(6).unwrap().iter().map(|segment| segment.last_revision()).collect();
        assert_eq!(kept, [7, 8, 9, 10]);
        ring.push(change(11));
        assert_eq!(ring.after(10).unwrap().len(), 1, "what is open is not missed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sealed_segment_wakes_who_waits() {
        let ring = Arc::new(Ring::new(0, LIMITS));
        let waiting = tokio::spawn({
            let (ring, mut cursor) = (Arc::clone(&ring), ring.end());
            async move { (next(&ring, &mut cursor).await, cursor) }
        });
        tokio::task::yield_now().await;
        ring.push(change(1));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "it is still open");
        ring.seal();
        let woken = tokio::time::timeout(std::time::Duration::from_secs(1), waiting).await;
        let (seen, cursor) = woken.expect("the seal wakes it").unwrap();
        assert_eq!(seen, Ok(1));
        assert!(ring.if_drained(cursor, || ()).is_some());
    }
}
