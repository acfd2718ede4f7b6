//! Soft constraints rank nodes.

use std::sync::Arc;

use super::PodTopologySpread;
use super::constraint::{Constraints, HOSTNAME, has_all};
use crate::framework::{CycleState, Feasible, MAX_NODE_SCORE, PreScorePlugin, ScorePlugin, Status};
use crate::snapshot::{NO_VALUE, NodeInfo, PodInfo, Snapshot, Tally};

/// The score of a node that lacks a label; it becomes zero.
const LEFT_OUT: i64 = -1;

#[derive(Debug, Clone)]
struct State {
    constraints: Arc<Constraints>,
    tallies: Vec<Arc<Tally>>,
    /// What a pod in a place counts: places that there are few of count less.
    weights: Vec<f64>,
}

impl State {
    /// What the pods of one constraint count at a node.
    #[allow(clippy::cast_precision_loss, reason = "pods are far fewer")]
    fn rate(&self, at: usize, pods: i64) -> f64 {
        pods as f64 * self.weights[at] + (self.constraints.soft[at].max_skew - 1) as f64
    }
}

#[allow(clippy::cast_possible_truncation, reason = "rounded, and far within range")]
fn rounded(score: f64) -> i64 {
    score.round() as i64
}

impl PreScorePlugin for PodTopologySpread {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &Feasible<'_>,
    ) -> Status {
        let mut counts = self.counts.lock();
        let (mut known, lasts) = self.known(&mut counts, pod);
        let constraints = Arc::clone(&known.constraints);
        let tallies = if constraints.soft.is_empty() { Vec::new() } else { known.soft(pod, nodes) };
        if lasts {
            counts.put(pod.template().signature(), known);
        }
        drop(counts);
        if constraints.soft.is_empty() {
            return Status::skip();
        }
        let positions = feasible.positions();
        let left_out = if constraints.require_all {
            let lacks = |at: &&u32| !has_all(&constraints.soft, nodes.node(**at));
            positions.iter().filter(lacks).count()
        } else {
            0
        };
        let weights = constraints.soft.iter().zip(&tallies).map(|(constraint, tally)| {
            let places = if &*constraint.key == HOSTNAME {
                positions.len() - left_out
            } else {
                distinct(tally, positions)
            };
            #[allow(clippy::cast_precision_loss, reason = "places are far fewer")]
            let places = places as f64;
            (places + 2.0).ln()
        });
        let weights = weights.collect();
        state.write_for_choice(State { constraints, tallies, weights });
        Status::success()
    }
}

/// How many places the nodes are in.
fn distinct(tally: &Tally, positions: &[u32]) -> usize {
    let topology = tally.topology();
    let mut seen = vec![false; topology.len()];
    let mut count = 0;
    for at in positions {
        let value = topology.at(*at);
        if value != NO_VALUE && !std::mem::replace(&mut seen[value as usize], true) {
            count += 1;
            if count == seen.len() {
                break;
            }
        }
    }
    count
}

fn score_of(state: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
    let constraints = &state.constraints;
    if constraints.require_all && !has_all(&constraints.soft, node) {
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

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) -> Status {
        let counted = scores.iter().copied().filter(|score| *score != LEFT_OUT);
        let lowest = counted.clone().min().unwrap_or_default();
        let highest = counted.max().unwrap_or_default();
        for score in scores {
            *score = match *score {
                LEFT_OUT => 0,
                _ if highest == 0 => MAX_NODE_SCORE,
                score => MAX_NODE_SCORE * (highest + lowest - score) / highest,
            };
        }
        Status::success()
    }
}
