//! Feeds a reconciler with keys.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcore::client::DynClient;
use kcore::component::{self, Component};
use kcore::event::{EventRecorder, Source as EventSource};
use kcore::informer::{Change, Informers, ObjectInformer, Registration};
use kcore::kind::Kind;
use kcore::name::NamespacedName;
use kcore::object::controller_of;
use kcore::queue::WorkQueue;
use kcore::selector::LabelSelector;
use tokio::task::JoinSet;

use super::worker::{Erased, Shared, work};
use super::{Context, Reconciler};

/// How often all keys are reconciled again from the cache, unless told otherwise.
pub const RESYNC_PERIOD: Duration = Duration::from_secs(10);
/// The largest share of the period that is added to it at random.
pub const RESYNC_JITTER: f64 = 0.2;
/// How many keys are reconciled at once, unless told otherwise.
pub const WORKERS: usize = 4;

type Queue = WorkQueue<NamespacedName>;
type Wire = Arc<dyn Fn(&Informers, &Queue) -> Wired + Send + Sync>;

struct Wired {
    informer: ObjectInformer,
    registration: Option<Registration>,
}

/// Reconciles the objects of kind `K`: a [`Component`].
///
/// It follows `K` and whatever else it is told to, queues the keys of what changed, and calls the
/// reconciler for each, several at once but never twice for one key.
pub struct Controller<K> {
    client: DynClient,
    informers: Option<Informers>,
    reconciler: Arc<dyn Erased>,
    wires: Vec<Wire>,
    workers: usize,
    resync: Option<Duration>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Controller<K> {
    /// A controller that follows `K` alone.
    #[must_use]
    pub fn new(client: DynClient, reconciler: impl Reconciler) -> Self {
        let this = Self {
            client,
            informers: None,
            reconciler: Arc::new(reconciler),
            wires: Vec::new(),
            workers: WORKERS,
            resync: Some(RESYNC_PERIOD),
            kind: PhantomData,
        };
        this.watches::<K>(|object, _| vec![key_of(object)])
    }

    /// Shares these informers with other controllers, instead of having its own.
    #[must_use]
    pub fn informers(mut self, informers: Informers) -> Self {
        self.informers = Some(informers);
        self
    }

    /// Also reconciles the managing owner of a `C` that changed.
    #[must_use]
    pub fn owns<C: Kind>(self) -> Self {
        self.watches::<C>(|child, _| {
            let owner = controller_of(child.metadata()).filter(|owner| {
                let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
                owner.kind == K::KIND && group == K::GROUP
            });
            let namespace =
                if K::NAMESPACED { child.metadata().namespace.as_deref() } else { None };
            owner
                .map(|owner| NamespacedName::new(namespace.unwrap_or_default(), &owner.name))
                .into_iter()
                .collect()
        })
    }

    /// Also reconciles the keys that `mapper` names for an `O` that changed. It is asked for the
    /// state before and for the state after, and must be quick.
    #[must_use]
    pub fn watches<O: Kind>(
        mut self,
        mapper: impl Fn(&O, &Informers) -> Vec<NamespacedName> + Send + Sync + 'static,
    ) -> Self {
        let mapper = Arc::new(mapper);
        self.wires.push(Arc::new(move |informers, queue| {
            let informer = informers.of::<O>();
            let (mapper, bag, queue) = (Arc::clone(&mapper), informers.clone(), queue.clone());
            let registration = informer.on_change(move |change: Change<Arc<O>>| {
                let after = change.after().into_iter().flat_map(|object| mapper(object, &bag));
                let before = change.before().into_iter().flat_map(|object| mapper(object, &bag));
                for key in after.chain(before) {
                    queue.add(key);
                }
            });
            let informer = informer.objects().clone();
            Wired { informer, registration: Some(registration) }
        }));
        self
    }

    /// Also keeps a cache of `O`, whose changes alone reconcile nothing.
    #[must_use]
    pub fn reads<O: Kind>(mut self) -> Self {
        self.wires.push(Arc::new(|informers, _| {
            let informer = informers.of::<O>().objects().clone();
            Wired { informer, registration: None }
        }));
        self
    }

    /// How many keys are reconciled at once; at least one.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How often all keys are reconciled again from the cache, plus jitter; `None` for never.
    #[must_use]
    pub fn resync(mut self, period: Option<Duration>) -> Self {
        self.resync = period;
        self
    }
}

fn key_of<K: Kind>(object: &K) -> NamespacedName {
    let meta = object.metadata();
    NamespacedName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

#[async_trait]
impl<K: Kind> Component for Controller<K> {
    fn name(&self) -> &str {
        self.reconciler.title()
    }

    async fn run(&self, ctx: component::Context) -> component::Result {
        ctx.health().not_ready("caches are not synced");
        let stop = ctx.stop().clone();
        let (clock, random) = (ctx.clock().clone(), ctx.random().clone());
        let informers = self
            .informers
            .clone()
            .unwrap_or_else(|| Informers::new(Arc::clone(&self.client), random.fork()));
        let queue = Queue::new();
        let wired: Vec<Wired> = self.wires.iter().map(|wire| wire(&informers, &queue)).collect();
        let sources: Arc<[ObjectInformer]> =
            wired.iter().map(|wired| wired.informer.clone()).collect();
        let source = EventSource { component: self.name().to_owned(), host: String::new() };
        let client = Arc::clone(&self.client);
        let recorder = EventRecorder::new(client, source, clock.clone(), random.fork());
        let mut tasks = JoinSet::new();
        let (bag, until) = (informers.clone(), stop.clone());
        tasks.spawn(async move { bag.run(until).await });
        let (teller, until) = (recorder.clone(), stop.clone());
        tasks.spawn(async move { teller.run(until).await });
        let synced = async {
            for source in &*sources {
                source.wait_for_sync().await;
            }
        };
        kcore::select! {
            () = stop.stopped() => {}
            () = synced => ctx.health().ready(),
            Some(joined) = tasks.join_next() => surface(joined),
        }
        let client = Arc::clone(&self.client);
        let context =
            Context { client, informers: informers.clone(), sources, recorder, clock, random };
        let shared = Arc::new(Shared::new(Arc::clone(&self.reconciler), queue.clone(), context));
        for _ in 0..self.workers {
            tasks.spawn(work(Arc::clone(&shared), stop.clone()));
        }
        let resynced = self.resync_keys(&informers, &shared);
        kcore::select! {
            () = stop.stopped() => {}
            () = resynced => {}
            () = surface_panics(&mut tasks) => {}
        }
        queue.shut_down();
        drop(wired.into_iter().map(|wired| wired.registration).collect::<Vec<_>>());
        while let Some(joined) = tasks.join_next().await {
            surface(joined);
        }
        Ok(())
    }
}

impl<K: Kind> Controller<K> {
    /// Queues every key now and then. It never ends.
    async fn resync_keys(&self, informers: &Informers, shared: &Shared) {
        let Some(period) = self.resync else { return std::future::pending().await };
        let own = informers.of::<K>().objects().clone();
        loop {
            tokio::time::sleep(shared.context.random.jitter(period, RESYNC_JITTER)).await;
            for object in own.indexer().select(None, &LabelSelector::everything()) {
                shared.queue.add(object.meta().key());
            }
        }
    }
}

/// Lets a task's panic go on in the controller, so that its supervisor starts it again.
fn surface(joined: Result<(), tokio::task::JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Waits for the tasks. They end when they are told to stop.
async fn surface_panics(tasks: &mut JoinSet<()>) {
    while let Some(joined) = tasks.join_next().await {
        surface(joined);
    }
}

impl<K> fmt::Debug for Controller<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("name", &self.reconciler.title())
            .field("workers", &self.workers)
            .field("resync", &self.resync)
            .finish_non_exhaustive()
    }
}
