//! NodePorts: a host port is taken once.

use std::sync::Arc;

use super::volumes::hints::{other, queue_if};
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints,
    FilterPlugin, Happening, PreFilterPlugin, PreFilterResult, QueueingHint, SchedulerPlugin,
    Status,
};
use crate::snapshot::{HostPort, NodeInfo, PodInfo, Snapshot};

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

/// Whether one of a pod's host ports is among those that are used.
fn conflict(pod: &PodInfo, used: &[HostPort]) -> bool {
    pod.host_ports().iter().any(|port| used.iter().any(|used| used.conflicts(port)))
}

/// A pod that leaves helps if it gives back a port.
fn hint_of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(other(what).is_none_or(|other| conflict(pod, other.host_ports())))
}

impl FilterPlugin for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        if conflict(pod, node.used_ports()) {
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
            EventRegistration::new(EventResource::AssignedPod, Action::DELETE).hint(hint_of_pod),
            EventRegistration::new(EventResource::Node, Action::ADD),
        ]
    }
}
