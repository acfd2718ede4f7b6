//! A watch: a place in the log, and what wakes it.

use std::sync::Arc;
use std::time::Duration;

use kstore::{Error, Event, KeyRange, Result, Revision, WatchBatch, WatchOptions, WatchStream};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::state::State;

/// What one watch knows. The store counts the receivers, so dropping it is leaving.
struct Watcher {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<()>,
    asked: Arc<Notify>,
    range: KeyRange,
    previous: bool,
    period: Option<Duration>,
    /// Everything up to here was told, or is not in the range.
    seen: Revision,
    told_at: Instant,
    /// An error was told: that is the end.
    ended: bool,
}

/// Starts a watch on `state` that looks whenever `changed` says so.
pub(super) fn watch(
    state: &Arc<Mutex<State>>,
    changed: watch::Receiver<()>,
    range: KeyRange,
    options: &WatchOptions,
) -> Result<WatchStream> {
    let (revision, compacted) = {
        let state = state.lock();
        (state.revision, state.compacted)
    };
    let seen = options.after.unwrap_or(revision);
    if seen < compacted {
        return Err(Error::Compacted { requested: seen, compacted });
    }
    let asked = Arc::new(Notify::new());
    let watcher = Watcher {
        state: Arc::clone(state),
        changed,
        asked: Arc::clone(&asked),
        range,
        previous: options.previous,
        period: options.progress,
        seen,
        told_at: Instant::now(),
        ended: false,
    };
    let batches = futures::stream::unfold(watcher, async |mut watcher| {
        if watcher.ended {
            return None;
        }
        let batch = watcher.next().await;
        watcher.ended = batch.is_err();
        watcher.told_at = Instant::now();
        Some((batch, watcher))
    });
    Ok(WatchStream::new(batches).on_progress_request(move || asked.notify_one()))
}

impl Watcher {
    async fn next(&mut self) -> Result<WatchBatch> {
        loop {
            self.changed.borrow_and_update();
            if let Some(events) = self.look()? {
                return Ok(events);
            }
            let period = async {
                match self.period {
                    Some(period) => tokio::time::sleep_until(self.told_at + period).await,
                    None => std::future::pending().await,
                }
            };
            kcore::select! {
                () = self.asked.notified() => return self.progress(),
                changed = self.changed.changed() => changed.map_err(|_| Error::Closed)?,
                () = period => return self.progress(),
            }
        }
    }

    /// What happened in the range since the last look.
    fn look(&mut self) -> Result<Option<WatchBatch>> {
        let state = self.state.lock();
        if self.seen < state.compacted {
            return Err(Error::TooSlow { behind: state.revision.0 - self.seen.0 });
        }
        let here = state.after(self.seen).filter(|event| self.range.contains(&event.record.key));
        let events: Vec<Event> = here
            .map(|event| Event {
                previous: event.previous.clone().filter(|_| self.previous),
                ..event.clone()
            })
            .collect();
        self.seen = self.seen.max(state.revision);
        let last = events.last().map(|event| event.record.modified);
        Ok(last.map(|revision| WatchBatch::Events { revision, events }))
    }

    /// All that was told or left out, unless something came in between.
    fn progress(&mut self) -> Result<WatchBatch> {
        match self.look()? {
            Some(events) => {
                self.asked.notify_one();
                Ok(events)
            }
            None => Ok(WatchBatch::Progress(self.state.lock().revision.min(self.seen))),
        }
    }
}
