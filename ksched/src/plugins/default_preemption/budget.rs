//! PodDisruptionBudgets, as far as preemption minds them.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::{
    PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus,
};
use kcore::selector::LabelSelector;

use crate::plugins::volumes::specified;
use crate::snapshot::PodInfo;

/// How many pods each budget lets go. Preemption keeps to them where it can, and breaks them where
/// it must.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#poddisruptionbudget-is-supported-but-not-guaranteed>
#[derive(Debug)]
pub(super) struct Budgets(Vec<Budget>);

#[derive(Debug, PartialEq, Eq)]
struct Budget {
    namespace: String,
    selector: LabelSelector,
    allowed: i64,
    disrupted: BTreeSet<String>,
}

impl Budget {
    fn protects(&self, pod: &PodInfo) -> bool {
        self.namespace == pod.namespace()
            && !pod.labels().is_empty()
            && self.selector.matches(pod.labels())
    }
}

impl Budgets {
    pub(super) fn new(all: Vec<Arc<PodDisruptionBudget>>) -> Self {
        let read = |budget: Arc<PodDisruptionBudget>| {
            let spec: PodDisruptionBudgetSpec = specified(budget.spec.clone())?;
            let status: PodDisruptionBudgetStatus =
                specified(budget.status.clone()).unwrap_or_default();
            // One without a selector, or with an empty one, protects nobody.
            let selector = LabelSelector::from_api(spec.selector.as_ref()).ok()?;
            (!selector.is_empty()).then(|| Budget {
                namespace: budget.metadata.namespace.clone().unwrap_or_default(),
                selector,
                allowed: specified::<i32>(status.disruptions_allowed).map_or(0, i64::from),
                disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
            })
        };
        Self(all.into_iter().filter_map(read).collect())
    }

    /// Whether both protect the same pods, however many of them may go.
    pub(super) fn protect_the_same(&self, other: &Self) -> bool {
        let whom = |budget: &Budget| (budget.namespace.clone(), budget.selector.clone());
        self.0.iter().map(whom).eq(other.0.iter().map(whom))
    }

    /// Whether a pod is protected.
    pub(super) fn protect(&self, pod: &PodInfo) -> bool {
        self.0.iter().any(|budget| budget.protects(pod))
    }

    /// Tells apart the pods that cannot all leave without breaking a budget, in their order.
    pub(super) fn split(&self, pods: Vec<Arc<PodInfo>>) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
        let mut allowed: Vec<i64> = self.0.iter().map(|budget| budget.allowed).collect();
        pods.into_iter().partition(|pod| {
            let mut breaks = false;
            for (budget, allowed) in self.0.iter().zip(&mut allowed) {
                // Its leaving is counted already.
                if budget.protects(pod) && !budget.disrupted.contains(pod.name()) {
                    *allowed -= 1;
                    breaks |= *allowed < 0;
                }
            }
            breaks
        })
    }
}
