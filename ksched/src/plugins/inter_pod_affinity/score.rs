//! Preferences between pods.

use std::sync::Arc;

use super::InterPodAffinity;
use super::index::Use;
use crate::framework::{
    CycleState, Feasible, MAX_NODE_SCORE, PreScorePlugin, ScoreClasses, ScorePlugin, Status,
};
use crate::snapshot::{AffinityTerm, NO_VALUE, NodeInfo, PodInfo, Snapshot, Tally};

/// Places with what a pod there counts.
#[derive(Debug, Clone)]
pub(super) struct Preferences {
    pub(super) all: Vec<Preference>,
    /// The labels of namespaces had changed so often.
    pub(super) namespaces: u64,
}

/// Places by one term.
#[derive(Debug, Clone)]
pub(super) struct Preference {
    pub(super) tally: Arc<Tally>,
    pub(super) term: Arc<str>,
    /// Whose term it is: one that pods there carry, or else the pod's own.
    pub(super) used: Used,
    key: Arc<str>,
    pub(super) weight: i64,
}

/// Whose a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    Own,
    Required,
    Preferred,
}

impl Preference {
    fn new(term: &AffinityTerm, tally: &Arc<Tally>, used: Used, weight: i64) -> Self {
        let (term, key) = (Arc::clone(term.key()), Arc::clone(term.topology_key()));
        Self { tally: Arc::clone(tally), term, used, key, weight }
    }
}

impl PreScorePlugin for InterPodAffinity {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        let labels = self.labels();
        let mut index = self.index(nodes);
        let own = !pod.affinities().preferred.is_empty();
        let mut preferences = Vec::new();
        if own || !self.ignore_preferred {
            for carried in index.meaning(pod, &labels) {
                let (used, weight) = match carried.used {
                    Use::RequiredAnti => continue,
                    Use::Required => (Used::Required, self.hard_weight),
                    // The weights are in the sums.
                    Use::Preferred if self.ignore_preferred => continue,
                    Use::Preferred => (Used::Preferred, 1),
                };
                preferences.push(Preference::new(&carried.term, &carried.tally, used, weight));
            }
        }
        for (term, weight) in &pod.affinities().preferred {
            let tally = index.met(nodes, &[term], term.topology_key(), &labels);
            preferences.push(Preference::new(term, &tally, Used::Own, *weight));
        }
        preferences.retain(|each| each.weight != 0 && !each.tally.is_zero());
        if preferences.is_empty() {
            return Status::skip();
        }
        let namespaces = index.namespaces;
        state.write_for_choice(Preferences { all: preferences, namespaces });
        Status::success()
    }
}

impl ScorePlugin for InterPodAffinity {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let Some(Preferences { all, .. }) = state.read() else { return Ok(0) };
        let counted = all.iter().map(|each| {
            let value = node.label(&each.key).and_then(|value| each.tally.topology().value(value));
            value.map_or(0, |value| each.tally.sum(value) * each.weight)
        });
        Ok(counted.sum())
    }

    fn score_nodes(
        &self,
        state: &CycleState,
        _: &PodInfo,
        _: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        let mut scores = vec![0; feasible.len()];
        let Some(Preferences { all, .. }) = state.read() else { return Ok(scores) };
        for Preference { tally, weight, .. } in all {
            let (numbers, sums) = (tally.topology().numbers(), tally.sums());
            for (score, at) in scores.iter_mut().zip(feasible) {
                let value = numbers[*at as usize];
                if value != NO_VALUE {
                    *score += sums[value as usize] * weight;
                }
            }
        }
        Ok(scores)
    }

    fn classes(&self) -> Option<&dyn ScoreClasses> {
        Some(self)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) -> Status {
        let lowest = scores.iter().copied().min().unwrap_or_default();
        let highest = scores.iter().copied().max().unwrap_or_default();
        let range = highest - lowest;
        for score in scores {
            // As upstream does it, in floating point: the quotient is rounded before it is scaled.
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            let scaled = MAX_NODE_SCORE as f64 * ((*score - lowest) as f64 / range as f64);
            *score = if range == 0 { 0 } else { scaled as i64 };
        }
        Status::success()
    }
}
