//! Scores: those that are kept of each node, and those that are asked for by class.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition::{Class, Partition};
use super::places::SEPARATOR;
use super::{Asked, Entry, REBUILD_PART};
use crate::framework::{Basis, CycleState, MAX_NODE_SCORE, MIN_NODE_SCORE, Normalization, Status};
use crate::scheduler::engine::members::{self, Members};

/// The feasible nodes of a class by what is kept of their scores.
pub(super) type ByScore = BTreeMap<i64, Members>;

/// What is known of the scores of nodes that passed what is kept.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// The scorers whose scores are kept, and those that are asked by class.
    basis: (Vec<usize>, Others, u64),
    /// Weighted scores that need no normalization, of each node.
    plain: Vec<i64>,
    /// Scorers whose scores are normalized by the highest.
    columns: Vec<(usize, i64, Normalization)>,
    /// A class has the filters' class, then the scores to be normalized, then what scorers make
    /// classes by.
    nodes: Partition<ByScore>,
    /// Nodes whose scores are out of date.
    stale: Vec<u32>,
    valid: bool,
    /// What classes of no use were made by.
    useless: Option<Others>,
}

/// Scorers that are asked by class, and what their classes were made by.
type Others = Vec<(usize, Basis)>;

impl Scores {
    /// A node, of so many, has changed.
    pub(super) fn touch(&mut self, at: u32, nodes: usize) {
        if self.stale.len() >= nodes {
            self.valid = false;
            self.stale.clear();
        }
        self.stale.push(at);
    }
}

/// One feasible class: what it is, its total without what is kept of each node, and its best.
struct Live<'a> {
    class: &'a Class<ByScore>,
    total: i64,
}

impl Entry {
    /// Draws one of the best: its position and score. `keeping` are the numbers of the scorers
    /// whose scores are kept, `asking` those of the others; `None` if one of them has to be asked
    /// about each node.
    pub(in crate::scheduler) fn draw(
        &mut self,
        asked: Asked<'_>,
        state: &mut CycleState,
        [keeping, asking]: [&[usize]; 2],
        below: impl FnOnce(u64) -> u64,
    ) -> Result<Option<(u32, i64)>, Status> {
        if !self.follow_scores(asked, state, [keeping, asking])? {
            return Ok(None);
        }
        let Some(live) = self.live(asked, state)? else { return Ok(None) };
        let best_of = |live: &Live<'_>| {
            let best = live.class.more.last_key_value();
            best.map_or(i64::MIN, |(plain, _)| plain + live.total)
        };
        let best = live.iter().map(best_of).max().unwrap_or(i64::MIN);
        let ties = || {
            let ties = live.iter().filter(|live| best_of(live) == best);
            ties.filter_map(|live| live.class.more.last_key_value()).map(|(_, members)| members)
        };
        let count: usize = ties().map(Members::len).sum();
        let nth = if count > 1 { below(count as u64) } else { 0 };
        let nth = usize::try_from(nth).unwrap_or_default();
        Ok(members::nth(ties(), nth, self.verdicts.len()).map(|at| (at, best)))
    }

    /// Brings the scores up to date; false if a scorer has no classes.
    fn follow_scores(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        [keeping, asking]: [&[usize]; 2],
    ) -> Result<bool, Status> {
        let mut others = Vec::with_capacity(asking.len());
        for number in asking {
            let (plugged, _) = &asked.framework.points.score[*number];
            let Some(classes) = plugged.plugin.classes() else { return Ok(false) };
            let call = || Ok(classes.basis(state));
            others.push((*number, asked.framework.guard(&plugged.name, asked.pod, call)?));
        }
        if self.scores.useless.as_ref() == Some(&others) {
            return Ok(false);
        }
        let basis = (keeping.to_vec(), others, self.places.generation);
        let scores = &mut self.scores;
        let valid = std::mem::replace(&mut scores.valid, false) && !scores.nodes.is_worn();
        let many = scores.stale.len() > self.verdicts.len() / REBUILD_PART + 1;
        let mut known = true;
        if !valid || many || scores.basis != basis {
            let useless = scores.useless.take();
            *scores = Scores { basis, useless, ..Scores::default() };
            known = self.rate_all(asked, state, keeping)?;
        }
        let mut stale = std::mem::take(&mut self.scores.stale);
        stale.sort_unstable();
        stale.dedup();
        for at in stale {
            known = known && self.rate(asked, state, at)?;
        }
        self.scores.valid = known && !self.scores.nodes.is_useless();
        if !self.scores.valid {
            self.scores.useless = Some(std::mem::take(&mut self.scores.basis.1));
        }
        Ok(self.scores.valid)
    }

    /// Asks the scorers that keep about all nodes at once; false if a class cannot be told.
    fn rate_all(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        keeping: &[usize],
    ) -> Result<bool, Status> {
        let (len, positions) = (self.verdicts.len(), self.verdicts.positions());
        let mut plain = vec![0; len];
        let mut columns: Vec<Vec<i64>> = Vec::new();
        for number in keeping {
            let (plugged, weight) = &asked.framework.points.score[*number];
            let scores = asked.framework.guard(&plugged.name, asked.pod, || {
                plugged.plugin.score_nodes(state, asked.pod, asked.nodes, &positions)
            });
            let fault = |what: &str| asked.framework.fault(&plugged.name, asked.pod, what);
            let scores = scores.map_err(|status| fault(&status.message()))?;
            if scores.len() != positions.len() {
                let (found, expected) = (scores.len(), positions.len());
                return Err(fault(&format!("returned {found} scores for {expected} nodes")));
            }
            let normalization = plugged.plugin.keeps().unwrap_or(Normalization::None);
            for (at, score) in positions.iter().zip(&scores) {
                in_range(asked, &plugged.name, *score, normalization)?;
                plain[*at as usize] += match normalization {
                    Normalization::None => score * weight,
                    Normalization::Highest { .. } => 0,
                };
            }
            if normalization != Normalization::None {
                self.scores.columns.push((*number, *weight, normalization));
                columns.push(scores);
            }
        }
        self.scores.plain = plain;
        self.scores.nodes = Partition::of_nodes(len);
        for (index, at) in positions.iter().enumerate() {
            let raw: Vec<i64> = columns.iter().map(|column| column[index]).collect();
            if !self.classify(asked, state, *at, &raw)? || self.scores.nodes.is_useless() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Scores a node anew; false if its class cannot be told.
    fn rate(&mut self, asked: Asked<'_>, state: &CycleState, at: u32) -> Result<bool, Status> {
        let plain = self.scores.plain[at as usize];
        if let Some(by_score) = self.scores.nodes.leave(at)
            && let Some(members) = by_score.get_mut(&plain)
        {
            members.remove(at);
            if members.len() == 0 {
                by_score.remove(&plain);
            }
        }
        if !self.verdicts.has(at) {
            return Ok(true);
        }
        let (node, mut plain, mut raw) = (asked.nodes.node(at), 0, Vec::new());
        for number in &self.scores.basis.0 {
            let (plugged, weight) = &asked.framework.points.score[*number];
            let call = || plugged.plugin.score(state, asked.pod, node);
            let score = asked.framework.guard(&plugged.name, asked.pod, call);
            let fault =
                |status: Status| asked.framework.fault(&plugged.name, asked.pod, &status.message());
            let score = score.map_err(fault)?;
            let normalization = plugged.plugin.keeps().unwrap_or(Normalization::None);
            in_range(asked, &plugged.name, score, normalization)?;
            match normalization {
                Normalization::None => plain += score * weight,
                Normalization::Highest { .. } => raw.push(score),
            }
        }
        self.scores.plain[at as usize] = plain;
        self.classify(asked, state, at, &raw)
    }

    /// Puts a node that passed what is kept into its class; false if that cannot be told.
    fn classify(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        at: u32,
        raw: &[i64],
    ) -> Result<bool, Status> {
        let mut numbers = vec![self.places.number_of(at)];
        numbers.extend(raw);
        let node = asked.nodes.node(at);
        for (number, _) in &self.scores.basis.1 {
            let (plugged, _) = &asked.framework.points.score[*number];
            let Some(classes) = plugged.plugin.classes() else { return Ok(false) };
            numbers.push(SEPARATOR);
            let call = || Ok(classes.class(state, asked.pod, at, node, &mut numbers));
            if !asked.framework.guard(&plugged.name, asked.pod, call)? {
                return Ok(false);
            }
        }
        let (plain, len) = (self.scores.plain[at as usize], self.verdicts.len());
        let by_score = self.scores.nodes.enter(at, &numbers);
        by_score.entry(plain).or_default().insert(at, len);
        Ok(true)
    }

    /// The classes with feasible nodes, each with its total; `None` if a scorer has to be asked
    /// about each node.
    fn live(
        &self,
        asked: Asked<'_>,
        state: &mut CycleState,
    ) -> Result<Option<Vec<Live<'_>>>, Status> {
        let classes = self.scores.nodes.classes().iter().filter(|class| {
            let passes = class.numbers.first().is_some_and(|at| self.places.class_passes(*at));
            class.nodes > 0 && passes
        });
        let mut live: Vec<Live<'_>> = classes.map(|class| Live { class, total: 0 }).collect();
        for (index, (_, weight, normalization)) in self.scores.columns.iter().enumerate() {
            let raw = live.iter().map(|live| live.class.numbers[1 + index]);
            let mut raw: Vec<i64> = raw.collect();
            normalization.all(&mut raw);
            for (live, score) in live.iter_mut().zip(raw) {
                live.total += score * weight;
            }
        }
        for (index, (number, _)) in self.scores.basis.1.iter().enumerate() {
            let (plugged, weight) = &asked.framework.points.score[*number];
            let Some(scorer) = plugged.plugin.classes() else { return Ok(None) };
            let parts: Vec<(&[i64], usize)> = live
                .iter()
                .map(|live| {
                    let mut parts = live.class.numbers.split(|number| *number == SEPARATOR);
                    (parts.nth(index + 1).unwrap_or_default(), live.class.nodes)
                })
                .collect();
            let scores = asked.framework.guard(&plugged.name, asked.pod, || {
                if !scorer.feasible(state, asked.pod, &parts) {
                    return Ok(None);
                }
                let scores =
                    parts.iter().map(|(part, _)| scorer.score_class(state, asked.pod, part));
                let mut scores: Vec<i64> = scores.collect::<Result<_, Status>>()?;
                match plugged.plugin.normalize(state, asked.pod, &mut scores) {
                    status if status.is_success() => Ok(Some(scores)),
                    status => Err(status),
                }
            });
            let fault =
                |status: Status| asked.framework.fault(&plugged.name, asked.pod, &status.message());
            let Some(scores) = scores.map_err(fault)? else { return Ok(None) };
            for (live, score) in live.iter_mut().zip(scores) {
                in_range(asked, &plugged.name, score, Normalization::None)?;
                live.total += score * weight;
            }
        }
        Ok(Some(live))
    }

    /// The totals of what is kept, of these nodes, normalized among them alone.
    pub(in crate::scheduler) fn totals(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        keeping: &[usize],
        positions: &[u32],
    ) -> Result<Vec<i64>, Status> {
        self.follow_scores(asked, state, [keeping, &[]])?;
        let at = |at: &u32| self.scores.plain[*at as usize];
        let mut totals: Vec<i64> = positions.iter().map(at).collect();
        for (index, (_, weight, normalization)) in self.scores.columns.iter().enumerate() {
            let raw = positions.iter().map(|at| {
                let class = self.scores.nodes.class_of(*at);
                class.map_or(0, |class| self.scores.nodes.classes()[class].numbers[1 + index])
            });
            let mut raw: Vec<i64> = raw.collect();
            normalization.all(&mut raw);
            for (total, score) in totals.iter_mut().zip(raw) {
                *total += score * weight;
            }
        }
        Ok(totals)
    }
}

/// Checks a score that a scorer gave a node.
fn in_range(
    asked: Asked<'_>,
    plugin: &Arc<str>,
    score: i64,
    normalization: Normalization,
) -> Result<(), Status> {
    let highest = match normalization {
        Normalization::None => MAX_NODE_SCORE,
        Normalization::Highest { .. } => i64::MAX,
    };
    if (MIN_NODE_SCORE..=highest).contains(&score) {
        return Ok(());
    }
    Err(asked.framework.invalid_score(plugin, asked.pod, score))
}
