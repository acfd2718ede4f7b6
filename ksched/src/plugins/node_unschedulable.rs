//! NodeUnschedulable: cordoned nodes take no pods.

use std::sync::Arc;

use super::taint_toleration::tolerates_taint;
use super::volumes::hints::queue_if;
use crate::framework::{
    Action, Candidates, CycleState, EnqueueExtensions, EventObject, EventRegistration,
    EventResource, ExtensionPoints, FilterPlugin, GroupVerdict, Happening, QueueingHint,
    SchedulerPlugin, Status,
};
use crate::snapshot::{NodeGroup, NodeInfo, PodInfo, Snapshot};

/// The taint that stands for `spec.unschedulable`.
const TAINT: &str = "node.kubernetes.io/unschedulable";

/// Turns away nodes that are cordoned, unless the pod tolerates that.
/// <https://kubernetes.io/docs/concepts/architecture/nodes/#manual-node-administration>
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeUnschedulable;

impl SchedulerPlugin for NodeUnschedulable {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl FilterPlugin for NodeUnschedulable {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        if !node.unschedulable() || tolerates_taint(pod, TAINT, "", "NoSchedule") {
            return Status::success();
        }
        Status::unresolvable("node(s) were unschedulable")
    }

    fn filter_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        candidates: &mut Candidates,
    ) {
        let cordoned = &nodes.columns().unschedulable;
        candidates.retain(|at| {
            if !cordoned[at as usize] {
                return Status::success();
            }
            self.filter(state, pod, nodes.node(at))
        });
    }

    fn keeps(&self) -> bool {
        true
    }

    fn filter_group(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<GroupVerdict> {
        let passes = self.filter(state, pod, group.shape()).is_success();
        Some(if passes { GroupVerdict::Pass } else { GroupVerdict::Reject })
    }
}

impl EnqueueExtensions for NodeUnschedulable {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let actions = Action::ADD | Action::UPDATE_NODE_TAINT;
        let own = Action::UPDATE_POD_TOLERATIONS;
        vec![
            EventRegistration::new(EventResource::Node, actions).hint(hint_of_node),
            EventRegistration::new(EventResource::UnscheduledPod, own).hint(hint_of_itself),
        ]
    }
}

/// A node helps that took no pods, and does now.
fn hint_of_node(_: &PodInfo, what: &Happening) -> QueueingHint {
    let takes = |object: &Option<EventObject>| {
        let node = object.as_ref().and_then(|object| object.node());
        node.is_some_and(|node| {
            let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable);
            cordoned != Some(true)
        })
    };
    queue_if(!takes(&what.old) && takes(&what.new))
}

/// Of what the pod tolerates only this matters.
fn hint_of_itself(pod: &PodInfo, _: &Happening) -> QueueingHint {
    queue_if(tolerates_taint(pod, TAINT, "", "NoSchedule"))
}
