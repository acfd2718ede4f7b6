//! A scheduler with a plugin of one's own, over a control plane in this process. It takes part in
//! four extension points: it turns away nodes that would be shared by too many teams, ranks nodes
//! so that Pods with GPUs pack, counts what it promised until the Pods are bound, and lets no team
//! have more GPUs than its share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DynClient, ListOptions};
use kcore::component::Distribution;
use ksched::Scheduler;
use ksched::framework::{
    Args, CycleState, ExtensionPoints, FilterPlugin, Handle, Permit, PermitPlugin, PluginFactory,
    Profile, ReservePlugin, SchedulerPlugin, ScorePlugin, Status, plugin_fn,
};
use ksched::snapshot::{NodeInfo, PodInfo};
use kstore::MemoryStore;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

const NAME: &str = "PackGpus";
const GPU: &str = "nvidia.com/gpu";
const TEAM: &str = "team";
/// The highest score a plugin may give.
const MAX_SCORE: i64 = 100;
/// What weighs more than the stock plugins' scores together.
const WEIGHT: i64 = 20;

/// The plugin's arguments.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Limits {
    /// Teams that may share a node.
    teams_per_node: usize,
    /// GPUs that one team may have.
    gpus_per_team: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { teams_per_node: 1, gpus_per_team: 4 }
    }
}

/// Packs Pods that want GPUs, and keeps teams apart and within their shares.
#[derive(Debug)]
struct PackGpus {
    limits: Limits,
    /// GPUs that Pods of each team have been promised, by the Pod's uid.
    promised: Mutex<BTreeMap<String, (String, i64)>>,
}

impl PackGpus {
    fn new(args: &Args, _: &Handle) -> Result<Self, String> {
        let limits: Limits = args.parse()?;
        if limits.teams_per_node == 0 {
            return Err("teamsPerNode: Invalid value: 0: must be greater than zero".to_owned());
        }
        Ok(Self { limits, promised: Mutex::default() })
    }

    fn factory() -> impl PluginFactory {
        plugin_fn(NAME, Self::new)
    }
}

fn team(pod: &PodInfo) -> &str {
    pod.labels().get(TEAM).map_or("", String::as_str)
}

/// How well a node suits a Pod, by the GPUs that are free on it: a plain function.
fn suitability(wanted: i64, free: i64) -> i64 {
    match (wanted, free) {
        (0, 0) => MAX_SCORE,
        (0, _) => 0,
        (_, free) => (MAX_SCORE - (free - wanted)).clamp(0, MAX_SCORE),
    }
}

impl SchedulerPlugin for PackGpus {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self.clone());
        points.score(self.clone());
        points.reserve(self.clone());
        points.permit(self);
    }
}

impl FilterPlugin for PackGpus {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let mut teams: BTreeSet<&str> = node.pods().iter().map(|other| team(other)).collect();
        teams.insert(team(pod));
        if teams.len() <= self.limits.teams_per_node {
            return Status::success();
        }
        Status::unschedulable("node(s) had pods of other teams")
    }
}

impl ScorePlugin for PackGpus {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(suitability(pod.requests().get(GPU), node.free(GPU)))
    }
}

impl ReservePlugin for PackGpus {
    fn reserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) -> Status {
        let promise = (team(pod).to_owned(), pod.requests().get(GPU));
        self.promised.lock().insert(pod.uid().to_owned(), promise);
        Status::success()
    }

    fn unreserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) {
        self.promised.lock().remove(pod.uid());
    }
}

#[async_trait]
impl PermitPlugin for PackGpus {
    async fn permit(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Permit {
        let promised = self.promised.lock();
        let own = promised.values().filter(|(name, _)| name == team(pod));
        let (wanted, limit) = (own.map(|(_, gpus)| gpus).sum::<i64>(), self.limits.gpus_per_team);
        if wanted <= limit {
            return Permit::Allow;
        }
        let why = format!("team {:?} would have {wanted} of {limit} GPUs", team(pod));
        Permit::Reject(Status::unschedulable(why))
    }
}

fn node(name: &str, gpus: u32) -> serde_json::Result<Node> {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "capacity": {
            "cpu": "16", "memory": "64Gi", "pods": "110", GPU: gpus.to_string()}}}))
}

fn pod(name: &str, team: &str, gpus: u32) -> serde_json::Result<Pod> {
    let mut resources = json!({"cpu": "100m"});
    if gpus > 0 {
        resources[GPU] = json!(gpus.to_string());
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {TEAM: team}},
        "spec": {"containers": [{"name": "c", "image": "train:1",
            "resources": {"requests": resources, "limits": resources}}]}}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let api = ApiServer::new(MemoryStore::new());
    let admin: DynClient = Arc::new(api.client(Identity::admin()));
    let nodes: Api<Node> = Api::all(Arc::clone(&admin));
    let pods: Api<Pod> = Api::namespaced(admin, "default");
    for (name, gpus) in [("plain", 0), ("small", 2), ("large", 8)] {
        nodes.create(node(name, gpus)?).await?;
    }
    let profile = Profile::default()
        .weight(NAME, WEIGHT)
        .args(NAME, json!({"teamsPerNode": 1, "gpusPerTeam": 5}));
    let scheduler = Scheduler::new(Arc::new(api.client(Identity::component("scheduler"))))
        .plugin(PackGpus::factory())
        .profile(profile);
    let running = Distribution::new().with(scheduler).start();
    // One after the other, so that each finds what the one before left.
    for (name, team, gpus, expected) in [
        ("web", "shop", 0, Some("plain")),
        ("train-1", "vision", 1, Some("small")),
        ("train-2", "vision", 1, Some("small")),
        // The small node is full.
        ("train-3", "vision", 1, Some("large")),
        // Beyond the team's share.
        ("train-4", "vision", 4, None),
        // No node is left that other teams do not use.
        ("train-5", "speech", 1, None),
    ] {
        pods.create(pod(name, team, gpus)?).await?;
        let (place, why) = outcome(&pods, name).await?;
        println!("{name:8} of {team:7} wants {gpus} GPUs -> {}", place.as_deref().unwrap_or(&why));
        ensure!(place.as_deref() == expected, "{name} should be on {expected:?}");
    }
    ensure!(running.stop().await.is_clean(), "the scheduler had to be stopped by force");
    println!("scheduler_plugin: ok");
    Ok(())
}

/// Waits until a Pod has a node, or is told why it has none.
async fn outcome(pods: &Api<Pod>, name: &str) -> anyhow::Result<(Option<String>, String)> {
    for _ in 0..500 {
        let fields = format!("metadata.name={name}").parse()?;
        let list = pods.list(&ListOptions::default().fields(fields)).await?;
        if let Some(pod) = list.items.first() {
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
                return Ok((Some(node), String::new()));
            }
            let conditions =
                pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let mut refused = conditions.filter(|c| c.type_ == "PodScheduled");
            if let Some(message) = refused.find_map(|condition| condition.message.clone()) {
                return Ok((None, message));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("{name} was not looked at")
}

#[cfg(test)]
mod tests {
    use ksched::testing::{Cluster, NodeBuilder, node, pod};

    use super::*;

    fn cluster(nodes: [NodeBuilder; 2], args: serde_json::Value) -> Cluster {
        let profile = Profile::default().weight(NAME, WEIGHT).args(NAME, args);
        Cluster::new(nodes).plugin(PackGpus::factory()).profile(profile)
    }

    fn gpus(name: &str, count: &str) -> NodeBuilder {
        node(name).cpu("8").resource(GPU, count)
    }

    #[test]
    fn fuller_nodes_suit_better() {
        assert!(suitability(1, 1) > suitability(1, 8));
        assert!(suitability(0, 0) > suitability(0, 8));
    }

    #[test]
    fn a_pod_lands_where_the_plugin_says() {
        let cluster = cluster([gpus("small", "1"), gpus("large", "8")], json!({}));
        assert_eq!(cluster.place(pod("train").request(GPU, "1")).unwrap(), "small");
    }

    #[test]
    fn teams_share_a_node_only_as_far_as_the_arguments_say() {
        let with = |teams: usize| {
            cluster([gpus("a", "1"), gpus("b", "0")], json!({"teamsPerNode": teams}))
                .running(pod("other").label(TEAM, "shop").on("a"))
        };
        let train = || pod("train").label(TEAM, "vision").request(GPU, "1");
        assert_eq!(with(2).place(train()).as_deref(), Ok("a"));
        let message = with(1).place(train()).unwrap_err();
        assert!(message.contains("1 node(s) had pods of other teams"), "{message}");
    }

    #[test]
    fn wrong_arguments_say_what_would_be_right() {
        let error = cluster([gpus("a", "1"), gpus("b", "1")], json!({"teamsPerNode": 0}));
        let message = error.framework().unwrap_err().to_string();
        assert!(message.contains("must be greater than zero") && message.contains(NAME));
    }

    #[tokio::test]
    async fn a_team_is_permitted_its_share_and_gets_back_what_was_not_bound() {
        let plugin = PackGpus { limits: Limits::default(), promised: Mutex::default() };
        let mut state = CycleState::default();
        let wants = |name: &str, count: &str| pod(name).label(TEAM, "t").request(GPU, count).info();
        let (first, second) = (wants("a", "3"), wants("b", "2"));
        for pod in [&first, &second] {
            assert!(plugin.reserve(&mut state, pod, "node").is_success());
        }
        assert!(matches!(plugin.permit(&state, &second, "node").await, Permit::Reject(_)));
        plugin.unreserve(&mut state, &first, "node");
        assert_eq!(plugin.permit(&state, &second, "node").await, Permit::Allow);
    }
}
