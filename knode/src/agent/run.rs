//! One run of an agent: its tasks, and the pods it is told of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kcore::backoff::{Backoff, BackoffPolicy};
use kcore::component::{self, Context};
use kcore::event::{EventRecorder, Source};
use kcore::informer::{InformerOptions, SharedInformer};
use kcore::quantity::{Format, Quantity};
use kcore::selector::FieldSelector;
use kcore::stop::StopToken;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::heartbeat::Facts;
use super::hub::{Hub, NodeFacts, Parts};
use super::inbox::{Inbox, News};
use super::options::AgentOptions;
use super::record::Record;
#[cfg(feature = "server")]
use super::view::View;
use super::worker::Worker;
use super::{NodeAgent, heartbeat, machine, node, pleg, statuses};
use crate::runtime::Version;
#[cfg(feature = "server")]
use crate::server::{KubeletService, auth::Auth};
use crate::{Error, Result};

/// How a runtime is waited for that does not answer yet.
const RUNTIME_RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(200), Duration::from_secs(10)).jitter(0.2);
/// How often the agent asks itself whether it is healthy.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
/// How often sandboxes are looked for that nobody knows.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until told to stop. Whatever runs on the node goes on.
pub(super) async fn run(agent: &NodeAgent, ctx: Context) -> component::Result {
    ctx.health().not_ready("the runtime does not answer");
    let stop = ctx.stop().clone();
    let version = kcore::select! {
        () = stop.stopped() => return Ok(()),
        version = runtime_version(agent, &ctx) => version,
    };
    ctx.health().not_ready("the node is not registered");
    let name = agent.node_name();
    let fields: FieldSelector = format!("spec.nodeName={name}").parse()?;
    let client = || Arc::clone(&agent.client);
    let (pods, services) = (
        SharedInformer::<Pod>::new(
            client(),
            InformerOptions::default().fields(fields),
            ctx.random().fork(),
        ),
        SharedInformer::<Service>::new(client(), InformerOptions::default(), ctx.random().fork()),
    );
    let source = Source { component: "kubelet".to_owned(), host: name.clone() };
    let (clock, random) = (ctx.clock().clone(), ctx.random());
    let recorder = EventRecorder::new(client(), source, clock.clone(), random.fork());
    let (node_facts, facts) = facts(&agent.options, &version)?;
    let hub = Arc::new(Hub::new(Parts {
        client: client(),
        runtime: Arc::clone(&agent.runtime),
        options: agent.options(),
        name,
        runtime_name: version.name,
        clock,
        random: random.fork(),
        recorder: recorder.clone(),
        services: services.lister(),
        node: node_facts,
    }));
    let mut tasks = JoinSet::new();
    let inbox = Arc::new(Inbox::default());
    let _told = pods.on_change({
        let inbox = Arc::clone(&inbox);
        move |change| inbox.put(&change)
    });
    for stopped in [pods.objects().clone(), services.objects().clone()] {
        let stop = stop.clone();
        tasks.spawn(async move { stopped.run(stop).await });
    }
    let until = stop.clone();
    tasks.spawn(async move { recorder.run(until).await });
    for _ in 0..statuses::STATUS_WRITERS {
        tasks.spawn(statuses::run(Arc::clone(&hub)));
    }
    watch_runtime(&hub, facts, &ctx, &mut tasks);
    #[cfg(feature = "server")]
    if let Some(listener) = &agent.listener {
        let (listener, hub, stop) = (Arc::clone(listener), Arc::clone(&hub), stop.clone());
        tasks.spawn(async move {
            let auth = Auth::new(Arc::clone(&hub.client), hub.name.as_str(), hub.clock.clone());
            let metrics = hub.metrics.clone();
            let service = KubeletService::new(View(hub), auth, metrics);
            listener.serve(service, stop.stopped()).await;
        });
    }
    kcore::select! {
        () = stop.stopped() => return Ok(()),
        () = pods.wait_for_sync() => {}
    }
    dispatch(&hub, &inbox, &stop, &mut tasks).await;
    Ok(())
}

/// Who the runtime is, however long it takes to say so.
async fn runtime_version(agent: &NodeAgent, ctx: &Context) -> Version {
    let mut retry = Backoff::new(RUNTIME_RETRY, ctx.random().fork());
    loop {
        match agent.runtime.version().await {
            Ok(version) => return version,
            Err(error) => tracing::warn!(%error, "the runtime does not answer"),
        }
        retry.wait().await;
    }
}

/// What the node has and is.
fn facts(options: &AgentOptions, version: &Version) -> Result<(NodeFacts, Facts)> {
    let mut capacity = parse("capacity", machine::capacity(options.data_dir.as_deref()))?;
    let pods = Quantity::from_units(options.max_pods.into(), Format::DecimalSi);
    capacity.insert("pods".to_owned(), pods);
    capacity.extend(parse("capacity", options.capacity.clone())?);
    let reserved = parse("reserved", options.reserved.clone())?;
    let allocatable = node::allocatable(&capacity, &reserved);
    let memory = capacity.get("memory").map_or(0, |memory| memory.units());
    let node = NodeFacts::new(u64::try_from(memory).unwrap_or_default(), allocatable);
    let info = machine::system_info(version.to_string());
    Ok((node, Facts { info, capacity }))
}

fn parse(field: &str, texts: BTreeMap<String, String>) -> Result<BTreeMap<String, Quantity>> {
    let parsed = texts.into_iter().map(|(name, text)| match text.parse() {
        Ok(quantity) => Ok((name, quantity)),
        Err(error) => Err(Error::InvalidConfig {
            field: format!("{field}[{name:?}]"),
            reason: format!("{text:?}: {error}"),
        }),
    });
    parsed.collect()
}

/// Follows the runtime, and says how the node is.
fn watch_runtime(hub: &Arc<Hub>, facts: Facts, ctx: &Context, tasks: &mut JoinSet<()>) {
    let stop = ctx.stop();
    let beats = Arc::new(watch::Sender::new(Instant::now()));
    let beat = {
        let beats = Arc::clone(&beats);
        move |at| {
            beats.send_replace(at);
        }
    };
    tasks.spawn(pleg::run(Arc::clone(hub), stop.clone(), beat));
    let trouble = hub.trouble.subscribe();
    let evented = hub.runtime.events().is_some();
    let limit = pleg::RELIST_THRESHOLD
        + if evented { pleg::EVENTED_RELIST_INTERVAL } else { Duration::ZERO };
    let troubled = Arc::clone(hub);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(HEALTH_INTERVAL).await;
            #[cfg(feature = "server")]
            troubled.measure();
            let ago = beats.borrow().elapsed();
            let late = ago > limit;
            let why = late.then(|| {
                format!("PLEG is not healthy: pleg was last seen active {}s ago", ago.as_secs())
            });
            troubled.trouble.send_if_modified(|known| {
                let news = known.is_some() != why.is_some();
                *known = why;
                news
            });
        }
    });
    let health = ctx.health().clone();
    let ready = move || health.ready();
    tasks.spawn(heartbeat::run(Arc::clone(hub), facts, trouble, ready, stop.clone()));
}

/// Gives every pod a worker, and every worker its news.
async fn dispatch(hub: &Arc<Hub>, inbox: &Inbox, stop: &StopToken, tasks: &mut JoinSet<()>) {
    let mut workers: JoinSet<()> = JoinSet::new();
    receive(hub, inbox, &mut workers);
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    loop {
        kcore::select! {
            () = stop.stopped() => break,
            Some(ended) = workers.join_next() => resume(ended),
            Some(ended) = tasks.join_next() => resume(ended),
            () = inbox.more() => receive(hub, inbox, &mut workers),
            _ = housekeeping.tick() => {
                if let Err(error) = pleg::remove_orphans(hub).await {
                    tracing::warn!(node = hub.name, %error, "orphans cannot be looked for");
                }
            }
        }
    }
}

/// A panic of a task is one of the agent's, whose supervisor starts it again.
fn resume(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn receive(hub: &Arc<Hub>, inbox: &Inbox, workers: &mut JoinSet<()>) {
    for (uid, news) in inbox.take() {
        match (news, hub.record(&uid)) {
            (News::Is(pod), Some(record)) => record.update(pod),
            (News::Is(pod), None) => {
                let record = Arc::new(Record::new(pod, hub.now()));
                hub.insert(Arc::clone(&record));
                workers.spawn(Worker::new(Arc::clone(hub), record).run());
            }
            (News::Gone, Some(record)) => record.removed(),
            (News::Gone, None) => {}
        }
    }
}
