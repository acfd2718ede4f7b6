//! What a reconciler is given to work with.

use jiff::Timestamp;
use kcore::client::{Api, DynClient};
use kcore::clock::Clock;
use kcore::event::EventRecorder;
use kcore::informer::{Informers, Lister, ObjectInformer};
use kcore::kind::Kind;
use kcore::name::Resource;
use kcore::random::Random;

/// One reconcile's surroundings: the cluster, the caches, time, chance, and whom to tell.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) client: DynClient,
    pub(super) informers: Informers,
    pub(super) sources: std::sync::Arc<[ObjectInformer]>,
    pub(super) recorder: EventRecorder,
    pub(super) clock: Clock,
    pub(super) random: Random,
}

impl Context {
    /// The client. What is written through it, the key's next reconcile sees (C4).
    #[must_use]
    pub fn client(&self) -> &DynClient {
        &self.client
    }

    /// The objects of a kind in a namespace.
    #[must_use]
    pub fn api<K: Kind>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(DynClient::clone(&self.client), namespace)
    }

    /// The informers the controller shares.
    #[must_use]
    pub fn informers(&self) -> &Informers {
        &self.informers
    }

    /// The cached objects of a kind that the controller follows.
    ///
    /// # Panics
    /// If the controller does not follow the kind: its cache would be empty for no reason that
    /// the reconciler could tell. Name it with [`Controller::reads`](super::Controller::reads).
    #[must_use]
    pub fn lister<K: Kind>(&self) -> Lister<K> {
        let resource = Resource::of::<K>();
        assert!(
            self.sources.iter().any(|source| *source.resource() == resource),
            "the controller does not follow {}: call reads, owns or watches for it",
            resource.group_resource()
        );
        self.informers.of::<K>().lister()
    }

    /// Tells of what happens to objects.
    #[must_use]
    pub fn recorder(&self) -> &EventRecorder {
        &self.recorder
    }

    /// The wall clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The wall time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The controller's own randomness.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.random
    }
}
