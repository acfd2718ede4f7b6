//! What the store holds, and what transactions do to it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kstore::{
    Error, Event, EventKind, KeyRange, LeaseId, Op, OpResult, Page, RangeOptions, Record, Result,
    Revision, Txn, TxnResult, Value,
};

use super::LogOptions;

/// The present, and how it came about.
#[derive(Debug)]
pub(super) struct State {
    options: LogOptions,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) now: BTreeMap<Bytes, Record>,
    /// Every change after the compacted revision, in order, with what it replaced.
    pub(super) log: VecDeque<Event>,
    /// Keys and values of the present and of what the log replaced.
    pub(super) bytes: u64,
}

impl State {
    pub(super) fn new(options: LogOptions) -> Self {
        Self {
            options,
            revision: Revision::FIRST,
            compacted: Revision(0),
            now: BTreeMap::new(),
            log: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Fails unless the revision asked for can be shown.
    fn shown(&self, at: Option<Revision>) -> Result<Revision> {
        let requested = at.unwrap_or(self.revision);
        if requested > self.revision {
            return Err(Error::Future { requested, current: self.revision });
        }
        if requested < self.compacted {
            return Err(Error::Compacted { requested, compacted: self.compacted });
        }
        Ok(requested)
    }

    /// The changes after `revision`.
    pub(super) fn after(&self, revision: Revision) -> impl DoubleEndedIterator<Item = &Event> {
        let start = self.log.partition_point(|event| event.record.modified <= revision);
        self.log.range(start..)
    }

    /// The present with every change after the revision undone, the latest first.
    pub(super) fn read(&self, range: &KeyRange, options: &RangeOptions) -> Result<Page> {
        let revision = self.shown(options.at)?;
        let from_start = self.now.range(range.start().clone()..);
        let end = range.end();
        let mut then: BTreeMap<&Bytes, &Record> =
            from_start.take_while(|(key, _)| end.as_ref().is_none_or(|end| *key < end)).collect();
        for event in self.after(revision).rev().filter(|event| range.contains(&event.record.key)) {
            match &event.previous {
                Some(previous) => then.insert(&previous.key, previous),
                None => then.remove(&event.record.key),
            };
        }
        let count = then.len();
        let limit = if options.count_only { 0 } else { options.limit.unwrap_or(usize::MAX) };
        let show = |record: &Record| match options.keys_only {
            true => Record { value: Value::default(), ..record.clone() },
            false => record.clone(),
        };
        let records = then.into_values().take(limit).map(show).collect();
        let more = count > limit && !options.count_only;
        Ok(Page { records, revision, more, count: count as u64 })
    }

    /// Does all of a transaction, or nothing of it.
    pub(super) fn commit(&mut self, txn: Txn) -> Result<TxnResult> {
        let held = |key: &Bytes| self.now.get(key);
        let succeeded = txn.compares.iter().all(|compare| compare.holds(held(&compare.key)));
        let seen = if succeeded { &[][..] } else { &txn.compares };
        let current = seen.iter().map(|compare| held(&compare.key).cloned()).collect();
        check(&txn.then)?;
        check(&txn.otherwise)?;
        let ops = if succeeded { txn.then } else { txn.otherwise };
        self.admit(&ops)?;
        let writing = self.revision.next();
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            responses.push(match op {
                Op::Put { key, value, .. } => {
                    OpResult::Put { previous: self.put(writing, key, value) }
                }
                Op::Delete(range) => OpResult::Delete { deleted: self.delete(writing, &range) },
                Op::Range(range, options) => OpResult::Range(self.read(&range, &options)?),
            });
        }
        self.forget();
        Ok(TxnResult { succeeded, revision: self.revision, responses, current })
    }

    /// What stands against operations in this state.
    fn admit(&self, ops: &[Op]) -> Result<()> {
        let mut added = 0;
        for op in ops {
            match op {
                Op::Put { lease: Some(lease), .. } => return Err(no_lease(*lease)),
                Op::Put { key, value, .. } => added += (key.len() + value.bytes.len()) as u64,
                Op::Range(_, options) => drop(self.shown(options.at)?),
                Op::Delete(_) => {}
            }
        }
        if added > 0 && self.bytes + added > self.options.quota_bytes {
            let quota = self.options.quota_bytes;
            return Err(Error::OverQuota { used: self.bytes, quota });
        }
        Ok(())
    }

    fn put(&mut self, revision: Revision, key: Bytes, value: Value) -> Option<Record> {
        let previous = self.now.get(&key).cloned();
        let (created, version) =
            previous.as_ref().map_or((revision, 0), |record| (record.created, record.version));
        let version = version + 1;
        let record = Record { key, value, created, modified: revision, version, lease: None };
        self.bytes += record.size() as u64;
        self.now.insert(record.key.clone(), record.clone());
        self.tell(Event { kind: EventKind::Put, record, previous: previous.clone() });
        previous
    }

    fn delete(&mut self, revision: Revision, range: &KeyRange) -> Vec<Record> {
        let start = range.start().clone();
        let keys = self.now.range(start..).take_while(|(key, _)| range.contains(key));
        let keys: Vec<Bytes> = keys.map(|(key, _)| key.clone()).collect();
        let deleted: Vec<Record> = keys.iter().filter_map(|key| self.now.remove(key)).collect();
        for previous in &deleted {
            let record = Record {
                key: previous.key.clone(),
                value: Value::default(),
                created: Revision(0),
                modified: revision,
                version: 0,
                lease: None,
            };
            let previous = Some(previous.clone());
            self.tell(Event { kind: EventKind::Delete, record, previous });
        }
        deleted
    }

    fn tell(&mut self, event: Event) {
        self.revision = event.record.modified;
        self.log.push_back(event);
    }

    /// Keeps the log within its bound.
    fn forget(&mut self) {
        if let Some(surplus) = self.log.len().checked_sub(self.options.history.max(1) + 1) {
            self.cut(self.log[surplus].record.modified);
        }
    }

    pub(super) fn compact(&mut self, through: Revision) -> Result<()> {
        if through > self.revision {
            return Err(Error::Future { requested: through, current: self.revision });
        }
        self.cut(through);
        Ok(())
    }

    fn cut(&mut self, through: Revision) {
        self.compacted = self.compacted.max(through);
        while let Some(event) = self.log.pop_front_if(|event| event.record.modified <= through) {
            self.bytes -= event.previous.map_or(0, |record| record.size() as u64);
        }
    }
}

fn no_lease(lease: LeaseId) -> Error {
    Error::LeaseNotFound { lease }
}

/// What can be said against operations without looking: a key is put once, and not also deleted.
fn check(ops: &[Op]) -> Result<()> {
    for (at, op) in ops.iter().enumerate() {
        let Op::Put { key, .. } = op else { continue };
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let writes = |other: &Op| match other {
            Op::Put { key: other, .. } => other == key,
            Op::Delete(range) => range.contains(key),
            Op::Range(..) => false,
        };
        let mut others = ops.iter().enumerate().filter(|(other, _)| *other != at);
        if others.any(|(_, other)| writes(other)) {
            return Err(Error::DuplicateKey { key: key.clone() });
        }
    }
    Ok(())
}
