//! VolumeZone: a pod runs in the zone of its volumes.

use std::sync::Arc;

use super::volumes::{Storage, claims, volume_name};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Handle, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// The labels that say where a volume is, each with its older name.
const LABELS: [(&str, &str); 2] = [
    ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
];

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

/// The places that the pod's volumes allow: label, and its values.
#[derive(Debug, Clone)]
struct Places(Vec<(&'static (&'static str, &'static str), Vec<String>)>);

impl SchedulerPlugin for VolumeZone {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for VolumeZone {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let mut places = Vec::new();
        for claim in claims(pod) {
            let found = match self.storage.claim(pod, &claim) {
                Ok(found) => found,
                Err(status) => return status.into(),
            };
            if volume_name(&found).is_none() {
                if self.storage.waits_for_consumer(&found) {
                    continue;
                }
                return Status::unresolvable("PersistentVolume had no name").into();
            }
            let Some(volume) = self.storage.volume(&found) else {
                let name = volume_name(&found).unwrap_or_default();
                return Status::unresolvable(format!("persistentvolume {name:?} not found")).into();
            };
            for label in &LABELS {
                let labels = volume.metadata.labels.as_ref();
                let value = labels.and_then(|all| all.get(label.0).or_else(|| all.get(label.1)));
                let Some(value) = value else { continue };
                // A volume in several zones names them all.
                let values = value.split("__").map(ToOwned::to_owned).collect();
                places.push((label, values));
            }
        }
        if places.is_empty() {
            return Status::skip().into();
        }
        state.write_for_choice(Places(places));
        Status::success().into()
    }
}

impl FilterPlugin for VolumeZone {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(Places(places)) = state.read() else { return Status::success() };
        let at = |label: &(&str, &str)| node.label(label.0).or_else(|| node.label(label.1));
        // A node in no zone at all is taken to be near everything.
        if LABELS.iter().all(|label| at(label).is_none()) {
            return Status::success();
        }
        let near = places.iter().all(|(label, values)| {
            at(label).is_some_and(|place| values.iter().any(|value| value == place))
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
            EventRegistration::new(EventResource::StorageClass, Action::ADD),
            EventRegistration::new(EventResource::Node, Action::ADD | Action::UPDATE_NODE_LABEL),
            EventRegistration::new(EventResource::PersistentVolumeClaim, changes),
            EventRegistration::new(EventResource::PersistentVolume, changes),
        ]
    }
}
