//! Volumes that pods cannot share.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::place_in;
use crate::framework::Profile;
use crate::testing::{Cluster, PodBuilder, node, pod};

fn claim(mode: &str) -> Value {
    json!({"metadata": {"name": "c", "namespace": "default"},
        "spec": {"accessModes": [mode], "volumeName": "v",
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn with_claim(name: &str) -> PodBuilder {
    let source = json!({"claimName": "c"});
    pod(name).uid(name).spec("volumes", json!([{"name": "v", "persistentVolumeClaim": source}]))
}

/// Two nodes, and of the plugins about volumes this one alone.
fn cluster(mode: &str) -> Cluster {
    let others = ["NodeVolumeLimits", "VolumeBinding", "VolumeZone"];
    let profile = others.into_iter().fold(Profile::default(), Profile::disable);
    Cluster::new(["a", "b"].map(|name| node(name).cpu("4")))
        .json::<PersistentVolumeClaim>(claim(mode))
        .profile(profile)
}

#[test]
fn a_claim_for_one_pod_is_used_by_one_pod_anywhere() {
    for (mode, fits) in [
        ("ReadWriteOncePod", false),
        ("ReadWriteOnce", true),
        ("ReadWriteMany", true),
        ("ReadOnlyMany", true),
    ] {
        let cluster = cluster(mode).running(with_claim("r").on("a"));
        assert_eq!(place_in(&cluster, with_claim("p")).is_ok(), fits, "{mode}");
    }
    let taken = cluster("ReadWriteOncePod").running(with_claim("r").on("a"));
    let expected = "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the \
                    same name and ReadWriteOncePod access mode.";
    assert_eq!(place_in(&taken, with_claim("p")), Err(expected.to_owned()));
    assert!(taken.place(with_claim("p").namespace("default").spec("volumes", json!([]))).is_ok());
    assert!(cluster("ReadWriteOncePod").place(with_claim("p")).is_ok());
}

#[test]
fn whoever_uses_it_leaves_for_a_more_important_pod() {
    let taken = || cluster("ReadWriteOncePod").running(with_claim("r").on("a").priority(5));
    assert_eq!(taken().victims(with_claim("p").priority(9)), Ok(vec!["r".to_owned()]));
    assert_eq!(taken().nominate(with_claim("p").priority(9)).as_deref(), Ok("a"));
    assert!(taken().nominate(with_claim("p").priority(5)).is_err());
    // As long as another one uses it too nobody's leaving helps.
    let twice = taken().running(with_claim("s").on("b").priority(20));
    assert!(twice.nominate(with_claim("p").priority(9)).is_err());
    let twice = taken().running(with_claim("s").on("b").priority(5));
    assert!(twice.nominate(with_claim("p").priority(9)).is_err(), "one node at a time");
}

#[test]
fn a_claim_that_is_not_there_is_named() {
    let without = Cluster::new([node("a")]);
    let message = place_in(&without, with_claim("p")).unwrap_err();
    let expected = "0/1 nodes are available: persistentvolumeclaim \"c\" not found.";
    assert_eq!(message, expected);
    let ephemeral = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}]);
    let waiting = "waiting for ephemeral volume controller to create the persistentvolumeclaim \
                   \"p-v\"";
    let message = place_in(&without, pod("p").spec("volumes", ephemeral)).unwrap_err();
    assert!(message.contains(waiting), "{message}");
}

#[test]
fn disks_are_mounted_once_or_for_reading() {
    let gce = |name: &str, read: bool| {
        json!({"gcePersistentDisk": {"pdName": name,
        "readOnly": read}})
    };
    let ebs =
        |id: &str, read: bool| json!({"awsElasticBlockStore": {"volumeID": id, "readOnly": read}});
    let iscsi = |iqn: &str, read: bool| {
        let portal = "10.0.0.1";
        json!({"iscsi": {"targetPortal": portal, "lun": 1, "iqn": iqn, "readOnly": read}})
    };
    let rbd = |monitor: &str, image: &str, read: bool| {
        json!({"rbd": {"monitors": [monitor, "other"], "pool": "rbd", "image": image,
            "readOnly": read}})
    };
    let with = |name: &str, source: &Value| {
        let mut volume = source.clone();
        volume["name"] = "v".into();
        pod(name).uid(name).spec("volumes", json!([volume]))
    };
    for (used, wanted, conflict) in [
        (gce("x", false), gce("x", false), true),
        (gce("x", true), gce("x", false), true),
        (gce("x", true), gce("x", true), false),
        (gce("x", false), gce("y", false), false),
        (ebs("x", false), ebs("x", false), true),
        (ebs("x", true), ebs("x", true), true),
        (ebs("x", false), ebs("y", false), false),
        (iscsi("x", false), iscsi("x", false), true),
        (iscsi("x", true), iscsi("x", true), false),
        (iscsi("x", false), iscsi("y", false), false),
        (rbd("m", "x", false), rbd("m", "x", false), true),
        (rbd("m", "x", false), rbd("n", "x", false), true),
        (rbd("m", "x", true), rbd("m", "x", true), false),
        (rbd("m", "x", false), rbd("m", "y", false), false),
        (gce("x", false), ebs("x", false), false),
    ] {
        let nodes = Cluster::new([node("a")]).running(with("r", &used).on("a"));
        let found = place_in(&nodes, with("p", &wanted));
        let expected = "0/1 nodes are available: 1 node(s) had no available disk.".to_owned();
        let expected = if conflict { Err(expected) } else { Ok("a".to_owned()) };
        assert_eq!(found, expected, "{used} {wanted}");
    }
}
