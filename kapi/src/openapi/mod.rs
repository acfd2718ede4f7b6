//! The OpenAPI v3 documents that clients validate and explain by.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>

use bytes::Bytes;
use serde_json::{Value, json};

use crate::registry::Registry;

/// `/openapi/v3`: where each group-version's document is.
pub(crate) fn index(_registry: &Registry) -> Value {
    json!({"paths": {}})
}

/// The document of a group-version.
pub(crate) fn document(_registry: &Registry, _group: &str, _version: &str) -> Option<Bytes> {
    None
}
