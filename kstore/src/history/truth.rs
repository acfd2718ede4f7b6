//! What was written, as a model that any store must agree with.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Event, EventKind, KeyRange, Record, Revision, Value};

/// What one revision did to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key after it; `None` if it was deleted.
    pub now: Option<Record>,
    /// The key before it; `None` if it was absent.
    pub before: Option<Record>,
}

/// Every change, by revision and key.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    changes: BTreeMap<(Revision, Bytes), Change>,
    live: BTreeMap<Bytes, Record>,
}

impl Truth {
    /// The keys that exist now.
    #[must_use]
    pub fn live(&self) -> &BTreeMap<Bytes, Record> {
        &self.live
    }

    /// Notes that `revision` wrote `value` under `key`.
    pub fn put(&mut self, revision: Revision, key: impl Into<Bytes>, value: impl Into<Value>) {
        let key = key.into();
        let before = self.live.get(&key).cloned();
        let now = Record {
            key: key.clone(),
            value: value.into(),
            created: before.as_ref().map_or(revision, |record| record.created),
            modified: revision,
            version: before.as_ref().map_or(1, |record| record.version + 1),
            lease: None,
        };
        self.live.insert(key.clone(), now.clone());
        self.changes.insert((revision, key), Change { now: Some(now), before });
    }

    /// Notes that `revision` deleted the keys of `range`.
    pub fn delete(&mut self, revision: Revision, range: &KeyRange) {
        let gone: Vec<Bytes> =
            self.live.keys().filter(|key| range.contains(key)).cloned().collect();
        for key in gone {
            let before = self.live.remove(&key);
            self.changes.insert((revision, key), Change { now: None, before });
        }
    }

    /// The change of `key` at `revision`.
    #[must_use]
    pub fn change(&self, revision: Revision, key: &Bytes) -> Option<&Change> {
        self.changes.get(&(revision, key.clone()))
    }

    /// The events that a watch of `range` after `after` should tell up to `through`, without
    /// previous records.
    #[must_use]
    pub fn events(&self, range: &KeyRange, after: Revision, through: Revision) -> Vec<Event> {
        self.changes
            .iter()
            .filter(|((revision, key), _)| {
                *revision > after && *revision <= through && range.contains(key)
            })
            .map(|((revision, key), change)| change.to_event(*revision, key))
            .collect()
    }
}

impl Change {
    fn to_event(&self, revision: Revision, key: &Bytes) -> Event {
        let deleted = || Record {
            key: key.clone(),
            value: Value::default(),
            created: Revision(0),
            modified: revision,
            version: 0,
            lease: None,
        };
        Event {
            kind: if self.now.is_some() { EventKind::Put } else { EventKind::Delete },
            record: self.now.clone().unwrap_or_else(deleted),
            previous: None,
        }
    }
}
