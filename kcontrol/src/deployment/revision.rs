//! Which set is whose revision, and what sets are annotated with.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment>

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::object::controller_reference;

use super::facts::{
    DESIRED, HASH_LABEL, MAX, OWN_ANNOTATIONS, REVISION, REVISION_HISTORY, max_total, number,
    replicas, revision,
};

/// The number after those of all old sets.
#[must_use]
pub fn next_revision(old: &[Arc<ReplicaSet>]) -> i64 {
    old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
}

/// Says how big the Deployment is, for proportional scaling later.
pub fn annotate_size(notes: &mut BTreeMap<String, String>, deployment: &Deployment) {
    notes.insert(DESIRED.to_owned(), replicas(deployment).to_string());
    notes.insert(MAX.to_owned(), max_total(deployment).to_string());
}

/// The annotations of the new set: its Deployment's, and its revision, which only grows.
#[must_use]
pub fn annotate_new(
    deployment: &Deployment,
    known: Option<&BTreeMap<String, String>>,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut notes = known.cloned().unwrap_or_default();
    let theirs = deployment.metadata.annotations.iter().flatten();
    for (key, value) in theirs.filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str())) {
        notes.insert(key.clone(), value.clone());
    }
    let old = number(Some(&notes), REVISION);
    if old.unwrap_or(0) < revision {
        if let Some(old) = old.filter(|old| *old > 0) {
            let history = notes.entry(REVISION_HISTORY.to_owned()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&old.to_string());
        }
        notes.insert(REVISION.to_owned(), revision.to_string());
    }
    notes
}

/// The set of a Deployment's template, under a hash.
#[must_use]
pub fn new_set(deployment: &Deployment, hash: &str, revision: i64, size: i32) -> ReplicaSet {
    let mut template: PodTemplateSpec = deployment.spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = deployment.spec.selector.clone();
    let matched = selector.match_labels.get_or_insert_default();
    matched.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let mut notes = annotate_new(deployment, None, revision);
    annotate_size(&mut notes, deployment);
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(notes),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_that_comes_back_gets_a_new_revision_and_remembers_the_old_one() {
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"name": "web",
            "annotations": {"a": "b", REVISION: "9"}}, "spec": {"selector": {}, "template": {}}}))
        .unwrap();
        let notes = annotate_new(&deployment, None, 1);
        assert_eq!((notes["a"].as_str(), notes[REVISION].as_str()), ("b", "1"));
        let notes = annotate_new(&deployment, Some(&notes), 3);
        let notes = annotate_new(&deployment, Some(&notes), 5);
        assert_eq!((notes[REVISION].as_str(), notes[REVISION_HISTORY].as_str()), ("5", "1,3"));
        assert_eq!(annotate_new(&deployment, Some(&notes), 4), notes);
    }
}
