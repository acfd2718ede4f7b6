//! What may help pods whose volumes are not to be had.

use k8s_openapi::api::storage::v1::CSIDriver;

use super::VolumeBinding;
use super::plan::largest;
use crate::framework::{
    Action, EnqueueExtensions, EventObject, EventRegistration, EventResource, Happening,
    QueueingHint,
};
use crate::plugins::volumes::hints::{of_own_claim, other, queue_if};
use crate::plugins::volumes::migration::MIGRATED_PLUGINS;
use crate::plugins::volumes::{annotation, claims};
use crate::snapshot::PodInfo;

impl EnqueueExtensions for VolumeBinding {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let changes = Action::ADD | Action::UPDATE;
        let drivers = Action::UPDATE | Action::DELETE;
        vec![
            EventRegistration::new(EventResource::StorageClass, changes).hint(of_class),
            EventRegistration::new(EventResource::PersistentVolumeClaim, changes)
                .hint(of_own_claim),
            EventRegistration::new(EventResource::PersistentVolume, changes),
            EventRegistration::new(EventResource::Node, Action::ADD | Action::UPDATE_NODE_LABEL),
            EventRegistration::new(EventResource::CsiNode, changes).hint(of_csi_node),
            EventRegistration::new(EventResource::CsiDriver, drivers).hint(of_driver),
            EventRegistration::new(EventResource::CsiStorageCapacity, changes).hint(of_capacity),
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE).hint(of_pod),
        ]
    }
}

/// Of a class only where its volumes may be can change.
fn of_class(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match (&what.old, &what.new) {
        (Some(EventObject::StorageClass(old)), Some(EventObject::StorageClass(new))) => {
            old.allowed_topologies != new.allowed_topologies
        }
        _ => true,
    })
}

/// Volumes are where another driver says, once that is in place.
fn of_csi_node(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match (&what.old, &what.new) {
        (Some(EventObject::CsiNode(old)), Some(EventObject::CsiNode(new))) => {
            let migrated = |meta| annotation(meta, MIGRATED_PLUGINS);
            migrated(&old.metadata) != migrated(&new.metadata)
        }
        _ => true,
    })
}

fn counts(driver: Option<&EventObject>) -> bool {
    let counts = |driver: &CSIDriver| driver.spec.storage_capacity == Some(true);
    matches!(driver, Some(EventObject::CsiDriver(driver)) if counts(driver))
}

/// What a driver has left does not count any more.
fn of_driver(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(counts(what.old.as_ref()) && !counts(what.new.as_ref()))
}

/// There is more than before.
fn of_capacity(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match (&what.old, &what.new) {
        (
            Some(EventObject::CsiStorageCapacity(old)),
            Some(EventObject::CsiStorageCapacity(new)),
        ) => {
            let units = |capacity| largest(capacity).map(|largest| largest.units());
            units(new) > units(old)
        }
        _ => true,
    })
}

/// A pod that was not bound after all gives the volumes back that were spoken for.
fn of_pod(_: &PodInfo, what: &Happening) -> QueueingHint {
    let gave_back = |other: &PodInfo| other.node_name().is_empty() && !claims(other).is_empty();
    queue_if(other(what).is_some_and(gave_back))
}
