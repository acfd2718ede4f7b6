//! NodeDeclaredFeatures: what is new in a pod's spec runs where the node knows of it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::volumes::hints::queue_if;
use crate::framework::{
    Action, CycleState, EnqueueExtensions, EventObject, EventRegistration, EventResource,
    ExtensionPoints, FilterPlugin, Happening, PreFilterPlugin, PreFilterResult, QueueingHint,
    SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot, declared_features};

/// Turns away nodes that do not declare every feature that the pod's spec
/// [requires](crate::snapshot::RequiredFeatures), as nodes of another version may not.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features/>
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeDeclaredFeatures;

impl SchedulerPlugin for NodeDeclaredFeatures {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for NodeDeclaredFeatures {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let asks = !pod.required_features().is_empty();
        if asks { Status::success().into() } else { Status::skip().into() }
    }
}

impl FilterPlugin for NodeDeclaredFeatures {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        if pod.required_features().are_among(node.declared_features()) {
            return Status::success();
        }
        Status::unresolvable("node(s) didn't match Pod's required features")
    }

    fn keeps(&self) -> bool {
        true
    }
}

impl EnqueueExtensions for NodeDeclaredFeatures {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let actions = Action::ADD | Action::UPDATE_NODE_DECLARED_FEATURE;
        vec![
            EventRegistration::new(EventResource::Node, actions).hint(hint_of_node),
            EventRegistration::new(EventResource::UnscheduledPod, Action::UPDATE)
                .hint(hint_of_itself),
        ]
    }
}

/// A node helps that lacked a feature, or was not there, and declares them all now.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let required = pod.required_features();
    let has = |node: &Arc<Node>| required.are_among(declared_features(node));
    let [old, new] = [&what.old, &what.new].map(|object| {
        let node = object.as_ref().and_then(EventObject::node);
        node.is_some_and(has)
    });
    queue_if(!old && new)
}

/// The pod itself helps if other features follow from it than before.
fn hint_of_itself(_: &PodInfo, what: &Happening) -> QueueingHint {
    let (old, new) = what.pods();
    let required = |pod: Option<&Arc<PodInfo>>| pod.map(|pod| pod.required_features());
    queue_if(required(old) != required(new))
}
