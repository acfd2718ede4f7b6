//! What is read of Deployments and of their ReplicaSets.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The label that tells the pods of one template from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";
/// The annotation with a template's number in the order of rollouts.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The annotation with the numbers a template had before.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The annotation of a ReplicaSet with its Deployment's size.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The annotation of a ReplicaSet with its Deployment's size and surge.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not get.
pub(super) const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// How many pods a Deployment wants.
#[must_use]
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// How many pods a ReplicaSet wants.
#[must_use]
pub fn size(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// How many of a ReplicaSet's pods are available.
#[must_use]
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// How many pods a ReplicaSet has.
#[must_use]
pub fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Whether it replaces all at once.
#[must_use]
pub fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many pods there may be beyond, and how many may be missing, in a rolling update. If both
/// come out as zero, one may be missing, or no rollout would ever move.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable>
#[must_use]
pub fn bounds(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let replicas = replicas(deployment);
    let rolling = deployment.spec.strategy.as_ref().and_then(|one| one.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let surge = share(surge.unwrap_or(&quarter), replicas, true);
    let unavailable = share(unavailable.unwrap_or(&quarter), replicas, false).min(replicas);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn share(value: &IntOrString, of: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or(0).max(0);
            let product = percent.saturating_mul(of.into());
            let whole = if up { (product + 99) / 100 } else { product / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// The most pods there may be at once.
#[must_use]
pub fn max_total(deployment: &Deployment) -> i32 {
    let replicas = replicas(deployment);
    if replicas == 0 { 0 } else { replicas.saturating_add(bounds(deployment).0) }
}

/// An annotation that is a number.
pub(super) fn number(annotations: Option<&BTreeMap<String, String>>, key: &str) -> Option<i64> {
    annotations?.get(key)?.parse().ok()
}

/// A ReplicaSet's revision; zero if it has none.
#[must_use]
pub fn revision(set: &ReplicaSet) -> i64 {
    number(set.metadata.annotations.as_ref(), REVISION).unwrap_or(0)
}

/// Whether two templates are the same but for the hash label.
#[must_use]
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH_LABEL);
        }
        meta.labels = meta.labels.filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.filter(|notes| !notes.is_empty());
        meta
    };
    a.spec == b.spec && bare(a) == bare(b)
}

/// Splits a Deployment's sets into the one of its template, the oldest if there are several, and
/// the others, oldest first.
#[must_use]
pub fn split(
    deployment: &Deployment,
    mut sets: Vec<Arc<ReplicaSet>>,
) -> (Option<Arc<ReplicaSet>>, Vec<Arc<ReplicaSet>>) {
    sets.sort_by_key(|set| {
        let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, set.metadata.name.clone())
    });
    let template = &deployment.spec.template;
    let own = |set: &Arc<ReplicaSet>| {
        set.spec.template.as_ref().is_some_and(|other| same_template(template, other))
    };
    let new = sets.iter().position(own).map(|at| sets.remove(at));
    (new, sets)
}
