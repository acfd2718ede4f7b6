//! What may help pods that spread constraints turned away.

use std::sync::Arc;

use super::PodTopologySpread;
use super::constraint::Constraint;
use crate::framework::{
    Action, EnqueueExtensions, EventObject, EventRegistration, EventResource, Happening,
    QueueingHint,
};
use crate::snapshot::PodInfo;

impl EnqueueExtensions for PodTopologySpread {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let pods = Action::ADD | Action::DELETE | Action::UPDATE_POD_LABEL;
        let nodes =
            Action::ADD | Action::DELETE | Action::UPDATE_NODE_LABEL | Action::UPDATE_NODE_TAINT;
        let own = Action::UPDATE_POD_LABEL | Action::UPDATE_POD_TOLERATIONS;
        vec![
            EventRegistration::new(EventResource::AssignedPod, pods).hint(hint_of_pod),
            EventRegistration::new(EventResource::Node, nodes).hint(hint_of_node),
            EventRegistration::new(EventResource::UnscheduledPod, own),
        ]
    }
}

fn own(pod: &PodInfo) -> Vec<Constraint> {
    let all = pod.spec().topology_spread_constraints.iter().flatten();
    all.map(|constraint| Constraint::new(constraint, pod.labels())).collect()
}

/// Pods that are not counted change nothing. Default constraints depend on too much to tell.
fn hint_of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let constraints = own(pod);
    let (old, new) = what.pods();
    let counted = |other: Option<&Arc<PodInfo>>| {
        other.is_some_and(|other| {
            other.namespace() == pod.namespace()
                && constraints.iter().any(|own| own.selector.matches(other.labels()))
        })
    };
    if constraints.is_empty() || counted(old) || counted(new) {
        QueueingHint::Queue
    } else {
        QueueingHint::Skip
    }
}

/// A node that lacks one of the labels, and did before, is in no place.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let constraints = own(pod);
    let in_place = |object: &Option<EventObject>| {
        let node = object.as_ref().and_then(|object| object.node());
        let labels = node.and_then(|node| node.metadata.labels.as_ref());
        labels.is_some_and(|labels| constraints.iter().all(|own| labels.contains_key(&*own.key)))
    };
    if constraints.is_empty() || in_place(&what.old) || in_place(&what.new) {
        QueueingHint::Queue
    } else {
        QueueingHint::Skip
    }
}
