//! The scheduling cycle: from a pod and a snapshot to a node, or to the reasons why there is none.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::random::Random;

use super::engine::{Asked, Engine, Entry, Groups, Passed};
use super::explain::Explanation;
use crate::framework::{
    Candidates, Code, CycleState, Diagnosis, Effect, Feasible, Filters, Framework, MAX_NODE_SCORE,
    MIN_NODE_SCORE, Proposal, Rejections, Status,
};
pub use crate::queue::Kept;
use crate::snapshot::{PodInfo, Snapshot};

/// A node was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The node.
    pub node: Arc<str>,
    /// Where it is in the snapshot.
    pub position: u32,
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
    /// The pods that this makes leave, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// What extenders have to be asked first.
    pub(super) proposal: Option<Proposal>,
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

    pub(super) fn error(status: Status) -> Box<Self> {
        let diagnosis = Diagnosis::default();
        let (nominated, effect, victims, proposal) = (None, None, Vec::new(), None);
        Box::new(Self { diagnosis, status, nominated, effect, victims, proposal })
    }
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
    Cycle::new(framework, snapshot, pod).run(Memory::None, kept, random)
}

/// The same, with what an engine remembers of pods like this one. The answer is the same.
///
/// # Errors
/// Why there is no node.
pub fn schedule_with(
    engine: &mut Engine,
    framework: &Framework,
    snapshot: &Snapshot,
    kept: &Kept,
    pod: &PodInfo,
    random: &Random,
) -> Result<Placement, Box<Unplaced>> {
    // The signature leaves the node's name out.
    let signature = pod.template().signature().filter(|_| pod.node_name().is_empty());
    let known = signature.and_then(|signature| Some((signature, engine.take(signature)?)));
    let cycle = Cycle::new(framework, snapshot, pod);
    let Some((signature, mut entry)) = known else {
        let groups = if pod.node_name().is_empty() { engine.groups(snapshot) } else { None };
        return cycle.run(groups.map_or(Memory::None, Memory::Groups), kept, random);
    };
    let outcome = cycle.run(Memory::Entry(&mut entry), kept, random);
    engine.put(signature, entry);
    outcome
}

/// What is remembered of earlier pods.
pub(super) enum Memory<'a> {
    None,
    /// What was said for pods of the same signature.
    Entry(&'a mut Entry),
    /// The nodes in groups.
    Groups(&'a Groups),
}

impl Memory<'_> {
    fn entry(&mut self) -> Option<&mut Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::None | Self::Groups(_) => None,
        }
    }
}

/// One of the highest scores, each as likely as the other, with one draw.
pub(super) fn best(scores: &[i64], random: &Random) -> (usize, i64) {
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

/// No node took the pod: whoever turned one away waits for events that may help.
fn refused(mut diagnosis: Diagnosis) -> Box<Diagnosis> {
    let kinds = diagnosis.rejected.kinds();
    let blamed: Vec<(Arc<str>, Code)> =
        kinds.map(|(plugin, status, _)| (Arc::clone(plugin), status.code())).collect();
    for (plugin, code) in blamed {
        diagnosis.blame(&plugin, code);
    }
    diagnosis.rejected.sort();
    Box::new(diagnosis)
}

pub(super) enum Stop {
    Error(Status),
    Unschedulable(Box<Diagnosis>),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Error(status)
    }
}

pub(super) struct Cycle<'a> {
    framework: &'a Framework,
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
    state: CycleState,
    /// The plugins whose PreFilter had nothing to say.
    skipped: BTreeSet<Arc<str>>,
    /// The nodes that were turned away while others were not.
    pub(super) turned_away: Cell<Rejections>,
    /// The only nodes that could be meant, where some of them were feasible.
    pub(super) narrowed: Option<Narrowed>,
}

/// The only nodes that can be meant, and which plugins say so.
pub(super) type Narrowed = (BTreeSet<String>, BTreeSet<Arc<str>>);

/// The nodes that can take the pod.
pub(super) enum Found<'a> {
    /// All that the entry has.
    Kept,
    /// Those of some groups.
    Grouped(Passed<'a>),
    /// These.
    List(Vec<u32>),
}

impl<'a> Cycle<'a> {
    pub(super) fn new(framework: &'a Framework, snapshot: &'a Snapshot, pod: &'a PodInfo) -> Self {
        let (state, skipped) = (CycleState::default(), BTreeSet::new());
        let (turned_away, narrowed) = (Cell::default(), None);
        Self { framework, snapshot, pod, state, skipped, turned_away, narrowed }
    }

    /// What the plugins noted for the node that was chosen.
    pub(super) fn into_state(mut self) -> CycleState {
        self.state.chosen();
        self.state
    }

    /// What is said of every node, and the scores of those that could take the pod.
    pub(super) fn explain(mut self, kept: &Kept) -> Result<Explanation, Status> {
        let mut explanation = Explanation::new(self.snapshot);
        let list = match self.filter(&mut Memory::None, kept) {
            Ok(Found::List(list)) => list,
            Ok(Found::Kept | Found::Grouped(_)) => Vec::new(),
            Err(Stop::Error(status)) => return Err(status),
            Err(Stop::Unschedulable(diagnosis)) => {
                explanation.rejected(&diagnosis);
                return Ok(explanation);
            }
        };
        explanation
            .rejected(&Diagnosis { rejected: self.turned_away.take(), ..Diagnosis::default() });
        let positions = || list.clone();
        let skipped = self.pre_score(&Feasible::new(list.len(), &positions))?;
        for at in self.scorers(&skipped) {
            let (plugged, weight) = &self.framework.points.score[at];
            let mut scores = vec![0; list.len()];
            self.score(&list, &[at], &mut scores)?;
            for (at, score) in list.iter().zip(scores) {
                explanation.scored(*at, &plugged.name, score / weight, *weight);
            }
        }
        Ok(explanation)
    }

    fn run(
        mut self,
        mut memory: Memory<'_>,
        kept: &Kept,
        random: &Random,
    ) -> Result<Placement, Box<Unplaced>> {
        match self.nominated(kept) {
            Ok(None) => {}
            Ok(Some(at)) => {
                self.state.chosen();
                let node = self.snapshot.node(at).shared_name();
                let (state, score) = (self.state, 0);
                return Ok(Placement { node, position: at, state, feasible: 1, score });
            }
            Err(Stop::Error(status)) => return Err(Unplaced::error(status)),
            Err(Stop::Unschedulable(_)) => {}
        }
        (self.state, self.skipped) = (CycleState::default(), BTreeSet::new());
        let found = match self.filter(&mut memory, kept) {
            Ok(found) => found,
            Err(Stop::Error(status)) => return Err(Unplaced::error(status)),
            Err(Stop::Unschedulable(diagnosis)) => return Err(self.post_filter(*diagnosis, kept)),
        };
        let chosen = self.choose(memory.entry(), found, random);
        let (at, score, feasible) = chosen.map_err(Unplaced::error)?;
        self.state.chosen();
        let node = self.snapshot.node(at).shared_name();
        Ok(Placement { node, position: at, state: self.state, feasible, score })
    }

    /// The best of the feasible nodes, its score, and how many there were.
    fn choose(
        &mut self,
        mut entry: Option<&mut Entry>,
        found: Found<'_>,
        random: &Random,
    ) -> Result<(u32, i64, usize), Status> {
        let list = match (found, &mut entry) {
            (Found::Grouped(passed), _) => return self.choose_grouped(&passed, random),
            (Found::List(list), _) => list,
            (Found::Kept, None) => Vec::new(),
            (Found::Kept, Some(entry)) => {
                if let Some(chosen) = self.choose_kept(entry, random)? {
                    return Ok(chosen);
                }
                entry.placed()
            }
        };
        if let [only] = list.as_slice() {
            return Ok((*only, 0, 1));
        }
        let positions = || list.clone();
        let skipped = self.pre_score(&Feasible::new(list.len(), &positions))?;
        let mut total = vec![0; list.len()];
        let mut asking = self.scorers(&skipped);
        if let Some(entry) = entry {
            let (keeping, others) = self.split(asking);
            total = entry.totals(self.asked(), &self.state, &keeping, &list)?;
            asking = others;
        }
        self.score(&list, &asking, &mut total)?;
        let (at, score) = best(&total, random);
        Ok((list[at], score, list.len()))
    }

    /// The same by classes of nodes; `None` if a scorer has to be asked about each node.
    fn choose_kept(
        &mut self,
        entry: &mut Entry,
        random: &Random,
    ) -> Result<Option<(u32, i64, usize)>, Status> {
        let len = entry.feasible();
        let skipped = {
            let positions = || entry.placed();
            self.pre_score(&Feasible::in_classes(len, &positions))?
        };
        let (keeping, asking) = self.split(self.scorers(&skipped));
        let asked = self.asked();
        let below = |below| random.below(below);
        let drawn = entry.draw(asked, &mut self.state, [&keeping, &asking], below)?;
        // A choice of one is none.
        Ok(drawn.map(|(at, score)| (at, if len == 1 { 0 } else { score }, len)))
    }

    /// The nodes that pass all filters by their groups, if that is known and there are any.
    fn grouped<'m>(
        &self,
        memory: &Memory<'m>,
        kept: &Kept,
        filters: &[usize],
    ) -> Result<Option<Passed<'m>>, Status> {
        let Memory::Groups(groups) = memory else { return Ok(None) };
        // Nodes that are kept for others are not like those of their group.
        if kept.positions(self.pod).next().is_some() {
            return Ok(None);
        }
        let passed = groups.filter(self.asked(), &self.state, filters)?;
        Ok(passed.filter(|passed| passed.len() > 0))
    }

    /// The same as [`choose`](Self::choose) of nodes in groups.
    fn choose_grouped(
        &mut self,
        passed: &Passed<'_>,
        random: &Random,
    ) -> Result<(u32, i64, usize), Status> {
        let (len, asked, state) = (passed.len(), self.asked(), self.state.clone());
        // The filters were asked a moment ago: what they say is known.
        let positions = || passed.positions(asked, &state).ok().flatten().unwrap_or_default();
        if len == 1 {
            return Ok((positions().first().copied().unwrap_or_default(), 0, 1));
        }
        let feasible = Feasible::new(len, &positions);
        let skipped = self.pre_score(&feasible)?;
        let (keeping, asking) = self.split(self.scorers(&skipped));
        if asking.is_empty() {
            let below = |below| random.below(below);
            if let Some((at, score)) = passed.draw(asked, &self.state, &keeping, below)? {
                return Ok((at, score, len));
            }
        }
        let list = feasible.positions();
        let mut total = vec![0; list.len()];
        for scorers in [keeping, asking] {
            self.score(list, &scorers, &mut total)?;
        }
        let (at, score) = best(&total, random);
        Ok((list[at], score, len))
    }

    fn asked(&self) -> Asked<'a> {
        let (framework, nodes, pod) = (self.framework, self.snapshot, self.pod);
        Asked { framework, nodes, pod, beside: None }
    }

    /// The nodes that can take the pod: at least one.
    pub(super) fn filter<'m>(
        &mut self,
        memory: &mut Memory<'m>,
        kept: &Kept,
    ) -> Result<Found<'m>, Stop> {
        let mut diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        if self.snapshot.is_empty() {
            // Nobody in particular turned it away: any event may help.
            diagnosis.blame(&Arc::from(""), Code::Unschedulable);
            return Err(Stop::Unschedulable(Box::new(diagnosis)));
        }
        let narrowed = self.pre_filter(&mut diagnosis)?;
        let active: Vec<usize> = (0..self.framework.points.filter.len())
            .filter(|at| !self.skipped.contains(&self.framework.points.filter[*at].name))
            .collect();
        let (mut candidates, rest) = match (&narrowed, memory) {
            (None, Memory::Entry(entry)) => {
                let keeps = |at: &&usize| self.framework.points.filter[**at].plugin.keeps();
                let keeping: Vec<usize> = active.iter().take_while(keeps).copied().collect();
                let rest = active[keeping.len()..].to_vec();
                let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
                let beside = rest.is_empty().then_some(filters);
                entry.filter(Asked { beside, ..self.asked() }, &self.state, &keeping)?;
                // Nodes that are kept for others are not like those of their class.
                let alike = rest.is_empty() || kept.positions(self.pod).next().is_none();
                if alike && entry.place(self.asked(), &self.state, &rest)?.unwrap_or(0) > 0 {
                    return Ok(Found::Kept);
                }
                if rest.is_empty() {
                    diagnosis.rejected = entry.rejections();
                    return Err(Stop::Unschedulable(refused(diagnosis)));
                }
                (Candidates::begun(entry.positions(), entry.rejections()), rest)
            }
            (Some((nodes, _)), _) => (self.named(nodes), active),
            (None, memory) => {
                if let Some(passed) = self.grouped(memory, kept, &active)? {
                    return Ok(Found::Grouped(passed));
                }
                (Candidates::all(self.snapshot.len()), active)
            }
        };
        for at in rest {
            self.ask(at, &mut candidates)?;
        }
        self.filter_kept(kept, &mut candidates)?;
        let (feasible, rejected) = candidates.into_parts();
        if !feasible.is_empty() {
            self.turned_away.set(rejected);
            self.narrowed = narrowed;
            return Ok(Found::List(feasible));
        }
        Err(Stop::Unschedulable(self.unschedulable(diagnosis, rejected, narrowed)))
    }

    /// Why no node can take the pod.
    pub(super) fn unschedulable(
        &self,
        mut diagnosis: Diagnosis,
        rejected: Rejections,
        narrowed: Option<Narrowed>,
    ) -> Box<Diagnosis> {
        diagnosis.rejected = rejected;
        if let Some((nodes, plugins)) = narrowed {
            self.rest(&nodes, &plugins, &mut diagnosis);
        }
        refused(diagnosis)
    }

    /// The nodes of these names.
    fn named(&self, names: &BTreeSet<String>) -> Candidates {
        let positions = names.iter().filter_map(|node| self.snapshot.position(node));
        let mut positions: Vec<u32> = positions.collect();
        positions.sort_unstable();
        Candidates::of(positions)
    }

    /// Asks one filter about all candidates.
    fn ask(&self, at: usize, candidates: &mut Candidates) -> Result<(), Stop> {
        let plugged = &self.framework.points.filter[at];
        if candidates.feasible().is_empty() {
            return Ok(());
        }
        candidates.begin(&plugged.name);
        self.framework.guard(&plugged.name, self.pod, || {
            plugged.plugin.filter_nodes(&self.state, self.pod, self.snapshot, candidates);
            Ok(())
        })?;
        match candidates.failed() {
            Some(status) => Err(self.failed(&plugged.name, &status).into()),
            None => Ok(()),
        }
    }

    fn pre_filter(&mut self, diagnosis: &mut Diagnosis) -> Result<Option<Narrowed>, Stop> {
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
            diagnosis.rejected.push(at, first, status.clone());
        }
        for plugin in plugins {
            diagnosis.blame(plugin, Code::UnschedulableAndUnresolvable);
        }
    }

    /// A node that is kept for others must take this pod also with them.
    fn filter_kept(&self, kept: &Kept, candidates: &mut Candidates) -> Result<(), Stop> {
        if candidates.feasible().is_empty() {
            return Ok(());
        }
        let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
        let mut rejected = Vec::new();
        for at in kept.positions(self.pod).filter(|at| candidates.has(*at)) {
            let others = kept.at(at, self.pod);
            let answer = filters.with(&self.state, self.snapshot.node(at), &others);
            let Err((plugin, status)) = answer else { continue };
            if !status.is_rejected() {
                return Err(self.failed(&plugin, &status).into());
            }
            rejected.push((at, plugin, status));
        }
        candidates.reject(rejected);
        Ok(())
    }

    /// The node that others made room on for this pod, if it fits there by now: there is no need
    /// to look at others, and it would be a pity to.
    pub(super) fn nominated(&mut self, kept: &Kept) -> Result<Option<u32>, Stop> {
        let Some(own) = kept.own().filter(|own| (*own as usize) < self.snapshot.len()) else {
            return Ok(None);
        };
        let mut diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        match self.pre_filter(&mut diagnosis) {
            Ok(narrowed) => {
                let name = self.snapshot.node(own).name();
                if narrowed.is_some_and(|(nodes, _)| !nodes.contains(name)) {
                    return Ok(None);
                }
            }
            Err(Stop::Unschedulable(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
        let others = kept.at(own, self.pod);
        let fits = filters.fits(&self.state, self.snapshot.node(own), &others).is_success();
        Ok(fits.then_some(own))
    }

    pub(super) fn post_filter(&self, mut diagnosis: Diagnosis, kept: &Kept) -> Box<Unplaced> {
        let mut unplaced = Unplaced::error(Status::unschedulable(""));
        let mut messages = Vec::new();
        let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
        for plugged in &self.framework.points.post_filter {
            let found = self.framework.guard(&plugged.name, self.pod, || {
                let (state, nodes) = (&self.state, self.snapshot);
                Ok(plugged.plugin.post_filter(state, self.pod, nodes, &diagnosis, &filters))
            });
            let found = match found {
                Ok(found) => found,
                Err(status) => return Unplaced::error(status),
            };
            if found.nominated_node.is_some() {
                unplaced.nominated = found.nominated_node;
            }
            if found.effect.is_some() {
                (unplaced.effect, unplaced.victims) = (found.effect, found.victims);
            }
            unplaced.proposal = found.proposal;
            if found.status.is_success() {
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

    /// Asks PreScore; the plugins that have nothing to say.
    pub(super) fn pre_score(
        &mut self,
        feasible: &Feasible<'_>,
    ) -> Result<BTreeSet<Arc<str>>, Status> {
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
        Ok(skipped)
    }

    /// The numbers of the scorers that have something to say.
    pub(super) fn scorers(&self, skipped: &BTreeSet<Arc<str>>) -> Vec<usize> {
        let all = &self.framework.points.score;
        (0..all.len()).filter(|at| !skipped.contains(&all[*at].0.name)).collect()
    }

    /// Tells apart the scorers whose scores are kept from the others.
    fn split(&self, scorers: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let all = &self.framework.points.score;
        scorers.into_iter().partition(|at| all[*at].0.plugin.keeps().is_some())
    }

    /// Adds the weighted scores of these scorers.
    pub(super) fn score(
        &self,
        feasible: &[u32],
        asked: &[usize],
        total: &mut [i64],
    ) -> Result<(), Status> {
        for at in asked {
            let (plugged, weight) = &self.framework.points.score[*at];
            let name = &plugged.name;
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
        Ok(())
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
        Err(self.framework.invalid_score(plugin, self.pod, *score))
    }

    /// An error that a plugin returned, with its name. A rejection where none is due is one too.
    fn failed(&self, plugin: &str, status: &Status) -> Status {
        self.framework.fault(plugin, self.pod, &status.message())
    }
}
