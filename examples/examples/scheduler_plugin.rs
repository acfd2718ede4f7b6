//! A scheduler with a plugin of one's own, over a control plane in this process: nodes with free
//! GPUs score higher for Pods that want one, and among them the fuller ones, so that they pack.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DynClient, ListOptions};
use kcore::component::Distribution;
use ksched::Scheduler;
use ksched::framework::{
    CycleState, ExtensionPoints, Profile, SchedulerPlugin, ScorePlugin, Status, plugin_fn,
};
use ksched::snapshot::{NodeInfo, PodInfo};
use kstore::MemoryStore;
use serde_json::json;

const GPU: &str = "nvidia.com/gpu";
/// The highest score a plugin may give.
const MAX_SCORE: i64 = 100;
/// What weighs more than the stock plugins' scores together.
const WEIGHT: i64 = 10;

/// Scores nodes with free GPUs, the fuller the higher; keeps other Pods off them.
#[derive(Debug)]
struct PackGpus;

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
        points.score(self);
    }
}

impl ScorePlugin for PackGpus {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(suitability(pod.requests().get(GPU), node.free(GPU)))
    }
}

fn node(name: &str, gpus: u32) -> serde_json::Result<Node> {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "capacity": {
            "cpu": "16", "memory": "64Gi", "pods": "110", GPU: gpus.to_string()}}}))
}

fn pod(name: &str, gpus: u32) -> serde_json::Result<Pod> {
    let mut resources = json!({"cpu": "100m"});
    if gpus > 0 {
        resources[GPU] = json!(gpus.to_string());
    }
    serde_json::from_value(json!({
        "metadata": {"name": name},
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
    let scheduler = Scheduler::new(Arc::new(api.client(Identity::component("scheduler"))))
        .plugin(plugin_fn("PackGpus", |_, _| Ok(PackGpus)))
        .profile(Profile::new("default-scheduler").weight("PackGpus", WEIGHT));
    let running = Distribution::new().with(scheduler).start();
    // One after the other, so that each finds what the one before left.
    for (name, gpus, expected) in [
        ("web", 0, "plain"),
        ("train-1", 1, "small"),
        ("train-2", 1, "small"),
        ("train-3", 1, "large"),
        ("train-4", 4, "large"),
    ] {
        pods.create(pod(name, gpus)?).await?;
        let place = placed(&pods, name).await?;
        println!("{name:8} wants {gpus} GPUs -> {place}");
        ensure!(place == expected, "{name} should be on {expected}");
    }
    ensure!(running.stop().await.is_clean(), "the scheduler had to be stopped by force");
    println!("scheduler_plugin: ok");
    Ok(())
}

/// Waits until a Pod has a node.
async fn placed(pods: &Api<Pod>, name: &str) -> anyhow::Result<String> {
    for _ in 0..500 {
        let fields = format!("metadata.name={name}").parse()?;
        let list = pods.list(&ListOptions::default().fields(fields)).await?;
        let node = list.items.first().and_then(|pod| pod.spec.as_ref()?.node_name.clone());
        if let Some(node) = node {
            return Ok(node);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("{name} was not scheduled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuller_nodes_suit_better() {
        assert!(suitability(1, 1) > suitability(1, 8));
        assert!(suitability(0, 0) > suitability(0, 8));
    }

    #[test]
    fn a_pod_lands_where_the_plugin_says() {
        use ksched::testing::{Cluster, node, pod};
        let gpus = |name, count| node(name).cpu("8").resource(GPU, count);
        let cluster = Cluster::new([gpus("small", "1"), gpus("large", "8")])
            .plugin(plugin_fn("PackGpus", |_, _| Ok(PackGpus)))
            .profile(Profile::new("default-scheduler").weight("PackGpus", WEIGHT));
        let place = cluster.place(pod("train").request(GPU, "1")).unwrap();
        assert_eq!(place, "small");
    }
}
