//! NodeResourcesBalancedAllocation: resources are used up evenly.

use std::sync::Arc;

use serde::Deserialize;

use crate::framework::{
    Args, CycleState, ExtensionPoints, Feasible, MAX_NODE_SCORE, MIN_NODE_SCORE, Normalization,
    PreScorePlugin, SchedulerPlugin, ScorePlugin, Status,
};
use crate::snapshot::{NodeGroup, NodeInfo, PodInfo, Snapshot};

/// Prefers nodes on which the pod leaves the resources in balance, rather than one of them used up
/// while another lies idle.
/// <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>
#[derive(Debug, Clone)]
pub struct NodeResourcesBalancedAllocation {
    resources: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    resources: Vec<Resource>,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Resource {
    name: String,
    weight: Option<i64>,
}

impl NodeResourcesBalancedAllocation {
    /// The plugin with `NodeResourcesBalancedAllocationArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or a weight is other than one.
    pub fn new(args: &Args) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let mut resources = Vec::new();
        for (at, resource) in args.resources.into_iter().enumerate() {
            let weight = resource.weight.unwrap_or(1);
            if weight != 1 {
                return Err(format!(
                    "resources[{at}].weight: Invalid value: {weight}: resource weight not in \
                     valid range, must be 1"
                ));
            }
            if resources.contains(&resource.name) {
                return Err(format!("resources[{at}].name: Duplicate value: {:?}", resource.name));
            }
            resources.push(resource.name);
        }
        if resources.is_empty() {
            resources = vec!["cpu".to_owned(), "memory".to_owned()];
        }
        Ok(Self { resources })
    }

    /// Between which bounds the scores are where CPU and memory are used within those of a group:
    /// by how far apart the two parts may be, with the pod and without. A pod moves them apart, or
    /// together, by no more than what it asks for of one of them.
    fn bounds(pod: &PodInfo, group: &NodeGroup<'_>) -> (i64, i64) {
        let (has, asked) = (group.shape().allocatable(), pod.requests());
        if has.milli_cpu == 0 || has.memory == 0 {
            return (MIN_NODE_SCORE, MAX_NODE_SCORE);
        }
        let (least, most) = (group.least(), group.most());
        let balances = |cpu: i64, memory: i64| {
            let part = |used: i64, more: i64, of: i64| fraction(used.saturating_add(more), of);
            apart(
                [least.milli_cpu, most.milli_cpu].map(|used| part(used, cpu, has.milli_cpu)),
                [least.memory, most.memory].map(|used| part(used, memory, has.memory)),
            )
        };
        let (with, without) = (balances(asked.milli_cpu, asked.memory), balances(0, 0));
        let full = most.milli_cpu.saturating_add(asked.milli_cpu) > has.milli_cpu
            || most.memory.saturating_add(asked.memory) > has.memory;
        let cpu = fraction(asked.milli_cpu, has.milli_cpu);
        let memory = fraction(asked.memory, has.memory);
        // Where a fraction cannot grow any more the other still may.
        let moves = if full { cpu.max(memory) } else { (cpu - memory).abs() };
        #[allow(clippy::cast_possible_truncation, reason = "at most 100")]
        let moved = (moves * HALF) as i64 + ROUNDING;
        let rated = |moved: i64| MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + moved) / 2;
        (rated((with.0 - without.1).max(-moved)), rated((with.1 - without.0).min(moved)))
    }

    fn rate(&self, pod: &PodInfo, amounts: impl Fn(&str) -> (i64, i64)) -> i64 {
        // This is asked of every node, so the few resources that are usual cost no allocation.
        if self.resources.len() <= FEW {
            return self.compare(pod, amounts, &mut [0.0; FEW], &mut [0.0; FEW]);
        }
        let (mut with, mut without) =
            (vec![0.0; self.resources.len()], vec![0.0; self.resources.len()]);
        self.compare(pod, amounts, &mut with, &mut without)
    }

    /// The score, by the fractions that are used with the pod and without it.
    fn compare(
        &self,
        pod: &PodInfo,
        amounts: impl Fn(&str) -> (i64, i64),
        with: &mut [f64],
        without: &mut [f64],
    ) -> i64 {
        let mut count = 0;
        for name in &self.resources {
            let (capacity, requested) = amounts(name);
            let asked = pod.requests().get(name);
            // An extended resource the pod does not ask for is no matter of balance.
            let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
            if capacity == 0 || (asked == 0 && !plain) {
                continue;
            }
            with[count] = fraction(requested.saturating_add(asked), capacity);
            without[count] = fraction(requested, capacity);
            count += 1;
        }
        let (with, without) = (balance(&with[..count]), balance(&without[..count]));
        MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + with - without) / 2
    }
}

/// Resources that are compared without an allocation.
const FEW: usize = 8;
/// The deviation of two fractions in percent of a score.
const HALF: f64 = 50.0;
/// More than what rounding may make of a deviation.
const ROUNDING: i64 = 2;

#[allow(clippy::cast_precision_loss, reason = "as upstream does it")]
fn fraction(used: i64, capacity: i64) -> f64 {
    (used as f64 / capacity as f64).min(1.0)
}

/// The lowest and the highest balance of two fractions, each of which is between two.
fn apart([a0, a1]: [f64; 2], [b0, b1]: [f64; 2]) -> (i64, i64) {
    let least = (a0 - b1).max(b0 - a1).max(0.0);
    let most = (a1 - b0).max(b1 - a0);
    (balance(&[most, 0.0]), balance(&[least, 0.0]))
}

/// A score of how little the fractions differ.
fn balance(fractions: &[f64]) -> i64 {
    #[allow(clippy::cast_precision_loss, reason = "a handful of resources")]
    let count = fractions.len() as f64;
    let deviation = match fractions {
        [a, b] => ((a - b) / 2.0).abs(),
        [_, _, ..] => {
            let mean = fractions.iter().sum::<f64>() / count;
            let squares = fractions.iter().map(|each| (each - mean) * (each - mean));
            (squares.sum::<f64>() / count).sqrt()
        }
        _ => 0.0,
    };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 100")]
    let score = ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64;
    score
}

impl SchedulerPlugin for NodeResourcesBalancedAllocation {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_score(self.clone());
        points.score(self);
    }
}

impl PreScorePlugin for NodeResourcesBalancedAllocation {
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        // A pod that asks for nothing changes no balance.
        let asks = self.resources.iter().any(|name| pod.requests().get(name) != 0);
        if asks { Status::success() } else { Status::skip() }
    }
}

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(self.rate(pod, |name| (node.allocatable().get(name), node.requested().get(name))))
    }

    fn score_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        if self.resources != ["cpu", "memory"] {
            return feasible.iter().map(|at| self.score(state, pod, nodes.node(*at))).collect();
        }
        let columns = nodes.columns();
        let scores = feasible.iter().map(|at| {
            let at = *at as usize;
            self.rate(pod, |name| match name {
                "cpu" => (columns.allocatable_milli_cpu[at], columns.requested_milli_cpu[at]),
                _ => (columns.allocatable_memory[at], columns.requested_memory[at]),
            })
        });
        Ok(scores.collect())
    }

    fn keeps(&self) -> Option<Normalization> {
        Some(Normalization::None)
    }

    fn score_group(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<(i64, i64)> {
        if self.resources != ["cpu", "memory"] {
            return None;
        }
        if group.is_one_state() {
            let (has, used) = (group.shape().allocatable(), group.least());
            let score = self.rate(pod, |name| match name {
                "cpu" => (has.milli_cpu, used.milli_cpu),
                _ => (has.memory, used.memory),
            });
            return Some((score, score));
        }
        Some(Self::bounds(pod, group))
    }
}
