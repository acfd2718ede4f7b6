//! A watcher: a cursor that first reads history, then the ring of its range.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::task::AtomicWaker;
use tokio::time::{Instant, Sleep};

use super::Core;
use super::history::Commit;
use super::ring::{Group, Read};
use crate::{Error, Event, KeyRange, Result, Revision, WatchBatch, WatchOptions, WatchStream};

/// A batch is closed once it has this many changes.
const BATCH_CHANGES: usize = 256;

/// Commits of history that one poll looks at before it lets others run.
const CATCH_UP_COMMITS: usize = 1024;

/// Opens a watch.
pub(super) fn watch(
    shared: &Arc<Core>,
    range: KeyRange,
    options: WatchOptions,
) -> Result<WatchStream> {
    let ask = Arc::new(Ask::default());
    let (after, phase) = shared.write(|state| {
        let after = options.after.unwrap_or(state.revision());
        if after < state.compacted() {
            return Err(Error::Compacted { requested: after, compacted: state.compacted() });
        }
        let phase = if after >= state.revision() {
            let (group, id) = state.index.join(&range);
            Phase::Live { group, id }
        } else {
            Phase::CatchUp
        };
        state.index.count_in();
        Ok((after, phase))
    })?;
    let watcher = Watcher {
        shared: Arc::clone(shared),
        range,
        previous: options.previous,
        after,
        phase,
        ask: Arc::clone(&ask),
        timer: options.progress.map(|period| Box::pin(Timer::new(period))),
    };
    Ok(WatchStream::new(watcher).on_progress_request(move || ask.ask()))
}

/// Whether somebody asked for progress.
#[derive(Debug, Default)]
struct Ask {
    asked: AtomicBool,
    waker: AtomicWaker,
}

impl Ask {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }
}

#[derive(Debug)]
struct Timer {
    period: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn new(period: Duration) -> Self {
        // A period of zero would spin.
        let period = period.max(Duration::from_millis(1));
        Self { period, sleep: Box::pin(tokio::time::sleep(period)) }
    }

    fn restart(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.period);
    }
}

enum Phase {
    /// Reads the history after `after`.
    CatchUp,
    /// Reads its ring.
    Live { group: Arc<Group>, id: usize },
    /// Told an error, or was closed.
    Ended,
}

struct Watcher {
    shared: Arc<Core>,
    range: KeyRange,
    previous: bool,
    /// Everything up to here was told or is not wanted.
    after: Revision,
    phase: Phase,
    ask: Arc<Ask>,
    timer: Option<Pin<Box<Timer>>>,
}

impl Watcher {
    /// The events of `commits` that are wanted.
    fn select<'a>(&self, commits: impl Iterator<Item = &'a Arc<Commit>>) -> Vec<Event> {
        commits
            .filter(|commit| commit.revision > self.after)
            .flat_map(|commit| &commit.changes)
            .filter(|change| self.range.contains(&change.record.key))
            .map(|change| change.to_event(self.previous))
            .collect()
    }

    fn tell(&mut self, revision: Revision, events: Vec<Event>) -> WatchBatch {
        self.after = self.after.max(revision);
        if let Some(timer) = &mut self.timer {
            timer.restart();
        }
        WatchBatch::Events { revision, events }
    }

    fn tell_progress(&mut self, revision: Revision) -> WatchBatch {
        if let Some(timer) = &mut self.timer {
            timer.restart();
        }
        WatchBatch::Progress(revision)
    }

    /// Ends the watch; the store forgets it at once.
    fn end(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        if matches!(phase, Phase::Ended) {
            return;
        }
        self.shared.write(|state| {
            if let Phase::Live { group, id } = &phase {
                state.index.leave(group, *id);
            }
            state.index.count_out();
        });
    }

    fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<WatchBatch>>> {
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        if self.after < state.compacted() {
            let requested = self.after;
            let compacted = state.compacted();
            drop(state);
            self.end();
            return Poll::Ready(Some(Err(Error::Compacted { requested, compacted })));
        }
        let mut changes = 0;
        let mut commits = Vec::new();
        let mut seen = self.after;
        for commit in state.commits_after(self.after).take(CATCH_UP_COMMITS) {
            if changes >= BATCH_CHANGES {
                break;
            }
            seen = commit.revision;
            if commit.changes.iter().any(|change| self.range.contains(&change.record.key)) {
                changes += commit.changes.len();
                commits.push(Arc::clone(commit));
            }
        }
        drop(state);
        if let Some(last) = commits.last().map(|commit| commit.revision) {
            let events = self.select(commits.iter());
            let batch = self.tell(last, events);
            self.after = seen;
            return Poll::Ready(Some(Ok(batch)));
        }
        self.after = seen;
        let range = self.range.clone();
        let joined =
            shared.write(|state| (state.revision() == seen).then(|| state.index.join(&range)));
        if let Some((group, id)) = joined {
            self.phase = Phase::Live { group, id };
        }
        // Either live now, or there is more history: both are for the next poll.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_live(
        &mut self,
        group: &Group,
        id: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchBatch>>> {
        loop {
            // Read before the ring: all of it that is for this watcher is in the ring by now.
            let visible = self.shared.visible();
            match group.read(id, BATCH_CHANGES, cx.waker()) {
                Err(error) => {
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Read::Commits(commits)) => {
                    let events = self.select(commits.iter());
                    if let (Some(last), false) = (commits.last(), events.is_empty()) {
                        return Poll::Ready(Some(Ok(self.tell(last.revision, events))));
                    }
                }
                Ok(Read::Parked) => {
                    self.ask.waker.register(cx.waker());
                    if self.ask.asked.swap(false, Ordering::AcqRel) || self.poll_timer(cx) {
                        return Poll::Ready(Some(Ok(self.tell_progress(visible))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.sleep.as_mut().poll(cx).is_ready())
    }
}

impl Stream for Watcher {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // A busy range would otherwise keep its reader from ever letting others run.
        let proceed = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let polled = match &self.phase {
            Phase::Ended => Poll::Ready(None),
            Phase::CatchUp => self.poll_catch_up(cx),
            Phase::Live { group, id } => {
                let (group, id) = (Arc::clone(group), *id);
                self.poll_live(&group, id, cx)
            }
        };
        if polled.is_ready() {
            proceed.made_progress();
        }
        polled
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end();
    }
}
