//! The best nodes by bounds on groups of them.

use std::cell::Cell;
use std::collections::BinaryHeap;

use super::Groups;
use super::order::{Group, Parts};
use crate::framework::{
    CycleState, GroupVerdict, MAX_NODE_SCORE, MIN_NODE_SCORE, Normalization, Status,
};
use crate::scheduler::engine::Asked;
use crate::snapshot::{Amounts, NodeGroup};

/// Why there is no answer.
pub(super) enum Stop {
    /// A plugin says nothing of groups.
    Unknown,
    /// A plugin failed.
    Failed(Status),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

/// A question about groups.
pub(super) struct Search<'a> {
    pub(super) groups: &'a Groups,
    pub(super) asked: Asked<'a>,
    pub(super) state: &'a CycleState,
    pub(super) filters: &'a [usize],
    /// The plugin that is asked at the moment.
    pub(super) plugin: Cell<&'a str>,
}

/// What is asked for scores, and what all nodes of each shape have.
struct Scores {
    plain: Vec<usize>,
    by_shape: Vec<i64>,
}

/// The states that may be the best, and the score of those that are.
#[derive(Default)]
struct Best {
    score: Option<i64>,
    states: Vec<u32>,
}

impl Best {
    fn offer(&mut self, score: i64, state: u32) {
        if self.score.is_none_or(|known| known < score) {
            self.score = Some(score);
            self.states.clear();
        }
        if self.score == Some(score) {
            self.states.push(state);
        }
    }
}

impl<'a> Search<'a> {
    /// Asks plugins; a panic of one becomes an error that names it.
    pub(super) fn guard<T>(&self, call: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        self.asked.framework.guard_all(&self.plugin, self.asked.pod, call)
    }

    fn group(&self, shape: usize, (least, most): (Amounts, Amounts)) -> NodeGroup<'a> {
        NodeGroup::new(&self.groups.shapes[shape].node, least, most)
    }

    fn verdict(&self, group: &NodeGroup<'_>) -> Result<GroupVerdict, Stop> {
        let mut verdict = GroupVerdict::Pass;
        for number in self.filters {
            let plugged = &self.asked.framework.points.filter[*number];
            self.plugin.set(&plugged.name);
            let said = plugged.plugin.filter_group(self.state, self.asked.pod, group);
            match said.ok_or(Stop::Unknown)? {
                GroupVerdict::Reject => return Ok(GroupVerdict::Reject),
                GroupVerdict::Mixed => verdict = GroupVerdict::Mixed,
                GroupVerdict::Pass => {}
            }
        }
        // Of nodes that do not differ something has to be said.
        let unsure = verdict == GroupVerdict::Mixed && group.is_one_state();
        if unsure { Err(Stop::Unknown) } else { Ok(verdict) }
    }

    /// How many nodes of a group pass.
    pub(super) fn count(&self, shape: usize, group: &dyn Group) -> Result<usize, Stop> {
        if group.nodes() == 0 {
            return Ok(0);
        }
        match self.verdict(&self.group(shape, group.range()))? {
            GroupVerdict::Pass => return Ok(group.nodes()),
            GroupVerdict::Reject => return Ok(0),
            GroupVerdict::Mixed => {}
        }
        match group.parts() {
            Parts::Groups(groups) => groups.into_iter().map(|part| self.count(shape, part)).sum(),
            Parts::States(states) => states.iter().try_fold(0, |sum, state| {
                let amounts = state.key.1;
                let verdict = self.verdict(&self.group(shape, (amounts, amounts)))?;
                Ok(if verdict == GroupVerdict::Pass { sum + state.nodes as usize } else { sum })
            }),
        }
    }

    /// The nodes of a group that pass.
    pub(super) fn list(
        &self,
        shape: usize,
        group: &dyn Group,
        into: &mut Vec<u32>,
    ) -> Result<(), Stop> {
        match group.parts() {
            Parts::Groups(groups) => {
                groups.into_iter().try_for_each(|part| self.list(shape, part, into))
            }
            Parts::States(states) => states.iter().try_for_each(|state| {
                let amounts = state.key.1;
                let verdict = self.verdict(&self.group(shape, (amounts, amounts)))?;
                if verdict == GroupVerdict::Pass {
                    self.groups.slots[state.number as usize].members.list(into);
                }
                Ok(())
            }),
        }
    }

    fn ask(&self, scorer: usize, group: &NodeGroup<'_>) -> Result<(i64, i64), Stop> {
        let (plugged, _) = &self.asked.framework.points.score[scorer];
        self.plugin.set(&plugged.name);
        plugged.plugin.score_group(self.state, self.asked.pod, group).ok_or(Stop::Unknown)
    }

    /// Whom to ask, and what follows from the shapes of the nodes that passed alone.
    fn scores(&self, scorers: &[usize], passed: &[usize]) -> Result<Scores, Stop> {
        let mut scores = Scores { plain: Vec::new(), by_shape: vec![0; passed.len()] };
        for number in scorers {
            let (plugged, weight) = &self.asked.framework.points.score[*number];
            let normalization = plugged.plugin.keeps().ok_or(Stop::Unknown)?;
            if normalization == Normalization::None {
                scores.plain.push(*number);
                continue;
            }
            let mut raw = vec![0; passed.len()];
            for (shape, score) in raw.iter_mut().enumerate().filter(|(at, _)| passed[*at] > 0) {
                let range = self.groups.shapes[shape].order.range();
                let (lowest, highest) = self.ask(*number, &self.group(shape, range))?;
                if lowest != highest {
                    return Err(Stop::Unknown);
                }
                *score = lowest;
            }
            normalization.all(&mut raw);
            for (sum, score) in scores.by_shape.iter_mut().zip(raw) {
                *sum += score * weight;
            }
        }
        Ok(scores)
    }

    /// Between which bounds the scores of a group are.
    fn bounds(
        &self,
        scores: &Scores,
        shape: usize,
        group: &NodeGroup<'_>,
    ) -> Result<(i64, i64), Stop> {
        let (mut least, mut most) = (scores.by_shape[shape], scores.by_shape[shape]);
        for number in &scores.plain {
            let (plugged, weight) = &self.asked.framework.points.score[*number];
            let (lowest, highest) = self.ask(*number, group)?;
            if lowest < MIN_NODE_SCORE || highest > MAX_NODE_SCORE {
                let wrong = if lowest < MIN_NODE_SCORE { lowest } else { highest };
                let (name, pod) = (&plugged.name, self.asked.pod);
                return Err(self.asked.framework.invalid_score(name, pod, wrong).into());
            }
            least += lowest * weight;
            most += highest * weight;
        }
        Ok((least, most))
    }

    /// The highest score of nodes that pass, and the states that have it; `passed` are how many
    /// pass of each shape. The groups that may score highest are opened first, until none is left
    /// that may score as much as what was found.
    pub(super) fn best(
        &self,
        scorers: &[usize],
        passed: &[usize],
    ) -> Result<(i64, Vec<u32>), Stop> {
        let scores = self.scores(scorers, passed)?;
        let mut groups: Vec<(usize, &dyn Group)> = Vec::new();
        let mut open: BinaryHeap<(i64, usize)> = BinaryHeap::new();
        let mut best = Best::default();
        for shape in (0..passed.len()).filter(|shape| passed[*shape] > 0) {
            let order: &dyn Group = &self.groups.shapes[shape].order;
            let (_, most) = self.bounds(&scores, shape, &self.group(shape, order.range()))?;
            groups.push((shape, order));
            open.push((most, groups.len() - 1));
        }
        while let Some((most, at)) = open.pop() {
            if best.score.is_some_and(|score| most < score) {
                break;
            }
            let (shape, group) = groups[at];
            let parts = match group.parts() {
                Parts::Groups(parts) => parts,
                Parts::States(states) => {
                    for state in states {
                        let group = self.group(shape, (state.key.1, state.key.1));
                        let (least, most) = self.bounds(&scores, shape, &group)?;
                        if best.score.is_some_and(|score| most < score) {
                            continue;
                        }
                        if self.verdict(&group)? == GroupVerdict::Pass {
                            let exact = if least == most { Ok(most) } else { Err(Stop::Unknown) };
                            best.offer(exact?, state.number);
                        }
                    }
                    continue;
                }
            };
            for part in parts {
                let group = self.group(shape, part.range());
                let (_, most) = self.bounds(&scores, shape, &group)?;
                let hopeless = best.score.is_some_and(|score| most < score);
                if !hopeless && self.verdict(&group)? != GroupVerdict::Reject {
                    groups.push((shape, part));
                    open.push((most, groups.len() - 1));
                }
            }
        }
        best.score.map(|score| (score, best.states)).ok_or(Stop::Unknown)
    }
}
