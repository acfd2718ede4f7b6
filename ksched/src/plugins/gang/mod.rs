//! GangScheduling: pods that run together or not at all.

mod groups;

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
use groups::Groups;

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
/// With the argument `podGroups: true` it follows the `PodGroup` API of `scheduling.k8s.io/v1beta1`
/// too, which servers do not serve by default: a pod with `spec.schedulingGroup` waits for its
/// group to exist, and for as many pods as the group's gang policy says.
///
/// The plugin is not enabled by default: add [`gang_scheduling`](super::gang_scheduling) to the
/// scheduler.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/>
#[derive(Debug)]
pub struct GangScheduling {
    handle: Handle,
    pods: SharedInformer<Pod>,
    by_group: Index,
    groups: Option<Groups>,
    wait: Duration,
}

/// How many pods of a group must run for any to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Least {
    Count(usize),
    /// The group does not exist yet.
    Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    permit_waiting_time_seconds: Option<u64>,
    pod_groups: bool,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

/// A pod's group by its key, and what the pod itself says of how many of it must run. A group of
/// the API is another one than that of the same name by labels.
fn group(pod: &Pod) -> Option<(String, Option<usize>)> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(name) = groups::named(pod) {
        return Some((format!("podgroups/{namespace}/{name}"), None));
    }
    let labels = pod.metadata.labels.as_ref()?;
    let name = labels.get(POD_GROUP_LABEL)?;
    let least = labels.get(MIN_AVAILABLE_LABEL)?.parse().ok()?;
    Some((format!("{namespace}/{name}"), Some(least)))
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
        let groups = args.pod_groups.then(|| Groups::new(handle)).transpose()?;
        let pods = handle.informers().of::<Pod>();
        let by_group = pods.add_index("podGroup", |pod: &Pod| {
            group(pod).map(|(key, _)| key).into_iter().collect()
        });
        Ok(Self { handle: handle.clone(), pods, by_group, groups, wait })
    }

    /// A pod's group by its key, and how many of it must run.
    fn gang(&self, pod: &Pod) -> Option<(String, Least)> {
        match (group(pod)?, &self.groups) {
            ((key, Some(least)), _) => Some((key, Least::Count(least))),
            ((key, None), Some(groups)) => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                Some((key, groups.least(namespace, groups::named(pod)?)))
            }
            // Nobody told the plugin to follow the API.
            ((_, None), None) => None,
        }
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
        let Some((key, least)) = self.gang(pod.pod()) else { return Status::success() };
        let Least::Count(least) = least else {
            return Status::unresolvable(format!("waiting for pod group {key:?} to exist"));
        };
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
        let Some((key, least)) = self.gang(pod.pod()) else { return Permit::Allow };
        let Least::Count(least) = least else {
            let why = format!("pod group {key:?} does not exist any more");
            return Permit::Reject(Status::unschedulable(why));
        };
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
        let Some((key, _)) = self.gang(pod.pod()) else { return result };
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
        let Some((key, _)) = self.gang(pod.pod()) else { return };
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
            let other = other.and_then(|other| group(other.pod())).map(|(key, _)| key);
            match group(pod.pod()).map(|(key, _)| key) == other {
                true => QueueingHint::Queue,
                false => QueueingHint::Skip,
            }
        };
        let come = Action::ADD;
        // A rejected gang needs room, which whoever leaves makes.
        let room = Action::DELETE | Action::UPDATE_POD_SCALE_DOWN;
        let nodes = Action::ADD | Action::UPDATE_NODE_ALLOCATABLE;
        let mut events = vec![
            EventRegistration::new(EventResource::UnscheduledPod, come).hint(same),
            EventRegistration::new(EventResource::AssignedPod, come).hint(same),
            EventRegistration::new(EventResource::AssignedPod, room),
            EventRegistration::new(EventResource::Node, nodes),
        ];
        if self.groups.is_some() {
            let any = Action::ADD | Action::UPDATE;
            events.push(EventRegistration::new(EventResource::PodGroup, any));
        }
        events
    }
}
