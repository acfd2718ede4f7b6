//! What some workloads need beside nodes and pods: volumes, and pods that go meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::CSINode;
use kcore::client::{Api, DeleteOptions, DynClient};
use serde_json::{Value, json};

use crate::run::AT_ONCE;
use crate::workloads::{Pods, Volumes, Workload};

/// The driver of all volumes, and how many a node takes.
const DRIVER: &str = "ebs.csi.aws.com";
const PER_NODE: u32 = 39;
/// The name of the driver in the tree, as nodes say that it has moved out.
const IN_TREE: &str = "kubernetes.io/aws-ebs";

/// What nodes say of their volumes.
pub(crate) async fn create_csi_nodes(client: &DynClient, workload: &Workload) {
    let annotations = match workload.volumes {
        Volumes::None | Volumes::InTree => return,
        Volumes::Csi => json!({}),
        Volumes::Migrated => json!({"storage.alpha.kubernetes.io/migrated-plugins": IN_TREE}),
    };
    let nodes: Api<CSINode> = Api::all(Arc::clone(client));
    futures::stream::iter(0..workload.nodes)
        .for_each_concurrent(AT_ONCE, |at| {
            let name = format!("node-{at}");
            let driver = json!({"name": DRIVER, "nodeID": name,
                "allocatable": {"count": PER_NODE}});
            let node = json!({"metadata": {"name": name, "annotations": annotations},
                "spec": {"drivers": [driver]}});
            let (nodes, node) = (nodes.clone(), serde_json::from_value(node).unwrap());
            async move { drop(nodes.create(node).await.unwrap()) }
        })
        .await;
}

/// The source of a volume by its name.
fn source(volumes: Volumes, name: &str) -> Value {
    match volumes {
        Volumes::Csi => json!({"csi": {"driver": DRIVER, "volumeHandle": name}}),
        _ => json!({"awsElasticBlockStore": {"volumeID": name}}),
    }
}

/// A volume for each of the pods, bound to its claim already: binding volumes is not measured.
pub(crate) async fn create_volumes(
    client: &DynClient,
    volumes: Volumes,
    pods: &Pods,
    prefix: &str,
) {
    if volumes == Volumes::None {
        return;
    }
    let all: Api<PersistentVolume> = Api::all(Arc::clone(client));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(Arc::clone(client), &*pods.namespace);
    futures::stream::iter(0..pods.count)
        .for_each_concurrent(AT_ONCE, |at| {
            let (all, claims) = (all.clone(), claims.clone());
            let name = format!("{prefix}-{at}");
            let mut volume = json!({"metadata": {"name": name}, "spec": {
                "accessModes": ["ReadOnlyMany"], "capacity": {"storage": "1Gi"},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": pods.namespace,
                    "name": name}}});
            let source = source(volumes, &name);
            volume["spec"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            let claim = json!({"metadata": {"name": name,
                    "annotations": {"pv.kubernetes.io/bind-completed": "true"}},
                "spec": {"accessModes": ["ReadOnlyMany"], "volumeName": name,
                    "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}});
            async move {
                all.create(serde_json::from_value(volume).unwrap()).await.unwrap();
                claims.create(serde_json::from_value(claim).unwrap()).await.unwrap();
            }
        })
        .await;
}

/// Gives a pod the volume of its name.
pub(crate) fn mount(volumes: Volumes, pod: &mut Pod) {
    if volumes != Volumes::None {
        let claim = json!([{"name": "data",
            "persistentVolumeClaim": {"claimName": pod.metadata.name}}]);
        pod.spec.as_mut().unwrap().volumes = Some(serde_json::from_value(claim).unwrap());
    }
}

/// Deletes pods one by one, so many a second.
pub(crate) async fn delete(client: DynClient, pods: Pods, prefix: &'static str, rate: u32) {
    let api: Api<Pod> = Api::namespaced(client, &*pods.namespace);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    for at in 0..pods.count {
        ticks.tick().await;
        api.delete(&format!("{prefix}-{at}"), &DeleteOptions::default()).await.unwrap();
    }
}
