//! What is wrong with an object, field by field, in the words clients match on.

use std::fmt::{self, Display};

use kcore::status::Cause;

/// Bytes of a path that are kept in place: most are made for fields with which nothing is wrong,
/// and an allocation for each would be most of what their validation costs.
const INLINE: usize = 78;

/// The path of a field: `spec.containers[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath(Repr);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr {
    Short { length: u8, bytes: [u8; INLINE] },
    Long(String),
}

impl FieldPath {
    /// A top-level field.
    pub(crate) fn new(name: &str) -> Self {
        Self::join(&[name.as_bytes()])
    }

    /// A member of this field; `name` may itself be a path.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self::join(&[self.as_bytes(), b".", name.as_bytes()])
    }

    /// An element of this list.
    pub(crate) fn index(&self, at: usize) -> Self {
        match at {
            0 => Self::join(&[self.as_bytes(), b"[0]"]),
            1 => Self::join(&[self.as_bytes(), b"[1]"]),
            at => Self::join(&[self.as_bytes(), b"[", at.to_string().as_bytes(), b"]"]),
        }
    }

    /// An entry of this map.
    pub(crate) fn key(&self, key: &str) -> Self {
        Self::join(&[self.as_bytes(), b"[", key.as_bytes(), b"]"])
    }

    fn join(parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match u8::try_from(length) {
            Ok(small) if length <= INLINE => {
                let mut bytes = [0; INLINE];
                let mut at = 0;
                for part in parts {
                    bytes[at..at + part.len()].copy_from_slice(part);
                    at += part.len();
                }
                Self(Repr::Short { length: small, bytes })
            }
            // They are whole texts.
            _ => Self(Repr::Long(String::from_utf8_lossy(&parts.concat()).into_owned())),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Long(text) => text.as_bytes(),
        }
    }
}

impl Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It was put together out of whole texts.
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// Everything wrong with an object, collected while it is walked.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<Cause>);

impl FieldErrors {
    /// A value is missing.
    pub(crate) fn required(&mut self, field: &FieldPath, detail: impl Display) {
        let detail = detail.to_string();
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        self.push("FieldValueRequired", field, message);
    }

    /// A value breaks a rule. Strings are quoted, as upstream prints them.
    pub(crate) fn invalid(
        &mut self,
        field: &FieldPath,
        value: impl serde::Serialize,
        detail: impl Display,
    ) {
        let value = serde_json::to_string(&value).unwrap_or_default();
        self.push("FieldValueInvalid", field, format!("Invalid value: {value}: {detail}"));
    }

    /// A value is none of those known.
    pub(crate) fn not_supported(&mut self, field: &FieldPath, value: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message =
            format!("Unsupported value: {value:?}: supported values: {}", supported.join(", "));
        self.push("FieldValueNotSupported", field, message);
    }

    /// A value occurs twice.
    pub(crate) fn duplicate(&mut self, field: &FieldPath, value: impl serde::Serialize) {
        let value = serde_json::to_string(&value).unwrap_or_default();
        self.push("FieldValueDuplicate", field, format!("Duplicate value: {value}"));
    }

    /// A field may not be set, or not be changed.
    pub(crate) fn forbidden(&mut self, field: &FieldPath, detail: impl Display) {
        self.push("FieldValueForbidden", field, format!("Forbidden: {detail}"));
    }

    /// A text is longer than it may be.
    pub(crate) fn too_long(&mut self, field: &FieldPath, limit: usize) {
        let message = format!("Too long: may not be more than {limit} bytes");
        self.push("FieldValueTooLong", field, message);
    }

    /// A list has more elements than it may have.
    pub(crate) fn too_many(&mut self, field: &FieldPath, count: usize, limit: usize) {
        let message = format!("Too many: {count}: must have at most {limit} items");
        self.push("FieldValueTooMany", field, message);
    }

    /// Something named does not exist.
    pub(crate) fn not_found(&mut self, field: &FieldPath, value: impl serde::Serialize) {
        let value = serde_json::to_string(&value).unwrap_or_default();
        self.push("FieldValueNotFound", field, format!("Not found: {value}"));
    }

    /// Adds the error of a check, if it failed, as an invalid value.
    pub(crate) fn check(
        &mut self,
        field: &FieldPath,
        value: &str,
        outcome: Result<(), impl Display>,
    ) {
        if let Err(detail) = outcome {
            self.invalid(field, value, detail);
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong.
    pub(crate) fn into_causes(self) -> Vec<Cause> {
        self.0
    }

    fn push(&mut self, reason: &str, field: &FieldPath, message: String) {
        self.0.push(Cause { reason: reason.to_owned(), message, field: field.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together_however_long_they_are() {
        let long = "k".repeat(200);
        for (path, expected) in [
            (FieldPath::new(""), String::new()),
            (FieldPath::new("spec").child("a").index(0).child("b"), "spec.a[0].b".to_owned()),
            (FieldPath::new("a").index(1).index(12), "a[1][12]".to_owned()),
            (FieldPath::new("a").key("x/y"), "a[x/y]".to_owned()),
            (FieldPath::new("a").key(&long).child("b"), format!("a[{long}].b")),
        ] {
            assert_eq!(path.to_string(), expected);
        }
    }
}
