//! VolumeBinding: claims get their volumes where the pod runs.

mod bind;
mod events;
mod plan;
mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kcore::informer::Lister;
use parking_lot::Mutex;
use serde::Deserialize;

use super::shape::{Shape, ShapePoint};
use super::volumes::{Storage, annotation, claims, class_name, is_bound, volume_name};
use crate::framework::{
    Args, CycleState, ExtensionPoints, FilterPlugin, Handle, PreBindPlugin, PreFilterPlugin,
    PreFilterResult, ReservePlugin, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};
use plan::{
    Bound, Candidate, NOT_THERE, Plan, SELECTED_NODE, Unbound, WRONG_NODE, plan as plan_volumes,
};

/// How long a pod waits for its volumes, if the arguments do not say.
const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// Finds nodes where a pod's claims can have their volumes: those that are bound, those that are
/// there, and those that can be made. Once a node is chosen the claims are bound before the pod
/// is; who makes volumes is told by the annotation `volume.kubernetes.io/selected-node`.
/// <https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>
///
/// Nodes are ranked by how much of their storage the claims use: of the volumes that are there, or
/// else of what their drivers say they have left (`StorageCapacityScoring`, KEP-4049). The argument
/// `shape` says what that scores; by default the more is left the better. Where that is not wanted,
/// disable the plugin at [`Point::Score`](crate::framework::Point::Score).
/// <https://kubernetes.io/docs/concepts/storage/storage-capacity/>
#[derive(Debug)]
pub struct VolumeBinding {
    handle: Handle,
    storage: Storage,
    nodes: Lister<Node>,
    pods: Lister<Pod>,
    timeout: Duration,
    shape: Shape,
    /// What is spoken for, by the uid of the pod that will use it.
    reserved: Mutex<BTreeMap<String, Reserved>>,
}

/// What is spoken for by one pod.
#[derive(Debug, Clone, Default)]
struct Reserved {
    /// Volumes by their names.
    volumes: Vec<String>,
    /// The uids of claims whose volumes are made for the node.
    claims: Vec<String>,
    node: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    bind_timeout_seconds: Option<i64>,
    shape: Vec<ShapePoint>,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

/// What PreFilter found: the volumes that are bound, and the claims that are not.
#[derive(Debug, Clone)]
struct Found(Arc<Volumes>);

#[derive(Debug)]
struct Volumes {
    /// Of each claim that is bound; `None` if its volume is gone.
    bound: Vec<Option<Bound>>,
    unbound: Vec<Unbound>,
    /// The volumes that those might take.
    candidates: Vec<Candidate>,
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
        let points = if args.shape.is_empty() { score::default_shape() } else { args.shape };
        let shape = Shape::new("shape", &points)?;
        let (storage, handle) = (Storage::new(handle), handle.clone());
        let nodes = handle.informers().of::<Node>().lister();
        let pods = handle.informers().of::<Pod>().lister();
        Ok(Self { handle, storage, nodes, pods, timeout, shape, reserved: Mutex::default() })
    }

    /// The claims of a pod.
    ///
    /// # Errors
    /// Why it cannot be scheduled with one of them.
    fn claims(&self, pod: &PodInfo) -> Result<Vec<Arc<PersistentVolumeClaim>>, Status> {
        let mut all = Vec::new();
        for mention in claims(pod) {
            let claim = self.storage.claim(pod, &mention)?;
            let name = &mention.name;
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase == Some("Lost") {
                return Err(Status::unresolvable(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                    volume_name(&claim).unwrap_or_default()
                )));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                let why = format!("persistentvolumeclaim {name:?} is being deleted");
                return Err(Status::unresolvable(why));
            }
            all.push(claim);
        }
        Ok(all)
    }

    fn find(&self, pod: &PodInfo) -> Result<Option<Volumes>, Status> {
        let all = self.claims(pod)?;
        let others = self.reserved_by_others(pod);
        let (mut bound, mut unbound) = (Vec::new(), Vec::new());
        for claim in all {
            if is_bound(&claim) {
                bound.push(self.storage.volume(&claim).map(|volume| Bound::new(&volume)));
                continue;
            }
            let class = self.storage.class(&claim);
            let class = class.filter(|_| self.storage.waits_for_consumer(&claim));
            let Some(class) = class.filter(|_| volume_name(&claim).is_none()) else {
                let why = "pod has unbound immediate PersistentVolumeClaims";
                return Err(Status::unresolvable(why));
            };
            let capacities = self.storage.capacities(&class);
            let selected = annotation(&claim.metadata, SELECTED_NODE).map(ToOwned::to_owned);
            let selected = selected.or_else(|| others.node_of(&claim));
            unbound.push(Unbound { claim, class, capacities, selected });
        }
        // Volumes that every node reaches say nothing of any.
        bound.retain(|bound| bound.as_ref().is_none_or(|bound| !bound.is_everywhere()));
        if bound.is_empty() && unbound.is_empty() {
            return Ok(None);
        }
        let classes: BTreeSet<&str> =
            unbound.iter().filter_map(|unbound| class_name(&unbound.claim)).collect();
        let candidates = match classes.is_empty() {
            true => Vec::new(),
            false => self.storage.volumes.list(),
        };
        let candidates = candidates.into_iter().filter_map(|v| Candidate::new(v, &classes));
        let candidates = candidates.collect();
        Ok(Some(Volumes { bound, unbound, candidates, reserved: others.volumes() }))
    }

    fn reserved_by_others(&self, pod: &PodInfo) -> Others {
        let reserved = self.reserved.lock();
        let others = reserved.iter().filter(|(uid, _)| uid.as_str() != pod.uid());
        Others(others.map(|(_, reserved)| reserved.clone()).collect())
    }
}

/// What is spoken for by other pods.
struct Others(Vec<Reserved>);

impl Others {
    /// The node that a claim's volume is being made for, as nobody else knows yet.
    fn node_of(&self, claim: &PersistentVolumeClaim) -> Option<String> {
        let uid = claim.metadata.uid.as_ref()?;
        let found = self.0.iter().find(|reserved| reserved.claims.contains(uid));
        found.map(|reserved| reserved.node.clone())
    }

    fn volumes(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|reserved| reserved.volumes.iter().cloned()).collect()
    }
}

impl SchedulerPlugin for VolumeBinding {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
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
                state.write(Found(Arc::new(found)));
                Status::success().into()
            }
            Err(status) => status.into(),
        }
    }
}

impl FilterPlugin for VolumeBinding {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(Found(found)) = state.read::<Found>() else { return Status::success() };
        let csi_node = || self.storage.csi_nodes.get("", node.name());
        // The first volume that is out of reach says why.
        let away = found.bound.iter().find_map(|bound| match bound {
            None => Some(NOT_THERE),
            Some(bound) => (!bound.is_reached(node, csi_node)).then_some(WRONG_NODE),
        });
        let unbound = plan_volumes(&found.unbound, &found.candidates, &found.reserved, node).err();
        // In upstream's order: that a volume is gone is said last.
        let (wrong, gone) = (away.filter(|why| *why == WRONG_NODE), away);
        let gone = gone.filter(|why| *why == NOT_THERE);
        let reasons = [wrong, unbound, gone].into_iter().flatten().map(Into::into);
        let reasons: Vec<_> = reasons.collect();
        if reasons.is_empty() {
            return Status::success();
        }
        Status::with_reasons(crate::framework::Code::UnschedulableAndUnresolvable, reasons)
    }
}

impl ReservePlugin for VolumeBinding {
    fn reserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) -> Status {
        let Some(Found(found)) = state.read::<Found>() else { return Status::success() };
        if found.unbound.is_empty() {
            return Status::success();
        }
        let Some(on) = self.nodes.get("", node).map(NodeInfo::new) else {
            return Status::error(format!("node {node:?} not found"));
        };
        let mut reserved = self.reserved.lock();
        // Others may have reserved since the pod's cycle began.
        let others = reserved.iter().filter(|(uid, _)| uid.as_str() != pod.uid());
        let taken = others.flat_map(|(_, own)| own.volumes.iter().cloned()).collect();
        let plan = match plan_volumes(&found.unbound, &found.candidates, &taken, &on) {
            Ok(plan) => plan,
            Err(why) => return Status::unschedulable(why),
        };
        let volumes = plan.bindings.iter().filter_map(|(v, _)| v.volume.metadata.name.clone());
        let claims = plan.provisions.iter().filter_map(|made| made.claim.metadata.uid.clone());
        let (volumes, claims) = (volumes.collect(), claims.collect());
        let own = Reserved { volumes, claims, node: node.to_owned() };
        reserved.insert(pod.uid().to_owned(), own);
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
        let binding = bind::Binding::new(self, pod, node);
        let status = match tokio::time::timeout(self.timeout, binding.carry_out(plan)).await {
            Ok(Ok(())) => Status::success(),
            Ok(Err(why)) => Status::error(why),
            Err(_) => Status::error("binding volumes: context deadline exceeded"),
        };
        if status.is_success() {
            self.reserved.lock().remove(pod.uid());
        }
        status
    }
}
