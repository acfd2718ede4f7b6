//! Request bodies: read within bounds, brought into JSON.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use kcore::client::Patch;
use kcore::status::{Reason, Status};

use super::{BoxError, RequestBody};
use crate::protobuf::{self, ProtobufError};
use crate::schema::TooHeavy;
use crate::server::Result;

/// Bytes a body may have (O1).
const MAX_BODY: usize = 3 << 20;

/// Reads a body whole.
pub(super) async fn read(mut body: RequestBody) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error: BoxError| {
            Status::bad_request(format!("the body of the request could not be read: {error}"))
        })?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > MAX_BODY {
                return Err(Status::failure(
                    413,
                    Reason::RequestEntityTooLarge,
                    format!("Request entity too large: limit is {MAX_BODY}"),
                )
                .into());
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

/// The media type of a body, without parameters.
fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map_or("", |value| value.split(';').next().unwrap_or_default().trim())
}

/// Brings an object's body into JSON. Protobuf is understood for the kinds of the built-in groups.
pub(super) fn object(headers: &HeaderMap, body: Bytes) -> Result<Bytes> {
    match media_type(headers) {
        "" | "application/json" => Ok(body),
        "application/yaml" => yaml(&body),
        protobuf::MEDIA_TYPE => match protobuf::to_json(&body) {
            Ok(Some(json)) => Ok(json),
            Ok(None) => Err(unsupported(&["application/json", "application/yaml"]).into()),
            Err(ProtobufError::TooHeavy { field }) => Err(Status::from(TooHeavy(field)).into()),
            Err(error) => Err(Status::bad_request(error.to_string()).into()),
        },
        _ => {
            let accepted = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];
            Err(unsupported(&accepted).into())
        }
    }
}

/// The patch of a body, by its media type.
pub(super) fn patch(headers: &HeaderMap, body: Bytes) -> Result<Patch> {
    match media_type(headers) {
        "application/json-patch+json" => Ok(Patch::Json(body)),
        "application/merge-patch+json" => Ok(Patch::Merge(body)),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(body)),
        "application/apply-patch+yaml" => Ok(Patch::Apply(body)),
        _ => Err(unsupported(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ])
        .into()),
    }
}

fn unsupported(accepted: &[&str]) -> Status {
    Status::failure(
        415,
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

fn yaml(body: &[u8]) -> Result<Bytes> {
    let bad =
        |error: String| Status::bad_request(format!("error converting YAML to JSON: {error}"));
    let value = crate::yaml::parse(body).map_err(bad)?;
    let json = serde_json::to_vec(&value).map_err(|error| bad(error.to_string()))?;
    Ok(json.into())
}
