//! What may help pods that spread constraints turned away.

use std::sync::Arc;

use super::PodTopologySpread;
use super::constraint::Constraint;
use crate::framework::{
    Action, EnqueueExtensions, EventObject, EventRegistration, EventResource, Happening,
    QueueingHint,
};
use crate::plugins::volumes::hints::queue_if;
use crate::snapshot::{NodeInfo, PodInfo};

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

/// The pod's own constraints that turn nodes away; without any, those are default ones, which
/// depend on too much to tell.
fn own(pod: &PodInfo) -> Vec<Constraint> {
    let all = pod.spec().topology_spread_constraints.iter().flatten();
    let all = all.map(|constraint| Constraint::new(constraint, pod.labels()));
    all.filter(|constraint| constraint.hard).collect()
}

/// Pods that are counted as before change nothing.
fn hint_of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let here = |other: &&Arc<PodInfo>| other.namespace() == pod.namespace();
    let (old, new) = what.pods();
    let (old, new) = (old.filter(here), new.filter(here));
    let constraints = own(pod);
    if constraints.is_empty() {
        return queue_if(old.is_some() || new.is_some());
    }
    let selects = |own: &Constraint, other: Option<&Arc<PodInfo>>| {
        other.is_some_and(|other| own.selector.matches(other.labels()))
    };
    queue_if(constraints.iter().any(|own| selects(own, old) != selects(own, new)))
}

/// A node that is in the same places as before, and counts there as before, changes nothing.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let constraints = own(pod);
    // Nowhere if it lacks one of the labels.
    let places = |object: &Option<EventObject>| {
        let node = NodeInfo::new(Arc::clone(object.as_ref()?.node()?));
        let place =
            |own: &Constraint| Some((node.label(&own.key)?.to_owned(), own.includes(pod, &node)));
        constraints.iter().map(place).collect::<Option<Vec<_>>>()
    };
    queue_if(constraints.is_empty() || places(&what.old) != places(&what.new))
}
