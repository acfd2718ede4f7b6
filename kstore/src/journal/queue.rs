//! What waits to be made durable, and who waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::pace::{self, Pace};
use crate::mvcc::{Entry, Shown, Sink};
use crate::{Durability, Error, Result, Revision};

/// What one group commit takes at most, in entries' bytes; one push is taken whole.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Entries' bytes that may wait before whoever has more to write waits for room. Callers that gave
/// up on what they pushed do not bound it.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How long what is volatile waits for something durable to go with.
const MAX_VOLATILE_AGE: Duration = Duration::from_secs(1);
/// How much of it waits.
const MAX_VOLATILE_WAITING: usize = 4096;
/// Waiters that gave up are looked for when there are this many.
const MIN_PRUNE: usize = 1024;

/// What waits to be made durable.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
    /// Told when something was taken out.
    room: Notify,
    /// How many pushes wait, for the writer, who looks without locking.
    waiting: AtomicUsize,
    /// How many pushes were settled, for callers, who look without locking.
    settled: AtomicU64,
    /// How long a caller is to look, in nanoseconds; 0 for not at all.
    patience: AtomicU64,
    /// How many callers look again and again.
    looking: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Push>,
    waiting_bytes: usize,
    pushed: u64,
    /// So many pushes may be shown: they are durable, or are volatile and follow one that may be.
    cleared: u64,
    /// So many pushes have been shown.
    settled: u64,
    /// No revision up to here is given twice, whatever is lost.
    reserved: Revision,
    /// Something volatile was pushed: more of it is to be expected.
    volatile: bool,
    waiters: Vec<(u64, oneshot::Sender<()>)>,
    prune_at: usize,
    /// Why nothing is made durable any more (S9).
    broken: Option<Error>,
    /// Why there is no room for more, as long as there is none.
    full: Option<Error>,
    /// Somebody wants room: the writer is to look for it again.
    wanted: bool,
    /// Who wants a snapshot.
    saves: VecDeque<oneshot::Sender<Result<()>>>,
    closed: bool,
}

#[derive(Debug)]
struct Push {
    entries: Vec<Entry>,
    bytes: usize,
    newest: Revision,
    durability: Durability,
}

/// What is made durable together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// The newest revision of it.
    pub(super) newest: Revision,
    /// The number of its last push.
    pub(super) count: u64,
    /// How many pushes it is.
    pub(super) pushes: usize,
    /// More revisions are to be reserved with it.
    pub(super) reserve: bool,
    /// Somebody wants a snapshot after it, and to be told.
    pub(super) save: Option<oneshot::Sender<Result<()>>>,
}

impl Sink for Queue {
    fn push(&self, entries: Vec<Entry>, newest: Revision, durability: Durability) -> Shown {
        let bytes = entries.iter().map(size).sum();
        let mut state = self.state.lock();
        state.pushed += 1;
        if state.broken.is_some() {
            return Shown::Later;
        }
        state.waiting.push_back(Push { entries, bytes, newest, durability });
        state.waiting_bytes += bytes;
        state.volatile |= durability == Durability::Volatile;
        self.waiting.store(state.waiting.len(), Ordering::Release);
        let clear = durability == Durability::Volatile
            && state.cleared + 1 == state.pushed
            && newest <= state.reserved;
        if clear {
            state.cleared = state.pushed;
            state.settled = state.pushed;
            self.settled.store(state.settled, Ordering::Release);
        }
        if !clear || state.waiting.len() == 1 || state.is_due() {
            self.more.notify_one();
        }
        if clear { Shown::Now } else { Shown::Later }
    }

    fn pushed(&self) -> u64 {
        self.state.lock().pushed
    }

    fn flush(&self) {}
}

fn size(entry: &Entry) -> usize {
    match entry {
        Entry::Commit(commit) => usize::try_from(commit.size()).unwrap_or(usize::MAX),
        Entry::Grant { .. } | Entry::End { .. } | Entry::Compact { .. } | Entry::Reserve { .. } => {
            0
        }
    }
}

impl State {
    /// Whether somebody waits for what waits, or it is too much to wait longer.
    fn is_due(&self) -> bool {
        self.cleared < self.pushed
            || self.waiting.len() >= MAX_VOLATILE_WAITING
            || self.waiting_bytes >= MAX_BATCH_BYTES
            || (self.closed && !self.waiting.is_empty())
    }

    fn take(&mut self, most: usize) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some(push) =
            self.waiting.pop_front_if(|push| bytes == 0 || bytes + push.bytes <= most)
        {
            bytes += push.bytes;
            batch.newest = push.newest;
            batch.pushes += 1;
            if batch.entries.is_empty() {
                batch.entries = push.entries;
            } else {
                batch.entries.extend(push.entries);
            }
        }
        self.waiting_bytes -= bytes;
        batch.count = self.pushed - self.waiting.len() as u64;
        let newest = self.waiting.back().map_or(batch.newest, |push| push.newest);
        batch.reserve = self.volatile && pace::runs_short(newest, self.reserved);
        batch
    }

    fn next(&mut self) -> Option<Batch> {
        if self.is_due() && !self.waiting.is_empty() {
            // Whoever wants a snapshot gets it however much is written meanwhile.
            let save = self.saves.pop_front();
            return Some(Batch { save, ..self.take(MAX_BATCH_BYTES) });
        }
        // Nothing to write, and room to look for, or a snapshot to make.
        let save = self.saves.pop_front();
        let wanted = std::mem::take(&mut self.wanted) || save.is_some();
        wanted.then(|| Batch { save, ..Batch::default() })
    }

    fn add_waiter(&mut self, count: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if self.waiters.len() >= self.prune_at.max(MIN_PRUNE) {
            self.waiters.retain(|(_, waiter)| !waiter.is_closed());
            self.prune_at = 2 * self.waiters.len();
        }
        self.waiters.push((count, sender));
        receiver
    }
}

impl Queue {
    /// A queue over a log that reserved revisions.
    pub(super) fn new(reserved: Revision) -> Self {
        let state = State { reserved, ..State::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// The next batch, once there is one; `None` once the queue is closed and empty, or broken.
    pub(super) fn wait_next(&self, pace: Pace) -> Option<Batch> {
        pace.look(|| self.waiting.load(Ordering::Acquire) > 0);
        let mut state = self.state.lock();
        loop {
            if state.broken.is_some() {
                return None;
            }
            if let Some(batch) = state.next() {
                self.taken(&state);
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            if state.waiting.is_empty() {
                self.more.wait(&mut state);
            } else if self.more.wait_for(&mut state, MAX_VOLATILE_AGE).timed_out() {
                let batch = state.take(MAX_BATCH_BYTES);
                self.taken(&state);
                return Some(batch);
            }
        }
    }

    /// The next batch, if there is one.
    pub(super) fn try_next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let batch = state.next();
        self.taken(&state);
        batch
    }

    /// All that waits.
    pub(super) fn take_all(&self) -> Batch {
        let mut state = self.state.lock();
        let batch = state.take(usize::MAX);
        self.taken(&state);
        batch
    }

    fn taken(&self, state: &State) {
        self.waiting.store(state.waiting.len(), Ordering::Release);
        self.room.notify_waiters();
    }

    /// A batch is durable, with all that was reserved in it: what may be shown now.
    pub(super) fn clear(&self, batch: &Batch, reserved: Revision) -> (Revision, u64) {
        let mut state = self.state.lock();
        state.reserved = reserved;
        let (mut newest, mut count) = (batch.newest, batch.count);
        for push in &state.waiting {
            if push.durability == Durability::Durable || push.newest > reserved {
                break;
            }
            newest = push.newest;
            count += 1;
        }
        state.cleared = state.cleared.max(count);
        (newest, count)
    }

    /// So many pushes are shown.
    pub(super) fn settled(&self, count: u64, pace: Pace) {
        let patience = pace.patience().unwrap_or_default();
        self.patience
            .store(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut state = self.state.lock();
        state.settled = state.settled.max(count);
        self.settled.store(state.settled, Ordering::Release);
        let count = state.settled;
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
        state.waiting_bytes = 0;
        // Dropping them tells them.
        state.waiters.clear();
        state.saves.clear();
        self.taken(&state);
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

    /// Makes a snapshot, and waits for it.
    pub(super) fn save(&self) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        state.saves.retain(|waiting| !waiting.is_closed());
        if state.broken.is_none() {
            state.saves.push_back(sender);
            self.more.notify_one();
        }
        receiver
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

    /// Waits until what waits is little enough to push more; fails once nothing is made durable
    /// any more.
    pub(super) async fn admit(&self) -> Result<()> {
        loop {
            // Begun before looking, so that no call in between is missed.
            let room = self.room.notified();
            {
                let state = self.state.lock();
                if let Some(error) = &state.broken {
                    return Err(error.clone());
                }
                if state.waiting_bytes < MAX_WAITING_BYTES {
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Waits until so many pushes are durable.
    pub(super) async fn wait(&self, count: u64) -> Result<()> {
        if self.look(count).await {
            return Ok(());
        }
        let waiter = {
            let mut state = self.state.lock();
            if state.settled >= count {
                return Ok(());
            }
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            state.add_waiter(count)
        };
        match waiter.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.check().err().unwrap_or(Error::Closed)),
        }
    }

    /// Looks whether so many pushes are settled; where one caller alone waits and the disk is fast,
    /// again and again for about as long as a commit takes.
    async fn look(&self, count: u64) -> bool {
        let is_settled = || self.settled.load(Ordering::Acquire) >= count;
        let patience = Duration::from_nanos(self.patience.load(Ordering::Relaxed));
        if is_settled() || patience.is_zero() {
            return is_settled();
        }
        let Some(_alone) = Alone::enter(&self.looking) else { return false };
        let until = Instant::now() + 2 * patience;
        for _ in 0..pace::MAX_LOOKS {
            tokio::task::yield_now().await;
            if is_settled() || Instant::now() >= until {
                break;
            }
        }
        is_settled()
    }
}

/// The only one who looks again and again.
struct Alone<'a>(&'a AtomicUsize);

impl<'a> Alone<'a> {
    fn enter(looking: &'a AtomicUsize) -> Option<Self> {
        let entered = looking.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        entered.is_ok().then_some(Self(looking))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
