//! The results of one signature.

mod partition;
mod places;
mod score;

use std::sync::Arc;

use crate::framework::{
    Candidates, CycleState, Filters, Framework, PASSED, Rejections, Status, Verdicts,
};
use crate::snapshot::{Mark, PodInfo, Snapshot};
use places::Places;
use score::Scores;

/// If more than this part of the nodes changed, all are looked at anew.
const REBUILD_PART: usize = 4;
/// Reasons that are kept; with more, everything is learned anew.
const MAX_REASONS: usize = 4_096;

/// What the plugins that keep their results said of each node.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Entry {
    pub(super) used: u64,
    /// The snapshot, and the nodes that were kept for pods, as they were.
    marks: Option<(Mark, Option<Mark>)>,
    /// Which filters were asked.
    filters: Vec<usize>,
    verdicts: Arc<Verdicts>,
    /// The node whose verdict holds for one pod alone, as it is kept for that pod.
    own: Option<u32>,
    places: Places,
    scores: Scores,
}

/// Whom the results are asked from.
#[derive(Clone, Copy)]
pub(in crate::scheduler) struct Asked<'a> {
    pub(in crate::scheduler) framework: &'a Framework,
    pub(in crate::scheduler) nodes: &'a Snapshot,
    pub(in crate::scheduler) pod: &'a PodInfo,
    /// All filters, if those that are asked are all: then a node that is kept for others passes
    /// only if the pod fits beside them.
    pub(in crate::scheduler) beside: Option<Filters<'a>>,
}

impl Asked<'_> {
    /// The node that is kept for the pod itself.
    fn own(&self) -> Option<u32> {
        let own = self.beside.and_then(|filters| filters.kept().own());
        own.filter(|own| (*own as usize) < self.nodes.len())
    }

    /// What a filter said, if it is no error.
    fn checked(&self, plugin: &Arc<str>, status: Status) -> Result<Status, Status> {
        if status.is_success() || status.is_rejected() {
            return Ok(status);
        }
        Err(self.framework.fault(plugin, self.pod, &status.message()))
    }
}

impl Entry {
    pub(super) fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// How many nodes passed all filters, by their classes.
    pub(in crate::scheduler) fn feasible(&self) -> usize {
        self.places.feasible
    }

    /// The nodes that passed all filters, by their classes.
    pub(in crate::scheduler) fn placed(&self) -> Vec<u32> {
        let mut positions = self.verdicts.positions();
        positions.retain(|at| self.places.pass(*at));
        positions
    }

    /// The nodes that passed the filters that are kept.
    pub(in crate::scheduler) fn positions(&self) -> Vec<u32> {
        self.verdicts.positions()
    }

    /// The nodes that did not pass.
    pub(in crate::scheduler) fn rejections(&self) -> Rejections {
        Rejections::shared(Arc::clone(&self.verdicts))
    }

    /// Brings the verdicts up to date: `filters` are the numbers of those to ask.
    pub(in crate::scheduler) fn filter(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        filters: &[usize],
    ) -> Result<(), Status> {
        let changed = self.marks.take().filter(|_| self.filters == filters);
        let changed = changed.and_then(|marks| self.changes(asked, &marks));
        self.own = asked.own();
        match changed {
            Some(changed) => {
                for at in changed {
                    self.judge(asked, state, at)?;
                }
            }
            None => self.judge_all(asked, state, filters)?,
        }
        // With too many reasons all is learned anew next time.
        if self.verdicts.kinds_len() <= MAX_REASONS {
            let kept = asked.beside.map(|filters| filters.kept().mark());
            self.marks = Some((asked.nodes.mark(), kept));
        }
        Ok(())
    }

    /// The nodes to judge anew; `None` if those are all.
    fn changes(&self, asked: Asked<'_>, marks: &(Mark, Option<Mark>)) -> Option<Vec<u32>> {
        let mut changed: Vec<u32> = asked.nodes.changes(&marks.0)?.collect();
        match (asked.beside, &marks.1) {
            (None, None) => {}
            (Some(filters), Some(mark)) => changed.extend(filters.kept().changes(mark)?),
            _ => return None,
        }
        changed.extend([self.own, asked.own()].into_iter().flatten());
        changed.sort_unstable();
        changed.dedup();
        (changed.len() <= self.len() / REBUILD_PART + 1).then_some(changed)
    }

    fn judge_all(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        filters: &[usize],
    ) -> Result<(), Status> {
        let mut candidates = Candidates::all(asked.nodes.len());
        for number in filters {
            let plugged = &asked.framework.points.filter[*number];
            candidates.begin(&plugged.name);
            asked.framework.guard(&plugged.name, asked.pod, || {
                plugged.plugin.filter_nodes(state, asked.pod, asked.nodes, &mut candidates);
                Ok(())
            })?;
            if let Some(status) = candidates.failed() {
                return Err(asked.framework.fault(&plugged.name, asked.pod, &status.message()));
            }
        }
        let (_, rejections) = candidates.into_parts();
        let verdicts = Arc::new(rejections.into_verdicts(asked.nodes.len()));
        let (used, own, filters) = (self.used, self.own, filters.to_vec());
        *self = Self { used, own, filters, verdicts, ..Self::default() };
        for at in asked.beside.iter().flat_map(|filters| filters.kept_positions()) {
            if self.verdicts.has(at) {
                let verdict = self.beside(asked, state, at)?;
                Arc::make_mut(&mut self.verdicts).set(at, verdict);
            }
        }
        Ok(())
    }

    fn judge(&mut self, asked: Asked<'_>, state: &CycleState, at: u32) -> Result<(), Status> {
        let node = asked.nodes.node(at);
        let mut verdict = PASSED;
        for number in &self.filters {
            let plugged = &asked.framework.points.filter[*number];
            let call = || Ok(plugged.plugin.filter(state, asked.pod, node));
            let status = asked.framework.guard(&plugged.name, asked.pod, call)?;
            let status = asked.checked(&plugged.name, status)?;
            if !status.is_success() {
                verdict = Arc::make_mut(&mut self.verdicts).verdict(&plugged.name, status);
                break;
            }
        }
        if verdict == PASSED {
            verdict = self.beside(asked, state, at)?;
        }
        Arc::make_mut(&mut self.verdicts).set(at, verdict);
        self.places.touch(at, self.verdicts.len());
        self.scores.touch(at, self.verdicts.len());
        Ok(())
    }

    /// What is said of a node beside the pods that it is kept for.
    fn beside(&mut self, asked: Asked<'_>, state: &CycleState, at: u32) -> Result<u32, Status> {
        let Some(filters) = asked.beside else { return Ok(PASSED) };
        let others = filters.kept_at(at);
        if others.is_empty() {
            return Ok(PASSED);
        }
        let Err((plugin, status)) = filters.with(state, asked.nodes.node(at), &others) else {
            return Ok(PASSED);
        };
        let status = asked.checked(&plugin, status)?;
        Ok(Arc::make_mut(&mut self.verdicts).verdict(&plugin, status))
    }
}
