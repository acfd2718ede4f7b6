//! Silent nodes and the pods on them, over an API server in the process (C12).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Cluster, ready_status};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcontrol::node::{NodeLifecycle, eviction_controller};
use kcore::client::{Api, DeleteOptions, Patch};
use kcore::component::{Distribution, Running};
use serde_json::{Value, json};

fn run(cluster: &Cluster) -> Running {
    Distribution::new()
        .clock(cluster.clock.clone())
        .with(NodeLifecycle::new(cluster.manager()))
        .with(eviction_controller(cluster.manager()))
        .start()
}

fn nodes(cluster: &Cluster) -> Api<Node> {
    Api::all(Arc::clone(&cluster.admin))
}

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(Arc::clone(&cluster.admin), "kube-node-lease")
}

fn from<T: kcore::kind::Kind>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

async fn add_node(cluster: &Cluster, name: &str) {
    nodes(cluster).create(from(json!({"metadata": {"name": name}}))).await.unwrap();
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}});
    let patch = Patch::Merge(status.to_string().into());
    nodes(cluster).patch_status(name, patch).await.unwrap();
    leases(cluster)
        .create(from(json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}})))
        .await
        .unwrap();
}

/// Lets time pass while these nodes renew their Leases.
async fn pass(cluster: &Cluster, seconds: u64, alive: &[&str]) {
    for _ in 0..seconds / 5 {
        for name in alive {
            let now = cluster.clock.now();
            let renewed = json!({"spec": {"renewTime": format!("{now:.6}")}}).to_string();
            leases(cluster).patch(name, Patch::Merge(renewed.into())).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn taints(cluster: &Cluster, name: &str) -> Vec<String> {
    let node = nodes(cluster).get(name).await.unwrap();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    taints.iter().map(|one| format!("{}:{}", one.key, one.effect)).collect()
}

async fn ready(cluster: &Cluster, name: &str) -> String {
    kcontrol::node::plan::ready(&nodes(cluster).get(name).await.unwrap()).to_owned()
}

async fn add_pod(cluster: &Cluster, name: &str, node: &str) {
    let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node,
        "containers": [{"name": "c", "image": "web"}]}});
    cluster.create::<Pod>(pod).await;
    cluster.status::<Pod>(name, ready_status("10.0.0.1", &cluster.clock)).await;
}

const NO_EXECUTE: &str = "node.kubernetes.io/unreachable:NoExecute";

#[tokio::test(start_paused = true)]
async fn a_silent_node_becomes_unknown_and_loses_its_pods_when_their_toleration_ends_c12() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        add_node(&cluster, name).await;
    }
    add_pod(&cluster, "web", "a").await;
    let _running = run(&cluster);
    pass(&cluster, 45, &["b", "c"]).await;
    assert_eq!(ready(&cluster, "a").await, "True", "C12: 50 s are not over");
    pass(&cluster, 30, &["b", "c"]).await;
    assert_eq!(ready(&cluster, "a").await, "Unknown");
    assert_eq!(ready(&cluster, "b").await, "True");
    let found = taints(&cluster, "a").await;
    assert_eq!(found, ["node.kubernetes.io/unreachable:NoSchedule", NO_EXECUTE]);
    let pod = cluster.of::<Pod>().get("web").await.unwrap();
    let conditions = pod.status.clone().unwrap().conditions.unwrap();
    let own = conditions.iter().find(|one| one.type_ == "Ready").unwrap();
    assert_eq!(own.status, "False", "no Service sends traffic to a silent node");
    pass(&cluster, 250, &["b", "c"]).await;
    let leaving = |pod: Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
    assert!(!leaving(cluster.of::<Pod>().get("web").await.unwrap()), "300 s are not over");
    pass(&cluster, 60, &["b", "c"]).await;
    assert!(leaving(cluster.of::<Pod>().get("web").await.unwrap()));
    let heard = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
        "lastHeartbeatTime": cluster.clock.now().to_string()}]}});
    let patch = Patch::Merge(heard.to_string().into());
    nodes(&cluster).patch_status("a", patch).await.unwrap();
    pass(&cluster, 20, &["a", "b", "c"]).await;
    assert!(taints(&cluster, "a").await.is_empty(), "a node that speaks again is free");
}

#[tokio::test(start_paused = true)]
async fn no_node_is_evicted_when_every_zone_is_down_c12() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        add_node(&cluster, name).await;
    }
    let _running = run(&cluster);
    pass(&cluster, 600, &[]).await;
    for name in ["a", "b", "c"] {
        assert_eq!(ready(&cluster, name).await, "Unknown");
        let found = taints(&cluster, name).await;
        assert_eq!(found, ["node.kubernetes.io/unreachable:NoSchedule"], "C12");
    }
}

#[tokio::test(start_paused = true)]
async fn taints_come_no_faster_than_one_in_ten_seconds_c12() {
    let cluster = Cluster::new();
    let names: Vec<String> = (0..12).map(|number| format!("n{number:02}")).collect();
    for name in &names {
        add_node(&cluster, name).await;
    }
    let _running = run(&cluster);
    let alive: Vec<&str> = names[5..].iter().map(String::as_str).collect();
    pass(&cluster, 55, &alive).await;
    let mut last = 0;
    for _ in 0..12 {
        pass(&cluster, 10, &alive).await;
        let mut tainted = 0;
        for name in &names {
            tainted +=
                usize::from(taints(&cluster, name).await.iter().any(|one| one == NO_EXECUTE));
        }
        assert!(tainted <= last + 2, "C12: {last}, then {tainted}");
        last = tainted;
    }
    assert_eq!(last, 5);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_go_too() {
    let cluster = Cluster::new();
    add_node(&cluster, "a").await;
    add_pod(&cluster, "web", "a").await;
    let _running = run(&cluster);
    pass(&cluster, 30, &["a"]).await;
    assert!(cluster.of::<Pod>().get_opt("web").await.unwrap().is_some());
    nodes(&cluster).delete("a", &DeleteOptions::default()).await.unwrap();
    let gone = || async { cluster.of::<Pod>().get_opt("web").await.unwrap().is_none() };
    cluster.until("the pod is gone", gone).await;
}
