//! Which of the nodes that can take the pod is the best.

use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::random::Random;

use super::Cycle;
use crate::framework::{Feasible, MAX_NODE_SCORE, MIN_NODE_SCORE, Status};

/// One of the highest scores, each as likely as the other, with one draw.
pub(in crate::scheduler) fn best(scores: &[i64], random: &Random) -> (usize, i64) {
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

impl Cycle<'_> {
    /// Asks PreScore; the plugins that have nothing to say.
    pub(in crate::scheduler) fn pre_score(
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
    pub(in crate::scheduler) fn scorers(&self, skipped: &BTreeSet<Arc<str>>) -> Vec<usize> {
        let all = &self.framework.points.score;
        (0..all.len()).filter(|at| !skipped.contains(&all[*at].0.name)).collect()
    }

    /// Tells apart the scorers whose scores are kept from the others.
    pub(super) fn split(&self, scorers: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let all = &self.framework.points.score;
        scorers.into_iter().partition(|at| all[*at].0.plugin.keeps().is_some())
    }

    /// Adds the weighted scores of these scorers.
    pub(in crate::scheduler) fn score(
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
}
