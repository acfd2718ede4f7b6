//! What may help pods whose volumes a node cannot take.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Volume;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeSpec};

use super::{NodeVolumeLimits, is_required};
use crate::framework::{
    Action, EnqueueExtensions, EventObject, EventRegistration, EventResource, Happening,
    QueueingHint,
};
use crate::plugins::volumes::hints::{of_own_claim, other, queue_if};
use crate::plugins::volumes::migration::{MIGRATED_PLUGINS, of_inline};
use crate::plugins::volumes::{annotation, specified};
use crate::snapshot::PodInfo;

impl EnqueueExtensions for NodeVolumeLimits {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let (nodes, drivers) = (Action::ADD | Action::UPDATE, Action::UPDATE | Action::DELETE);
        vec![
            EventRegistration::new(EventResource::CsiNode, nodes).hint(of_csi_node),
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE).hint(of_pod),
            // One without a CSINode has no limits.
            EventRegistration::new(EventResource::Node, Action::ADD),
            EventRegistration::new(EventResource::PersistentVolumeClaim, Action::ADD)
                .hint(of_own_claim),
            EventRegistration::new(EventResource::VolumeAttachment, Action::DELETE)
                .hint(of_attachment),
            EventRegistration::new(EventResource::CsiDriver, drivers).hint(of_driver),
        ]
    }
}

/// Whether a volume may count.
fn may_count(volume: &Volume) -> bool {
    volume.persistent_volume_claim.is_some()
        || volume.ephemeral.is_some()
        || of_inline(volume).is_some()
}

/// The drivers of a node, with their limits.
fn drivers(node: &CSINode) -> BTreeMap<String, Option<i32>> {
    let spec = specified::<CSINodeSpec>(node.spec.clone());
    let drivers = spec.into_iter().flat_map(|spec| spec.drivers);
    let limit = |driver: k8s_openapi::api::storage::v1::CSINodeDriver| {
        (driver.name, driver.allocatable.and_then(|allocatable| allocatable.count))
    };
    drivers.map(limit).collect()
}

/// A node that takes more of a driver's volumes than before, or has the driver now, or counts
/// others.
fn of_csi_node(_: &PodInfo, what: &Happening) -> QueueingHint {
    let (Some(EventObject::CsiNode(old)), Some(EventObject::CsiNode(new))) = (&what.old, &what.new)
    else {
        return QueueingHint::Queue;
    };
    let (before, after) = (drivers(old), drivers(new));
    let limited = |drivers: &BTreeMap<String, Option<i32>>, name: &str| {
        drivers.get(name).copied().flatten().map_or(i64::MAX, i64::from)
    };
    let names = before.keys().chain(after.keys());
    let more = names.into_iter().any(|name| limited(&after, name) > limited(&before, name));
    let came = after.keys().any(|name| !before.contains_key(name));
    let migrated = |meta| annotation(meta, MIGRATED_PLUGINS);
    queue_if(more || came || migrated(&old.metadata) != migrated(&new.metadata))
}

/// A pod that had volumes has left.
fn of_pod(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(other(what).is_none_or(|other| other.attached_volumes().iter().any(may_count)))
}

/// A volume is not attached any more. Whose it was cannot be told: any claim of its driver's may
/// have room now.
fn of_attachment(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let attacher = match &what.old {
        Some(EventObject::VolumeAttachment(attachment)) => attachment.spec.attacher.as_str(),
        _ => return QueueingHint::Queue,
    };
    queue_if(pod.attached_volumes().iter().any(|volume| match of_inline(volume) {
        Some(migrated) => migrated.plugin.driver() == attacher,
        None => volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some(),
    }))
}

/// A driver lets pods go where it is missing.
fn of_driver(_: &PodInfo, what: &Happening) -> QueueingHint {
    let requires = |object: &Option<EventObject>| match object {
        Some(EventObject::CsiDriver(driver)) => is_required(driver),
        _ => false,
    };
    queue_if(requires(&what.old) && !requires(&what.new))
}
