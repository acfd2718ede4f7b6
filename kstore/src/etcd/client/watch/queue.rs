//! What waits for a watcher, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Error, Result, WatchBatch};

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) revisions: usize,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<WatchBatch>,
    /// Revisions and bytes in the batches.
    revisions: usize,
    bytes: u64,
    end: Option<Error>,
    ended: bool,
    /// The watcher is gone.
    abandoned: bool,
    /// The watcher wants to know the progress.
    asked: bool,
    waker: Option<Waker>,
}

/// Batches between the task of a watch and its watcher.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Rung when a progress is wanted, or nothing at all any more.
    pub(super) bell: Notify,
}

/// How many revisions and bytes a batch holds.
fn weigh(batch: &WatchBatch) -> (usize, u64) {
    let WatchBatch::Events { events, .. } = batch else { return (0, 0) };
    let mut revisions = 0;
    let mut last = None;
    let mut bytes = 0;
    for event in events {
        if last.replace(event.record.modified) != Some(event.record.modified) {
            revisions += 1;
        }
        bytes += event.record.size() + event.previous.as_ref().map_or(0, |record| record.size());
    }
    (revisions, bytes as u64)
}

impl Queue {
    /// Adds a batch; false if the watch has ended, because the watcher is gone or too slow.
    pub(super) fn push(&self, batch: WatchBatch, bounds: Bounds) -> bool {
        let (revisions, bytes) = weigh(&batch);
        let mut state = self.state.lock();
        if state.ended || state.abandoned {
            return false;
        }
        let over =
            state.revisions + revisions > bounds.revisions || state.bytes + bytes > bounds.bytes;
        // One batch may be larger than the bounds: it is not the watcher that is slow then.
        if over && !state.batches.is_empty() {
            let behind = (state.revisions + revisions) as u64;
            Self::finish(&mut state, Some(Error::TooSlow { behind }));
        } else {
            let progress = |batch: &WatchBatch| matches!(batch, WatchBatch::Progress(_));
            if progress(&batch) && state.batches.back().is_some_and(progress) {
                state.batches.pop_back();
            }
            state.batches.push_back(batch);
            (state.revisions, state.bytes) = (state.revisions + revisions, state.bytes + bytes);
        }
        let open = !state.ended;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        open
    }

    fn finish(state: &mut State, error: Option<Error>) {
        if !state.ended {
            (state.end, state.ended) = (error, true);
        }
    }

    /// Ends the watch, after what is in the queue.
    pub(super) fn end(&self, error: Option<Error>) {
        let mut state = self.state.lock();
        Self::finish(&mut state, error);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The watcher is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        state.batches.clear();
        drop(state);
        self.bell.notify_one();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state.lock().abandoned
    }

    /// Comes when the watcher is gone. Only the one task of a watch waits for that.
    pub(super) async fn abandoned(&self) {
        while !self.is_abandoned() {
            self.bell.notified().await;
        }
    }

    /// The watcher wants to know the progress.
    pub(super) fn ask(&self) {
        self.state.lock().asked = true;
        self.bell.notify_one();
    }

    /// Whether it wanted to since this was last called.
    pub(super) fn take_question(&self) -> bool {
        std::mem::take(&mut self.state.lock().asked)
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<WatchBatch>>> {
        let mut state = self.state.lock();
        if let Some(batch) = state.batches.pop_front() {
            let (revisions, bytes) = weigh(&batch);
            (state.revisions, state.bytes) = (state.revisions - revisions, state.bytes - bytes);
            return Poll::Ready(Some(Ok(batch)));
        }
        if state.ended {
            return Poll::Ready(state.end.take().map(Err));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Ends the task of a watch when the watcher goes.
#[derive(Debug)]
pub(super) struct Abandon(pub(super) Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::poll_fn;

    use super::*;
    use crate::{Event, EventKind, Record, Revision, Value};

    const BOUNDS: Bounds = Bounds { revisions: 2, bytes: 1000 };

    fn batch(revision: u64, size: usize) -> WatchBatch {
        let record = Record {
            key: "k".into(),
            value: Value::new(vec![0; size]),
            created: Revision(revision),
            modified: Revision(revision),
            version: 1,
            lease: None,
        };
        let event = Event { kind: EventKind::Put, record, previous: None };
        WatchBatch::Events { revision: Revision(revision), events: vec![event] }
    }

    fn next(queue: &Queue) -> Option<Option<Result<WatchBatch>>> {
        poll_fn(|cx| queue.poll(cx)).now_or_never()
    }

    /// S7.
    #[test]
    fn who_is_too_far_behind_gets_what_is_there_and_then_the_error() {
        let queue = Queue::default();
        assert!(queue.push(batch(2, 1), BOUNDS) && queue.push(batch(3, 1), BOUNDS));
        assert!(!queue.push(batch(4, 1), BOUNDS));
        assert!(!queue.push(batch(5, 1), BOUNDS), "nothing follows the end");
        for revision in [2, 3] {
            let batch = next(&queue).unwrap().unwrap().unwrap();
            assert_eq!(batch.revision(), Revision(revision));
        }
        let end = next(&queue).unwrap().unwrap();
        assert!(matches!(end, Err(Error::TooSlow { behind: 3 })), "{end:?}");
        assert!(next(&queue).unwrap().is_none());
    }

    #[test]
    fn bytes_are_bounded_too_and_one_large_batch_is_let_through() {
        let queue = Queue::default();
        assert!(queue.push(batch(2, 5000), BOUNDS));
        assert!(!queue.push(batch(3, 1), BOUNDS));
    }

    #[test]
    fn progress_that_nobody_reads_does_not_pile_up() {
        let queue = Queue::default();
        for revision in 2..100 {
            assert!(queue.push(WatchBatch::Progress(Revision(revision)), BOUNDS));
        }
        let told = next(&queue).unwrap().unwrap().unwrap();
        assert_eq!(told, WatchBatch::Progress(Revision(99)));
        assert!(next(&queue).is_none());
    }

    #[test]
    fn an_abandoned_queue_takes_no_more() {
        let queue = Arc::new(Queue::default());
        drop(Abandon(Arc::clone(&queue)));
        assert!(queue.is_abandoned() && !queue.push(batch(2, 1), BOUNDS));
    }
}
