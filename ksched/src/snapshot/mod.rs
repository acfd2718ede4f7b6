//! The cluster at one moment, as plugins see it.

mod node;
mod pod;
mod resources;

use std::sync::Arc;

use kcore::collections::HashMap;

pub use node::NodeInfo;
pub use pod::{HostPort, PodInfo};
pub use resources::{
    DEFAULT_MEMORY, DEFAULT_MILLI_CPU, Resources, pod_requests, pod_scoring_requests,
};

/// Amounts of all nodes, each a column in the order of the nodes: what a pass over the whole
/// cluster reads without touching the nodes themselves.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// CPU to give, in thousandths.
    pub allocatable_milli_cpu: Vec<i64>,
    /// Memory to give, in bytes.
    pub allocatable_memory: Vec<i64>,
    /// CPU that pods ask for, in thousandths.
    pub requested_milli_cpu: Vec<i64>,
    /// Memory that pods ask for, in bytes.
    pub requested_memory: Vec<i64>,
    /// CPU that pods count with in scores, in thousandths.
    pub scoring_milli_cpu: Vec<i64>,
    /// Memory that pods count with in scores, in bytes.
    pub scoring_memory: Vec<i64>,
    /// Pods that may still come.
    pub free_pods: Vec<i64>,
    /// Whether the node has taints.
    pub tainted: Vec<bool>,
    /// Whether the node is cordoned.
    pub unschedulable: Vec<bool>,
}

impl Columns {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, node: &NodeInfo) {
        let at = self.tainted.len();
        let numbers = [
            &mut self.allocatable_milli_cpu,
            &mut self.allocatable_memory,
            &mut self.requested_milli_cpu,
            &mut self.requested_memory,
            &mut self.scoring_milli_cpu,
            &mut self.scoring_memory,
            &mut self.free_pods,
        ];
        for column in numbers {
            column.push(0);
        }
        self.tainted.push(false);
        self.unschedulable.push(false);
        self.set(at, node);
    }

    fn set(&mut self, at: usize, node: &NodeInfo) {
        let (allocatable, requested) = (node.allocatable(), node.requested());
        self.allocatable_milli_cpu[at] = allocatable.milli_cpu;
        self.allocatable_memory[at] = allocatable.memory;
        self.requested_milli_cpu[at] = requested.milli_cpu;
        self.requested_memory[at] = requested.memory;
        (self.scoring_milli_cpu[at], self.scoring_memory[at]) = node.scoring_requested();
        let pods = i64::try_from(node.pods().len()).unwrap_or(i64::MAX);
        self.free_pods[at] = allocatable.pods.saturating_sub(pods);
        self.tainted[at] = !node.taints().is_empty();
        self.unschedulable[at] = node.unschedulable();
    }
}

/// All nodes with their pods, at one moment. Positions are stable within one snapshot only.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    nodes: Vec<Arc<NodeInfo>>,
    positions: HashMap<Arc<str>, u32>,
    columns: Columns,
}

impl Snapshot {
    /// A snapshot of these nodes.
    #[must_use]
    pub fn new(nodes: Vec<NodeInfo>) -> Self {
        let mut this = Self::default();
        this.rebuild(nodes.into_iter().map(Arc::new));
        this
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<NodeInfo>] {
        &self.nodes
    }

    /// The node at a position.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn node(&self, at: u32) -> &NodeInfo {
        &self.nodes[at as usize]
    }

    /// Where a node is.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<u32> {
        self.positions.get(name).copied()
    }

    /// A node by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.position(name).map(|at| self.node(at))
    }

    /// The amounts of all nodes.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(crate) fn rebuild(&mut self, nodes: impl Iterator<Item = Arc<NodeInfo>>) {
        self.nodes.clear();
        self.positions.clear();
        self.columns.clear();
        for (at, node) in nodes.enumerate() {
            let name = Arc::from(node.name());
            self.positions.insert(name, u32::try_from(at).unwrap_or(u32::MAX));
            self.columns.push(&node);
            self.nodes.push(node);
        }
    }

    pub(crate) fn replace(&mut self, at: usize, node: Arc<NodeInfo>) {
        self.columns.set(at, &node);
        self.nodes[at] = node;
    }
}
