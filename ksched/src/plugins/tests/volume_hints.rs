//! Which events about volumes make pods come again.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hints::{helps, left};
use crate::framework::{Action, ClusterEvent, EventObject, EventResource, Happening};
use crate::testing::{PodBuilder, pod};

fn read<K: DeserializeOwned>(object: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(object).unwrap())
}

/// An object before, and after.
fn happened(
    resource: EventResource,
    object: impl Fn(Value) -> EventObject,
    old: Value,
    new: Value,
) -> Happening {
    let action = match (&old, &new) {
        (Value::Null, _) => Action::ADD,
        (_, Value::Null) => Action::DELETE,
        _ => Action::UPDATE,
    };
    let some = |value: Value| (!value.is_null()).then(|| object(value));
    Happening { event: ClusterEvent::new(resource, action), old: some(old), new: some(new) }
}

fn class(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::StorageClass(read::<StorageClass>(value));
    happened(EventResource::StorageClass, object, old, new)
}

fn claim(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::PersistentVolumeClaim(read::<PersistentVolumeClaim>(value));
    happened(EventResource::PersistentVolumeClaim, object, old, new)
}

fn volume(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::PersistentVolume(read::<PersistentVolume>(value));
    happened(EventResource::PersistentVolume, object, old, new)
}

fn csi_node(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::CsiNode(read::<CSINode>(value));
    happened(EventResource::CsiNode, object, old, new)
}

fn driver(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::CsiDriver(read::<CSIDriver>(value));
    happened(EventResource::CsiDriver, object, old, new)
}

fn capacity(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::CsiStorageCapacity(read::<CSIStorageCapacity>(value));
    happened(EventResource::CsiStorageCapacity, object, old, new)
}

fn attachment(old: Value, new: Value) -> Happening {
    let object = |value| EventObject::VolumeAttachment(read::<VolumeAttachment>(value));
    happened(EventResource::VolumeAttachment, object, old, new)
}

/// A pod with a claim of this name.
fn with_claim(name: &str, claim: &str) -> PodBuilder {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
    pod(name).spec("volumes", volumes)
}

fn with_disk(name: &str, id: &str) -> PodBuilder {
    pod(name).spec("volumes", json!([{"name": "v", "awsElasticBlockStore": {"volumeID": id}}]))
}

#[test]
fn only_a_pods_own_claims_help_it() {
    let named = |namespace: &str, name: &str| {
        let metadata = json!({"name": name, "namespace": namespace});
        json!({"metadata": metadata, "spec": {}})
    };
    let waiting = with_claim("p", "c");
    let ephemeral = pod("p").spec("volumes", json!([{"name": "v", "ephemeral": {}}]));
    for plugin in ["VolumeBinding", "VolumeZone", "VolumeRestrictions", "NodeVolumeLimits"] {
        let came = |object: Value| claim(Value::Null, object);
        assert!(helps(plugin, &waiting, &came(named("default", "c"))), "{plugin}");
        assert!(!helps(plugin, &waiting, &came(named("default", "d"))), "{plugin}");
        assert!(!helps(plugin, &waiting, &came(named("elsewhere", "c"))), "{plugin}");
        assert!(helps(plugin, &ephemeral, &came(named("default", "p-v"))), "{plugin}");
    }
    let changed = claim(named("default", "c"), named("default", "c"));
    for (plugin, expected) in [
        ("VolumeBinding", true),
        ("VolumeZone", true),
        ("VolumeRestrictions", false),
        ("NodeVolumeLimits", false),
    ] {
        assert_eq!(helps(plugin, &waiting, &changed), expected, "{plugin}");
    }
}

#[test]
fn classes_help_that_come_or_allow_other_places() {
    let with = |mode: &str, zones: &[&str]| {
        let topologies = json!([{"matchLabelExpressions": [{"key": "zone", "values": zones}]}]);
        json!({"metadata": {"name": "fast"}, "provisioner": "csi.example.com",
            "volumeBindingMode": mode, "allowedTopologies": topologies})
    };
    let waits = |zones: &[&str]| with("WaitForFirstConsumer", zones);
    let waiting = with_claim("p", "c");
    for (plugin, what, expected) in [
        ("VolumeBinding", class(Value::Null, waits(&["1"])), true),
        ("VolumeBinding", class(waits(&["1"]), waits(&["1", "2"])), true),
        ("VolumeBinding", class(waits(&["1"]), waits(&["1"])), false),
        ("VolumeZone", class(Value::Null, waits(&["1"])), true),
        ("VolumeZone", class(Value::Null, with("Immediate", &["1"])), false),
        ("VolumeZone", class(waits(&["1"]), waits(&["2"])), false),
    ] {
        assert_eq!(helps(plugin, &waiting, &what), expected, "{plugin} {what:?}");
    }
}

#[test]
fn volumes_help_that_come_or_are_elsewhere() {
    let in_zone = |zone: &str, size: &str| {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        let spec = json!({"capacity": {"storage": size}});
        json!({"metadata": {"name": "v", "labels": labels}, "spec": spec})
    };
    let waiting = with_claim("p", "c");
    for (plugin, what, expected) in [
        ("VolumeZone", volume(Value::Null, in_zone("1", "1Gi")), true),
        ("VolumeZone", volume(in_zone("1", "1Gi"), in_zone("2", "1Gi")), true),
        ("VolumeZone", volume(in_zone("1", "1Gi"), in_zone("1", "2Gi")), false),
        ("VolumeBinding", volume(Value::Null, in_zone("1", "1Gi")), true),
        ("VolumeBinding", volume(in_zone("1", "1Gi"), in_zone("1", "2Gi")), true),
    ] {
        assert_eq!(helps(plugin, &waiting, &what), expected, "{plugin} {what:?}");
    }
}

#[test]
fn storage_helps_where_there_is_more_of_it() {
    let left = |bytes: &str, largest: Value| {
        json!({"metadata": {"name": "a"}, "storageClassName": "fast", "capacity": bytes,
            "maximumVolumeSize": largest})
    };
    let counting = |counts: bool| {
        let spec = json!({"storageCapacity": counts});
        json!({"metadata": {"name": "csi.example.com"}, "spec": spec})
    };
    let waiting = with_claim("p", "c");
    let none = Value::Null;
    for (what, expected) in [
        (capacity(Value::Null, left("1Gi", none.clone())), true),
        (capacity(left("1Gi", none.clone()), left("2Gi", none.clone())), true),
        (capacity(left("2Gi", none.clone()), left("1Gi", none.clone())), false),
        (capacity(left("1Gi", none.clone()), left("1Gi", none.clone())), false),
        // The largest piece counts.
        (capacity(left("2Gi", json!("1Gi")), left("1Gi", json!("1500Mi"))), true),
        (capacity(left("1Gi", json!("1Gi")), left("2Gi", json!("1Gi"))), false),
        (driver(counting(true), counting(false)), true),
        (driver(counting(true), Value::Null), true),
        (driver(counting(false), counting(true)), false),
        (driver(counting(false), Value::Null), false),
    ] {
        assert_eq!(helps("VolumeBinding", &waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn nodes_help_that_take_more_volumes_or_hand_drivers_over() {
    let with = |limit: Option<i32>, migrated: &str| {
        let annotations = json!({"storage.alpha.kubernetes.io/migrated-plugins": migrated});
        let driver = json!({"name": "csi.example.com", "nodeID": "a",
            "allocatable": {"count": limit}});
        let metadata = json!({"name": "a", "annotations": annotations});
        json!({"metadata": metadata, "spec": {"drivers": [driver]}})
    };
    let none = json!({"metadata": {"name": "a"}, "spec": {"drivers": []}});
    let waiting = with_claim("p", "c");
    for (plugin, what, expected) in [
        ("NodeVolumeLimits", csi_node(Value::Null, with(Some(1), "")), true),
        ("NodeVolumeLimits", csi_node(with(Some(1), ""), with(Some(2), "")), true),
        ("NodeVolumeLimits", csi_node(with(Some(1), ""), with(None, "")), true),
        ("NodeVolumeLimits", csi_node(with(Some(2), ""), with(Some(1), "")), false),
        ("NodeVolumeLimits", csi_node(with(Some(1), ""), with(Some(1), "")), false),
        ("NodeVolumeLimits", csi_node(none.clone(), with(Some(1), "")), true),
        ("NodeVolumeLimits", csi_node(with(Some(1), ""), none.clone()), true),
        ("NodeVolumeLimits", csi_node(with(Some(1), ""), with(Some(1), "x")), true),
        ("VolumeBinding", csi_node(Value::Null, none), true),
        ("VolumeBinding", csi_node(with(Some(1), ""), with(Some(1), "x")), true),
        ("VolumeBinding", csi_node(with(Some(1), ""), with(Some(2), "")), false),
    ] {
        assert_eq!(helps(plugin, &waiting, &what), expected, "{plugin} {what:?}");
    }
}

#[test]
fn what_is_not_attached_any_more_helps_whoever_attaches_volumes() {
    let of = |attacher: &str| {
        json!({"metadata": {"name": "1"}, "spec": {"attacher": attacher, "nodeName": "a",
            "source": {"persistentVolumeName": "v"}}})
    };
    let gone = |attacher: &str| attachment(of(attacher), Value::Null);
    let plugin = "NodeVolumeLimits";
    assert!(helps(plugin, &with_claim("p", "c"), &gone("csi.example.com")));
    assert!(helps(plugin, &with_disk("p", "vol-1"), &gone("ebs.csi.aws.com")));
    assert!(!helps(plugin, &with_disk("p", "vol-1"), &gone("csi.example.com")));
    assert!(!helps(plugin, &pod("p"), &gone("csi.example.com")));
    let came = attachment(Value::Null, of("csi.example.com"));
    assert!(!helps(plugin, &with_claim("p", "c"), &came));
}

#[test]
fn pods_that_leave_help_with_the_volumes_they_had() {
    let waiting = with_claim("p", "c");
    for (plugin, waiting, gone, expected) in [
        ("NodeVolumeLimits", &waiting, with_claim("r", "d").on("a"), true),
        ("NodeVolumeLimits", &waiting, with_disk("r", "vol-1").on("a"), true),
        ("NodeVolumeLimits", &waiting, pod("r").on("a"), false),
        ("VolumeRestrictions", &waiting, with_claim("r", "c").on("a"), true),
        ("VolumeRestrictions", &waiting, with_claim("r", "d").on("a"), false),
        ("VolumeRestrictions", &waiting, with_claim("r", "c").namespace("other").on("a"), false),
        ("VolumeRestrictions", &with_disk("p", "vol-1"), with_disk("r", "vol-1").on("a"), true),
        ("VolumeRestrictions", &with_disk("p", "vol-1"), with_disk("r", "vol-2").on("a"), false),
        // One that was not bound after all gives back what was set aside for it.
        ("VolumeBinding", &waiting, with_claim("r", "d"), true),
        ("VolumeBinding", &waiting, with_claim("r", "d").on("a"), false),
        ("VolumeBinding", &waiting, pod("r"), false),
    ] {
        assert_eq!(helps(plugin, waiting, &left(gone.clone())), expected, "{plugin} {gone:?}");
    }
}

k8s_openapi::k8s_if_ge_1_36! {
    #[test]
    fn drivers_help_that_need_not_be_there_any_more() {
        let requires = |required: bool| {
            json!({"metadata": {"name": "csi.example.com"},
                "spec": {"preventPodSchedulingIfMissing": required}})
        };
        let waiting = with_claim("p", "c");
        for (what, expected) in [
            (driver(requires(true), requires(false)), true),
            (driver(requires(true), Value::Null), true),
            (driver(requires(false), requires(true)), false),
            (driver(requires(true), requires(true)), false),
        ] {
            assert_eq!(helps("NodeVolumeLimits", &waiting, &what), expected, "{what:?}");
        }
    }
}
