//! NodeResourcesBalancedAllocation: resources are used up evenly.

use std::sync::Arc;

use serde::Deserialize;

use crate::framework::{
    Args, CycleState, ExtensionPoints, Feasible, MAX_NODE_SCORE, Normalization, PreScorePlugin,
    SchedulerPlugin, ScorePlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

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

    fn rate(&self, pod: &PodInfo, amounts: impl Fn(&str) -> (i64, i64)) -> i64 {
        let (mut with, mut without) = ([0.0; 8], [0.0; 8]);
        let mut count = 0;
        for name in &self.resources {
            let (capacity, requested) = amounts(name);
            let asked = pod.requests().get(name);
            // An extended resource the pod does not ask for is no matter of balance.
            let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
            if capacity == 0 || (asked == 0 && !plain) || count == with.len() {
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

#[allow(clippy::cast_precision_loss, reason = "as upstream does it")]
fn fraction(used: i64, capacity: i64) -> f64 {
    (used as f64 / capacity as f64).min(1.0)
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
}
