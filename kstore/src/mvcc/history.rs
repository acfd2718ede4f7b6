//! The versions of one key, and the commits that made them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, EventKind, Page, Record, Revision};

/// One transaction's changes.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<Change>,
}

/// One change of one key; a record of version 0 is a deletion.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) record: Arc<Record>,
    pub(crate) previous: Option<Arc<Record>>,
}

impl Commit {
    /// The bytes it keeps from being freed, roughly.
    pub(crate) fn size(&self) -> u64 {
        self.changes.iter().map(|change| change.record.size() as u64).sum()
    }
}

impl Change {
    pub(super) fn to_event(&self, previous: bool) -> Event {
        Event {
            kind: if self.record.version == 0 { EventKind::Delete } else { EventKind::Put },
            record: Record::clone(&self.record),
            previous: self.previous.as_deref().filter(|_| previous).cloned(),
        }
    }
}

/// The versions of one key that are kept, oldest first, the latest apart.
#[derive(Debug)]
pub(super) struct History {
    pub(super) latest: Arc<Record>,
    older: VecDeque<Arc<Record>>,
}

impl History {
    pub(super) fn new(first: Arc<Record>) -> Self {
        Self { latest: first, older: VecDeque::new() }
    }

    /// The key's record now, if it exists.
    pub(super) fn live(&self) -> Option<&Arc<Record>> {
        (self.latest.version > 0).then_some(&self.latest)
    }

    /// The key's record at `revision`, if it existed.
    pub(super) fn at(&self, revision: Revision) -> Option<&Arc<Record>> {
        if self.latest.modified <= revision {
            return self.live();
        }
        let newer = self.older.partition_point(|record| record.modified <= revision);
        self.older.get(newer.checked_sub(1)?).filter(|record| record.version > 0)
    }

    pub(super) fn push(&mut self, record: Arc<Record>) {
        let superseded = std::mem::replace(&mut self.latest, record);
        self.older.push_back(superseded);
    }

    /// Forgets the versions that nobody can see who reads at `through` or later, and returns
    /// their bytes.
    pub(super) fn compact(&mut self, through: Revision) -> u64 {
        let mut freed = 0;
        while let Some(oldest) = self.older.front() {
            let next = self.older.get(1).unwrap_or(&self.latest).modified;
            let invisible = oldest.version == 0 && oldest.modified <= through;
            if next > through && !invisible {
                break;
            }
            freed += oldest.size() as u64;
            self.older.pop_front();
        }
        freed
    }

    /// True if only a deletion at or before `through` is left.
    pub(super) fn is_gone(&self, through: Revision) -> bool {
        self.older.is_empty() && self.latest.version == 0 && self.latest.modified <= through
    }
}

/// The records a range read found, still shared with the store.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) revision: Revision,
    pub(super) count: u64,
    pub(super) count_only: bool,
}

impl Found {
    /// The page, with records of its own.
    pub(super) fn into_page(self, keys_only: bool) -> Page {
        let records: Vec<Record> = self.records.iter().map(|r| copy(r, keys_only)).collect();
        let more = !self.count_only && self.count > records.len() as u64;
        Page { records, revision: self.revision, more, count: self.count }
    }
}

/// The page of a read of one key.
pub(super) fn page_of_one(found: Option<&Record>, revision: Revision, keys_only: bool) -> Page {
    let records: Vec<Record> = found.map(|record| copy(record, keys_only)).into_iter().collect();
    Page { count: records.len() as u64, records, revision, more: false }
}

fn copy(record: &Record, keys_only: bool) -> Record {
    match keys_only {
        false => record.clone(),
        true => {
            let (key, value) = (record.key.clone(), crate::Value::default());
            Record { key, value, ..*record }
        }
    }
}
