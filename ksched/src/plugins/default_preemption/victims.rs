//! Who would have to leave a node, and how much that would hurt.

use std::cmp::Ordering;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::NO_VICTIMS;
use super::budget::Budgets;
use crate::framework::{CycleState, Filters, NodeVictims, Status};
use crate::snapshot::{NodeInfo, PodInfo};

/// The pods that would have to leave a node, the most important first.
#[derive(Debug)]
pub(super) struct Victims {
    pods: Vec<Arc<PodInfo>>,
    violations: usize,
    highest: i32,
    sum: i64,
    /// When the first of the most important ones started.
    earliest: Option<Time>,
}

/// What preemption could do on a node.
#[derive(Debug)]
pub(super) enum Outcome {
    Victims(Victims),
    Status(Status),
}

fn started(pod: &PodInfo) -> Option<Time> {
    pod.pod().status.as_ref().and_then(|status| status.start_time.clone())
}

/// Whether a pod started before another. One that has not started starts last.
fn earlier(a: &Option<Time>, b: &Option<Time>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.0.cmp(&b.0),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// The more important pod first: by priority, then by who has run longer.
fn by_importance(a: &Arc<PodInfo>, b: &Arc<PodInfo>) -> Ordering {
    let by_priority = b.priority().cmp(&a.priority());
    by_priority.then_with(|| earlier(&started(a), &started(b)))
}

impl Victims {
    pub(super) fn new(pods: Vec<Arc<PodInfo>>, violations: usize) -> Self {
        let highest = pods.iter().map(|pod| pod.priority()).max().unwrap_or(i32::MIN);
        // Shifted, so that more victims always weigh more than fewer.
        let shifted = |pod: &Arc<PodInfo>| i64::from(pod.priority()) + i64::from(i32::MAX) + 1;
        let sum = pods.iter().map(shifted).sum();
        let most = pods.iter().filter(|pod| pod.priority() == highest).map(|pod| started(pod));
        let earliest = most.min_by(earlier).flatten();
        Self { pods, violations, highest, sum, earliest }
    }

    /// The same as extenders are told.
    pub(super) fn of_node(&self) -> NodeVictims {
        NodeVictims { pods: self.pods.clone(), violations: self.violations }
    }

    pub(super) fn pods(&self) -> &[Arc<PodInfo>] {
        &self.pods
    }

    /// Whether these are to be preferred: fewest broken budgets; then the least important most
    /// important victim; then the smallest sum of priorities; then the fewest victims; then those
    /// that have run for the shortest time.
    pub(super) fn hurts_less(&self, other: &Self) -> bool {
        let order = self
            .violations
            .cmp(&other.violations)
            .then_with(|| self.highest.cmp(&other.highest))
            .then_with(|| self.sum.cmp(&other.sum))
            .then_with(|| self.pods.len().cmp(&other.pods.len()))
            .then_with(|| earlier(&other.earliest, &self.earliest));
        order == Ordering::Less
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
