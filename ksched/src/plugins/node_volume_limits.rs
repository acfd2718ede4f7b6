//! NodeVolumeLimits: a node takes only so many volumes of a driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::storage::v1::{CSINode, CSINodeSpec};
use kcore::informer::{Lister, Registration};
use parking_lot::Mutex;

use super::volumes::{Storage, claims, specified, volume_name, volume_spec};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Handle, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// How many volumes there may be, by driver.
type Limits = BTreeMap<String, usize>;

/// Turns away nodes that have as many volumes of a driver attached as their CSINode allows.
/// <https://kubernetes.io/docs/concepts/storage/storage-limits/>
#[derive(Debug)]
pub struct NodeVolumeLimits {
    storage: Storage,
    nodes: Lister<CSINode>,
    /// Moves when a CSINode does.
    changes: Arc<AtomicU64>,
    _registration: Registration,
    /// The smallest limits of all nodes, and the changes they were read at.
    smallest: Mutex<(u64, Arc<Limits>)>,
}

/// What the pod attaches, by driver, and the smallest limits of all nodes.
#[derive(Debug, Clone)]
struct Wanted {
    volumes: BTreeMap<String, BTreeSet<String>>,
    smallest: Arc<Limits>,
}

impl Wanted {
    /// Whether the pod has room wherever there are so many volumes, of whatever driver.
    fn fits_beside(&self, there: usize) -> bool {
        self.volumes.iter().all(|(driver, wanted)| {
            self.smallest.get(driver).is_none_or(|limit| there + wanted.len() <= *limit)
        })
    }
}

/// The limits that a node has.
fn limits(node: &CSINode) -> impl Iterator<Item = (String, usize)> {
    let spec = specified::<CSINodeSpec>(node.spec.clone());
    spec.into_iter().flat_map(|spec| spec.drivers).filter_map(|driver| {
        let limit = driver.allocatable.and_then(|allocatable| allocatable.count)?;
        Some((driver.name, usize::try_from(limit).unwrap_or_default()))
    })
}

impl NodeVolumeLimits {
    /// The plugin.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        let informer = handle.informers().of::<CSINode>();
        let changes = Arc::new(AtomicU64::new(1));
        let counter = Arc::clone(&changes);
        let _registration = informer.on_change(move |_| {
            counter.fetch_add(1, Ordering::Release);
        });
        let (storage, nodes) = (Storage::new(handle), informer.lister());
        Self { storage, nodes, changes, _registration, smallest: Mutex::default() }
    }

    /// The smallest limit of any node, by driver.
    fn smallest(&self) -> Arc<Limits> {
        let version = self.changes.load(Ordering::Acquire);
        let mut known = self.smallest.lock();
        if known.0 != version {
            let mut smallest = Limits::new();
            for (driver, limit) in self.nodes.list().iter().flat_map(|node| limits(node)) {
                let least = smallest.entry(driver).or_insert(limit);
                *least = limit.min(*least);
            }
            *known = (version, Arc::new(smallest));
        }
        Arc::clone(&known.1)
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
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let mut volumes = BTreeMap::new();
        self.attached(pod, &mut volumes);
        let smallest = self.smallest();
        volumes.retain(|driver, _| smallest.contains_key(driver));
        if volumes.is_empty() {
            return Status::skip().into();
        }
        state.write_for_choice(Wanted { volumes, smallest });
        Status::success().into()
    }
}

impl FilterPlugin for NodeVolumeLimits {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(wanted) = state.read::<Wanted>() else { return Status::success() };
        // Far from any limit nobody needs to know whose volumes those are.
        if wanted.fits_beside(node.claim_count()) {
            return Status::success();
        }
        let Some(own) = self.nodes.get("", node.name()) else { return Status::success() };
        let mut there = BTreeMap::new();
        for other in node.pods().iter() {
            self.attached(other, &mut there);
        }
        for (driver, limit) in limits(&own) {
            let Some(wanted) = wanted.volumes.get(&driver) else { continue };
            let known = there.get(&driver).cloned().unwrap_or_default();
            let new = wanted.iter().filter(|handle| !known.contains(*handle)).count();
            if new > 0 && known.len() + new > limit {
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
