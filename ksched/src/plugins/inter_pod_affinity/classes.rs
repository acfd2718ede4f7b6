//! Nodes that affinity does not tell apart.

use super::score::Preferences;
use super::state::State;
use super::{ANTI_AFFINITY, EXISTING, InterPodAffinity, NO_AFFINITY};
use crate::framework::{Basis, CycleState, FilterClasses, ScoreClasses, Status};
use crate::snapshot::{NO_VALUE, NodeInfo, PodInfo};

impl FilterClasses for InterPodAffinity {
    fn basis(&self, state: &CycleState) -> Basis {
        let mut basis = Basis::default();
        let Some(state) = state.read::<State>() else { return basis };
        basis.number(state.namespaces);
        for places in [&state.affinity, &state.anti, &state.existing] {
            basis.number(places.len() as u64);
            for place in places {
                basis.name(place.term());
                basis.topology(place.topology());
            }
        }
        basis
    }

    fn class(
        &self,
        state: &CycleState,
        _: &PodInfo,
        at: u32,
        _: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool {
        let Some(state) = state.read::<State>() else { return false };
        let all = state.affinity.iter().chain(&state.anti).chain(&state.existing);
        into.extend(all.map(|place| place.class(at)));
        true
    }

    fn filter_class(&self, state: &CycleState, _: &PodInfo, class: &[i64]) -> Status {
        let Some(state) = state.read::<State>() else { return Status::success() };
        let (affinity, rest) = class.split_at(state.affinity.len().min(class.len()));
        let (anti, existing) = rest.split_at(state.anti.len().min(rest.len()));
        let first = !state.affinity.is_empty() && !state.is_met() && state.itself;
        let mut near = state.affinity.iter().zip(affinity);
        if !near.all(|(place, class)| place.at_class(*class).is_some_and(|some| first || some)) {
            return Status::unresolvable(NO_AFFINITY);
        }
        let mut kept = state.anti.iter().zip(anti);
        if kept.any(|(place, class)| place.at_class(*class) == Some(true)) {
            return Status::unschedulable(ANTI_AFFINITY);
        }
        let mut keeping = state.existing.iter().zip(existing);
        if keeping.any(|(place, class)| place.at_class(*class) == Some(true)) {
            return Status::unschedulable(EXISTING);
        }
        Status::success()
    }
}

impl ScoreClasses for InterPodAffinity {
    fn basis(&self, state: &CycleState) -> Basis {
        let mut basis = Basis::default();
        let Some(Preferences { all, namespaces }) = state.read() else { return basis };
        basis.number(*namespaces);
        for each in all {
            basis.name(&each.term);
            basis.number(each.used as u64);
            basis.number(each.weight.cast_unsigned());
            basis.topology(each.tally.topology());
        }
        basis
    }

    fn class(
        &self,
        state: &CycleState,
        _: &PodInfo,
        at: u32,
        _: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool {
        let Some(Preferences { all, .. }) = state.read() else { return false };
        let own = into.len();
        into.push(0);
        for each in all {
            let topology = each.tally.topology();
            match topology.at(at) {
                // What is in a place of one node goes with that node, and is added up at once.
                place if topology.is_of_single_nodes() => {
                    into[own] += each.tally.sum(place) * each.weight;
                }
                NO_VALUE => into.push(-1),
                place => into.push(i64::from(place)),
            }
        }
        true
    }

    fn score_class(&self, state: &CycleState, _: &PodInfo, class: &[i64]) -> Result<i64, Status> {
        let Some(Preferences { all, .. }) = state.read() else { return Ok(0) };
        let Some((own, places)) = class.split_first() else { return Ok(0) };
        let shared = all.iter().filter(|each| !each.tally.topology().is_of_single_nodes());
        let sums = shared.zip(places).map(|(each, place)| {
            let place = u32::try_from(*place).unwrap_or(NO_VALUE);
            each.tally.sum(place) * each.weight
        });
        Ok(own + sums.sum::<i64>())
    }
}
