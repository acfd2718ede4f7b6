//! What a key's next reconcile must be able to see.

use std::collections::BTreeMap;

use kcore::informer::ObjectInformer;
use kcore::name::{NamespacedName, Resource};

/// The writes a reconcile made, until the caches show them (C2, C4).
///
/// A create that is counted is a write like every other: a cache that has reached the version of
/// the last create shows all of them, so the next count is right. A delete leaves no version
/// behind: it is met when the cache shows the object no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    versions: BTreeMap<Resource, u64>,
    gone: Vec<(Resource, NamespacedName, String)>,
    uncertain: Vec<(Resource, String)>,
}

impl Expectations {
    /// The caches must reach this version of the resource.
    pub fn wrote(&mut self, resource: &Resource, version: u64) {
        let known = self.versions.entry(resource.clone()).or_default();
        *known = version.max(*known);
    }

    /// The caches must no longer show the object with this uid.
    pub fn deleted(&mut self, resource: &Resource, key: NamespacedName, uid: &str) {
        self.gone.push((resource.clone(), key, uid.to_owned()));
    }

    /// Nobody knows whether a write took place: a live list has to tell.
    pub fn uncertain(&mut self, resource: &Resource, namespace: &str) {
        let entry = (resource.clone(), namespace.to_owned());
        if !self.uncertain.contains(&entry) {
            self.uncertain.push(entry);
        }
    }

    /// The collections that have to be listed before anything is known.
    #[must_use]
    pub fn unresolved(&self) -> &[(Resource, String)] {
        &self.uncertain
    }

    /// A live list of a collection was seen, whose newest object is at `version`.
    pub fn resolve(&mut self, resource: &Resource, namespace: &str, version: u64) {
        self.uncertain.retain(|(known, at)| known != resource || at != namespace);
        self.wrote(resource, version);
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.gone.is_empty() && self.uncertain.is_empty()
    }

    /// Forgets what the caches show by now; what no cache follows is forgotten too. Returns
    /// whether all is met.
    pub fn settle(&mut self, informers: &[ObjectInformer]) -> bool {
        let of = |resource: &Resource| {
            informers.iter().filter(|informer| informer.resource() == resource).collect::<Vec<_>>()
        };
        self.versions.retain(|resource, version| {
            of(resource).iter().any(|informer| informer.status().resource_version < *version)
        });
        self.gone.retain(|(resource, key, uid)| {
            of(resource).iter().any(|informer| {
                informer.indexer().get(key).is_some_and(|object| {
                    object.meta().uid == *uid && object.meta().deletion.is_none()
                })
            })
        });
        self.is_empty()
    }
}
