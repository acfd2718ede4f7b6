//! Counts per value of a node label, kept as nodes change.

use std::sync::Arc;

use kcore::collections::HashMap;

use super::{NodeInfo, Snapshot};

/// The number of no value: of nodes that do not take part.
pub const NO_VALUE: u32 = u32::MAX;

/// The nodes of a snapshot by the value of one label, such as their zone: values as numbers, so
/// that a pass over all nodes compares no text.
#[derive(Debug, Default)]
pub struct Topology {
    values: HashMap<Arc<str>, u32>,
    /// Of each node.
    at: Vec<u32>,
    /// Nodes by value.
    members: Vec<u32>,
    /// Whether any value has more than one node.
    shared: bool,
}

impl Topology {
    /// Reads the value of every node; one without takes no part.
    pub fn new<'n>(
        nodes: &'n Snapshot,
        mut value: impl FnMut(&'n NodeInfo) -> Option<&'n str>,
    ) -> Self {
        let mut this = Self::default();
        this.at.reserve(nodes.len());
        for node in nodes.nodes() {
            let number = value(node).map_or(NO_VALUE, |value| this.number(value));
            this.at.push(number);
        }
        this
    }

    fn number(&mut self, value: &str) -> u32 {
        let number = self.values.get(value).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.members.len()).unwrap_or(NO_VALUE);
            self.values.insert(value.into(), number);
            self.members.push(0);
            number
        });
        self.members[number as usize] += 1;
        self.shared |= self.members[number as usize] > 1;
        number
    }

    /// The number of a value, if a node has it.
    #[must_use]
    pub fn value(&self, value: &str) -> Option<u32> {
        self.values.get(value).copied()
    }

    /// The number of the value that the node at a position has, or [`NO_VALUE`].
    #[must_use]
    pub fn at(&self, at: u32) -> u32 {
        self.at[at as usize]
    }

    /// The numbers of all nodes.
    #[must_use]
    pub fn numbers(&self) -> &[u32] {
        &self.at
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether every place is one node: then what is in it changes with that node alone.
    #[must_use]
    pub fn is_of_single_nodes(&self) -> bool {
        !self.shared
    }

    /// Whether no node takes part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// What nodes add up to by their places in a [`Topology`]: how many pods of some kind are in each
/// zone, say. A change of one node costs an addition.
#[derive(Debug, Clone)]
pub struct Tally {
    topology: Arc<Topology>,
    adds: Vec<i64>,
    sums: Vec<i64>,
    total: i64,
    /// Nodes in a place that add something.
    adding: usize,
}

impl Tally {
    /// Nobody adds anything yet.
    #[must_use]
    pub fn new(topology: Arc<Topology>) -> Self {
        let (nodes, values) = (topology.at.len(), topology.len());
        Self { topology, adds: vec![0; nodes], sums: vec![0; values], total: 0, adding: 0 }
    }

    /// What the node at a position adds from now on.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn set(&mut self, at: u32, adds: i64) {
        let before = std::mem::replace(&mut self.adds[at as usize], adds);
        let place = self.topology.at(at);
        if place == NO_VALUE || before == adds {
            return;
        }
        self.sums[place as usize] += adds - before;
        self.total += adds - before;
        self.adding += usize::from(adds != 0);
        self.adding -= usize::from(before != 0);
    }

    /// The same nodes are in other places.
    pub fn regroup(&mut self, topology: &Arc<Topology>) {
        if Arc::ptr_eq(&self.topology, topology) {
            return;
        }
        let adds = std::mem::take(&mut self.adds);
        *self = Self::new(Arc::clone(topology));
        for (at, adds) in (0_u32..).zip(adds) {
            self.set(at, adds);
        }
    }

    /// The places.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What the node at a position adds.
    #[must_use]
    pub fn added_at(&self, at: u32) -> i64 {
        self.adds[at as usize]
    }

    /// The sum of a place; zero for [`NO_VALUE`].
    #[must_use]
    pub fn sum(&self, place: u32) -> i64 {
        self.sums.get(place as usize).copied().unwrap_or_default()
    }

    /// The sums of all places.
    #[must_use]
    pub fn sums(&self) -> &[i64] {
        &self.sums
    }

    /// The sum over all nodes that are in a place.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.total
    }

    /// Whether nobody in any place adds anything.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.adding == 0
    }
}
