//! Holds what plugins say of classes of nodes against what they say of each.

use super::groups::{InClasses, pre_scored};
use crate::framework::{CycleState, Framework, Status};
use crate::snapshot::{PodInfo, Snapshot};

/// Compares what filters say of each class with what they say of its nodes; how many answers that
/// were.
pub(super) fn compare_filters(
    framework: &Framework,
    state: &CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
) -> Result<usize, String> {
    let mut compared = 0;
    for plugged in &framework.points.filter {
        let Some(classes) = plugged.plugin.classes() else { continue };
        for (at, node) in (0_u32..).zip(nodes.nodes()) {
            let mut class = Vec::new();
            if !classes.class(state, pod, at, node, &mut class) {
                continue;
            }
            let said = classes.filter_class(state, pod, &class);
            let each = plugged.plugin.filter(state, pod, node);
            if said != each {
                return Err(format!("classes_hold: {each}, but class {class:?}: {said}"));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// The same for scorers, before their scores are normalized.
pub(super) fn compare_scores(
    framework: &Framework,
    state: CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
) -> Result<usize, String> {
    let Some(plain) = pre_scored(framework, state.clone(), pod, nodes, InClasses::No) else {
        return Ok(0);
    };
    let Some(by_class) = pre_scored(framework, state, pod, nodes, InClasses::Yes) else {
        return Err("classes_hold: PreScore skips nodes that come in classes".to_owned());
    };
    let mut compared = 0;
    for (plugged, _) in &framework.points.score {
        let (Some(classes), mut state) = (plugged.plugin.classes(), by_class.clone()) else {
            continue;
        };
        let mut all: Vec<Vec<i64>> = Vec::new();
        for (at, node) in (0_u32..).zip(nodes.nodes()) {
            let mut class = Vec::new();
            if !classes.class(&state, pod, at, node, &mut class) {
                break;
            }
            all.push(class);
        }
        let told: Vec<(&[i64], usize)> = all.iter().map(|class| (class.as_slice(), 1)).collect();
        if told.len() < nodes.len() || !classes.feasible(&mut state, pod, &told) {
            continue;
        }
        for (class, node) in all.iter().zip(nodes.nodes()) {
            let said: Result<i64, Status> = classes.score_class(&state, pod, class);
            let each = plugged.plugin.score(&plain, pod, node);
            if said != each {
                return Err(format!("classes_hold: {each:?}, but class {class:?}: {said:?}"));
            }
            compared += 1;
        }
    }
    Ok(compared)
}
