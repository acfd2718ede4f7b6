//! NodePorts: a host port is taken once.

use std::sync::Arc;

use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Turns away nodes on which a host port of the pod is taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodePorts;

impl SchedulerPlugin for NodePorts {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for NodePorts {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        if pod.host_ports().is_empty() { Status::skip().into() } else { Status::success().into() }
    }
}

impl FilterPlugin for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let taken = pod
            .host_ports()
            .iter()
            .any(|port| node.used_ports().iter().any(|used| used.conflicts(port)));
        if taken {
            return Status::unschedulable(
                "node(s) didn't have free ports for the requested pod ports",
            );
        }
        Status::success()
    }

    fn keeps(&self) -> bool {
        true
    }
}

impl EnqueueExtensions for NodePorts {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE),
            EventRegistration::new(EventResource::Node, Action::ADD),
        ]
    }
}
