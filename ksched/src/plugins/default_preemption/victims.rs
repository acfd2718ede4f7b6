//! Who would have to leave a node, and how much that would hurt.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::NO_VICTIMS;
use super::budget::Budgets;
use crate::framework::{CycleState, Filters, NodeVictims, Status};
use crate::snapshot::{NodeInfo, PodInfo};

/// How much it hurts that pods leave, the least first: by the budgets that are broken; then by the
/// most important of them; then by the sum of their priorities; then by their number; then by
/// how long the most important ones have run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    violations: usize,
    highest: i32,
    sum: i64,
    count: usize,
    earliest: Reverse<Started>,
}

/// When a pod started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Started {
    At(Time),
    NotYet,
}

impl Started {
    fn of(pod: &PodInfo) -> Self {
        pod.started().cloned().map_or(Self::NotYet, Self::At)
    }
}

/// The pods that would have to leave a node, the most important first.
#[derive(Debug)]
pub(super) struct Victims {
    pods: Vec<Arc<PodInfo>>,
    cost: Cost,
}

/// What preemption could do on a node.
#[derive(Debug)]
pub(super) enum Outcome {
    Victims(Victims),
    Status(Status),
}

/// The more important pod first: by priority, then by who has run longer, then by the smaller uid.
fn by_importance(a: &Arc<PodInfo>, b: &Arc<PodInfo>) -> Ordering {
    let by_priority = b.priority().cmp(&a.priority());
    let by_start = by_priority.then_with(|| Started::of(a).cmp(&Started::of(b)));
    by_start.then_with(|| a.uid().cmp(b.uid()))
}

impl Victims {
    pub(super) fn new(pods: Vec<Arc<PodInfo>>, violations: usize) -> Self {
        let highest = pods.iter().map(|pod| pod.priority()).max().unwrap_or(i32::MIN);
        // Shifted, so that more victims always weigh more than fewer.
        let shifted = |pod: &Arc<PodInfo>| i64::from(pod.priority()) + i64::from(i32::MAX) + 1;
        let sum = pods.iter().map(shifted).sum();
        let most = pods.iter().filter(|pod| pod.priority() == highest);
        let earliest = most.map(|pod| Started::of(pod)).min().unwrap_or(Started::NotYet);
        let (count, earliest) = (pods.len(), Reverse(earliest));
        Self { pods, cost: Cost { violations, highest, sum, count, earliest } }
    }

    /// The same as extenders are told.
    pub(super) fn of_node(&self) -> NodeVictims {
        NodeVictims { pods: self.pods.clone(), violations: self.cost.violations }
    }

    pub(super) fn pods(&self) -> &[Arc<PodInfo>] {
        &self.pods
    }

    pub(super) fn cost(&self) -> &Cost {
        &self.cost
    }
}

/// Finds the pods that would have to leave a node for the pod to fit, as few and as unimportant as
/// can be, or why that does not help.
pub(super) fn select(
    state: &CycleState,
    pod: &PodInfo,
    node: &NodeInfo,
    kept: &[Arc<PodInfo>],
    budgets: &Budgets,
    filters: &Filters<'_>,
) -> Outcome {
    let lesser = node.pods().iter().filter(|other| other.priority() < pod.priority());
    let mut lesser: Vec<Arc<PodInfo>> = lesser.cloned().collect();
    if lesser.is_empty() {
        return Outcome::Status(Status::unresolvable(NO_VICTIMS));
    }
    let (mut state, mut node) = (state.clone(), node.clone());
    for other in &lesser {
        node.remove_pod(other.uid());
        let status = filters.pod_removed(&mut state, other, &node);
        if !status.is_success() {
            return Outcome::Status(status);
        }
    }
    let status = filters.fits(&state, &node, kept);
    if !status.is_success() {
        return Outcome::Status(status);
    }
    lesser.sort_by(by_importance);
    let (breaking, others) = budgets.split(lesser);
    let mut spare = |pods: Vec<Arc<PodInfo>>, victims: &mut Vec<Arc<PodInfo>>| {
        for other in pods {
            node.add_pod(Arc::clone(&other));
            let followed = filters.pod_added(&mut state, &other, &node);
            if followed.is_success() && filters.fits(&state, &node, kept).is_success() {
                continue;
            }
            node.remove_pod(other.uid());
            let status = filters.pod_removed(&mut state, &other, &node);
            victims.push(other);
            if !status.is_success() {
                return status;
            }
        }
        Status::success()
    };
    let mut victims = Vec::new();
    let status = spare(breaking, &mut victims);
    let violations = victims.len();
    let status = if status.is_success() { spare(others, &mut victims) } else { status };
    if !status.is_success() {
        return Outcome::Status(status);
    }
    victims.sort_by(by_importance);
    Outcome::Victims(Victims::new(victims, violations))
}
