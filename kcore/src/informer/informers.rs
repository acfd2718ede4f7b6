//! The bag of informers that controllers share.

use std::any::TypeId;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{InformerOptions, ObjectInformer, SharedInformer};
use crate::client::DynClient;
use crate::component::{self, Component, Context};
use crate::kind::Kind;
use crate::name::Resource;
use crate::object::Object;
use crate::random::Random;
use crate::stop::StopToken;

/// Informers by what they follow, so that several controllers share one per kind. Clones are
/// handles of one bag; there is no global one.
///
/// Informers can be asked for at any time, and run while somebody runs the bag. Give the bag to a
/// distribution as a component, or run it beside the controllers that use it.
#[derive(Debug, Clone)]
pub struct Informers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: DynClient,
    random: Random,
    entries: Mutex<Vec<Entry>>,
    more: Notify,
}

#[derive(Debug)]
struct Entry {
    resource: Resource,
    options: InformerOptions,
    kind: Option<TypeId>,
    informer: ObjectInformer,
}

impl Informers {
    /// An empty bag over a client; `random` is drawn from for jitter.
    #[must_use]
    pub fn new(client: DynClient, random: Random) -> Self {
        let (entries, more) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { client, random, entries, more }))
    }

    /// The client that the informers read through.
    #[must_use]
    pub fn client(&self) -> &DynClient {
        &self.0.client
    }

    /// The informer of all objects of a kind.
    #[must_use]
    pub fn of<K: Kind>(&self) -> SharedInformer<K> {
        self.with_options(InformerOptions::default())
    }

    /// The informer of a kind with options of its own; the same options give the same informer.
    #[must_use]
    pub fn with_options<K: Kind>(&self, options: InformerOptions) -> SharedInformer<K> {
        let make = |options| {
            let (client, random) = (Arc::clone(&self.0.client), self.0.random.fork());
            SharedInformer::<K>::new(client, options, random).objects().clone()
        };
        let kind = Some(TypeId::of::<K>());
        SharedInformer::over(self.find(Resource::of::<K>(), options, kind, make))
    }

    /// The informer of the metadata of all objects of any resource.
    #[must_use]
    pub fn metadata(&self, resource: Resource) -> ObjectInformer {
        self.objects(resource, InformerOptions::default().metadata_only())
    }

    /// The informer of the objects of any resource, without a type.
    #[must_use]
    pub fn objects(&self, resource: Resource, options: InformerOptions) -> ObjectInformer {
        let make = |options| {
            let (client, random) = (Arc::clone(&self.0.client), self.0.random.fork());
            ObjectInformer::new(client, resource.clone(), options, random)
        };
        self.find(resource.clone(), options, None, make)
    }

    fn find(
        &self,
        resource: Resource,
        options: InformerOptions,
        kind: Option<TypeId>,
        make: impl FnOnce(InformerOptions) -> ObjectInformer,
    ) -> ObjectInformer {
        let mut entries = self.0.entries.lock();
        let known = entries.iter().find(|entry| {
            entry.resource == resource && entry.options == options && entry.kind == kind
        });
        if let Some(entry) = known {
            return entry.informer.clone();
        }
        let informer = make(options.clone());
        entries.push(Entry { resource, options, kind, informer: informer.clone() });
        drop(entries);
        self.0.more.notify_waiters();
        informer
    }

    /// Every informer in the bag, in the order they were asked for.
    #[must_use]
    pub fn all(&self) -> Vec<ObjectInformer> {
        self.0.entries.lock().iter().map(|entry| entry.informer.clone()).collect()
    }

    /// Whether every informer in the bag has synced.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.all().iter().all(ObjectInformer::has_synced)
    }

    /// Waits until every informer that is in the bag now has synced.
    pub async fn wait_for_sync(&self) {
        for informer in self.all() {
            informer.wait_for_sync().await;
        }
    }

    /// Removes an informer's idle typed views, and returns how many views are left because
    /// somebody holds them. Call it now and then where memory counts.
    pub fn drop_idle_views(&self) -> usize {
        let everything = crate::selector::LabelSelector::everything();
        let held = |informer: &ObjectInformer| {
            let objects = informer.indexer().select(None, &everything);
            objects.iter().filter(|object| Object::drop_idle_view(object)).count()
        };
        self.all().iter().map(held).sum()
    }

    /// Runs every informer of the bag, also those that are asked for later, each in a task of its
    /// own, until `stop`. Several may run one bag; dropping the future ends its tasks.
    ///
    /// # Panics
    /// If a handler does, so that the component it belongs to is started again.
    pub async fn run(&self, stop: StopToken) {
        let mut tasks = JoinSet::new();
        let mut started = 0;
        loop {
            let mut more = std::pin::pin!(self.0.more.notified());
            more.as_mut().enable();
            for informer in self.all().drain(started..) {
                started += 1;
                let stop = stop.clone();
                tasks.spawn(async move { informer.run(stop).await });
            }
            crate::select! {
                () = stop.stopped() => break,
                () = more => {}
                Some(Err(error)) = tasks.join_next() => {
                    if error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }
}

#[async_trait]
impl Component for Informers {
    fn name(&self) -> &str {
        "informers"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        ctx.health().not_ready("caches are not synced");
        let mut running = std::pin::pin!(Informers::run(self, ctx.stop().clone()));
        crate::select! {
            () = &mut running => return Ok(()),
            () = self.wait_for_sync() => ctx.health().ready(),
        }
        running.await;
        Ok(())
    }
}
