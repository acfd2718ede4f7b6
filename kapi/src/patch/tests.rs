//! The directives of strategic merge patch, and the bounds of every patch.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;

use super::*;
use crate::schema::SchemaSource;

fn merge_as<K: schemars::JsonSchema>(current: &Value, patch: &Value) -> Result<Value, String> {
    let source = SchemaSource::of::<K>();
    strategic(current.to_string().as_bytes(), patch.to_string().as_bytes(), source.tree())
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .map_err(|error| error.to_string())
}

/// Patches a Pod's spec.
fn spec(current: Value, patch: Value) -> Result<Value, String> {
    let merged = merge_as::<Pod>(&json!({"spec": current}), &json!({"spec": patch}))?;
    Ok(merged["spec"].clone())
}

/// Patches a Pod's metadata.
fn meta(current: Value, patch: Value) -> Value {
    let merged = merge_as::<Pod>(&json!({"metadata": current}), &json!({"metadata": patch}));
    merged.unwrap()["metadata"].clone()
}

#[test]
fn maps_merge_and_nulls_delete() {
    let check = |current: Value, patch: Value, expect: Value| {
        assert_eq!(meta(current, patch), expect);
    };
    check(
        json!({"labels": {"a": "1"}}),
        json!({"labels": {"b": "2"}}),
        json!({"labels": {"a": "1", "b": "2"}}),
    );
    check(json!({"labels": {"a": "1"}}), json!({"labels": {"a": null}}), json!({"labels": {}}));
    check(json!({"labels": {"a": "1"}}), json!({"labels": null}), json!({}));
    // A null has nothing to delete in what is new.
    check(json!({}), json!({"labels": {"a": null, "b": "1"}}), json!({"labels": {"b": "1"}}));
    check(
        json!({"labels": {"a": "1"}}),
        json!({"labels": {"$patch": "replace", "b": "2"}}),
        json!({"labels": {"b": "2"}}),
    );
    check(
        json!({"labels": {"a": "1"}}),
        json!({"labels": {"$patch": "delete"}}),
        json!({"labels": {}}),
    );
    check(
        json!({"labels": {"a": "1"}}),
        json!({"labels": {"$patch": "merge", "b": "2"}}),
        json!({"labels": {"a": "1", "b": "2"}}),
    );
}

#[test]
fn lists_of_objects_merge_by_their_key() {
    let current = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    let check = |patch: Value, expect: Value| {
        assert_eq!(
            spec(current.clone(), json!({"containers": patch})).unwrap()["containers"],
            expect
        );
    };
    check(
        json!([{"name": "b", "image": "2"}]),
        json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
    );
    check(
        json!([{"name": "c", "image": "3"}]),
        json!([{"name": "c", "image": "3"}, {"name": "a", "image": "1"},
            {"name": "b", "image": "1"}]),
    );
    check(json!([{"name": "a", "$patch": "delete"}]), json!([{"name": "b", "image": "1"}]));
    check(json!([{"$patch": "replace"}, {"name": "z"}]), json!([{"name": "z"}]));
    check(json!([{"$patch": "replace"}]), json!([]));
    check(json!([{"name": "none", "$patch": "delete"}]), current["containers"].clone());
}

#[test]
fn lists_within_lists_of_objects_merge_too() {
    let current = json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}],
        "args": ["one"], "ports": [{"containerPort": 80}]}]});
    let patch = json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}],
        "args": ["two"], "ports": [{"containerPort": 80, "name": "web"}]}]});
    let merged = spec(current, patch).unwrap();
    let container = &merged["containers"][0];
    assert_eq!(container["env"].as_array().unwrap().len(), 2);
    assert_eq!(container["args"], json!(["two"]), "a list without a strategy is replaced");
    assert_eq!(container["ports"], json!([{"containerPort": 80, "name": "web"}]));
}

#[test]
fn an_element_without_its_key_is_named() {
    let error =
        spec(json!({"containers": [{"name": "a"}]}), json!({"containers": [{"image": "x"}]}));
    assert_eq!(
        error.unwrap_err(),
        r#"map: {"image":"x"} does not contain declared merge key: name"#
    );
    let service = merge_as::<Service>(
        &json!({"spec": {"ports": [{"port": 1}]}}),
        &json!({"spec": {"ports": [{"targetPort": 2}]}}),
    );
    assert!(service.unwrap_err().ends_with("does not contain declared merge key: port"));
}

#[test]
fn malformed_directives_are_refused() {
    let check = |patch: Value, expect: &str| {
        let current = json!({"containers": [{"name": "a"}], "nodeSelector": {"a": "b"}});
        let error = spec(current, patch.clone()).unwrap_err();
        assert!(error.contains(expect), "{patch}: {error}");
    };
    check(json!({"$patch": "other"}), "unknown patch type");
    check(json!({"containers": [{"name": "a", "$patch": "merge"}]}), "merging lists cannot yet");
    check(json!({"containers": [{"name": "a", "$patch": "x"}]}), "unknown patch type");
    check(json!({"containers": ["text"]}), "not identical");
    check(json!({"containers": [["list"]]}), "lists of lists");
    check(json!({"$retainKeys": "a"}), "retainKeys");
    check(json!({"$retainKeys": ["containers"], "hostname": "x"}), "retainKeys");
    check(json!({"$setElementOrder/containers": "a"}), "setElementOrder");
    check(json!({"$deleteFromPrimitiveList/x": "a"}), "primitive list");
    check(
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
        "doesn't match $setElementOrder",
    );
}

#[test]
fn retain_keys_clears_what_it_does_not_name() {
    let current = json!({"spec": {"strategy":
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let merged = merge_as::<Deployment>(&current, &patch).unwrap();
    assert_eq!(merged["spec"]["strategy"], json!({"type": "Recreate"}));
    let volumes = spec(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"],
            "configMap": {"name": "c"}}]}),
    );
    assert_eq!(volumes.unwrap()["volumes"], json!([{"name": "v", "configMap": {"name": "c"}}]));
}

#[test]
fn scalars_of_a_merged_list_are_a_set() {
    let check = |patch: Value, expect: Value| {
        assert_eq!(meta(json!({"finalizers": ["a", "b"]}), patch)["finalizers"], expect);
    };
    check(json!({"finalizers": ["c", "a"]}), json!(["c", "a", "b"]));
    check(json!({"$deleteFromPrimitiveList/finalizers": ["a"]}), json!(["b"]));
    check(
        json!({"$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
        json!(["c", "b"]),
    );
    let none = meta(json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["a"]}));
    assert_eq!(none, json!({}));
}

#[test]
fn elements_take_the_order_that_is_set() {
    let names = |patch: Value| -> Vec<String> {
        let current = json!({"containers": [
            {"name": "a"}, {"name": "server"}, {"name": "b"}, {"name": "c"}]});
        let merged = spec(current, patch).unwrap();
        let list = merged["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let order = json!([{"name": "c"}, {"name": "a"}, {"name": "b"}]);
    assert_eq!(names(json!({"$setElementOrder/containers": order})), ["server", "c", "a", "b"]);
    let patch = json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "new"}],
        "containers": [{"name": "new"}, {"name": "b", "$patch": "delete"}]});
    assert_eq!(names(patch), ["a", "new", "server", "c"]);
}

#[test]
fn values_of_another_type_replace_what_was_there() {
    let merged = spec(json!({"hostname": "a"}), json!({"hostname": {"b": 1}, "x": [{"y": null}]}));
    assert_eq!(merged.unwrap(), json!({"hostname": {"b": 1}, "x": [{}]}));
}

#[test]
fn long_lists_merge_in_bounded_time() {
    // O1: quadratic work over 20,000 elements would not end within the test's patience.
    let list = |image: &str| -> Vec<Value> {
        (0..20_000).map(|n| json!({"name": n.to_string(), "image": image})).collect()
    };
    let merged = spec(json!({"containers": list("a")}), json!({"containers": list("b")})).unwrap();
    assert_eq!(merged["containers"], json!(list("b")));
}

#[test]
fn json_patches_stay_within_their_bounds() {
    let apply = |patch: Value| json(br#"{"a":{"b":1}}"#, patch.to_string().as_bytes());
    let done = apply(json!([{"op": "add", "path": "/c", "value": 2}])).unwrap();
    assert_eq!(done, br#"{"a":{"b":1},"c":2}"#);
    let failed = apply(json!([{"op": "test", "path": "/a/b", "value": 2}]));
    assert!(matches!(failed, Err(PatchError::DoesNotApply(_))));
    let missing = apply(json!([{"op": "remove", "path": "/x"}]));
    assert!(matches!(missing, Err(PatchError::DoesNotApply(_))));
    let wrong = apply(json!({"op": "remove"}));
    assert!(matches!(wrong, Err(PatchError::Malformed(_))));
    // O1: each operation doubles the object.
    let mut double = Vec::new();
    for n in 0..60 {
        double.push(json!({"op": "copy", "from": "/a", "path": format!("/a/x{n}")}));
    }
    assert!(matches!(apply(json!(double)), Err(PatchError::TooLarge(_))));
    // O1: each pair of operations nests the object deeper.
    let mut deeper = Vec::new();
    for n in 1..2_000 {
        let (last, next) = (if n == 1 { "a".to_owned() } else { format!("n{}", n - 1) }, n);
        deeper.push(json!({"op": "add", "path": format!("/n{next}"), "value": {}}));
        deeper
            .push(json!({"op": "move", "from": format!("/{last}"), "path": format!("/n{next}/x")}));
    }
    assert!(matches!(apply(json!(deeper)), Err(PatchError::TooLarge(_))));
    let many = vec![json!({"op": "test", "path": "/a/b", "value": 1}); 10_001];
    assert!(matches!(apply(json!(many)), Err(PatchError::TooLarge(_))));
}

#[test]
fn merge_patches_follow_their_rules() {
    let apply = |patch: &str| merge(br#"{"a":{"b":[1,2]},"c":1}"#, patch.as_bytes());
    assert_eq!(apply(r#"{"a":{"b":[3]},"c":null}"#).unwrap(), br#"{"a":{"b":[3]}}"#);
    assert!(matches!(apply("[]"), Err(PatchError::Malformed(_))));
    let bomb = r#"{"a":"#.repeat(100_000);
    assert!(matches!(apply(&bomb), Err(PatchError::Malformed(_))), "O1");
}

#[test]
fn a_patch_that_does_not_fit_is_told_in_the_words_clients_know() {
    let row = Row::of::<Pod>();
    let current = Object::from_json(br#"{"metadata":{"name":"a"}}"#, Some(row.codec)).unwrap();
    let status = PatchError::DoesNotApply("test failed".to_owned()).into_status(&row, &current);
    assert_eq!(status.code, 422);
    assert_eq!(status.message, "the server rejected our request due to an error in our request");
    let problems = [Problem::Unknown("spec.x".to_owned())];
    let refused = judge_fields(b"{}", &problems, FieldValidation::Strict).unwrap_err();
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message,
        " \"\" is invalid: patch: Invalid value: \"{}\": strict decoding error: unknown field \
         \"spec.x\""
    );
    let warned = judge_fields(b"{}", &problems, FieldValidation::Warn).unwrap();
    assert_eq!(warned, [r#"unknown field "spec.x""#]);
}

/// Names that mean something to a Pod's schema or to a patch.
const NAMES: [&str; 14] = [
    "spec",
    "metadata",
    "containers",
    "name",
    "volumes",
    "finalizers",
    "labels",
    "env",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$setElementOrder/finalizers",
    "$deleteFromPrimitiveList/finalizers",
    "other",
];

/// The first of them that are no directives.
const FIELDS: usize = 8;

/// JSON of some of these names, `depth` levels deep.
fn anything(random: &kcore::random::Random, names: &[&str], depth: u64) -> Value {
    let below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    let name = || names[below(names.len())];
    let kind = if depth == 0 { 4 + below(4) } else { below(8) };
    match kind {
        0..=2 => {
            let member = |_| (name().to_owned(), anything(random, names, depth - 1));
            Value::Object((0..below(5)).map(member).collect())
        }
        3 => (0..below(4)).map(|_| anything(random, names, depth - 1)).collect(),
        4 => Value::Null,
        5 => json!(below(3)),
        6 => json!(["delete", "replace", "merge"][below(3)]),
        _ => json!(name()),
    }
}

/// Whether a directive is left anywhere in a value.
fn has_directives(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            map.iter().any(|(name, value)| name.starts_with('$') || has_directives(value))
        }
        Value::Array(list) => list.iter().any(has_directives),
        _ => false,
    }
}

#[test]
fn no_patch_panics_and_none_leaves_a_directive_behind() {
    let random = kcore::random::Random::seeded(7);
    let source = SchemaSource::of::<Pod>();
    let mut merged = 0;
    for _ in 0..20_000 {
        let current = json!({"spec": anything(&random, &NAMES[..FIELDS], 5),
            "metadata": anything(&random, &NAMES[..FIELDS], 5)});
        let patch = json!({"spec": anything(&random, &NAMES, 5),
            "metadata": anything(&random, &NAMES, 5)});
        let (current, patch) = (current.to_string(), patch.to_string());
        let done = strategic(current.as_bytes(), patch.as_bytes(), source.tree());
        let Ok(done) = done else { continue };
        let done: Value = serde_json::from_slice(&done).unwrap();
        assert!(!has_directives(&done), "{current} + {patch} = {done}");
        merged += 1;
    }
    assert!(merged > 5_000, "only {merged} patches applied");
}
