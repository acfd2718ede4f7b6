//! The typed informer.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Change, Index, InformerOptions, InformerStatus, Lister, ObjectInformer, Registration};
use crate::client::DynClient;
use crate::kind::Kind;
use crate::name::Resource;
use crate::random::Random;
use crate::stop::StopToken;

/// One reflector, one cache and many handlers over one kind. Clones are handles of one informer.
///
/// Everything said of [`ObjectInformer`] is true of it. An object that is no `K` never enters the
/// cache: until the server sends it right, the informer lists again and again, with backoff, as
/// a component that acted on the rest alone could destroy what it does not see.
pub struct SharedInformer<K> {
    informer: ObjectInformer,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> SharedInformer<K> {
    /// An informer of `K`'s own resource; `random` is drawn from for jitter.
    #[must_use]
    pub fn new(client: DynClient, options: InformerOptions, random: Random) -> Self {
        let check = |object: &crate::object::Object| object.view::<K>().map(drop);
        let resource = Resource::of::<K>();
        Self::over(ObjectInformer::checked(client, resource, options, random, Some(check)))
    }

    pub(super) fn over(informer: ObjectInformer) -> Self {
        Self { informer, kind: PhantomData }
    }

    /// Reads the cache.
    #[must_use]
    pub fn lister(&self) -> Lister<K> {
        Lister::new(Arc::clone(self.informer.indexer()))
    }

    /// Adds an index, or returns the one of that name; see
    /// [`Indexer::add_index`](super::Indexer::add_index).
    pub fn add_index(
        &self,
        name: &str,
        values: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) -> Index {
        self.informer.add_index(name, move |object| {
            object.view::<K>().map(|view| values(&view)).unwrap_or_default()
        })
    }

    /// Calls `handler` for each change, as long as the registration is kept. What is in the cache
    /// already is told as added before this returns. A handler must be quick, and must not
    /// register another one.
    pub fn on_change(
        &self,
        handler: impl Fn(Change<Arc<K>>) + Send + Sync + 'static,
    ) -> Registration {
        self.informer.on_change(move |change| match change.try_map(|object| object.view::<K>()) {
            Ok(change) => handler(change),
            Err(error) => tracing::error!(%error, "a change of a cached object is left out"),
        })
    }

    /// The informer without its type.
    #[must_use]
    pub fn objects(&self) -> &ObjectInformer {
        &self.informer
    }

    /// Whether a whole list has reached the cache and all handlers.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.informer.has_synced()
    }

    /// Waits until a whole list has reached the cache and all handlers.
    pub async fn wait_for_sync(&self) {
        self.informer.wait_for_sync().await;
    }

    /// What it did so far.
    #[must_use]
    pub fn status(&self) -> InformerStatus {
        self.informer.status()
    }

    /// Follows the collection until `stop`; see [`ObjectInformer::run`].
    pub async fn run(&self, stop: StopToken) {
        self.informer.run(stop).await;
    }
}

impl<K> Clone for SharedInformer<K> {
    fn clone(&self) -> Self {
        Self { informer: self.informer.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for SharedInformer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedInformer").field(&self.informer).finish()
    }
}
