//! Soft constraints rank nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::PodTopologySpread;
use super::constraint::{Constraints, HOSTNAME, Unlabeled};
use crate::framework::{
    CycleState, Feasible, MAX_NODE_SCORE, PreScorePlugin, ScoreClasses, ScorePlugin, Status,
};
use crate::snapshot::{NO_VALUE, NodeInfo, PodInfo, Snapshot, Tally};

/// The score of a node that lacks a label; it becomes zero.
pub(super) const LEFT_OUT: i64 = -1;

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) constraints: Arc<Constraints>,
    pub(super) tallies: Vec<Arc<Tally>>,
    /// What a pod in a place counts: places that there are few of count less.
    pub(super) weights: Vec<f64>,
}

/// What a pod counts in one of so many places.
pub(super) fn weight(places: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "places are far fewer")]
    let places = places as f64;
    (places + 2.0).ln()
}

impl State {
    /// What the pods of one constraint count at a node.
    #[allow(clippy::cast_precision_loss, reason = "pods are far fewer")]
    pub(super) fn rate(&self, at: usize, pods: i64) -> f64 {
        pods as f64 * self.weights[at] + (self.constraints.soft[at].max_skew - 1) as f64
    }
}

/// The nearest integer of a score, which is never negative. In place of a call into the math
/// library for every node.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "far in range")]
pub(super) fn rounded(score: f64) -> i64 {
    let whole = score as i64;
    whole + i64::from(score - whole as f64 >= 0.5)
}

/// Scores up to which their normalization is looked up rather than divided out for every node.
const LOOKED_UP: i64 = 2_048;

impl PreScorePlugin for PodTopologySpread {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &Feasible<'_>,
    ) -> Status {
        let mut counts = self.counts.lock();
        let (mut known, lasts) = self.known(&mut counts, state, pod);
        let constraints = Arc::clone(&known.constraints);
        let tallies = if constraints.soft.is_empty() { Vec::new() } else { known.soft(pod, nodes) };
        if lasts {
            counts.put(pod.template().signature(), known);
        }
        drop(counts);
        if constraints.soft.is_empty() {
            return Status::skip();
        }
        if feasible.is_in_classes() {
            state.write_for_choice(State { constraints, tallies, weights: Vec::new() });
            return Status::success();
        }
        let positions = feasible.positions();
        let all = &constraints.soft;
        // Whoever is counted has all labels, so few nodes have to be looked at.
        let counted = |at: u32| tallies.iter().any(|tally| tally.topology().at(at) != NO_VALUE);
        let left_out = |at: u32| !counted(at) && !constraints.unlabeled.admits(all, nodes.node(at));
        let ranked = if constraints.unlabeled == Unlabeled::LeftOut {
            positions.iter().filter(|at| !left_out(**at)).count()
        } else {
            positions.len()
        };
        let weights = all.iter().zip(&tallies).map(|(constraint, tally)| {
            let places = if &*constraint.key == HOSTNAME {
                ranked
            } else {
                let odd = |at: u32| {
                    let node = nodes.node(at);
                    (!left_out(at)).then(|| node.label(&constraint.key)).flatten()
                };
                distinct(tally, positions, odd)
            };
            weight(places)
        });
        let weights = weights.collect();
        state.write_for_choice(State { constraints, tallies, weights });
        Status::success()
    }
}

/// How many places the nodes are in; `odd` is the place of one that is not counted itself.
fn distinct<'n>(tally: &Tally, positions: &[u32], odd: impl Fn(u32) -> Option<&'n str>) -> usize {
    let topology = tally.topology();
    let mut seen = vec![false; topology.len()];
    let mut others: BTreeSet<&str> = BTreeSet::new();
    for at in positions {
        let value = topology.at(*at);
        if value != NO_VALUE {
            seen[value as usize] = true;
        } else if let Some(value) = odd(*at) {
            match topology.value(value) {
                Some(value) => seen[value as usize] = true,
                None => drop(others.insert(value)),
            }
        }
    }
    seen.into_iter().filter(|seen| *seen).count() + others.len()
}

fn score_of(state: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
    let constraints = &state.constraints;
    if !constraints.unlabeled.admits(&constraints.soft, node) {
        return LEFT_OUT;
    }
    let mut score = 0.0;
    for (at, (constraint, tally)) in constraints.soft.iter().zip(&state.tallies).enumerate() {
        let Some(value) = node.label(&constraint.key) else { continue };
        let pods = if &*constraint.key == HOSTNAME {
            constraint.count(pod.namespace(), node)
        } else {
            tally.topology().value(value).map_or(0, |value| tally.sum(value))
        };
        score += state.rate(at, pods);
    }
    rounded(score)
}

impl ScorePlugin for PodTopologySpread {
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let Some(state) = state.read::<State>() else { return Ok(0) };
        Ok(score_of(state, pod, node))
    }

    fn score_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        let Some(state) = state.read::<State>() else { return Ok(vec![0; feasible.len()]) };
        let constraints = &state.constraints;
        let mut scores = vec![0.0; feasible.len()];
        let mut odd: Vec<usize> = Vec::new();
        for (at, (constraint, tally)) in constraints.soft.iter().zip(&state.tallies).enumerate() {
            let numbers = tally.topology().numbers();
            let by_node = &*constraint.key == HOSTNAME;
            let rated: Vec<f64> = match by_node {
                true => Vec::new(),
                false => tally.sums().iter().map(|sum| state.rate(at, *sum)).collect(),
            };
            for (index, (score, position)) in scores.iter_mut().zip(feasible).enumerate() {
                let value = numbers[*position as usize];
                if value == NO_VALUE {
                    odd.push(index);
                } else if by_node {
                    *score += state.rate(at, tally.added_at(*position));
                } else {
                    *score += rated[value as usize];
                }
            }
        }
        let mut scores: Vec<i64> = scores.into_iter().map(rounded).collect();
        // Nodes that are not counted everywhere are looked at one by one.
        for index in odd {
            scores[index] = score_of(state, pod, nodes.node(feasible[index]));
        }
        Ok(scores)
    }

    fn classes(&self) -> Option<&dyn ScoreClasses> {
        Some(self)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) -> Status {
        let counted = scores.iter().copied().filter(|score| *score != LEFT_OUT);
        let lowest = counted.clone().min().unwrap_or_default();
        let highest = counted.max().unwrap_or_default();
        let scale = |score: i64| match highest {
            0 => MAX_NODE_SCORE,
            _ => MAX_NODE_SCORE * (highest + lowest - score) / highest,
        };
        let few = highest - lowest < LOOKED_UP;
        let known: Vec<i64> =
            if few { (lowest..=highest).map(scale).collect() } else { Vec::new() };
        for score in scores {
            *score = match *score {
                LEFT_OUT => 0,
                score => {
                    let found = usize::try_from(score - lowest).ok().and_then(|at| known.get(at));
                    found.copied().unwrap_or_else(|| scale(score))
                }
            };
        }
        Status::success()
    }
}
