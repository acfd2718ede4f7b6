//! The stock plugins.
//!
//! <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>

mod balanced_allocation;
mod default_binder;
mod default_preemption;
mod gang;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_claims;
mod node_declared_features;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod node_volume_limits;
mod pod_topology_spread;
mod priority_sort;
mod scheduling_gates;
mod shape;
mod taint_toleration;
#[cfg(test)]
mod tests;
mod volume_binding;
mod volume_restrictions;
mod volume_zone;
mod volumes;

use std::sync::Arc;

pub use balanced_allocation::NodeResourcesBalancedAllocation;
pub use default_binder::DefaultBinder;
pub use default_preemption::DefaultPreemption;
pub use gang::{GangScheduling, MIN_AVAILABLE_LABEL, POD_GROUP_LABEL};
pub use image_locality::ImageLocality;
pub use inter_pod_affinity::InterPodAffinity;
pub use node_affinity::NodeAffinity;
pub use node_claims::NodeClaims;
pub use node_declared_features::NodeDeclaredFeatures;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_resources_fit::NodeResourcesFit;
pub use node_unschedulable::NodeUnschedulable;
pub use node_volume_limits::NodeVolumeLimits;
pub use pod_topology_spread::PodTopologySpread;
pub use priority_sort::PrioritySort;
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;
pub use volume_binding::VolumeBinding;
pub use volume_restrictions::VolumeRestrictions;
pub use volume_zone::VolumeZone;

use crate::framework::{PluginFactory, plugin_fn};

/// The factories of all stock plugins, in the order they run.
#[must_use]
pub fn stock() -> Vec<Arc<dyn PluginFactory>> {
    vec![
        Arc::new(plugin_fn("SchedulingGates", |_, _| Ok(SchedulingGates))),
        Arc::new(plugin_fn("PrioritySort", |_, _| Ok(PrioritySort))),
        Arc::new(plugin_fn("NodeName", |_, _| Ok(NodeName))),
        Arc::new(plugin_fn("NodeUnschedulable", |_, _| Ok(NodeUnschedulable))),
        Arc::new(plugin_fn("TaintToleration", |_, _| Ok(TaintToleration))),
        Arc::new(plugin_fn("NodeAffinity", |args, _| NodeAffinity::new(args))),
        Arc::new(plugin_fn("NodePorts", |_, _| Ok(NodePorts))),
        Arc::new(plugin_fn("NodeResourcesFit", |args, _| NodeResourcesFit::new(args))),
        Arc::new(plugin_fn("VolumeRestrictions", |_, handle| Ok(VolumeRestrictions::new(handle)))),
        Arc::new(plugin_fn("NodeVolumeLimits", |_, handle| Ok(NodeVolumeLimits::new(handle)))),
        Arc::new(plugin_fn("VolumeBinding", VolumeBinding::new)),
        Arc::new(plugin_fn("VolumeZone", |_, handle| Ok(VolumeZone::new(handle)))),
        Arc::new(plugin_fn("PodTopologySpread", PodTopologySpread::new)),
        Arc::new(plugin_fn("InterPodAffinity", InterPodAffinity::new)),
        Arc::new(plugin_fn("NodeResourcesBalancedAllocation", |args, _| {
            NodeResourcesBalancedAllocation::new(args)
        })),
        Arc::new(plugin_fn("ImageLocality", |_, _| Ok(ImageLocality::default()))),
        Arc::new(plugin_fn("DefaultPreemption", DefaultPreemption::new)),
        Arc::new(plugin_fn("DefaultBinder", |_, handle| Ok(DefaultBinder::new(handle)))),
        Arc::new(plugin_fn("NodeDeclaredFeatures", |_, _| Ok(NodeDeclaredFeatures))),
    ]
}

/// Whether a plugin has the name of a stock one.
pub(crate) fn is_stock(name: &str) -> bool {
    stock().iter().any(|factory| factory.name() == name)
}

/// Pods that run together or not at all: for `Scheduler::plugin`.
#[must_use]
pub fn gang_scheduling() -> impl PluginFactory {
    plugin_fn("GangScheduling", GangScheduling::new)
}

/// Keeps several schedulers from over-committing a node: for `Scheduler::plugin`.
#[must_use]
pub fn node_claims() -> impl PluginFactory {
    plugin_fn("NodeClaims", NodeClaims::new)
}
