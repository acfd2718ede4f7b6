//! VolumeZone: a pod runs in the zone of its volumes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::volumes::hints::{of_own_claim, queue_if};
use super::volumes::{Storage, claims, class_name, volume_name};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventObject, EventRegistration, EventResource,
    ExtensionPoints, FilterPlugin, Handle, Happening, PreFilterPlugin, PreFilterResult,
    QueueingHint, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// The labels that say where a volume is, each with the one that nodes have in its place today.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];
const WAITS: &str = "WaitForFirstConsumer";

/// Turns away nodes in another zone or region than the labels of the pod's volumes say.
/// <https://kubernetes.io/docs/setup/best-practices/multiple-zones/#storage-access-for-zones>
#[derive(Debug)]
pub struct VolumeZone {
    storage: Storage,
}

impl VolumeZone {
    /// The plugin.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { storage: Storage::new(handle) }
    }
}

/// A place that a volume allows: the label, the one in its place today, and its values.
type Place = (&'static str, &'static str, BTreeSet<String>);

/// The places that the pod's volumes allow.
#[derive(Debug, Clone)]
struct Places(Vec<Place>);

/// Where a volume is. One that is in several zones names them all; a label that names none says
/// nothing.
fn places(volume: &PersistentVolume) -> Vec<Place> {
    let labels = volume.metadata.labels.as_ref();
    let place = |(label, today): &(&'static str, &'static str)| {
        let values = labels?.get(*label)?.split("__").map(|value| value.trim().to_owned());
        let values: BTreeSet<String> = values.collect();
        (!values.contains("")).then_some((*label, *today, values))
    };
    LABELS.iter().filter_map(place).collect()
}

impl VolumeZone {
    /// The volume of a claim; `None` if it will be made once a node is chosen.
    ///
    /// # Errors
    /// Why there is none.
    fn volume(
        &self,
        claim: &PersistentVolumeClaim,
    ) -> Result<Option<Arc<PersistentVolume>>, Status> {
        if let Some(name) = volume_name(claim) {
            let missing = || Status::unresolvable(format!("persistentvolume {name:?} not found"));
            return self.storage.volumes.get("", name).map(Some).ok_or_else(missing);
        }
        let Some(name) = class_name(claim).filter(|name| !name.is_empty()) else {
            let why = "PersistentVolumeClaim had no pv name and storageClass name";
            return Err(Status::unresolvable(why));
        };
        let Some(class) = self.storage.class(claim) else {
            let why = format!("storageclass.storage.k8s.io {name:?} not found");
            return Err(Status::unresolvable(why));
        };
        match class.volume_binding_mode.as_deref() {
            Some(WAITS) => Ok(None),
            Some(_) => Err(Status::unresolvable("PersistentVolume had no name")),
            None => Err(Status::unresolvable(format!(
                "VolumeBindingMode not set for StorageClass {name:?}"
            ))),
        }
    }
}

impl SchedulerPlugin for VolumeZone {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for VolumeZone {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let mut all = Vec::new();
        // What is made for the pod alone is made where it runs.
        for claim in claims(pod).into_iter().filter(|claim| !claim.ephemeral) {
            let found = self.storage.claim(pod, &claim);
            match found.and_then(|found| self.volume(&found)) {
                Ok(Some(volume)) => all.extend(places(&volume)),
                Ok(None) => {}
                Err(status) => return status.into(),
            }
        }
        if all.is_empty() {
            return Status::skip().into();
        }
        state.write_for_choice(Places(all));
        Status::success().into()
    }
}

impl FilterPlugin for VolumeZone {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(Places(places)) = state.read() else { return Status::success() };
        // A node in no zone at all is taken to be near everything.
        if LABELS.iter().all(|(label, _)| node.label(label).is_none()) {
            return Status::success();
        }
        let near = places.iter().all(|(label, today, values)| {
            let place = node.label(label).or_else(|| node.label(today));
            place.is_some_and(|place| values.contains(place))
        });
        if near {
            return Status::success();
        }
        Status::unresolvable("node(s) had no available volume zone")
    }
}

impl EnqueueExtensions for VolumeZone {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let changes = Action::ADD | Action::UPDATE;
        vec![
            EventRegistration::new(EventResource::StorageClass, Action::ADD).hint(of_class),
            EventRegistration::new(EventResource::Node, Action::ADD | Action::UPDATE_NODE_LABEL),
            EventRegistration::new(EventResource::PersistentVolumeClaim, changes)
                .hint(of_own_claim),
            EventRegistration::new(EventResource::PersistentVolume, changes).hint(of_volume),
        ]
    }
}

/// Only claims of classes that wait for a node need no volume.
fn of_class(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match &what.new {
        Some(EventObject::StorageClass(class)) => {
            class.volume_binding_mode.as_deref() == Some(WAITS)
        }
        _ => true,
    })
}

/// A volume came, or is somewhere else.
fn of_volume(_: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match (&what.old, &what.new) {
        (Some(EventObject::PersistentVolume(old)), Some(EventObject::PersistentVolume(new))) => {
            places(old) != places(new)
        }
        _ => true,
    })
}
