//! The rules of metadata, which all kinds share, and of names.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{FieldErrors, FieldPath};

/// Bytes that all annotations of an object may have together.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;
/// Owners, and finalizers, that an object may have: a bound upstream leaves to the size limit.
const MAX_REFERENCES: usize = 1024;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
     characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
     'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
     or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
     regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
     '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
     'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
     '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
     characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
     'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(is_lower)
        && bytes.last().copied().is_some_and(is_lower)
        && bytes.iter().all(|b| is_lower(*b) || *b == b'-')
}

/// At most 253 characters of dot-separated labels.
pub(crate) fn dns_subdomain(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err("must be no more than 253 bytes".to_owned());
    }
    if text.split('.').all(is_label) { Ok(()) } else { Err(SUBDOMAIN.to_owned()) }
}

/// At most 63 lower-case letters, digits and dashes.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("must be no more than 63 bytes".to_owned());
    }
    if is_label(text) { Ok(()) } else { Err(LABEL.to_owned()) }
}

/// A DNS label that starts with a letter, as Services need.
pub(crate) fn dns_1035_label(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("must be no more than 63 bytes".to_owned());
    }
    let letter = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if letter && is_label(text) { Ok(()) } else { Err(LABEL_1035.to_owned()) }
}

/// A name that is one segment of a path, as RBAC objects have.
pub(crate) fn path_segment(text: &str) -> Result<(), String> {
    match text {
        "." | ".." => Err(format!("may not be '{text}'")),
        _ if text.contains('/') => Err("may not contain '/'".to_owned()),
        _ if text.contains('%') => Err("may not contain '%'".to_owned()),
        _ => Ok(()),
    }
}

fn is_qualified_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A label's or annotation's key: a name, with a DNS subdomain and a slash before it or not.
pub(crate) fn qualified_name(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if name.contains('/') {
        return Err(format!(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character with an optional DNS subdomain prefix \
             and '/' (e.g. 'example.com/MyName'), got {text:?}"
        ));
    }
    match prefix {
        Some("") => return Err("prefix part must be non-empty".to_owned()),
        Some(prefix) => dns_subdomain(prefix).map_err(|why| format!("prefix part {why}"))?,
        None => {}
    }
    match name {
        "" => Err("name part must be non-empty".to_owned()),
        name if name.len() > 63 => Err("name part must be no more than 63 bytes".to_owned()),
        name if is_qualified_name(name) => Ok(()),
        _ => Err(QUALIFIED.to_owned()),
    }
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text if text.len() > 63 => Err("must be no more than 63 bytes".to_owned()),
        text if is_qualified_name(text) => Ok(()),
        _ => Err(LABEL_VALUE.to_owned()),
    }
}

/// Checks labels at `field`.
pub(crate) fn validate_labels(
    labels: Option<&BTreeMap<String, String>>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (key, value) in labels.into_iter().flatten() {
        errors.check(field, key, qualified_name(key));
        errors.check(field, value, label_value(value));
    }
}

/// Checks annotations at `field`.
pub(crate) fn validate_annotations(
    annotations: Option<&BTreeMap<String, String>>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        errors.check(field, key, qualified_name(&key.to_lowercase()));
        bytes += key.len() + value.len();
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.too_long(field, MAX_ANNOTATION_BYTES);
    }
}

/// Checks an object's metadata. `check_name` is the kind's rule for names.
pub(crate) fn validate_meta(
    meta: &ObjectMeta,
    namespaced: bool,
    check_name: impl Fn(&str) -> Result<(), String>,
    errors: &mut FieldErrors,
) {
    let field = FieldPath::new("metadata");
    if let Some(prefix) = meta.generate_name.as_deref().filter(|prefix| !prefix.is_empty()) {
        // The suffix is not there yet: a trailing dash or dot is fine.
        let probe = format!("{}a", prefix.trim_end_matches(['-', '.']));
        errors.check(&field.child("generateName"), prefix, check_name(&probe));
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.required(&field.child("name"), "name or generateName is required"),
        name => errors.check(&field.child("name"), name, check_name(name)),
    }
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (namespaced, namespace) {
        (true, "") => errors.required(&field.child("namespace"), ""),
        (true, namespace) => {
            errors.check(&field.child("namespace"), namespace, dns_label(namespace));
        }
        (false, "") => {}
        (false, _) => errors.forbidden(&field.child("namespace"), "not allowed on this type"),
    }
    validate_labels(meta.labels.as_ref(), &field.child("labels"), errors);
    validate_annotations(meta.annotations.as_ref(), &field.child("annotations"), errors);
    validate_references(meta, &field, errors);
}

fn validate_references(meta: &ObjectMeta, field: &FieldPath, errors: &mut FieldErrors) {
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let owners_field = field.child("ownerReferences");
    for (field, count) in
        [(&field.child("finalizers"), finalizers.len()), (&owners_field, owners.len())]
    {
        if count > MAX_REFERENCES {
            errors.too_many(field, count, MAX_REFERENCES);
        }
    }
    for finalizer in finalizers {
        errors.check(&field.child("finalizers"), finalizer, qualified_name(finalizer));
    }
    let mut controller: Option<&str> = None;
    for (at, owner) in owners.iter().enumerate() {
        let field = owners_field.index(at);
        for (member, value) in [
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ] {
            if value.is_empty() {
                errors.invalid(&field.child(member), "", format!("{member} must not be empty"));
            }
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                errors.invalid(
                    &owners_field,
                    &owner.name,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in \
                         references for {first} and {}",
                        owner.name
                    ),
                );
            }
            controller = Some(&owner.name);
        }
    }
}

/// Checks the step from `old` to `new`.
pub(crate) fn validate_meta_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut FieldErrors) {
    let field = FieldPath::new("metadata");
    let immutable = "field is immutable";
    if new.name != old.name {
        errors.invalid(&field.child("name"), &new.name, immutable);
    }
    if new.namespace != old.namespace {
        errors.invalid(&field.child("namespace"), &new.namespace, immutable);
    }
    if new.uid != old.uid {
        errors.invalid(&field.child("uid"), &new.uid, immutable);
    }
    if old.deletion_timestamp.is_some() {
        let before = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<&String> = new
            .finalizers
            .iter()
            .flatten()
            .filter(|finalizer| !before.contains(finalizer))
            .collect();
        if !added.is_empty() {
            errors.forbidden(
                &field.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new \
                     finalizers {added:?}"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for (name, fine) in [
            ("a", true),
            ("a.b-c", true),
            ("A", false),
            ("-a", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(dns_subdomain(name).is_ok(), fine, "{name}");
        }
        assert!(dns_label("a.b").is_err());
        assert!(dns_1035_label("1a").is_err());
        assert!(qualified_name("example.com/Name_1").is_ok());
        assert!(qualified_name("/x").is_err());
        assert!(qualified_name("a/b/c").is_err());
        assert!(label_value("-x").is_err());
        assert!(path_segment("a/b").is_err());
    }

    #[test]
    fn a_deleting_object_takes_no_new_finalizer() {
        // D1.
        let mut old = ObjectMeta { name: Some("a".into()), ..Default::default() };
        old.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T00:00:00Z".parse().unwrap(),
        ));
        let mut new = old.clone();
        new.finalizers = Some(vec!["example.com/x".into()]);
        let mut errors = FieldErrors::default();
        validate_meta_update(&new, &old, &mut errors);
        assert_eq!(errors.into_causes()[0].field, "metadata.finalizers");
    }
}
