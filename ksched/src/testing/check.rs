//! Holds a plugin to the contracts of the extension points it implements.

use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::clock::Clock;
use kcore::random::Random;

use super::groups::PreFiltered;
use super::{classes, draw_node, draw_pod, groups};
use crate::framework::{
    Action, Candidates, ClusterEvent, CycleState, EventObject, EventResource, Feasible, Framework,
    Handle, Happening, MAX_NODE_SCORE, MIN_NODE_SCORE, PluginFactory, Profile, Status,
};
use crate::offline::NoServer;
use crate::plugins::{DefaultBinder, PrioritySort};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Clusters that a plugin is tried on.
const CLUSTERS: usize = 300;
/// Pods that are there already in each.
const RUNNING: u64 = 12;

/// What a plugin was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Filter answers that were compared.
    pub filters: usize,
    /// Scores that were compared.
    pub scores: usize,
    /// Answers for groups of nodes that were compared with those for their nodes.
    pub groups: usize,
    /// Answers for classes of nodes that were compared with those for their nodes.
    pub classes: usize,
    /// Reservations that were given back.
    pub reservations: usize,
    /// Events that made a pod fit that the plugin had turned away.
    pub events: usize,
}

/// Runs a plugin over seeded clusters, and compares what it says with what it owes:
///
/// * `filter_is_pure`: asked twice, a node gets one answer, and a rejection has a reason
/// * `both_forms_answer_alike`: the form for one node and the form for all of them
/// * `kept_answers_hold`: a filter or scorer that says so with `keeps` answers alike for another
///   pod of the shape, and while other nodes change
/// * `scores_are_in_range`: after normalization
/// * `classes_hold`: what is said of a class of nodes is said of each of them
/// * `groups_hold`: what is said of a group of nodes holds for each of them, and of a group in one
///   state something is said
/// * `unreserve_can_be_repeated`: also without a reservation before it
/// * `hints_are_sound`: an event that made a pod fit was not declared useless
///
/// A point that the plugin does not implement is not asked about; the answer says how much was.
///
/// # Errors
/// Which contract was broken, on which seed, and how.
pub fn check_plugin(
    factory: impl PluginFactory,
    profile: Profile,
    seed: u64,
) -> Result<Checked, String> {
    let name: Arc<str> = factory.name().into();
    let factories: [Arc<dyn PluginFactory>; 3] = [
        Arc::new(crate::framework::plugin_fn("PrioritySort", |_, _| Ok(PrioritySort))),
        Arc::new(factory),
        Arc::new(crate::framework::plugin_fn("DefaultBinder", |_, handle| {
            Ok(DefaultBinder::new(handle))
        })),
    ];
    let random = Random::seeded(seed);
    let client = Arc::new(NoServer);
    let handle = Handle::new(profile.scheduler_name(), client, Clock::system(), random.fork());
    let framework = Framework::new(&profile, &factories, handle).map_err(|e| e.to_string())?;
    let (beside, checked) = (Random::seeded(seed), Checked::default());
    let mut trial = Trial { framework, name, random, beside, checked };
    for cluster in 0..CLUSTERS {
        trial.run().map_err(|broken| format!("seed {seed}, cluster {cluster}: {broken}"))?;
    }
    Ok(trial.checked)
}

struct Trial {
    framework: Framework,
    name: Arc<str>,
    random: Random,
    /// For what is tried beside the drawn clusters.
    beside: Random,
    checked: Checked,
}

/// What PreFilter said of a pod, and Filter of each node.
struct Verdict {
    state: CycleState,
    skipped: bool,
    refused: Option<Status>,
    nodes: Vec<Status>,
}

impl Verdict {
    fn fits(&self) -> Vec<usize> {
        if self.refused.is_some() {
            return Vec::new();
        }
        (0..self.nodes.len()).filter(|at| self.nodes[*at].is_success()).collect()
    }
}

impl Trial {
    fn cluster(&self) -> Vec<NodeInfo> {
        let mut nodes: Vec<NodeInfo> = Vec::new();
        for _ in 0..=self.random.below(6) {
            let node = NodeInfo::new(draw_node(&self.random).build());
            if !nodes.iter().any(|known| known.name() == node.name()) {
                nodes.push(node);
            }
        }
        for at in 0..self.random.below(RUNNING) {
            let on = self.random.below(nodes.len() as u64);
            let Some(node) = nodes.get_mut(usize::try_from(on).unwrap_or_default()) else {
                continue;
            };
            let pod = draw_pod(&self.random).uid(&format!("running-{at}")).on(node.name());
            node.add_pod(Arc::new(pod.info()));
        }
        nodes
    }

    fn judge(&self, pod: &PodInfo, nodes: &Snapshot) -> Result<Verdict, String> {
        let points = &self.framework.points;
        let mut state = CycleState::default();
        let (mut skipped, mut refused) = (false, None);
        for plugged in &points.pre_filter {
            let found = plugged.plugin.pre_filter(&mut state, pod, nodes);
            skipped |= found.status.is_skip();
            if found.status.is_rejected() {
                refused = Some(found.status);
            }
        }
        let mut answers = vec![Status::success(); nodes.len()];
        for plugged in points.filter.iter().filter(|_| !skipped && refused.is_none()) {
            for (at, node) in nodes.nodes().iter().enumerate() {
                let answer = plugged.plugin.filter(&state, pod, node);
                if answer != plugged.plugin.filter(&state, pod, node) {
                    return Err(format!("filter_is_pure: {} gets two answers", node.name()));
                }
                if !answer.is_success() && answer.reasons().is_empty() {
                    return Err(format!("filter_is_pure: {} gets no reason", node.name()));
                }
                answers[at] = answer;
            }
        }
        Ok(Verdict { state, skipped, refused, nodes: answers })
    }

    fn run(&mut self) -> Result<(), String> {
        let nodes = self.cluster();
        let snapshot = Snapshot::new(nodes.clone());
        let pod = draw_pod(&self.random).uid("pod").info();
        let verdict = self.judge(&pod, &snapshot)?;
        self.compare_filters(&pod, &snapshot, &verdict)?;
        self.compare_scores(&pod, &snapshot, verdict.state.clone())?;
        self.compare_classes(&pod, &snapshot, &verdict)?;
        self.keep(&pod, &nodes, &verdict)?;
        self.compare_groups(&pod, &nodes)?;
        self.reserve(&pod, &snapshot)?;
        self.hint(&pod, nodes, &verdict)
    }

    fn compare_filters(
        &mut self,
        pod: &PodInfo,
        nodes: &Snapshot,
        verdict: &Verdict,
    ) -> Result<(), String> {
        if verdict.skipped || verdict.refused.is_some() {
            return Ok(());
        }
        for plugged in &self.framework.points.filter {
            let mut candidates = Candidates::all(nodes.len());
            candidates.begin(&self.name);
            plugged.plugin.filter_nodes(&verdict.state, pod, nodes, &mut candidates);
            let (_, rejected) = candidates.into_parts();
            let mut batch = vec![Status::success(); nodes.len()];
            for (at, _, status) in rejected.iter() {
                batch[at as usize] = status.clone();
            }
            if batch != verdict.nodes {
                let each = &verdict.nodes;
                return Err(format!("both_forms_answer_alike: {each:?}, but together {batch:?}"));
            }
            self.checked.filters += nodes.len();
        }
        Ok(())
    }

    fn compare_classes(
        &mut self,
        pod: &PodInfo,
        nodes: &Snapshot,
        verdict: &Verdict,
    ) -> Result<(), String> {
        let (framework, state) = (&self.framework, &verdict.state);
        if !verdict.skipped && verdict.refused.is_none() {
            self.checked.classes += classes::compare_filters(framework, state, pod, nodes)?;
        }
        self.checked.classes += classes::compare_scores(framework, state.clone(), pod, nodes)?;
        Ok(())
    }

    fn compare_scores(
        &mut self,
        pod: &PodInfo,
        nodes: &Snapshot,
        mut state: CycleState,
    ) -> Result<(), String> {
        let points = &self.framework.points;
        let all: Vec<u32> = (0_u32..).take(nodes.len()).collect();
        let list = || all.clone();
        for plugged in &points.pre_score {
            let feasible = Feasible::new(all.len(), &list);
            if plugged.plugin.pre_score(&mut state, pod, nodes, &feasible).is_skip() {
                return Ok(());
            }
        }
        for (plugged, _) in &points.score {
            let each: Result<Vec<i64>, Status> =
                all.iter().map(|at| plugged.plugin.score(&state, pod, nodes.node(*at))).collect();
            let together = plugged.plugin.score_nodes(&state, pod, nodes, &all);
            if each != together {
                return Err(format!("both_forms_answer_alike: {each:?}, but {together:?}"));
            }
            let Ok(mut scores) = together else { continue };
            if let Some(normalization) = plugged.plugin.keeps() {
                let (mut own, mut said) = (scores.clone(), scores.clone());
                let _ = plugged.plugin.normalize(&state, pod, &mut own);
                normalization.all(&mut said);
                if own != said {
                    return Err(format!("kept_answers_hold: {own:?}, but keeps says {said:?}"));
                }
            }
            let _ = plugged.plugin.normalize(&state, pod, &mut scores);
            let range = MIN_NODE_SCORE..=MAX_NODE_SCORE;
            if let Some(score) = scores.iter().find(|score| !range.contains(score)) {
                return Err(format!("scores_are_in_range: {score}"));
            }
            self.checked.scores += scores.len();
        }
        Ok(())
    }

    /// Another replica, while a node beside has changed.
    fn keep(&self, pod: &PodInfo, nodes: &[NodeInfo], verdict: &Verdict) -> Result<(), String> {
        let points = &self.framework.points;
        if nodes.len() < 2 || verdict.refused.is_some() || verdict.skipped {
            return Ok(());
        }
        let mut changed = nodes.to_vec();
        let extra = draw_pod(&self.random).uid("extra").on(nodes[0].name()).info();
        changed[0].add_pod(Arc::new(extra));
        let (changed, replica) = (Snapshot::new(changed), pod.replica("replica"));
        let again = self.judge(&replica, &changed)?;
        let kept = points.filter.iter().all(|plugged| plugged.plugin.keeps());
        if kept && !again.skipped && again.nodes[1..] != verdict.nodes[1..] {
            let (before, after) = (&verdict.nodes[1..], &again.nodes[1..]);
            return Err(format!("kept_answers_hold: {before:?}, and then {after:?}"));
        }
        for (plugged, _) in points.score.iter().filter(|(p, _)| p.plugin.keeps().is_some()) {
            for (at, node) in changed.nodes().iter().enumerate().skip(1) {
                let before = plugged.plugin.score(&verdict.state, pod, &nodes[at]);
                let after = plugged.plugin.score(&again.state, &replica, node);
                if before != after {
                    return Err(format!("kept_answers_hold: {before:?}, and then {after:?}"));
                }
            }
        }
        Ok(())
    }

    /// Some nodes of one shape, with other pods on each.
    fn compare_groups(&mut self, pod: &PodInfo, nodes: &[NodeInfo]) -> Result<(), String> {
        let mut group: Vec<NodeInfo> = nodes.iter().take(1).cloned().collect();
        for at in 0..4 {
            let Some(mut node) = group.last().cloned() else { return Ok(()) };
            let extra = draw_pod(&self.beside).uid(&format!("extra-{at}")).on(node.name());
            node.add_pod(Arc::new(extra.info()));
            if node.is_like(&group[0]) {
                group.push(node);
            }
        }
        let group = Snapshot::new(group);
        let verdict = self.judge(pod, &group)?;
        if verdict.refused.is_none() {
            let how = if verdict.skipped { PreFiltered::Skipped } else { PreFiltered::Asked };
            self.checked.groups +=
                groups::compare(&self.framework, verdict.state, pod, &group, how)?;
        }
        Ok(())
    }

    fn reserve(&mut self, pod: &PodInfo, nodes: &Snapshot) -> Result<(), String> {
        let Some(node) = nodes.nodes().first() else { return Ok(()) };
        for plugged in &self.framework.points.reserve {
            let mut state = CycleState::default();
            let mut calls = || {
                plugged.plugin.unreserve(&mut state, pod, node.name());
                let _ = plugged.plugin.reserve(&mut state, pod, node.name());
                plugged.plugin.unreserve(&mut state, pod, node.name());
                plugged.plugin.unreserve(&mut state, pod, node.name());
                Ok(())
            };
            let guarded = self.framework.guard(&plugged.name, pod, &mut calls);
            guarded.map_err(|status| format!("unreserve_can_be_repeated: {status}"))?;
            self.checked.reservations += 1;
        }
        Ok(())
    }

    /// Something happens. If the pod fits then, the event must not have been declared useless.
    fn hint(
        &mut self,
        pod: &PodInfo,
        nodes: Vec<NodeInfo>,
        before: &Verdict,
    ) -> Result<(), String> {
        if before.skipped || !before.fits().is_empty() {
            return Ok(());
        }
        let (after, what) = self.happen(nodes);
        let Some(what) = what else { return Ok(()) };
        if after.is_empty() || self.judge(pod, &after)?.fits().is_empty() {
            return Ok(());
        }
        self.checked.events += 1;
        let plugins: BTreeSet<Arc<str>> = [Arc::clone(&self.name)].into();
        if self.framework.may_help(pod, &plugins, &what) {
            return Ok(());
        }
        let (pod, event) = (pod.pod(), what.event);
        Err(format!("hints_are_sound: {event:?} helped {pod:?} and was declared useless"))
    }

    fn happen(&self, mut nodes: Vec<NodeInfo>) -> (Snapshot, Option<Happening>) {
        let happening = |resource, action, old, new| {
            Some(Happening { event: ClusterEvent::new(resource, action), old, new })
        };
        let at = usize::try_from(self.random.below(nodes.len() as u64)).unwrap_or_default();
        let what = match self.random.below(3) {
            0 => {
                let node = draw_node(&self.random).build();
                match nodes
                    .iter_mut()
                    .find(|known| Some(known.name()) == node.metadata.name.as_deref())
                {
                    // Another state of a node that is there: anything about it may be another.
                    Some(known) => {
                        let old = Some(EventObject::Node(Arc::clone(known.node())));
                        known.set_node(Arc::clone(&node));
                        let new = Some(EventObject::Node(node));
                        happening(EventResource::Node, Action::UPDATE, old, new)
                    }
                    None => {
                        nodes.push(NodeInfo::new(Arc::clone(&node)));
                        let new = Some(EventObject::Node(node));
                        happening(EventResource::Node, Action::ADD, None, new)
                    }
                }
            }
            1 => {
                let leaving = nodes[at].pods().iter().next().cloned();
                leaving.and_then(|pod| {
                    nodes[at].remove_pod(pod.uid());
                    let old = Some(EventObject::Pod(pod));
                    happening(EventResource::AssignedPod, Action::DELETE, old, None)
                })
            }
            _ => {
                let come = draw_pod(&self.random).uid("come").on(nodes[at].name()).info();
                let come = Arc::new(come);
                let new = Some(EventObject::Pod(Arc::clone(&come)));
                nodes[at].add_pod(come);
                happening(EventResource::AssignedPod, Action::ADD, None, new)
            }
        };
        (Snapshot::new(nodes), what)
    }
}
