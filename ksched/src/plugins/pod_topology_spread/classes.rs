//! Nodes that spreading does not tell apart.

use std::collections::BTreeSet;

use super::constraint::{Constraint, HOSTNAME, Unlabeled};
use super::score::{self, LEFT_OUT};
use super::{NO_LABEL, PodTopologySpread, State, TOO_MANY};
use crate::framework::{Basis, CycleState, FilterClasses, ScoreClasses, Status};
use crate::snapshot::{NO_VALUE, NodeInfo, PodInfo, Tally};

/// In place of a place: the node lacks the label.
const UNLABELED: i64 = -1;
/// In place of a place: nobody who is counted is there.
const EMPTY: i64 = -2;

fn basis<'t>(tallies: impl Iterator<Item = &'t Tally>) -> Basis {
    let mut basis = Basis::default();
    tallies.for_each(|tally| basis.topology(tally.topology()));
    basis
}

/// The place of a node, also of one that is not counted itself.
fn place(constraint: &Constraint, tally: &Tally, at: u32, node: &NodeInfo) -> i64 {
    match tally.topology().at(at) {
        NO_VALUE => match node.label(&constraint.key) {
            None => UNLABELED,
            Some(value) => tally.topology().value(value).map_or(EMPTY, i64::from),
        },
        place => i64::from(place),
    }
}

fn is_left_out(unlabeled: Unlabeled, class: &[i64]) -> bool {
    unlabeled == Unlabeled::LeftOut && class.contains(&UNLABELED)
}

fn pods(tally: &Tally, place: i64) -> i64 {
    u32::try_from(place).map_or(0, |place| tally.sum(place))
}

impl FilterClasses for PodTopologySpread {
    fn basis(&self, state: &CycleState) -> Basis {
        let spreads = state.read::<State>().into_iter().flat_map(|state| &state.spreads);
        basis(spreads.map(|spread| &*spread.tally))
    }

    fn class(
        &self,
        state: &CycleState,
        _: &PodInfo,
        at: u32,
        node: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool {
        let Some(State { constraints, spreads }) = state.read::<State>() else { return false };
        for (constraint, spread) in constraints.hard.iter().zip(spreads) {
            let tally = &spread.tally;
            let place = place(constraint, tally, at, node);
            if tally.topology().is_of_single_nodes() && place >= 0 {
                // Its pods make the class: those of another node could change without it.
                if tally.topology().at(at) == NO_VALUE {
                    return false;
                }
                into.push(pods(tally, place));
            } else {
                into.push(place);
            }
        }
        true
    }

    fn filter_class(&self, state: &CycleState, _: &PodInfo, class: &[i64]) -> Status {
        let Some(State { constraints, spreads }) = state.read::<State>() else {
            return Status::success();
        };
        for ((constraint, spread), number) in constraints.hard.iter().zip(spreads).zip(class) {
            let there = match *number {
                UNLABELED => return Status::unresolvable(NO_LABEL),
                EMPTY => 0,
                pods if spread.tally.topology().is_of_single_nodes() => pods,
                place => pods(&spread.tally, place),
            };
            if !spread.takes(constraint, there) {
                return Status::unschedulable(TOO_MANY);
            }
        }
        Status::success()
    }
}

impl ScoreClasses for PodTopologySpread {
    fn basis(&self, state: &CycleState) -> Basis {
        let tallies = state.read::<score::State>().into_iter().flat_map(|state| &state.tallies);
        basis(tallies.map(|tally| &**tally))
    }

    fn class(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        at: u32,
        node: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool {
        let Some(state) = state.read::<score::State>() else { return false };
        let soft = &state.constraints.soft;
        let left_out = !state.constraints.unlabeled.admits(soft, node);
        for (constraint, tally) in soft.iter().zip(&state.tallies) {
            into.push(match place(constraint, tally, at, node) {
                _ if left_out => UNLABELED,
                UNLABELED => UNLABELED,
                // What is on the node itself counts.
                _ if &*constraint.key == HOSTNAME => match tally.topology().at(at) {
                    NO_VALUE => constraint.count(pod.namespace(), node),
                    _ => tally.added_at(at),
                },
                place => place,
            });
        }
        true
    }

    fn feasible(&self, state: &mut CycleState, _: &PodInfo, classes: &[(&[i64], usize)]) -> bool {
        let Some(state) = state.read_mut::<score::State>() else { return false };
        let unlabeled = state.constraints.unlabeled;
        let left_out = |class: &[i64]| is_left_out(unlabeled, class);
        let ranked = || classes.iter().filter(|(class, _)| !left_out(class));
        let nodes: usize = ranked().map(|(_, nodes)| nodes).sum();
        let mut weights = Vec::with_capacity(state.tallies.len());
        for (at, constraint) in state.constraints.soft.iter().enumerate() {
            if &*constraint.key == HOSTNAME {
                weights.push(score::weight(nodes));
                continue;
            }
            let places: BTreeSet<i64> = ranked().map(|(class, _)| class[at]).collect();
            // How many places there are that nobody who is counted is in is not known.
            if places.contains(&EMPTY) {
                return false;
            }
            weights.push(score::weight(places.range(0..).count()));
        }
        state.weights = weights;
        true
    }

    fn score_class(&self, state: &CycleState, _: &PodInfo, class: &[i64]) -> Result<i64, Status> {
        let Some(state) = state.read::<score::State>() else { return Ok(0) };
        let constraints = &state.constraints;
        if is_left_out(constraints.unlabeled, class) {
            return Ok(LEFT_OUT);
        }
        let mut sum = 0.0;
        let all = constraints.soft.iter().zip(&state.tallies).zip(class).enumerate();
        for (at, ((constraint, tally), number)) in all {
            let pods = match *number {
                UNLABELED => continue,
                EMPTY => 0,
                pods if &*constraint.key == HOSTNAME => pods,
                place => pods(tally, place),
            };
            sum += state.rate(at, pods);
        }
        Ok(score::rounded(sum))
    }
}
