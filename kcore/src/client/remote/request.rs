//! Builds requests.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use kube::client::Body as HttpBody;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::transport;
use crate::client::{
    DeleteOptions, ListOptions, Path, Propagation, VersionMatch, WatchOptions, WriteOptions,
};
use crate::selector::{FieldSelector, LabelSelector};
use crate::{Error, Result};

/// The media type of all bodies but patches.
pub(super) const JSON: &str = "application/json";
/// What the wire has for a selector of nothing, which has no form of its own.
const NOTHING: &str = "nothing,!nothing";

/// Everything but the characters that need no escape in a path segment or a query value.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

type Pair = (&'static str, String);

pub(super) fn uri(path: &Path<'_>, query: &[Pair]) -> String {
    let resource = path.resource;
    let mut uri = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let namespace = path.namespace.filter(|_| resource.namespaced).unwrap_or_default();
    let mut push = |segment: &str| {
        if !segment.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(uri, "/{}", utf8_percent_encode(segment, ESCAPED));
        }
    };
    if !namespace.is_empty() {
        push("namespaces");
        push(namespace);
    }
    push(&resource.plural);
    push(path.name);
    path.subresource.split('/').for_each(push);
    for (at, (name, value)) in query.iter().enumerate() {
        let mark = if at == 0 { '?' } else { '&' };
        let _ = write!(uri, "{mark}{name}={}", utf8_percent_encode(value, ESCAPED));
    }
    uri
}

pub(super) fn with_body(
    method: Method,
    uri: &str,
    media_type: &str,
    body: Bytes,
) -> Result<Request<HttpBody>> {
    let mut request = Request::builder().method(method).uri(uri).header(ACCEPT, JSON);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, media_type);
    }
    request.body(HttpBody::from(body)).map_err(transport)
}

/// Asks for metadata in the form `kind`, or for whole objects.
pub(super) fn accept(request: &mut Request<HttpBody>, kind: Option<&'static str>) {
    let value = match kind {
        Some("PartialObjectMetadataList") => {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        }
        Some(_) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        None => JSON,
    };
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(value));
}

fn selectors(labels: &LabelSelector, fields: &FieldSelector) -> Vec<Pair> {
    let mut query = Vec::new();
    if !labels.is_empty() {
        // A selector of nothing has no comparisons, and written as none it would select all.
        let nothing = labels.requirements().is_empty();
        let text = if nothing { NOTHING.to_owned() } else { labels.to_string() };
        query.push(("labelSelector", text));
    }
    if !fields.is_empty() {
        query.push(("fieldSelector", fields.to_string()));
    }
    query
}

pub(super) fn list_query(options: &ListOptions) -> Vec<Pair> {
    let mut query = selectors(&options.labels, &options.fields);
    if let Some(version) = options.resource_version {
        query.push(("resourceVersion", version.to_string()));
    }
    if let Some(version_match) = options.version_match {
        let text = match version_match {
            VersionMatch::NotOlderThan => "NotOlderThan",
            VersionMatch::Exact => "Exact",
        };
        query.push(("resourceVersionMatch", text.to_owned()));
    }
    if let Some(limit) = options.limit {
        query.push(("limit", limit.to_string()));
    }
    if let Some(token) = &options.continue_token {
        query.push(("continue", token.clone()));
    }
    query
}

pub(super) fn watch_query(options: &WatchOptions, timeout_seconds: u32) -> Vec<Pair> {
    let mut query = vec![("watch", "true".to_owned())];
    query.extend(selectors(&options.labels, &options.fields));
    query.push(("timeoutSeconds", timeout_seconds.to_string()));
    if options.bookmarks {
        query.push(("allowWatchBookmarks", "true".to_owned()));
    }
    if let Some(version) = options.resource_version {
        query.push(("resourceVersion", version.to_string()));
    }
    if options.send_initial_events {
        query.push(("sendInitialEvents", "true".to_owned()));
        query.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
    }
    query
}

pub(super) fn write_query(options: &WriteOptions) -> Vec<Pair> {
    let mut query = Vec::new();
    if options.dry_run {
        query.push(("dryRun", "All".to_owned()));
    }
    if !options.field_manager.is_empty() {
        query.push(("fieldManager", options.field_manager.clone()));
    }
    if options.force {
        query.push(("force", "true".to_owned()));
    }
    if !options.field_validation.is_empty() {
        query.push(("fieldValidation", options.field_validation.clone()));
    }
    query
}

pub(super) fn delete_body(options: &DeleteOptions) -> Bytes {
    let mut body = serde_json::json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
    if let Some(seconds) = options.grace_period_seconds {
        body["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(uid) = &options.preconditions.uid {
        body["preconditions"]["uid"] = uid.clone().into();
    }
    if let Some(version) = options.preconditions.resource_version {
        body["preconditions"]["resourceVersion"] = version.to_string().into();
    }
    if let Some(propagation) = options.propagation {
        body["propagationPolicy"] = match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        }
        .into();
    }
    if options.dry_run {
        body["dryRun"] = vec!["All"].into();
    }
    body.to_string().into()
}

/// An error for a reply that is not what was asked for.
pub(super) fn undecodable(what: &str) -> impl FnOnce(serde_json::Error) -> Error {
    move |source| Error::Decode { what: what.to_owned(), source }
}
