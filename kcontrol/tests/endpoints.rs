//! The EndpointSlice and Endpoints controllers over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{Cluster, replica_set};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kcontrol::{endpoints, replicaset};
use kcore::client::DeleteOptions;
use kcore::component::{Distribution, Running};
use serde_json::json;

fn run(cluster: &Cluster) -> Running {
    Distribution::new()
        .clock(cluster.clock.clone())
        .with(replicaset::controller(cluster.manager()))
        .with(endpoints::slice_controller(cluster.manager()))
        .with(endpoints::controller(cluster.manager()))
        .start()
}

/// Ready endpoints in slices, and ready addresses in Endpoints.
async fn ready(cluster: &Cluster) -> (usize, usize) {
    let slices = cluster.list::<EndpointSlice>().await;
    let slices = slices.iter().filter(|slice| {
        slice.metadata.labels.as_ref().is_some_and(|labels| {
            labels.get("kubernetes.io/service-name").map(String::as_str) == Some("web")
        })
    });
    let ready = slices
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|one| one.conditions.as_ref().unwrap().ready == Some(true))
        .count();
    let endpoints = cluster.of::<Endpoints>().get_opt("web").await.unwrap();
    let subsets = endpoints.and_then(|one| one.subsets.clone()).unwrap_or_default();
    let addresses = subsets.iter().flat_map(|one| one.addresses.iter().flatten()).count();
    (ready, addresses)
}

async fn start(cluster: &Cluster) {
    cluster.create::<ReplicaSet>(replica_set("web", 3)).await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "web", "labels": {"team": "a"}},
            "spec": {"selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}))
        .await;
    cluster.until("three pods", || async { cluster.pods().await.len() == 3 }).await;
    cluster.make_ready(|_| true).await;
    cluster.until("three endpoints", || async { ready(cluster).await == (3, 3) }).await;
}

#[tokio::test(start_paused = true)]
async fn ready_pods_stand_behind_their_service_and_others_do_not() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    start(&cluster).await;
    let slices = cluster.list::<EndpointSlice>().await;
    let slice = slices.iter().find(|one| one.metadata.name.as_ref().unwrap().starts_with("web-"));
    let slice = slice.unwrap();
    let labels = slice.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["team"], "a");
    let manager = "endpointslice.kubernetes.io/managed-by";
    assert_eq!(labels[manager], "endpointslice-controller.k8s.io");
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].name, "web");
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    let first = cluster.pods().await[0].metadata.name.clone().unwrap();
    let broken = json!({"conditions": [{"type": "Ready", "status": "False"}]});
    cluster.status::<Pod>(&first, broken).await;
    cluster.until("two endpoints", || async { ready(&cluster).await == (2, 2) }).await;
    let version = |slice: &EndpointSlice| slice.metadata.resource_version.clone();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before: Vec<_> = cluster.list::<EndpointSlice>().await.iter().map(|s| version(s)).collect();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let after: Vec<_> = cluster.list::<EndpointSlice>().await.iter().map(|s| version(s)).collect();
    assert_eq!(before, after, "C1");
}

#[tokio::test(start_paused = true)]
async fn a_restart_never_empties_a_service_with_ready_pods_n6() {
    let cluster = Cluster::new();
    let running = run(&cluster);
    start(&cluster).await;
    drop(running);
    let _running = run(&cluster);
    for _ in 0..500 {
        tokio::task::yield_now().await;
        assert_eq!(ready(&cluster).await, (3, 3), "N6");
    }
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_of_a_deleted_service_go_too() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    start(&cluster).await;
    cluster.of::<Service>().delete("web", &DeleteOptions::default()).await.unwrap();
    let gone = || async { cluster.of::<Endpoints>().get_opt("web").await.unwrap().is_none() };
    cluster.until("the Endpoints are gone", gone).await;
}
