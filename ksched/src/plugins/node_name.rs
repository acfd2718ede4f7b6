//! NodeName: a pod that names its node runs there.

use std::sync::Arc;

use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// A pod whose `spec.nodeName` is set runs on that node alone.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename>
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeName;

impl SchedulerPlugin for NodeName {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for NodeName {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        if pod.node_name().is_empty() { Status::skip().into() } else { Status::success().into() }
    }
}

impl FilterPlugin for NodeName {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        if pod.node_name().is_empty() || pod.node_name() == node.name() {
            return Status::success();
        }
        Status::unresolvable("node(s) didn't match the requested node name")
    }

    fn keeps(&self) -> bool {
        true
    }
}

impl EnqueueExtensions for NodeName {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![EventRegistration::new(EventResource::Node, Action::ADD)]
    }
}
