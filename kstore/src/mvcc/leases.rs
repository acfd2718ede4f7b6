//! Leases of a store in memory, and the task that ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Core;
use super::entry::Entry;
use crate::{Error, LeaseId, LeaseStatus, Result};

/// The longest time to live: a year, so that deadlines stay within what a clock can count.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Every lease, by name and by deadline.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    last: u64,
    leases: BTreeMap<LeaseId, Lease>,
    deadlines: BTreeSet<(Instant, LeaseId)>,
    /// Whether the task that ends leases runs.
    swept: bool,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<Bytes>,
}

impl LeaseTable {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn check(&self, lease: LeaseId) -> Result<()> {
        if self.leases.contains_key(&lease) { Ok(()) } else { Err(Error::LeaseNotFound { lease }) }
    }

    pub(super) fn attach(&mut self, lease: LeaseId, key: Bytes) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key);
        }
    }

    pub(super) fn detach(&mut self, lease: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
    }

    /// Ends a lease whose time has come and returns its keys.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(LeaseId, BTreeSet<Bytes>)> {
        let (deadline, lease) = *self.deadlines.first()?;
        if deadline > now { None } else { Some((lease, self.remove(lease)?)) }
    }

    fn remove(&mut self, lease: LeaseId) -> Option<BTreeSet<Bytes>> {
        let ended = self.leases.remove(&lease)?;
        self.deadlines.remove(&(ended.deadline, lease));
        Some(ended.keys)
    }

    fn grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        self.last += 1;
        let (id, deadline) = (LeaseId(self.last), now + ttl);
        self.leases.insert(id, Lease { ttl, deadline, keys: BTreeSet::new() });
        self.deadlines.insert((deadline, id));
        id
    }

    /// Every lease, with its time to live.
    pub(super) fn all(&self) -> impl Iterator<Item = (LeaseId, Duration)> + '_ {
        self.leases.iter().map(|(id, lease)| (*id, lease.ttl))
    }

    /// The number of the lease that was granted last.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// No lease up to that number is granted again.
    pub(super) fn skip_to(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// A lease from an earlier life, with its whole time before it.
    pub(super) fn restore(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.last = self.last.max(id.0);
        self.drop_lease(id);
        let deadline = now + ttl.min(MAX_TTL);
        self.leases.insert(id, Lease { ttl, deadline, keys: BTreeSet::new() });
        self.deadlines.insert((deadline, id));
    }

    /// Forgets a lease, not its keys.
    pub(super) fn drop_lease(&mut self, id: LeaseId) {
        self.remove(id);
    }

    fn renew(&mut self, id: LeaseId, now: Instant) -> Result<Duration> {
        let Some(lease) = self.leases.get_mut(&id) else {
            return Err(Error::LeaseNotFound { lease: id });
        };
        self.deadlines.remove(&(lease.deadline, id));
        lease.deadline = now + lease.ttl;
        self.deadlines.insert((lease.deadline, id));
        Ok(lease.ttl)
    }

    fn status(&self, id: LeaseId, now: Instant) -> Result<LeaseStatus> {
        let lease = self.leases.get(&id).ok_or(Error::LeaseNotFound { lease: id })?;
        Ok(LeaseStatus {
            lease: id,
            granted: lease.ttl,
            remaining: lease.deadline.saturating_duration_since(now),
            keys: lease.keys.iter().cloned().collect(),
        })
    }
}

impl Core {
    pub(crate) fn grant(self: &Arc<Self>, ttl: Duration) -> LeaseId {
        let ttl = ttl.clamp(Duration::from_millis(1), MAX_TTL);
        // Without a runtime there is no task, and operations alone end leases.
        let runtime = Handle::try_current().ok();
        let (lease, start) = self.write(|state| {
            let lease = state.leases.grant(ttl, Instant::now());
            state.note(|| Entry::Grant { lease, ttl });
            let start = runtime.is_some() && !std::mem::replace(&mut state.leases.swept, true);
            (lease, start)
        });
        match runtime {
            Some(runtime) if start => {
                let sweep = Sweep(Arc::downgrade(self));
                runtime.spawn(sweep.run(Arc::clone(&self.deadlines)));
            }
            _ => self.deadlines.notify_one(),
        }
        lease
    }

    pub(crate) fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.write(|state| state.leases.renew(lease, Instant::now()))
    }

    pub(crate) fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.write(|state| {
            let keys = state.leases.remove(lease).ok_or(Error::LeaseNotFound { lease })?;
            state.delete(keys);
            state.note(|| Entry::End { lease });
            Ok(())
        })
    }

    pub(crate) fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.read().leases.status(lease, Instant::now())
    }

    pub(crate) fn leases(&self) -> Vec<LeaseId> {
        self.read().leases.all().map(|(lease, _)| lease).collect()
    }
}

/// The task that ends leases while there are any. If its runtime goes before the store, the next
/// grant starts another one.
struct Sweep(Weak<Core>);

impl Sweep {
    async fn run(mut self, deadlines: Arc<Notify>) {
        while let Some(deadline) = self.next() {
            // Whichever comes first: both mean to look again.
            let _ = tokio::time::timeout_at(deadline, deadlines.notified()).await;
        }
    }

    /// Ends what is due and returns when to look again; `None` once there is nothing to wait for.
    fn next(&mut self) -> Option<Instant> {
        let next = self.0.upgrade()?.write(|state| {
            let next = state.leases.next_deadline();
            state.leases.swept = next.is_some();
            next
        });
        if next.is_none() {
            // Signed off: a successor may run from here on.
            self.0 = Weak::new();
        }
        next
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.write().leases.swept = false;
        }
    }
}
