//! A state as it was: saved in pieces, restored, replayed.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Saved, SavedLease, Written};
use super::history::History;
use super::state::State;
use crate::{LeaseId, Record, Revision, Value};

/// What a lease has left whose end was on its way when the state was saved.
const ENDING: Duration = Duration::from_millis(1);

impl State {
    /// From now on what happens is written down.
    pub(super) fn write_down(&mut self) {
        self.entries.get_or_insert_default();
    }

    /// Begins to save what is there, or what is durable: it stays readable until it is unpinned.
    pub(super) fn pin(&mut self, revision: Revision) -> Saved {
        let reserved = Revision(0);
        self.pinned.push(revision);
        let leases = self.leases.all().map(|(lease, ttl)| SavedLease { lease, ttl }).collect();
        Saved { revision, reserved, last_lease: self.leases.last(), leases }
    }

    pub(super) fn unpin(&mut self, revision: Revision) {
        if let Some(at) = self.pinned.iter().position(|pinned| *pinned == revision) {
            self.pinned.swap_remove(at);
        }
    }

    /// Up to `most` records after a key, as they were at a pinned revision.
    pub(super) fn page(&self, after: Option<&[u8]>, at: Revision, most: usize) -> Vec<Arc<Record>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.order.range::<[u8], _>((from, Bound::Unbounded)).map(|(_, slot)| *slot);
        slots.filter_map(|slot| self.histories[slot].at(at)).take(most).cloned().collect()
    }

    /// An empty state at a saved revision; its records follow.
    pub(crate) fn restore(saved: &Saved) -> Self {
        let mut state = Self::new();
        state.newest = saved.revision;
        state.durable = saved.revision;
        state.published = saved.revision;
        state.compacted = saved.revision;
        state.reserved = saved.reserved;
        let now = Instant::now();
        for SavedLease { lease, ttl } in &saved.leases {
            state.leases.restore(*lease, *ttl, now);
        }
        state.leases.skip_to(saved.last_lease);
        state
    }

    /// A record of the saved state.
    pub(crate) fn restore_record(&mut self, record: Record) {
        if let Some(lease) = record.lease {
            if self.leases.check(lease).is_err() {
                // It was being ended: its keys must not outlive it for ever.
                self.leases.restore(lease, ENDING, Instant::now());
            }
            self.leases.attach(lease, record.key.clone());
        }
        let record = Arc::new(record);
        self.account(&record, None);
        let slot = self.histories.insert(History::new(Arc::clone(&record)));
        self.slots.insert(record.key.clone(), slot);
        self.order.insert(record.key.clone(), slot);
    }

    /// A commit that was written down. False if it cannot follow what is here.
    pub(crate) fn replay_commit(&mut self, revision: Revision, changes: Vec<Written>) -> bool {
        if revision == self.reserved.next() {
            self.skip_reserved();
        }
        if revision != self.newest.next() {
            return false;
        }
        let mut done = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let value = value.map(|(bytes, lease)| (Value::new(bytes), lease));
            if let Some((_, Some(lease))) = &value
                && self.leases.check(*lease).is_err()
            {
                self.leases.restore(*lease, ENDING, Instant::now());
            }
            self.write(key, value, &mut done);
        }
        self.commit(done);
        self.durable = self.newest;
        self.published = self.newest;
        true
    }

    /// Revisions were reserved, or given back.
    pub(crate) fn replay_reserve(&mut self, through: Revision) {
        self.reserved = through;
    }

    /// What was reserved may have been given to something that was lost: history goes on behind
    /// it, and begins there for whoever watches (S3).
    pub(crate) fn skip_reserved(&mut self) {
        if self.reserved <= self.newest {
            return;
        }
        let reserved = self.reserved;
        self.forget_history();
        (self.newest, self.durable, self.published) = (reserved, reserved, reserved);
        self.compacted = reserved;
    }

    /// No revision up to here comes again.
    pub(crate) fn reserved(&self) -> Revision {
        self.reserved
    }

    pub(crate) fn replay_grant(&mut self, lease: LeaseId, ttl: Duration) {
        self.leases.restore(lease, ttl, Instant::now());
    }

    pub(crate) fn replay_end(&mut self, lease: LeaseId) {
        self.leases.drop_lease(lease);
    }

    pub(crate) fn replay_compact(&mut self, through: Revision) {
        // What it forgot may be forgotten already, by a snapshot.
        let _ = self.compact(through.min(self.durable));
        self.forget_compacted();
    }
}
