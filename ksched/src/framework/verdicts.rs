//! What was said of every node, kept as nodes change.

use std::sync::Arc;

use super::Status;
use super::rejections::{Kind, number_of};

/// A node that passed.
pub(crate) const PASSED: u32 = 0;

/// What was said of every node, by position: a change of one node costs no more than that node,
/// and so does a question about one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdicts {
    kinds: Vec<Kind>,
    /// Of each kind: how many nodes.
    counts: Vec<usize>,
    /// Of each node: [`PASSED`], or one more than the number of its kind.
    nodes: Vec<u32>,
    rejections: usize,
}

impl Verdicts {
    /// So many nodes, all of which passed.
    pub(crate) fn passed(nodes: usize) -> Self {
        Self { nodes: vec![PASSED; nodes], ..Self::default() }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many were turned away.
    pub(crate) fn rejections(&self) -> usize {
        self.rejections
    }

    /// How many passed.
    pub(crate) fn feasible(&self) -> usize {
        self.nodes.len() - self.rejections
    }

    /// Whether the node at a position passed.
    pub(crate) fn has(&self, at: u32) -> bool {
        self.nodes[at as usize] == PASSED
    }

    /// The nodes that passed.
    pub(crate) fn positions(&self) -> Vec<u32> {
        let all = (0_u32..).zip(&self.nodes);
        let mut positions = Vec::with_capacity(self.feasible());
        positions.extend(all.filter(|(_, verdict)| **verdict == PASSED).map(|(at, _)| at));
        positions
    }

    /// The verdict that a plugin turned a node away.
    pub(crate) fn verdict(&mut self, plugin: &Arc<str>, status: Status) -> u32 {
        let kind = number_of(&mut self.kinds, plugin, status);
        self.counts.resize(self.kinds.len(), 0);
        kind + 1
    }

    /// What is said of a node from now on; whether it had passed before.
    pub(crate) fn set(&mut self, at: u32, verdict: u32) -> bool {
        let before = std::mem::replace(&mut self.nodes[at as usize], verdict);
        if before != PASSED {
            self.counts[before as usize - 1] -= 1;
            self.rejections -= 1;
        }
        if verdict != PASSED {
            self.counts[verdict as usize - 1] += 1;
            self.rejections += 1;
        }
        before == PASSED
    }

    /// How many reasons were ever given.
    pub(crate) fn kinds_len(&self) -> usize {
        self.kinds.len()
    }

    /// Who turned a node away, and why.
    pub(super) fn of(&self, at: u32) -> Option<&Kind> {
        let kind = self.nodes.get(at as usize)?.checked_sub(1)?;
        self.kinds.get(kind as usize)
    }

    /// The nodes that were turned away.
    pub(super) fn rejected(&self) -> impl Iterator<Item = (u32, &Arc<str>, &Status)> {
        let all = (0_u32..).take(self.nodes.len());
        all.filter_map(|at| self.of(at).map(|(plugin, status)| (at, plugin, status)))
    }

    /// The reasons that nodes have, and how many have them.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&Arc<str>, &Status, usize)> {
        let kinds = self.kinds.iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        kinds.map(|((plugin, status), count)| (plugin, status, *count))
    }
}
