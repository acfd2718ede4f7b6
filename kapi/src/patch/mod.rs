//! The three patch forms that change an object in place.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

use kcore::object::Object;
use kcore::status::{Cause, Reason, Status};
use serde_json::Value;

use crate::registry::Row;

/// Operations a JSON patch may have (O1).
const MAX_OPERATIONS: usize = 10_000;

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The patch is well-formed and does not fit the object.
    #[error("the server rejected our request due to an error in our request")]
    DoesNotApply(String),
    /// The patch asks for too much.
    #[error("{0}")]
    TooLarge(String),
}

impl PatchError {
    pub(crate) fn into_status(self, row: &Row, current: &Object) -> Status {
        match self {
            Self::Malformed(why) => Status::bad_request(why),
            Self::TooLarge(why) => Status::failure(413, Reason::RequestEntityTooLarge, why),
            Self::DoesNotApply(why) => {
                let cause = Cause {
                    reason: "FieldValueInvalid".to_owned(),
                    message: format!("Invalid value: {why}"),
                    field: "patch".to_owned(),
                };
                let resource = &row.resource;
                let name = &current.meta().name;
                let mut status =
                    Status::invalid(&resource.group, &resource.kind, name, vec![cause]);
                // clients match on upstream's words
                status.message =
                    "the server rejected our request due to an error in our request".to_owned();
                status
            }
        }
    }
}

fn parse(what: &str, bytes: &[u8]) -> Result<Value, PatchError> {
    serde_json::from_slice(bytes)
        .map_err(|error| PatchError::Malformed(format!("error decoding {what}: {error}")))
}

fn print(value: &Value) -> Result<Vec<u8>, PatchError> {
    serde_json::to_vec(value).map_err(|error| PatchError::Malformed(error.to_string()))
}

/// RFC 6902.
pub(crate) fn json(current: &[u8], patch: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut value = parse("object", current)?;
    let operations: json_patch::Patch = serde_json::from_slice(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let count = operations.0.len();
    if count > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    json_patch::patch(&mut value, &operations)
        .map_err(|error| PatchError::DoesNotApply(error.to_string()))?;
    print(&value)
}

/// RFC 7386.
pub(crate) fn merge(current: &[u8], patch: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut value = parse("object", current)?;
    let patch = parse("patch", patch)?;
    if !patch.is_object() {
        return Err(PatchError::Malformed("a merge patch must be a JSON object".to_owned()));
    }
    json_patch::merge(&mut value, &patch);
    print(&value)
}

/// Kubernetes' strategic merge patch over the schema of a kind.
pub(crate) fn strategic(
    _current: &[u8],
    _patch: &[u8],
    _schema: &str,
) -> Result<Vec<u8>, PatchError> {
    Err(PatchError::Malformed("strategic merge patch is not known here".to_owned()))
}
