//! What carries changes from the store's watch into the cache, worked by whoever is there.
//!
//! A store in this process has a write's own change in the watch before the write returns. Were it
//! left to the feed's task to apply it, each write would wait for that task to have its turn, and
//! wake it. So the writer applies what has come, its own change with it, and the feed's task is
//! left with what no writer of this server brings.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::StreamExt as _;
use futures::task::AtomicWaker;
use kcore::object::Object;
use kstore::{Event, EventKind, WatchBatch, WatchStream};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ring::Ring;
use super::{Cache, feed};

/// How long changes gather before watchers are woken, unless none came before.
const GATHER: Duration = Duration::from_millis(1);
/// Batches applied before others have a turn.
const MAX_BATCHES: usize = 16;

/// The watch, and the changes that watchers have not been told of.
#[derive(Debug)]
pub(crate) struct Pump {
    inner: Mutex<Inner>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Inner {
    /// None while the cache is filled.
    stream: Option<WatchStream>,
    ended: Option<kstore::Error>,
    after: Aftermath,
    flushed: Instant,
    /// Whether the feed's task knows that there is something to flush.
    armed: bool,
}

/// What is left to do once changes are applied.
#[derive(Debug, Default)]
struct Aftermath {
    /// Rings with changes that are not sealed yet.
    dirty: Vec<Arc<Ring>>,
    /// States that came or were superseded. Their typed views are looked after once the lock is
    /// let go.
    touched: Vec<Object>,
}

/// What the feed's task has to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Flush at this time.
    FlushAt(Instant),
    /// List the store again.
    Ended(kstore::Error),
}

/// Wakes the feed's task, unless a writer is about to do its work.
#[derive(Debug, Default)]
struct Bell {
    writers: AtomicUsize,
    rung: AtomicBool,
    feed: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In one order for all threads: either this sees no writer, or the last one sees this.
        self.rung.store(true, Ordering::SeqCst);
        if self.writers.load(Ordering::SeqCst) == 0 {
            self.feed.wake();
        }
    }
}

/// A writer in the middle of a poll.
struct Writing<'a>(&'a Bell);

impl<'a> Writing<'a> {
    fn begin(bell: &'a Bell) -> Self {
        bell.writers.fetch_add(1, Ordering::SeqCst);
        Self(bell)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let last = self.0.writers.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.rung.load(Ordering::SeqCst) {
            self.0.feed.wake();
        }
    }
}

impl Default for Pump {
    fn default() -> Self {
        let inner = Inner {
            stream: None,
            ended: None,
            after: Aftermath::default(),
            flushed: Instant::now(),
            armed: false,
        };
        Self { inner: Mutex::new(inner), bell: Arc::default() }
    }
}

impl Cache {
    /// Completes a write, and applies what the watch has by then.
    pub(crate) async fn apply_with<T>(&self, write: impl Future<Output = T>) -> T {
        let mut write = std::pin::pin!(write);
        poll_fn(|cx| {
            let _writing = Writing::begin(&self.pump.bell);
            let outcome = write.as_mut().poll(cx);
            if outcome.is_ready() {
                self.work();
            }
            outcome
        })
        .await
    }

    /// Applies what has come.
    fn work(&self) {
        let touched = {
            let mut inner = self.pump.inner.lock();
            let drained = inner.drain(self, &self.pump.bell);
            if !drained || inner.ended.is_some() || inner.wants_a_flush() {
                self.pump.bell.feed.wake();
            }
            std::mem::take(&mut inner.after.touched)
        };
        self.remember(touched);
    }

    /// Starts to apply what a watch brings.
    pub(super) fn begin(&self, stream: WatchStream) {
        let mut inner = self.pump.inner.lock();
        (inner.stream, inner.ended, inner.armed) = (Some(stream), None, false);
    }

    /// Applies what comes, until there is something else to do. For the feed's task alone.
    pub(super) async fn step(&self) -> Step {
        poll_fn(|cx| {
            self.pump.bell.feed.register(cx.waker());
            let mut inner = self.pump.inner.lock();
            if !inner.drain(self, &self.pump.bell) {
                cx.waker().wake_by_ref();
            }
            let touched = std::mem::take(&mut inner.after.touched);
            parking_lot::MutexGuard::unlocked(&mut inner, || self.remember(touched));
            if let Some(error) = inner.ended.take() {
                return Poll::Ready(Step::Ended(error));
            }
            if inner.wants_a_flush() {
                inner.armed = true;
                return Poll::Ready(Step::FlushAt(inner.flushed + GATHER));
            }
            Poll::Pending
        })
        .await
    }

    /// Asks the store how far it is.
    pub(super) fn request_progress(&self) {
        if let Some(stream) = &self.pump.inner.lock().stream {
            stream.request_progress();
        }
    }

    /// Changes the cache apart from the watch; watchers are told at once.
    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<Arc<Ring>>)) {
        let mut inner = self.pump.inner.lock();
        change(&mut inner.after.dirty);
        inner.flush();
    }

    /// Tells watchers what has gathered, if it has for long enough.
    pub(super) fn flush_due(&self) {
        let mut inner = self.pump.inner.lock();
        inner.armed = false;
        inner.flush_due();
    }

    fn apply_batch(&self, batch: WatchBatch, after: &mut Aftermath) {
        match batch {
            WatchBatch::Events { revision, events } => {
                for event in &events {
                    self.apply_event(event, after);
                }
                self.applied.advance(revision.0);
            }
            WatchBatch::Progress(revision) => self.applied.advance(revision.0),
        }
    }

    fn apply_event(&self, event: &Event, after: &mut Aftermath) {
        let Some((at, key)) = feed::route(self, &event.record.key) else { return };
        let kind = &self.kinds[at];
        let revision = event.record.modified.0;
        match event.kind {
            EventKind::Delete => kind.delete(key, revision, &mut after.dirty),
            EventKind::Put => match kind.decode(&event.record.value, revision) {
                Ok(object) => {
                    after.touched.push(object.clone());
                    // Whoever is on the way from one state to the next may look at both.
                    after.touched.extend(kind.put(key, object, &mut after.dirty));
                }
                Err(error) => feed::skip(&event.record.key, &error),
            },
        }
    }
}

impl Inner {
    /// Applies what the watch has. Returns whether that was all.
    fn drain(&mut self, cache: &Cache, bell: &Arc<Bell>) -> bool {
        let waker = Waker::from(Arc::clone(bell));
        let mut cx = Context::from_waker(&waker);
        // What is told after this is seen by a poll that comes after this.
        bell.rung.store(false, Ordering::SeqCst);
        for _ in 0..MAX_BATCHES {
            let Some(stream) = &mut self.stream else { return true };
            match stream.poll_next_unpin(&mut cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(batch))) => {
                    cache.apply_batch(batch, &mut self.after);
                    // The first change after a pause goes out at once; a stream of them in
                    // batches.
                    self.flush_due();
                }
                Poll::Ready(Some(Err(error))) => self.end(error),
                Poll::Ready(None) => self.end(kstore::Error::Closed),
            }
        }
        false
    }

    fn end(&mut self, error: kstore::Error) {
        self.stream = None;
        self.ended = Some(error);
    }

    /// Whether there is something to flush that the feed's task does not know of.
    fn wants_a_flush(&self) -> bool {
        !self.armed && !self.after.dirty.is_empty()
    }

    fn flush_due(&mut self) {
        if !self.after.dirty.is_empty() && self.flushed.elapsed() >= GATHER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
        for ring in self.after.dirty.drain(..) {
            ring.seal();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl ArcWake for Woken {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_feed_is_woken_by_the_last_writer_alone_and_by_news_nobody_writes() {
        let (bell, feed) = (Arc::<Bell>::default(), Arc::<Woken>::default());
        let woken = || feed.0.swap(false, Ordering::SeqCst);
        let register = || bell.feed.register(&waker(Arc::clone(&feed)));
        register();
        bell.wake_by_ref();
        assert!(woken(), "nobody else would look");
        register();
        let (first, second) = (Writing::begin(&bell), Writing::begin(&bell));
        bell.wake_by_ref();
        drop(first);
        assert!(!woken(), "the second looks after its own write");
        drop(second);
        assert!(woken(), "nobody has looked since");
        register();
        let writing = Writing::begin(&bell);
        bell.wake_by_ref();
        bell.rung.store(false, Ordering::SeqCst);
        drop(writing);
        assert!(!woken(), "somebody has looked since");
    }
}
