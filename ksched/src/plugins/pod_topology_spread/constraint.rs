//! Constraints, read once per shape of pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use kcore::selector::{LabelOperator, LabelSelector};

use crate::plugins::{node_affinity, taint_toleration};
use crate::snapshot::{NodeInfo, PodInfo, narrow};

/// The node label that names the node itself.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
/// The node label of a zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// One constraint, in the form it is counted in.
#[derive(Debug, Clone)]
pub(super) struct Constraint {
    pub(super) key: Arc<str>,
    pub(super) max_skew: i64,
    pub(super) min_domains: i64,
    pub(super) hard: bool,
    pub(super) selector: LabelSelector,
    honor_affinity: bool,
    honor_taints: bool,
}

impl Constraint {
    /// Reads a constraint of a pod with `labels`; a selector that cannot be read selects nothing.
    pub(super) fn new(api: &TopologySpreadConstraint, labels: &BTreeMap<String, String>) -> Self {
        let mut selector = LabelSelector::from_api(api.label_selector.as_ref())
            .unwrap_or_else(|_| LabelSelector::nothing());
        let keys = api.match_label_keys.iter().flatten();
        narrow(&mut selector, keys, LabelOperator::In, labels);
        Self {
            key: api.topology_key.as_str().into(),
            max_skew: i64::from(api.max_skew),
            min_domains: i64::from(api.min_domains.unwrap_or(1)),
            hard: api.when_unsatisfiable != "ScheduleAnyway",
            selector,
            honor_affinity: api.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: api.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// A soft constraint of the scheduler's own.
    pub(super) fn soft(key: &str, max_skew: i64, selector: LabelSelector) -> Self {
        Self {
            key: key.into(),
            max_skew,
            min_domains: 1,
            hard: false,
            selector,
            honor_affinity: true,
            honor_taints: false,
        }
    }

    /// Whether a pod's node policies let a node be counted.
    pub(super) fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honor_affinity || node_affinity::matches(pod, node))
            && (!self.honor_taints || taint_toleration::untolerated(pod, node).is_none())
    }

    /// Whether a pod in `namespace` is one of those that are spread.
    pub(super) fn counts(&self, namespace: &str, other: &PodInfo) -> bool {
        other.namespace() == namespace
            && !other.is_terminating()
            && self.selector.matches(other.labels())
    }

    /// How many pods of a node are.
    pub(super) fn count(&self, namespace: &str, node: &NodeInfo) -> i64 {
        let counted = node.pods().iter().filter(|other| self.counts(namespace, other));
        i64::try_from(counted.count()).unwrap_or(i64::MAX)
    }
}

/// All constraints of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraints {
    pub(super) hard: Vec<Constraint>,
    pub(super) soft: Vec<Constraint>,
    /// What becomes of nodes without one of the soft keys.
    pub(super) unlabeled: Unlabeled,
}

/// What becomes of nodes without one of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unlabeled {
    /// They are ranked by the other constraints.
    #[default]
    Ranked,
    LeftOut,
}

impl Unlabeled {
    /// Whether a node takes part.
    pub(super) fn admits(self, constraints: &[Constraint], node: &NodeInfo) -> bool {
        self == Self::Ranked || has_all(constraints, node)
    }
}

impl Constraints {
    pub(super) fn of(all: impl Iterator<Item = Constraint>, unlabeled: Unlabeled) -> Self {
        let (hard, soft) = all.partition(|constraint| constraint.hard);
        Self { hard, soft, unlabeled }
    }
}

/// Whether a node has the label of every constraint.
pub(super) fn has_all(constraints: &[Constraint], node: &NodeInfo) -> bool {
    constraints.iter().all(|constraint| node.label(&constraint.key).is_some())
}
