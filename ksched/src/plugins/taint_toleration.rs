//! TaintToleration: taints keep pods away that do not tolerate them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::volumes::hints::queue_if;
use crate::framework::{
    Action, Candidates, CycleState, EnqueueExtensions, EventObject, EventRegistration,
    EventResource, ExtensionPoints, Feasible, FilterPlugin, GroupVerdict, Happening, Normalization,
    PreScorePlugin, QueueingHint, SchedulerPlugin, ScorePlugin, Status,
};
use crate::snapshot::{NodeGroup, NodeInfo, PodInfo, Snapshot};

const PREFER: &str = "PreferNoSchedule";

const BY_HIGHEST: Normalization = Normalization::Highest { reverse: true };

/// Turns away nodes with `NoSchedule` and `NoExecute` taints the pod does not tolerate, and ranks
/// the others by their `PreferNoSchedule` taints.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
#[derive(Debug, Clone, Copy, Default)]
pub struct TaintToleration;

impl SchedulerPlugin for TaintToleration {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
        points.enqueue_extensions(self);
    }
}

/// Whether a pod tolerates a taint.
pub(super) fn tolerates_taint(pod: &PodInfo, key: &str, value: &str, effect: &str) -> bool {
    let taint = Taint {
        key: key.to_owned(),
        value: Some(value.to_owned()),
        effect: effect.to_owned(),
        time_added: None,
    };
    pod.spec().tolerations.iter().flatten().any(|toleration| tolerates(toleration, &taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if filled(&toleration.effect).is_some_and(|effect| effect != taint.effect) {
        return false;
    }
    if filled(&toleration.key).is_some_and(|key| key != taint.key) {
        return false;
    }
    let (own, other) = (
        toleration.value.as_deref().unwrap_or_default(),
        taint.value.as_deref().unwrap_or_default(),
    );
    let numbers = || Some((other.parse::<i64>().ok()?, own.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        // Without a key only Exists is valid.
        "" | "Equal" => filled(&toleration.key).is_some() && own == other,
        "Gt" => numbers().is_some_and(|(taint, own)| taint > own),
        "Lt" => numbers().is_some_and(|(taint, own)| taint < own),
        _ => false,
    }
}

/// The first taint of a node that keeps a pod away.
pub(super) fn untolerated<'a>(pod: &PodInfo, node: &'a NodeInfo) -> Option<&'a Taint> {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints().iter().filter(hard).find(|taint| {
        !pod.spec().tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
    })
}

impl FilterPlugin for TaintToleration {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        match untolerated(pod, node) {
            None => Status::success(),
            // Not which one: a pod's owner need not learn what is said of nodes.
            Some(_) => Status::unresolvable("node(s) had untolerated taint(s)"),
        }
    }

    fn filter_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        candidates: &mut Candidates,
    ) {
        let tainted = &nodes.columns().tainted;
        candidates.retain(|at| {
            if !tainted[at as usize] {
                return Status::success();
            }
            self.filter(state, pod, nodes.node(at))
        });
    }

    fn keeps(&self) -> bool {
        true
    }

    fn filter_group(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<GroupVerdict> {
        let passes = untolerated(pod, group.shape()).is_none();
        Some(if passes { GroupVerdict::Pass } else { GroupVerdict::Reject })
    }
}

impl PreScorePlugin for TaintToleration {
    fn pre_score(
        &self,
        _: &mut CycleState,
        _: &PodInfo,
        nodes: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        // Without any such taint every node would score alike.
        match nodes.columns().softly_tainted() {
            0 => Status::skip(),
            _ => Status::success(),
        }
    }
}

impl ScorePlugin for TaintToleration {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let soft = node.taints().iter().filter(|taint| taint.effect == PREFER);
        let count = soft.filter(|taint| {
            !pod.spec().tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
        });
        Ok(i64::try_from(count.count()).unwrap_or(i64::MAX))
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) -> Status {
        BY_HIGHEST.all(scores);
        Status::success()
    }

    fn keeps(&self) -> Option<Normalization> {
        Some(BY_HIGHEST)
    }

    fn score_group(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<(i64, i64)> {
        let score = self.score(state, pod, group.shape()).ok()?;
        Some((score, score))
    }
}

/// A node helps whose taints kept the pod away, and do not any more.
fn hint_of_node(pod: &PodInfo, what: &Happening) -> QueueingHint {
    let keeps_away = |object: &Option<EventObject>| {
        let node = object.as_ref().and_then(|object| object.node());
        node.is_none_or(|node| untolerated(pod, &NodeInfo::new(Arc::clone(node))).is_some())
    };
    queue_if(keeps_away(&what.old) && !keeps_away(&what.new))
}

impl EnqueueExtensions for TaintToleration {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let actions = Action::ADD | Action::UPDATE_NODE_TAINT;
        let own = Action::UPDATE_POD_TOLERATIONS;
        vec![
            EventRegistration::new(EventResource::Node, actions).hint(hint_of_node),
            EventRegistration::new(EventResource::UnscheduledPod, own),
        ]
    }
}
