//! Objects in protobuf, brought into JSON: what typed clients of client-go send, and kubectl with
//! them. Answers are JSON, which they all take.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod decode;
mod messages;
mod reader;

use bytes::Bytes;
use serde_json::{Map, Value};

use decode::Decoder;
use messages::Messages;
use reader::Reader;

use crate::schema::TooHeavy;

/// The media type of the envelope.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What an envelope starts with.
const MAGIC: &[u8] = b"k8s\0";
/// The kind that every group has in its own versions.
const DELETE_OPTIONS: (&str, &str) = ("DeleteOptions", "meta/v1.DeleteOptions");

/// Why a protobuf body cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix \"k8s\\x00\"")]
    NoEnvelope,
    #[error("protobuf body cannot be decoded: {field}: {why}")]
    Malformed { field: String, why: &'static str },
    #[error("{}", TooHeavy(.field.clone()))]
    TooHeavy { field: String },
}

impl ProtobufError {
    fn malformed(why: &'static str) -> Self {
        Self::Malformed { field: String::new(), why }
    }

    /// The same, told of the field that holds what is wrong.
    fn within(self, name: &str) -> Self {
        let outer = |field: String| match field.as_str() {
            "" => name.to_owned(),
            field => format!("{name}.{field}"),
        };
        match self {
            Self::Malformed { field, why } => Self::Malformed { field: outer(field), why },
            Self::TooHeavy { field } => Self::TooHeavy { field: outer(field) },
            Self::NoEnvelope => Self::NoEnvelope,
        }
    }

    /// Goes on if something was left.
    fn hold(left: bool) -> Result<(), Self> {
        if left { Ok(()) } else { Err(Self::TooHeavy { field: String::new() }) }
    }
}

/// What an envelope says of its content.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(body: &'a [u8]) -> Result<Self, ProtobufError> {
        let mut this = Self::default();
        let mut fields = Reader::new(body);
        while let Some((number, content)) = fields.field()? {
            match number {
                1 => {
                    let mut of = Reader::new(content.bytes()?);
                    while let Some((number, content)) = of.field()? {
                        match number {
                            1 => this.api_version = content.text()?,
                            2 => this.kind = content.text()?,
                            _ => {}
                        }
                    }
                }
                2 => this.raw = content.bytes()?,
                _ => {}
            }
        }
        Ok(this)
    }
}

/// Brings an object out of its envelope into JSON; `None` if nothing is known of its kind.
pub(crate) fn to_json(body: &[u8]) -> Result<Option<Bytes>, ProtobufError> {
    let rest = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoEnvelope)?;
    let envelope = Envelope::read(rest).map_err(|error| error.within("envelope"))?;
    let messages = Messages::published();
    let (api_version, kind) = (envelope.api_version, envelope.kind);
    let message = if kind == DELETE_OPTIONS.0 {
        messages.named(DELETE_OPTIONS.1)
    } else {
        messages.of_kind(api_version, kind)
    };
    let Some(message) = message else { return Ok(None) };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(kind));
    let mut decoder = Decoder::new(messages);
    decoder.decode(message, envelope.raw, &mut object).map_err(|error| error.within(kind))?;
    Ok(Some(Value::Object(object).to_string().into()))
}

#[cfg(test)]
mod tests;
