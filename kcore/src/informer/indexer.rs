//! The cache of an informer: objects by key and by indices.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Change;
use crate::name::NamespacedName;
use crate::object::Object;
use crate::selector::LabelSelector;

type Key = Arc<NamespacedName>;
type IndexFn = Arc<dyn Fn(&Object) -> Vec<String> + Send + Sync>;
type Bucket = BTreeMap<Key, Object>;

/// Names one index of an [`Indexer`]: what `Indexer::add_index` returned, of that indexer or of
/// the informer around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(usize);

impl Index {
    /// The index by the uids of owners, which every indexer has.
    pub const OWNER_UID: Self = Self(0);
}

/// Objects by key, by namespace, by the uids of their owners, and by indices of your own.
///
/// Reads return handles in the order of keys, and never copy an object. One lock is held for the
/// length of one read or of one change.
pub struct Indexer(RwLock<State>);

struct State {
    objects: BTreeMap<Key, Slot>,
    indices: Vec<NamedIndex>,
}

struct Slot {
    object: Object,
    /// Where the object is indexed: index and value.
    values: Box<[(usize, Arc<str>)]>,
}

struct NamedIndex {
    name: String,
    index: IndexFn,
    buckets: BTreeMap<Arc<str>, Bucket>,
}

impl Default for Indexer {
    fn default() -> Self {
        let owners = |object: &Object| {
            object.meta().owners.iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>()
        };
        let by_owner = NamedIndex {
            name: "ownerUID".to_owned(),
            index: Arc::new(owners),
            buckets: BTreeMap::new(),
        };
        Self(RwLock::new(State { objects: BTreeMap::new(), indices: vec![by_owner] }))
    }
}

impl Indexer {
    /// Adds an index: `values` says under which values an object is found. It must always say the
    /// same of the same object. An index of that name that exists already is returned as it is,
    /// so that those who share an indexer share the index: give a name one meaning.
    pub fn add_index(
        &self,
        name: &str,
        values: impl Fn(&Object) -> Vec<String> + Send + Sync + 'static,
    ) -> Index {
        let mut state = self.0.write();
        if let Some(at) = state.indices.iter().position(|index| index.name == name) {
            return Index(at);
        }
        let index =
            NamedIndex { name: name.into(), index: Arc::new(values), buckets: BTreeMap::new() };
        state.indices.push(index);
        let keys: Vec<Key> = state.objects.keys().cloned().collect();
        for key in keys {
            if let Some(slot) = state.remove(&key) {
                state.insert(key, slot.object);
            }
        }
        Index(state.indices.len() - 1)
    }

    /// The object at `key`.
    #[must_use]
    pub fn get(&self, key: &NamespacedName) -> Option<Object> {
        self.0.read().objects.get(key).map(|slot| slot.object.clone())
    }

    /// The objects in a namespace, or in all of them, that a selector selects.
    #[must_use]
    pub fn select(&self, namespace: Option<&str>, labels: &LabelSelector) -> Vec<Object> {
        let state = self.0.read();
        let selected =
            |slot: &Slot| labels.matches(&slot.object.meta().labels).then(|| slot.object.clone());
        match namespace {
            None => state.objects.values().filter_map(selected).collect(),
            Some(namespace) => state
                .objects
                .range(NamespacedName::new(namespace, "")..)
                .take_while(|(key, _)| key.namespace == namespace)
                .filter_map(|(_, slot)| selected(slot))
                .collect(),
        }
    }

    /// The objects that an index has under `value`.
    #[must_use]
    pub fn by_index(&self, index: Index, value: &str) -> Vec<Object> {
        let state = self.0.read();
        let bucket = state.indices.get(index.0).and_then(|index| index.buckets.get(value));
        bucket.map(|bucket| bucket.values().cloned().collect()).unwrap_or_default()
    }

    /// The values under which an index has objects, in order.
    #[must_use]
    pub fn index_values(&self, index: Index) -> Vec<String> {
        let state = self.0.read();
        let buckets = state.indices.get(index.0).map(|index| &index.buckets);
        buckets.into_iter().flat_map(BTreeMap::keys).map(ToString::to_string).collect()
    }

    /// The keys of all objects, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<NamespacedName>> {
        self.0.read().objects.keys().cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an object's state in, and returns what that changed: nothing if this state of it was
    /// there, two changes if another object of the same name was. Readers never see a gap.
    pub fn put(&self, object: Object) -> Vec<Change<Object>> {
        let mut state = self.0.write();
        let key = Arc::new(object.meta().key());
        let same = |old: &Object| {
            old.resource_version() == object.resource_version()
                && old.meta().uid == object.meta().uid
        };
        if state.objects.get(&key).is_some_and(|slot| same(&slot.object)) {
            return Vec::new();
        }
        let old = state.remove(&key);
        state.insert(key, object.clone());
        match old.map(|slot| slot.object) {
            None => vec![Change::Added(object)],
            Some(old) if old.meta().uid == object.meta().uid => {
                vec![Change::Updated { old, new: object }]
            }
            Some(old) => vec![Change::Deleted(old), Change::Added(object)],
        }
    }

    /// Takes an object out. `last` is its last state, where that is known.
    pub fn remove(&self, key: &NamespacedName, last: Option<Object>) -> Option<Change<Object>> {
        let slot = self.0.write().remove(key)?;
        Some(Change::Deleted(last.unwrap_or(slot.object)))
    }
}

impl State {
    fn insert(&mut self, key: Key, object: Object) {
        let mut values = Vec::new();
        for (at, index) in self.indices.iter_mut().enumerate() {
            for value in (index.index)(&object) {
                let value = match index.buckets.get_key_value(value.as_str()) {
                    Some((known, _)) => Arc::clone(known),
                    None => Arc::from(value),
                };
                let bucket = index.buckets.entry(Arc::clone(&value)).or_default();
                bucket.insert(Arc::clone(&key), object.clone());
                values.push((at, value));
            }
        }
        self.objects.insert(key, Slot { object, values: values.into() });
    }

    fn remove(&mut self, key: &NamespacedName) -> Option<Slot> {
        let slot = self.objects.remove(key)?;
        for (at, value) in &slot.values {
            let buckets = &mut self.indices[*at].buckets;
            if let Some(bucket) = buckets.get_mut(value) {
                bucket.remove(key);
                if bucket.is_empty() {
                    buckets.remove(value);
                }
            }
        }
        Some(slot)
    }
}

impl fmt::Debug for Indexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indexer").field("objects", &self.len()).finish_non_exhaustive()
    }
}
