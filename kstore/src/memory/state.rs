//! What a memory store holds, and every change of it. Nothing here waits.
#![allow(
    clippy::disallowed_types,
    reason = "`slots` is looked up and never iterated, and its keys \
    are strangers', so it takes std's hasher, which cannot be flooded"
)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use slab::Slab;
use tokio::time::Instant;

use super::MemoryOptions;
use super::history::{Change, Commit, Found, History};
use super::leases::LeaseTable;
use super::ring::WatchIndex;
use crate::{
    Compare, Error, KeyRange, LeaseId, Op, OpResult, RangeOptions, Record, Result, Revision,
    StoreStatus, Txn, TxnResult, Value,
};

/// The most commits that one write compacts on its own account.
const TRIM_STEPS: usize = 64;

/// Later than any revision.
const LATEST: Revision = Revision(u64::MAX);

/// Everything behind the lock.
pub(super) struct State {
    revision: Revision,
    compacted: Revision,
    /// Where each key's history is, for point reads.
    slots: HashMap<Bytes, usize>,
    /// The same in key order, for ranges.
    order: BTreeMap<Bytes, usize>,
    histories: Slab<History>,
    /// Every commit after the compacted revision; each revision has exactly one.
    log: VecDeque<Arc<Commit>>,
    /// Commits that are not in the watch rings yet.
    unpublished: Vec<Arc<Commit>>,
    wakers: Vec<Waker>,
    live: u64,
    live_bytes: u64,
    /// Bytes of all versions that are not live.
    superseded_bytes: u64,
    pub(super) index: WatchIndex,
    pub(super) leases: LeaseTable,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            revision: Revision::FIRST,
            compacted: Revision(0),
            slots: HashMap::new(),
            order: BTreeMap::new(),
            histories: Slab::new(),
            log: VecDeque::new(),
            unpublished: Vec::new(),
            wakers: Vec::new(),
            live: 0,
            live_bytes: 0,
            superseded_bytes: 0,
            index: WatchIndex::default(),
            leases: LeaseTable::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.order.is_empty() && self.histories.is_empty()
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn status(&self) -> StoreStatus {
        StoreStatus {
            compacted: self.compacted,
            bytes: self.live_bytes + self.superseded_bytes,
            keys: self.live,
            watchers: self.index.watchers(),
            ..StoreStatus::at(self.revision)
        }
    }

    /// The commits after `revision`, which must not be older than the compacted one.
    pub(super) fn commits_after(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = &Arc<Commit>> + '_ {
        let first = self.log.front().map_or(self.revision.next(), |commit| commit.revision);
        let skip = (revision.0 + 1).saturating_sub(first.0);
        self.log.range(usize::try_from(skip).unwrap_or(usize::MAX).min(self.log.len())..)
    }

    fn check_readable(&self, at: Option<Revision>) -> Result<()> {
        match at {
            Some(requested) if requested > self.revision => {
                Err(Error::Future { requested, current: self.revision })
            }
            Some(requested) if requested < self.compacted => {
                Err(Error::Compacted { requested, compacted: self.compacted })
            }
            _ => Ok(()),
        }
    }

    /// Reads one key, the commonest read, without the detours of a range.
    pub(super) fn get(&self, key: &[u8], options: &RangeOptions) -> Result<Option<Arc<Record>>> {
        self.check_readable(options.at)?;
        let history = self.slots.get(key).map(|slot| &self.histories[*slot]);
        Ok(history.and_then(|history| history.at(options.at.unwrap_or(LATEST))).cloned())
    }

    /// Reads a range.
    pub(super) fn range(&self, range: &KeyRange, options: &RangeOptions) -> Result<Found> {
        self.check_readable(options.at)?;
        Ok(self.find(range, options, self.revision))
    }

    /// Reads a range at a revision that was checked; `now` is what the page says it shows.
    fn find(&self, range: &KeyRange, options: &RangeOptions, now: Revision) -> Found {
        let at = options.at.unwrap_or(LATEST);
        let limit = match options.count_only {
            true => 0,
            false => options.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX),
        };
        let mut found = Found {
            revision: options.at.unwrap_or(now),
            count_only: options.count_only,
            ..Found::default()
        };
        self.visit(range, |history| {
            if let Some(record) = history.at(at) {
                found.count += 1;
                if found.records.len() < limit {
                    found.records.push(Arc::clone(record));
                }
            }
        });
        found
    }

    /// Visits the histories of `range` in key order.
    fn visit<'a>(&'a self, range: &KeyRange, mut visit: impl FnMut(&'a History)) {
        if let Some(key) = range.as_single() {
            if let Some(slot) = self.slots.get(key) {
                visit(&self.histories[*slot]);
            }
            return;
        }
        let (start, end) = (range.start(), range.end());
        if end.as_ref().is_some_and(|end| end <= start) {
            return;
        }
        let bounds = (
            Bound::Included(&start[..]),
            end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..])),
        );
        for slot in self.order.range::<[u8], _>(bounds).map(|(_, slot)| *slot) {
            visit(&self.histories[slot]);
        }
    }

    fn live(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.slots.get(key).and_then(|slot| self.histories[*slot].live())
    }

    /// Does a transaction that [`plan::check`](super::plan::check) accepted.
    pub(super) fn txn(&mut self, txn: Txn, options: &MemoryOptions) -> Result<TxnResult> {
        let holds = |compare: &Compare| compare.holds(self.live(&compare.key).map(|r| &**r));
        let succeeded = txn.compares.iter().all(holds);
        let current = match succeeded {
            true => Vec::new(),
            false => txn
                .compares
                .iter()
                .map(|compare| self.live(&compare.key).map(|record| Record::clone(record)))
                .collect(),
        };
        let ops = if succeeded { txn.then } else { txn.otherwise };
        // From here on nothing fails: an error means that nothing was done.
        self.check_ops(&ops, options)?;
        let mut changes = Vec::with_capacity(ops.len());
        let responses = ops.into_iter().map(|op| self.apply(op, &mut changes)).collect();
        self.commit(changes);
        Ok(TxnResult { succeeded, revision: self.revision, responses, current })
    }

    fn check_ops(&self, ops: &[Op], options: &MemoryOptions) -> Result<()> {
        let mut grows = 0;
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    grows += (key.len() + value.bytes.len()) as u64;
                    if let Some(lease) = lease {
                        self.leases.check(*lease)?;
                    }
                }
                Op::Delete(_) => {}
                Op::Range(_, options) => self.check_readable(options.at)?,
            }
        }
        let used = self.live_bytes + self.superseded_bytes;
        if grows > 0 && used + grows > options.quota_bytes {
            return Err(Error::OverQuota { used, quota: options.quota_bytes });
        }
        Ok(())
    }

    fn apply(&mut self, op: Op, changes: &mut Vec<Change>) -> OpResult {
        match op {
            Op::Put { key, value, lease } => {
                let previous = self.write(key, Some((value, lease)), changes);
                OpResult::Put { previous: previous.map(|record| Record::clone(&record)) }
            }
            Op::Delete(range) => {
                let mut keys = Vec::new();
                self.visit(&range, |history| {
                    keys.extend(history.live().map(|record| record.key.clone()));
                });
                let deleted = keys.into_iter().filter_map(|key| self.write(key, None, changes));
                OpResult::Delete { deleted: deleted.map(|r| Record::clone(&r)).collect() }
            }
            Op::Range(range, options) => {
                let now = if changes.is_empty() { self.revision } else { self.revision.next() };
                let keys_only = options.keys_only;
                OpResult::Range(self.find(&range, &options, now).into_page(keys_only))
            }
        }
    }

    /// Makes the next version of a key, a deletion if `value` is none, and returns the live
    /// record it replaces.
    fn write(
        &mut self,
        key: Bytes,
        value: Option<(Value, Option<LeaseId>)>,
        changes: &mut Vec<Change>,
    ) -> Option<Arc<Record>> {
        let modified = self.revision.next();
        let slot = self.slots.get(&key).copied();
        let previous = slot.and_then(|slot| self.histories[slot].live().cloned());
        if let Some(lease) = previous.as_ref().and_then(|record| record.lease) {
            self.leases.detach(lease, &key);
        }
        let record = Arc::new(match value {
            Some((value, lease)) => {
                if let Some(lease) = lease {
                    self.leases.attach(lease, key.clone());
                }
                let created = previous.as_ref().map_or(modified, |record| record.created);
                let version = previous.as_ref().map_or(1, |record| record.version + 1);
                // Share the key's bytes with the version before.
                let key = previous.as_ref().map_or(key, |record| record.key.clone());
                Record { key, value, created, modified, version, lease }
            }
            None => Record {
                key,
                value: Value::default(),
                created: Revision(0),
                modified,
                version: 0,
                lease: None,
            },
        });
        self.account(&record, previous.as_deref());
        match slot {
            Some(slot) => self.histories[slot].push(Arc::clone(&record)),
            None => {
                let slot = self.histories.insert(History::new(Arc::clone(&record)));
                self.slots.insert(record.key.clone(), slot);
                self.order.insert(record.key.clone(), slot);
            }
        }
        changes.push(Change { record, previous: previous.clone() });
        previous
    }

    fn account(&mut self, record: &Record, previous: Option<&Record>) {
        if let Some(previous) = previous {
            self.live -= 1;
            self.live_bytes -= previous.size() as u64;
            self.superseded_bytes += previous.size() as u64;
        }
        if record.version > 0 {
            self.live += 1;
            self.live_bytes += record.size() as u64;
        } else {
            self.superseded_bytes += record.size() as u64;
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.revision = self.revision.next();
        let commit = Arc::new(Commit { revision: self.revision, changes });
        if !self.index.is_empty() {
            self.unpublished.push(Arc::clone(&commit));
        }
        self.log.push_back(commit);
    }

    /// Deletes `keys` at one revision.
    pub(super) fn delete(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        let mut changes = Vec::new();
        for key in keys {
            self.write(key, None, &mut changes);
        }
        self.commit(changes);
    }

    /// Ends every lease whose time has come.
    pub(super) fn expire_leases(&mut self, now: Instant) {
        while let Some(keys) = self.leases.pop_due(now) {
            self.delete(keys);
        }
    }

    /// Puts new commits into the rings of the ranges they touch.
    pub(super) fn publish(&mut self, options: &MemoryOptions) {
        for commit in std::mem::take(&mut self.unpublished) {
            self.index.publish(&commit, options, &mut self.wakers);
        }
    }

    /// The watchers to wake once the lock is released.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Forgets what was superseded at or before `through`.
    pub(super) fn compact(&mut self, through: Revision) -> Result<()> {
        if through > self.revision {
            return Err(Error::Future { requested: through, current: self.revision });
        }
        while self.compacted < through && self.compact_oldest(through) {}
        self.compacted = self.compacted.max(through);
        Ok(())
    }

    /// Forgets the oldest commit if it is not after `through`.
    fn compact_oldest(&mut self, through: Revision) -> bool {
        let Some(commit) = self.log.pop_front_if(|commit| commit.revision <= through) else {
            return false;
        };
        self.compacted = commit.revision;
        for change in &commit.changes {
            let Some(slot) = self.slots.get(&change.record.key).copied() else { continue };
            let history = &mut self.histories[slot];
            self.superseded_bytes -= history.compact(commit.revision);
            if history.is_gone(commit.revision) {
                self.superseded_bytes -= history.latest.size() as u64;
                self.histories.remove(slot);
                self.slots.remove(&change.record.key);
                self.order.remove(&change.record.key);
            }
        }
        true
    }

    /// Compacts what is beyond the bounds of the options, a bounded step at a time.
    pub(super) fn trim(&mut self, options: &MemoryOptions) {
        for _ in 0..TRIM_STEPS {
            let over = self.log.len() as u64 > options.retain_revisions
                || self.superseded_bytes > options.retain_bytes;
            if !over || !self.compact_oldest(self.revision) {
                break;
            }
        }
    }
}
