//! Label selectors inside objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{FieldErrors, FieldPath, meta};

/// Checks a selector at `field`.
pub(super) fn validate(
    selector: Option<&LabelSelector>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(selector) = selector else { return };
    meta::validate_labels(selector.match_labels.as_ref(), &field.child("matchLabels"), errors);
    for (at, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let field = field.child("matchExpressions").index(at);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &field.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ),
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
                &field.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "Exists" | "DoesNotExist" => {}
            other => {
                errors.invalid(&field.child("operator"), other, "not a valid selector operator")
            }
        }
        let key = &expression.key;
        errors.check(&field.child("key"), key, meta::qualified_name(key));
        for (at, value) in values.iter().enumerate() {
            errors.check(&field.child("values").index(at), value, meta::label_value(value));
        }
    }
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}
