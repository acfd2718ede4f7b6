//! The results of one signature.

use std::collections::BTreeMap;
use std::sync::Arc;

use kcore::collections::HashMap;

use super::tree::Tree;
use crate::framework::{
    Candidates, CycleState, Failed, Framework, MAX_NODE_SCORE, MIN_NODE_SCORE, Normalization,
    Rejections, Status,
};
use crate::snapshot::{Mark, NodeInfo, PodInfo, Snapshot};

/// A node that passed.
const FEASIBLE: u32 = 0;
/// If more than this part of the nodes changed, all are looked at anew.
const REBUILD_PART: usize = 4;
/// Reasons that are kept; with more, everything is learned anew.
const MAX_REASONS: usize = 4_096;

/// What the plugins that keep their results said of each node.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Entry {
    pub(super) used: u64,
    mark: Option<Mark>,
    /// Which filters and scorers were asked.
    filters: Vec<usize>,
    scorers: Option<Vec<usize>>,
    /// Of each node: whether it passed, or else one more than the number of the reason.
    verdicts: Vec<u32>,
    reasons: Rejections,
    feasible: usize,
    /// Weighted scores that need no normalization, of each feasible node.
    plain: Vec<i64>,
    columns: Vec<Column>,
    tree: Tree,
    /// Nodes whose place in the tree is out of date.
    stale: Vec<u32>,
    /// What the filters said of nodes with the pods they are kept for.
    crowded: HashMap<u32, Crowded>,
}

/// The pods that a node is kept for, by uid, and whether the pod fits beside them.
type Crowded = (Vec<Arc<str>>, Result<(), Failed>);

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
}

impl Entry {
    pub(super) fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// How many nodes passed.
    pub(in crate::scheduler) fn feasible(&self) -> usize {
        self.feasible
    }

    /// Whether a node passed.
    pub(in crate::scheduler) fn passed(&self, at: u32) -> bool {
        self.verdicts[at as usize] == FEASIBLE
    }

    /// Whether the pod fits on a node beside those it is kept for, if that was asked before.
    pub(in crate::scheduler) fn crowded(
        &self,
        at: u32,
        others: &[Arc<PodInfo>],
    ) -> Option<Result<(), Failed>> {
        let (known, answer) = self.crowded.get(&at)?;
        let same = known.len() == others.len()
            && known.iter().zip(others).all(|(known, other)| known == other.shared_uid());
        same.then(|| answer.clone())
    }

    /// Remembers it until the node changes.
    pub(in crate::scheduler) fn set_crowded(
        &mut self,
        at: u32,
        others: &[Arc<PodInfo>],
        answer: &Result<(), Failed>,
    ) {
        let uids = others.iter().map(|other| Arc::clone(other.shared_uid())).collect();
        self.crowded.insert(at, (uids, answer.clone()));
    }

    /// The nodes that passed.
    pub(in crate::scheduler) fn positions(&self) -> Vec<u32> {
        let all = (0_u32..).zip(&self.verdicts);
        let mut positions = Vec::with_capacity(self.feasible);
        positions.extend(all.filter(|(_, verdict)| **verdict == FEASIBLE).map(|(at, _)| at));
        positions
    }

    /// The nodes that did not pass.
    pub(in crate::scheduler) fn rejections(&self) -> Rejections {
        let mut rejections = self.reasons.clone();
        for (at, verdict) in (0_u32..).zip(&self.verdicts) {
            if *verdict != FEASIBLE {
                rejections.push_kind(at, verdict - 1);
            }
        }
        rejections
    }

    /// Brings the verdicts up to date: `filters` are the numbers of those to ask.
    pub(in crate::scheduler) fn filter(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        filters: &[usize],
    ) -> Result<(), Status> {
        let mark = self.mark.take().filter(|_| self.filters == filters);
        let mut changed = Vec::new();
        let known = mark.as_ref().and_then(|mark| asked.nodes.changes(mark));
        let known = known.map(|changes| changed.extend(changes)).is_some();
        if known && changed.len() <= self.verdicts.len() / REBUILD_PART + 1 {
            changed.sort_unstable();
            changed.dedup();
            for at in changed {
                self.judge(asked, state, at)?;
            }
        } else {
            self.judge_all(asked, state, filters)?;
        }
        if self.reasons.kinds_len() > MAX_REASONS {
            // What is learned anew next time has fewer.
            return Ok(());
        }
        self.mark = Some(asked.nodes.mark());
        Ok(())
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
        let (feasible, rejections) = candidates.into_parts();
        *self = Self { used: self.used, filters: filters.to_vec(), ..Self::default() };
        self.verdicts = vec![FEASIBLE; asked.nodes.len()];
        self.feasible = feasible.len();
        for (at, kind) in rejections.by_kind() {
            self.verdicts[at as usize] = kind + 1;
        }
        self.reasons = rejections.without_nodes();
        Ok(())
    }

    fn judge(&mut self, asked: Asked<'_>, state: &CycleState, at: u32) -> Result<(), Status> {
        let node = asked.nodes.node(at);
        let mut verdict = FEASIBLE;
        for number in &self.filters {
            let plugged = &asked.framework.points.filter[*number];
            let call = || Ok(plugged.plugin.filter(state, asked.pod, node));
            let status = asked.framework.guard(&plugged.name, asked.pod, call)?;
            if status.is_success() {
                continue;
            }
            if !status.is_rejected() {
                let message = status.message();
                return Err(asked.framework.fault(&plugged.name, asked.pod, &message));
            }
            verdict = self.reasons.kind(&plugged.name, status) + 1;
            break;
        }
        let i = at as usize;
        self.crowded.remove(&at);
        let before = std::mem::replace(&mut self.verdicts[i], verdict);
        if before == FEASIBLE {
            self.feasible -= 1;
            if self.scorers.is_some() {
                self.columns.iter_mut().for_each(|column| column.discount(i));
            }
        }
        if verdict == FEASIBLE {
            self.feasible += 1;
            if self.scorers.is_some() {
                self.rate(asked, state, at, node)?;
            }
        }
        if self.scorers.is_some() {
            self.stale.push(at);
        }
        Ok(())
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
        let mark = self.mark.take();
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
        self.mark = mark;
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
        (self.verdicts[at] == FEASIBLE).then(|| self.plain[at] + columns())
    }

    /// The totals of these nodes, normalized among them alone.
    pub(in crate::scheduler) fn totals(&self, positions: &[u32]) -> Vec<i64> {
        if positions.len() == self.feasible || self.columns.is_empty() {
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
