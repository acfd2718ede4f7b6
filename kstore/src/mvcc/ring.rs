//! Watched ranges: each has one ring of the commits that touch it, and watchers are cursors.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use slab::Slab;

use super::MemoryOptions;
use super::history::Commit;
use crate::{Error, KeyRange, Result};

/// Rings shorter than this are not searched for commits that all have read.
const MIN_TRIM: usize = 64;

/// Rings holding less than this are not searched either.
const MIN_TRIM_BYTES: u64 = 64 << 10;

/// A range that somebody watches.
#[derive(Debug)]
pub(super) struct Group {
    range: KeyRange,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    commits: VecDeque<Arc<Commit>>,
    /// The position of the first commit in the ring.
    first: u64,
    bytes: u64,
    cursors: Slab<Cursor>,
    /// The cursors that wait for the next commit.
    parked: Vec<usize>,
    trim_at: usize,
    trim_at_bytes: u64,
}

#[derive(Debug)]
struct Cursor {
    position: u64,
    waker: Option<Waker>,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.commits.len() as u64
    }

    fn push(&mut self, commit: &Arc<Commit>, options: &MemoryOptions, wakers: &mut Vec<Waker>) {
        // One commit may touch the range with several keys.
        if self.commits.back().is_some_and(|last| last.revision == commit.revision) {
            return;
        }
        self.bytes += commit.size();
        self.commits.push_back(Arc::clone(commit));
        if self.commits.len() > self.trim_at || self.bytes > self.trim_at_bytes {
            self.trim(options);
        }
        for id in self.parked.drain(..) {
            wakers.extend(self.cursors[id].waker.take());
        }
    }

    /// Forgets what all watchers have read, and beyond the bounds what the slowest have not.
    fn trim(&mut self, options: &MemoryOptions) {
        let first = self.first;
        let alive = self.cursors.iter().map(|(_, cursor)| cursor.position);
        let slowest = alive.filter(|position| *position >= first).min().unwrap_or(self.end());
        while self.first < slowest {
            self.pop();
        }
        // A quarter at once, so that a watcher that never reads is not paid for at each commit.
        let (limit, bytes) = (options.watch_backlog, options.watch_backlog_bytes);
        if self.commits.len() >= limit {
            while self.commits.len() > limit - limit / 4 {
                self.pop();
            }
        }
        if self.bytes > bytes {
            while self.bytes > bytes - bytes / 4 && self.commits.len() > 1 {
                self.pop();
            }
        }
        self.trim_at = (2 * self.commits.len()).max(MIN_TRIM).min(limit.saturating_sub(1));
        self.trim_at_bytes = (2 * self.bytes).max(MIN_TRIM_BYTES).min(bytes);
    }

    fn pop(&mut self) {
        if let Some(commit) = self.commits.pop_front() {
            self.first += 1;
            self.bytes -= commit.size();
        }
    }
}

/// What a cursor found in its ring.
pub(super) enum Read {
    /// Commits, oldest first.
    Commits(Vec<Arc<Commit>>),
    /// Nothing; the waker given will be woken.
    Parked,
}

impl Group {
    /// Reads whole commits for the watcher `id` until they hold `most` changes; parks it if there
    /// are none.
    pub(super) fn read(&self, id: usize, most: usize, waker: &Waker) -> Result<Read> {
        let mut ring = self.ring.lock();
        let ring = &mut *ring;
        let end = ring.end();
        let cursor = &mut ring.cursors[id];
        if cursor.position < ring.first {
            return Err(Error::TooSlow { behind: end - cursor.position });
        }
        if cursor.position == end {
            match &mut cursor.waker {
                Some(parked) => parked.clone_from(waker),
                none => {
                    *none = Some(waker.clone());
                    ring.parked.push(id);
                }
            }
            return Ok(Read::Parked);
        }
        let start = usize::try_from(cursor.position - ring.first).unwrap_or(usize::MAX);
        let mut changes = 0;
        let commits = ring.commits.range(start..).take_while(|commit| {
            let take = changes < most;
            changes += commit.changes.len();
            take
        });
        let commits: Vec<_> = commits.cloned().collect();
        cursor.position += commits.len() as u64;
        Ok(Read::Commits(commits))
    }

    fn join(&self) -> usize {
        let mut ring = self.ring.lock();
        let position = ring.end();
        ring.cursors.insert(Cursor { position, waker: None })
    }

    /// Forgets a watcher; true if it was the last one.
    fn leave(&self, id: usize) -> bool {
        let mut ring = self.ring.lock();
        if ring.cursors.remove(id).waker.is_some() {
            ring.parked.retain(|parked| *parked != id);
        }
        ring.cursors.is_empty()
    }
}

/// Finds the watched ranges that a key lies in: by hash for keys and prefixes, one by one for
/// other intervals.
#[derive(Debug, Default)]
pub(crate) struct WatchIndex {
    singles: BTreeMap<Bytes, Arc<Group>>,
    prefixes: BTreeMap<Bytes, Arc<Group>>,
    /// How many watched prefixes have each length.
    lengths: BTreeMap<usize, usize>,
    intervals: BTreeMap<KeyRange, Arc<Group>>,
    watchers: u64,
}

impl WatchIndex {
    pub(super) fn is_empty(&self) -> bool {
        self.watchers == 0
    }

    #[cfg(test)]
    pub(crate) fn ring_length(&self, range: &KeyRange) -> usize {
        let group = range.as_prefix().and_then(|prefix| self.prefixes.get(prefix));
        group.map_or(0, |group| group.ring.lock().commits.len())
    }

    pub(super) fn watchers(&self) -> u64 {
        self.watchers
    }

    /// Counts a watcher that reads history and is in no ring yet.
    pub(super) fn count_in(&mut self) {
        self.watchers += 1;
    }

    /// Forgets a watcher that is in no ring any more.
    pub(super) fn count_out(&mut self) {
        self.watchers -= 1;
    }

    /// Adds a watcher of `range` that sees what is published from now on.
    pub(super) fn join(&mut self, range: &KeyRange) -> (Arc<Group>, usize) {
        let make = || Arc::new(Group { range: range.clone(), ring: Mutex::default() });
        let group = if let Some(key) = range.as_single() {
            self.singles.entry(key.clone()).or_insert_with(make)
        } else if let Some(prefix) = range.as_prefix() {
            let lengths = &mut self.lengths;
            self.prefixes.entry(prefix.clone()).or_insert_with(|| {
                *lengths.entry(prefix.len()).or_default() += 1;
                make()
            })
        } else {
            self.intervals.entry(range.clone()).or_insert_with(make)
        };
        (Arc::clone(group), group.join())
    }

    /// Takes a watcher out of its ring.
    pub(super) fn leave(&mut self, group: &Group, id: usize) {
        if !group.leave(id) {
            return;
        }
        if let Some(key) = group.range.as_single() {
            self.singles.remove(key);
        } else if let Some(prefix) = group.range.as_prefix() {
            self.prefixes.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        } else {
            self.intervals.remove(&group.range);
        }
    }

    /// Puts a commit into each ring it touches and collects whom to wake.
    pub(super) fn publish(
        &self,
        commit: &Arc<Commit>,
        options: &MemoryOptions,
        wakers: &mut Vec<Waker>,
    ) {
        let mut push = |group: &Group| group.ring.lock().push(commit, options, wakers);
        for change in &commit.changes {
            let key = &change.record.key;
            if let Some(group) = self.singles.get(key) {
                push(group);
            }
            for length in self.lengths.keys().take_while(|length| **length <= key.len()) {
                if let Some(group) = self.prefixes.get(&key[..*length]) {
                    push(group);
                }
            }
            for group in self.intervals.values().filter(|group| group.range.contains(key)) {
                push(group);
            }
        }
    }
}
