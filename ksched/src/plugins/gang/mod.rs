//! GangScheduling: pods that run together or not at all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kcore::informer::{Index, SharedInformer};
use serde::Deserialize;

use crate::framework::{
    Action, Args, CycleState, Diagnosis, EnqueueExtensions, EventRegistration, EventResource,
    ExtensionPoints, Filters, Handle, Permit, PermitPlugin, PostFilterPlugin, PostFilterResult,
    PreEnqueuePlugin, QueueingHint, ReservePlugin, SchedulerPlugin, Status,
};
use crate::snapshot::{PodInfo, Snapshot};

const NAME: &str = "GangScheduling";
/// The label that names a pod's group.
pub const POD_GROUP_LABEL: &str = "pod-group.scheduling.sigs.k8s.io/name";
/// The label that says how many of a group must run for any to.
pub const MIN_AVAILABLE_LABEL: &str = "pod-group.scheduling.sigs.k8s.io/min-available";
/// How long the first of a group wait for the others, if the arguments do not say.
const WAIT: Duration = Duration::from_secs(60);

/// Holds the pods of a group back until so many of them have a node that the group can run: either
/// all of those are bound, or none is and what they had goes to others.
///
/// A pod says by labels which group it belongs to and how many of it must run:
/// [`POD_GROUP_LABEL`] and [`MIN_AVAILABLE_LABEL`]. Until that many exist, none of them is tried.
/// A gang that does not fit tries again and again, and holds some room for moments: pods of no
/// higher priority may have to wait for it to give up, or to be deleted.
///
/// The `PodGroup` API of `scheduling.k8s.io` is not generally available, and not read. The plugin
/// is not enabled by default: add [`gang_scheduling`](super::gang_scheduling) to the scheduler.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/>
#[derive(Debug)]
pub struct GangScheduling {
    handle: Handle,
    pods: SharedInformer<Pod>,
    by_group: Index,
    wait: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    permit_waiting_time_seconds: Option<u64>,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

/// A group by its key, and how many of it must run.
fn group(pod: &Pod) -> Option<(String, usize)> {
    let labels = pod.metadata.labels.as_ref()?;
    let name = labels.get(POD_GROUP_LABEL)?;
    let least = labels.get(MIN_AVAILABLE_LABEL)?.parse().ok()?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some((format!("{namespace}/{name}"), least))
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
}

impl GangScheduling {
    /// The plugin; its argument `permitWaitingTimeSeconds` says how long the first of a group wait
    /// for the others.
    ///
    /// # Errors
    /// If the arguments are none.
    pub fn new(args: &Args, handle: &Handle) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let wait = args.permit_waiting_time_seconds.map_or(WAIT, Duration::from_secs);
        let pods = handle.informers().of::<Pod>();
        let by_group = pods.add_index("podGroup", |pod: &Pod| {
            group(pod).map(|(key, _)| key).into_iter().collect()
        });
        Ok(Self { handle: handle.clone(), pods, by_group, wait })
    }

    fn members(&self, key: &str) -> Vec<Arc<Pod>> {
        let mut members = self.pods.lister().by_index(self.by_group, key);
        members.retain(|pod| !is_over(pod));
        members
    }

    /// The members that wait for the others.
    fn waiting(&self, key: &str) -> Vec<Arc<PodInfo>> {
        let mut waiting = self.handle.waiting_pods().list();
        waiting.retain(|pod| group(pod.pod()).is_some_and(|(known, _)| known == key));
        waiting
    }
}

impl SchedulerPlugin for GangScheduling {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_enqueue(self.clone());
        points.post_filter(self.clone());
        points.reserve(self.clone());
        points.permit(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreEnqueuePlugin for GangScheduling {
    fn pre_enqueue(&self, pod: &PodInfo) -> Status {
        let Some((key, least)) = group(pod.pod()) else { return Status::success() };
        let there = self.members(&key).len();
        if there >= least {
            return Status::success();
        }
        Status::unresolvable(format!(
            "waiting for {least} pods of pod group {key:?}, {there} of which exist"
        ))
    }
}

#[async_trait]
impl PermitPlugin for GangScheduling {
    async fn permit(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Permit {
        let Some((key, least)) = group(pod.pod()) else { return Permit::Allow };
        let on_node = |member: &&Arc<Pod>| {
            let node = member.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node.is_some_and(|node| !node.is_empty())
        };
        let bound = self.members(&key).iter().filter(on_node).count();
        let waiting = self.waiting(&key);
        if bound + waiting.len() + 1 < least {
            return Permit::Wait(self.wait);
        }
        for other in waiting {
            self.handle.waiting_pods().allow(other.uid(), NAME);
        }
        Permit::Allow
    }
}

impl PostFilterPlugin for GangScheduling {
    /// Where one of a group finds no node, those that wait for it need wait no longer.
    fn post_filter(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        _: &Snapshot,
        _: &Diagnosis,
        _: &Filters<'_>,
    ) -> PostFilterResult {
        let mut result = PostFilterResult::from(Status::unschedulable(""));
        let Some((key, _)) = group(pod.pod()) else { return result };
        let waiting = self.waiting(&key);
        let (handle, name) = (self.handle.clone(), pod.name().to_owned());
        result.effect = Some(Box::pin(async move {
            for other in waiting {
                let why = format!("pod {name:?} of pod group {key:?} cannot be scheduled");
                handle.waiting_pods().reject(other.uid(), NAME, why);
            }
            Status::success()
        }));
        result
    }
}

impl ReservePlugin for GangScheduling {
    fn reserve(&self, _: &mut CycleState, _: &PodInfo, _: &str) -> Status {
        Status::success()
    }

    /// Whatever keeps one of a group from its node keeps those that wait for it.
    fn unreserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) {
        let Some((key, _)) = group(pod.pod()) else { return };
        for other in self.waiting(&key) {
            let why = format!("pod {:?} of pod group {key:?} was not scheduled", pod.name());
            self.handle.waiting_pods().reject(other.uid(), NAME, why);
        }
    }
}

impl EnqueueExtensions for GangScheduling {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let same = |pod: &PodInfo, what: &crate::framework::Happening| {
            let other = what.new.as_ref().or(what.old.as_ref()).and_then(|object| object.pod());
            let other = other.and_then(|other| group(other)).map(|(key, _)| key);
            match group(pod.pod()).map(|(key, _)| key) == other {
                true => QueueingHint::Queue,
                false => QueueingHint::Skip,
            }
        };
        let come = Action::ADD;
        // A rejected gang needs room, which whoever leaves makes.
        let room = Action::DELETE | Action::UPDATE_POD_SCALE_DOWN;
        let nodes = Action::ADD | Action::UPDATE_NODE_ALLOCATABLE;
        vec![
            EventRegistration::new(EventResource::UnscheduledPod, come).hint(same),
            EventRegistration::new(EventResource::AssignedPod, come).hint(same),
            EventRegistration::new(EventResource::AssignedPod, room),
            EventRegistration::new(EventResource::Node, nodes),
        ]
    }
}
