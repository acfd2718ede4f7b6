//! Bodies of fuzz targets, and a stable way to run any of them (X10).
//!
//! Not part of the API: feature `fuzz` is for this workspace's own tests and `fuzz/`.

mod hammer;

pub use hammer::{Target, assert_listed, hammer, hammer_all, run_of};

use crate::name::{GroupVersionKind, NamespacedName};
use crate::object::Object;
use crate::quantity::Quantity;
use crate::selector::{FieldSelector, LabelSelector};

/// The parsers of this crate that meet a stranger's bytes.
pub const TARGETS: &[Target] = &[
    Target {
        name: "kcore_quantity",
        body: quantity,
        seeds: &["100m", "1.5Gi", "-2e3", "9E", "+.5Ki"],
    },
    Target {
        name: "kcore_labels",
        body: labels,
        seeds: &["a=b,c!=d", "x in (y, z),!w", "n notin (1),m>5", "example.com/a==b,c"],
    },
    Target {
        name: "kcore_fields",
        body: fields,
        seeds: &["metadata.name=a,spec.nodeName!=b", "a==b\\,c", "status.phase!=Running"],
    },
    Target { name: "kcore_names", body: names, seeds: &["apps/v1", "v1", "ns/name", "a/b/c", "/"] },
    Target {
        name: "kcore_object",
        body: object,
        seeds: &[
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","resourceVersion":"7"}}"#,
            r#"{"metadata":{"uid":"u","labels":{"a":"b"},"ownerReferences":[{"uid":"o"}]}}"#,
        ],
    },
];

/// Runs the target of that name.
pub fn run(name: &str, data: &[u8]) {
    run_of(TARGETS, name, data);
}

/// What is written can be read, and is then written in the same way: a fraction of a byte is
/// rounded up once, as upstream does.
pub fn quantity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = text.parse::<Quantity>() {
        let written = quantity.to_string();
        let again: Quantity = written.parse().expect("what is written can be read");
        assert_eq!(again.to_string(), written, "{text:?}");
        let _ = (quantity.milli(), quantity.units(), quantity.cmp(&again), quantity + again);
    }
}

/// Parses a label selector, and asks it.
pub fn labels(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = text.parse::<LabelSelector>() {
        let _ = selector.matches(&[("a".to_owned(), "7".to_owned())].into());
        let again: LabelSelector = selector.to_string().parse().expect("it can be read again");
        assert_eq!(again, selector, "{text:?} is written as {selector}");
    }
}

/// Parses a field selector, and asks it.
pub fn fields(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = text.parse::<FieldSelector>() {
        let _ = selector.matches(|_| "a");
        let again: FieldSelector = selector.to_string().parse().expect("it can be read again");
        assert_eq!(again, selector, "{text:?} is written as {selector}");
    }
}

/// Parses the names of kinds and objects.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = GroupVersionKind::from_api_version(text, text).api_version();
    let _ = NamespacedName::parse(text).to_string();
}

/// Reads an object of any kind, and writes it again.
pub fn object(data: &[u8]) {
    if let Ok(object) = Object::from_json(data, None) {
        let json = object.to_json();
        assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "{json:?}");
    }
}
