//! What the decoder says of bodies, and what it lets pass.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node as ClusterNode, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::*;

fn problems<K: schemars::JsonSchema>(json: &str) -> Vec<String> {
    let source = SchemaSource::of::<K>();
    check(source.tree(), json.as_bytes()).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_object_has_no_problems() {
    let none: [String; 0] = [];
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},
        "creationTimestamp":null,"managedFields":[{"fieldsV1":{"f:a":{"f:b":{}}}}]},
        "spec":{"containers":[{"name":"c","ports":[{"containerPort":80}],
        "resources":{"limits":{"cpu":1,"memory":"1Gi"}},
        "livenessProbe":{"httpGet":{"port":"web"}},
        "readinessProbe":{"httpGet":{"port":8080}}}]},
        "status":{"startTime":"2024-01-02T03:04:05Z"}}"#;
    assert_eq!(problems::<Pod>(pod), none);
    assert_eq!(problems::<Secret>(r#"{"data":{"a":"aGVsbG8="}}"#), none);
    let crd = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"type":"object",
        "properties":{"spec":{"type":"object","default":{"a":[1]},
        "additionalProperties":true,"items":[{"type":"string"}]}}}}}]}}"#;
    assert_eq!(problems::<CustomResourceDefinition>(crd), none);
}

#[test]
fn unknown_and_duplicate_fields_are_named_with_their_paths() {
    let check = |json: &str, expect: &str| {
        assert_eq!(problems::<Deployment>(json).join(", "), expect, "A5: {json}");
    };
    check(r#"{"spec":{"replica":1}}"#, r#"unknown field "spec.replica""#);
    check(r#"{"Spec":{}}"#, r#"unknown field "Spec""#);
    check(r#"{"metadata":{"name":"a","name":"b"}}"#, r#"duplicate field "metadata.name""#);
    check(r#"{"metadata":{"labels":{"a":"1","a":"2"}}}"#, r#"duplicate field "metadata.labels.a""#);
    check(
        r#"{"spec":{"template":{"spec":{"containers":[{},{"imag":"x"}]}}},"stat":[{"a":1}]}"#,
        r#"unknown field "spec.template.spec.containers[1].imag", unknown field "stat""#,
    );
}

#[test]
fn wrong_types_are_told_in_the_words_clients_know() {
    let check = |json: &str, expect: &str| {
        assert_eq!(problems::<Deployment>(json).join(", "), expect, "{json}");
    };
    check(
        r#"{"spec":{"replicas":"3"}}"#,
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type \
         int32",
    );
    check(
        r#"{"spec":{"replicas":3000000000}}"#,
        "json: cannot unmarshal number 3000000000 into Go struct field \
         DeploymentSpec.spec.replicas of type int32",
    );
    check(
        r#"{"metadata":{"labels":{"a":1}}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type \
         string",
    );
    check(
        r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
        "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers \
         of type []v1.Container",
    );
    check("[]", "json: cannot unmarshal array into Go value of type v1.Deployment");
    let image = r#"{"spec":{"template":{"spec":{"containers":[{"image":true}]}}}}"#;
    check(
        image,
        "json: cannot unmarshal bool into Go struct field \
         Container.spec.template.spec.containers.image of type string",
    );
}

#[test]
fn texts_that_stand_for_something_are_read() {
    assert!(problems::<Secret>(r#"{"data":{"a":"%"}}"#)[0].starts_with("illegal base64"));
    let time = problems::<Pod>(r#"{"metadata":{"creationTimestamp":"today"}}"#);
    assert!(time[0].starts_with("parsing time \"today\" as"), "{time:?}");
    let quantity = problems::<ClusterNode>(r#"{"status":{"capacity":{"cpu":"much"}}}"#);
    assert!(quantity[0].starts_with("quantities must match"), "{quantity:?}");
}

#[test]
fn deep_nesting_and_floods_of_problems_are_bounded() {
    // O1
    for open in ["[", r#"{"a":"#] {
        let bomb = open.repeat(1_000_000);
        let found = duplicates(bomb.as_bytes());
        assert!(matches!(found.as_slice(), [Problem::Syntax(why)] if why.contains("recursion")));
        let source = SchemaSource::of::<Pod>();
        assert!(!check(source.tree(), bomb.as_bytes()).is_empty());
    }
    let bomb = format!("{{\"metadata\":{}", r#"{"labels":"#.repeat(100_000));
    assert!(!problems::<Pod>(&bomb).is_empty());
    let flood: Vec<String> = (0..10_000).map(|n| format!("\"x{n}\":1")).collect();
    let flood = format!("{{{}}}", flood.join(","));
    assert_eq!(problems::<Pod>(&flood).len(), check::MAX_PROBLEMS);
    let long = format!("{{\"{}\":1}}", "\u{e9}".repeat(1_000_000));
    assert!(problems::<Pod>(&long)[0].len() < 2_000);
}

#[test]
fn numbers_for_quantities_and_nulls_are_brought_into_form() {
    let source = SchemaSource::of::<Pod>();
    let json = r#"{"metadata":{"labels":{"a":null},"name":null},"spec":{"containers":[
        {"name":"c","ports":null,"resources":{"limits":{"cpu":2}}}]}}"#;
    let repaired = repair(source.tree(), json.as_bytes()).unwrap();
    let pod: Pod = serde_json::from_slice(&repaired).unwrap();
    assert_eq!(pod.metadata.labels.unwrap()["a"], "");
    let container = &pod.spec.unwrap().containers[0];
    assert_eq!(container.ports, None);
    let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
    assert_eq!(limits["cpu"].0, "2");
}

#[test]
fn field_validation_takes_what_the_request_may_say() {
    let check = |text: &str| text.parse::<FieldValidation>().ok();
    assert_eq!(check("Strict"), Some(FieldValidation::Strict));
    assert_eq!(check(""), Some(FieldValidation::Warn));
    assert_eq!(check("Ignore"), Some(FieldValidation::Ignore));
    assert_eq!(check("strict"), None);
}

#[test]
fn every_kind_has_a_schema_with_metadata() {
    let registry = crate::registry::Registry::built_in();
    for row in registry.rows() {
        let tree = row.schema.tree();
        let Node::Object(object) = tree.node(tree.root()) else {
            panic!("{:?} is no object", row.resource)
        };
        let meta = object.field("metadata").unwrap();
        assert!(matches!(tree.node(meta.node), Node::Object(_)), "{:?}", row.resource);
        assert_eq!(check(tree, b"{}"), []);
    }
}
