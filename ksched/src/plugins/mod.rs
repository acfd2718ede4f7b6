//! The stock plugins.
//!
//! <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>

mod default_binder;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod priority_sort;
mod scheduling_gates;
mod taint_toleration;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use default_binder::DefaultBinder;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_resources_fit::NodeResourcesFit;
pub use node_unschedulable::NodeUnschedulable;
pub use priority_sort::PrioritySort;
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;

use crate::framework::{MAX_NODE_SCORE, PluginFactory, plugin_fn};

/// The factories of all stock plugins, in the order they run.
#[must_use]
pub fn stock() -> Vec<Arc<dyn PluginFactory>> {
    vec![
        Arc::new(plugin_fn("SchedulingGates", |_, _| Ok(SchedulingGates))),
        Arc::new(plugin_fn("PrioritySort", |_, _| Ok(PrioritySort))),
        Arc::new(plugin_fn("NodeUnschedulable", |_, _| Ok(NodeUnschedulable))),
        Arc::new(plugin_fn("NodeName", |_, _| Ok(NodeName))),
        Arc::new(plugin_fn("TaintToleration", |_, _| Ok(TaintToleration))),
        Arc::new(plugin_fn("NodeAffinity", |args, _| NodeAffinity::new(args))),
        Arc::new(plugin_fn("NodePorts", |_, _| Ok(NodePorts))),
        Arc::new(plugin_fn("NodeResourcesFit", |args, _| NodeResourcesFit::new(args))),
        Arc::new(plugin_fn("DefaultBinder", |_, handle| Ok(DefaultBinder::new(handle)))),
    ]
}

/// Brings scores of any size to the range from zero to [`MAX_NODE_SCORE`], in proportion to the
/// highest; the other way round if fewer is better.
pub(crate) fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        if highest == 0 {
            *score = if reverse { MAX_NODE_SCORE } else { 0 };
            continue;
        }
        *score = MAX_NODE_SCORE * *score / highest;
        if reverse {
            *score = MAX_NODE_SCORE - *score;
        }
    }
}
