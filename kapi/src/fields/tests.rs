//! Field sets, comparisons and applies, as tables.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kcore::kind::Kind;
use serde_json::{Value, json};

use super::compare::Comparison;
use super::content::{field_set, without};
use super::managers::{Conflict, Manager, Managers};
use super::merge::merge;
use super::*;
use crate::registry::Registry;

/// Runs a check with the schema of a kind.
fn with_schema<K: Kind>(run: impl FnOnce(&crate::schema::Tree)) {
    let registry = Registry::built_in();
    run(registry.of(&kcore::name::Resource::of::<K>()).unwrap().schema.tree());
}

fn tree_of(set: &Set) -> Value {
    Value::Object(set.clone().into_tree())
}

fn changes(tree: &crate::schema::Tree, old: &Value, new: &Value) -> Comparison {
    compare(tree, old.to_string().as_bytes(), new.to_string().as_bytes()).unwrap()
}

#[test]
fn a_new_pod_is_its_creators_place_by_place() {
    with_schema::<Pod>(|tree| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app": "web"}, "managedFields": [{}],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]},
            "spec": {"nodeSelector": {"disk": "ssd"}, "securityContext": {}, "containers": [
                {"name": "c", "image": "i", "args": ["x", "y"],
                    "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "1"}}}]}});
        let blank: Value = serde_json::from_slice(blank_json(tree)).unwrap();
        let found = changes(tree, &blank, &pod).into_parts().0;
        assert_eq!(
            tree_of(&found),
            json!({"f:apiVersion": {}, "f:kind": {},
                "f:metadata": {"f:name": {}, "f:labels": {".": {}, "f:app": {}},
                    "f:ownerReferences": {".": {}, "k:{\"uid\":\"u\"}": {}}},
                "f:spec": {"f:nodeSelector": {}, "f:securityContext": {}, "f:containers": {
                    "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                        "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                            {".": {}, "f:containerPort": {}}},
                        "f:resources": {".": {}, "f:requests": {".": {}, "f:cpu": {}}}}}}})
        );
    });
}

#[test]
fn a_new_deployment_owns_no_part_that_is_always_there() {
    with_schema::<Deployment>(|tree| {
        let new = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}}});
        let blank: Value = serde_json::from_slice(blank_json(tree)).unwrap();
        let spec = &tree_of(&changes(tree, &blank, &new).into_parts().0)["f:spec"];
        assert_eq!(
            *spec,
            json!({"f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}},
                "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                    "f:spec": {"f:containers": {}}}})
        );
    });
}

#[test]
fn differences_are_found_where_they_are() {
    with_schema::<Pod>(|tree| {
        let check = |old: Value, new: Value, added: Value, modified: Value, removed: Value| {
            let found = changes(tree, &old, &new);
            let found = [&found.added, &found.modified, &found.removed].map(tree_of);
            assert_eq!(found, [added, modified, removed], "{old} to {new}");
        };
        let none = || json!({});
        check(json!({"spec": {}}), json!({"spec": {}}), none(), none(), none());
        check(
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": "2", "c": "3"}}}),
            json!({"f:metadata": {"f:labels": {"f:c": {}}}}),
            json!({"f:metadata": {"f:labels": {"f:a": {}}}}),
            json!({"f:metadata": {"f:labels": {"f:b": {}}}}),
        );
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        check(
            json!({"spec": {"containers": [container("a", "1"), container("b", "1")]}}),
            json!({"spec": {"containers": [container("b", "2"), container("c", "1")]}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}":
                {".": {}, "f:name": {}, "f:image": {}}}}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {"f:image": {}}}}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}":
                {".": {}, "f:name": {}, "f:image": {}}}}}),
        );
        // A set, and what belongs together as a whole.
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"nodeSelector": {"x": "1"}}}),
            json!({"metadata": {"finalizers": ["b", "c"]}, "spec": {"nodeSelector": {"x": "2"}}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"c\"": {}}}}),
            json!({"f:spec": {"f:nodeSelector": {}}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"a\"": {}}}}),
        );
        // Order of members and spelling of numbers are no difference; order within a whole is.
        let old = compare(
            tree,
            br#"{"spec":{"a":1,"hostNetwork":true,"priority":1}}"#,
            br#"{"spec":{"priority": 1, "hostNetwork": true,"a":1}}"#,
        )
        .unwrap();
        assert!(old.is_empty(), "{old:?}");
    });
}

#[test]
fn what_is_applied_is_merged_by_what_tells_elements_apart() {
    with_schema::<Pod>(|tree| {
        let names = |list: &str| -> Value {
            let list: Vec<Value> = list.chars().map(|c| json!({"name": c.to_string()})).collect();
            json!({"spec": {"containers": list}})
        };
        for (live, applied, expected) in [
            ("abc", "b", "abc"),
            ("abc", "cb", "acb"),
            ("abc", "xb", "axbc"),
            ("abc", "bx", "abcx"),
            ("", "ba", "ba"),
            ("ab", "", "ab"),
            ("abcd", "dba", "dbac"),
        ] {
            let merged = merge(tree, &names(live), &names(applied));
            let found: String = merged["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            let mut sorted: Vec<char> = found.chars().collect();
            sorted.sort_unstable();
            let mut all: Vec<char> = expected.chars().collect();
            all.sort_unstable();
            assert_eq!(sorted, all, "{live} + {applied}: nothing is lost or doubled");
            // Those applied come in their order.
            let order: String = found.chars().filter(|c| applied.contains(*c)).collect();
            assert_eq!(order, applied, "{live} + {applied} = {found}");
            if live != "abcd" {
                assert_eq!(found, expected, "{live} + {applied}");
            }
        }
        let live = json!({"metadata": {"labels": {"a": "1"}},
            "spec": {"nodeSelector": {"x": "1"}, "containers": [{"name": "c", "image": "i"}]}});
        let applied = json!({"metadata": {"labels": {"b": "2"}},
            "spec": {"nodeSelector": {"y": "2"}, "containers": [{"name": "c", "tty": true}]}});
        assert_eq!(
            merge(tree, &live, &applied),
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {
                "nodeSelector": {"y": "2"},
                "containers": [{"name": "c", "image": "i", "tty": true}]}})
        );
    });
}

#[test]
fn what_is_taken_out_leaves_nothing_empty_behind() {
    with_schema::<Pod>(|tree| {
        let object = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [
            {"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B"}]}]}});
        let set = Set::decode(&json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec":
            {"f:containers": {"k:{\"name\":\"c\"}": {"f:env": {"k:{\"name\":\"A\"}": {}}}}}}));
        assert_eq!(
            without(tree, &object, &set),
            json!({"spec": {"containers": [{"name": "c", "env": [{"name": "B"}]}]}})
        );
        assert_eq!(
            tree_of(&field_set(tree, &json!({"metadata": {"labels": {"a": "1"}}, "spec": {}}))),
            json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {}})
        );
    });
}

/// One manager's step in a story of several.
enum Step<'a> {
    Apply(&'a str, Value),
    Force(&'a str, Value),
    Update(&'a str, Value),
}

/// Plays a story on ConfigMaps; returns the data, who has which of it, and the last conflicts.
fn play(steps: Vec<Step<'_>>) -> (Value, Vec<String>, Vec<Conflict>) {
    let mut end = (Value::Null, Vec::new(), Vec::new());
    with_schema::<ConfigMap>(|tree| {
        let mut live = json!({});
        let mut managers = Managers::default();
        let mut last = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            let now = jiff::Timestamp::from_second(at as i64 + 1).unwrap();
            let who = |name| Manager { name, api_version: "v1", subresource: "", now };
            let object = |data: Value| json!({"metadata": {"name": "m"}, "data": data});
            let outcome = match step {
                Step::Apply(name, data) => {
                    managers.apply(tree, &live, &object(data), &who(name), false)
                }
                Step::Force(name, data) => {
                    managers.apply(tree, &live, &object(data), &who(name), true)
                }
                Step::Update(name, data) => {
                    let new = object(data);
                    managers.update(changes(tree, &live, &new), &who(name));
                    Ok(new)
                }
            };
            match outcome {
                Ok(new) => live = new,
                Err(conflicts) => last = conflicts,
            }
        }
        let entries = managers.encode().unwrap_or_default();
        let words = |entry: &ManagedFieldsEntry| {
            let fields = &entry.fields_v1.as_ref().unwrap().0;
            format!(
                "{} {} {}",
                entry.manager.as_deref().unwrap(),
                entry.operation.as_deref().unwrap(),
                Set::decode(fields).paths().join(" ")
            )
        };
        end = (live["data"].clone(), entries.iter().map(words).collect(), last);
    });
    end
}

/// Plays a story and holds its end against what is expected.
fn check(steps: Vec<Step<'_>>, data: Value, managers: &[&str], conflicts: &[&str]) {
    let (found, who, against) = play(steps);
    assert_eq!(found, data);
    assert_eq!(who, managers);
    let words = |one: &Conflict| format!("{}: {}", one.manager, one.fields.paths().join(" "));
    assert_eq!(against.iter().map(words).collect::<Vec<_>>(), conflicts);
}

#[test]
fn managers_share_take_over_and_give_up_fields() {
    // A6.
    use Step::{Apply, Force, Update};
    // What one gives up goes; what another has stays.
    check(
        vec![
            Apply("a", json!({"x": "1", "y": "1"})),
            Apply("b", json!({"x": "1"})),
            Apply("a", json!({"z": "1"})),
        ],
        json!({"x": "1", "z": "1"}),
        &["b Apply .data.x", "a Apply .data.z"],
        &[],
    );
    // Another's value is not changed without force.
    check(
        vec![Apply("a", json!({"x": "1"})), Apply("b", json!({"x": "2"}))],
        json!({"x": "1"}),
        &["a Apply .data.x"],
        &["\"a\": .data.x"],
    );
    check(
        vec![Apply("a", json!({"x": "1"})), Force("b", json!({"x": "2"}))],
        json!({"x": "2"}),
        &["b Apply .data.x"],
        &[],
    );
    // An update takes what it changes, and an apply against it is a conflict.
    check(
        vec![
            Apply("a", json!({"x": "1", "y": "1"})),
            Update("e", json!({"x": "2", "y": "1"})),
            Apply("a", json!({"x": "1", "y": "1"})),
        ],
        json!({"x": "2", "y": "1"}),
        &["a Apply .data.y", "e Update .data.x"],
        &["\"e\" using v1: .data.x"],
    );
    // A field that an update removes is nobody's, and comes back with the next apply.
    check(
        vec![
            Apply("a", json!({"x": "1", "y": "1"})),
            Update("e", json!({"y": "1"})),
            Apply("a", json!({"x": "1", "y": "1"})),
        ],
        json!({"x": "1", "y": "1"}),
        &["a Apply .data.x .data.y"],
        &[],
    );
    // What somebody created by an update is not taken away from them by an apply without it.
    check(
        vec![
            Update("e", json!({"x": "1"})),
            Apply("a", json!({"x": "1", "y": "1"})),
            Apply("a", json!({"y": "1"})),
        ],
        json!({"x": "1", "y": "1"}),
        &["a Apply .data.y", "e Update .data .data.x"],
        &[],
    );
}

#[test]
fn the_oldest_of_many_updaters_become_one() {
    let names: Vec<String> = (0..15).map(|at| format!("m{at:02}")).collect();
    let mut data = serde_json::Map::new();
    let steps = names
        .iter()
        .map(|name| {
            data.insert(name.clone(), json!("1"));
            Step::Update(name, Value::Object(data.clone()))
        })
        .collect();
    let (_, managers, _) = play(steps);
    assert_eq!(managers.len(), 10, "{managers:?}");
    assert_eq!(
        managers[0],
        "ancient-changes Update .data .data.m00 .data.m01 .data.m02 .data.m03 .data.m04 .data.m05"
    );
    assert_eq!(managers[1], "m06 Update .data.m06");
}

#[test]
fn an_apply_that_changes_nothing_keeps_its_time() {
    with_schema::<ConfigMap>(|tree| {
        let object = json!({"metadata": {"name": "m"}, "data": {"x": "1"}});
        let who = |second| Manager {
            name: "a",
            api_version: "v1",
            subresource: "",
            now: jiff::Timestamp::from_second(second).unwrap(),
        };
        let mut managers = Managers::default();
        let live = managers.apply(tree, &json!({}), &object, &who(1), false).unwrap();
        let before = managers.clone();
        let again = managers.apply(tree, &live, &object, &who(2), false).unwrap();
        assert_eq!((again, managers), (live, before), "A4");
    });
}

#[test]
fn what_objects_carry_round_trips() {
    let entry = |json: Value| serde_json::from_value::<ManagedFieldsEntry>(json).unwrap();
    let entries = vec![
        entry(json!({"manager": "b", "operation": "Apply", "apiVersion": "v1",
            "time": "2026-01-01T00:00:05Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:x": {}}}})),
        entry(json!({"manager": "a", "operation": "Update", "apiVersion": "v1",
            "time": "2026-01-01T00:00:01Z", "subresource": "status", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {".": {}, "f:phase": {}}}})),
    ];
    assert_eq!(Managers::decode(Some(entries.clone())).encode(), Some(entries.clone()));
    assert_eq!(Managers::known(Some(entries.clone())).encode(), Some(entries.clone()));
    let mut turned = entries.clone();
    turned.reverse();
    assert_eq!(Managers::known(Some(turned)).encode(), Some(entries));
    assert!(is_reset(Some(&[ManagedFieldsEntry::default()])));
    assert!(!is_reset(Some(&[])) && !is_reset(None));
}
