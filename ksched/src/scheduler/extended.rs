//! The attempt of a pod in which extenders have a say. What the plugins decide is decided as for
//! any other pod; in between, the loop waits for what the extenders answer, as upstream's does,
//! and plain functions put that together.

use std::sync::Arc;

use kcore::random::Random;

use super::cycle::{Cycle, Found, Kept, Memory, Placement, Stop, Unplaced, best};
use crate::framework::{Diagnosis, EXTENDER, Feasible, Framework, Status};
use crate::snapshot::{PodInfo, Snapshot};

/// What an attempt looks at.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    framework: &'a Framework,
    snapshot: &'a Snapshot,
    kept: &'a Kept,
    pod: &'a PodInfo,
}

/// Chooses a node, and asks the extenders that are interested in the pod.
///
/// # Errors
/// Why there is no node.
pub(super) async fn schedule(
    framework: &Framework,
    snapshot: &Snapshot,
    kept: &Kept,
    pod: &PodInfo,
    random: &Random,
) -> Result<Placement, Box<Unplaced>> {
    let attempt = Attempt { framework, snapshot, kept, pod };
    if let Some(placement) = attempt.nominated().await? {
        return Ok(placement);
    }
    let mut cycle = attempt.cycle();
    let list = match cycle.filter(&mut Memory::None, kept) {
        Ok(Found::List(list)) => list,
        Ok(Found::Kept | Found::Grouped(_)) => Vec::new(),
        Err(Stop::Error(status)) => return Err(Unplaced::error(status)),
        Err(Stop::Unschedulable(diagnosis)) => {
            return Err(attempt.post_filter(cycle, *diagnosis).await);
        }
    };
    let asked = framework.filter_by_extenders(pod, snapshot, list).await;
    let (list, rejected) = asked.map_err(Unplaced::error)?;
    if list.is_empty() {
        let diagnosis = attempt.all_rejected(&mut cycle, rejected);
        return Err(attempt.post_filter(cycle, diagnosis).await);
    }
    let feasible = list.len();
    let (position, score) = match list.as_slice() {
        [only] => (*only, 0),
        _ => {
            let mut total = plugin_scores(&mut cycle, &list).map_err(Unplaced::error)?;
            framework.score_by_extenders(pod, snapshot, &list, &mut total).await;
            let (at, score) = best(&total, random);
            (list[at], score)
        }
    };
    let node = snapshot.node(position).shared_name();
    Ok(Placement { node, position, state: cycle.into_state(), feasible, score })
}

/// The weighted sums of what the plugins say.
fn plugin_scores(cycle: &mut Cycle<'_>, list: &[u32]) -> Result<Vec<i64>, Status> {
    let positions = || list.to_vec();
    let skipped = cycle.pre_score(&Feasible::new(list.len(), &positions))?;
    let asked = cycle.scorers(&skipped);
    let mut total = vec![0; list.len()];
    cycle.score(list, &asked, &mut total)?;
    Ok(total)
}

impl<'a> Attempt<'a> {
    fn cycle(self) -> Cycle<'a> {
        Cycle::new(self.framework, self.snapshot, self.pod)
    }

    /// The node that others made room on for this pod, if it fits there by now and the extenders
    /// let it. One that fails turns the attempt to all nodes.
    async fn nominated(self) -> Result<Option<Placement>, Box<Unplaced>> {
        let mut cycle = self.cycle();
        let position = match cycle.nominated(self.kept) {
            Ok(Some(at)) => at,
            Ok(None) | Err(Stop::Unschedulable(_)) => return Ok(None),
            Err(Stop::Error(status)) => return Err(Unplaced::error(status)),
        };
        let asked = self.framework.filter_by_extenders(self.pod, self.snapshot, vec![position]);
        match asked.await {
            Ok((left, _)) if !left.is_empty() => {}
            _ => return Ok(None),
        }
        let node = self.snapshot.node(position).shared_name();
        let state = cycle.into_state();
        Ok(Some(Placement { node, position, state, feasible: 1, score: 0 }))
    }

    /// The extenders have turned away what the plugins had left.
    fn all_rejected(self, cycle: &mut Cycle<'_>, rejected: Vec<(u32, Status)>) -> Diagnosis {
        let extender: Arc<str> = Arc::from(EXTENDER);
        let mut all = cycle.turned_away.take();
        for (at, status) in rejected {
            all.push(at, &extender, status);
        }
        let diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        let narrowed = cycle.narrowed.take();
        *cycle.unschedulable(diagnosis, all, narrowed)
    }

    /// Whether room can be made, where extenders may choose on which node.
    async fn post_filter(self, cycle: Cycle<'_>, diagnosis: Diagnosis) -> Box<Unplaced> {
        let mut unplaced = cycle.post_filter(diagnosis, self.kept);
        drop(cycle);
        let Some(mut proposal) = unplaced.proposal.take() else { return unplaced };
        let victims = proposal.take();
        let asked = self.framework.preempt_by_extenders(self.pod, self.snapshot, victims).await;
        let chosen = match asked {
            Ok(left) => proposal.choose(left),
            Err(status) => return Unplaced::error(status),
        };
        unplaced.nominated = chosen.nominated_node;
        (unplaced.effect, unplaced.victims) = (chosen.effect, chosen.victims);
        unplaced.diagnosis.post_filter = chosen.status.message();
        unplaced
    }
}
