//! Nodes that fall silent, and the pods on them.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

mod evict;
mod lifecycle;
pub mod plan;

pub use evict::{TaintEvictionReconciler, eviction_controller, plan_eviction};
pub use lifecycle::{MONITOR_PERIOD, NodeLifecycle};
