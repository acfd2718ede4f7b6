//! One kind's objects as of the last applied revision, with their indexes and rings.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kcore::collections::HashMap;
use kcore::object::{Encoded, Object};
use kcore::selector::FieldSelector;
use kstore::Value;
use parking_lot::{Mutex, RwLock};

use super::key::{Slots, with_key};
use super::ring::{Change, Cursor, Lagged, Ring, RingLimits, Segment};
use super::waiters::Applied;
use crate::registry::Row;

/// What a kind's own ring keeps for watchers that come back.
const KIND_RING: RingLimits = RingLimits { changes: 32_768, bytes: 48 << 20 };
/// What the ring of one index bucket keeps. It lives only while somebody watches it.
const BUCKET_RING: RingLimits = RingLimits { changes: 2_048, bytes: 8 << 20 };
/// Buckets below which nobody looks for abandoned ones.
const MIN_BUCKETS: usize = 64;

/// The part of a collection that an index can single out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// One namespace.
    Namespace(String),
    /// One object, by its key.
    Key(String),
    /// The objects whose indexed field has a value.
    Field(&'static str, String),
}

/// A kind's objects.
#[derive(Debug)]
pub(crate) struct KindCache {
    row: Arc<Row>,
    indexed: &'static [&'static str],
    applied: Arc<Applied>,
    changes: AtomicU64,
    state: RwLock<State>,
    ring: Arc<Ring>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct State {
    /// The revision of the last change of the kind.
    revision: u64,
    /// By key: `namespace/name`, or `name`.
    ordered: BTreeMap<Arc<str>, Object>,
    by_key: Slots,
    by_field: HashMap<(&'static str, String), BTreeMap<Arc<str>, Object>>,
}

#[derive(Debug, Default)]
struct Buckets {
    rings: HashMap<Part, Arc<Ring>>,
    sweep_at: usize,
}

/// What a watcher starts with.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The state, if it was asked for.
    pub(crate) objects: Vec<Object>,
    /// Changes between the revision asked for and now.
    pub(crate) backlog: Vec<Arc<Segment>>,
    /// The revision of the state, and the last one of the backlog.
    pub(crate) revision: u64,
    /// Where the changes after that come from.
    pub(crate) ring: Arc<Ring>,
    /// Where in it they start; changes up to `revision` are to be skipped.
    pub(crate) cursor: Cursor,
}

impl KindCache {
    pub(crate) fn new(row: Arc<Row>, applied: Arc<Applied>) -> Self {
        Self {
            indexed: row.strategy.indexed(),
            row,
            applied,
            changes: AtomicU64::new(0),
            state: RwLock::default(),
            ring: Arc::new(Ring::new(0, KIND_RING)),
            buckets: Mutex::default(),
        }
    }

    pub(crate) fn row(&self) -> &Arc<Row> {
        &self.row
    }

    pub(crate) fn get(&self, key: &str) -> Option<Object> {
        self.state.read().by_key.get(key.as_bytes()).cloned()
    }

    /// The object of a name, in a namespace if the kind is namespaced.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Object> {
        if !self.row.resource.namespaced {
            return self.get(name);
        }
        with_key(namespace, name, |key| self.state.read().by_key.get(key).cloned())
    }

    /// How often the kind has changed since the server started: equal counts, equal state.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the state at `revision` is the one at hand.
    pub(crate) fn unchanged_since(&self, revision: u64) -> bool {
        self.state.read().revision <= revision
    }

    /// The revision after which a watch can still start.
    pub(crate) fn oldest_revision(&self) -> u64 {
        self.ring.since()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.read().ordered.len()
    }

    /// Bytes that the objects occupy, typed views apart.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.state.read().ordered.values().map(Object::counted_bytes).sum()
    }

    /// The objects of a part, in the order of their keys, after `after` if it is given, and the
    /// revision they show.
    pub(crate) fn list(&self, part: &Part, after: Option<&str>) -> (Vec<Object>, u64) {
        // Whatever was applied before the lock is taken is in.
        let applied = self.applied.revision();
        let state = self.state.read();
        (state.select(part, after), applied.max(state.revision))
    }

    /// The part of the collection that a namespace and a field selector single out.
    pub(crate) fn part(&self, namespace: Option<&str>, fields: &FieldSelector) -> Part {
        if let Some(name) = fields.required("metadata.name") {
            match namespace.or_else(|| fields.required("metadata.namespace")) {
                Some(namespace) => return Part::Key(format!("{namespace}/{name}")),
                None if !self.row.resource.namespaced => return Part::Key(name.to_owned()),
                None => {}
            }
        }
        for path in self.indexed {
            if let Some(value) = fields.required(path).filter(|value| !value.is_empty()) {
                return Part::Field(path, value.to_owned());
            }
        }
        match namespace.or_else(|| fields.required("metadata.namespace")) {
            Some(namespace) => Part::Namespace(namespace.to_owned()),
            None => Part::All,
        }
    }

    /// Starts a watch of a part: after a revision, or with the state.
    pub(crate) fn subscribe(
        &self,
        part: &Part,
        after: Option<u64>,
    ) -> Result<Subscription, Lagged> {
        let applied = self.applied.revision();
        // Changes are applied under the write lock, so nothing comes between the parts of this.
        let state = self.state.read();
        let revision = applied.max(state.revision);
        let ring = match part {
            Part::All => Arc::clone(&self.ring),
            part => self.bucket(part, revision),
        };
        let cursor = ring.end();
        let (objects, backlog) = match after {
            None => (state.select(part, None), Vec::new()),
            Some(after) => (Vec::new(), self.ring.after(after)?),
        };
        Ok(Subscription { objects, backlog, revision, ring, cursor })
    }

    fn bucket(&self, part: &Part, revision: u64) -> Arc<Ring> {
        let mut buckets = self.buckets.lock();
        if buckets.rings.len() >= buckets.sweep_at.max(MIN_BUCKETS) {
            buckets.rings.retain(|_, ring| Arc::strong_count(ring) > 1);
            buckets.sweep_at = buckets.rings.len() * 2;
        }
        let fresh = || Arc::new(Ring::new(revision, BUCKET_RING));
        Arc::clone(buckets.rings.entry(part.clone()).or_insert_with(fresh))
    }

    /// Decodes what the store holds.
    pub(crate) fn decode(&self, value: &Value, revision: u64) -> Result<Object, kcore::Error> {
        let encoded = match value.attached::<Encoded>() {
            Some(encoded) => Encoded::clone(&encoded),
            None => self.decode_bytes(&value.bytes)?,
        };
        Ok(Object::new(encoded, revision, Some(self.row.codec)))
    }

    fn decode_bytes(&self, bytes: &Bytes) -> Result<Encoded, kcore::Error> {
        let mut fields = Vec::new();
        if !self.row.strategy.selectable().is_empty() {
            let typed = (self.row.codec.decode)(bytes).map_err(|source| kcore::Error::Decode {
                what: format!("stored {}", self.row.resource.kind),
                source,
            })?;
            fields = self.row.strategy.fields(&*typed);
        }
        Encoded::from_stored(bytes.clone(), fields)
    }

    /// Applies a new state of an object, and returns the one before. Rings that have something to
    /// seal go into `dirty`.
    pub(crate) fn put(
        &self,
        key: &str,
        object: Object,
        dirty: &mut Vec<Arc<Ring>>,
    ) -> Option<Object> {
        let mut state = self.state.write();
        let revision = object.resource_version();
        let previous = state.insert(key, object.clone(), self.indexed);
        self.changes.fetch_add(1, Ordering::AcqRel);
        state.revision = state.revision.max(revision);
        let change = Change { revision, object, previous, deleted: false };
        self.publish(key, &change, dirty);
        change.previous
    }

    /// Applies a deletion at `revision`.
    pub(crate) fn delete(&self, key: &str, revision: u64, dirty: &mut Vec<Arc<Ring>>) {
        let mut state = self.state.write();
        state.revision = state.revision.max(revision);
        let Some(last) = state.remove(key, self.indexed) else { return };
        self.changes.fetch_add(1, Ordering::AcqRel);
        let object = last.at_version(revision);
        let change = Change { revision, object, previous: Some(last), deleted: true };
        self.publish(key, &change, dirty);
    }

    /// Takes in an object of the first listing, which no watcher needs to hear of.
    pub(crate) fn load(&self, key: &str, object: Object) {
        self.state.write().insert(key, object, self.indexed);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Says that the first listing, at `revision`, is in.
    pub(crate) fn start(&self, revision: u64) {
        self.state.write().revision = revision;
        self.ring.start(revision);
    }

    /// The keys of all objects: what a new listing is compared with.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        self.state.read().ordered.keys().cloned().collect()
    }

    /// Drops the typed views that nobody holds.
    pub(crate) fn drop_idle_views(&self) {
        for object in self.state.read().ordered.values() {
            object.drop_idle_view();
        }
    }

    /// Called under the state's write lock.
    fn publish(&self, key: &str, change: &Change, dirty: &mut Vec<Arc<Ring>>) {
        if self.ring.push(change.clone()) {
            dirty.push(Arc::clone(&self.ring));
        }
        let buckets = self.buckets.lock();
        if buckets.rings.is_empty() {
            return;
        }
        let mut send = |part: &Part| {
            if let Some(ring) = buckets.rings.get(part)
                && Arc::strong_count(ring) > 1
                && ring.push(change.clone())
            {
                dirty.push(Arc::clone(ring));
            }
        };
        let meta = change.object.meta();
        if self.row.resource.namespaced {
            send(&Part::Namespace(meta.namespace.clone()));
        }
        send(&Part::Key(key.to_owned()));
        for path in self.indexed {
            let new = meta.field(path);
            if !new.is_empty() {
                send(&Part::Field(path, new.to_owned()));
            }
            let old = change.previous.as_ref().map_or("", |old| old.meta().field(path));
            if !old.is_empty() && old != new {
                send(&Part::Field(path, old.to_owned()));
            }
        }
    }
}

impl State {
    fn insert(
        &mut self,
        key: &str,
        object: Object,
        indexed: &'static [&'static str],
    ) -> Option<Object> {
        let key: Arc<str> = key.into();
        let previous = self.by_key.insert(&key, object.clone());
        self.ordered.insert(Arc::clone(&key), object.clone());
        for path in indexed {
            let new = object.meta().field(path);
            let old = previous.as_ref().map_or("", |old| old.meta().field(path));
            if old != new {
                self.unindex(path, old, &key);
            }
            if !new.is_empty() {
                let bucket = self.by_field.entry((path, new.to_owned())).or_default();
                bucket.insert(Arc::clone(&key), object.clone());
            }
        }
        previous
    }

    fn remove(&mut self, key: &str, indexed: &'static [&'static str]) -> Option<Object> {
        let last = self.by_key.remove(key.as_bytes())?;
        self.ordered.remove(key);
        for path in indexed {
            self.unindex(path, last.meta().field(path), key);
        }
        Some(last)
    }

    fn unindex(&mut self, path: &'static str, value: &str, key: &str) {
        if value.is_empty() {
            return;
        }
        let at = (path, value.to_owned());
        if let Some(bucket) = self.by_field.get_mut(&at) {
            bucket.remove(key);
            if bucket.is_empty() {
                self.by_field.remove(&at);
            }
        }
    }

    fn select(&self, part: &Part, after: Option<&str>) -> Vec<Object> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        match part {
            Part::All => self
                .ordered
                .range::<str, _>((start, Bound::Unbounded))
                .map(|(_, o)| o.clone())
                .collect(),
            Part::Namespace(namespace) => {
                // '0' follows '/' in the order of bytes.
                let (first, end) = (format!("{namespace}/"), format!("{namespace}0"));
                let start = match after {
                    Some(after) if after >= first.as_str() => Bound::Excluded(after),
                    _ => Bound::Included(first.as_str()),
                };
                if after.is_some_and(|after| after >= end.as_str()) {
                    return Vec::new();
                }
                let range = self.ordered.range::<str, _>((start, Bound::Excluded(end.as_str())));
                range.map(|(_, object)| object.clone()).collect()
            }
            Part::Key(key) => {
                let late = after.is_none_or(|after| key.as_str() > after);
                self.by_key.get(key.as_bytes()).filter(|_| late).cloned().into_iter().collect()
            }
            Part::Field(path, value) => self
                .by_field
                .get(&(*path, value.clone()))
                .map(|bucket| {
                    bucket
                        .range::<str, _>((start, Bound::Unbounded))
                        .map(|(_, o)| o.clone())
                        .collect()
                })
                .unwrap_or_default(),
        }
    }
}
