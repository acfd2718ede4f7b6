//! A watcher: a cursor over a ring, seen through selectors.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use kcore::client::{WatchBatch, WatchEvent};
use kcore::object::Object;
use kcore::selector::{FieldSelector, LabelSelector};
use kcore::status::Status;
use tokio::time::{Interval, MissedTickBehavior};

use super::kind::Subscription;
use super::ring::{Change, Cursor, Lagged, Ring, Segment};
use super::waiters::Applied;

/// How often a watcher that wants bookmarks gets one at least.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// Objects in one batch of the initial state.
const INITIAL_BATCH: usize = 500;

/// What a watcher sees of a collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) namespace: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Filter {
    pub(crate) fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace)
            && self.labels.matches(&meta.labels)
            && self.fields.matches(|path| meta.field(path))
    }

    fn is_plain(&self) -> bool {
        self.namespace.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// The change relative to the filter (A7).
    fn event(&self, change: &Change) -> Option<WatchEvent> {
        let before = change.previous.as_ref().filter(|previous| self.matches(previous));
        if change.deleted {
            return before.map(|_| WatchEvent::Deleted(change.object.clone()));
        }
        match (before, self.matches(&change.object)) {
            (None, true) => Some(WatchEvent::Added(change.object.clone())),
            (Some(_), true) => Some(WatchEvent::Modified(change.object.clone())),
            (Some(last), false) => Some(WatchEvent::Deleted(last.at_version(change.revision))),
            (None, false) => None,
        }
    }
}

/// The stream behind a watch.
pub(crate) struct Watcher {
    filter: Filter,
    plain: bool,
    /// Batches that come before the ring's.
    first: VecDeque<WatchBatch>,
    ring: Arc<Ring>,
    cursor: Cursor,
    /// Changes up to this revision have been seen.
    seen: u64,
    applied: Arc<Applied>,
    bookmarks: Option<Interval>,
    ended: bool,
}

impl Watcher {
    pub(crate) fn new(
        subscription: Subscription,
        filter: Filter,
        applied: Arc<Applied>,
        bookmarks: bool,
        initial_events_end: bool,
    ) -> Self {
        let Subscription { objects, backlog, revision, ring, cursor } = subscription;
        let plain = filter.is_plain();
        let bookmarks = bookmarks.then(|| {
            let start = tokio::time::Instant::now() + BOOKMARK_PERIOD;
            let mut interval = tokio::time::interval_at(start, BOOKMARK_PERIOD);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let mut this = Self {
            filter,
            plain,
            first: VecDeque::new(),
            ring,
            cursor,
            seen: 0,
            applied,
            bookmarks,
            ended: false,
        };
        this.queue_initial(objects);
        if initial_events_end {
            let mark = WatchEvent::Bookmark { resource_version: revision, initial_events_end };
            this.first.push_back(Arc::new([mark]));
        }
        for segment in &backlog {
            this.first.extend(this.batch(segment));
        }
        this.seen = revision;
        this
    }

    /// Skips the backlog up to a revision: what the client has seen already.
    pub(crate) fn resume(mut subscription: Subscription, after: u64) -> Subscription {
        let keep = |segment: &Arc<Segment>| {
            let (changes, revision) = (segment.changes(), subscription.revision);
            let fresh = |change: &&Change| change.revision > after && change.revision <= revision;
            match changes.iter().filter(fresh).count() {
                0 => None,
                all if all == changes.len() => Some(Arc::clone(segment)),
                _ => {
                    let some = changes.iter().filter(fresh).cloned().collect();
                    Some(Arc::new(Segment::new(some)))
                }
            }
        };
        subscription.backlog = subscription.backlog.iter().filter_map(keep).collect();
        subscription
    }

    fn queue_initial(&mut self, objects: Vec<Object>) {
        let matching: Vec<Object> =
            objects.into_iter().filter(|object| self.filter.matches(object)).collect();
        for chunk in matching.chunks(INITIAL_BATCH) {
            self.first.push_back(chunk.iter().cloned().map(WatchEvent::Added).collect());
        }
    }

    /// What the watcher sees of a segment; `None` if that is nothing.
    fn batch(&self, segment: &Segment) -> Option<WatchBatch> {
        let changes = segment.changes();
        let fresh = changes.first().is_some_and(|change| change.revision > self.seen);
        if self.plain && fresh {
            return Some(segment.plain());
        }
        let events: Vec<WatchEvent> = changes
            .iter()
            .filter(|change| change.revision > self.seen)
            .filter_map(|change| self.filter.event(change))
            .collect();
        (!events.is_empty()).then(|| events.into())
    }

    /// A bookmark, if one is due and everything before it has been handed out.
    fn poll_bookmark(&mut self, cx: &mut Context<'_>) -> Poll<WatchBatch> {
        let Some(interval) = &mut self.bookmarks else { return Poll::Pending };
        ready!(interval.poll_tick(cx));
        let applied = &self.applied;
        let drained = self.ring.if_drained(self.cursor, || applied.revision());
        match drained {
            Some(revision) => Poll::Ready(Arc::new([WatchEvent::Bookmark {
                resource_version: revision.max(self.seen),
                initial_events_end: false,
            }])),
            None => {
                // Changes are on their way; the next tick finds them handed out.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Stream for Watcher {
    type Item = kcore::Result<WatchBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(batch) = this.first.pop_front() {
            return Poll::Ready(Some(Ok(batch)));
        }
        loop {
            match this.ring.poll_next(&mut this.cursor, cx) {
                Poll::Ready(Ok(segment)) => {
                    if let Some(batch) = this.batch(&segment) {
                        return Poll::Ready(Some(Ok(batch)));
                    }
                }
                Poll::Ready(Err(Lagged)) => {
                    this.ended = true;
                    let status = Status::expired(
                        "too old resource version: the watch fell behind and was closed",
                    );
                    return Poll::Ready(Some(Err(status.into())));
                }
                Poll::Pending => return this.poll_bookmark(cx).map(|batch| Some(Ok(batch))),
            }
        }
    }
}
