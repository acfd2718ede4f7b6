//! The cluster at one moment, as plugins see it.

mod affinity;
mod columns;
mod features;
mod group;
mod log;
mod node;
mod pod;
mod pods;
mod resources;
mod tally;
mod template;

use std::sync::Arc;

use kcore::collections::HashMap;

pub(crate) use affinity::narrow;
pub use affinity::{Affinities, AffinityTerm};
pub use columns::Columns;
pub use features::RequiredFeatures;
pub(crate) use features::declared_features;
pub use group::{Amounts, NodeGroup};
pub(crate) use log::Log;
pub use log::{MAX_CHANGES, Mark};
pub use node::NodeInfo;
pub use pod::{HostPort, PodInfo};
pub use pods::Pods;
pub(crate) use resources::resized;
pub use resources::{
    DEFAULT_MEMORY, DEFAULT_MILLI_CPU, Resources, pod_requests, pod_scoring_requests,
};
pub use tally::{NO_VALUE, Tally, Topology};
pub use template::{MAX_TEMPLATES, PodTemplate, Templates};

/// All nodes with their pods, at one moment. Positions are stable within one snapshot only.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    nodes: Vec<Arc<NodeInfo>>,
    positions: HashMap<Arc<str>, u32>,
    columns: Columns,
    log: Log,
}

impl Snapshot {
    /// A snapshot of these nodes.
    #[must_use]
    pub fn new(nodes: Vec<NodeInfo>) -> Self {
        nodes.into_iter().collect()
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

    /// The state it is in, to ask for [`changes`](Self::changes) later.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// The positions of the nodes that changed since `mark`, some perhaps more than once; `None`
    /// if that is not known, and every node may be another one.
    #[must_use]
    pub fn changes<'a>(&'a self, mark: &Mark) -> Option<impl Iterator<Item = u32> + use<'a>> {
        self.log.since(mark)
    }

    /// Puts a pod on the node at a position, as simulations do that place one after the other.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn place(&mut self, at: u32, pod: Arc<PodInfo>) {
        let at = at as usize;
        Arc::make_mut(&mut self.nodes[at]).add_pod(pod);
        self.columns.set(at, &self.nodes[at]);
        self.log.push(u32::try_from(at).unwrap_or(u32::MAX));
    }

    pub(crate) fn rebuild(&mut self, nodes: impl Iterator<Item = Arc<NodeInfo>>) {
        self.nodes.clear();
        self.positions.clear();
        self.columns = Columns::default();
        self.log.restart();
        for (at, node) in nodes.enumerate() {
            let name = node.shared_name();
            self.positions.insert(name, u32::try_from(at).unwrap_or(u32::MAX));
            self.columns.push(&node);
            self.nodes.push(node);
        }
    }

    pub(crate) fn replace(&mut self, at: usize, node: Arc<NodeInfo>) {
        self.columns.set(at, &node);
        self.nodes[at] = node;
        self.log.push(u32::try_from(at).unwrap_or(u32::MAX));
    }

    /// The same node with the same sums: nothing that is kept of it is out of date.
    pub(crate) fn replace_quietly(&mut self, at: usize, node: Arc<NodeInfo>) {
        self.nodes[at] = node;
    }
}

impl FromIterator<NodeInfo> for Snapshot {
    fn from_iter<I: IntoIterator<Item = NodeInfo>>(nodes: I) -> Self {
        let mut this = Self::default();
        this.rebuild(nodes.into_iter().map(Arc::new));
        this
    }
}
