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

/// Objects with managers, without other metadata, and without any.
fn managed(managers: bool, named: bool) -> serde_json::Value {
    let mut metadata = serde_json::json!({});
    if named {
        metadata["annotations"] = serde_json::json!({"managedFields": "\"managedFields\":[]"});
        metadata["name"] = "a".into();
    }
    if managers {
        metadata["managedFields"] = serde_json::json!([{"manager": "m", "operation": "Update",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a]},": {}}}}}]);
    }
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"x": "y"}})
}

#[test]
fn managers_are_in_the_json_and_in_no_typed_view() {
    for (managers, named) in [(true, true), (true, false), (false, true), (false, false)] {
        let expected = managed(managers, named);
        let typed: ConfigMap = serde_json::from_value(expected.clone()).unwrap();
        let written = Object::from_typed(typed).unwrap();
        let codec = Some(Codec::of::<ConfigMap>());
        let sent = Object::from_json(expected.to_string().as_bytes(), codec).unwrap();
        let stored = Encoded::from_stored(written.encoded().bytes().clone(), Vec::new()).unwrap();
        let foreign = Encoded::from_stored(expected.to_string().into(), Vec::new()).unwrap();
        let (stored, foreign) = (Object::new(stored, 0, codec), Object::new(foreign, 0, codec));
        for object in [&written, &sent, &stored, &foreign] {
            let json = |object: &Object| -> serde_json::Value {
                serde_json::from_slice(&object.to_json()).unwrap()
            };
            assert_eq!(json(object), expected);
            let mut versioned = expected.clone();
            versioned["metadata"]["resourceVersion"] = "7".into();
            assert_eq!(json(&object.at_version(7)), versioned);
            let known = object.managed_fields().unwrap();
            let known = known.map_or(serde_json::Value::Null, |all| serde_json::json!(all));
            assert_eq!(known, expected["metadata"]["managedFields"]);
            let view = object.view::<ConfigMap>().unwrap();
            assert_eq!(view.metadata.managed_fields, None);
            assert_eq!(view.metadata.name.as_deref(), named.then_some("a"));
            assert_eq!(view.data.as_ref().unwrap()["x"], "y");
        }
        assert_eq!(written.encoded().bytes(), stored.encoded().bytes());
    }
}

#[test]
fn an_empty_list_of_managers_is_none() {
    let mut map = config_map("a");
    map.metadata.managed_fields = Some(Vec::new());
    let object = Object::from_typed(map).unwrap();
    assert_eq!(object.managed_fields().unwrap(), None);
    assert!(!String::from_utf8_lossy(&object.to_json()).contains("managedFields"));
}
