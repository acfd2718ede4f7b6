//! What a ReplicaSet needs, as plain functions.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod;

/// The most pods that one reconcile creates or deletes.
pub const BURST: usize = 500;
/// The annotation by which users say which pods go first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What to do about the number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// There are as many as there should be.
    Keep,
    /// So many are missing.
    Create(usize),
    /// So many are too many.
    Delete(usize),
}

/// Compares what is there with what is wanted.
#[must_use]
pub fn plan_scale(active: usize, wanted: i32) -> Scale {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    match active.cmp(&wanted) {
        Ordering::Equal => Scale::Keep,
        Ordering::Less => Scale::Create((wanted - active).min(BURST)),
        Ordering::Greater => Scale::Delete((active - wanted).min(BURST)),
    }
}

/// The sizes of slow-start batches: one, then twice as many each time, so that a create that
/// cannot succeed is not tried hundreds of times.
#[must_use]
pub fn slow_start(count: usize) -> Vec<usize> {
    let (mut left, mut size, mut batches) = (count, 1, Vec::new());
    while left > 0 {
        let batch = size.min(left);
        batches.push(batch);
        left -= batch;
        size *= 2;
    }
    batches
}

/// Picks the `count` pods whose loss hurts least. `related` are all pods of the same workload:
/// a node with more of them loses one first.
#[must_use]
pub fn choose_victims(
    mut pods: Vec<Arc<Pod>>,
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for other in related.iter().filter(|pod| pod::is_active(pod)) {
        *on_node.entry(node(other)).or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| {
        let doubled = on_node.get(node(pod)).copied().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        (worth(pod, doubled, now), uid)
    });
    pods.truncate(count);
    pods
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

type Worth = (bool, u8, bool, i32, Reverse<usize>, u32, Reverse<i32>, u32);

/// What a pod is worth, in upstream's order; the least goes first.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>
fn worth(pod: &Pod, doubled: usize, now: Timestamp) -> Worth {
    let phase = match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let ready = pod::is_ready(pod);
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|notes| notes.get(DELETION_COST)?.parse().ok()).unwrap_or(0);
    let doubled = if node(pod).is_empty() { 0 } else { doubled };
    let ready_for = pod::ready_since(pod).map_or(0, |since| age_bucket(since, now));
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let restarts = statuses.into_iter().flatten().map(|one| one.restart_count).max().unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref();
    let age = created.map_or(0, |time| age_bucket(time.0, now));
    let assigned = !node(pod).is_empty();
    (assigned, phase, ready, cost, Reverse(doubled), ready_for, Reverse(restarts), age)
}

/// Ages count by their order of magnitude, so that the youngest is not always the one to go.
fn age_bucket(since: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.duration_since(since).as_secs().max(0).unsigned_abs();
    u64::BITS - seconds.leading_zeros()
}

/// A failure to report in the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// The error.
    pub message: String,
}

/// The status that the pods give. `terminating` are the set's pods that are being deleted.
#[must_use]
pub fn compute_status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let labels = set.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let labels = labels.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labeled = |pod: &Pod| {
        let own = pod.metadata.labels.as_ref();
        labels.iter().all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value))
    };
    let seconds = set.spec.min_ready_seconds.unwrap_or(0);
    let count =
        |test: &dyn Fn(&Pod) -> bool| Some(number(active.iter().filter(|pod| test(pod)).count()));
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: count(&labeled),
        ready_replicas: count(&pod::is_ready),
        available_replicas: count(&|pod| pod::is_available(pod, seconds, now)),
        terminating_replicas: Some(number(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions.unwrap_or_default(), failure, now),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn conditions(
    mut conditions: Vec<ReplicaSetCondition>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let known = conditions.iter().position(|condition| condition.type_.as_deref() == Some(KIND));
    match (failure, known) {
        (None, Some(at)) => {
            conditions.remove(at);
        }
        (Some(failure), known) => {
            let same = |at: usize| conditions[at].reason.as_deref() == Some(failure.reason);
            if !known.is_some_and(same) {
                conditions.retain(|condition| condition.type_.as_deref() != Some(KIND));
                conditions.push(ReplicaSetCondition {
                    type_: Some(KIND.to_owned()),
                    status: Some("True".to_owned()),
                    reason: Some(failure.reason.to_owned()),
                    message: Some(failure.message.clone()),
                    last_transition_time: Some(Time(now)),
                });
            }
        }
        (None, None) => {}
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// Whether two statuses say the same; an absent number is zero.
#[must_use]
pub fn same_status(a: &ReplicaSetStatus, b: &ReplicaSetStatus) -> bool {
    let numbers = |status: &ReplicaSetStatus| {
        [
            Some(status.replicas),
            status.fully_labeled_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.terminating_replicas,
        ]
        .map(Option::unwrap_or_default)
    };
    numbers(a) == numbers(b)
        && a.observed_generation == b.observed_generation
        && a.conditions.as_deref().unwrap_or_default()
            == b.conditions.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn make(name: &str, json: Value) -> Arc<Pod> {
        let mut pod: Pod = serde_json::from_value(json).unwrap();
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(format!("uid-{name}"));
        Arc::new(pod)
    }

    fn running(name: &str, node: &str, more: Value) -> Arc<Pod> {
        let mut status = json!({"phase": "Running", "conditions": [{"type": "Ready",
            "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        for (key, value) in more["status"].as_object().into_iter().flatten() {
            status[key] = value.clone();
        }
        make(
            name,
            json!({"metadata": more["metadata"], "spec": {"containers": [], "nodeName": node},
                "status": status}),
        )
    }

    #[test]
    fn missing_pods_come_in_slow_start_batches_up_to_the_burst() {
        assert_eq!(plan_scale(3, 3), Scale::Keep);
        assert_eq!(plan_scale(1, 3), Scale::Create(2));
        assert_eq!(plan_scale(5, 3), Scale::Delete(2));
        assert_eq!(plan_scale(0, 100_000), Scale::Create(BURST));
        assert_eq!(slow_start(10), [1, 2, 4, 3]);
        assert_eq!(slow_start(0), [0; 0]);
        assert_eq!(slow_start(BURST).iter().sum::<usize>(), BURST);
    }

    #[test]
    fn victims_are_ranked_as_upstream_ranks_them() {
        let check = |worse: Arc<Pod>, better: Arc<Pod>, related: &[Arc<Pod>]| {
            for pods in [vec![worse.clone(), better.clone()], vec![better, worse.clone()]] {
                let victims = choose_victims(pods, related, 1, now());
                assert_eq!(victims[0].metadata.name, worse.metadata.name);
            }
        };
        let old = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
        let normal = || running("b", "n1", old.clone());
        check(make("z", json!({"metadata": {}, "status": {"phase": "Pending"}})), normal(), &[]);
        check(running("z", "n1", json!({"status": {"phase": "Pending"}})), normal(), &[]);
        check(running("z", "n1", json!({"status": {"conditions": []}})), normal(), &[]);
        let cheap = json!({"metadata": {"annotations": {DELETION_COST: "-5"}}});
        check(running("z", "n1", cheap), normal(), &[]);
        let crowded = running("z", "n2", old.clone());
        check(crowded.clone(), normal(), &[crowded.clone(), crowded, normal()]);
        let young = json!({"metadata": {"creationTimestamp": "2026-01-01T00:59:00Z"}});
        check(running("z", "n1", young), normal(), &[]);
        let fresh = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2026-01-01T00:59:59Z"}]}});
        check(running("z", "n1", fresh), normal(), &[]);
        let shaky = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "",
                "ready": true, "restartCount": 3}]}});
        check(running("z", "n1", shaky), normal(), &[]);
    }

    #[test]
    fn the_status_counts_and_a_failure_shows_until_it_is_over() {
        let mut set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 4},
            "spec": {"replicas": 3, "minReadySeconds": 3601, "selector": {},
                "template": {"metadata": {"labels": {"app": "web"}}}}}))
        .unwrap();
        let labels = json!({"metadata": {"labels": {"app": "web"}}});
        let pods = [running("a", "n1", labels), running("b", "n1", json!({}))];
        let failure = Failure { reason: "FailedCreate", message: "no".into() };
        let status = compute_status(&set, &pods, 1, Some(&failure), now());
        assert_eq!((status.replicas, status.ready_replicas), (2, Some(2)));
        assert_eq!((status.fully_labeled_replicas, status.available_replicas), (Some(1), Some(0)));
        assert_eq!((status.terminating_replicas, status.observed_generation), (Some(1), Some(4)));
        assert_eq!(status.conditions.as_ref().unwrap()[0].reason.as_deref(), Some("FailedCreate"));
        set.status = Some(status.clone());
        set.spec.min_ready_seconds = Some(3600);
        let later = compute_status(&set, &pods, 1, None, now());
        assert_eq!((later.available_replicas, &later.conditions), (Some(2), &None));
        assert!(!same_status(&status, &later));
        assert!(same_status(&later, &later.clone()));
    }
}
