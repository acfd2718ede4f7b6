//! What may help pods that affinity turned away.

use std::sync::Arc;

use super::InterPodAffinity;
use crate::framework::{
    Action, EnqueueExtensions, EventRegistration, EventResource, Happening, QueueingHint,
};
use crate::snapshot::{AffinityTerm, PodInfo};

impl EnqueueExtensions for InterPodAffinity {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let pods = Action::ADD | Action::DELETE | Action::UPDATE_POD_LABEL;
        let nodes = Action::ADD | Action::DELETE | Action::UPDATE_NODE_LABEL;
        let namespaces = Action::ADD | Action::UPDATE;
        let own = Action::UPDATE_POD_LABEL;
        vec![
            EventRegistration::new(EventResource::AssignedPod, pods).hint(hint_of_pod),
            EventRegistration::new(EventResource::Node, nodes).hint(hint_of_node),
            EventRegistration::new(EventResource::Namespace, namespaces),
            EventRegistration::new(EventResource::UnscheduledPod, own),
        ]
    }
}

/// A pod that came, went or is labeled otherwise.
fn hint_of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let (old, new) = what.pods();
    let wants = pod.affinities();
    let means = |term: &AffinityTerm, other: &PodInfo| may_mean(term, other);
    let meets = |terms: &[AffinityTerm], other: Option<&Arc<PodInfo>>| {
        other.is_some_and(|other| terms.iter().any(|term| means(term, other)))
    };
    // A pod it wants to be near has come; or the last of them has gone, and it is the first.
    let near = meets(&wants.required, new) || meets(&wants.required, old);
    let far = meets(&wants.required_anti, old);
    let freed =
        old.is_some_and(|old| old.affinities().required_anti.iter().any(|term| means(term, pod)));
    if near || far || freed { QueueingHint::Queue } else { QueueingHint::Skip }
}

/// Whether a term may mean a pod, whatever the labels of its namespace are.
fn may_mean(term: &AffinityTerm, pod: &PodInfo) -> bool {
    term.selects_namespaces() || term.matches(pod.namespace(), pod.labels(), &|_, _| false)
}

/// A node that comes helps whoever finds its places there.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let labels = what.new.as_ref().and_then(|object| object.node()).map(|node| {
        let labels = node.metadata.labels.as_ref();
        let has = |term: &AffinityTerm| {
            labels.is_some_and(|labels| labels.contains_key(&**term.topology_key()))
        };
        pod.affinities().required.iter().all(has)
    });
    // Other nodes may be freed by one that leaves a place.
    let left = what.old.is_some();
    if left || labels.unwrap_or(true) { QueueingHint::Queue } else { QueueingHint::Skip }
}
