//! The ReplicaSet controller over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{Cluster, replica_set};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use kcontrol::replicaset;
use kcore::client::DeleteOptions;
use serde_json::json;

async fn has_pods(cluster: &Cluster, count: usize) -> bool {
    let pods = cluster.pods().await;
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == count
}

#[tokio::test(start_paused = true)]
async fn a_set_creates_replaces_and_deletes_pods_and_then_rests_c1() {
    let cluster = Cluster::new();
    let _running = cluster.run(replicaset::controller(cluster.manager()));
    cluster.create::<ReplicaSet>(replica_set("web", 3)).await;
    cluster.until("three pods", || has_pods(&cluster, 3)).await;
    cluster.make_ready(|_| true).await;
    cluster
        .until("three ready", || async {
            let set = cluster.of::<ReplicaSet>().get("web").await.unwrap();
            let status = set.status.clone().unwrap();
            status.ready_replicas == Some(3) && status.available_replicas == Some(3)
        })
        .await;
    cluster.assert_quiet().await;
    let first = cluster.pods().await[0].metadata.name.clone().unwrap();
    cluster.of::<Pod>().delete(&first, &DeleteOptions::default()).await.unwrap();
    cluster.until("a replacement", || has_pods(&cluster, 3)).await;
    cluster.patch::<ReplicaSet>("web", json!({"spec": {"replicas": 1}})).await;
    cluster.until("one pod", || has_pods(&cluster, 1)).await;
    let ready = cluster.pods().await;
    assert!(ready[0].status.as_ref().unwrap().pod_ip.is_some(), "a ready pod stays");
    cluster.assert_quiet().await;
    let events = cluster.list::<Event>().await;
    let told = |reason: &str, words: &str| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.message.as_deref().is_some_and(|message| message.starts_with(words))
        })
    };
    assert!(told("SuccessfulCreate", "Created pod: web-"));
    assert!(told("SuccessfulDelete", "Deleted pod: web-"));
}

#[tokio::test(start_paused = true)]
async fn a_controller_stopped_anywhere_leaves_exactly_n_pods_c2_c6() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 40)).await;
    let mut most = 0;
    for _ in 0..30 {
        // Dropping it stops it wherever it is.
        let running = cluster.run(replicaset::controller(cluster.manager()));
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
        drop(running);
        most = most.max(cluster.pods().await.len());
    }
    let _running = cluster.run(replicaset::controller(cluster.manager()));
    cluster.until("forty pods", || has_pods(&cluster, 40)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.pods().await.len(), 40);
    assert!(most <= 40, "C2: there were {most} pods");
}

#[tokio::test(start_paused = true)]
async fn pods_are_adopted_by_label_and_released_with_it() {
    let cluster = Cluster::new();
    let pod = json!({"metadata": {"name": "free", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    cluster.create::<Pod>(pod).await;
    let set = cluster.create::<ReplicaSet>(replica_set("web", 2)).await;
    let _running = cluster.run(replicaset::controller(cluster.manager()));
    cluster.until("two pods", || has_pods(&cluster, 2)).await;
    let free = cluster.of::<Pod>().get("free").await.unwrap();
    let owner = &free.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((Some(&owner.uid), owner.controller), (set.metadata.uid.as_ref(), Some(true)));
    cluster.patch::<Pod>("free", json!({"metadata": {"labels": {"app": "other"}}})).await;
    cluster.until("a third pod", || has_pods(&cluster, 3)).await;
    let free = cluster.of::<Pod>().get("free").await.unwrap();
    assert!(free.metadata.owner_references.clone().unwrap_or_default().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_create_is_told_and_tried_again() {
    let cluster = Cluster::new();
    let mut set = replica_set("web", 2);
    set["spec"]["template"]["spec"]["serviceAccountName"] = json!("absent");
    cluster.create::<ReplicaSet>(set).await;
    let _running = cluster.run(replicaset::controller(cluster.manager()));
    let failing = || async {
        let set = cluster.of::<ReplicaSet>().get("web").await.unwrap();
        let conditions = set.status.clone().and_then(|status| status.conditions);
        conditions.unwrap_or_default().iter().any(|condition| {
            condition.type_.as_deref() == Some("ReplicaFailure")
                && condition.reason.as_deref() == Some("FailedCreate")
        })
    };
    cluster.until("a failure is shown", failing).await;
    let account = json!({"metadata": {"name": "absent"}});
    cluster.create::<k8s_openapi::api::core::v1::ServiceAccount>(account).await;
    cluster.until("two pods", || has_pods(&cluster, 2)).await;
    cluster.until("the failure is gone", || async { !failing().await }).await;
}
