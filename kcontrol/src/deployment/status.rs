//! What a Deployment's status says, as plain functions.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::{actual, available, bounds, replicas, size};

/// The condition that says whether a rollout moves.
pub const PROGRESSING: &str = "Progressing";
/// The condition that says whether enough pods are available.
pub const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// A rollout is done.
pub const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
/// A rollout took too long.
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// Upstream's word for no deadline.
const NO_DEADLINE: i32 = i32::MAX;

/// A condition's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// The type.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
}

impl Say {
    /// A condition.
    #[must_use]
    pub fn new(
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self { kind, status, reason, message }
    }
}

/// The condition of a type.
#[must_use]
pub fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|one| one.type_.as_deref() == Some(kind))
}

/// Sets a condition. One with this status and reason stays as it is; a transition is a change of
/// status.
pub fn set_condition(status: &mut DeploymentStatus, say: &Say, now: Timestamp) {
    let known = condition(status, say.kind);
    let same_status = known.is_some_and(|one| one.status.as_deref() == Some(say.status));
    if same_status && known.is_some_and(|one| one.reason.as_deref() == Some(say.reason)) {
        return;
    }
    let since = known.filter(|_| same_status).and_then(|one| one.last_transition_time.clone());
    put(status, say, since.unwrap_or(Time(now)), now);
}

fn put(status: &mut DeploymentStatus, say: &Say, since: Time, now: Timestamp) {
    remove_condition(status, say.kind);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: Some(say.kind.to_owned()),
        status: Some(say.status.to_owned()),
        reason: Some(say.reason.to_owned()),
        message: Some(say.message.clone()),
        last_transition_time: Some(since),
        last_update_time: Some(Time(now)),
    });
}

fn remove_condition(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|one| one.type_.as_deref() != Some(kind));
    }
}

/// The counts, and whether enough pods are available.
#[must_use]
pub fn compute_status(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
    now: Timestamp,
) -> DeploymentStatus {
    let all = || new.into_iter().chain(old);
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| all().map(|set| count(set)).sum::<i32>();
    let there = sum(&available);
    let wanted = sum(&size);
    let known = deployment.status.clone().unwrap_or_default();
    let part = |count: &dyn Fn(&ReplicaSet) -> Option<i32>| sum(&|set| count(set).unwrap_or(0));
    let ready = part(&|set| set.status.as_ref()?.ready_replicas);
    let terminating = part(&|set| set.status.as_ref()?.terminating_replicas);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(&actual)),
        updated_replicas: Some(new.map_or(0, |set| actual(set))),
        ready_replicas: Some(ready),
        available_replicas: Some(there),
        unavailable_replicas: Some((wanted - there).max(0)),
        terminating_replicas: Some(terminating),
        collision_count: known.collision_count,
        conditions: known.conditions,
    };
    let enough = there >= replicas(deployment) - bounds(deployment).1;
    let (word, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set_condition(&mut status, &Say::new(AVAILABLE, word, reason, message.to_owned()), now);
    status
}

/// Seconds a rollout may stand still; `None` for any number.
#[must_use]
pub fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE)
}

/// Whether all pods are of the new template, and available.
#[must_use]
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(replicas(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let number = |count: Option<i32>| count.unwrap_or(0);
    let left =
        |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(new.updated_replicas) > number(old.updated_replicas)
        || left(new) < left(old)
        || number(new.ready_replicas) > number(old.ready_replicas)
        || number(new.available_replicas) > number(old.available_replicas)
}

fn stands_since(status: &DeploymentStatus) -> Option<Timestamp> {
    let known = condition(status, PROGRESSING)?;
    known.last_update_time.as_ref().map(|time| time.0)
}

fn timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(seconds) = deadline(deployment) else { return false };
    let reason = condition(status, PROGRESSING).and_then(|one| one.reason.as_deref());
    match reason {
        None | Some(NEW_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        Some(_) => stands_since(status).is_some_and(|since| {
            now.duration_since(since) > SignedDuration::from_secs(seconds.into())
        }),
    }
}

/// The status of a rollout: the counts, and how it moves.
#[must_use]
pub fn rollout_status(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = compute_status(deployment, new, old, now);
    let before = deployment.status.clone().unwrap_or_default();
    let reason = condition(&status, PROGRESSING).and_then(|one| one.reason.as_deref());
    let done = status.replicas == status.updated_replicas && reason == Some(NEW_AVAILABLE);
    let who = match new.and_then(|set| set.metadata.name.as_deref()) {
        Some(name) => format!("ReplicaSet {name:?}"),
        None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if deadline(deployment).is_none() {
        remove_condition(&mut status, PROGRESSING);
    } else if !done {
        let say = |status, reason, words: &str| {
            Say::new(PROGRESSING, status, reason, format!("{who} {words}"))
        };
        if is_complete(deployment, &status) {
            let say = say("True", NEW_AVAILABLE, "has successfully progressed.");
            set_condition(&mut status, &say, now);
        } else if moved(&before, &status) {
            let say = say("True", "ReplicaSetUpdated", "is progressing.");
            let known = condition(&status, PROGRESSING);
            let known = known.filter(|one| one.status.as_deref() == Some("True"));
            let since = known.and_then(|one| one.last_transition_time.clone());
            put(&mut status, &say, since.unwrap_or(Time(now)), now);
        } else if timed_out(deployment, &status, now) {
            let say = say("False", TIMED_OUT, "has timed out progressing.");
            set_condition(&mut status, &say, now);
        }
    }
    copy_failure(&mut status, new, old, now);
    status
}

/// A set that cannot create or delete pods shows in its Deployment.
fn copy_failure(
    status: &mut DeploymentStatus,
    new: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
    now: Timestamp,
) {
    let failure = new.into_iter().chain(old).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|one| one.type_.as_deref() == Some(REPLICA_FAILURE)).cloned()
    });
    let Some(failure) = failure else { return remove_condition(status, REPLICA_FAILURE) };
    let known = condition(status, REPLICA_FAILURE);
    if known.is_some_and(|known| known.reason == failure.reason) {
        return;
    }
    remove_condition(status, REPLICA_FAILURE);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: failure.type_,
        status: failure.status,
        reason: failure.reason,
        message: failure.message,
        last_transition_time: failure.last_transition_time,
        last_update_time: Some(Time(now)),
    });
}

/// When a rollout that stands still has to be looked at again.
#[must_use]
pub fn next_check(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let seconds = deadline(deployment)?;
    let reason = condition(status, PROGRESSING)?.reason.as_deref();
    if is_complete(deployment, status) || matches!(reason, Some(NEW_AVAILABLE | TIMED_OUT)) {
        return None;
    }
    // A second later, as the deadline has to be exceeded.
    let due = stands_since(status)? + SignedDuration::from_secs(i64::from(seconds) + 1);
    Some(Duration::try_from(due.duration_since(now)).unwrap_or(Duration::from_secs(1)))
}

/// Whether two statuses say the same; an absent number is zero.
#[must_use]
pub fn same(a: &DeploymentStatus, b: &DeploymentStatus) -> bool {
    let numbers = |status: &DeploymentStatus| {
        [
            status.replicas,
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.unavailable_replicas,
            status.terminating_replicas,
            status.collision_count,
        ]
        .map(Option::unwrap_or_default)
    };
    numbers(a) == numbers(b)
        && a.observed_generation == b.observed_generation
        && a.conditions.as_deref().unwrap_or_default()
            == b.conditions.as_deref().unwrap_or_default()
}
