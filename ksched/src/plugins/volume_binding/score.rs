//! Ranks nodes by how much of their storage the pod's claims use.

use std::collections::BTreeMap;

use kcore::quantity::Quantity;

use super::plan::{Plan, plan as plan_volumes};
use super::{Found, VolumeBinding};
use crate::framework::{CycleState, Feasible, PreScorePlugin, ScorePlugin, Status};
use crate::plugins::shape::{Shape, ShapePoint, rounded_mean};
use crate::plugins::volumes::asked_storage;
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// The more is left the better.
pub(super) fn default_shape() -> Vec<ShapePoint> {
    let point = |utilization, score| ShapePoint { utilization, score };
    vec![point(0, 10), point(100, 0)]
}

/// How much of the storage of one class is asked for, of how much, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    requested: i64,
    capacity: i64,
}

/// What the claims of a plan use of each class: of the volumes that are there; or, where all are
/// to be made, of what they are made from.
fn compute_used(plan: &Plan) -> BTreeMap<String, Used> {
    let mut classes: BTreeMap<String, Used> = BTreeMap::new();
    for (volume, claim) in &plan.bindings {
        let class = volume.spec.storage_class_name.clone().unwrap_or_default();
        let used = classes.entry(class).or_default();
        let asked = asked_storage(claim.spec.as_ref()).unwrap_or_default();
        used.requested = used.requested.saturating_add(asked.units());
        used.capacity = used.capacity.saturating_add(volume.size.units());
    }
    if !plan.bindings.is_empty() {
        return classes;
    }
    for made in &plan.provisions {
        let Some(from) = &made.capacity else { continue };
        let class = made.class.metadata.name.clone().unwrap_or_default();
        let used = classes.entry(class).or_default();
        let left = from.capacity.as_ref().and_then(|left| Quantity::from_api(left).ok());
        // Several are made from what is there once.
        used.capacity = left.unwrap_or_default().units();
        let asked = asked_storage(made.claim.spec.as_ref()).unwrap_or_default();
        used.requested = used.requested.saturating_add(asked.units());
    }
    classes
}

/// The mean of what the classes score.
fn rate(shape: &Shape, classes: &BTreeMap<String, Used>) -> i64 {
    let rates = classes.values().map(|used| shape.rate(used.requested, used.capacity));
    rounded_mean(rates.sum(), i64::try_from(classes.len()).unwrap_or(i64::MAX))
}

impl PreScorePlugin for VolumeBinding {
    fn pre_score(
        &self,
        state: &mut CycleState,
        _: &PodInfo,
        _: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        let Some(Found(found)) = state.read::<Found>() else { return Status::skip() };
        let known = found.unbound.iter().any(|unbound| unbound.capacities.is_some());
        // With nothing to take or to compare every node would score nothing.
        let says_nothing = found.unbound.is_empty() || (found.candidates.is_empty() && !known);
        if says_nothing { Status::skip() } else { Status::success() }
    }
}

impl ScorePlugin for VolumeBinding {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let Some(Found(found)) = state.read::<Found>() else { return Ok(0) };
        let plan = plan_volumes(&found.unbound, &found.candidates, &found.reserved, node);
        Ok(plan.map_or(0, |plan| rate(&self.shape, &compute_used(&plan))))
    }
}
