//! VolumeRestrictions: volumes that only one pod, or one node's pods, may use.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Volume;

use super::volumes::hints::{of_own_claim, other, queue_if};
use super::volumes::{Storage, claims};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Handle, Happening, PreFilterExtensions, PreFilterPlugin, PreFilterResult,
    QueueingHint, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

const DISK_CONFLICT: &str = "node(s) had no available disk";
const ONE_POD: &str = "node has pod using PersistentVolumeClaim with the same name and \
                       ReadWriteOncePod access mode";

/// Keeps two pods from using one disk that cannot be shared, and a claim of the access mode
/// `ReadWriteOncePod` for one pod alone.
/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>
#[derive(Debug)]
pub struct VolumeRestrictions {
    storage: Storage,
}

impl VolumeRestrictions {
    /// The plugin.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { storage: Storage::new(handle) }
    }
}

/// The pod's claims for one pod alone, and how often others use them.
#[derive(Debug, Clone)]
struct Exclusive {
    claims: BTreeSet<String>,
    used: i64,
}

impl Exclusive {
    fn uses(&self, pod: &PodInfo, other: &PodInfo) -> i64 {
        if other.namespace() != pod.namespace() || other.uid() == pod.uid() {
            return 0;
        }
        let used = claims(other).into_iter().filter(|claim| self.claims.contains(&claim.name));
        i64::try_from(used.count()).unwrap_or(i64::MAX)
    }
}

/// Whether a volume is a disk that may conflict with others.
fn is_disk(volume: &Volume) -> bool {
    volume.gce_persistent_disk.is_some()
        || volume.aws_elastic_block_store.is_some()
        || volume.rbd.is_some()
        || volume.iscsi.is_some()
}

/// Whether two volumes are one disk, that both cannot use.
fn conflict(a: &Volume, b: &Volume) -> bool {
    if let (Some(a), Some(b)) = (&a.gce_persistent_disk, &b.gce_persistent_disk) {
        let both_read = a.read_only == Some(true) && b.read_only == Some(true);
        return a.pd_name == b.pd_name && !both_read;
    }
    if let (Some(a), Some(b)) = (&a.aws_elastic_block_store, &b.aws_elastic_block_store) {
        return a.volume_id == b.volume_id;
    }
    if let (Some(a), Some(b)) = (&a.iscsi, &b.iscsi) {
        let both_read = a.read_only == Some(true) && b.read_only == Some(true);
        return a.iqn == b.iqn && !both_read;
    }
    if let (Some(a), Some(b)) = (&a.rbd, &b.rbd) {
        let both_read = a.read_only == Some(true) && b.read_only == Some(true);
        let shared = a.monitors.iter().any(|monitor| b.monitors.contains(monitor));
        return shared && a.pool == b.pool && a.image == b.image && !both_read;
    }
    false
}

/// The disks of a pod.
fn disks(pod: &PodInfo) -> Vec<&Volume> {
    pod.attached_volumes().iter().filter(|volume| is_disk(volume)).collect()
}

/// Whether a pod uses one of these disks, so that both cannot.
fn share_a_disk(disks: &[&Volume], other: &PodInfo) -> bool {
    other.attached_volumes().iter().any(|volume| disks.iter().any(|disk| conflict(disk, volume)))
}

impl SchedulerPlugin for VolumeRestrictions {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for VolumeRestrictions {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult {
        let disks = pod.attached_volumes().iter().any(is_disk);
        let mut exclusive = Exclusive { claims: BTreeSet::new(), used: 0 };
        // What is made for one pod alone is used by no other.
        for claim in claims(pod).into_iter().filter(|claim| !claim.ephemeral) {
            let found = match self.storage.claim(pod, &claim) {
                Ok(found) => found,
                Err(status) => return status.into(),
            };
            let modes = found.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
            if modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod")) {
                exclusive.claims.insert(claim.name);
            }
        }
        if !disks && exclusive.claims.is_empty() {
            return Status::skip().into();
        }
        if !exclusive.claims.is_empty() {
            let others = nodes.nodes().iter().flat_map(|node| node.pods().iter());
            exclusive.used = others.map(|other| exclusive.uses(pod, other)).sum();
        }
        state.write_for_choice(exclusive);
        Status::success().into()
    }

    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        Some(self)
    }
}

fn follow(state: &mut CycleState, pod: &PodInfo, other: &PodInfo, sign: i64) -> Status {
    if let Some(exclusive) = state.read_mut::<Exclusive>() {
        exclusive.used += sign * exclusive.uses(pod, other);
    }
    Status::success()
}

impl PreFilterExtensions for VolumeRestrictions {
    fn add_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        added: &PodInfo,
        _: &NodeInfo,
    ) -> Status {
        follow(state, pod, added, 1)
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        _: &NodeInfo,
    ) -> Status {
        follow(state, pod, removed, -1)
    }
}

impl FilterPlugin for VolumeRestrictions {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let disks = disks(pod);
        if !disks.is_empty() && node.pods().iter().any(|other| share_a_disk(&disks, other)) {
            return Status::unschedulable(DISK_CONFLICT);
        }
        if state.read::<Exclusive>().is_some_and(|exclusive| exclusive.used > 0) {
            return Status::unschedulable(ONE_POD);
        }
        Status::success()
    }
}

impl EnqueueExtensions for VolumeRestrictions {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE).hint(of_pod),
            EventRegistration::new(EventResource::Node, Action::ADD),
            EventRegistration::new(EventResource::PersistentVolumeClaim, Action::ADD)
                .hint(of_own_claim),
        ]
    }
}

/// Who shared a disk or a claim with the pod has left.
fn of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let shared = |other: &PodInfo| {
        let theirs = claims(other);
        let shares = claims(pod).iter().any(|claim| theirs.contains(claim));
        share_a_disk(&disks(pod), other) || (shares && other.namespace() == pod.namespace())
    };
    queue_if(other(what).is_none_or(shared))
}
