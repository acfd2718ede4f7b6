//! Why a pod would go where it goes, node by node and plugin by plugin.

use std::fmt;
use std::sync::Arc;

use super::cycle::{Cycle, Kept};
use crate::framework::{Diagnosis, Framework, Status};
use crate::snapshot::{PodInfo, Snapshot};

/// What one plugin thinks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Score {
    /// The plugin.
    pub plugin: Arc<str>,
    /// Its score, normalized: from 0 to 100.
    pub score: i64,
    /// What the score is multiplied by.
    pub weight: i64,
}

/// What is said of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeExplanation {
    /// The node.
    pub node: Arc<str>,
    /// Who turned it away and why, if anybody did.
    pub rejected: Option<(Arc<str>, Status)>,
    /// What the plugins give it, if nobody did; those with nothing to say about the pod are left
    /// out.
    pub scores: Vec<Score>,
}

impl NodeExplanation {
    /// The weighted sum of its scores; `None` if it was turned away.
    #[must_use]
    pub fn total(&self) -> Option<i64> {
        let sum = || self.scores.iter().map(|score| score.score * score.weight).sum();
        self.rejected.is_none().then(sum)
    }
}

/// What is said of every node, in the snapshot's order. It prints as a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The nodes.
    pub nodes: Vec<NodeExplanation>,
    /// Why none was looked at, where PreFilter turned the pod away at once.
    pub pre_filter: Option<Status>,
}

/// Asks every plugin about every node, also about those that are not the best.
///
/// # Errors
/// What went wrong in a plugin.
pub fn explain(
    framework: &Framework,
    snapshot: &Snapshot,
    kept: &Kept,
    pod: &PodInfo,
) -> Result<Explanation, Status> {
    Cycle::new(framework, snapshot, pod).explain(kept)
}

impl Explanation {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let node = |node: &Arc<crate::snapshot::NodeInfo>| NodeExplanation {
            node: node.shared_name(),
            rejected: None,
            scores: Vec::new(),
        };
        Self { nodes: snapshot.nodes().iter().map(node).collect(), pre_filter: None }
    }

    pub(super) fn rejected(&mut self, diagnosis: &Diagnosis) {
        for (at, plugin, status) in diagnosis.rejected.iter() {
            self.nodes[at as usize].rejected = Some((Arc::clone(plugin), status.clone()));
        }
        self.pre_filter.clone_from(&diagnosis.pre_filter);
    }

    pub(super) fn scored(&mut self, at: u32, plugin: &Arc<str>, score: i64, weight: i64) {
        let score = Score { plugin: Arc::clone(plugin), score, weight };
        self.nodes[at as usize].scores.push(score);
    }

    /// The best nodes first, then those that were turned away; equal ones in the snapshot's order.
    #[must_use]
    pub fn ranked(&self) -> Vec<&NodeExplanation> {
        let mut ranked: Vec<&NodeExplanation> = self.nodes.iter().collect();
        ranked.sort_by_key(|node| std::cmp::Reverse(node.total()));
        ranked
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = &self.pre_filter {
            return writeln!(f, "no node was looked at: {status}");
        }
        writeln!(f, "{:24} {:>6}  why", "node", "total")?;
        for node in self.ranked() {
            match (&node.rejected, node.total()) {
                (Some((plugin, status)), _) => {
                    writeln!(f, "{:24} {:>6}  {plugin}: {status}", node.node, "-")?;
                }
                (None, total) => {
                    let parts = node.scores.iter();
                    let parts = parts.map(|s| format!("{} {}x{}", s.plugin, s.score, s.weight));
                    let parts: Vec<String> = parts.collect();
                    let total = total.unwrap_or_default();
                    writeln!(f, "{:24} {total:>6}  {}", node.node, parts.join(", "))?;
                }
            }
        }
        Ok(())
    }
}
