//! Whole environments, from pods as the API has them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::sources::Source;

fn pod(container: Value, spec: Value) -> (Pod, Container) {
    let mut pod = json!({
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [container]},
    });
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let container = pod.spec.as_ref().unwrap().containers[0].clone();
    (pod, container)
}

fn found<K: serde::de::DeserializeOwned>(object: Value) -> Source<K> {
    Source::found(serde_json::from_value(object).unwrap())
}

fn sources() -> PodSources {
    let service = json!({
        "metadata": {"namespace": "ns", "name": "db"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 5432}]},
    });
    PodSources::default()
        .config_map("cm", found(json!({"data": {"a": "1", "b": "2", "c=": "no", "d é": "no"}})))
        .config_map("gone", Source::Missing)
        .config_map("slow", Source::Unavailable("not now".into()))
        .secret("s", found(json!({"data": {"p": "cHc=", "bin": "/w=="}})))
        .secret("gone", Source::Missing)
        .services([Arc::new(serde_json::from_value(service).unwrap())])
}

fn compute(container: Value) -> Result<Environment> {
    let (pod, container) = pod(container, json!({"enableServiceLinks": true}));
    let facts = PodFacts::default()
        .node_name("n")
        .pod_ips(["127.1.0.2".parse::<std::net::IpAddr>().unwrap()]);
    compute_env(&pod, &container, &sources(), &facts)
}

/// The environment without the Services' variables, as one line.
fn check(container: Value, expect: &str) {
    let env = compute(container.clone()).unwrap();
    let own = env.vars.iter().filter(|(name, _)| !name.starts_with("DB_"));
    let own: Vec<_> = own.map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(own.join(" "), expect, "{container}");
}

fn refuse(container: Value, expect: &str) {
    let error = compute(container.clone()).unwrap_err().to_string();
    assert_eq!(error, expect, "{container}");
}

fn env(vars: Value) -> Value {
    json!({"name": "c", "env": vars})
}

fn from(source: Value) -> Value {
    env(json!([{"name": "X", "valueFrom": source}]))
}

#[test]
fn references_see_what_was_defined_before_and_services() {
    check(env(json!([])), "");
    check(env(json!([{"name": "A"}, {"name": "B", "value": ""}])), "A= B=");
    check(
        env(json!([
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "x"},
            {"name": "AFTER", "value": "$(LATE)-$(EARLY)-$$(LATE)"},
        ])),
        "AFTER=x-$(LATE)-$(LATE) EARLY=$(LATE) LATE=x",
    );
    check(
        env(json!([{"name": "URL", "value": "$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"}])),
        "URL=10.0.0.1:5432",
    );
    check(env(json!([{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}])), "A=12");
}

#[test]
fn values_come_from_all_sources() {
    check(from(json!({"fieldRef": {"fieldPath": "metadata.name"}})), "X=web-0");
    check(from(json!({"fieldRef": {"fieldPath": "status.podIP"}})), "X=127.1.0.2");
    check(from(json!({"fieldRef": {"fieldPath": "spec.nodeName"}})), "X=n");
    check(from(json!({"resourceFieldRef": {"resource": "requests.cpu"}})), "X=0");
    check(from(json!({"configMapKeyRef": {"name": "cm", "key": "b"}})), "X=2");
    check(from(json!({"secretKeyRef": {"name": "s", "key": "p"}})), "X=pw");
    check(from(json!({})), "X=");
    let optional = |name: &str| json!({"name": name, "key": "nope", "optional": true});
    check(from(json!({"configMapKeyRef": optional("cm")})), "");
    check(from(json!({"configMapKeyRef": optional("gone")})), "");
    check(from(json!({"secretKeyRef": optional("s")})), "");
    check(from(json!({"secretKeyRef": optional("gone")})), "");
}

#[test]
fn an_optional_key_that_is_not_there_leaves_an_earlier_value() {
    let absent = json!({"configMapKeyRef": {"name": "cm", "key": "nope", "optional": true}});
    check(env(json!([{"name": "A", "value": "1"}, {"name": "A", "valueFrom": absent}])), "A=1");
}

#[test]
fn what_is_missing_is_said_in_upstreams_words() {
    let key = |name: &str, key: &str| json!({"name": name, "key": key});
    refuse(from(json!({"configMapKeyRef": key("gone", "k")})), "configmap \"gone\" not found");
    refuse(from(json!({"secretKeyRef": key("gone", "k")})), "secret \"gone\" not found");
    refuse(
        from(json!({"configMapKeyRef": key("cm", "k")})),
        "couldn't find key k in ConfigMap ns/cm",
    );
    refuse(from(json!({"secretKeyRef": key("s", "k")})), "couldn't find key k in Secret ns/s");
    refuse(from(json!({"configMapKeyRef": key("slow", "k")})), "not now");
    refuse(
        from(json!({"configMapKeyRef": {"name": "slow", "key": "k", "optional": true}})),
        "not now",
    );
    refuse(
        from(json!({"secretKeyRef": key("unknown", "k")})),
        "failed to sync secret cache: timed out waiting for the condition",
    );
    refuse(
        from(json!({"fieldRef": {"fieldPath": "x"}})),
        "spec.containers{c}.env[0].valueFrom.fieldRef.fieldPath: unsupported fieldPath: x",
    );
    let all = |source: Value| json!({"name": "c", "envFrom": [source]});
    refuse(all(json!({"configMapRef": {"name": "gone"}})), "configmap \"gone\" not found");
    refuse(all(json!({"secretRef": {"name": "gone"}})), "secret \"gone\" not found");
}

#[test]
fn env_from_comes_first_and_env_wins() {
    check(
        json!({
            "name": "c",
            "envFrom": [
                {"configMapRef": {"name": "cm"}},
                {"prefix": "S_", "secretRef": {"name": "s"}},
                {"configMapRef": {"name": "gone", "optional": true}},
                {"secretRef": {"name": "gone", "optional": true}},
            ],
            "env": [{"name": "b", "value": "$(a)$(S_p)"}],
        }),
        "S_bin=\u{fffd} S_p=pw a=1 b=1pw",
    );
}

#[test]
fn keys_that_are_no_names_are_skipped_and_reported() {
    let all = compute(json!({
        "name": "c", "envFrom": [{"prefix": "P ", "configMapRef": {"name": "cm"}}],
    }))
    .unwrap();
    assert!(all.vars.iter().any(|(name, _)| name == "P a"), "a relaxed name is one");
    let [skipped] = &all.skipped[..] else { panic!("{:?}", all.skipped) };
    let expect = "Keys [P c=, P d é] from the EnvFrom configMap ns/cm were skipped since they are \
                  considered invalid environment variable names.";
    assert_eq!(skipped.to_string(), expect);
}

#[test]
fn the_containers_own_variables_win_over_services() {
    let env = compute(env(json!([{"name": "DB_SERVICE_HOST", "value": "mine"}]))).unwrap();
    let hosts: Vec<_> = env.vars.iter().filter(|(name, _)| name == "DB_SERVICE_HOST").collect();
    assert_eq!(hosts, [&("DB_SERVICE_HOST".to_owned(), "mine".to_owned())]);
}

#[test]
fn service_links_can_be_turned_off() {
    let (pod, container) = pod(json!({"name": "c"}), json!({"enableServiceLinks": false}));
    let env = compute_env(&pod, &container, &sources(), &PodFacts::default()).unwrap();
    assert!(env.vars.is_empty(), "{env:?}");
}

#[test]
fn sources_this_node_lacks_name_their_field() {
    refuse(
        from(json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}})),
        "spec.containers{c}.env[0].valueFrom: this source is not supported by this node, use \
         fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef",
    );
}

#[test]
fn debug_of_an_environment_shows_no_values_x8() {
    let env = compute(from(json!({"secretKeyRef": {"name": "s", "key": "p"}}))).unwrap();
    let shown = format!("{env:?} {:?}", sources());
    assert!(shown.contains("\"X\"") && !shown.contains("pw") && !shown.contains("cHc"), "{shown}");
}
