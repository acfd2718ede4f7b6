//! Nodes of one shape that differ in how much of them is used.

use super::NodeInfo;

/// What pods take of a node, or may take of the nodes of a group at least or at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amounts {
    /// CPU that pods ask for, in thousandths.
    pub milli_cpu: i64,
    /// Memory that pods ask for, in bytes.
    pub memory: i64,
    /// Ephemeral storage that pods ask for, in bytes.
    pub ephemeral_storage: i64,
    /// CPU that pods count with in scores, in thousandths.
    pub scoring_milli_cpu: i64,
    /// Memory that pods count with in scores, in bytes.
    pub scoring_memory: i64,
    /// How many pods there are.
    pub pods: i64,
}

impl Amounts {
    /// Those of one node.
    #[must_use]
    pub fn of(node: &NodeInfo) -> Self {
        let (requested, scoring) = (node.requested(), node.scoring_requested());
        Self {
            milli_cpu: requested.milli_cpu,
            memory: requested.memory,
            ephemeral_storage: requested.ephemeral_storage,
            scoring_milli_cpu: scoring.0,
            scoring_memory: scoring.1,
            pods: i64::try_from(node.pods().len()).unwrap_or(i64::MAX),
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        self.each(other, i64::min)
    }

    /// The larger of each.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        self.each(other, i64::max)
    }

    fn each(&self, other: &Self, choose: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            milli_cpu: choose(self.milli_cpu, other.milli_cpu),
            memory: choose(self.memory, other.memory),
            ephemeral_storage: choose(self.ephemeral_storage, other.ephemeral_storage),
            scoring_milli_cpu: choose(self.scoring_milli_cpu, other.scoring_milli_cpu),
            scoring_memory: choose(self.scoring_memory, other.scoring_memory),
            pods: choose(self.pods, other.pods),
        }
    }
}

/// Nodes of one shape: they have equal allocatable amounts, taints and extended resources in use,
/// and all or none of them are cordoned. Their names, labels, images, pods and ports may differ,
/// and so may what is used of them, within bounds.
#[derive(Debug, Clone, Copy)]
pub struct NodeGroup<'a> {
    shape: &'a NodeInfo,
    least: Amounts,
    most: Amounts,
}

impl<'a> NodeGroup<'a> {
    /// Nodes of the shape of this one, of which so much is used at least and at most.
    #[must_use]
    pub fn new(shape: &'a NodeInfo, least: Amounts, most: Amounts) -> Self {
        Self { shape, least, most }
    }

    /// A node of the shape. Read of it only what the shape is about.
    #[must_use]
    pub fn shape(&self) -> &'a NodeInfo {
        self.shape
    }

    /// What is used of every node of the group at least.
    #[must_use]
    pub fn least(&self) -> &Amounts {
        &self.least
    }

    /// What is used of every node of the group at most.
    #[must_use]
    pub fn most(&self) -> &Amounts {
        &self.most
    }

    /// Whether nothing about what is used differs between the nodes.
    #[must_use]
    pub fn is_one_state(&self) -> bool {
        self.least == self.most
    }
}
