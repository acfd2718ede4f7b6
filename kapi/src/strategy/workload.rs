//! Deployments and ReplicaSets.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/>

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cluster::{percent, validate_share};
use super::pod::{default_template, validate_template};
use super::{FieldErrors, FieldPath, KindStrategy, selector};
use crate::versions::{read, write};

const ROLLING_UPDATE: &str = "RollingUpdate";
const RECREATE: &str = "Recreate";

fn not_negative(field: &FieldPath, value: Option<i32>, errors: &mut FieldErrors) {
    if let Some(value) = value.filter(|value| *value < 0) {
        errors.invalid(field, value, "must be greater than or equal to 0");
    }
}

/// What Deployments and ReplicaSets have in common: a selector and the template it selects.
fn validate_selected(
    wanted: &LabelSelector,
    template: &PodTemplateSpec,
    spec: &FieldPath,
    errors: &mut FieldErrors,
) {
    let field = spec.child("selector");
    selector::validate(Some(wanted), &field, errors);
    if selector::is_empty(wanted) {
        errors.invalid(&field, wanted, "empty selector is invalid for deployment");
    }
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let labels = labels.unwrap_or_default();
    let parsed = kcore::selector::LabelSelector::from_api(Some(wanted));
    if parsed.is_ok_and(|parsed| !parsed.matches(&labels)) {
        errors.invalid(
            &spec.child("template.metadata.labels"),
            &labels,
            "`selector` does not match template `labels`",
        );
    }
    validate_template(template, &spec.child("template"), errors);
    let policy = template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy.is_some_and(|policy| policy != "Always") {
        errors.not_supported(
            &spec.child("template.spec.restartPolicy"),
            policy.unwrap_or_default(),
            &["Always"],
        );
    }
}

/// Rules of Deployments.
#[derive(Debug)]
pub(crate) struct DeploymentStrategy;

impl KindStrategy for DeploymentStrategy {
    type Object = Deployment;

    fn apply_defaults(&self, object: &mut Deployment) {
        let spec = write(&mut object.spec);
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        if strategy.type_.as_deref().unwrap_or_default().is_empty() {
            strategy.type_ = Some(ROLLING_UPDATE.to_owned());
        }
        if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
            let quarter = || IntOrString::String("25%".to_owned());
            let rolling: &mut RollingUpdateDeployment =
                strategy.rolling_update.get_or_insert_default();
            rolling.max_surge.get_or_insert_with(quarter);
            rolling.max_unavailable.get_or_insert_with(quarter);
        }
        default_template(&mut spec.template);
    }

    fn validate(&self, object: &Deployment, errors: &mut FieldErrors) {
        let (spec, field) = (read(&object.spec), FieldPath::new("spec"));
        not_negative(&field.child("replicas"), spec.replicas, errors);
        validate_selected(&spec.selector, &spec.template, &field, errors);
        not_negative(&field.child("minReadySeconds"), spec.min_ready_seconds, errors);
        not_negative(&field.child("revisionHistoryLimit"), spec.revision_history_limit, errors);
        let deadline = spec.progress_deadline_seconds;
        not_negative(&field.child("progressDeadlineSeconds"), deadline, errors);
        if deadline.is_some_and(|seconds| seconds <= spec.min_ready_seconds.unwrap_or_default()) {
            errors.invalid(
                &field.child("progressDeadlineSeconds"),
                deadline,
                "must be greater than minReadySeconds",
            );
        }
        let Some(strategy) = &spec.strategy else { return };
        let field = field.child("strategy");
        match strategy.type_.as_deref().unwrap_or_default() {
            RECREATE if strategy.rolling_update.is_some() => errors.forbidden(
                &field.child("rollingUpdate"),
                "may not be specified when strategy `type` is 'Recreate'",
            ),
            RECREATE => {}
            ROLLING_UPDATE => {
                if let Some(rolling) = &strategy.rolling_update {
                    validate_rolling(rolling, &field.child("rollingUpdate"), errors);
                }
            }
            other => {
                errors.not_supported(&field.child("type"), other, &[RECREATE, ROLLING_UPDATE]);
            }
        }
    }

    fn validate_update(&self, new: &Deployment, old: &Deployment, errors: &mut FieldErrors) {
        fixed_selector(&read(&new.spec).selector, &read(&old.spec).selector, errors);
    }

    fn changes_generation(&self, new: &Deployment, old: &Deployment) -> bool {
        // A rollout's annotations are part of what is wanted.
        new.metadata.annotations != old.metadata.annotations
    }
}

fn fixed_selector(new: &LabelSelector, old: &LabelSelector, errors: &mut FieldErrors) {
    if new != old {
        errors.invalid(&FieldPath::new("spec.selector"), new, "field is immutable");
    }
}

fn validate_rolling(
    rolling: &RollingUpdateDeployment,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    let zero = |value: Option<&IntOrString>| match value {
        None => false,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => percent(text) == Some(0),
    };
    let (surge, unavailable) = (rolling.max_surge.as_ref(), rolling.max_unavailable.as_ref());
    if let Some(unavailable) = unavailable {
        validate_share(&field.child("maxUnavailable"), unavailable, errors);
    }
    match surge {
        Some(IntOrString::String(text)) if percent(text).is_none() => {
            validate_share(&field.child("maxSurge"), &IntOrString::String(text.clone()), errors);
        }
        Some(number @ IntOrString::Int(_)) => {
            validate_share(&field.child("maxSurge"), number, errors);
        }
        _ => {}
    }
    if zero(surge) && zero(unavailable) {
        errors.invalid(
            &field.child("maxUnavailable"),
            unavailable,
            "may not be 0 when `maxSurge` is 0",
        );
    }
}

/// Rules of ReplicaSets.
#[derive(Debug)]
pub(crate) struct ReplicaSetStrategy;

impl KindStrategy for ReplicaSetStrategy {
    type Object = ReplicaSet;

    fn apply_defaults(&self, object: &mut ReplicaSet) {
        let spec = write(&mut object.spec);
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
            default_template(template);
        }
    }

    fn validate(&self, object: &ReplicaSet, errors: &mut FieldErrors) {
        let (spec, field) = (read(&object.spec), FieldPath::new("spec"));
        not_negative(&field.child("replicas"), spec.replicas, errors);
        not_negative(&field.child("minReadySeconds"), spec.min_ready_seconds, errors);
        match &spec.template {
            Some(template) => validate_selected(&spec.selector, template, &field, errors),
            None => errors.required(&field.child("template"), ""),
        }
    }

    fn validate_update(&self, new: &ReplicaSet, old: &ReplicaSet, errors: &mut FieldErrors) {
        fixed_selector(&read(&new.spec).selector, &read(&old.spec).selector, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields(&self, object: &ReplicaSet) -> Vec<(&'static str, String)> {
        let replicas = object.status.as_ref().map_or(0, |status| status.replicas);
        vec![("status.replicas", replicas.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(json: serde_json::Value) -> Deployment {
        let mut whole = serde_json::json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": "web"}]}}}});
        json_patch::merge(&mut whole, &json);
        let mut object = serde_json::from_value(whole).unwrap();
        DeploymentStrategy.apply_defaults(&mut object);
        object
    }

    fn wrong(json: serde_json::Value) -> Vec<String> {
        let mut errors = FieldErrors::default();
        DeploymentStrategy.validate(&deployment(json), &mut errors);
        errors.into_causes().into_iter().map(|cause| cause.field).collect()
    }

    #[test]
    fn defaults_are_upstreams_and_stay_put() {
        let object = deployment(serde_json::json!({}));
        assert_eq!(object.spec.replicas, Some(1));
        let strategy = object.spec.strategy.clone().unwrap();
        assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
        let mut again = object.clone();
        DeploymentStrategy.apply_defaults(&mut again);
        assert_eq!(again, object);
    }

    #[test]
    fn mistakes_are_found_at_their_field() {
        use serde_json::json;
        assert_eq!(wrong(json!({})), [""; 0]);
        assert_eq!(wrong(json!({"spec": {"replicas": -1}})), ["spec.replicas"]);
        assert_eq!(
            wrong(json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}})),
            ["spec.template.metadata.labels"]
        );
        assert_eq!(
            wrong(json!({"spec": {"strategy": {"rollingUpdate": {
                "maxSurge": 0, "maxUnavailable": "0%"}}}})),
            ["spec.strategy.rollingUpdate.maxUnavailable"]
        );
        assert_eq!(
            wrong(json!({"spec": {"template": {"spec": {"containers": []}}}})),
            ["spec.template.spec.containers"]
        );
    }
}
