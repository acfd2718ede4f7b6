//! Where VolumeZone and VolumeBinding let pods with volumes go.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use serde_json::{Value, json};

use super::place_in;
use crate::framework::Profile;
use crate::testing::{Cluster, PodBuilder, node, pod};

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const OLD_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const EBS_ZONE: &str = "topology.ebs.csi.aws.com/zone";

fn bound(volume: &str) -> Value {
    json!({"metadata": {"name": "c", "namespace": "default", "uid": "c",
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn volume(labels: &[(&str, &str)]) -> Value {
    let mut volume = json!({"metadata": {"name": "v", "labels": {}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "awsElasticBlockStore": {"volumeID": "vol-1"}}});
    for (key, value) in labels {
        volume["metadata"]["labels"][*key] = (*value).into();
    }
    volume
}

fn with_claim() -> PodBuilder {
    pod("p").spec("volumes", json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]))
}

/// One node with these labels.
fn labelled(labels: &[(&str, &str)]) -> Cluster {
    let with = labels.iter().fold(node("a").cpu("4"), |node, (key, value)| node.label(key, value));
    Cluster::new([with])
}

fn fits(cluster: &Cluster, expected: &str) -> bool {
    match place_in(cluster, with_claim()) {
        Ok(_) => true,
        Err(why) => {
            assert_eq!(why, format!("0/1 nodes are available: 1 {expected}."));
            false
        }
    }
}

#[test]
fn a_node_is_where_its_volume_is() {
    type Labels<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Labels<'_>, Labels<'_>, bool); 15] = [
        (&[(ZONE, "1")], &[(ZONE, "1")], true),
        (&[(ZONE, "1")], &[(ZONE, "2")], false),
        (&[(ZONE, "1__2")], &[(ZONE, "2")], true),
        (&[(ZONE, "1__2")], &[(ZONE, "3")], false),
        (&[(REGION, "1")], &[(REGION, "1"), (ZONE, "7")], true),
        (&[(REGION, "1"), (ZONE, "1")], &[(REGION, "1"), (ZONE, "2")], false),
        // A node without any of the labels is in a cluster that has no zones.
        (&[(ZONE, "1")], &[], true),
        (&[(ZONE, "1")], &[(REGION, "1")], false),
        // The older labels of volumes go with either label of nodes.
        (&[(OLD_ZONE, "1")], &[(OLD_ZONE, "1")], true),
        (&[(OLD_ZONE, "1")], &[(ZONE, "1")], true),
        (&[(OLD_ZONE, "1")], &[(ZONE, "2")], false),
        (&[(OLD_REGION, "1")], &[(REGION, "2"), (ZONE, "1")], false),
        // The newer ones do not.
        (&[(ZONE, "1")], &[(OLD_ZONE, "1")], false),
        // Other labels say nothing, and neither does one that names no zone.
        (&[("zone", "1")], &[(ZONE, "2")], true),
        (&[(ZONE, "1__")], &[(ZONE, "2")], true),
    ];
    for (on_volume, on_node, expected) in cases {
        let cluster = labelled(on_node)
            .json::<PersistentVolumeClaim>(bound("v"))
            .json::<PersistentVolume>(volume(on_volume));
        let found = fits(&cluster, "node(s) had no available volume zone");
        assert_eq!(found, expected, "{on_volume:?} on {on_node:?}");
    }
}

#[test]
fn a_migrated_volume_is_where_its_driver_says() {
    let affinity = |key: &str, value: &str| {
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": key, "operator": "In", "values": [value]}]}]}})
    };
    let without_labels = |key: &str| {
        let mut volume = volume(&[]);
        volume["spec"]["nodeAffinity"] = affinity(key, "1");
        volume
    };
    let labels = volume(&[(ZONE, "1")]);
    for (volume, on_node, migrated, plain) in [
        // The zone is asked of the driver's own label.
        (without_labels(ZONE), (EBS_ZONE, "1"), true, false),
        (without_labels(ZONE), (ZONE, "1"), false, true),
        (without_labels(OLD_ZONE), (EBS_ZONE, "1"), true, false),
        (without_labels("other"), ("other", "1"), true, true),
        // The label of a volume without affinity becomes one.
        (labels.clone(), (EBS_ZONE, "1"), true, true),
        (labels, (EBS_ZONE, "2"), false, true),
    ] {
        for (annotation, expected) in
            [("kubernetes.io/aws-ebs", migrated), ("kubernetes.io/gce-pd", plain), ("", plain)]
        {
            let annotations = json!({"storage.alpha.kubernetes.io/migrated-plugins": annotation});
            let csi_node = json!({"metadata": {"name": "a", "annotations": annotations},
                "spec": {"drivers": []}});
            let cluster = labelled(&[on_node])
                .json::<CSINode>(csi_node)
                .json::<PersistentVolumeClaim>(bound("v"))
                .json::<PersistentVolume>(volume.clone());
            let found = fits(&cluster, "node(s) didn't match PersistentVolume's node affinity");
            assert_eq!(found, expected, "{volume} on {on_node:?}, migrated {annotation:?}");
        }
    }
}

#[test]
fn claims_that_are_lost_or_leave_or_miss_something_are_named() {
    let unbound = |class: Option<&str>| {
        let mut claim = bound("");
        claim["metadata"]["annotations"] = json!({});
        claim["spec"]["storageClassName"] = class.into();
        claim
    };
    let mut lost = bound("v");
    lost["status"] = json!({"phase": "Lost"});
    let mut leaving = bound("v");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    let mut half = bound("v");
    half["metadata"]["annotations"] = json!({});
    let immediate = "pod has unbound immediate PersistentVolumeClaims";
    for (claim, expected) in [
        (lost, "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\""),
        (leaving, "persistentvolumeclaim \"c\" is being deleted"),
        (half, immediate),
        (unbound(Some("now")), immediate),
        (unbound(None), immediate),
    ] {
        let class = json!({"metadata": {"name": "now"}, "provisioner": "csi.example.com"});
        let cluster = labelled(&[])
            .json::<StorageClass>(class)
            .json::<PersistentVolumeClaim>(claim.clone())
            .json::<PersistentVolume>(volume(&[]));
        let message = place_in(&cluster, with_claim()).unwrap_err();
        assert_eq!(message, format!("0/1 nodes are available: {expected}."), "{claim}");
    }
    let gone = labelled(&[]).json::<PersistentVolumeClaim>(bound("v"));
    let expected = "0/1 nodes are available: persistentvolume \"v\" not found.";
    assert_eq!(place_in(&gone, with_claim()), Err(expected.to_owned()));
    let gone = gone.profile(Profile::default().disable("VolumeZone"));
    let expected = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    assert!(!fits(&gone, expected));
}
