//! Typed reads of an informer's cache.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Index, Indexer};
use crate::kind::Kind;
use crate::name::NamespacedName;
use crate::object::Object;
use crate::selector::LabelSelector;

/// Reads the cache of a [`SharedInformer`](super::SharedInformer). Cheap to clone.
///
/// What it returns is shared with every other reader; clone a value to change it.
pub struct Lister<K> {
    indexer: Arc<Indexer>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Lister<K> {
    /// Reads an indexer whose objects are all `K`s. Others are left out.
    #[must_use]
    pub fn new(indexer: Arc<Indexer>) -> Self {
        Self { indexer, kind: PhantomData }
    }

    /// The object of that name; the namespace is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&NamespacedName::new(namespace, name))
    }

    /// The object at `key`.
    #[must_use]
    pub fn get_key(&self, key: &NamespacedName) -> Option<Arc<K>> {
        self.indexer.get(key).and_then(|object| view(&object))
    }

    /// All objects, in the order of their keys.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.select(None, &LabelSelector::everything())
    }

    /// The objects of a namespace that a selector selects, in the order of their names.
    #[must_use]
    pub fn list_in(&self, namespace: &str, labels: &LabelSelector) -> Vec<Arc<K>> {
        self.select(Some(namespace), labels)
    }

    /// The objects of a namespace, or of all, that a selector selects.
    #[must_use]
    pub fn select(&self, namespace: Option<&str>, labels: &LabelSelector) -> Vec<Arc<K>> {
        views(&self.indexer.select(namespace, labels))
    }

    /// The objects that an index has under `value`.
    #[must_use]
    pub fn by_index(&self, index: Index, value: &str) -> Vec<Arc<K>> {
        views(&self.indexer.by_index(index, value))
    }

    /// The objects owned by the object with `uid`.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.by_index(Index::OWNER_UID, uid)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indexer.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indexer.is_empty()
    }

    /// The cache underneath, for reads without a type.
    #[must_use]
    pub fn indexer(&self) -> &Arc<Indexer> {
        &self.indexer
    }
}

fn views<K: Kind>(objects: &[Object]) -> Vec<Arc<K>> {
    objects.iter().filter_map(view).collect()
}

/// The informer lets no object in that cannot be decoded, so none is lost here.
fn view<K: Kind>(object: &Object) -> Option<Arc<K>> {
    object
        .view()
        .inspect_err(|error| tracing::error!(%object, %error, "a cached object is left out"))
        .ok()
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { indexer: Arc::clone(&self.indexer), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Lister<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lister").field(&self.indexer).finish()
    }
}
