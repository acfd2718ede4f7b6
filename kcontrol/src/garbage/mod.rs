//! The garbage collector: what nobody owns any more goes.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

mod collect;
mod graph;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcore::client::DynClient;
use kcore::component::{self, Component};
use kcore::informer::{Informers, Registration};
use kcore::random::Random;
use tokio::task::JoinSet;

use collect::Collect;
use graph::Graph;

/// How often all objects are looked at again in the caches, plus jitter.
pub const SWEEP: Duration = Duration::from_secs(10);
/// How often the server is asked whether it serves other resources, in sweeps.
pub const DISCOVER_EVERY: u32 = 3;
/// How many objects are worked on at once.
pub const WORKERS: usize = 8;
const JITTER: f64 = 0.2;

/// Follows the metadata of every object, and deletes dependents whose owners are gone; ends
/// foreground and orphaning deletions.
#[derive(Debug, Clone)]
pub struct GarbageCollector {
    client: DynClient,
    informers: Option<Informers>,
}

impl GarbageCollector {
    /// A collector with informers of its own.
    #[must_use]
    pub fn new(client: DynClient) -> Self {
        Self { client, informers: None }
    }

    /// Shares these informers with others.
    #[must_use]
    pub fn informers(mut self, informers: Informers) -> Self {
        self.informers = Some(informers);
        self
    }
}

#[async_trait]
impl Component for GarbageCollector {
    fn name(&self) -> &str {
        "garbage-collector-controller"
    }

    async fn run(&self, ctx: component::Context) -> component::Result {
        ctx.health().not_ready("caches are not synced");
        let random = ctx.random().clone();
        let informers = self
            .informers
            .clone()
            .unwrap_or_else(|| Informers::new(Arc::clone(&self.client), random.fork()));
        let graph = Graph::new(informers.clone());
        let stop = ctx.stop().clone();
        let mut registrations = Vec::new();
        graph.follow(self.client.discover().await?, &mut registrations);
        let mut tasks = JoinSet::new();
        let (bag, until) = (informers, stop.clone());
        tasks.spawn(async move { bag.run(until).await });
        kcore::select! {
            () = stop.stopped() => return Ok(()),
            () = graph.wait_for_sync() => ctx.health().ready(),
        }
        for _ in 0..WORKERS {
            let (graph, client, until) = (Arc::clone(&graph), self.client.clone(), stop.clone());
            tasks.spawn(async move {
                kcore::select! {
                    () = until.stopped() => {}
                    () = work(&client, &graph) => {}
                }
            });
        }
        let ended = kcore::select! {
            () = stop.stopped() => Ok(()),
            () = self.sweep(&graph, &random, &mut registrations) => Ok(()),
            Some(joined) = tasks.join_next() => joined,
        };
        graph.queue.shut_down();
        Ok(ended?)
    }
}

impl GarbageCollector {
    /// Looks at everything now and then, and at what the server serves. It never ends.
    async fn sweep(&self, graph: &Arc<Graph>, random: &Random, kept: &mut Vec<Registration>) {
        for round in 1_u32.. {
            graph.sweep();
            tokio::time::sleep(random.jitter(SWEEP, JITTER)).await;
            if round % DISCOVER_EVERY != 0 {
                continue;
            }
            match self.client.discover().await {
                Ok(discovered) => graph.follow(discovered, kept),
                Err(error) => tracing::warn!(%error, "the resources served are not known"),
            }
        }
    }
}

async fn work(client: &DynClient, graph: &Graph) {
    let collect = Collect { client, graph };
    while let Some(claim) = graph.queue.get().await {
        match collect.process(&claim).await {
            Ok(()) => claim.succeed(),
            Err(error) => {
                tracing::debug!(object = %claim.key, %error, "the object is looked at again");
                claim.retry();
            }
        }
    }
}
