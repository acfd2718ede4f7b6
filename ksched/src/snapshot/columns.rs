//! Numbers of all nodes, side by side.

use super::NodeInfo;

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
    soft_tainted: Vec<bool>,
    soft: usize,
}

impl Columns {
    pub(super) fn push(&mut self, node: &NodeInfo) {
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
        self.soft_tainted.push(false);
        self.set(at, node);
    }

    pub(super) fn set(&mut self, at: usize, node: &NodeInfo) {
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
        let soft = node.taints().iter().any(|taint| taint.effect == "PreferNoSchedule");
        if std::mem::replace(&mut self.soft_tainted[at], soft) != soft {
            self.soft = if soft { self.soft + 1 } else { self.soft - 1 };
        }
    }

    /// How many nodes have a `PreferNoSchedule` taint.
    #[must_use]
    pub fn softly_tainted(&self) -> usize {
        self.soft
    }
}
