//! The protobuf envelope, and the questions that kubectl asks in it.
//!
//! Only review kinds are understood: they are small and never stored. Field numbers follow the
//! published `generated.proto` files of `k8s.io/api`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

/// The media type of the envelope.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What an envelope starts with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a protobuf body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix \"k8s\\x00\"")]
    NoEnvelope,
    #[error("protobuf body cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// Every review has its metadata first and its question second.
#[derive(Clone, PartialEq, Message)]
struct Review {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    spec: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExtraValue {
    #[prost(string, repeated, tag = "1")]
    items: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    path: Option<NonResourceAttributes>,
    #[prost(string, tag = "3")]
    user: String,
    #[prost(string, repeated, tag = "4")]
    groups: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    extra: BTreeMap<String, ExtraValue>,
    #[prost(string, tag = "6")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct RulesSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct TokenReviewSpec {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, repeated, tag = "2")]
    audiences: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenRequestSpec {
    #[prost(string, repeated, tag = "1")]
    audiences: Vec<String>,
    #[prost(message, optional, tag = "3")]
    bound: Option<BoundObject>,
    #[prost(int64, optional, tag = "4")]
    expiration_seconds: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct BoundObject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    api_version: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
}

/// Brings a review out of its envelope into JSON; `None` if it is of another kind.
pub(crate) fn review_to_json(body: &[u8]) -> Result<Option<Bytes>, ProtobufError> {
    let rest = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoEnvelope)?;
    let envelope = Unknown::decode(rest)?;
    let type_meta = envelope.type_meta.unwrap_or_default();
    let review = Review::decode(envelope.raw)?;
    let spec = match (type_meta.api_version.as_str(), type_meta.kind.as_str()) {
        ("authentication.k8s.io/v1", "SelfSubjectReview") => None,
        ("authentication.k8s.io/v1", "TokenReview") => {
            let spec = TokenReviewSpec::decode(review.spec)?;
            Some(json!({"token": spec.token, "audiences": spec.audiences}))
        }
        ("authentication.k8s.io/v1", "TokenRequest") => {
            Some(token_request(TokenRequestSpec::decode(review.spec)?))
        }
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            Some(json!({"namespace": RulesSpec::decode(review.spec)?.namespace}))
        }
        (
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview",
        ) => Some(access(AccessSpec::decode(review.spec)?)),
        _ => return Ok(None),
    };
    let metadata = review.metadata.unwrap_or_default();
    let mut object = json!({
        "apiVersion": type_meta.api_version,
        "kind": type_meta.kind,
        "metadata": without_empty(json!({
            "name": metadata.name, "namespace": metadata.namespace})),
    });
    if let Some(spec) = spec {
        object["spec"] = without_empty(spec);
    }
    Ok(Some(object.to_string().into()))
}

fn access(spec: AccessSpec) -> Value {
    let extra: serde_json::Map<String, Value> =
        spec.extra.into_iter().map(|(key, value)| (key, json!(value.items))).collect();
    let mut out = json!({
        "user": spec.user, "groups": spec.groups, "uid": spec.uid, "extra": extra});
    if let Some(resource) = spec.resource {
        out["resourceAttributes"] = without_empty(json!({
            "namespace": resource.namespace, "verb": resource.verb, "group": resource.group,
            "version": resource.version, "resource": resource.resource,
            "subresource": resource.subresource, "name": resource.name}));
    }
    if let Some(path) = spec.path {
        out["nonResourceAttributes"] = without_empty(json!({"path": path.path, "verb": path.verb}));
    }
    out
}

fn token_request(spec: TokenRequestSpec) -> Value {
    let mut out = json!({"audiences": spec.audiences});
    if let Some(seconds) = spec.expiration_seconds {
        out["expirationSeconds"] = json!(seconds);
    }
    if let Some(bound) = spec.bound {
        out["boundObjectRef"] = without_empty(json!({
            "kind": bound.kind, "apiVersion": bound.api_version, "name": bound.name,
            "uid": bound.uid}));
    }
    out
}

/// Protobuf cannot tell an empty member from an absent one; JSON leaves both out. A token
/// request's audiences and the like may be empty too.
fn without_empty(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| match member {
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: &str, spec: impl Message) -> Vec<u8> {
        let review = Review { metadata: None, spec: spec.encode_to_vec().into() };
        let unknown = Unknown {
            type_meta: Some(TypeMeta {
                api_version: "authorization.k8s.io/v1".into(),
                kind: kind.into(),
            }),
            raw: review.encode_to_vec().into(),
        };
        [MAGIC, &unknown.encode_to_vec()].concat()
    }

    #[test]
    fn a_review_comes_out_as_json() {
        let spec = AccessSpec {
            resource: Some(ResourceAttributes {
                verb: "get".into(),
                resource: "pods".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let json = review_to_json(&envelope("SelfSubjectAccessReview", spec)).unwrap().unwrap();
        let value: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            value["spec"],
            json!({"resourceAttributes": {"verb": "get", "resource": "pods"}})
        );
    }

    #[test]
    fn other_kinds_and_noise_are_told_apart() {
        assert!(review_to_json(&envelope("Pod", RulesSpec::default())).unwrap().is_none());
        assert!(matches!(review_to_json(b"{}"), Err(ProtobufError::NoEnvelope)));
        assert!(review_to_json(b"k8s\0\xff\xff").is_err());
    }
}
