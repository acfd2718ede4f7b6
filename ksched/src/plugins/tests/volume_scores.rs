//! What VolumeBinding gives nodes for the storage that is left on them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIStorageCapacity, StorageClass};
use serde_json::{Value, json};

use super::scores;
use crate::framework::{Point, Profile};
use crate::testing::{Cluster, PodBuilder, node, pod};

/// Two nodes, and classes `slow` and `fast` of a driver that says what it has left.
fn cluster() -> Cluster {
    let class = |name: &str| {
        json!({"metadata": {"name": name}, "provisioner": "csi.example.com",
            "volumeBindingMode": "WaitForFirstConsumer"})
    };
    let driver =
        json!({"metadata": {"name": "csi.example.com"}, "spec": {"storageCapacity": true}});
    Cluster::new(["a", "b"].map(|name| node(name).cpu("4")))
        .json::<StorageClass>(class("slow"))
        .json::<StorageClass>(class("fast"))
        .json::<CSIDriver>(driver)
}

fn with_shape(cluster: Cluster, low: i64, high: i64) -> Cluster {
    let shape = json!([{"utilization": 0, "score": low}, {"utilization": 100, "score": high}]);
    cluster.profile(Profile::default().args("VolumeBinding", json!({"shape": shape})))
}

fn claim(name: &str, class: &str, size: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}}})
}

fn on(node: &str) -> Value {
    json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}})
}

fn volume(name: &str, class: &str, size: &str, node: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"phase": "Available"},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size}, "local": {"path": "/data"},
            "nodeAffinity": on(node)}})
}

fn capacity(class: &str, node: &str, left: &str) -> Value {
    json!({"metadata": {"name": format!("{class}-{node}"), "namespace": "default"},
        "storageClassName": class, "capacity": left,
        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": node}}})
}

fn asking(claims: &[&str]) -> PodBuilder {
    let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    pod("p").spec("volumes", claims.iter().map(volume).collect())
}

/// The cluster with these claims, volumes and capacities.
fn with(cluster: Cluster, claims: &[Value], volumes: &[Value], capacities: &[Value]) -> Cluster {
    let cluster = claims.iter().cloned().fold(cluster, Cluster::json::<PersistentVolumeClaim>);
    let cluster = volumes.iter().cloned().fold(cluster, Cluster::json::<PersistentVolume>);
    capacities.iter().cloned().fold(cluster, Cluster::json::<CSIStorageCapacity>)
}

fn given(cluster: &Cluster, claims: &[&str]) -> Vec<Option<i64>> {
    scores(cluster, "VolumeBinding", asking(claims))
}

#[test]
fn volumes_that_are_there_score_by_how_much_of_them_is_used() {
    let claims = [claim("c", "slow", "50Gi")];
    let volumes = [volume("va", "slow", "100Gi", "a"), volume("vb", "slow", "200Gi", "b")];
    let small = with(cluster(), &claims, &volumes, &[]);
    assert_eq!(given(&small, &["c"]), [Some(50), Some(75)], "the more is left the better");
    let packed = with(with_shape(cluster(), 0, 10), &claims, &volumes, &[]);
    assert_eq!(given(&packed, &["c"]), [Some(50), Some(25)]);
    // Volumes of one class count together: 80 of 200 and 80 of 400.
    let claims = [claim("c", "slow", "50Gi"), claim("d", "slow", "30Gi")];
    let more = [volume("wa", "slow", "100Gi", "a"), volume("wb", "slow", "200Gi", "b")];
    let volumes: Vec<_> = volumes.iter().chain(&more).cloned().collect();
    let both = with(cluster(), &claims, &volumes, &[]);
    assert_eq!(given(&both, &["c", "d"]), [Some(60), Some(80)]);
}

#[test]
fn the_score_is_the_mean_of_the_classes() {
    let claims = [claim("c", "slow", "50Gi"), claim("d", "fast", "25Gi")];
    let volumes = [
        volume("va", "slow", "100Gi", "a"),
        volume("wa", "fast", "100Gi", "a"),
        volume("vb", "slow", "200Gi", "b"),
        volume("wb", "fast", "40Gi", "b"),
    ];
    let both = with(with_shape(cluster(), 0, 10), &claims, &volumes, &[]);
    // (50 + 25) / 2 and (25 + 62) / 2, rounded half up.
    assert_eq!(given(&both, &["c", "d"]), [Some(38), Some(44)]);
}

#[test]
fn volumes_to_be_made_score_by_what_their_driver_has_left() {
    let claims = [claim("c", "slow", "50Gi"), claim("d", "slow", "30Gi")];
    let capacities = [capacity("slow", "a", "100Gi"), capacity("slow", "b", "200Gi")];
    let made = with(cluster(), &claims, &[], &capacities);
    assert_eq!(given(&made, &["c"]), [Some(50), Some(75)]);
    let packed = with(with_shape(cluster(), 0, 10), &claims, &[], &capacities);
    assert_eq!(given(&packed, &["c"]), [Some(50), Some(25)]);
    // What is left is there once, however many are made from it.
    assert_eq!(given(&packed, &["c", "d"]), [Some(80), Some(40)]);
}

#[test]
fn what_is_to_be_made_does_not_count_beside_what_is_there() {
    let claims = [claim("c", "slow", "50Gi"), claim("d", "fast", "30Gi")];
    let volumes = [volume("va", "slow", "100Gi", "a")];
    let capacities = [
        capacity("slow", "b", "100Gi"),
        capacity("fast", "a", "100Gi"),
        capacity("fast", "b", "100Gi"),
    ];
    let mixed = with(with_shape(cluster(), 0, 10), &claims, &volumes, &capacities);
    // On `a` only the volume counts, on `b` both capacities.
    assert_eq!(given(&mixed, &["c", "d"]), [Some(50), Some(40)]);
}

#[test]
fn where_nothing_is_known_nothing_is_scored() {
    let silent = [None, None];
    assert_eq!(given(&cluster(), &[]), silent, "no claims");
    let claims = [claim("c", "slow", "50Gi")];
    let quiet = json!({"metadata": {"name": "csi.example.com"}, "spec": {}});
    let unknown = with(cluster(), &claims, &[], &[]).json::<CSIDriver>(quiet);
    assert_eq!(given(&unknown, &["c"]), silent, "nothing to take and nothing known");
    let mut bound = claim("c", "slow", "50Gi");
    bound["spec"]["volumeName"] = "v".into();
    bound["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let mut everywhere = volume("v", "slow", "100Gi", "a");
    everywhere["spec"]["nodeAffinity"] = Value::Null;
    assert_eq!(given(&with(cluster(), &[bound], &[everywhere], &[]), &["c"]), silent);
    let capacities = [capacity("slow", "a", "100Gi"), capacity("slow", "b", "200Gi")];
    let off = with(cluster(), &claims, &[], &capacities)
        .profile(Profile::default().disable_at(Point::Score, "VolumeBinding"));
    assert_eq!(given(&off, &["c"]), silent, "switched off");
}

#[test]
fn shapes_that_are_none_are_refused() {
    let point = |utilization: i64, score: i64| json!({"utilization": utilization, "score": score});
    for (shape, expected) in [
        (json!([point(0, 11)]), "shape[0].score: Invalid value: 11: not in valid range [0, 10]"),
        (
            json!([point(50, 0), point(40, 0)]),
            "shape[1].utilization: Invalid value: 40: utilization values must be sorted in \
             increasing order",
        ),
    ] {
        let profile = Profile::default().args("VolumeBinding", json!({"shape": shape}));
        let error = cluster().profile(profile).framework().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
