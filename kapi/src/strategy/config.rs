//! ConfigMaps, Secrets and ServiceAccounts.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::{FieldErrors, FieldPath, KindStrategy, meta};

/// Bytes that the values of a ConfigMap or Secret may have together.
const MAX_DATA: usize = 1 << 20;
const OPAQUE: &str = "Opaque";

fn check_key(field: &FieldPath, key: &str, errors: &mut FieldErrors) {
    let detail = match key {
        "" => Some("a valid config key must not be empty".to_owned()),
        key if key.len() > 253 => Some("must be no more than 253 bytes".to_owned()),
        "." => Some("must not be '.'".to_owned()),
        key if key == ".." || key.starts_with("..") => Some("must not start with '..'".to_owned()),
        key if key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) => None,
        _ => Some(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
             'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
             '[-._a-zA-Z0-9]+')"
                .to_owned(),
        ),
    };
    if let Some(detail) = detail {
        errors.invalid(&field.key(key), key, detail);
    }
}

/// Rules of ConfigMaps. <https://kubernetes.io/docs/concepts/configuration/configmap/>
#[derive(Debug)]
pub(crate) struct ConfigMapStrategy;

impl KindStrategy for ConfigMapStrategy {
    type Object = ConfigMap;

    fn validate(&self, object: &ConfigMap, errors: &mut FieldErrors) {
        let (data, binary) = (FieldPath::new("data"), FieldPath::new("binaryData"));
        let mut bytes = 0;
        for (key, value) in object.data.iter().flatten() {
            check_key(&data, key, errors);
            bytes += value.len();
            if object.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
                errors.invalid(&data.key(key), key, "duplicate of key present in binaryData");
            }
        }
        for (key, value) in object.binary_data.iter().flatten() {
            check_key(&binary, key, errors);
            bytes += value.0.len();
        }
        if bytes > MAX_DATA {
            errors.too_long(&FieldPath::new(""), MAX_DATA);
        }
    }

    fn validate_update(&self, new: &ConfigMap, old: &ConfigMap, errors: &mut FieldErrors) {
        if old.immutable != Some(true) {
            return;
        }
        let fixed = "field is immutable when `immutable` is set";
        if new.immutable != Some(true) {
            errors.forbidden(&FieldPath::new("immutable"), fixed);
        }
        if new.data != old.data {
            errors.forbidden(&FieldPath::new("data"), fixed);
        }
        if new.binary_data != old.binary_data {
            errors.forbidden(&FieldPath::new("binaryData"), fixed);
        }
    }
}

/// Rules of Secrets. <https://kubernetes.io/docs/concepts/configuration/secret/>
#[derive(Debug)]
pub(crate) struct SecretStrategy;

impl KindStrategy for SecretStrategy {
    type Object = Secret;

    fn apply_defaults(&self, object: &mut Secret) {
        if object.type_.as_deref().unwrap_or_default().is_empty() {
            object.type_ = Some(OPAQUE.to_owned());
        }
    }

    fn prepare_create(&self, object: &mut Secret) {
        take_string_data(object);
    }

    fn prepare_update(&self, new: &mut Secret, old: &Secret) {
        take_string_data(new);
        if new.type_.as_deref() == Some(OPAQUE) && old.type_.is_some() && new.data == old.data {
            // An update that says nothing of the type keeps it.
            new.type_.clone_from(&old.type_);
        }
    }

    fn validate(&self, object: &Secret, errors: &mut FieldErrors) {
        let data = FieldPath::new("data");
        let mut bytes = 0;
        for (key, value) in object.data.iter().flatten() {
            check_key(&data, key, errors);
            bytes += value.0.len();
        }
        if bytes > MAX_DATA {
            errors.too_long(&data, MAX_DATA);
        }
        let required: &[&str] = match object.type_.as_deref().unwrap_or_default() {
            "kubernetes.io/dockercfg" => &[".dockercfg"],
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            "kubernetes.io/service-account-token" => {
                let account = "kubernetes.io/service-account.name";
                let named = object.metadata.annotations.iter().flatten();
                if !named.into_iter().any(|(key, value)| key == account && !value.is_empty()) {
                    let field = FieldPath::new("metadata.annotations").key(account);
                    errors.required(&field, "");
                }
                &[]
            }
            _ => &[],
        };
        for key in required {
            if !object.data.as_ref().is_some_and(|data| data.contains_key(*key)) {
                errors.required(&data.key(key), "");
            }
        }
    }

    fn validate_update(&self, new: &Secret, old: &Secret, errors: &mut FieldErrors) {
        if new.type_ != old.type_ {
            errors.invalid(&FieldPath::new("type"), &new.type_, "field is immutable");
        }
        if old.immutable != Some(true) {
            return;
        }
        let fixed = "field is immutable when `immutable` is set";
        if new.immutable != Some(true) {
            errors.forbidden(&FieldPath::new("immutable"), fixed);
        }
        if new.data != old.data {
            errors.forbidden(&FieldPath::new("data"), fixed);
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields(&self, object: &Secret) -> Vec<(&'static str, String)> {
        object.type_.iter().map(|kind| ("type", kind.clone())).collect()
    }
}

/// What is written as text is stored as bytes.
fn take_string_data(object: &mut Secret) {
    for (key, value) in object.string_data.take().into_iter().flatten() {
        object.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
    }
}

/// Rules of ServiceAccounts.
/// <https://kubernetes.io/docs/concepts/security/service-accounts/>
#[derive(Debug)]
pub(crate) struct ServiceAccountStrategy;

impl KindStrategy for ServiceAccountStrategy {
    type Object = ServiceAccount;

    fn check_name(&self, name: &str) -> Result<(), String> {
        meta::dns_subdomain(name)
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_take_text_in_and_need_their_types_keys() {
        let mut secret = Secret {
            type_: Some("kubernetes.io/tls".into()),
            string_data: Some([("tls.crt".to_owned(), "x".to_owned())].into()),
            ..Secret::default()
        };
        SecretStrategy.prepare_create(&mut secret);
        assert!(secret.string_data.is_none());
        let mut errors = FieldErrors::default();
        SecretStrategy.validate(&secret, &mut errors);
        let fields: Vec<String> = errors.into_causes().into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["data[tls.key]"]);
    }

    #[test]
    fn immutable_config_maps_stay_as_they_are() {
        let old = ConfigMap { immutable: Some(true), ..ConfigMap::default() };
        let new = ConfigMap {
            data: Some([("a".to_owned(), "b".to_owned())].into()),
            ..ConfigMap::default()
        };
        let mut errors = FieldErrors::default();
        ConfigMapStrategy.validate_update(&new, &old, &mut errors);
        assert_eq!(errors.into_causes().len(), 2);
    }
}
