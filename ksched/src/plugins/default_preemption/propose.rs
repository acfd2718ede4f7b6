//! Leaves the choice among the nodes on which room can be made to extenders, and goes on with what
//! they leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evict;
use super::victims::Victims;
use crate::framework::{Filters, Handle, NodeVictims, PostFilterResult, Proposal, Status};
use crate::snapshot::{PodInfo, Snapshot};
use crate::telling::Telling;

/// Proposes these nodes.
pub(super) fn propose<'a>(
    (handle, telling): (&Handle, &Arc<Telling>),
    pod: &PodInfo,
    nodes: &Snapshot,
    candidates: impl Iterator<Item = (u32, &'a Victims)>,
    filters: &Filters<'_>,
) -> PostFilterResult {
    let mut victims = BTreeMap::new();
    // Pods of less importance that the nodes are kept for.
    let mut lesser: BTreeMap<String, Vec<Arc<PodInfo>>> = BTreeMap::new();
    for (at, found) in candidates {
        let node = nodes.node(at).name().to_owned();
        let kept = filters.all_kept_at(at).iter();
        let kept = kept.filter(|other| other.priority() < pod.priority());
        lesser.insert(node.clone(), kept.cloned().collect());
        victims.insert(node, found.of_node());
    }
    let (handle, telling, pod) = (handle.clone(), Arc::clone(telling), pod.clone());
    PostFilterResult::propose(Proposal::new(victims, move |left| {
        let mut best: Option<(String, Victims)> = None;
        for (node, NodeVictims { pods, violations }) in left {
            let victims = Victims::new(pods, violations);
            if best.as_ref().is_none_or(|(_, best)| victims.cost() < best.cost()) {
                best = Some((node, victims));
            }
        }
        let Some((node, victims)) = best else {
            let why = "preemption: no candidate node for preemption";
            return Status::unschedulable(why).into();
        };
        let lesser = lesser.get(&node).into_iter().flatten();
        let effect = evict::effect((&handle, &telling), &pod, &node, victims.pods(), lesser);
        let victims = victims.pods().to_vec();
        PostFilterResult { victims, ..PostFilterResult::nominate(node, Some(effect)) }
    }))
}
