//! The queue's decisions, without waiting: what is queued, claimed, delayed.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use super::{Added, QueueMetrics};
use crate::collections::{HashMap, HashSet};

/// Items whose rest is remembered; those beyond it rest not.
const RESTING_LIMIT: usize = 1024;

/// Whether items are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    Open,
    /// Shut down: items that were in the queue are still handed out.
    Closed,
}

#[derive(Debug)]
pub(super) struct State<T> {
    capacity: usize,
    intake: Intake,
    ready: VecDeque<T>,
    /// Items that need work, and since when. Those in work as well are queued once it is done.
    dirty: HashMap<T, Instant>,
    processing: HashMap<T, Instant>,
    waiting: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    /// Items whose work was costly, and when they are handed out again at the earliest.
    resting: HashMap<T, Instant>,
    sequence: u64,
    metrics: QueueMetrics,
}

impl<T: Clone + Eq + Hash> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            intake: Intake::Open,
            ready: VecDeque::new(),
            dirty: HashMap::default(),
            processing: HashMap::default(),
            waiting: BTreeMap::new(),
            due: HashMap::default(),
            resting: HashMap::default(),
            sequence: 0,
            metrics: QueueMetrics::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.dirty.len() + self.waiting.len() >= self.capacity
    }

    pub(super) fn add(&mut self, item: T, now: Instant) -> Added {
        if self.intake == Intake::Closed {
            return Added::ShutDown;
        }
        if self.dirty.contains_key(&item) {
            return Added::Duplicate;
        }
        if self.is_full() && !self.due.contains_key(&item) && !self.processing.contains_key(&item) {
            self.metrics.rejected += 1;
            return Added::Full;
        }
        match self.resting.get(&item).copied().filter(|until| *until > now) {
            Some(until) => self.add_at(item, until).0,
            None => {
                self.put(item, now);
                Added::Queued
            }
        }
    }

    /// Marks an item as needing work, whatever the capacity.
    pub(super) fn put(&mut self, item: T, now: Instant) {
        self.metrics.adds += 1;
        self.dirty.insert(item.clone(), now);
        if !self.processing.contains_key(&item) {
            self.ready.push_back(item);
        }
    }

    /// Holds an item back until `due`, or its earlier time. Returns whether the next time to wake
    /// up at has changed.
    pub(super) fn add_at(&mut self, item: T, due: Instant) -> (Added, bool) {
        if self.intake == Intake::Closed {
            return (Added::ShutDown, false);
        }
        let known = self.due.get(&item).copied();
        if known.is_some_and(|(at, _)| at <= due) {
            return (Added::Duplicate, false);
        }
        match known {
            Some(key) => {
                self.waiting.remove(&key);
            }
            None if self.is_full() && !self.processing.contains_key(&item) => {
                self.metrics.rejected += 1;
                return (Added::Full, false);
            }
            None => {}
        }
        let before = self.next_due();
        self.sequence += 1;
        self.waiting.insert((due, self.sequence), item.clone());
        self.due.insert(item, (due, self.sequence));
        (Added::Queued, self.next_due() != before)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Queues the items whose time has come.
    pub(super) fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            let ((due, _), item) = entry.remove_entry();
            self.due.remove(&item);
            if !self.dirty.contains_key(&item) {
                self.put(item, due);
            }
        }
    }

    pub(super) fn claim(&mut self, now: Instant) -> Option<T> {
        let item = self.ready.pop_front()?;
        let since = self.dirty.remove(&item).unwrap_or(now);
        let waited = now.saturating_duration_since(since);
        self.metrics.latency.observe(waited);
        self.processing.insert(item.clone(), now);
        Some(item)
    }

    /// Ends the work on an item. If it was added meanwhile, it is queued again.
    pub(super) fn done(&mut self, item: &T, now: Instant) {
        if let Some(since) = self.processing.remove(item) {
            self.metrics.work_duration.observe(now.saturating_duration_since(since));
        }
        if self.dirty.contains_key(item) {
            self.ready.push_back(item.clone());
        }
    }

    /// Ends the work on an item, and hands it out again no sooner than at `until`.
    pub(super) fn rest(&mut self, item: &T, now: Instant, until: Instant) {
        if self.resting.len() >= RESTING_LIMIT {
            self.resting.retain(|_, until| *until > now);
        }
        if self.resting.len() < RESTING_LIMIT {
            self.resting.insert(item.clone(), until);
        }
        if self.dirty.remove(item).is_some() && self.intake == Intake::Open {
            // It is taken in already, whatever the capacity.
            self.processing.remove(item).inspect(|since| {
                self.metrics.work_duration.observe(now.saturating_duration_since(*since));
            });
            self.due.remove(item).inspect(|key| drop(self.waiting.remove(key)));
            self.sequence += 1;
            self.waiting.insert((until, self.sequence), item.clone());
            self.due.insert(item.clone(), (until, self.sequence));
        } else {
            self.done(item, now);
        }
    }

    pub(super) fn close(&mut self) {
        self.intake = Intake::Closed;
        self.waiting.clear();
        self.due.clear();
    }

    pub(super) fn is_open(&self) -> bool {
        self.intake == Intake::Open
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.processing.is_empty()
    }

    pub(super) fn retried(&mut self) {
        self.metrics.retries += 1;
    }

    pub(super) fn metrics(&self, now: Instant) -> QueueMetrics {
        let running = |since: &Instant| now.saturating_duration_since(*since);
        QueueMetrics {
            depth: self.ready.len(),
            waiting: self.waiting.len(),
            processing: self.processing.len(),
            unfinished_work: self.processing.values().map(running).sum(),
            longest_running: self.processing.values().map(running).max().unwrap_or(Duration::ZERO),
            ..self.metrics.clone()
        }
    }

    /// The items that wait, are queued or are in work.
    pub(super) fn known(&self) -> HashSet<T> {
        let queued = self.dirty.keys().chain(self.processing.keys()).chain(self.due.keys());
        queued.cloned().collect()
    }
}
