//! The garbage collector over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Cluster, deployment};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kcontrol::Controllers;
use kcontrol::garbage::GarbageCollector;
use kcore::client::{Api, DeleteOptions, Propagation};
use serde_json::{Value, json};

fn owner(map: &ConfigMap, block: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": map.metadata.name,
        "uid": map.metadata.uid, "blockOwnerDeletion": block})
}

async fn make(cluster: &Cluster, name: &str, owners: &[Value]) -> Arc<ConfigMap> {
    cluster.create(json!({"metadata": {"name": name, "ownerReferences": owners}})).await
}

async fn is_there(cluster: &Cluster, name: &str) -> bool {
    cluster.of::<ConfigMap>().get_opt(name).await.unwrap().is_some()
}

async fn delete(cluster: &Cluster, name: &str, propagation: Propagation) {
    let options = DeleteOptions::default().propagation(propagation);
    cluster.of::<ConfigMap>().delete(name, &options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn background_deletes_the_owner_first_and_its_whole_tree_after_it_d2() {
    let cluster = Cluster::new();
    let _running = cluster.run(GarbageCollector::new(cluster.manager()));
    let root = make(&cluster, "root", &[]).await;
    let child = make(&cluster, "child", &[owner(&root, true)]).await;
    make(&cluster, "grandchild", &[owner(&child, true)]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(is_there(&cluster, "grandchild").await);
    delete(&cluster, "root", Propagation::Background).await;
    assert!(!is_there(&cluster, "root").await);
    let gone = || async { !is_there(&cluster, "grandchild").await };
    cluster.until("the grandchild is gone", gone).await;
    assert!(!is_there(&cluster, "child").await);
}

#[tokio::test(start_paused = true)]
async fn foreground_keeps_the_owner_until_blocking_dependents_are_gone_d2() {
    let cluster = Cluster::new();
    let _running = cluster.run(GarbageCollector::new(cluster.manager()));
    let root = make(&cluster, "root", &[]).await;
    make(&cluster, "child", &[owner(&root, true)]).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    cluster.patch::<ConfigMap>("child", hold).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    delete(&cluster, "root", Propagation::Foreground).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(is_there(&cluster, "root").await, "D2: the owner outlives its dependent");
    let child = cluster.of::<ConfigMap>().get("child").await.unwrap();
    assert!(child.metadata.deletion_timestamp.is_some());
    cluster.patch::<ConfigMap>("child", json!({"metadata": {"finalizers": null}})).await;
    let gone = || async { !is_there(&cluster, "root").await };
    cluster.until("the owner is gone", gone).await;
    assert!(!is_there(&cluster, "child").await);
}

#[tokio::test(start_paused = true)]
async fn orphans_survive_without_the_reference_d2() {
    let cluster = Cluster::new();
    let _running = cluster.run(GarbageCollector::new(cluster.manager()));
    let root = make(&cluster, "root", &[]).await;
    make(&cluster, "child", &[owner(&root, true)]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    delete(&cluster, "root", Propagation::Orphan).await;
    let gone = || async { !is_there(&cluster, "root").await };
    cluster.until("the owner is gone", gone).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let child = cluster.of::<ConfigMap>().get("child").await.unwrap();
    assert!(child.metadata.owner_references.clone().unwrap_or_default().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_namesake_of_the_owner_does_not_save_its_dependents_d3() {
    let cluster = Cluster::new();
    let root = make(&cluster, "root", &[]).await;
    make(&cluster, "child", &[owner(&root, false)]).await;
    delete(&cluster, "root", Propagation::Background).await;
    let again = make(&cluster, "root", &[]).await;
    make(&cluster, "shared", &[owner(&root, false), owner(&again, false)]).await;
    let _running = cluster.run(GarbageCollector::new(cluster.manager()));
    let gone = || async { !is_there(&cluster, "child").await };
    cluster.until("the child is gone", gone).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let shared = cluster.of::<ConfigMap>().get("shared").await.unwrap();
    let owners = shared.metadata.owner_references.clone().unwrap();
    assert_eq!(owners.len(), 1, "a dependent with an owner left stays, and forgets the other");
    assert_eq!(Some(&owners[0].uid), again.metadata.uid.as_ref());
}

#[tokio::test(start_paused = true)]
async fn owners_elsewhere_are_absent_and_cluster_scoped_dependents_stay_d4() {
    let cluster = Cluster::new();
    let namespaces: Api<Namespace> = Api::all(Arc::clone(&cluster.admin));
    let root = make(&cluster, "root", &[]).await;
    let namespace = json!({"metadata": {"name": "team", "ownerReferences": [owner(&root, false)]}});
    namespaces.create(serde_json::from_value(namespace).unwrap()).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(Arc::clone(&cluster.admin), "kube-system");
    let map = json!({"metadata": {"name": "far", "ownerReferences": [owner(&root, false)]}});
    maps.create(serde_json::from_value(map).unwrap()).await.unwrap();
    delete(&cluster, "root", Propagation::Background).await;
    make(&cluster, "root", &[]).await;
    let _running = cluster.run(GarbageCollector::new(cluster.manager()));
    let maps = &maps;
    let gone = || async move { maps.get_opt("far").await.unwrap().is_none() };
    cluster.until("the dependent elsewhere is gone", gone).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let team = namespaces.get("team").await.unwrap();
    assert!(team.metadata.deletion_timestamp.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_takes_its_sets_and_pods_along() {
    let cluster = Cluster::new();
    let _running = cluster.run(Controllers::stock(cluster.manager()));
    let rolling = json!({"type": "RollingUpdate"});
    cluster.create::<Deployment>(deployment("web", 3, &rolling)).await;
    cluster.until("three pods", || async { cluster.pods().await.len() == 3 }).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.pods().await.len(), 3, "D5: what is owned stays");
    let options = DeleteOptions::default().propagation(Propagation::Foreground);
    cluster.of::<Deployment>().delete("web", &options).await.unwrap();
    let gone = || async { cluster.of::<Deployment>().get_opt("web").await.unwrap().is_none() };
    cluster.until("the Deployment is gone", gone).await;
    assert!(cluster.pods().await.is_empty());
    assert!(cluster.list::<ReplicaSet>().await.is_empty());
}
