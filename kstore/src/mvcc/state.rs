//! What a store in memory holds, and every change of it. Nothing here waits.
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
use super::entry::Entry;
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
pub(crate) struct State {
    /// The newest revision, which transactions are decided over.
    pub(super) newest: Revision,
    /// The newest revision that nothing can undo: all that readers and watchers see (S2).
    pub(super) durable: Revision,
    /// The newest revision that is in the watch rings.
    pub(super) published: Revision,
    pub(super) compacted: Revision,
    /// No revision up to here comes again, whatever the journal below lost.
    pub(super) reserved: Revision,
    /// Where each key's history is, for point reads.
    pub(super) slots: HashMap<Bytes, usize>,
    /// The same in key order, for ranges.
    pub(super) order: BTreeMap<Bytes, usize>,
    pub(super) histories: Slab<History>,
    /// Every commit after the compacted revision; each revision has exactly one.
    log: VecDeque<Arc<Commit>>,
    /// What a journal has not been given yet; none if there is no journal.
    pub(super) entries: Option<Vec<Entry>>,
    /// What somebody reads in pieces: no history after it is forgotten.
    pub(super) pinned: Vec<Revision>,
    wakers: Vec<Waker>,
    live: u64,
    live_bytes: u64,
    /// Bytes of all versions that are not live.
    superseded_bytes: u64,
    pub(crate) index: WatchIndex,
    pub(super) leases: LeaseTable,
}

impl State {
    /// An empty state.
    pub(crate) fn new() -> Self {
        Self {
            newest: Revision::FIRST,
            durable: Revision::FIRST,
            published: Revision::FIRST,
            compacted: Revision(0),
            reserved: Revision(0),
            slots: HashMap::new(),
            order: BTreeMap::new(),
            histories: Slab::new(),
            log: VecDeque::new(),
            entries: None,
            pinned: Vec::new(),
            wakers: Vec::new(),
            live: 0,
            live_bytes: 0,
            superseded_bytes: 0,
            index: WatchIndex::default(),
            leases: LeaseTable::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.order.is_empty() && self.histories.is_empty()
    }

    /// The revision that readers see.
    pub(super) fn revision(&self) -> Revision {
        self.durable
    }

    /// The newest revision, which may still be undone by a power cut.
    pub(crate) fn newest(&self) -> Revision {
        self.newest
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
            ..StoreStatus::at(self.durable)
        }
    }

    /// The commits after `revision`, which must not be older than the compacted one, that
    /// readers see.
    pub(super) fn commits_after(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = &Arc<Commit>> + '_ {
        let first = self.log.front().map_or(self.newest.next(), |commit| commit.revision);
        let skip = (revision.0 + 1).saturating_sub(first.0);
        let from = usize::try_from(skip).unwrap_or(usize::MAX).min(self.log.len());
        self.log.range(from..).take_while(|commit| commit.revision <= self.durable)
    }

    fn check_readable(&self, at: Option<Revision>) -> Result<()> {
        match at {
            Some(requested) if requested > self.durable => {
                Err(Error::Future { requested, current: self.durable })
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
        Ok(history.and_then(|history| history.at(options.at.unwrap_or(self.durable))).cloned())
    }

    /// Reads a range.
    pub(super) fn range(&self, range: &KeyRange, options: &RangeOptions) -> Result<Found> {
        self.check_readable(options.at)?;
        Ok(self.find(range, options, self.durable, self.durable))
    }

    /// Reads a range at a revision that was checked, at `latest` if none was asked for; `now` is
    /// what the page says it shows then.
    fn find(
        &self,
        range: &KeyRange,
        options: &RangeOptions,
        latest: Revision,
        now: Revision,
    ) -> Found {
        let at = options.at.unwrap_or(latest);
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
        Ok(TxnResult { succeeded, revision: self.newest, responses, current })
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
                let now = if changes.is_empty() { self.newest } else { self.newest.next() };
                let keys_only = options.keys_only;
                OpResult::Range(self.find(&range, &options, LATEST, now).into_page(keys_only))
            }
        }
    }

    /// Makes the next version of a key, a deletion if `value` is none, and returns the live
    /// record it replaces.
    pub(super) fn write(
        &mut self,
        key: Bytes,
        value: Option<(Value, Option<LeaseId>)>,
        changes: &mut Vec<Change>,
    ) -> Option<Arc<Record>> {
        let modified = self.newest.next();
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

    pub(super) fn account(&mut self, record: &Record, previous: Option<&Record>) {
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

    pub(super) fn commit(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.newest = self.newest.next();
        let commit = Arc::new(Commit { revision: self.newest, changes });
        self.note(|| Entry::Commit(Arc::clone(&commit)));
        self.log.push_back(commit);
    }

    /// Writes something down, if there is a journal.
    pub(super) fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(entries) = &mut self.entries {
            entries.push(entry());
        }
    }

    /// What was written down since it was last taken.
    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        self.entries.as_mut().map(std::mem::take).unwrap_or_default()
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
        while let Some((lease, keys)) = self.leases.pop_due(now) {
            self.delete(keys);
            self.note(|| Entry::End { lease });
        }
    }

    /// Nothing can undo what happened up to `revision`: readers see it, and watchers are told.
    pub(super) fn settle(&mut self, revision: Revision, options: &MemoryOptions) {
        self.durable = self.durable.max(revision);
        if !self.index.is_empty() {
            let mut wakers = std::mem::take(&mut self.wakers);
            for commit in self.commits_after(self.published) {
                self.index.publish(commit, options, &mut wakers);
            }
            self.wakers = wakers;
        }
        self.published = self.durable;
    }

    /// The watchers to wake once the lock is released.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Refuses to show what was superseded at or before `through`; what that leaves to be freed
    /// [`trim`](Self::trim) frees in steps.
    pub(super) fn compact(&mut self, through: Revision) -> Result<()> {
        if through > self.durable {
            return Err(Error::Future { requested: through, current: self.durable });
        }
        if self.compacted < through {
            self.compacted = through;
            self.note(|| Entry::Compact { through });
        }
        Ok(())
    }

    /// Whether what was compacted is still there, and may go.
    pub(super) fn is_late(&self) -> bool {
        let through = self.pinned.iter().copied().fold(self.compacted, Revision::min);
        self.log.front().is_some_and(|commit| commit.revision <= through)
    }

    /// Forgets what was compacted, all of it at once.
    pub(super) fn forget_compacted(&mut self) {
        while self.compact_oldest(self.compacted) {}
    }

    /// Forgets all but the present.
    pub(super) fn forget_history(&mut self) {
        while self.compact_oldest(LATEST) {}
    }

    /// Forgets the oldest commit if it is not after `through`.
    fn compact_oldest(&mut self, through: Revision) -> bool {
        let through = self.pinned.iter().copied().fold(through, Revision::min);
        let Some(commit) = self.log.pop_front_if(|commit| commit.revision <= through) else {
            return false;
        };
        self.compacted = self.compacted.max(commit.revision);
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
                || self.superseded_bytes > options.retain_bytes
                || self.is_late();
            if !over || !self.compact_oldest(self.durable) {
                break;
            }
        }
    }
}
