//! The extenders of a scheduler, and how they are asked.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;

use super::{Extender, Framework, NodeVictims, Status, Verbs};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Who turned a node away, where it was an extender. No plugin has that name, so every event may
/// help the pod.
pub(crate) const EXTENDER: &str = "Extender";

/// A scheduler's extenders, in the order they are asked: those that can be done without last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extenders(Arc<[Arc<dyn Extender>]>);

/// Nodes by their positions, and why others were turned away.
pub(crate) type Passed = (Vec<u32>, Vec<(u32, Status)>);

impl Extenders {
    pub(crate) fn new(mut extenders: Vec<Arc<dyn Extender>>) -> Self {
        extenders.sort_by_key(|extender| extender.is_ignorable());
        Self(extenders.into())
    }

    fn with(&self, pod: &PodInfo, has: impl Fn(Verbs) -> bool) -> Vec<&Arc<dyn Extender>> {
        let asked = self.0.iter().filter(|extender| has(extender.verbs()));
        asked.filter(|extender| extender.is_interested(pod)).collect()
    }

    /// Whether one of them has a say in where a pod goes.
    pub(crate) fn decide(&self, pod: &PodInfo) -> bool {
        let decides = |verbs: Verbs| verbs.filter || verbs.prioritize || verbs.preempt;
        !self.0.is_empty() && !self.with(pod, decides).is_empty()
    }

    /// Whether one of them has a say in who makes room for a pod.
    pub(crate) fn preempt(&self, pod: &PodInfo) -> bool {
        !self.0.is_empty() && !self.with(pod, |verbs| verbs.preempt).is_empty()
    }
}

/// The nodes that an extender lets pass, and why it does not others.
fn sort_out(
    snapshot: &Snapshot,
    asked: &[u32],
    mut filtered: super::Filtered,
) -> Result<Passed, String> {
    let mut passed = Vec::new();
    for name in &filtered.passed {
        let at = snapshot.position(name).filter(|at| asked.binary_search(at).is_ok());
        passed.push(at.ok_or_else(|| {
            format!("claims a filtered node {name:?} which is not found in the input node list")
        })?);
    }
    passed.sort_unstable();
    passed.dedup();
    let others = asked.iter().filter(|at| passed.binary_search(at).is_err());
    let others = others.map(|at| {
        let name = snapshot.node(*at).name();
        let status = match (filtered.unresolvable.remove(name), filtered.failed.remove(name)) {
            (Some(why), _) => Status::unresolvable(why),
            (None, Some(why)) => Status::unschedulable(why),
            (None, None) => {
                Status::with_reasons(super::Code::UnschedulableAndUnresolvable, Vec::new())
            }
        };
        (*at, status)
    });
    let others = others.collect();
    Ok((passed, others))
}

/// Who has to leave each node, found by the uids that an extender has named.
fn find_victims(
    snapshot: &Snapshot,
    answer: BTreeMap<String, (Vec<String>, usize)>,
) -> Result<BTreeMap<String, NodeVictims>, String> {
    let mut found = BTreeMap::new();
    for (node, (uids, violations)) in answer {
        if uids.is_empty() {
            return Err(format!("expected at least one victim pod on node {node:?}"));
        }
        let Some(info) = snapshot.get(&node) else {
            return Err(format!("names victims on node {node:?}, which is not there"));
        };
        let pods: Result<Vec<Arc<PodInfo>>, String> = uids
            .iter()
            .map(|uid| {
                let pod = info.pods().iter().find(|pod| pod.uid() == uid).cloned();
                pod.ok_or_else(|| {
                    format!(
                        "claims to preempt pod (UID: {uid}) on node: {node}, but the pod is not \
                         found on that node"
                    )
                })
            })
            .collect();
        found.insert(node, NodeVictims { pods: pods?, violations });
    }
    Ok(found)
}

impl Framework {
    /// An error that names profile, extender and pod.
    fn extender_fault(&self, extender: &dyn Extender, pod: &PodInfo, what: &str) -> Status {
        let (profile, name) = (&self.name, extender.name());
        let message =
            format!("profile {profile:?}: extender {name:?}: pod {:?}: {what}", pod.key());
        tracing::error!("{message}");
        Status::error(message)
    }

    /// Asks one, whose panic is an error.
    async fn ask<T>(
        &self,
        extender: &Arc<dyn Extender>,
        pod: &PodInfo,
        answer: impl Future<Output = Result<T, super::ExtenderError>>,
    ) -> Result<T, Status> {
        let answer = match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(panic) => Err(super::runtime::panic_text(&*panic)),
        };
        answer.map_err(|why| self.extender_fault(&**extender, pod, &why))
    }

    /// Asks the extenders one after the other about what the one before has left of the nodes,
    /// which are in the snapshot's order.
    pub(crate) async fn filter_by_extenders(
        &self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        nodes: Vec<u32>,
    ) -> Result<Passed, Status> {
        let (mut left, mut rejected) = (nodes, Vec::new());
        for extender in self.extenders.with(pod, |verbs| verbs.filter) {
            if left.is_empty() {
                break;
            }
            let asked = infos(snapshot, &left);
            let answer = self.ask(extender, pod, extender.filter(pod, &asked)).await;
            let answer = answer.and_then(|filtered| {
                sort_out(snapshot, &left, filtered)
                    .map_err(|why| self.extender_fault(&**extender, pod, &why))
            });
            match answer {
                Ok((passed, others)) => {
                    left = passed;
                    rejected.extend(others);
                }
                Err(_) if extender.is_ignorable() => {}
                Err(status) => return Err(status),
            }
        }
        Ok((left, rejected))
    }

    /// Adds what the extenders say to the scores of nodes. One that fails adds nothing, as
    /// upstream does it: it is logged.
    pub(crate) async fn score_by_extenders(
        &self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        nodes: &[u32],
        total: &mut [i64],
    ) {
        let asked = infos(snapshot, nodes);
        let extenders = self.extenders.with(pod, |verbs| verbs.prioritize);
        let answers = extenders
            .into_iter()
            .map(|extender| self.ask(extender, pod, extender.prioritize(pod, &asked)));
        for answer in futures::future::join_all(answers).await {
            for (name, score) in answer.unwrap_or_default() {
                let at = snapshot.position(&name).and_then(|at| nodes.binary_search(&at).ok());
                if let Some(at) = at {
                    total[at] = total[at].saturating_add(score);
                }
            }
        }
    }

    /// Of the nodes on which room can be made, those that the extenders leave.
    pub(crate) async fn preempt_by_extenders(
        &self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        victims: BTreeMap<String, NodeVictims>,
    ) -> Result<BTreeMap<String, NodeVictims>, Status> {
        let mut left = victims;
        for extender in self.extenders.with(pod, |verbs| verbs.preempt) {
            if left.is_empty() {
                break;
            }
            let ignorable = extender.is_ignorable();
            let answer = self.ask(extender, pod, extender.preempt(pod, &left)).await;
            let answer = answer.and_then(|mut answer| {
                if ignorable {
                    // What makes no sense of it is passed over, as the whole of it would be.
                    answer.retain(|_, (uids, _)| !uids.is_empty());
                }
                find_victims(snapshot, answer)
                    .map_err(|why| self.extender_fault(&**extender, pod, &why))
            });
            match answer {
                Ok(answer) => left = answer,
                Err(_) if ignorable => {}
                Err(status) => return Err(status),
            }
        }
        Ok(left)
    }

    /// Lets an extender bind the pod, if one does.
    pub(crate) async fn bind_by_extender(&self, pod: &PodInfo, node: &str) -> Option<Status> {
        for extender in self.extenders.with(pod, |verbs| verbs.bind) {
            match self.ask(extender, pod, extender.bind(pod, node)).await {
                Ok(()) => return Some(Status::success()),
                Err(_) if extender.is_ignorable() => {}
                Err(status) => return Some(status),
            }
        }
        None
    }
}

fn infos(snapshot: &Snapshot, nodes: &[u32]) -> Vec<Arc<NodeInfo>> {
    nodes.iter().map(|at| Arc::clone(&snapshot.nodes()[*at as usize])).collect()
}
