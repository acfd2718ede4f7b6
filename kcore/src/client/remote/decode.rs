//! Reads replies.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::undecodable;
use super::transport;
use crate::client::{Deleted, DiscoveredResource, List, Representation, WatchEvent};
use crate::name::Resource;
use crate::object::Object;
use crate::status::{Reason, Status};
use crate::{Error, Result};

/// The annotation of the bookmark that ends a watch's initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A failed reply as a status, also where a proxy on the way made it up.
pub(super) fn status(code: u16, retry_after: Option<u32>, body: &[u8]) -> Status {
    #[derive(Deserialize)]
    struct Wire {
        kind: String,
        #[serde(default)]
        metadata: ListMeta,
    }
    let wire = serde_json::from_slice::<Wire>(body).ok().filter(|wire| wire.kind == "Status");
    let mut status = wire
        .and_then(|wire| {
            let status: Status = serde_json::from_slice(body).ok()?;
            Some(Status { continue_token: wire.metadata.continue_token, code, ..status })
        })
        .unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
            let message = format!("the server answered {code}: {}", text.trim());
            Status::failure(code, reason_of(code), message)
        });
    let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if let (0, Some(seconds)) = (asked, retry_after) {
        status = status.retry_after(seconds);
    }
    status
}

fn reason_of(code: u16) -> Reason {
    match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        406 => Reason::NotAcceptable,
        409 => Reason::Conflict,
        410 => Reason::Gone,
        413 => Reason::RequestEntityTooLarge,
        415 => Reason::UnsupportedMediaType,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        500 => Reason::InternalError,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::Unknown,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
    remaining_item_count: Option<u64>,
    annotations: BTreeMap<String, String>,
}

impl ListMeta {
    fn version(&self) -> Result<u64> {
        let text = &self.resource_version;
        text.parse().map_err(|_| Error::Decode {
            what: format!("resource version {text:?}"),
            source: serde_json::Error::custom("it is not a decimal number"),
        })
    }
}

/// An object, with the resource's kind where the wire has none or that of a part of it.
pub(super) fn object(
    json: &[u8],
    resource: &Resource,
    representation: Representation,
) -> Result<Object> {
    if representation == Representation::Full {
        let object = Object::from_json(json, None)?;
        if !object.meta().kind.is_empty() {
            return Ok(object);
        }
        // As the items of a list come.
        let mut named = Vec::with_capacity(json.len() + 64);
        let (api_version, kind) = (resource.api_version(), &resource.kind);
        let named_kind = serde_json::json!({"apiVersion": api_version, "kind": kind}).to_string();
        named.extend_from_slice(named_kind.trim_end_matches('}').as_bytes());
        let members = json.trim_ascii_start().strip_prefix(b"{").unwrap_or(b"}");
        if !members.trim_ascii_start().starts_with(b"}") {
            named.push(b',');
        }
        named.extend_from_slice(members);
        return Object::from_json(&named, None);
    }
    let mut value: Value = serde_json::from_slice(json).map_err(undecodable("object"))?;
    value["apiVersion"] = resource.api_version().into_owned().into();
    value["kind"] = resource.kind.clone().into_owned().into();
    Object::from_json(value.to_string().as_bytes(), None)
}

pub(super) fn list(
    json: &[u8],
    resource: &Resource,
    representation: Representation,
) -> Result<List> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(default)]
        metadata: ListMeta,
        #[serde(borrow, default)]
        items: Option<Vec<&'a RawValue>>,
        status: Option<&'a RawValue>,
    }
    let wire: Wire<'_> = serde_json::from_slice(json).map_err(undecodable("list"))?;
    if wire.items.is_none() && wire.status.is_some() {
        // Some servers answer the deletion of a collection with a status.
        return Ok(List::default());
    }
    let items = wire.items.unwrap_or_default();
    Ok(List {
        resource_version: wire.metadata.version()?,
        items: items
            .into_iter()
            .map(|item| object(item.get().as_bytes(), resource, representation))
            .collect::<Result<_>>()?,
        continue_token: wire.metadata.continue_token.filter(|token| !token.is_empty()),
        remaining: wire.metadata.remaining_item_count,
    })
}

/// What a delete's reply says: a status, or an object that stays a while or is gone already.
pub(super) fn deleted(json: &[u8]) -> Result<Deleted> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Meta {
        deletion_timestamp: Option<String>,
        deletion_grace_period_seconds: i64,
        finalizers: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Wire {
        kind: String,
        #[serde(default)]
        metadata: Meta,
    }
    let wire: Wire = serde_json::from_slice(json).map_err(undecodable("reply to a delete"))?;
    if wire.kind == "Status" {
        let status = serde_json::from_slice(json).map_err(undecodable("status"))?;
        return Ok(Deleted::Gone(Box::new(status)));
    }
    let meta = wire.metadata;
    let waits = meta.deletion_grace_period_seconds > 0 || !meta.finalizers.is_empty();
    match meta.deletion_timestamp.is_some() && waits {
        true => Object::from_json(json, None).map(Deleted::Pending),
        false => Ok(Deleted::Gone(Box::new(Status::success()))),
    }
}

/// Cuts a watch's body into events.
#[derive(Debug)]
pub(super) struct Lines {
    resource: Resource,
    representation: Representation,
    limit: usize,
    rest: Vec<u8>,
}

/// Events, and the error that ends the watch behind them.
type Read = (Vec<WatchEvent>, Option<Error>);

impl Lines {
    pub(super) fn new(resource: Resource, representation: Representation, limit: usize) -> Self {
        Self { resource, representation, limit, rest: Vec::new() }
    }

    /// Takes the next bytes, which may end anywhere in a line.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Read> {
        // Only the new bytes can hold the end of the line that the rest begins.
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return self.keep(bytes).map(|()| (Vec::new(), None));
        };
        self.rest.extend_from_slice(&bytes[..end]);
        let whole = std::mem::take(&mut self.rest);
        self.keep(&bytes[end + 1..])?;
        let mut events = Vec::new();
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
        {
            match self.event(line) {
                Ok(event) => events.push(event),
                Err(error) => return Ok((events, Some(error))),
            }
        }
        Ok((events, None))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > self.limit {
            let limit = self.limit;
            return Err(transport(format!("a watch event is longer than {limit} bytes")));
        }
        Ok(())
    }

    fn event(&self, line: &[u8]) -> Result<WatchEvent> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(rename = "type")]
            event_type: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Bookmark {
            metadata: ListMeta,
        }
        let wire: Wire<'_> = serde_json::from_slice(line).map_err(undecodable("watch event"))?;
        let json = wire.object.get().as_bytes();
        let object = || object(json, &self.resource, self.representation);
        match wire.event_type {
            "ADDED" => object().map(WatchEvent::Added),
            "MODIFIED" => object().map(WatchEvent::Modified),
            "DELETED" => object().map(WatchEvent::Deleted),
            "BOOKMARK" => {
                let bookmark: Bookmark =
                    serde_json::from_slice(json).map_err(undecodable("bookmark"))?;
                let end = bookmark.metadata.annotations.get(INITIAL_EVENTS_END);
                Ok(WatchEvent::Bookmark {
                    resource_version: bookmark.metadata.version()?,
                    initial_events_end: end.is_some_and(|end| end == "true"),
                })
            }
            "ERROR" => {
                let code = serde_json::from_slice::<Status>(json).map_or(500, |s| s.code);
                Err(status(code, None, json).into())
            }
            other => Err(Error::Decode {
                what: format!("watch event of type {other:?}"),
                source: serde_json::Error::custom("it is none of the five there are"),
            }),
        }
    }
}

/// The versions of the core group, with its empty name.
pub(super) fn core_versions(json: &[u8]) -> Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Wire {
        versions: Vec<String>,
    }
    let wire: Wire = serde_json::from_slice(json).map_err(undecodable("core API versions"))?;
    Ok(wire.versions.into_iter().map(|version| (String::new(), version)).collect())
}

/// Groups and their versions, in the server's order.
pub(super) fn group_versions(json: &[u8]) -> Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    #[derive(Deserialize)]
    struct Group {
        name: String,
        versions: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Wire {
        groups: Vec<Group>,
    }
    let wire: Wire = serde_json::from_slice(json).map_err(undecodable("API groups"))?;
    let versions = wire.groups.into_iter().flat_map(|group| {
        let name = group.name;
        group.versions.into_iter().map(move |version| (name.clone(), version.version))
    });
    Ok(versions.collect())
}

/// The resources of one group and version, subresources too.
pub(super) fn resources(
    json: &[u8],
    group: &str,
    version: &str,
) -> Result<Vec<DiscoveredResource>> {
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        kind: String,
        namespaced: bool,
        #[serde(default)]
        verbs: Vec<String>,
        #[serde(default)]
        group: String,
        #[serde(default)]
        version: String,
    }
    #[derive(Deserialize)]
    struct Wire {
        resources: Vec<Entry>,
    }
    let wire: Wire = serde_json::from_slice(json).map_err(undecodable("API resources"))?;
    let own = |entry: Entry| {
        // A subresource's kind may be of another group, which is then named.
        let foreign = !entry.version.is_empty() && !entry.name.contains('/');
        let (group, version) = match foreign {
            true => (entry.group, entry.version),
            false => (group.to_owned(), version.to_owned()),
        };
        let resource = Resource {
            group: group.into(),
            version: version.into(),
            plural: entry.name.into(),
            kind: entry.kind.into(),
            namespaced: entry.namespaced,
        };
        DiscoveredResource { resource, verbs: entry.verbs }
    };
    Ok(wire.resources.into_iter().map(own).collect())
}
