//! What NodeVolumeLimits counts.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass, VolumeAttachment};
use serde_json::{Value, json};

use super::place_in;
use crate::testing::{Cluster, PodBuilder, node, pod};

const EBS: &str = "ebs.csi.aws.com";
const CSI: &str = "csi.example.com";
const MIGRATED: &str = "kubernetes.io/aws-ebs,kubernetes.io/gce-pd,kubernetes.io/azure-disk,\
                        kubernetes.io/cinder,kubernetes.io/portworx-volume,\
                        kubernetes.io/azure-file,kubernetes.io/vsphere-volume";

fn csi_node(drivers: &[&str], limit: u32, migrated: &str) -> Value {
    let driver =
        |name: &&str| json!({"name": name, "nodeID": "a", "allocatable": {"count": limit}});
    let drivers: Vec<Value> = drivers.iter().map(driver).collect();
    let annotations = json!({"storage.alpha.kubernetes.io/migrated-plugins": migrated});
    json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {"drivers": drivers}})
}

/// A node that takes so many volumes of some drivers, and has some migrated.
fn limited(drivers: &[&str], limit: u32, migrated: &str) -> Cluster {
    Cluster::new([node("a").cpu("4")]).json::<CSINode>(csi_node(drivers, limit, migrated))
}

fn claim(name: &str, volume: Option<&str>, class: &str) -> Value {
    let mut claim = json!({"metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}}}});
    if let Some(volume) = volume {
        claim["spec"]["volumeName"] = volume.into();
        claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    }
    claim
}

fn volume(name: &str, source: &str, fields: Value) -> Value {
    json!({"metadata": {"name": name}, "status": {"phase": "Bound"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"],
            "storageClassName": "fast", source: fields}})
}

fn csi(name: &str, driver: &str, handle: &str) -> Value {
    volume(name, "csi", json!({"driver": driver, "volumeHandle": handle}))
}

fn class(name: &str, provisioner: &str) -> Value {
    json!({"metadata": {"name": name}, "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer"})
}

fn with_volumes(name: &str, volumes: Value) -> PodBuilder {
    pod(name).uid(name).spec("volumes", volumes)
}

fn with_claim(name: &str, claim: &str) -> PodBuilder {
    with_volumes(name, json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]))
}

fn with_inline(name: &str, source: &str, fields: Value) -> PodBuilder {
    with_volumes(name, json!([{"name": "v", source: fields}]))
}

/// Whether there was room; anything but the limit that was in the way is a mistake of the test.
fn has_room(cluster: &Cluster, pod: PodBuilder) -> bool {
    match place_in(cluster, pod) {
        Ok(_) => true,
        Err(why) => {
            assert_eq!(why, "0/1 nodes are available: 1 node(s) exceed max volume count.");
            false
        }
    }
}

/// The in-tree sources that count, two volumes of each, and the driver that they count for.
fn in_tree() -> [(&'static str, Value, Value, &'static str); 5] {
    let gce = |name: &str| json!({"pdName": name});
    let azure = |uri: &str| json!({"diskName": uri, "diskURI": uri});
    let id = |id: &str| json!({"volumeID": id});
    [
        ("awsElasticBlockStore", id("vol-1"), id("vol-2"), EBS),
        ("gcePersistentDisk", gce("one"), gce("two"), "pd.csi.storage.gke.io"),
        ("azureDisk", azure("/one"), azure("/two"), "disk.csi.azure.com"),
        ("cinder", id("one"), id("two"), "cinder.csi.openstack.org"),
        ("portworxVolume", id("one"), id("two"), "pxd.portworx.com"),
    ]
}

#[test]
fn volumes_of_migrated_drivers_count_where_the_node_has_migrated_them() {
    for (source, one, two, driver) in in_tree() {
        let inline = |migrated: &str| {
            limited(&[driver], 1, migrated).running(with_inline("r", source, one.clone()).on("a"))
        };
        let other = with_inline("p", source, two.clone());
        assert!(!has_room(&inline(MIGRATED), other.clone()), "inline {source}");
        assert!(has_room(&inline(""), other), "inline {source}, not migrated");
        let claimed = |migrated: &str| {
            limited(&[driver], 1, migrated)
                .json::<StorageClass>(class("fast", "example.com/other"))
                .json::<PersistentVolumeClaim>(claim("c", Some("v"), "fast"))
                .json::<PersistentVolumeClaim>(claim("d", Some("w"), "fast"))
                .json::<PersistentVolume>(volume("v", source, one.clone()))
                .json::<PersistentVolume>(volume("w", source, two.clone()))
                .running(with_claim("r", "c").on("a"))
        };
        assert!(!has_room(&claimed(MIGRATED), with_claim("p", "d")), "bound {source}");
        assert!(has_room(&claimed(""), with_claim("p", "d")), "bound {source}, not migrated");
        assert!(has_room(&claimed(MIGRATED), with_claim("p", "c")), "the same {source}");
    }
}

#[test]
fn volumes_of_classes_count_for_their_driver_before_they_are_there() {
    for (provisioner, migrated, driver, counts) in [
        ("kubernetes.io/aws-ebs", MIGRATED, EBS, true),
        ("kubernetes.io/aws-ebs", "kubernetes.io/gce-pd", EBS, false),
        ("kubernetes.io/gce-pd", MIGRATED, "pd.csi.storage.gke.io", true),
        ("kubernetes.io/azure-disk", MIGRATED, "disk.csi.azure.com", true),
        ("kubernetes.io/cinder", MIGRATED, "cinder.csi.openstack.org", true),
        ("kubernetes.io/portworx-volume", MIGRATED, "pxd.portworx.com", true),
        // Never taken as migrated.
        ("kubernetes.io/azure-file", MIGRATED, "file.csi.azure.com", false),
        ("kubernetes.io/vsphere-volume", MIGRATED, "csi.vsphere.vmware.com", false),
        (CSI, "", CSI, true),
        ("other.example.com", "", CSI, false),
    ] {
        let cluster = limited(&[driver], 1, migrated)
            .json::<StorageClass>(class("fast", provisioner))
            .json::<PersistentVolumeClaim>(claim("c", None, "fast"))
            .json::<PersistentVolumeClaim>(claim("d", None, "fast"))
            .running(with_claim("r", "c").on("a"));
        assert_eq!(!has_room(&cluster, with_claim("p", "d")), counts, "{provisioner}");
    }
}

#[test]
fn a_volume_counts_once_whoever_uses_it() {
    let cluster = |limit: u32| {
        limited(&[CSI], limit, MIGRATED)
            .json::<PersistentVolumeClaim>(claim("c", Some("v"), "fast"))
            .json::<PersistentVolumeClaim>(claim("d", Some("w"), "fast"))
            .json::<PersistentVolumeClaim>(claim("e", Some("x"), "fast"))
            .json::<PersistentVolume>(csi("v", CSI, "one"))
            .json::<PersistentVolume>(csi("w", CSI, "one"))
            .json::<PersistentVolume>(csi("x", "other.example.com", "one"))
            .running(with_claim("r", "c").on("a"))
            .running(with_claim("s", "c").on("a"))
    };
    assert!(has_room(&cluster(1), with_claim("p", "c")), "the claim");
    assert!(has_room(&cluster(1), with_claim("p", "d")), "the volume by its handle");
    assert!(has_room(&cluster(1), with_claim("p", "e")), "a driver without a limit");
    assert!(has_room(&cluster(0), with_claim("p", "c")), "what is there needs no more room");
    assert!(has_room(&cluster(0), pod("p")), "no volumes");
}

#[test]
fn a_claim_whose_volume_is_gone_counts_by_its_class() {
    let cluster = |provisioner: &str| {
        limited(&[CSI], 1, "")
            .json::<StorageClass>(class("fast", provisioner))
            .json::<PersistentVolumeClaim>(claim("c", Some("gone"), "fast"))
            .json::<PersistentVolumeClaim>(claim("d", Some("v"), "fast"))
            .json::<PersistentVolume>(csi("v", CSI, "one"))
            .running(with_claim("r", "c").on("a"))
    };
    assert!(!has_room(&cluster(CSI), with_claim("p", "d")));
    assert!(has_room(&cluster("other.example.com"), with_claim("p", "d")));
}

#[test]
fn claims_that_a_pod_brings_count_like_others() {
    let ephemeral = |name: &str| {
        let template = json!({"spec": claim("unused", None, "fast")["spec"]});
        with_volumes(name, json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]))
    };
    let owned = |pod: &str| {
        let mut owned = claim(&format!("{pod}-v"), None, "fast");
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod",
            "name": pod, "uid": pod, "controller": true}]);
        owned
    };
    let cluster = |limit: u32| {
        limited(&[CSI], limit, "")
            .json::<StorageClass>(class("fast", CSI))
            .json::<PersistentVolumeClaim>(owned("p"))
            .json::<PersistentVolumeClaim>(owned("r"))
            .running(ephemeral("r").on("a"))
    };
    assert!(has_room(&cluster(2), ephemeral("p")));
    assert!(!has_room(&cluster(1), ephemeral("p")));
}

#[test]
fn what_is_attached_for_pods_that_are_gone_counts() {
    let attachment = |name: &str, volume: &str, attacher: &str| {
        json!({"metadata": {"name": name}, "spec": {"attacher": attacher, "nodeName": "a",
            "source": {"persistentVolumeName": volume}}, "status": {"attached": true}})
    };
    let cluster = |limit: u32| {
        limited(&[CSI], limit, "")
            .json::<PersistentVolumeClaim>(claim("c", Some("v"), "fast"))
            .json::<PersistentVolumeClaim>(claim("d", Some("w"), "fast"))
            .json::<PersistentVolume>(csi("v", CSI, "one"))
            .json::<PersistentVolume>(csi("w", CSI, "two"))
            .json::<PersistentVolume>(csi("x", CSI, "three"))
            .running(with_claim("r", "c").on("a"))
            .json::<VolumeAttachment>(attachment("1", "v", CSI))
    };
    assert!(has_room(&cluster(2), with_claim("p", "d")), "a pod's own attachment counts once");
    let left_over =
        |limit, attacher| cluster(limit).json::<VolumeAttachment>(attachment("2", "x", attacher));
    assert!(!has_room(&left_over(2, CSI), with_claim("p", "d")));
    assert!(has_room(&left_over(3, CSI), with_claim("p", "d")));
    assert!(has_room(&left_over(2, "other.example.com"), with_claim("p", "d")));
    let unknown = cluster(2).json::<VolumeAttachment>(attachment("2", "unknown", CSI));
    assert!(has_room(&unknown, with_claim("p", "d")), "of a volume that nobody knows");
    // Upstream counts what is still attached for the pod's predecessor beside what the pod needs.
    let own = |limit| cluster(limit).json::<VolumeAttachment>(attachment("2", "w", CSI));
    assert!(!has_room(&own(2), with_claim("p", "d")));
    assert!(has_room(&own(3), with_claim("p", "d")));
}

#[test]
fn claims_and_volumes_that_are_wrong_are_named() {
    let nothing = limited(&[CSI], 1, "");
    let without = place_in(&nothing, with_claim("p", "c")).unwrap_err();
    assert!(without.contains("persistentvolumeclaim \"c\" not found"), "{without}");
    let no_volume = with_inline("p", "awsElasticBlockStore", json!({"volumeID": "aws://vol-1"}));
    let message = place_in(&nothing, no_volume).unwrap_err();
    assert!(message.contains("it is no volume of ebs.csi.aws.com"), "{message}");
}

k8s_openapi::k8s_if_ge_1_36! {
    #[test]
    fn nodes_without_a_driver_that_must_be_there_are_turned_away() {
        let driver = |prevents: Option<bool>| {
            let mut driver = json!({"metadata": {"name": CSI}, "spec": {}});
            if let Some(prevents) = prevents {
                driver["spec"]["preventPodSchedulingIfMissing"] = prevents.into();
            }
            driver
        };
        let claimed = |cluster: Cluster, prevents: Option<bool>| {
            cluster
                .json::<CSIDriver>(driver(prevents))
                .json::<PersistentVolumeClaim>(claim("c", Some("v"), "fast"))
                .json::<PersistentVolume>(csi("v", CSI, "one"))
        };
        let bare = || Cluster::new([node("a").cpu("4")]);
        let missing = Err("0/1 nodes are available: 1 csi.example.com CSI driver is not installed \
                           on the node.".to_owned());
        let fits = Ok("a".to_owned());
        for (cluster, prevents, expected) in [
            (bare(), Some(true), &missing),
            (bare(), Some(false), &fits),
            (bare(), None, &fits),
            (limited(&["other.example.com"], 5, ""), Some(true), &missing),
            (limited(&["other.example.com"], 5, ""), None, &fits),
            (limited(&[CSI], 1, ""), Some(true), &fits),
        ] {
            let cluster = claimed(cluster, prevents);
            assert_eq!(&place_in(&cluster, with_claim("p", "c")), expected, "{prevents:?}");
            assert_eq!(place_in(&cluster, pod("q")), fits, "a pod without volumes");
        }
        // Full is full, too.
        let full = claimed(limited(&[CSI], 0, ""), Some(true));
        assert!(!has_room(&full, with_claim("p", "c")));
    }
}
