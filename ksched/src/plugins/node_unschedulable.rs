//! NodeUnschedulable: cordoned nodes take no pods.

use std::sync::Arc;

use super::taint_toleration::tolerates_taint;
use crate::framework::{
    Action, Candidates, CycleState, EnqueueExtensions, EventRegistration, EventResource,
    ExtensionPoints, FilterPlugin, GroupVerdict, QueueingHint, SchedulerPlugin, Status,
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
        let node = EventRegistration::new(EventResource::Node, actions).hint(|pod, happening| {
            let node = happening.new.as_ref().and_then(|object| object.node());
            let cordoned = node.and_then(|node| node.spec.as_ref()?.unschedulable);
            match cordoned {
                Some(true) if !tolerates_taint(pod, TAINT, "", "NoSchedule") => QueueingHint::Skip,
                _ => QueueingHint::Queue,
            }
        });
        let own = Action::UPDATE_POD_TOLERATIONS;
        vec![node, EventRegistration::new(EventResource::UnscheduledPod, own)]
    }
}
