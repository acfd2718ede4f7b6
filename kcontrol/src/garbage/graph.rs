//! Who owns whom, as the caches show it.

use std::sync::Arc;

use kcore::client::DiscoveredResource;
use kcore::informer::{Change, Index, Informers, ObjectInformer, Registration};
use kcore::name::{NamespacedName, Resource};
use kcore::object::{Meta, Object, Owner};
use kcore::queue::WorkQueue;
use kcore::selector::LabelSelector;
use parking_lot::RwLock;

use super::plan::{FOREGROUND, ORPHAN};

/// An object to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) resource: Arc<Resource>,
    pub(super) key: NamespacedName,
    pub(super) uid: String,
}

struct Source {
    resource: Arc<Resource>,
    informer: ObjectInformer,
}

/// The metadata of every object that can be collected. Its edges are the informers' owner index.
pub(super) struct Graph {
    informers: Informers,
    sources: RwLock<Vec<Source>>,
    pub(super) queue: WorkQueue<Item>,
}

/// Whether a deletion waits for what the collector has to do.
pub(super) fn waits(meta: &Meta) -> bool {
    meta.deletion.is_some() && meta.finalizers.iter().any(|one| one == FOREGROUND || one == ORPHAN)
}

/// Whether the collector has anything to do with objects of a resource.
fn is_collectable(found: &DiscoveredResource) -> bool {
    let can = |verb: &str| found.verbs.iter().any(|known| known == verb);
    // Events end by themselves, and are many.
    let event = found.resource.plural == "events";
    let whole = !found.resource.plural.contains('/');
    whole && !event && can("list") && can("watch") && can("delete") && can("patch")
}

impl Graph {
    pub(super) fn new(informers: Informers) -> Arc<Self> {
        let queue = WorkQueue::new();
        Arc::new(Self { informers, sources: RwLock::default(), queue })
    }

    /// Follows what is served and not yet followed; forgets what is served no longer.
    pub(super) fn follow(
        self: &Arc<Self>,
        discovered: Vec<DiscoveredResource>,
        registrations: &mut Vec<Registration>,
    ) {
        let mut wanted: Vec<Resource> = Vec::new();
        for found in discovered.into_iter().filter(is_collectable) {
            let same = |known: &Resource| {
                known.group == found.resource.group && known.plural == found.resource.plural
            };
            // One version of a resource shows all its objects.
            if !wanted.iter().any(same) {
                wanted.push(found.resource);
            }
        }
        self.sources.write().retain(|source| wanted.contains(&source.resource));
        for resource in wanted {
            if self.sources.read().iter().any(|source| *source.resource == resource) {
                continue;
            }
            let resource = Arc::new(resource);
            let informer = self.informers.metadata(Resource::clone(&resource));
            let source = Source { resource: Arc::clone(&resource), informer: informer.clone() };
            self.sources.write().push(source);
            let this = Arc::clone(self);
            registrations.push(informer.on_change(move |change| this.note(&resource, change)));
        }
    }

    pub(super) async fn wait_for_sync(&self) {
        let informers: Vec<ObjectInformer> =
            self.sources.read().iter().map(|source| source.informer.clone()).collect();
        for informer in informers {
            informer.wait_for_sync().await;
        }
    }

    fn item(resource: &Arc<Resource>, meta: &Meta) -> Item {
        Item { resource: Arc::clone(resource), key: meta.key(), uid: meta.uid.clone() }
    }

    /// Queues whom a change concerns.
    fn note(&self, resource: &Arc<Resource>, change: &Change<Object>) {
        let meta = change.latest().meta();
        if change.is_deleted() {
            for (dependent, object) in self.dependents(resource, meta) {
                self.queue.add(Self::item(&dependent, object.meta()));
            }
            for owner in &meta.owners {
                if let Some((kind, object)) = self.owner(meta, owner)
                    && waits(object.meta())
                {
                    self.queue.add(Self::item(&kind, object.meta()));
                }
            }
        } else if waits(meta) || !self.is_settled(meta) {
            self.queue.add(Self::item(resource, meta));
        }
    }

    /// Queues everything that may need work: what a missed event would have told.
    pub(super) fn sweep(&self) {
        let sources: Vec<(Arc<Resource>, ObjectInformer)> = {
            let sources = self.sources.read();
            let pair = |one: &Source| (Arc::clone(&one.resource), one.informer.clone());
            sources.iter().map(pair).collect()
        };
        for (resource, informer) in sources {
            for object in informer.indexer().select(None, &LabelSelector::everything()) {
                let meta = object.meta();
                if waits(meta) || !self.is_settled(meta) {
                    self.queue.add(Self::item(&resource, meta));
                }
            }
        }
    }

    /// Whether every owner is there and not waiting for its dependents, as the caches show it.
    pub(super) fn is_settled(&self, meta: &Meta) -> bool {
        meta.deletion.is_some()
            || meta.owners.iter().all(|owner| {
                let found = self.owner(meta, owner);
                found.is_some_and(|(_, object)| !waits(object.meta()))
            })
    }

    /// The resource of an owner's kind.
    pub(super) fn resource_of(&self, owner: &Owner) -> Option<Arc<Resource>> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let sources = self.sources.read();
        let found = sources
            .iter()
            .find(|source| source.resource.group == group && source.resource.kind == owner.kind);
        found.map(|source| Arc::clone(&source.resource))
    }

    /// An object's owner, as the caches show it.
    fn owner(&self, of: &Meta, owner: &Owner) -> Option<(Arc<Resource>, Object)> {
        let resource = self.resource_of(owner)?;
        let namespace = if resource.namespaced { of.namespace.as_str() } else { "" };
        let key = NamespacedName::new(namespace, owner.name.as_str());
        let object = self.informer(&resource)?.indexer().get(&key)?;
        (object.meta().uid == owner.uid).then_some((resource, object))
    }

    fn informer(&self, resource: &Resource) -> Option<ObjectInformer> {
        let sources = self.sources.read();
        let found = sources.iter().find(|source| *source.resource == *resource);
        found.map(|source| source.informer.clone())
    }

    /// The cached object of an item, if it is that one.
    pub(super) fn get(&self, item: &Item) -> Option<Object> {
        let object = self.informer(&item.resource)?.indexer().get(&item.key)?;
        (object.meta().uid == item.uid).then_some(object)
    }

    /// An owner's dependents, as the caches show them. Those elsewhere are none (D4).
    pub(super) fn dependents(
        &self,
        resource: &Resource,
        owner: &Meta,
    ) -> Vec<(Arc<Resource>, Object)> {
        let mut found = Vec::new();
        for source in &*self.sources.read() {
            let objects = source.informer.indexer().by_index(Index::OWNER_UID, &owner.uid);
            let here = objects.into_iter().filter(|object| {
                !resource.namespaced || object.meta().namespace == owner.namespace
            });
            found.extend(here.map(|object| (Arc::clone(&source.resource), object)));
        }
        found
    }

    pub(super) fn queue_dependent(&self, resource: &Arc<Resource>, object: &Object) {
        self.queue.add(Self::item(resource, object.meta()));
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("resources", &self.sources.read().len())
            .finish_non_exhaustive()
    }
}
