//! What waits to be made durable, and who waits for it.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::mvcc::{Entry, Sink};
use crate::{Error, Result, Revision};

/// What one group commit takes at most, in entries' bytes; one push is taken whole.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// What waits to be made durable. It is bounded by the callers: each waits for what it pushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Push>,
    pushed: u64,
    settled: u64,
    waiters: Vec<(u64, oneshot::Sender<()>)>,
    /// Why nothing is made durable any more (S9).
    broken: Option<Error>,
    /// Why there is no room for more, as long as there is none.
    full: Option<Error>,
    /// Somebody wants room: the writer is to look for it again.
    wanted: bool,
    closed: bool,
}

#[derive(Debug)]
struct Push {
    entries: Vec<Entry>,
    bytes: usize,
    newest: Revision,
}

/// What is made durable together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// The newest revision of it.
    pub(super) newest: Revision,
    /// The number of its last push.
    pub(super) count: u64,
}

impl Sink for Queue {
    fn push(&self, entries: Vec<Entry>, newest: Revision) {
        let bytes = entries.iter().map(size).sum();
        let mut state = self.state.lock();
        state.pushed += 1;
        if state.broken.is_none() {
            state.waiting.push_back(Push { entries, bytes, newest });
            self.more.notify_one();
        }
    }

    fn pushed(&self) -> u64 {
        self.state.lock().pushed
    }

    fn flush(&self) {}
}

fn size(entry: &Entry) -> usize {
    match entry {
        Entry::Commit(commit) => usize::try_from(commit.size()).unwrap_or(usize::MAX),
        Entry::Grant { .. } | Entry::End { .. } | Entry::Compact { .. } => 0,
    }
}

impl State {
    fn next(&mut self) -> Option<Batch> {
        let Some(first) = self.waiting.pop_front() else {
            // Nothing to write, and room to look for.
            let wanted = std::mem::take(&mut self.wanted);
            let empty = Batch { entries: Vec::new(), newest: Revision(0), count: self.settled };
            return wanted.then_some(empty);
        };
        let Push { mut entries, mut bytes, mut newest } = first;
        while let Some(next) =
            self.waiting.pop_front_if(|next| bytes + next.bytes <= MAX_BATCH_BYTES)
        {
            entries.extend(next.entries);
            bytes += next.bytes;
            newest = next.newest;
        }
        let count = self.pushed - self.waiting.len() as u64;
        Some(Batch { entries, newest, count })
    }
}

impl Queue {
    /// The next batch, once there is one; `None` once the queue is closed and empty, or broken.
    pub(super) fn wait_next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.broken.is_some() {
                return None;
            }
            if let Some(batch) = state.next() {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            self.more.wait(&mut state);
        }
    }

    /// The next batch, if there is one.
    pub(super) fn try_next(&self) -> Option<Batch> {
        self.state.lock().next()
    }

    /// A batch is durable.
    pub(super) fn settled(&self, count: u64) {
        let mut state = self.state.lock();
        state.settled = state.settled.max(count);
        let ready: Vec<_> = state.waiters.extract_if(.., |(wanted, _)| *wanted <= count).collect();
        drop(state);
        for (_, waiter) in ready {
            // Who does not wait any more need not be told.
            let _ = waiter.send(());
        }
    }

    /// Nothing is made durable any more, and everybody who waits is told so.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.broken.get_or_insert(error);
        state.waiting.clear();
        // Dropping them tells them.
        state.waiters.clear();
        self.more.notify_all();
    }

    /// Whether more can be taken in. If not, the writer looks for room again.
    pub(super) fn check_room(&self) -> Result<()> {
        let mut state = self.state.lock();
        let Some(full) = state.full.clone() else { return Ok(()) };
        state.wanted = true;
        self.more.notify_one();
        Err(full)
    }

    /// Says whether there is room for more.
    pub(super) fn set_full(&self, full: Option<Error>) {
        self.state.lock().full = full;
    }

    /// Nothing more is pushed; what waits is still made durable.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.more.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Why nothing is made durable any more.
    pub(super) fn check(&self) -> Result<()> {
        self.state.lock().broken.clone().map_or(Ok(()), Err)
    }

    /// Waits until so many pushes are durable.
    pub(super) async fn wait(&self, count: u64) -> Result<()> {
        let waiter = {
            let mut state = self.state.lock();
            if state.settled >= count {
                return Ok(());
            }
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            let (sender, receiver) = oneshot::channel();
            state.waiters.push((count, sender));
            receiver
        };
        match waiter.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.check().err().unwrap_or(Error::Closed)),
        }
    }
}
