//! How a rollout goes on, as plain functions.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::facts::{MAX, actual, available, bounds, max_total, number, replicas, revision, size};

/// A ReplicaSet's new size.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// The set.
    pub set: Arc<ReplicaSet>,
    /// How many pods it is to have.
    pub to: i32,
}

type Sets<'a> = &'a [Arc<ReplicaSet>];

/// The size a new set starts with, or grows to: as much as the surge leaves room for.
#[must_use]
pub fn new_size(deployment: &Deployment, current: i32, total: i32) -> i32 {
    let wanted = replicas(deployment);
    if super::facts::is_recreate(deployment) {
        return wanted;
    }
    let room = wanted.saturating_add(bounds(deployment).0).saturating_sub(total);
    if room <= 0 { current } else { current + room.min(wanted - current).max(0) }
}

/// One step of a rolling update: the new set grows as far as the surge allows; if it cannot, old
/// pods that are not available go first, then as many available ones as may be missing.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>
#[must_use]
pub fn plan_rolling(deployment: &Deployment, new: &Arc<ReplicaSet>, old: Sets<'_>) -> Vec<Resize> {
    let total = size(new) + old.iter().map(|set| size(set)).sum::<i32>();
    let wanted = replicas(deployment);
    let to = if size(new) >= wanted { wanted } else { new_size(deployment, size(new), total) };
    if to != size(new) {
        return vec![Resize { set: Arc::clone(new), to }];
    }
    if old.iter().all(|set| size(set) == 0) {
        return Vec::new();
    }
    let min_available = wanted - bounds(deployment).1;
    let new_missing = size(new) - available(new);
    let mut sizes: Vec<i32> = old.iter().map(|set| size(set)).collect();
    let mut excess = total - min_available - new_missing;
    if excess <= 0 {
        return Vec::new();
    }
    for (set, size) in old.iter().zip(&mut sizes) {
        let gone = excess.min(*size - available(set)).max(0);
        *size -= gone;
        excess -= gone;
    }
    let there = available(new) + old.iter().map(|set| available(set)).sum::<i32>();
    let mut spare = there - min_available;
    for size in &mut sizes {
        let gone = spare.min(*size).max(0);
        *size -= gone;
        spare -= gone;
    }
    old.iter()
        .zip(sizes)
        .filter(|(set, to)| size(set) != *to)
        .map(|(set, to)| Resize { set: Arc::clone(set), to })
        .collect()
}

/// What a change of the Deployment's size means for its sets: one that is alone takes it all;
/// several in the middle of a rollout share it in proportion.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>
#[must_use]
pub fn plan_scaling(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    old: Sets<'_>,
) -> Vec<Resize> {
    let wanted = replicas(deployment);
    let resize = |set: &Arc<ReplicaSet>, to: i32| Resize { set: Arc::clone(set), to };
    let all: Vec<&Arc<ReplicaSet>> = new.into_iter().chain(old).collect();
    let active: Vec<&Arc<ReplicaSet>> = all.iter().filter(|set| size(set) > 0).copied().collect();
    let sole = match active.as_slice() {
        [] => new.or(old.last()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(sole) = sole {
        return if size(sole) == wanted { Vec::new() } else { vec![resize(sole, wanted)] };
    }
    if new.is_some_and(|new| is_saturated(deployment, new)) {
        return old.iter().filter(|set| size(set) > 0).map(|set| resize(set, 0)).collect();
    }
    if super::facts::is_recreate(deployment) {
        return Vec::new();
    }
    share_out(deployment, active)
}

fn share_out(deployment: &Deployment, mut active: Vec<&Arc<ReplicaSet>>) -> Vec<Resize> {
    let allowed = max_total(deployment);
    let total: i32 = active.iter().map(|set| size(set)).sum();
    let to_add = allowed - total;
    // The biggest first; of equals the newer ones grow, and the older ones shrink.
    active.sort_by_key(|set| set.metadata.creation_timestamp.as_ref().map(|time| time.0));
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| std::cmp::Reverse(size(set)));
    let mut added = 0;
    let mut sizes: Vec<i32> = active
        .iter()
        .map(|set| {
            let share = proportion(deployment, set, allowed);
            let left = to_add - added;
            let share = if to_add > 0 { share.clamp(0, left) } else { share.clamp(left, 0) };
            added += share;
            size(set) + share
        })
        .collect();
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    active
        .iter()
        .zip(sizes)
        .filter(|(set, to)| size(set) != *to)
        .map(|(set, to)| Resize { set: Arc::clone(set), to })
        .collect()
}

/// By how much a set changes to keep its share of the whole.
fn proportion(deployment: &Deployment, set: &ReplicaSet, allowed: i32) -> i32 {
    let now = size(set);
    if replicas(deployment) == 0 {
        return -now;
    }
    let annotated = number(set.metadata.annotations.as_ref(), MAX).filter(|max| *max > 0);
    let status = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let whole = annotated.unwrap_or(i64::from(status)).max(1);
    // Rounded to the nearest, in whole numbers.
    let scaled = (2 * i64::from(now) * i64::from(allowed) + whole) / (2 * whole);
    i32::try_from(scaled).unwrap_or(i32::MAX) - now
}

/// Whether a set has all that its Deployment wants.
fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let desired = number(set.metadata.annotations.as_ref(), super::facts::DESIRED);
    let wanted = replicas(deployment);
    size(set) == wanted && desired == Some(wanted.into()) && available(set) == wanted
}

/// The old sets beyond the history limit that nobody needs, oldest revision first.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#clean-up-policy>
#[must_use]
pub fn plan_cleanup(deployment: &Deployment, old: Sets<'_>) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = deployment.spec.revision_history_limit else { return Vec::new() };
    let mut old: Vec<Arc<ReplicaSet>> =
        old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|set| revision(set));
    old.truncate(excess);
    old.retain(|set| {
        let observed = set.status.as_ref().and_then(|status| status.observed_generation);
        actual(set) == 0 && size(set) == 0 && observed >= set.metadata.generation
    });
    old
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(replicas: i32, surge: Value, unavailable: Value) -> Deployment {
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas,
            "revisionHistoryLimit": 1, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {
                "maxSurge": surge, "maxUnavailable": unavailable}}}}))
        .unwrap()
    }

    fn set(name: &str, size: i32, available: i32) -> Arc<ReplicaSet> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "generation": 1},
                "spec": {"replicas": size, "selector": {}},
                "status": {"replicas": size, "availableReplicas": available,
                    "observedGeneration": 1}}))
            .unwrap(),
        )
    }

    fn with_max(set: &Arc<ReplicaSet>, max: i32) -> Arc<ReplicaSet> {
        let mut set = (**set).clone();
        set.metadata.annotations = Some([(MAX.to_owned(), max.to_string())].into());
        Arc::new(set)
    }

    fn sizes(plan: &[Resize]) -> Vec<(&str, i32)> {
        plan.iter().map(|one| (one.set.metadata.name.as_deref().unwrap(), one.to)).collect()
    }

    #[test]
    fn percentages_round_up_for_surge_and_down_for_unavailable() {
        let check = |replicas, surge: Value, unavailable: Value, expect| {
            assert_eq!(bounds(&deployment(replicas, surge, unavailable)), expect);
        };
        check(3, json!("25%"), json!("25%"), (1, 0));
        check(10, json!("25%"), json!("25%"), (3, 2));
        check(1, json!("0%"), json!("10%"), (0, 1));
        check(2, json!(0), json!(5), (0, 2));
    }

    #[test]
    fn a_rolling_update_grows_first_then_clears_unhealthy_then_available_pods() {
        let check = |deployment: &Deployment, new: (i32, i32), old: &[(i32, i32)], expect: &[_]| {
            let names = ["o1", "o2"];
            let old: Vec<_> =
                old.iter().zip(names).map(|(old, name)| set(name, old.0, old.1)).collect();
            let plan = plan_rolling(deployment, &set("new", new.0, new.1), &old);
            assert_eq!(sizes(&plan), expect);
        };
        let quarter = deployment(4, json!("25%"), json!("25%"));
        check(&quarter, (0, 0), &[(4, 4)], &[("new", 1)]);
        check(&quarter, (1, 0), &[(4, 4)], &[("o1", 3)]);
        check(&quarter, (2, 0), &[(3, 3)], &[]);
        check(&quarter, (2, 1), &[(3, 3)], &[("o1", 2)]);
        check(&quarter, (4, 3), &[(1, 0)], &[("o1", 0)]);
        check(&quarter, (6, 6), &[], &[("new", 4)]);
        check(&quarter, (4, 4), &[(1, 1)], &[("o1", 0)]);
        let no_surge = deployment(3, json!(0), json!(1));
        check(&no_surge, (0, 0), &[(3, 3)], &[("o1", 2)]);
        check(&no_surge, (0, 0), &[(1, 0), (2, 2)], &[("o1", 0)]);
    }

    #[test]
    fn a_change_of_size_in_a_rollout_is_shared_in_proportion() {
        let ten_to_fifteen = deployment(15, json!(3), json!(2));
        let (new, old) = (with_max(&set("new", 5, 0), 13), with_max(&set("old", 8, 8), 13));
        let plan = plan_scaling(&ten_to_fifteen, Some(&new), &[old]);
        assert_eq!(sizes(&plan), [("old", 11), ("new", 7)]);
        let to_zero = deployment(0, json!(3), json!(2));
        let (new, old) = (with_max(&set("new", 5, 0), 13), with_max(&set("old", 8, 8), 13));
        let plan = plan_scaling(&to_zero, Some(&new), &[old]);
        assert_eq!(sizes(&plan), [("old", 0), ("new", 0)]);
        let alone = deployment(2, json!(1), json!(0));
        let plan = plan_scaling(&alone, Some(&set("new", 5, 5)), &[set("old", 0, 0)]);
        assert_eq!(sizes(&plan), [("new", 2)]);
    }

    #[test]
    fn only_empty_old_sets_beyond_the_limit_are_cleaned_up() {
        let numbered = |name: &str, size: i32, revision: i64| {
            let mut set = (*set(name, size, size)).clone();
            let note = (super::super::facts::REVISION.to_owned(), revision.to_string());
            set.metadata.annotations = Some([note].into());
            Arc::new(set)
        };
        let old = [numbered("r3", 0, 3), numbered("r1", 0, 1), numbered("r2", 1, 2)];
        let gone = plan_cleanup(&deployment(3, json!(1), json!(1)), &old);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].metadata.name.as_deref(), Some("r1"));
    }
}
