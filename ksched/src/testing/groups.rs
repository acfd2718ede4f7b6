//! Holds what plugins say of groups of nodes against what they say of each.

use crate::framework::{CycleState, Feasible, Framework, GroupVerdict};
use crate::snapshot::{Amounts, NodeGroup, NodeInfo, PodInfo, Snapshot};

/// Compares the answers for a group of nodes of one shape, and for each of them as a group of its
/// own; how many answers that were.
pub(super) fn compare(
    framework: &Framework,
    state: CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
    skips: PreFiltered,
) -> Result<usize, String> {
    let all = nodes.nodes();
    let Some(first) = all.first() else { return Ok(0) };
    let amounts = Amounts::of(first);
    let each = || all.iter().map(|node| Amounts::of(node));
    let least = each().fold(amounts, |least, other| Amounts::min(&least, &other));
    let most = each().fold(amounts, |most, other| Amounts::max(&most, &other));
    let whole = (NodeGroup::new(first, least, most), (0..all.len()).collect());
    let one = |(at, node): (usize, &std::sync::Arc<NodeInfo>)| {
        let amounts = Amounts::of(node);
        (NodeGroup::new(first, amounts, amounts), vec![at])
    };
    let groups: Vec<(NodeGroup<'_>, Vec<usize>)> =
        std::iter::once(whole).chain(all.iter().enumerate().map(one)).collect();
    let mut compared = 0;
    for (group, members) in &groups {
        let members: Vec<&NodeInfo> = members.iter().map(|at| &*all[*at]).collect();
        if skips == PreFiltered::Asked {
            compared += filter(framework, &state, pod, (group, &members))?;
        }
    }
    let Some(state) = pre_scored(framework, state, pod, nodes, InClasses::No) else {
        return Ok(compared);
    };
    for (group, members) in &groups {
        let members: Vec<&NodeInfo> = members.iter().map(|at| &*all[*at]).collect();
        compared += score(framework, &state, pod, (group, &members))?;
    }
    Ok(compared)
}

fn filter(
    framework: &Framework,
    state: &CycleState,
    pod: &PodInfo,
    (group, members): (&NodeGroup<'_>, &[&NodeInfo]),
) -> Result<usize, String> {
    let mut compared = 0;
    for plugged in &framework.points.filter {
        let Some(said) = plugged.plugin.filter_group(state, pod, group) else { continue };
        let pass = |node: &&NodeInfo| plugged.plugin.filter(state, pod, node).is_success();
        let passed = members.iter().filter(|node| pass(node)).count();
        let holds = match said {
            GroupVerdict::Pass => passed == members.len(),
            GroupVerdict::Reject => passed == 0,
            GroupVerdict::Mixed => !group.is_one_state(),
        };
        if !holds {
            let of = members.len();
            return Err(format!("groups_hold: {said:?}, but {passed} of {of} pass: {group:?}"));
        }
        compared += 1;
    }
    Ok(compared)
}

fn score(
    framework: &Framework,
    state: &CycleState,
    pod: &PodInfo,
    (group, members): (&NodeGroup<'_>, &[&NodeInfo]),
) -> Result<usize, String> {
    let mut compared = 0;
    for (plugged, _) in framework.points.score.iter().filter(|(p, _)| p.plugin.keeps().is_some()) {
        let Some((least, most)) = plugged.plugin.score_group(state, pod, group) else { continue };
        for node in members {
            let score = plugged.plugin.score(state, pod, node);
            let within = score.as_ref().is_ok_and(|score| (least..=most).contains(score));
            if !within || (group.is_one_state() && least != most) {
                return Err(format!("groups_hold: {least} to {most}, but {score:?}: {group:?}"));
            }
        }
        compared += 1;
    }
    Ok(compared)
}

/// Whether PreFilter wants Filter to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreFiltered {
    Asked,
    Skipped,
}

/// Whether scorers are told of the feasible nodes by classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InClasses {
    Yes,
    No,
}

/// The state after PreScore; none if the plugin has nothing to say.
pub(super) fn pre_scored(
    framework: &Framework,
    mut state: CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
    how: InClasses,
) -> Option<CycleState> {
    let all: Vec<u32> = (0_u32..).take(nodes.len()).collect();
    let list = || all.clone();
    let feasible = match how {
        InClasses::Yes => Feasible::in_classes(all.len(), &list),
        InClasses::No => Feasible::new(all.len(), &list),
    };
    let mut points = framework.points.pre_score.iter();
    let skips = points.any(|p| p.plugin.pre_score(&mut state, pod, nodes, &feasible).is_skip());
    (!skips).then_some(state)
}
