//! The scheduler: one loop that chooses nodes, and binding beside it.

mod bind;
pub mod cycle;
pub mod engine;
pub mod explain;
mod extended;
mod faults;
mod handlers;
mod metrics;
mod shard;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::DynClient;
use kcore::collections::HashMap;
use kcore::component::{self, Component, Context};
use kcore::event::{EventRecorder, Source};
use kcore::informer::Informers;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::config::SchedulerConfig;
use crate::framework::{Extender, Framework, Handle, PluginFactory, Profile, WaitingPods};
use crate::plugins;
use crate::queue::{INITIAL_BACKOFF, Kept, MAX_BACKOFF, SchedulingQueue};
use crate::snapshot::Snapshot;
use bind::{Assumed, Failure};
use engine::Engine;
use metrics::Attempt;
pub use metrics::Metrics;
use shard::Shard;
use shared::Shared;

/// Bindings, and reports of failures, that are under way at once.
pub const MAX_WRITES: usize = 256;
/// Pods that are tried, and the time that is spent on them, before other tasks have their turn. A
/// worker of the async runtime that is idle takes over what was spawned meanwhile; were it handed
/// over pod by pod, it would be woken for each and find nothing.
const TURN: (u32, Duration) = (16, Duration::from_micros(250));

/// Chooses nodes for pods and binds them: every node is looked at for every pod.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/>
///
/// ```no_run
/// # fn example(client: kcore::client::DynClient) {
/// use ksched::Scheduler;
/// use ksched::framework::Profile;
/// let scheduler = Scheduler::new(client)
///     .profile(Profile::default())
///     .profile(Profile::new("batch").disable("TaintToleration"));
/// kcore::component::Distribution::new().with(scheduler);
/// # }
/// ```
#[derive(Clone)]
pub struct Scheduler {
    client: DynClient,
    factories: Vec<Arc<dyn PluginFactory>>,
    profiles: Vec<Profile>,
    metrics: Arc<Metrics>,
    backoff: (Duration, Duration),
    shard: Shard,
    extenders: Vec<Arc<dyn Extender>>,
}

impl Scheduler {
    /// A scheduler with the stock plugins, for pods that name no other one.
    #[must_use]
    pub fn new(client: impl kcore::client::Client) -> Self {
        Self {
            client: Arc::new(client),
            factories: plugins::stock(),
            profiles: Vec::new(),
            metrics: Arc::default(),
            backoff: (INITIAL_BACKOFF, MAX_BACKOFF),
            shard: Shard::default(),
            extenders: Vec::new(),
        }
    }

    /// Adds something outside that has a say in where pods go, of all profiles. Extenders are
    /// asked in the order they come, those that can be done without last. For processes behind
    /// HTTP, as a configuration names them, there is `HttpExtender` behind the feature
    /// `extenders`.
    #[must_use]
    pub fn extender(mut self, extender: impl Extender) -> Self {
        self.extenders.push(Arc::new(extender));
        self
    }

    /// Looks only at the nodes whose name hashes to `index`, of `count` schedulers that share the
    /// cluster's nodes among them. An index beyond the count has no nodes.
    #[must_use]
    pub fn shard(mut self, index: u64, count: u64) -> Self {
        self.shard = Shard { index, count };
        self
    }

    /// Takes profiles and times from a configuration file, in place of those it has, and adds its
    /// extenders. As upstream does it, plugins that are not stock ones then run only in profiles
    /// that enable them.
    #[must_use]
    pub fn config(mut self, config: &SchedulerConfig) -> Self {
        self.profiles = config.profiles().to_vec();
        self.backoff = (config.initial_backoff(), config.max_backoff());
        #[cfg(feature = "extenders")]
        for extender in config.extenders() {
            self = self.extender(extender.clone());
        }
        self
    }

    /// What it has done, all runs of it and its clones together.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Adds a plugin, which every profile runs that does not disable it. One by the name of a
    /// stock plugin takes its place.
    #[must_use]
    pub fn plugin(mut self, factory: impl PluginFactory) -> Self {
        let factory: Arc<dyn PluginFactory> = Arc::new(factory);
        let name = factory.name();
        match self.factories.iter_mut().find(|known| known.name() == name) {
            Some(known) => *known = factory,
            None => self.factories.push(factory),
        }
        self
    }

    /// Adds a profile. Without any there is the default one.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// Builds the profiles, as a run does first.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration.
    pub fn build(&self, ctx: &Context) -> Result<Vec<Arc<Framework>>, Error> {
        let informers = Informers::new(Arc::clone(&self.client), ctx.random().fork());
        self.frameworks(ctx, &informers, &self.recorder(ctx))
    }

    fn recorder(&self, ctx: &Context) -> EventRecorder {
        let source = Source { component: "default-scheduler".to_owned(), ..Source::default() };
        let (clock, random) = (ctx.clock().clone(), ctx.random().fork());
        EventRecorder::new(Arc::clone(&self.client), source, clock, random)
    }

    fn frameworks(
        &self,
        ctx: &Context,
        informers: &Informers,
        recorder: &EventRecorder,
    ) -> Result<Vec<Arc<Framework>>, Error> {
        let default = [Profile::default()];
        let profiles = if self.profiles.is_empty() { &default[..] } else { &self.profiles };
        let waiting = WaitingPods::default();
        let mut frameworks: Vec<Arc<Framework>> = Vec::new();
        for profile in profiles {
            if frameworks.iter().any(|known| known.scheduler_name() == profile.name) {
                return Err(Error::DuplicateProfile { profile: profile.name.clone() });
            }
            let handle = Handle {
                profile: profile.name.as_str().into(),
                client: Arc::clone(&self.client),
                clock: ctx.clock().clone(),
                random: ctx.random().fork(),
                waiting: waiting.clone(),
                informers: informers.clone(),
                recorder: recorder.clone(),
            };
            let framework = Framework::new(profile, &self.factories, handle)?
                .with_extenders(self.extenders.clone());
            let sort = |framework: &Framework| {
                framework.points.queue_sort.first().map(|plugged| Arc::clone(&plugged.name))
            };
            let different = frameworks.first().is_some_and(|f| sort(f) != sort(&framework));
            if let Some(plugin) = sort(&framework).filter(|_| different) {
                let (profile, plugin) = (profile.name.clone(), plugin.to_string());
                return Err(Error::DifferentQueueSort { profile, plugin });
            }
            frameworks.push(Arc::new(framework));
        }
        Ok(frameworks)
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("profiles", &self.profiles)
            .field("plugins", &self.factories)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Component for Scheduler {
    fn name(&self) -> &str {
        "scheduler"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        ctx.health().not_ready("caches are not synced");
        let recorder = self.recorder(&ctx);
        let informers = Informers::new(Arc::clone(&self.client), ctx.random().fork());
        let frameworks = self.frameworks(&ctx, &informers, &recorder)?;
        let mut shared = Shared::new(Arc::clone(&self.client), frameworks, recorder, &ctx);
        shared.shard = self.shard;
        shared.state.lock().queue = SchedulingQueue::new(self.backoff.0, self.backoff.1);
        let shared = Arc::new(shared);
        // Pods before nodes or nodes before pods: the cache takes either.
        let nodes = informers.of::<Node>();
        let pods = informers.of::<Pod>();
        let _nodes = nodes.on_change(handlers::on_node(&shared));
        let _pods = pods.objects().on_change(handlers::on_pod(&shared));
        let _others = handlers::on_others(&shared, &informers);
        // Dropped at the end of the run, in whatever way it ends: nothing works on.
        let mut tasks = JoinSet::new();
        let stop = ctx.stop().child();
        let (running, until) = (informers.clone(), stop.clone());
        tasks.spawn(async move { running.run(until).await });
        let (recorder, until) = (shared.recorder.clone(), stop.clone());
        tasks.spawn(async move { recorder.run(until).await });
        let (faulty, until) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move { faults::tell(&faulty, &until).await });
        kcore::select! {
            () = stop.stopped() => return Ok(()),
            () = informers.wait_for_sync() => ctx.health().ready(),
        }
        let outcome = kcore::select! {
            () = stop.stopped() => Ok(()),
            Some(Err(error)) = tasks.join_next() => Err(error.into()),
            () = schedule(&shared, &ctx, &self.metrics) => Ok(()),
        };
        if outcome.is_ok() {
            stop.stop();
            while tasks.join_next().await.is_some() {}
        }
        outcome
    }
}

/// Tries one pod after the other, for ever.
async fn schedule(shared: &Arc<Shared>, ctx: &Context, metrics: &Metrics) {
    let mut snapshot = Snapshot::default();
    let mut kept = Kept::new();
    let mut engines: HashMap<Arc<str>, Engine> = HashMap::default();
    let mut writes = JoinSet::new();
    let slots = Arc::new(Semaphore::new(MAX_WRITES));
    let random = ctx.random().fork();
    let mut turn = (0, Duration::ZERO);
    loop {
        while writes.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let popped = shared.next().await;
        let began = Instant::now();
        {
            let mut state = shared.state.lock();
            state.cache.update(&mut snapshot);
            state.queue.nominated.copy_to(&mut kept, &snapshot);
            let own = state.queue.nominated.node_of(popped.pod.uid());
            kept.set_own(own.and_then(|node| snapshot.position(node)));
        }
        let (framework, pod) = (&popped.framework, &popped.pod);
        let outcome = if framework.extenders.decide(pod) {
            extended::schedule(framework, &snapshot, &kept, pod, &random).await
        } else {
            let engine = engines.entry(Arc::clone(&framework.name)).or_default();
            cycle::schedule_with(engine, framework, &snapshot, &kept, pod, &random)
        };
        let assumed = match outcome {
            Ok(placement) => Assumed::take(shared, popped, placement),
            Err(unplaced) => Err(Box::new(Failure::of(shared, popped, *unplaced))),
        };
        let attempt = if assumed.is_ok() { Attempt::Scheduled } else { Attempt::Failed };
        let took = began.elapsed();
        metrics.attempted(took, attempt);
        let slots = Arc::clone(&slots);
        match assumed {
            Ok(assumed) => drop(writes.spawn(assumed.settle(slot, slots))),
            Err(failure) => drop(writes.spawn(async move {
                failure.report().await;
                drop(slot);
            })),
        }
        turn = (turn.0 + 1, turn.1 + took);
        if turn.0 >= TURN.0 || turn.1 >= TURN.1 {
            turn = (0, Duration::ZERO);
            tokio::task::yield_now().await;
        }
    }
}

impl Shared {
    /// The pod to try next, once there is one.
    async fn next(&self) -> crate::queue::Popped {
        loop {
            let more = self.more.notified();
            let due = {
                let mut state = self.state.lock();
                let popped = state.queue.pop(Instant::now());
                if state.queue.has_faults() {
                    self.faulted.notify_one();
                }
                if let Some(popped) = popped {
                    return popped;
                }
                state.queue.next_due()
            };
            match due {
                None => more.await,
                Some(due) => kcore::select! {
                    () = more => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }
}
