//! Pods are defaulted and judged as upstream does.

use serde_json::{Value, json};

use super::*;

fn pod(patch: Value) -> Pod {
    let mut whole = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    json_patch::merge(&mut whole, &patch);
    let mut pod = serde_json::from_value(whole).unwrap();
    PodStrategy.apply_defaults(&mut pod);
    pod
}

fn wrong(patch: Value) -> Vec<String> {
    let mut errors = FieldErrors::default();
    PodStrategy.validate(&pod(patch), &mut errors);
    errors
        .into_causes()
        .into_iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

fn containers(container: Value) -> Value {
    let mut whole = json!({"name": "c", "image": "web:1"});
    json_patch::merge(&mut whole, &container);
    json!({"spec": {"containers": [whole]}})
}

#[test]
fn defaulting_twice_changes_nothing_more() {
    let one = pod(json!({"spec": {"volumes": [{"name": "v"}]}}));
    let mut two = one.clone();
    PodStrategy.apply_defaults(&mut two);
    assert_eq!(one, two);
    let spec = one.spec.unwrap();
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
    assert!(spec.volumes.unwrap()[0].empty_dir.is_some());
}

#[test]
fn images_without_a_tag_are_pulled_each_time() {
    for (image, policy) in [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("registry:5000/web", "Always"),
        ("registry:5000/web:2", "IfNotPresent"),
        ("web@sha256:00", "IfNotPresent"),
    ] {
        let pod = pod(containers(json!({"image": image})));
        let found = pod.spec.unwrap().containers[0].image_pull_policy.clone();
        assert_eq!(found.as_deref(), Some(policy), "{image}");
    }
}

#[test]
fn mistakes_are_found_at_their_field() {
    assert_eq!(wrong(json!({})), [""; 0]);
    let check = |patch: Value, expected: &str| assert_eq!(wrong(patch), [expected]);
    check(json!({"spec": {"containers": []}}), "spec.containers: Required value");
    check(containers(json!({"image": null})), "spec.containers[0].image: Required value");
    check(
        containers(json!({"ports": [{"containerPort": 0}]})),
        "spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and \
         65535, inclusive",
    );
    check(
        containers(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
        "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
    );
    check(
        containers(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}})),
        "spec.containers[0].resources.requests[cpu]: Invalid value: \"2\": must be less than or \
         equal to cpu limit of 1",
    );
    check(
        containers(json!({"readinessProbe": {}})),
        "spec.containers[0].readinessProbe: Required value: must specify a handler type",
    );
    check(
        json!({"spec": {"restartPolicy": "Sometimes"}}),
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
         \"OnFailure\", \"Never\"",
    );
}

#[test]
fn only_what_may_change_changes() {
    let check = |old: Value, new: Value, expected: &[&str]| {
        let mut errors = FieldErrors::default();
        PodStrategy.validate_update(&pod(new), &pod(old), &mut errors);
        let fields: Vec<String> = errors.into_causes().into_iter().map(|c| c.field).collect();
        assert_eq!(fields, expected);
    };
    check(json!({}), containers(json!({"image": "web:2"})), &[]);
    check(json!({}), containers(json!({"command": ["x"]})), &["spec"]);
    check(json!({}), json!({"spec": {"nodeName": "n"}}), &["spec"]);
    check(
        json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}),
        json!({"spec": {"tolerations": [{"key": "b", "operator": "Exists"}]}}),
        &["spec.tolerations"],
    );
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let check = |resources: Value, expected: &str| {
        assert_eq!(qos_class(&pod(containers(json!({"resources": resources})))), expected);
    };
    check(json!({}), "BestEffort");
    check(json!({"requests": {"cpu": "1"}}), "Burstable");
    check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
    check(json!({"limits": {"cpu": "1"}}), "Burstable");
}

#[test]
fn a_gated_pod_says_so_from_the_first_moment() {
    let reason = |gates: Value| {
        let mut pod = pod(json!({"spec": {"schedulingGates": gates}}));
        PodStrategy.prepare_create(&mut pod);
        let conditions = pod.status.unwrap().conditions.unwrap_or_default();
        conditions.first().map(|condition| condition.reason.clone().unwrap())
    };
    assert_eq!(reason(json!([{"name": "a/b"}])).as_deref(), Some("SchedulingGated"));
    assert_eq!(reason(json!([])), None);
}

#[test]
fn a_pod_nobody_runs_is_deleted_at_once() {
    // D6.
    let grace = |patch: Value, asked: Option<i64>| PodStrategy.grace_period(&pod(patch), asked);
    assert_eq!(grace(json!({}), None), Some(0));
    let bound = || json!({"spec": {"nodeName": "n"}});
    assert_eq!(grace(bound(), None), Some(30));
    assert_eq!(grace(bound(), Some(5)), Some(5));
    let mut done = bound();
    done["status"] = json!({"phase": "Succeeded"});
    assert_eq!(grace(done, None), Some(0));
}
