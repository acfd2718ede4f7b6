//! JSON patches, one operation at a time and within bounds.
//! <https://datatracker.ietf.org/doc/html/rfc6902>

use json_patch::PatchOperation;
use serde_json::Value;

use super::PatchError;

/// Operations a JSON patch may have (O1).
const MAX_OPERATIONS: usize = 10_000;
/// Values that all copies and moves of a patch may go over together: some 3 MiB of JSON.
const MAX_COPIED: usize = 1 << 20;
/// How deep a patch may nest what it changes.
const MAX_DEPTH: usize = 128;

/// Applies the operations of a patch in turn.
pub(super) fn apply(value: &mut Value, patch: json_patch::Patch) -> Result<(), PatchError> {
    let count = patch.0.len();
    if count > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let mut budget = MAX_COPIED;
    for operation in patch.0 {
        within_bounds(value, &operation, &mut budget)?;
        json_patch::patch_unsafe(value, std::slice::from_ref(&operation))
            .map_err(|error| PatchError::DoesNotApply(why(&operation, &error)))?;
    }
    Ok(())
}

/// Why an operation does not apply.
fn why(operation: &PatchOperation, error: &json_patch::PatchError) -> String {
    let path = operation.path();
    let name = match operation {
        PatchOperation::Test(_) => return format!("testing value {path} failed: test failed"),
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
    };
    format!("{name} operation does not apply: {path}: {}", error.kind)
}

fn within_bounds(
    value: &Value,
    operation: &PatchOperation,
    budget: &mut usize,
) -> Result<(), PatchError> {
    let (target, moved) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Move(step) => (&step.path, value.pointer(step.from.as_str())),
        PatchOperation::Copy(step) => (&step.path, value.pointer(step.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let Some(moved) = moved else { return Ok(()) };
    let depth = target.as_str().matches('/').count() + measure(moved, budget)?;
    if depth > MAX_DEPTH {
        return Err(PatchError::TooLarge(format!(
            "the patch nests values deeper than {MAX_DEPTH} levels"
        )));
    }
    Ok(())
}

/// The depth of a value; each value within costs one of the budget.
fn measure(value: &Value, budget: &mut usize) -> Result<usize, PatchError> {
    *budget = budget.checked_sub(1).ok_or_else(|| {
        PatchError::TooLarge(
            "Unable to complete the copy, the accumulated size increase of copy exceeds the limit"
                .to_owned(),
        )
    })?;
    let mut deepest = 0;
    let mut inner = |value: &Value| -> Result<(), PatchError> {
        deepest = deepest.max(1 + measure(value, budget)?);
        Ok(())
    };
    match value {
        Value::Array(list) => list.iter().try_for_each(&mut inner)?,
        Value::Object(map) => map.values().try_for_each(&mut inner)?,
        // A long text counts for what it weighs.
        Value::String(text) => *budget = budget.saturating_sub(text.len() / 4),
        _ => {}
    }
    Ok(deepest)
}
