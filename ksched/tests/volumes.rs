//! Volumes: where claims can have them, and what is written so that they do.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use kcore::client::{Api, Patch};
use ksched::Scheduler;
use ksched::framework::Profile;
use ksched::testing::{Cluster, PodBuilder, node, pod};
use serde_json::{Value, json};

fn class(mode: &str, provisioner: &str) -> Value {
    json!({"metadata": {"name": "fast"}, "provisioner": provisioner, "volumeBindingMode": mode})
}

fn claim(name: &str, volume: Option<&str>) -> Value {
    let mut claim = json!({"metadata": {"name": name, "namespace": "default", "annotations": {}},
        "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}});
    if let Some(volume) = volume {
        claim["spec"]["volumeName"] = volume.into();
        claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes".into();
    }
    claim
}

fn volume(name: &str, size: &str, on: &str) -> Value {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [on]});
    json!({"metadata": {"name": name, "labels": {}}, "status": {"phase": "Available"},
        "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size}, "hostPath": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}})
}

fn with_claim(name: &str, claim: &str) -> PodBuilder {
    let source = json!({"claimName": claim});
    pod(name).spec("volumes", json!([{"name": "data", "persistentVolumeClaim": source}]))
}

fn cluster() -> Cluster {
    Cluster::new(["a", "b"].map(|name| node(name).cpu("4")))
}

fn refused(cluster: &Cluster, pod: PodBuilder) -> String {
    let message = cluster.place(pod).unwrap_err();
    message.split(" preemption: ").next().unwrap().to_owned()
}

#[test]
fn a_volume_is_made_where_its_driver_has_room_for_it() {
    let driver = |counts: bool| {
        let spec = json!({"storageCapacity": counts});
        json!({"metadata": {"name": "csi.example.com"}, "spec": spec})
    };
    let capacity = |name: &str, on: &str, free: &str, largest: Option<&str>| {
        let reach = json!({"matchLabels": {"kubernetes.io/hostname": on}});
        let metadata = json!({"name": name, "namespace": "default"});
        json!({"metadata": metadata, "storageClassName": "fast", "nodeTopology": reach,
            "capacity": free, "maximumVolumeSize": largest})
    };
    let claimed = |cluster: Cluster| {
        cluster
            .json::<StorageClass>(class("WaitForFirstConsumer", "csi.example.com"))
            .json::<PersistentVolumeClaim>(claim("c", None))
    };
    let with = |counts: bool, largest: Option<&str>| {
        claimed(cluster())
            .json::<CSIDriver>(driver(counts))
            .json::<CSIStorageCapacity>(capacity("on-a", "a", "512Mi", None))
            .json::<CSIStorageCapacity>(capacity("on-b", "b", "2Gi", largest))
    };
    assert_eq!(with(true, None).place(with_claim("p", "c")).as_deref(), Ok("b"));
    // What is free is in pieces.
    assert_eq!(
        refused(&with(true, Some("900Mi")), with_claim("p", "c")),
        "0/2 nodes are available: 2 node(s) did not have enough free storage."
    );
    // A driver that says nothing of it may have room anywhere.
    for cluster in [with(false, Some("900Mi")), claimed(cluster())] {
        assert!(cluster.place(with_claim("p", "c")).is_ok());
    }
}

#[test]
fn a_pod_runs_where_its_bound_volume_is() {
    let bound = cluster()
        .json::<PersistentVolumeClaim>(claim("c", Some("v")))
        .json::<PersistentVolume>(volume("v", "1Gi", "b"));
    assert_eq!(bound.place(with_claim("p", "c")).as_deref(), Ok("b"));
    let nowhere = cluster()
        .json::<PersistentVolumeClaim>(claim("c", Some("v")))
        .json::<PersistentVolume>(volume("v", "1Gi", "z"));
    let expected = "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node \
                    affinity.";
    assert_eq!(refused(&nowhere, with_claim("p", "c")), expected);
}

#[test]
fn claims_that_cannot_be_used_are_named() {
    let message = |cluster: &Cluster| refused(cluster, with_claim("p", "c"));
    let prefix = "0/2 nodes are available: ";
    let missing = format!("{prefix}persistentvolumeclaim \"c\" not found.");
    assert_eq!(message(&cluster()), missing);
    let immediate = cluster()
        .json::<StorageClass>(class("Immediate", "example.com/disk"))
        .json::<PersistentVolumeClaim>(claim("c", None))
        .framework()
        .map(|_| ());
    assert!(immediate.is_ok());
    let immediate = cluster()
        .json::<StorageClass>(class("Immediate", "example.com/disk"))
        .json::<PersistentVolumeClaim>(claim("c", None));
    let expected = format!("{prefix}pod has unbound immediate PersistentVolumeClaims.");
    assert_eq!(message(&immediate), expected);
    let lost = json!({"phase": "Lost"});
    let mut gone = claim("c", Some("v"));
    gone["status"] = lost;
    let expected = "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\".";
    let gone = cluster()
        .json::<PersistentVolumeClaim>(gone)
        .json::<PersistentVolume>(volume("v", "1Gi", "a"));
    assert_eq!(message(&gone), format!("{prefix}{expected}"));
}

#[test]
fn delayed_claims_take_the_smallest_volume_that_is_there_or_have_one_made() {
    let delayed = |provisioner: &str| {
        cluster()
            .json::<StorageClass>(class("WaitForFirstConsumer", provisioner))
            .json::<PersistentVolumeClaim>(claim("c", None))
    };
    let by_hand = delayed("kubernetes.io/no-provisioner");
    let expected = "0/2 nodes are available: 2 node(s) didn't find available persistent volumes \
                    to bind.";
    assert_eq!(refused(&by_hand, with_claim("p", "c")), expected);
    let by_hand = by_hand.json::<PersistentVolume>(volume("small", "500Mi", "a"));
    assert_eq!(refused(&by_hand, with_claim("p", "c")), expected);
    let by_hand = by_hand.json::<PersistentVolume>(volume("large", "2Gi", "b"));
    assert_eq!(by_hand.place(with_claim("p", "c")).as_deref(), Ok("b"));
    assert!(delayed("example.com/disk").place(with_claim("p", "c")).is_ok());
    let mut selected = claim("c", None);
    selected["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = "b".into();
    let chosen = cluster()
        .json::<StorageClass>(class("WaitForFirstConsumer", "example.com/disk"))
        .json::<PersistentVolumeClaim>(selected);
    assert_eq!(chosen.place(with_claim("p", "c")).as_deref(), Ok("b"));
}

#[test]
fn zones_limits_and_exclusive_claims_turn_nodes_away() {
    let zoned = |zone: &str| {
        let mut volume = volume("v", "1Gi", "a");
        volume["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone.into();
        volume["spec"].as_object_mut().unwrap().remove("nodeAffinity");
        Cluster::new(
            ["1", "2"].map(|zone| node(zone).cpu("4").label("topology.kubernetes.io/zone", zone)),
        )
        .json::<PersistentVolumeClaim>(claim("c", Some("v")))
        .json::<PersistentVolume>(volume)
    };
    assert_eq!(zoned("2").place(with_claim("p", "c")).as_deref(), Ok("2"));
    assert!(zoned("1__2").place(with_claim("p", "c")).is_ok());
    let expected = "0/2 nodes are available: 2 node(s) had no available volume zone.";
    assert_eq!(refused(&zoned("3"), with_claim("p", "c")), expected);

    let driver = |count: u32| {
        json!({"metadata": {"name": "a"}, "spec": {"drivers": [
            {"name": "example.com/disk", "nodeID": "a", "allocatable": {"count": count}}]}})
    };
    let limited = |count: u32| {
        Cluster::new([node("a").cpu("4")])
            .json::<CSINode>(driver(count))
            .json::<StorageClass>(class("WaitForFirstConsumer", "example.com/disk"))
            .json::<PersistentVolumeClaim>(claim("c", None))
            .json::<PersistentVolumeClaim>(claim("d", None))
            .running(with_claim("r", "d").on("a"))
    };
    assert!(limited(2).place(with_claim("p", "c")).is_ok());
    let expected = "0/1 nodes are available: 1 node(s) exceed max volume count.";
    assert_eq!(refused(&limited(1), with_claim("p", "c")), expected);

    let mut exclusive = claim("c", Some("v"));
    exclusive["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    let one = cluster()
        .json::<PersistentVolumeClaim>(exclusive)
        .json::<PersistentVolume>(volume("v", "1Gi", "a"));
    assert!(one.place(with_claim("p", "c")).is_ok());
    let taken = one.running(with_claim("r", "c").on("a").priority(7));
    assert!(refused(&taken, with_claim("p", "c")).contains("ReadWriteOncePod access mode"));
    // Whoever uses it can be made to leave.
    assert_eq!(taken.nominate(with_claim("p", "c").priority(9)).as_deref(), Ok("a"));
}

#[tokio::test(start_paused = true)]
async fn the_chosen_node_is_written_and_the_pod_waits_for_its_volume() {
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    let classes: Api<StorageClass> = Api::all(Arc::clone(&world.admin));
    let fast = class("WaitForFirstConsumer", "example.com/disk");
    classes.create(serde_json::from_value(fast).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(Arc::clone(&world.admin), "default");
    claims.create(serde_json::from_value(claim("c", None)).unwrap()).await.unwrap();
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(with_claim("p", "c")).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.node_of("p").await, "", "it waits");
    let waiting = claims.get("c").await.unwrap();
    let annotations = waiting.metadata.annotations.clone().unwrap();
    assert_eq!(annotations["volume.kubernetes.io/selected-node"], "a");
    // What the provisioner and the volume controller do.
    let volumes: Api<PersistentVolume> = Api::all(Arc::clone(&world.admin));
    volumes.create(serde_json::from_value(volume("v", "1Gi", "a")).unwrap()).await.unwrap();
    let bound = json!({"spec": {"volumeName": "v"},
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}});
    claims.patch("c", Patch::Merge(bound.to_string().into())).await.unwrap();
    assert_eq!(world.bound("p").await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_there_is_set_aside_for_the_claim() {
    let world = World::new();
    for name in ["a", "b"] {
        world.node(node(name).cpu("4")).await;
    }
    let classes: Api<StorageClass> = Api::all(Arc::clone(&world.admin));
    let fast = class("WaitForFirstConsumer", "kubernetes.io/no-provisioner");
    classes.create(serde_json::from_value(fast).unwrap()).await.unwrap();
    let volumes: Api<PersistentVolume> = Api::all(Arc::clone(&world.admin));
    volumes.create(serde_json::from_value(volume("v", "1Gi", "b")).unwrap()).await.unwrap();
    let available = json!({"status": {"phase": "Available"}}).to_string();
    volumes.patch_status("v", Patch::Merge(available.into())).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(Arc::clone(&world.admin), "default");
    claims.create(serde_json::from_value(claim("c", None)).unwrap()).await.unwrap();
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(with_claim("p", "c")).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let set_aside = volumes.get("v").await.unwrap();
    let reference = set_aside.spec.as_ref().unwrap().claim_ref.clone().unwrap();
    assert_eq!(reference.name.as_deref(), Some("c"));
    let bound = json!({"spec": {"volumeName": "v"},
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}});
    claims.patch("c", Patch::Merge(bound.to_string().into())).await.unwrap();
    assert_eq!(world.bound("p").await, "b");
}

/// A world with one node, a class whose volumes are made by nobody, and a claim.
async fn with_delayed_claim() -> (World, Api<PersistentVolumeClaim>) {
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    let classes: Api<StorageClass> = Api::all(Arc::clone(&world.admin));
    let fast = class("WaitForFirstConsumer", "example.com/disk");
    classes.create(serde_json::from_value(fast).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(Arc::clone(&world.admin), "default");
    claims.create(serde_json::from_value(claim("c", None)).unwrap()).await.unwrap();
    (world, claims)
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_its_volumes_only_so_long() {
    let (world, _claims) = with_delayed_claim().await;
    let seconds = json!({"bindTimeoutSeconds": 5});
    let profile = Profile::default().args("VolumeBinding", seconds);
    let _running = world.run(Scheduler::new(world.client()).profile(profile));
    world.pod(with_claim("p", "c")).await;
    let (reason, message) = world.told("p").await;
    assert_eq!(reason, "SchedulerError");
    assert!(message.contains("binding volumes: context deadline exceeded"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_looks_for_another_node_when_its_volume_cannot_be_made() {
    let (world, claims) = with_delayed_claim().await;
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(with_claim("p", "c")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // What a provisioner does that has no room there.
    let taken_back = json!({"metadata": {"annotations": {
        "volume.kubernetes.io/selected-node": null}}});
    claims.patch("c", Patch::Merge(taken_back.to_string().into())).await.unwrap();
    let (reason, message) = world.told("p").await;
    assert_eq!(reason, "SchedulerError");
    assert!(message.contains("provisioning failed for PVC \"c\""), "{message}");
    // It is tried again, and the node is written again.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let again = claims.get("c").await.unwrap();
    let annotations = again.metadata.annotations.clone().unwrap();
    assert_eq!(annotations["volume.kubernetes.io/selected-node"], "a");
}
