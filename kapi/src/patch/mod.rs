//! The three patch forms that change an object in place.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

mod lists;
mod operations;
mod strategic;

#[cfg(test)]
mod tests;

use kcore::object::Object;
use kcore::status::{Cause, Reason, Status};
use serde_json::Value;

use crate::registry::Row;
use crate::schema::{self, FieldValidation, Problem, Tree, strict_error};

/// Characters of a patch that an error shows.
const MAX_SHOWN: usize = 1024;

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

/// Whether a patched object's fields pass; returns what to warn of. The error shows the patch
/// that was sent, never what was stored.
pub(crate) fn judge_fields(
    sent: &[u8],
    problems: &[Problem],
    directive: FieldValidation,
) -> crate::server::Result<Vec<String>> {
    let fatal = problems.iter().find(|problem| !problem.is_strictness());
    let why = match fatal {
        Some(fatal) => fatal.to_string(),
        None if problems.is_empty() || directive != FieldValidation::Strict => {
            return Ok(problems.iter().map(ToString::to_string).collect());
        }
        None => strict_error(problems),
    };
    Err(refused(sent, &why).into())
}

/// 422 for a patch that makes something of an object that is none of its kind.
pub(crate) fn refused(sent: &[u8], why: &str) -> Status {
    let mut shown: String = String::from_utf8_lossy(sent).chars().take(MAX_SHOWN).collect();
    if shown.len() < sent.len() {
        shown.push_str("...");
    }
    let cause = Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {shown:?}: {why}"),
        field: "patch".to_owned(),
    };
    // Upstream names neither kind nor object here.
    Status::invalid("", "", "", vec![cause])
}

fn parse(what: &str, bytes: &[u8]) -> Result<Value, PatchError> {
    weigh(bytes)?;
    serde_json::from_slice(bytes)
        .map_err(|error| PatchError::Malformed(format!("error decoding {what}: {error}")))
}

fn weigh(bytes: &[u8]) -> Result<(), PatchError> {
    schema::weigh_anything(bytes).map_err(|heavy| PatchError::TooLarge(heavy.to_string()))
}

fn print(value: &Value) -> Result<Vec<u8>, PatchError> {
    serde_json::to_vec(value).map_err(|error| PatchError::Malformed(error.to_string()))
}

/// RFC 6902.
pub(crate) fn json(current: &[u8], patch: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut value = parse("object", current)?;
    weigh(patch)?;
    let patch: json_patch::Patch = serde_json::from_slice(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    operations::apply(&mut value, patch)?;
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

/// Kubernetes' strategic merge patch, over the schema of a kind.
pub(crate) fn strategic(current: &[u8], patch: &[u8], tree: &Tree) -> Result<Vec<u8>, PatchError> {
    let (Value::Object(value), Value::Object(patch)) =
        (parse("object", current)?, parse("patch", patch)?)
    else {
        return Err(PatchError::Malformed(
            "a strategic merge patch must be a JSON object".to_owned(),
        ));
    };
    let merged = strategic::merge_map(tree, tree.root(), value, patch)?;
    print(&Value::Object(merged))
}
