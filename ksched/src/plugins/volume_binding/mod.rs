//! VolumeBinding: claims get their volumes where the pod runs.

mod bind;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeSpec};
use kcore::informer::Lister;
use parking_lot::Mutex;
use serde::Deserialize;

use super::volumes::{Storage, claims, is_bound, volume_name, volume_spec};
use crate::framework::{
    Action, Args, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Handle, PreBindPlugin, PreFilterPlugin, PreFilterResult, ReservePlugin,
    SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};
use plan::{Plan, Unbound, WRONG_NODE, plan, reachable};

/// How long a pod waits for its volumes, if the arguments do not say.
const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// Finds nodes where a pod's claims can have their volumes: those that are bound, those that are
/// there, and those that can be made. Once a node is chosen the claims are bound before the pod
/// is; who makes volumes is told by the annotation `volume.kubernetes.io/selected-node`.
/// <https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>
#[derive(Debug)]
pub struct VolumeBinding {
    handle: Handle,
    storage: Storage,
    nodes: Lister<Node>,
    timeout: Duration,
    /// Volumes that are spoken for, by the uid of the pod that will use them.
    reserved: Mutex<BTreeMap<String, Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    bind_timeout_seconds: Option<i64>,
    shape: Option<Vec<serde_json::Value>>,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

/// What PreFilter found: the volumes that are bound, and the claims that are not.
#[derive(Debug, Clone)]
struct Found {
    bound: Vec<PersistentVolumeSpec>,
    unbound: Vec<Unbound>,
    volumes: Vec<Arc<PersistentVolume>>,
    reserved: BTreeSet<String>,
}

/// What is to be done on the chosen node.
#[derive(Debug, Clone)]
struct Chosen(Plan);

impl VolumeBinding {
    /// The plugin with `VolumeBindingArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or out of range.
    pub fn new(args: &Args, handle: &Handle) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let timeout = match args.bind_timeout_seconds {
            None => BIND_TIMEOUT,
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).map_err(|_| {
                format!(
                    "bindTimeoutSeconds: Invalid value: {seconds}: invalid BindTimeoutSeconds, \
                     should not be a negative value"
                )
            })?),
        };
        if args.shape.is_some() {
            return Err(
                "shape: Forbidden: storage capacity is not scored: leave the field out".to_owned()
            );
        }
        let (storage, handle) = (Storage::new(handle), handle.clone());
        let nodes = handle.informers().of::<Node>().lister();
        Ok(Self { handle, storage, nodes, timeout, reserved: Mutex::default() })
    }

    fn find(&self, pod: &PodInfo) -> Result<Option<Found>, Status> {
        let all = claims(pod);
        if all.is_empty() {
            return Ok(None);
        }
        let (mut bound, mut unbound) = (Vec::new(), Vec::new());
        for mention in all {
            let claim = self.storage.claim(pod, &mention)?;
            let name = &mention.name;
            if claim.metadata.deletion_timestamp.is_some() {
                let why = format!("persistentvolumeclaim {name:?} is being deleted");
                return Err(Status::unresolvable(why));
            }
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase == Some("Lost") {
                return Err(Status::unresolvable(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                    volume_name(&claim).unwrap_or_default()
                )));
            }
            if is_bound(&claim) {
                let Some(volume) = self.storage.volume(&claim) else {
                    return Err(Status::unresolvable(
                        "node(s) unavailable due to one or more pvc(s) bound to non-existent \
                         pv(s)",
                    ));
                };
                bound.push(volume_spec(&volume));
                continue;
            }
            let class = self.storage.class(&claim);
            match class.filter(|_| self.storage.waits_for_consumer(&claim)) {
                Some(class) if volume_name(&claim).is_none() => {
                    let capacities = self.storage.capacities(&class);
                    unbound.push(Unbound { claim, class, capacities });
                }
                _ => {
                    let why = "pod has unbound immediate PersistentVolumeClaims";
                    return Err(Status::unresolvable(why));
                }
            }
        }
        // Volumes that every node reaches say nothing of any.
        bound.retain(|volume: &PersistentVolumeSpec| volume.node_affinity.is_some());
        if bound.is_empty() && unbound.is_empty() {
            return Ok(None);
        }
        let volumes = match unbound.is_empty() {
            true => Vec::new(),
            false => self.storage.volumes.list(),
        };
        let reserved = self.reserved.lock();
        let others = reserved.iter().filter(|(uid, _)| uid.as_str() != pod.uid());
        let reserved = others.flat_map(|(_, names)| names.iter().cloned()).collect();
        Ok(Some(Found { bound, unbound, volumes, reserved }))
    }
}

impl SchedulerPlugin for VolumeBinding {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.reserve(self.clone());
        points.pre_bind(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for VolumeBinding {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        match self.find(pod) {
            Ok(None) => Status::skip().into(),
            Ok(Some(found)) => {
                state.write(found);
                Status::success().into()
            }
            Err(status) => status.into(),
        }
    }
}

impl FilterPlugin for VolumeBinding {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(found) = state.read::<Found>() else { return Status::success() };
        let mut reasons = Vec::new();
        if !found.bound.iter().all(|volume| reachable(volume, node)) {
            reasons.push(WRONG_NODE.into());
        }
        if let Err(why) = plan(&found.unbound, &found.volumes, &found.reserved, node) {
            reasons.push(why.into());
        }
        if reasons.is_empty() {
            return Status::success();
        }
        Status::with_reasons(crate::framework::Code::UnschedulableAndUnresolvable, reasons)
    }
}

impl ReservePlugin for VolumeBinding {
    fn reserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) -> Status {
        let Some(found) = state.read::<Found>() else { return Status::success() };
        if found.unbound.is_empty() {
            return Status::success();
        }
        let Some(node) = self.nodes.get("", node).map(NodeInfo::new) else {
            return Status::error(format!("node {node:?} not found"));
        };
        let mut reserved = self.reserved.lock();
        // Others may have reserved since the pod's cycle began.
        let others = reserved.iter().filter(|(uid, _)| uid.as_str() != pod.uid());
        let taken = others.flat_map(|(_, names)| names.iter().cloned()).collect();
        let plan = match plan(&found.unbound, &found.volumes, &taken, &node) {
            Ok(plan) => plan,
            Err(why) => return Status::unschedulable(why),
        };
        let names = plan.bindings.iter().filter_map(|(volume, _)| volume.metadata.name.clone());
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            reserved.insert(pod.uid().to_owned(), names);
        }
        drop(reserved);
        state.write(Chosen(plan));
        Status::success()
    }

    fn unreserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) {
        self.reserved.lock().remove(pod.uid());
    }
}

#[async_trait]
impl PreBindPlugin for VolumeBinding {
    async fn pre_bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Status {
        let Some(Chosen(plan)) = state.read::<Chosen>() else { return Status::success() };
        if plan.bindings.is_empty() && plan.provisions.is_empty() {
            return Status::success();
        }
        let bound = bind::bind(&self.handle, plan, node);
        let status = match tokio::time::timeout(self.timeout, bound).await {
            Ok(Ok(())) => Status::success(),
            Ok(Err(why)) => Status::error(format!("binding volumes: {why}")),
            Err(_) => Status::error("binding volumes: context deadline exceeded"),
        };
        if status.is_success() {
            self.reserved.lock().remove(pod.uid());
        }
        status
    }
}

impl EnqueueExtensions for VolumeBinding {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let changes = Action::ADD | Action::UPDATE;
        vec![
            EventRegistration::new(EventResource::StorageClass, changes),
            EventRegistration::new(EventResource::PersistentVolumeClaim, changes),
            EventRegistration::new(EventResource::PersistentVolume, changes),
            EventRegistration::new(EventResource::Node, Action::ADD | Action::UPDATE_NODE_LABEL),
            EventRegistration::new(EventResource::CsiNode, changes),
            EventRegistration::new(EventResource::CsiDriver, changes | Action::DELETE),
            EventRegistration::new(EventResource::CsiStorageCapacity, changes),
        ]
    }
}
