//! The scheduling cycle: from a pod and a snapshot to a node, or to the reasons why there is none.

mod filter;
mod outcome;
mod score;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::random::Random;

use super::engine::{Asked, Engine, Entry, Groups, Passed};
use super::explain::Explanation;
use crate::framework::{
    Code, CycleState, Diagnosis, Feasible, Filters, Framework, Rejections, Status,
};
pub use crate::queue::Kept;
use crate::snapshot::{PodInfo, Snapshot};
pub(super) use filter::{Found, Narrowed};
pub use outcome::{Placement, Unplaced};
pub(super) use score::best;

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

    /// An error that a plugin returned, with its name. A rejection where none is due is one too.
    fn failed(&self, plugin: &str, status: &Status) -> Status {
        self.framework.fault(plugin, self.pod, &status.message())
    }
}
