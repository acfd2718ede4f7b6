//! Objects keep what they were given, and splice the resource version in.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};

use super::*;

fn config_map(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object.metadata.namespace = Some("default".into());
    object.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    object.data = Some([("metadata".to_owned(), "\"metadata\":{".to_owned())].into());
    object
}

#[test]
fn resource_version_is_spliced_and_read_back() {
    let object = Object::from_typed(config_map("a")).unwrap().at_version(42);
    let json = object.to_json();
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["metadata"]["resourceVersion"], "42");
    assert_eq!(value["data"]["metadata"], "\"metadata\":{");
    let back = Object::from_json(&json, None).unwrap();
    assert_eq!(back.resource_version(), 42);
    assert_eq!(back.meta().labels["app"], "web");
    assert_eq!(back.view::<ConfigMap>().unwrap().metadata.resource_version.as_deref(), Some("42"));
}

#[test]
fn empty_metadata_gets_a_version_without_a_comma() {
    let object = Object::from_typed(ConfigMap::default()).unwrap().at_version(7);
    let value: serde_json::Value = serde_json::from_slice(&object.to_json()).unwrap();
    assert_eq!(value["metadata"]["resourceVersion"], "7");
}

#[test]
fn the_view_is_decoded_once_and_shared() {
    let json = Object::from_typed(config_map("a")).unwrap().to_json();
    let object = Object::from_json(&json, Some(Codec::of::<ConfigMap>())).unwrap();
    let (one, two) = (object.view::<ConfigMap>().unwrap(), object.view::<ConfigMap>().unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    assert!(object.drop_idle_view(), "a view that somebody holds stays");
    drop((one, two));
    assert!(!object.drop_idle_view());
}

#[test]
fn a_foreign_type_does_not_displace_the_view() {
    let object = Object::from_typed(config_map("a")).unwrap();
    let own = object.view::<ConfigMap>().unwrap();
    // k8s-openapi checks the kind, so this is refused rather than half read.
    assert!(object.view::<Pod>().is_err());
    assert!(Arc::ptr_eq(&own, &object.view::<ConfigMap>().unwrap()));
}

#[test]
fn a_version_that_is_no_number_is_refused() {
    let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"abc"}}"#;
    let error = Object::from_json(json, None).unwrap_err();
    assert!(error.to_string().contains("abc"));
}

#[test]
fn members_before_metadata_do_not_mislead_the_splice() {
    let json = br#"{"kind":"X","spec":{"metadata":{"a":1}},"apiVersion":"e/v1",
        "metadata":{"name":"n","resourceVersion":"5"}}"#;
    let object = Object::from_json(json, None).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&object.to_json()).unwrap();
    assert_eq!(value["metadata"]["resourceVersion"], "5");
    assert_eq!(value["spec"]["metadata"], serde_json::json!({"a": 1}));
}

#[test]
fn a_handle_without_a_codec_serves_any_type() {
    let json = Object::from_typed(config_map("a")).unwrap().to_json();
    let object = Object::from_json(&json, None).unwrap();
    assert!(object.typed().unwrap().is_none());
    object.view::<ConfigMap>().unwrap();
    assert!(object.view::<Pod>().is_err());
    object.view::<ConfigMap>().unwrap();
}
