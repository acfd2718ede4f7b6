//! The scheduling cycle: from a pod and a snapshot to a node, or to the reasons why there is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::random::Random;

use crate::framework::{
    Candidates, Code, CycleState, Diagnosis, Effect, Framework, MAX_NODE_SCORE, MIN_NODE_SCORE,
    Status,
};
use crate::queue::Nominator;
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Nodes that are kept for pods of at least the priority of the one to schedule.
pub type Kept = Vec<(u32, Vec<Arc<PodInfo>>)>;

/// A node was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The node.
    pub node: String,
    /// What the plugins noted.
    pub state: CycleState,
    /// How many nodes could have taken the pod.
    pub feasible: usize,
    /// The weighted sum of the node's scores; zero if there was no choice.
    pub score: i64,
}

/// No node was found.
#[non_exhaustive]
pub struct Unplaced {
    /// What was said of the nodes.
    pub diagnosis: Diagnosis,
    /// A rejection if the pod does not fit, or the error that ended the cycle.
    pub status: Status,
    /// The node that is to be kept for the pod.
    pub nominated: Option<String>,
    /// What has to be done for that.
    pub effect: Option<Effect>,
}

impl std::fmt::Debug for Unplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unplaced")
            .field("status", &self.status)
            .field("diagnosis", &self.diagnosis)
            .finish_non_exhaustive()
    }
}

impl Unplaced {
    /// What the pod's owner is told.
    #[must_use]
    pub fn message(&self) -> String {
        if self.status.is_rejected() { self.diagnosis.message() } else { self.status.message() }
    }

    fn error(status: Status) -> Box<Self> {
        let diagnosis = Diagnosis::default();
        Box::new(Self { diagnosis, status, nominated: None, effect: None })
    }
}

/// The nodes that are kept for others of at least this pod's priority.
#[must_use]
pub fn kept(nominated: &Nominator, snapshot: &Snapshot, pod: &PodInfo) -> Kept {
    let others = nominated.nodes().filter_map(|(node, pods)| {
        let ahead =
            |other: &&Arc<PodInfo>| other.uid() != pod.uid() && other.priority() >= pod.priority();
        let pods: Vec<Arc<PodInfo>> = pods.iter().filter(ahead).cloned().collect();
        let at = snapshot.position(node)?;
        (!pods.is_empty()).then_some((at, pods))
    });
    others.collect()
}

/// Chooses a node: filters and scores every node of the snapshot. Pure but for the draw among
/// the best.
///
/// # Errors
/// Why there is no node.
pub fn schedule(
    framework: &Framework,
    snapshot: &Snapshot,
    kept: &Kept,
    pod: &PodInfo,
    random: &Random,
) -> Result<Placement, Box<Unplaced>> {
    let mut cycle =
        Cycle { framework, snapshot, pod, state: CycleState::default(), skipped: BTreeSet::new() };
    let feasible = match cycle.filter(kept) {
        Ok(feasible) => feasible,
        Err(Stop::Error(status)) => return Err(Unplaced::error(status)),
        Err(Stop::Unschedulable(diagnosis)) => return Err(cycle.post_filter(*diagnosis)),
    };
    let scores = if feasible.len() == 1 {
        vec![0]
    } else {
        cycle.score(&feasible).map_err(Unplaced::error)?
    };
    let (at, score) = best(&scores, random);
    let node = snapshot.node(feasible[at]).name().to_owned();
    Ok(Placement { node, state: cycle.state, feasible: feasible.len(), score })
}

/// One of the highest scores, each as likely as the other, with one draw.
fn best(scores: &[i64], random: &Random) -> (usize, i64) {
    let highest = scores.iter().copied().max().unwrap_or_default();
    let ties = scores.iter().filter(|score| **score == highest).count();
    let drawn = if ties > 1 { random.below(ties as u64) } else { 0 };
    let mut seen = 0;
    let at = scores.iter().position(|score| {
        seen += u64::from(*score == highest);
        seen > drawn
    });
    (at.unwrap_or_default(), highest)
}

enum Stop {
    Error(Status),
    Unschedulable(Box<Diagnosis>),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Error(status)
    }
}

struct Cycle<'a> {
    framework: &'a Framework,
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
    state: CycleState,
    /// The plugins whose PreFilter had nothing to say.
    skipped: BTreeSet<Arc<str>>,
}

impl Cycle<'_> {
    /// The nodes that can take the pod: at least one.
    fn filter(&mut self, kept: &Kept) -> Result<Vec<u32>, Stop> {
        let mut diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        if self.snapshot.is_empty() {
            // Nobody in particular turned it away: any event may help.
            diagnosis.blame(&Arc::from(""), Code::Unschedulable);
            return Err(Stop::Unschedulable(Box::new(diagnosis)));
        }
        let narrowed = self.pre_filter(&mut diagnosis)?;
        let mut candidates = match &narrowed {
            None => Candidates::all(self.snapshot.len()),
            Some((nodes, _)) => {
                let mut at: Vec<u32> =
                    nodes.iter().filter_map(|node| self.snapshot.position(node)).collect();
                at.sort_unstable();
                Candidates::of(at)
            }
        };
        for plugged in &self.framework.points.filter {
            if self.skipped.contains(&plugged.name) || candidates.feasible().is_empty() {
                continue;
            }
            candidates.begin(&plugged.name);
            self.framework.guard(&plugged.name, self.pod, || {
                let (state, pod) = (&self.state, self.pod);
                plugged.plugin.filter_nodes(state, pod, self.snapshot, &mut candidates);
                Ok(())
            })?;
            if let Some(status) = candidates.failed() {
                return Err(self.failed(&plugged.name, &status).into());
            }
        }
        self.filter_kept(kept, &mut candidates)?;
        let (feasible, rejected) = candidates.into_parts();
        if !feasible.is_empty() {
            return Ok(feasible);
        }
        diagnosis.rejected = rejected;
        if let Some((nodes, plugins)) = narrowed {
            self.rest(&nodes, &plugins, &mut diagnosis);
        }
        for (at, plugin, status) in std::mem::take(&mut diagnosis.rejected) {
            diagnosis.blame(&plugin, status.code());
            diagnosis.rejected.push((at, plugin, status));
        }
        Err(Stop::Unschedulable(Box::new(diagnosis)))
    }

    /// What PreFilter plugins say, and the nodes that they narrow the choice to.
    #[allow(clippy::type_complexity, reason = "nodes and plugins, read once by the caller")]
    fn pre_filter(
        &mut self,
        diagnosis: &mut Diagnosis,
    ) -> Result<Option<(BTreeSet<String>, BTreeSet<Arc<str>>)>, Stop> {
        let mut narrowed: Option<(BTreeSet<String>, BTreeSet<Arc<str>>)> = None;
        for plugged in &self.framework.points.pre_filter {
            let (state, name) = (&mut self.state, &plugged.name);
            let found = self.framework.guard(name, self.pod, || {
                Ok(plugged.plugin.pre_filter(state, self.pod, self.snapshot))
            })?;
            let status = found.status;
            if status.is_skip() {
                self.skipped.insert(Arc::clone(name));
            } else if status.is_rejected() {
                diagnosis.blame(name, status.code());
                diagnosis.pre_filter = Some(status);
                return Err(Stop::Unschedulable(Box::new(diagnosis.clone())));
            } else if !status.is_success() {
                return Err(self.failed(name, &status).into());
            }
            if let Some(nodes) = found.nodes {
                let (known, plugins) = narrowed.get_or_insert_with(|| (nodes.clone(), [].into()));
                known.retain(|node| nodes.contains(node));
                plugins.insert(Arc::clone(name));
            }
        }
        Ok(narrowed)
    }

    /// The nodes that were never looked at, as the pod names others.
    fn rest(
        &self,
        nodes: &BTreeSet<String>,
        plugins: &BTreeSet<Arc<str>>,
        diagnosis: &mut Diagnosis,
    ) {
        let names: Vec<&str> = plugins.iter().map(|name| &**name).collect();
        let reason = format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "));
        let status = Status::unresolvable(reason);
        let others = self.snapshot.nodes().iter().enumerate();
        let Some(first) = plugins.first() else { return };
        for (at, _) in others.filter(|(_, node)| !nodes.contains(node.name())) {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            diagnosis.rejected.push((at, Arc::clone(first), status.clone()));
        }
        for plugin in plugins {
            diagnosis.blame(plugin, Code::UnschedulableAndUnresolvable);
        }
    }

    /// A node that is kept for others must take this pod also with them.
    fn filter_kept(&self, kept: &Kept, candidates: &mut Candidates) -> Result<(), Stop> {
        for (at, others) in kept {
            if candidates.feasible().binary_search(at).is_err() {
                continue;
            }
            let mut state = self.state.clone();
            let mut node = self.snapshot.node(*at).clone();
            for other in others {
                node.add_pod(Arc::clone(other));
                self.extend(&mut state, other, &node)?;
            }
            for plugged in &self.framework.points.filter {
                if self.skipped.contains(&plugged.name) {
                    continue;
                }
                let status = self.framework.guard(&plugged.name, self.pod, || {
                    Ok(plugged.plugin.filter(&state, self.pod, &node))
                })?;
                candidates.begin(&plugged.name);
                candidates.retain(
                    |each| {
                        if each == *at { status.clone() } else { Status::success() }
                    },
                );
                if let Some(status) = candidates.failed() {
                    return Err(self.failed(&plugged.name, &status).into());
                }
                if !status.is_success() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn extend(&self, state: &mut CycleState, other: &PodInfo, node: &NodeInfo) -> Result<(), Stop> {
        for plugged in &self.framework.points.pre_filter {
            let Some(extensions) = plugged.plugin.extensions() else { continue };
            if self.skipped.contains(&plugged.name) {
                continue;
            }
            let status = self.framework.guard(&plugged.name, self.pod, || {
                Ok(extensions.add_pod(state, self.pod, other, node))
            })?;
            if !status.is_success() {
                return Err(self.failed(&plugged.name, &status).into());
            }
        }
        Ok(())
    }

    fn post_filter(&self, mut diagnosis: Diagnosis) -> Box<Unplaced> {
        let mut unplaced = Unplaced::error(Status::unschedulable(""));
        let mut messages = Vec::new();
        for plugged in &self.framework.points.post_filter {
            let found = self.framework.guard(&plugged.name, self.pod, || {
                Ok(plugged.plugin.post_filter(&self.state, self.pod, self.snapshot, &diagnosis))
            });
            let found = match found {
                Ok(found) => found,
                Err(status) => return Unplaced::error(status),
            };
            if found.status.is_success() {
                unplaced.nominated = found.nominated_node;
                unplaced.effect = found.effect;
                break;
            }
            if found.status.code() == Code::Error {
                return Unplaced::error(self.failed(&plugged.name, &found.status));
            }
            messages.push(found.status.message());
        }
        messages.retain(|message| !message.is_empty());
        diagnosis.post_filter = messages.join(". ");
        unplaced.diagnosis = diagnosis;
        unplaced
    }

    /// The weighted scores of the feasible nodes.
    fn score(&mut self, feasible: &[u32]) -> Result<Vec<i64>, Status> {
        let mut skipped: BTreeSet<Arc<str>> = BTreeSet::new();
        for plugged in &self.framework.points.pre_score {
            let (state, name) = (&mut self.state, &plugged.name);
            let status = self.framework.guard(name, self.pod, || {
                Ok(plugged.plugin.pre_score(state, self.pod, self.snapshot, feasible))
            })?;
            if status.is_skip() {
                skipped.insert(Arc::clone(name));
            } else if !status.is_success() {
                return Err(self.failed(name, &status));
            }
        }
        let mut total = vec![0_i64; feasible.len()];
        for (plugged, weight) in &self.framework.points.score {
            let name = &plugged.name;
            if skipped.contains(name) {
                continue;
            }
            let scores = self.framework.guard(name, self.pod, || {
                let (state, plugin) = (&self.state, &plugged.plugin);
                let scored = plugin.score_nodes(state, self.pod, self.snapshot, feasible);
                let mut scores = scored.map_err(|status| self.failed(name, &status))?;
                let status = plugin.normalize(state, self.pod, &mut scores);
                if status.is_success() { Ok(scores) } else { Err(self.failed(name, &status)) }
            })?;
            self.check(name, &scores, feasible.len())?;
            for (sum, score) in total.iter_mut().zip(scores) {
                *sum += score * weight;
            }
        }
        Ok(total)
    }

    fn check(&self, plugin: &str, scores: &[i64], expected: usize) -> Result<(), Status> {
        if scores.len() != expected {
            let what = format!("returned {} scores for {expected} nodes", scores.len());
            return Err(self.framework.fault(plugin, self.pod, &what));
        }
        let range = MIN_NODE_SCORE..=MAX_NODE_SCORE;
        let Some(score) = scores.iter().find(|score| !range.contains(score)) else {
            return Ok(());
        };
        let what = format!(
            "returns an invalid score {score}, it should in the range of \
             [{MIN_NODE_SCORE}, {MAX_NODE_SCORE}] after normalizing"
        );
        Err(self.framework.fault(plugin, self.pod, &what))
    }

    /// An error that a plugin returned, with its name. A rejection where none is due is one too.
    fn failed(&self, plugin: &str, status: &Status) -> Status {
        self.framework.fault(plugin, self.pod, &status.message())
    }
}
