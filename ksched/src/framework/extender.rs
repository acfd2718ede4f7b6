//! The seam of extenders: others that have a say in where pods go, and have to be waited for.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::snapshot::{NodeInfo, PodInfo};

/// What went wrong at an extender. Its text is what the pod's owner is told.
pub type ExtenderError = Box<dyn std::error::Error + Send + Sync>;

/// What an extender takes part in. What it does not, it is not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verbs {
    /// It turns nodes away.
    pub filter: bool,
    /// It ranks nodes.
    pub prioritize: bool,
    /// It has a say in who must make room.
    pub preempt: bool,
    /// It binds, in place of the bind plugins.
    pub bind: bool,
}

/// What an extender makes of the nodes it was asked about, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filtered {
    /// The nodes that can take the pod. All others are turned away.
    pub passed: Vec<String>,
    /// Why nodes are turned away, where removing other pods may help.
    pub failed: BTreeMap<String, String>,
    /// Why nodes are turned away, where it would not. Wins over `failed`.
    pub unresolvable: BTreeMap<String, String>,
}

/// The pods that would have to leave a node.
#[derive(Debug, Clone, Default)]
pub struct NodeVictims {
    /// The pods, the most important first.
    pub pods: Vec<Arc<PodInfo>>,
    /// How many of them their disruption budgets do not let go.
    pub violations: usize,
}

/// Something outside of the scheduler that has a say in where pods go, such as a process that
/// keeps account of a resource. What a plugin could decide, a plugin should: each answer of an
/// extender is waited for, and nothing else is decided meanwhile.
/// <https://kubernetes.io/docs/concepts/extend-kubernetes/#scheduling-extensions>
///
/// **Contract**:
/// - every answer, or an error, comes within a bound of the extender's own: the scheduler waits.
/// - `filter`, `prioritize` and `preempt` have no effect that a second call would repeat.
/// - dropping a future decides nothing.
#[async_trait]
pub trait Extender: Debug + Send + Sync + 'static {
    /// What it is called in messages.
    fn name(&self) -> &str;
    /// What it takes part in.
    fn verbs(&self) -> Verbs;
    /// Whether it has a say in this pod.
    fn is_interested(&self, _pod: &PodInfo) -> bool {
        true
    }
    /// Whether pods are scheduled without its word while it fails.
    fn is_ignorable(&self) -> bool {
        false
    }
    /// Which of the nodes can take the pod.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn filter(
        &self,
        _pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
    ) -> Result<Filtered, ExtenderError> {
        let passed = nodes.iter().map(|node| node.name().to_owned()).collect();
        Ok(Filtered { passed, ..Filtered::default() })
    }
    /// What is to be added to the scores of nodes, by name, in the scale of weighted scores.
    ///
    /// # Errors
    /// Why there is no answer: then nothing is added.
    async fn prioritize(
        &self,
        _pod: &PodInfo,
        _nodes: &[Arc<NodeInfo>],
    ) -> Result<Vec<(String, i64)>, ExtenderError> {
        Ok(Vec::new())
    }
    /// Of the nodes on which room can be made those that are left, with who has to leave them:
    /// by the uids of pods that are on the node, and how many budgets that breaks.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn preempt(
        &self,
        _pod: &PodInfo,
        victims: &BTreeMap<String, NodeVictims>,
    ) -> Result<BTreeMap<String, (Vec<String>, usize)>, ExtenderError> {
        let same = |victims: &NodeVictims| {
            let uids = victims.pods.iter().map(|pod| pod.uid().to_owned()).collect();
            (uids, victims.violations)
        };
        Ok(victims.iter().map(|(node, victims)| (node.clone(), same(victims))).collect())
    }
    /// Binds the pod.
    ///
    /// # Errors
    /// Why it is not bound.
    async fn bind(&self, _pod: &PodInfo, _node: &str) -> Result<(), ExtenderError> {
        Err("it does not bind pods".into())
    }
}
