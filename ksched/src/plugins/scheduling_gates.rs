//! SchedulingGates: pods with gates are not tried.

use std::sync::Arc;

use crate::framework::{
    Action, EnqueueExtensions, EventRegistration, EventResource, ExtensionPoints, PreEnqueuePlugin,
    SchedulerPlugin, Status,
};
use crate::snapshot::PodInfo;

/// Keeps pods out of the queue while they have scheduling gates.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedulingGates;

impl SchedulerPlugin for SchedulingGates {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_enqueue(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreEnqueuePlugin for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodInfo) -> Status {
        let gates = pod.spec().scheduling_gates.iter().flatten();
        let gates: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
        if gates.is_empty() {
            return Status::success();
        }
        let list = gates.join(" ");
        Status::unresolvable(format!("waiting for scheduling gates: [{list}]"))
    }
}

impl EnqueueExtensions for SchedulingGates {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let gates = Action::UPDATE_POD_GATES_ELIMINATED;
        vec![EventRegistration::new(EventResource::UnscheduledPod, gates)]
    }
}
