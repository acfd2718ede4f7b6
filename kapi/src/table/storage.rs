//! Volumes and what provides them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::cell::{UNSET, age_of, list_or_none, name_of};
use super::printer::{Printer, age, cells, column, name, number, printer, text, wide};

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    k8s_openapi::k8s_if_ge_1_34! {
        if (group, kind) == ("storage.k8s.io", "VolumeAttributesClass") {
            return Some(&ATTRIBUTES_CLASS);
        }
    }
    Some(match (group, kind) {
        ("", "PersistentVolume") => &VOLUME,
        ("", "PersistentVolumeClaim") => &CLAIM,
        ("storage.k8s.io", "StorageClass") => &STORAGE_CLASS,
        ("storage.k8s.io", "VolumeAttachment") => &ATTACHMENT,
        ("storage.k8s.io", "CSIDriver") => &CSI_DRIVER,
        ("storage.k8s.io", "CSINode") => &CSI_NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => &STORAGE_CAPACITY,
        _ => return None,
    })
}

/// Access modes in their short forms.
fn modes(modes: Option<&Vec<String>>) -> String {
    let short = |mode: &'static str, name: &'static str| {
        let has = modes.is_some_and(|modes| modes.iter().any(|one| one == mode));
        has.then_some(name)
    };
    let all = [
        short("ReadWriteOnce", "RWO"),
        short("ReadOnlyMany", "ROX"),
        short("ReadWriteMany", "RWX"),
        short("ReadWriteOncePod", "RWOP"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(",")
}

fn storage(capacity: Option<&BTreeMap<String, Quantity>>) -> String {
    let storage = capacity.and_then(|capacity| capacity.get("storage"));
    storage.map(|quantity| quantity.0.clone()).unwrap_or_default()
}

/// A word, or `<unset>`.
fn or_unset(word: Option<String>) -> String {
    word.filter(|word| !word.is_empty()).unwrap_or_else(|| UNSET.to_owned())
}

static VOLUME: Printer = printer!(
    PersistentVolume,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let claim = spec.claim_ref.as_ref().map(|claim| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{}/{}", part(&claim.namespace), part(&claim.name))
        });
        let phase = match object.metadata.deletion_timestamp {
            Some(_) => "Terminating".to_owned(),
            None => status.phase.unwrap_or_default(),
        };
        cells![
            name_of(&object.metadata),
            storage(spec.capacity.as_ref()),
            modes(spec.access_modes.as_ref()),
            spec.persistent_volume_reclaim_policy.unwrap_or_default(),
            phase,
            claim.unwrap_or_default(),
            spec.storage_class_name.unwrap_or_default(),
            or_unset(spec.volume_attributes_class_name),
            status.reason.unwrap_or_default(),
            age_of(&object.metadata, now),
            or_unset(spec.volume_mode),
        ]
    },
    [
        name(),
        text("Capacity", "How much it holds."),
        text("Access Modes", "How nodes may mount it."),
        text("Reclaim Policy", "What becomes of it once its claim is gone."),
        text("Status", "Whether it is free, bound or released."),
        text("Claim", "The claim that holds it."),
        text("StorageClass", "The class it is of."),
        text("VolumeAttributesClass", "The class of attributes it has."),
        text("Reason", "Why it is in a failed state."),
        age(),
        wide("VolumeMode", "Whether it is a file system or a block device."),
    ]
);

static CLAIM: Printer = printer!(
    PersistentVolumeClaim,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let phase = match object.metadata.deletion_timestamp {
            Some(_) => "Terminating".to_owned(),
            None => status.phase.unwrap_or_default(),
        };
        let bound = spec.volume_name.as_ref().is_some_and(|volume| !volume.is_empty());
        let (capacity, access) = match bound {
            true => (storage(status.capacity.as_ref()), modes(status.access_modes.as_ref())),
            false => (String::new(), String::new()),
        };
        cells![
            name_of(&object.metadata),
            phase,
            spec.volume_name.unwrap_or_default(),
            capacity,
            access,
            spec.storage_class_name.unwrap_or_default(),
            or_unset(spec.volume_attributes_class_name),
            age_of(&object.metadata, now),
            or_unset(spec.volume_mode),
        ]
    },
    [
        name(),
        text("Status", "Whether it has a volume."),
        text("Volume", "The volume it holds."),
        text("Capacity", "How much the volume holds."),
        text("Access Modes", "How nodes may mount it."),
        text("StorageClass", "The class it asks for."),
        text("VolumeAttributesClass", "The class of attributes it asks for."),
        age(),
        wide("VolumeMode", "Whether it is a file system or a block device."),
    ]
);

/// Marks the class that claims get which name none.
const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

static STORAGE_CLASS: Printer = printer!(
    StorageClass,
    |object, now| {
        let mut notes = object.metadata.annotations.iter().flatten();
        let default =
            notes.any(|(note, value)| DEFAULT_CLASS.contains(&note.as_str()) && value == "true");
        let mut name = name_of(&object.metadata);
        if default {
            name.push_str(" (default)");
        }
        let reclaim = object.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned());
        let binding = object.volume_binding_mode.clone();
        cells![
            name,
            object.provisioner.clone(),
            reclaim,
            binding.unwrap_or_else(|| "Immediate".to_owned()),
            object.allow_volume_expansion.unwrap_or(false),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Provisioner", "Who makes the volumes."),
        text("ReclaimPolicy", "What becomes of a volume once its claim is gone."),
        text("VolumeBindingMode", "When a claim gets its volume."),
        column("AllowVolumeExpansion", "boolean", 0, "Whether volumes can grow."),
        age(),
    ]
);

k8s_openapi::k8s_if_ge_1_34! {
    static ATTRIBUTES_CLASS: Printer = printer!(
        k8s_openapi::api::storage::v1::VolumeAttributesClass,
        |object, now| {
            let meta = &object.metadata;
            cells![name_of(meta), object.driver_name.clone(), age_of(meta, now)]
        },
        [name(), text("DriverName", "The driver that knows the attributes."), age()]
    );
}

static ATTACHMENT: Printer = printer!(
    VolumeAttachment,
    |object, now| {
        let attached = object.status.as_ref().is_some_and(|status| status.attached);
        let volume = object.spec.source.persistent_volume_name.clone();
        cells![
            name_of(&object.metadata),
            object.spec.attacher.clone(),
            volume.unwrap_or_default(),
            object.spec.node_name.clone(),
            attached,
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Attacher", "Who attaches the volume."),
        text("PV", "The volume."),
        text("Node", "The node it goes to."),
        column("Attached", "boolean", 0, "Whether it is there."),
        age(),
    ]
);

static CSI_DRIVER: Printer = printer!(
    CSIDriver,
    |object, now| {
        let spec = object.spec.clone();
        let tokens = spec.token_requests.iter().flatten().map(|request| request.audience.clone());
        let tokens: Vec<String> = tokens.collect();
        let modes = spec.volume_lifecycle_modes.clone().unwrap_or_default();
        cells![
            name_of(&object.metadata),
            spec.attach_required.unwrap_or(true),
            spec.pod_info_on_mount.unwrap_or(false),
            spec.storage_capacity.unwrap_or(false),
            if tokens.is_empty() { UNSET.to_owned() } else { tokens.join(",") },
            spec.requires_republish.unwrap_or(false),
            list_or_none(modes),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        column("AttachRequired", "boolean", 0, "Whether volumes must be attached first."),
        column("PodInfoOnMount", "boolean", 0, "Whether the driver is told of the pod."),
        column("StorageCapacity", "boolean", 0, "Whether it tells how much room it has."),
        text("TokenRequests", "The audiences it wants tokens for."),
        column("RequiresRepublish", "boolean", 0, "Whether it is called again and again."),
        text("Modes", "The lifecycles of volumes it knows."),
        age(),
    ]
);

static CSI_NODE: Printer = printer!(
    CSINode,
    |object, now| {
        let drivers = object.spec.drivers.len();
        cells![name_of(&object.metadata), drivers, age_of(&object.metadata, now)]
    },
    [name(), number("Drivers", "How many drivers the node has."), age()]
);

static STORAGE_CAPACITY: Printer = printer!(
    CSIStorageCapacity,
    |object, _| {
        let capacity = object.capacity.as_ref().map(|capacity| capacity.0.clone());
        cells![name_of(&object.metadata), object.storage_class_name.clone(), or_unset(capacity)]
    },
    [
        name(),
        text("StorageClassName", "The class of storage."),
        text("Capacity", "How much room there is."),
    ]
);
