//! Bodies into objects, and objects into bodies.

use bytes::Bytes;
use kcore::client::Body;
use kcore::kind::Typed;
use kcore::object::{Encoded, Object};
use kcore::status::Status;
use serde::Deserialize;

use super::{Result, Server};
use crate::registry::{Row, Way};
use crate::schema::{self, unreadable};

#[derive(Deserialize)]
struct TypeMeta {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

impl Server {
    /// Takes a body as an object of a row's kind.
    pub(super) fn decode(&self, row: &Row, body: Body) -> Result<Box<dyn Typed>> {
        match body {
            Body::Typed(typed) if typed.as_any().type_id() == row.codec.type_id => Ok(typed),
            Body::Typed(typed) => {
                let mut json = Vec::new();
                typed.encode(&mut json).map_err(|error| unreadable(row, &error))?;
                self.decode_json(row, &json.into())
            }
            Body::Json(json) => self.decode_json(row, &json),
        }
    }

    fn decode_json(&self, row: &Row, json: &Bytes) -> Result<Box<dyn Typed>> {
        let found: TypeMeta =
            serde_json::from_slice(json).map_err(|error| unreadable(row, &error))?;
        let expected = row.resource.api_version();
        if !found.api_version.is_empty() && found.api_version != expected {
            return Err(Status::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version \
                 ({expected})",
                found.api_version
            ))
            .into());
        }
        if !found.kind.is_empty() && found.kind != row.resource.kind {
            return Err(Status::bad_request(format!(
                "the kind in the data ({}) does not match the expected kind ({})",
                found.kind, row.resource.kind
            ))
            .into());
        }
        schema::weigh(&row.schema, json).map_err(Status::from)?;
        (row.codec.decode)(json).or_else(|error| decode_leniently(row, json, &error))
    }
}

/// Decodes what the API takes and the Rust types do not, or says what is wrong with it.
fn decode_leniently(row: &Row, json: &[u8], error: &serde_json::Error) -> Result<Box<dyn Typed>> {
    let tree = row.schema.tree();
    let problems = schema::check(tree, json);
    if let Some(fatal) = problems.iter().find(|problem| !problem.is_strictness()) {
        return Err(unreadable(row, fatal).into());
    }
    schema::weigh_anything(json).map_err(Status::from)?;
    let repaired = schema::repair(tree, json).ok_or_else(|| unreadable(row, error))?;
    (row.codec.decode)(&repaired).map_err(|error| unreadable(row, &error).into())
}

/// Encodes an object under the version it is stored in.
pub(super) fn encode(row: &Row, typed: Box<dyn Typed>) -> Result<Encoded> {
    let fields = row.strategy.fields(&*typed);
    Encoded::from_typed(typed, fields).map_err(|error| Status::internal(error).into())
}

/// Encodes an object, with its managers if it has some that are not in it yet.
pub(super) fn encode_with(
    row: &Row,
    typed: Box<dyn Typed>,
    managers: Option<&[u8]>,
) -> Result<Encoded> {
    match managers {
        Some(managers) => encode_managed(row, typed, managers),
        None => encode(row, typed),
    }
}

/// Encodes an object with managers that are JSON already, or none.
pub(super) fn encode_managed(row: &Row, typed: Box<dyn Typed>, managers: &[u8]) -> Result<Encoded> {
    let fields = row.strategy.fields(&*typed);
    Encoded::with_managers(typed, fields, managers).map_err(|error| Status::internal(error).into())
}

/// A stored object in the version a request asked for.
pub(super) async fn present(row: &Row, object: Object) -> Result<Object> {
    if row.stored_as.is_none() {
        return Ok(object);
    }
    let mut presented = present_all(row, vec![object]).await?;
    // As many come back as went in.
    presented.pop().ok_or_else(|| Status::internal("conversion returned nothing").into())
}

/// Stored objects in the version a request asked for, converted at once.
pub(super) async fn present_all(row: &Row, objects: Vec<Object>) -> Result<Vec<Object>> {
    let Some(stored) = &row.stored_as else { return Ok(objects) };
    let batch = objects.iter().map(|object| Ok(typed_of(object)?.boxed_clone()));
    let batch = batch.collect::<Result<Vec<_>>>()?;
    let converted = stored.convert(batch, Way::FromStored).await?;
    converted
        .into_iter()
        .zip(&objects)
        .map(|(mut typed, stored)| {
            typed.meta_mut().managed_fields = stored.managed_fields().map_err(Status::internal)?;
            Ok(Object::new(encode(row, typed)?, stored.resource_version(), Some(row.codec)))
        })
        .collect()
}

/// An object of a row's version in the one in which it is stored.
pub(super) async fn to_stored(row: &Row, typed: Box<dyn Typed>) -> Result<Box<dyn Typed>> {
    match &row.stored_as {
        Some(stored) => stored.convert_one(typed, Way::ToStored).await,
        None => Ok(typed),
    }
}

/// The typed view of a cached object.
pub(crate) fn typed_of(object: &Object) -> Result<std::sync::Arc<dyn Typed>> {
    let typed = object.typed().map_err(Status::internal)?;
    typed.ok_or_else(|| Status::internal(format!("{object} has no codec")).into())
}
