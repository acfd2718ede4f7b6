//! The Deployment controller, with the one of ReplicaSets, over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Cluster, deployment};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kcontrol::deployment::status::{condition, is_complete};
use kcontrol::{deployment as deployments, replicaset};
use kcore::component::{Distribution, Running};
use kcore::random::Random;
use serde_json::{Value, json};

fn run(cluster: &Cluster) -> Running {
    Distribution::new()
        .clock(cluster.clock.clone())
        .random(Random::seeded(3))
        .with(replicaset::controller(cluster.manager()))
        .with(deployments::controller(cluster.manager()))
        .start()
}

async fn web(cluster: &Cluster) -> Arc<Deployment> {
    cluster.of::<Deployment>().get("web").await.unwrap()
}

async fn complete(cluster: &Cluster) -> bool {
    let web = web(cluster).await;
    web.status.as_ref().is_some_and(|status| is_complete(&web, status))
}

async fn reason(cluster: &Cluster, kind: &str) -> Option<String> {
    condition(web(cluster).await.status.as_ref()?, kind)?.reason.clone()
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

fn rolling(surge: i32, unavailable: i32) -> Value {
    json!({"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

async fn set_image(cluster: &Cluster, image: &str) {
    let containers = json!([{"name": "c", "image": image}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    cluster.patch::<Deployment>("web", patch).await;
}

/// Makes pods ready one step at a time until the rollout is done; checks the bounds on the way.
async fn roll_out(cluster: &Cluster, most: usize, fewest: usize) {
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pods = cluster.pods().await;
        assert!(pods.len() <= most, "C2: {} pods, at most {most}", pods.len());
        let ready = pods.iter().filter(|pod| pod.status.as_ref().unwrap().pod_ip.is_some());
        assert!(ready.count() >= fewest, "fewer than {fewest} pods are ready");
        cluster.make_ready(|_| true).await;
        if complete(cluster).await {
            return;
        }
    }
    panic!("the rollout never ended: {:?}", web(cluster).await.status);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_stays_within_its_bounds_and_ends_in_silence_c1_c2() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    cluster.create::<Deployment>(deployment("web", 4, &rolling(1, 1))).await;
    roll_out(&cluster, 4, 0).await;
    assert_eq!(reason(&cluster, "Progressing").await.unwrap(), "NewReplicaSetAvailable");
    assert_eq!(reason(&cluster, "Available").await.unwrap(), "MinimumReplicasAvailable");
    set_image(&cluster, "web:2").await;
    roll_out(&cluster, 5, 3).await;
    assert!(cluster.pods().await.iter().all(|pod| image(pod) == "web:2"));
    let notes = web(&cluster).await.metadata.annotations.clone().unwrap();
    assert_eq!(notes["deployment.kubernetes.io/revision"], "2");
    cluster.assert_quiet().await;
    let events = cluster.list::<Event>().await;
    assert!(events.iter().any(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        event.reason.as_deref() == Some("ScalingReplicaSet")
            && message.starts_with("Scaled up replica set web-")
            && message.ends_with("from 0 to 4")
    }));
}

#[tokio::test(start_paused = true)]
async fn a_template_that_comes_back_finds_its_old_set_again() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    cluster.create::<Deployment>(deployment("web", 2, &rolling(1, 0))).await;
    roll_out(&cluster, 2, 0).await;
    let first = cluster.list::<ReplicaSet>().await[0].metadata.name.clone().unwrap();
    set_image(&cluster, "web:2").await;
    roll_out(&cluster, 3, 2).await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"template": common::template("web:1")}}))
        .await;
    roll_out(&cluster, 3, 2).await;
    let sets = cluster.list::<ReplicaSet>().await;
    assert_eq!(sets.len(), 2);
    let first = sets.iter().find(|set| set.metadata.name.as_ref() == Some(&first)).unwrap();
    assert_eq!(first.spec.replicas, Some(2));
    let notes = first.metadata.annotations.as_ref().unwrap();
    assert_eq!(notes["deployment.kubernetes.io/revision"], "3");
    assert_eq!(notes["deployment.kubernetes.io/revision-history"], "1");
}

#[tokio::test(start_paused = true)]
async fn recreate_starts_no_new_pod_before_the_old_ones_are_gone() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    cluster.create::<Deployment>(deployment("web", 3, &json!({"type": "Recreate"}))).await;
    roll_out(&cluster, 3, 0).await;
    set_image(&cluster, "web:2").await;
    for _ in 0..100 {
        let pods = cluster.pods().await;
        let new = pods.iter().filter(|pod| image(pod) == "web:2").count();
        assert!(new == 0 || new == pods.len(), "{new} of {} pods are new", pods.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    roll_out(&cluster, 3, 0).await;
    assert!(cluster.pods().await.iter().all(|pod| image(pod) == "web:2"));
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_and_does_not_roll() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    cluster.create::<Deployment>(deployment("web", 2, &rolling(1, 0))).await;
    roll_out(&cluster, 2, 0).await;
    cluster.patch::<Deployment>("web", json!({"spec": {"paused": true}})).await;
    set_image(&cluster, "web:2").await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 4}})).await;
    cluster.until("four pods", || async { cluster.pods().await.len() == 4 }).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.pods().await.iter().all(|pod| image(pod) == "web:1"));
    assert_eq!(reason(&cluster, "Progressing").await.unwrap(), "DeploymentPaused");
    cluster.patch::<Deployment>("web", json!({"spec": {"paused": false}})).await;
    cluster.make_ready(|_| true).await;
    roll_out(&cluster, 5, 4).await;
    assert!(cluster.pods().await.iter().all(|pod| image(pod) == "web:2"));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_stands_still_exceeds_its_deadline() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    let mut stuck = deployment("web", 2, &rolling(1, 0));
    stuck["spec"]["progressDeadlineSeconds"] = json!(30);
    cluster.create::<Deployment>(stuck).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_ne!(reason(&cluster, "Progressing").await.unwrap(), "ProgressDeadlineExceeded");
    let late =
        || async { reason(&cluster, "Progressing").await.unwrap() == "ProgressDeadlineExceeded" };
    cluster.until("the deadline is exceeded", late).await;
    cluster.make_ready(|_| true).await;
    cluster.until("it is complete", || complete(&cluster)).await;
    assert_eq!(reason(&cluster, "Progressing").await.unwrap(), "NewReplicaSetAvailable");
}

#[tokio::test(start_paused = true)]
async fn old_sets_beyond_the_history_limit_are_cleaned_up() {
    let cluster = Cluster::new();
    let _running = run(&cluster);
    let mut web = deployment("web", 1, &rolling(1, 0));
    web["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.create::<Deployment>(web).await;
    for image in ["web:1", "web:2", "web:3", "web:4"] {
        set_image(&cluster, image).await;
        roll_out(&cluster, 2, 0).await;
    }
    let two = || async { cluster.list::<ReplicaSet>().await.len() == 2 };
    cluster.until("the new set and one old one", two).await;
}
