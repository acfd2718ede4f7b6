//! What may help pods that affinity turned away.

use std::sync::Arc;

use super::InterPodAffinity;
use crate::framework::{
    Action, EnqueueExtensions, EventObject, EventRegistration, EventResource, Happening,
    QueueingHint,
};
use crate::plugins::volumes::hints::queue_if;
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
    let (near, far) = (&wants.required, &wants.required_anti);
    // One pod has to be meant by all terms.
    let may =
        |other: &Arc<PodInfo>| !near.is_empty() && near.iter().all(|term| may_mean(term, other));
    let does = |other: Option<&Arc<PodInfo>>| {
        other.is_some_and(|other| near.iter().all(|term| means(term, other)))
    };
    // It has come; or the last of them has gone, and this one is the first of its kind.
    let came = new.is_some_and(may) && !does(old);
    let own = || near.iter().all(|term| may_mean(term, pod));
    let first = old.is_some_and(may) && !does(new) && own();
    let left = |term: &AffinityTerm| {
        let was = old.is_some_and(|old| may_mean(term, old));
        was && !new.is_some_and(|new| means(term, new))
    };
    // What a pod wants never changes, so only one that is gone lets others in.
    let gone = old.filter(|_| new.is_none());
    let freed =
        gone.is_some_and(|old| old.affinities().required_anti.iter().any(|t| may_mean(t, pod)));
    queue_if(came || first || far.iter().any(left) || freed)
}

/// Whether a term means a pod for certain.
fn means(term: &AffinityTerm, pod: &PodInfo) -> bool {
    term.matches(pod.namespace(), pod.labels(), &|_, _| false)
}

/// Whether a term may mean a pod, whatever the labels of its namespace are.
fn may_mean(term: &AffinityTerm, pod: &PodInfo) -> bool {
    term.matches(pod.namespace(), pod.labels(), &|_, _| true)
}

/// A node that comes helps whoever finds its places there; one that is in another place than
/// before helps whoever was too near, or finds its place there now.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let labels = |object: &Option<EventObject>| {
        let node = object.as_ref().and_then(|object| object.node());
        node.map(|node| node.metadata.labels.clone().unwrap_or_default())
    };
    let mut keys = pod.affinities().required.iter().map(|term| &**term.topology_key());
    queue_if(match (labels(&what.old), labels(&what.new)) {
        (None, Some(new)) => keys.all(|key| new.contains_key(key)),
        (Some(old), Some(new)) => {
            let left = old.iter().any(|(key, value)| new.get(key) != Some(value));
            left || keys.any(|key| new.contains_key(key) && new.get(key) != old.get(key))
        }
        // Whoever was on it does not count any more.
        _ => true,
    })
}
