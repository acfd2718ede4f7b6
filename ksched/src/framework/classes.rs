//! Nodes that a plugin does not tell apart, although its answers depend on other nodes.

use std::fmt::Debug;
use std::sync::Arc;

use super::{CycleState, Status};
use crate::snapshot::{NodeInfo, PodInfo, Topology};

/// What classes were made by. While it stays the same, only nodes that changed may have changed
/// their class.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    names: Vec<Arc<str>>,
    numbers: Vec<u64>,
    topologies: Vec<Arc<Topology>>,
}

impl Basis {
    /// Depends on what goes by this name.
    pub fn name(&mut self, name: &Arc<str>) {
        self.names.push(Arc::clone(name));
    }

    /// Depends on a number, such as a version.
    pub fn number(&mut self, number: u64) {
        self.numbers.push(number);
    }

    /// Depends on the nodes being in these places.
    pub fn topology(&mut self, topology: &Arc<Topology>) {
        self.topologies.push(Arc::clone(topology));
    }
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Topology>, &Arc<Topology>)| Arc::ptr_eq(a, b);
        self.numbers == other.numbers
            && self.names == other.names
            && self.topologies.len() == other.topologies.len()
            && self.topologies.iter().zip(&other.topologies).all(same)
    }
}

/// For a filter whose answers depend on other nodes: puts nodes that get one answer into one
/// class, so that it is asked once for each class and not for each node.
///
/// **Contract**: nodes of one class get one answer, the one that the form for one node gives; a
/// node's class depends on the pod's [signature](crate::snapshot::PodTemplate::signature), the
/// [basis](Self::basis) and that node alone.
pub trait FilterClasses: Debug + Send + Sync {
    /// What the classes are made by.
    fn basis(&self, state: &CycleState) -> Basis;
    /// Appends the numbers that make the class of the node at a position; false if they cannot be
    /// told. There are as many for every node.
    fn class(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        at: u32,
        node: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool;
    /// Whether the pod can run on the nodes of a class.
    fn filter_class(&self, state: &CycleState, pod: &PodInfo, class: &[i64]) -> Status;
}

/// The same for a scorer.
///
/// **Contract**: as that of [`FilterClasses`]; and `normalize` depends on which scores there are,
/// not on how many nodes have each.
pub trait ScoreClasses: Debug + Send + Sync {
    /// What the classes are made by.
    fn basis(&self, state: &CycleState) -> Basis;
    /// Appends the numbers that make the class of the node at a position; false if they cannot be
    /// told. There are as many for every node.
    fn class(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        at: u32,
        node: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool;
    /// Learns which classes have feasible nodes, and how many, before scores are asked for: what a
    /// PreScore that was given [classes](super::Feasible::is_in_classes) has left out. False if
    /// that is not enough to go by.
    fn feasible(
        &self,
        _state: &mut CycleState,
        _pod: &PodInfo,
        _classes: &[(&[i64], usize)],
    ) -> bool {
        true
    }
    /// The score of the nodes of a class, before it is normalized.
    ///
    /// # Errors
    /// A status that ends the pod's cycle.
    fn score_class(&self, state: &CycleState, pod: &PodInfo, class: &[i64]) -> Result<i64, Status>;
}
