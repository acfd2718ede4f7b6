//! Replies: objects, lists, tables, statuses, streams.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WARNING,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kcore::client::{List, WatchEvent, WatchStream};
use kcore::object::Object;
use kcore::status::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ResponseBody;
use super::negotiate::{Form, Shape, Syntax};
use crate::registry::Row;
use crate::server::{Result, typed_of};
use crate::table;

/// Replies above this size are compressed for whoever accepts it.
const GZIP_FROM: usize = 128 << 10;

/// Characters of one warning, and bytes of all warnings of a reply.
const MAX_WARNING: usize = 256;
const MAX_WARNINGS: usize = 4 << 10;

/// How objects are written for one request.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) row: Arc<Row>,
    pub(super) form: Form,
    /// What a table row carries of its object: `None`, `Metadata` or `Object`.
    pub(super) include: String,
    pub(super) now: jiff::Timestamp,
}

impl Writer {
    /// An object.
    pub(super) fn object(&self, object: &Object) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.form.shape {
            Shape::Whole => object.write_json(&mut out),
            Shape::Metadata => write_metadata(object, &mut out)?,
            Shape::Table => self.table(std::slice::from_ref(object), None, true, &mut out)?,
        }
        Ok(out)
    }

    /// A list.
    pub(super) fn list(&self, list: &List) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(list.items.len() * 1024 + 256);
        if self.form.shape == Shape::Table {
            self.table(&list.items, Some(list), true, &mut out)?;
            return Ok(out);
        }
        let (kind, api_version) = match self.form.shape {
            Shape::Metadata => {
                ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
            }
            _ => {
                let resource = &self.row.resource;
                (format!("{}List", resource.kind), resource.api_version().into_owned())
            }
        };
        let head = json!({
            "kind": kind, "apiVersion": api_version, "metadata": list_meta(list)});
        let head = head.to_string();
        out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
        out.extend_from_slice(b",\"items\":[");
        for (at, object) in list.items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match self.form.shape {
                Shape::Metadata => write_metadata(object, &mut out)?,
                _ => object.write_json(&mut out),
            }
        }
        out.extend_from_slice(b"]}");
        Ok(out)
    }

    /// One event of a watch, as a line. `first` says whether a table still needs its columns.
    fn event(&self, event: &WatchEvent, first: bool, out: &mut Vec<u8>) -> Result<()> {
        let kind = match event {
            WatchEvent::Added(_) => "ADDED",
            WatchEvent::Modified(_) => "MODIFIED",
            WatchEvent::Deleted(_) => "DELETED",
            WatchEvent::Bookmark { .. } => "BOOKMARK",
        };
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match event.object() {
            Some(object) => match self.form.shape {
                Shape::Whole => object.write_json(out),
                Shape::Metadata => write_metadata(object, out)?,
                Shape::Table => self.table(std::slice::from_ref(object), None, first, out)?,
            },
            None => out.extend_from_slice(self.bookmark(event).to_string().as_bytes()),
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn bookmark(&self, event: &WatchEvent) -> Value {
        let version = event.resource_version().to_string();
        let mut metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        if matches!(event, WatchEvent::Bookmark { initial_events_end: true, .. }) {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = &self.row.resource;
        match self.form.shape {
            Shape::Whole => json!({
                "kind": resource.kind, "apiVersion": resource.api_version(),
                "metadata": metadata}),
            Shape::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata}),
            Shape::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": version}, "columnDefinitions": null,
                "rows": [{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata}}]}),
        }
    }

    fn table(
        &self,
        objects: &[Object],
        list: Option<&List>,
        with_columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let columns: Vec<Value> = table::columns(&self.row)
            .iter()
            .map(|column| {
                json!({
                    "name": column.name, "type": column.kind, "format": column.format,
                    "description": column.description, "priority": column.priority})
            })
            .collect();
        let metadata = match (list, objects) {
            (Some(list), _) => list_meta(list),
            (None, [object]) => json!({"resourceVersion": object.resource_version().to_string()}),
            (None, _) => json!({}),
        };
        let head = json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": if with_columns { json!(columns) } else { Value::Null },
        });
        let head = head.to_string();
        out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
        out.extend_from_slice(b",\"rows\":[");
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let typed = typed_of(object)?;
            let cells = Value::Array(table::cells(&self.row, &*typed, self.now));
            out.extend_from_slice(b"{\"cells\":");
            out.extend_from_slice(cells.to_string().as_bytes());
            out.extend_from_slice(b",\"object\":");
            match self.include.as_str() {
                "None" => out.extend_from_slice(b"null"),
                "Object" => object.write_json(out),
                _ => write_metadata(object, out)?,
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }
}

fn list_meta(list: &List) -> Value {
    let mut meta = json!({"resourceVersion": list.resource_version.to_string()});
    if let Some(token) = &list.continue_token {
        meta["continue"] = json!(token);
    }
    if let Some(remaining) = list.remaining {
        meta["remainingItemCount"] = json!(remaining);
    }
    meta
}

/// Writes kind and metadata alone.
fn write_metadata(object: &Object, out: &mut Vec<u8>) -> Result<()> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let json = object.to_json();
    let whole: Whole<'_> = serde_json::from_slice(&json).map_err(Status::internal)?;
    out.extend_from_slice(
        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
    );
    out.extend_from_slice(whole.metadata.get().as_bytes());
    out.push(b'}');
    Ok(())
}

/// A JSON reply, in the syntax that was accepted.
pub(super) fn json_reply(
    code: StatusCode,
    json: Vec<u8>,
    form: Form,
    request: &HeaderMap,
) -> Response<ResponseBody> {
    let bytes = match form.syntax {
        Syntax::Json => json,
        Syntax::Yaml => to_yaml(&json).unwrap_or(json),
    };
    let gzip = bytes.len() >= GZIP_FROM
        && request.get_all(ACCEPT_ENCODING).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|one| one.trim().starts_with("gzip")))
        });
    let packed = if gzip { compress(&bytes) } else { None };
    let zipped = packed.is_some();
    let mut response = reply(code, form.content_type(), packed.unwrap_or(bytes));
    if zipped {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn to_yaml(json: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    serde_saphyr::to_string(&value).ok().map(String::into_bytes)
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// A reply of any type.
pub(super) fn reply(
    code: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A status, with the headers that go with it.
pub(super) fn status_reply(status: &Status) -> Response<ResponseBody> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = reply(code, "application/json", status.to_json());
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Adds warnings for the person at the client, as many as proxies on the way put up with.
pub(super) fn warn(response: &mut Response<ResponseBody>, warnings: &[String]) {
    let mut room = MAX_WARNINGS;
    for warning in warnings {
        let shown: String = warning.chars().take(MAX_WARNING).collect();
        let quoted = shown.replace('\\', "\\\\").replace('"', "\\\"");
        let Some(left) = room.checked_sub(quoted.len()) else { return };
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
            room = left;
        }
    }
}

/// A watch as a stream of lines, closed after `timeout`.
pub(super) fn watch_reply(
    writer: Writer,
    stream: WatchStream,
    timeout: Duration,
) -> Response<ResponseBody> {
    let content_type = match writer.form.syntax {
        Syntax::Json => "application/json",
        Syntax::Yaml => "application/json;stream=watch",
    };
    let deadline = Box::pin(tokio::time::sleep(timeout));
    let mut first = true;
    let lines = stream.take_until(deadline).map(move |batch| {
        let mut out = Vec::new();
        let written = batch.map_err(into_status).and_then(|batch| {
            for event in batch.iter() {
                writer.event(event, first, &mut out)?;
                first = false;
            }
            Ok(())
        });
        if let Err(status) = written {
            out.extend_from_slice(b"{\"type\":\"ERROR\",\"object\":");
            out.extend_from_slice(&status.to_json());
            out.extend_from_slice(b"}\n");
        }
        Ok(Frame::data(Bytes::from(out)))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn into_status(error: kcore::Error) -> Box<Status> {
    match error {
        kcore::Error::Api(status) => status,
        other => Status::internal(other).into(),
    }
}
