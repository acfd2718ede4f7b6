//! NodeVolumeLimits: a node takes only so many volumes of a driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::storage::v1::{CSINode, CSINodeSpec};
use kcore::informer::Lister;

use super::volumes::{Storage, claims, specified, volume_name, volume_spec};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Handle, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Turns away nodes that have as many volumes of a driver attached as their CSINode allows.
/// <https://kubernetes.io/docs/concepts/storage/storage-limits/>
#[derive(Debug)]
pub struct NodeVolumeLimits {
    storage: Storage,
    nodes: Lister<CSINode>,
}

impl NodeVolumeLimits {
    /// The plugin.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        let nodes = handle.informers().of::<CSINode>().lister();
        Self { storage: Storage::new(handle), nodes }
    }

    /// The volumes that a pod attaches, by driver. Those that cannot be told yet are left out.
    fn attached(&self, pod: &PodInfo, into: &mut BTreeMap<String, BTreeSet<String>>) {
        for claim in claims(pod) {
            let Ok(found) = self.storage.claim(pod, &claim) else { continue };
            let named = volume_name(&found).is_some();
            let csi = self.storage.volume(&found).and_then(|volume| volume_spec(&volume).csi);
            let (driver, handle) = match csi {
                Some(csi) => (csi.driver, csi.volume_handle),
                // It will be made by the class's provisioner; until then the claim stands for it.
                None if !named => {
                    let Some(class) = self.storage.class(&found) else { continue };
                    (class.provisioner.clone(), format!("{}/{}", pod.namespace(), claim.name))
                }
                None => continue,
            };
            into.entry(driver).or_default().insert(handle);
        }
    }
}

impl SchedulerPlugin for NodeVolumeLimits {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for NodeVolumeLimits {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        if claims(pod).is_empty() { Status::skip().into() } else { Status::success().into() }
    }
}

impl FilterPlugin for NodeVolumeLimits {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let mut wanted = BTreeMap::new();
        self.attached(pod, &mut wanted);
        let limits = self.nodes.get("", node.name());
        let Some(limits) = limits.and_then(|node| specified::<CSINodeSpec>(node.spec.clone()))
        else {
            return Status::success();
        };
        let mut there = BTreeMap::new();
        for other in node.pods().iter() {
            self.attached(other, &mut there);
        }
        for driver in limits.drivers {
            let limit = driver.allocatable.and_then(|allocatable| allocatable.count);
            let (Some(limit), Some(wanted)) = (limit, wanted.get(&driver.name)) else { continue };
            let known = there.get(&driver.name).cloned().unwrap_or_default();
            let new = wanted.iter().filter(|handle| !known.contains(*handle)).count();
            let most = usize::try_from(limit).unwrap_or_default();
            if new > 0 && known.len() + new > most {
                return Status::unschedulable("node(s) exceed max volume count");
            }
        }
        Status::success()
    }
}

impl EnqueueExtensions for NodeVolumeLimits {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![
            EventRegistration::new(EventResource::CsiNode, Action::ADD | Action::UPDATE),
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE),
            EventRegistration::new(EventResource::Node, Action::ADD),
            EventRegistration::new(
                EventResource::PersistentVolumeClaim,
                Action::ADD | Action::UPDATE,
            ),
            EventRegistration::new(EventResource::PersistentVolume, Action::ADD | Action::UPDATE),
        ]
    }
}
