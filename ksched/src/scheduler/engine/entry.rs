//! The results of one signature.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tree::Tree;
use crate::framework::{
    Candidates, CycleState, Filters, Framework, MAX_NODE_SCORE, MIN_NODE_SCORE, Normalization,
    PASSED, Rejections, Status, Verdicts,
};
use crate::snapshot::{Mark, NodeInfo, PodInfo, Snapshot};

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
    /// Which filters and scorers were asked.
    filters: Vec<usize>,
    scorers: Option<Vec<usize>>,
    verdicts: Arc<Verdicts>,
    /// The node whose verdict holds for one pod alone, as it is kept for that pod.
    own: Option<u32>,
    /// Weighted scores that need no normalization, of each feasible node.
    plain: Vec<i64>,
    columns: Vec<Column>,
    tree: Tree,
    /// Nodes whose place in the tree is out of date.
    stale: Vec<u32>,
}

/// Scores that are normalized by the highest.
#[derive(Debug)]
struct Column {
    scorer: usize,
    weight: i64,
    normalization: Normalization,
    scores: Vec<i64>,
    /// How many feasible nodes have which score.
    counts: BTreeMap<i64, u32>,
    /// The highest that the tree was made with.
    highest: i64,
}

impl Column {
    fn count(&mut self, at: usize) {
        *self.counts.entry(self.scores[at]).or_default() += 1;
    }

    fn discount(&mut self, at: usize) {
        if let Some(count) = self.counts.get_mut(&self.scores[at]) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&self.scores[at]);
            }
        }
    }

    fn now_highest(&self) -> i64 {
        self.counts.last_key_value().map_or(0, |(score, _)| *score)
    }

    fn weighted(&self, at: usize) -> i64 {
        self.normalization.one(self.scores[at], self.highest) * self.weight
    }
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

    /// How many nodes passed.
    pub(in crate::scheduler) fn feasible(&self) -> usize {
        self.verdicts.feasible()
    }

    /// The nodes that passed.
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
        let had_passed = Arc::make_mut(&mut self.verdicts).set(at, verdict);
        if self.scorers.is_some() {
            if had_passed {
                self.columns.iter_mut().for_each(|column| column.discount(at as usize));
            }
            if verdict == PASSED {
                self.rate(asked, state, at, node)?;
            }
            self.stale.push(at);
        }
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

    /// Scores a feasible node.
    fn rate(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        at: u32,
        node: &NodeInfo,
    ) -> Result<(), Status> {
        let i = at as usize;
        let mut plain = 0;
        for number in self.scorers.iter().flatten() {
            let (plugged, weight) = &asked.framework.points.score[*number];
            let score = asked
                .framework
                .guard(&plugged.name, asked.pod, || plugged.plugin.score(state, asked.pod, node));
            let score = score.map_err(|status| {
                asked.framework.fault(&plugged.name, asked.pod, &status.message())
            })?;
            match self.columns.iter_mut().find(|column| column.scorer == *number) {
                Some(column) => {
                    if score < MIN_NODE_SCORE {
                        return Err(asked.framework.invalid_score(&plugged.name, asked.pod, score));
                    }
                    column.scores[i] = score;
                    column.count(i);
                }
                None => {
                    in_range(asked, &plugged.name, score)?;
                    plain += score * weight;
                }
            }
        }
        self.plain[i] = plain;
        Ok(())
    }

    /// Brings the scores up to date: `scorers` are the numbers of those to ask.
    pub(in crate::scheduler) fn score(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        scorers: &[usize],
    ) -> Result<(), Status> {
        if self.scorers.as_deref() != Some(scorers) {
            self.begin(asked, state, scorers)?;
            return Ok(());
        }
        let mut moved = false;
        for column in &mut self.columns {
            let highest = column.now_highest();
            moved |= std::mem::replace(&mut column.highest, highest) != highest;
        }
        if moved || self.stale.len() > self.verdicts.len() / REBUILD_PART + 1 {
            self.grow();
        } else {
            for at in std::mem::take(&mut self.stale) {
                let total = self.total(at as usize);
                self.tree.set(at, total);
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        scorers: &[usize],
    ) -> Result<(), Status> {
        // Until all is well nothing is kept.
        let marks = self.marks.take();
        let len = self.verdicts.len();
        self.scorers = Some(scorers.to_vec());
        self.plain = vec![0; len];
        self.columns = scorers.iter().filter_map(|number| column(asked, *number, len)).collect();
        let positions = self.positions();
        for number in scorers {
            self.rate_all(asked, state, &positions, *number)?;
        }
        for column in &mut self.columns {
            column.highest = column.now_highest();
        }
        self.grow();
        self.marks = marks;
        Ok(())
    }

    fn rate_all(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        positions: &[u32],
        number: usize,
    ) -> Result<(), Status> {
        let (plugged, weight) = &asked.framework.points.score[number];
        let scores = asked.framework.guard(&plugged.name, asked.pod, || {
            plugged.plugin.score_nodes(state, asked.pod, asked.nodes, positions)
        });
        let fault = |what: &str| asked.framework.fault(&plugged.name, asked.pod, what);
        let scores = scores.map_err(|status| fault(&status.message()))?;
        if scores.len() != positions.len() {
            let (found, expected) = (scores.len(), positions.len());
            return Err(fault(&format!("returned {found} scores for {expected} nodes")));
        }
        let column = self.columns.iter_mut().find(|column| column.scorer == number);
        if let Some(column) = column {
            for (at, score) in positions.iter().zip(scores) {
                if score < MIN_NODE_SCORE {
                    return Err(asked.framework.invalid_score(&plugged.name, asked.pod, score));
                }
                column.scores[*at as usize] = score;
                column.count(*at as usize);
            }
        } else {
            for (at, score) in positions.iter().zip(scores) {
                in_range(asked, &plugged.name, score)?;
                self.plain[*at as usize] += score * weight;
            }
        }
        Ok(())
    }

    fn grow(&mut self) {
        self.stale.clear();
        let mut tree = std::mem::take(&mut self.tree);
        tree.fill((0..self.verdicts.len()).map(|at| self.total(at)));
        self.tree = tree;
    }

    fn total(&self, at: usize) -> Option<i64> {
        let columns = || self.columns.iter().map(|column| column.weighted(at)).sum::<i64>();
        self.verdicts.has(u32::try_from(at).unwrap_or(u32::MAX)).then(|| self.plain[at] + columns())
    }

    /// The totals of these nodes, normalized among them alone.
    pub(in crate::scheduler) fn totals(&self, positions: &[u32]) -> Vec<i64> {
        if positions.len() == self.feasible() || self.columns.is_empty() {
            return positions.iter().filter_map(|at| self.tree.get(*at)).collect();
        }
        let mut totals: Vec<i64> = positions.iter().map(|at| self.plain[*at as usize]).collect();
        for column in &self.columns {
            let scores = positions.iter().map(|at| column.scores[*at as usize]);
            let highest = scores.clone().max().unwrap_or_default();
            for (total, score) in totals.iter_mut().zip(scores) {
                *total += column.normalization.one(score, highest) * column.weight;
            }
        }
        totals
    }

    /// Draws one of the best: its position and score.
    pub(in crate::scheduler) fn draw(&self, below: impl FnOnce(u64) -> u64) -> Option<(u32, i64)> {
        let (score, count) = self.tree.best()?;
        let nth = if count > 1 { below(u64::from(count)) } else { 0 };
        Some((self.tree.nth_best(u32::try_from(nth).unwrap_or_default()), score))
    }
}

fn column(asked: Asked<'_>, scorer: usize, len: usize) -> Option<Column> {
    let (plugged, weight) = &asked.framework.points.score[scorer];
    let normalization = plugged.plugin.keeps()?;
    (normalization != Normalization::None).then(|| Column {
        scorer,
        weight: *weight,
        normalization,
        scores: vec![0; len],
        counts: BTreeMap::new(),
        highest: 0,
    })
}

fn in_range(asked: Asked<'_>, plugin: &Arc<str>, score: i64) -> Result<(), Status> {
    if (MIN_NODE_SCORE..=MAX_NODE_SCORE).contains(&score) {
        return Ok(());
    }
    Err(asked.framework.invalid_score(plugin, asked.pod, score))
}
