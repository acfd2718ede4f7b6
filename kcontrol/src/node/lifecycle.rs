//! Watches over nodes: marks the silent ones, and taints them no faster than is safe (C12).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::{Api, DynClient};
use kcore::component::{self, Component};
use kcore::event::{EventRecorder, Source, reference_to};
use kcore::informer::{Informers, Lister};
use kcore::queue::TokenBucket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::{
    Disruption, GRACE, STARTUP_GRACE, disruption, evicting, eviction_taint, plan_taints, rate,
    ready, silenced,
};
use crate::Result;

/// How often nodes are looked at.
pub const MONITOR_PERIOD: Duration = Duration::from_secs(5);
/// Where agents renew their Leases.
const LEASES: &str = "kube-node-lease";
const REGION_LABEL: &str = "topology.kubernetes.io/region";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The node lifecycle controller: one that is silent for 50 s is marked as unknown and tainted.
#[derive(Debug, Clone)]
pub struct NodeLifecycle {
    client: DynClient,
    informers: Option<Informers>,
}

impl NodeLifecycle {
    /// A controller with informers of its own.
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

/// What a node last said, and when that was seen here: clocks elsewhere do not matter.
#[derive(Debug)]
struct Heard {
    uid: String,
    lease: Option<String>,
    status: String,
    at: Instant,
    grace: Duration,
}

/// One run's memory.
struct Monitor {
    client: DynClient,
    clock: kcore::clock::Clock,
    recorder: EventRecorder,
    nodes: Lister<Node>,
    leases: Lister<Lease>,
    pods: Lister<Pod>,
    heard: BTreeMap<String, Heard>,
    zones: BTreeMap<String, (f64, TokenBucket)>,
}

#[async_trait]
impl Component for NodeLifecycle {
    fn name(&self) -> &str {
        "node-lifecycle-controller"
    }

    async fn run(&self, ctx: component::Context) -> component::Result {
        ctx.health().not_ready("caches are not synced");
        let (clock, random, stop) = (ctx.clock().clone(), ctx.random().clone(), ctx.stop().clone());
        let informers = self
            .informers
            .clone()
            .unwrap_or_else(|| Informers::new(Arc::clone(&self.client), random.fork()));
        let (nodes, leases) = (informers.of::<Node>(), informers.of::<Lease>());
        let pods = informers.of::<Pod>();
        let source = Source { component: "node-controller".to_owned(), host: String::new() };
        let client = Arc::clone(&self.client);
        let recorder = EventRecorder::new(client, source, clock.clone(), random.fork());
        let mut tasks = JoinSet::new();
        let (bag, until) = (informers, stop.clone());
        tasks.spawn(async move { bag.run(until).await });
        let (teller, until) = (recorder.clone(), stop.clone());
        tasks.spawn(async move { teller.run(until).await });
        let synced = async {
            nodes.wait_for_sync().await;
            leases.wait_for_sync().await;
            pods.wait_for_sync().await;
        };
        kcore::select! {
            () = stop.stopped() => return Ok(()),
            () = synced => ctx.health().ready(),
        }
        let monitor = Monitor {
            client: Arc::clone(&self.client),
            clock,
            recorder,
            nodes: nodes.lister(),
            leases: leases.lister(),
            pods: pods.lister(),
            heard: BTreeMap::new(),
            zones: BTreeMap::new(),
        };
        let ended = kcore::select! {
            () = stop.stopped() => Ok(()),
            () = monitor.watch() => Ok(()),
            Some(joined) = tasks.join_next() => joined,
        };
        Ok(ended?)
    }
}

fn zone_of(node: &Node) -> String {
    let label = |key: &str| {
        let labels = node.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(key)).map_or("", String::as_str)
    };
    format!("{}:{}", label(REGION_LABEL), label(ZONE_LABEL))
}

impl Monitor {
    /// Looks at all nodes, now and then. It never ends.
    async fn watch(mut self) {
        loop {
            let nodes = self.nodes.list();
            self.heard.retain(|name, _| nodes.iter().any(|node| name_of(node) == name));
            for node in &nodes {
                if let Err(error) = self.listen(node).await {
                    tracing::warn!(node = name_of(node), %error, "the node is looked at again");
                }
            }
            self.taint_all().await;
            tokio::time::sleep(MONITOR_PERIOD).await;
        }
    }

    /// Notes whether a node said something, and marks it if it did not for too long.
    async fn listen(&mut self, node: &Arc<Node>) -> Result<()> {
        let name = name_of(node);
        let lease = self.leases.get(LEASES, name);
        let lease = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let lease = lease.map(|time| format!("{time:?}"));
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let own = conditions.into_iter().flatten().find(|one| one.type_ == "Ready");
        let status = format!("{:?}", own.map(|one| (&one.status, &one.last_heartbeat_time)));
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let now = Instant::now();
        let grace = if own.is_some() { GRACE } else { STARTUP_GRACE };
        let fresh = self.heard.get(name).is_none_or(|heard| {
            // Unknown is what we wrote ourselves.
            let spoke = heard.status != status && ready(node) != "Unknown";
            heard.uid != uid || heard.lease != lease || spoke
        });
        if fresh {
            let heard = Heard { uid, lease, status, at: now, grace };
            self.heard.insert(name.to_owned(), heard);
        }
        let silent = self.heard.get(name).is_some_and(|heard| now - heard.at > heard.grace);
        if !silent {
            return Ok(());
        }
        if let Some(conditions) = silenced(node, self.clock.now()) {
            let mut changed = (**node).clone();
            changed.status.get_or_insert_default().conditions = Some(conditions);
            let api: Api<Node> = Api::all(Arc::clone(&self.client));
            api.update_status(changed).await?;
            let message = format!("Node {name} status is now: NodeNotReady");
            self.recorder.normal(&reference_to(&**node), "NodeNotReady", message);
        }
        self.mark_pods(name).await
    }

    /// Pods of a silent node are not ready: no Service sends them traffic.
    async fn mark_pods(&self, node: &str) -> Result<()> {
        for pod in self.pods.list() {
            let here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
            if !here || !crate::pod::is_ready(&pod) {
                continue;
            }
            let mut changed = (*pod).clone();
            let conditions = changed.status.as_mut().and_then(|one| one.conditions.as_mut());
            for one in conditions.into_iter().flatten().filter(|one| one.type_ == "Ready") {
                "False".clone_into(&mut one.status);
                let now = self.clock.now();
                one.last_transition_time =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            }
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Pod> = Api::namespaced(Arc::clone(&self.client), namespace);
            match api.update_status(changed).await {
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Gives every node the taints it should have, as fast as its zone allows.
    async fn taint_all(&mut self) {
        let nodes = self.nodes.list();
        let mut zones: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for node in &nodes {
            let (up, down) = zones.entry(zone_of(node)).or_default();
            *if ready(node) == "True" { up } else { down } += 1;
        }
        let full = |(up, down): &(usize, usize)| disruption(*up, *down) == Disruption::Full;
        let all_down = !zones.is_empty() && zones.values().all(full);
        for node in &nodes {
            let zone = zone_of(node);
            let (up, down) = zones.get(&zone).copied().unwrap_or_default();
            let allowed = rate(disruption(up, down), up + down, all_down);
            let evict = self.may_evict(node, &zone, allowed, all_down);
            if let Err(error) = self.taint(node, evict).await {
                tracing::warn!(node = name_of(node), %error, "the node is tainted later");
            }
        }
    }

    /// The NoExecute taint a node is to have now.
    fn may_evict(
        &mut self,
        node: &Node,
        zone: &str,
        rate: f64,
        all_down: bool,
    ) -> Option<&'static str> {
        let wanted = eviction_taint(node)?;
        if all_down {
            return None;
        }
        if evicting(node).is_some() || rate <= 0.0 {
            return evicting(node).map(|_| wanted);
        }
        let fresh = || (rate, TokenBucket::new(rate, 1));
        let entry = self.zones.entry(zone.to_owned()).or_insert_with(fresh);
        if (entry.0 - rate).abs() > f64::EPSILON {
            *entry = fresh();
        }
        entry.1.try_take(Instant::now()).then_some(wanted)
    }

    async fn taint(&self, node: &Arc<Node>, evict: Option<&str>) -> Result<()> {
        let Some(taints) = plan_taints(node, evict, self.clock.now()) else { return Ok(()) };
        let mut changed = (**node).clone();
        changed.spec.get_or_insert_default().taints = (!taints.is_empty()).then_some(taints);
        let api: Api<Node> = Api::all(Arc::clone(&self.client));
        match api.update(changed).await {
            // Somebody else wrote; the next look sees what.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }
}

fn name_of(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}
