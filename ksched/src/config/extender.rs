//! The part of a configuration that names extenders.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::api::{Extender, ExtenderTlsConfig, ManagedResource};
use super::{ConfigError, duration, invalid};
use crate::extender::{ExtenderTls, HttpExtender};
use crate::framework::Profile;

fn wrong(field: &str, message: impl ToString) -> ConfigError {
    ConfigError::Extender { field: field.to_owned(), message: message.to_string() }
}

/// Reads them, and lets the profiles' NodeResourcesFit ignore what they keep account of.
pub(super) fn read(
    values: Vec<Value>,
    profiles: &mut [Profile],
) -> Result<Vec<HttpExtender>, ConfigError> {
    let (mut extenders, mut ignored) = (Vec::new(), Vec::new());
    let (mut managed, mut binders) = (BTreeSet::new(), 0);
    for (at, value) in values.into_iter().enumerate() {
        let field = format!("extenders[{at}]");
        let api: Extender = serde_json::from_value(value).map_err(|error| wrong(&field, error))?;
        for (at, resource) in api.managed_resources.iter().enumerate() {
            let field = format!("{field}.managedResources[{at}].name");
            let name = &resource.name;
            if !is_extended(name) {
                return Err(invalid(field, name, "is an invalid extended resource name"));
            }
            if !managed.insert(name.clone()) {
                return Err(invalid(field, name, "duplicate extender managed resource name"));
            }
        }
        let not_ours = |resource: &&ManagedResource| resource.ignored_by_scheduler;
        let not_ours = api.managed_resources.iter().filter(not_ours);
        ignored.extend(not_ours.map(|resource| resource.name.clone()));
        binders += usize::from(!api.bind_verb.is_empty());
        extenders.push(build(&field, api)?);
    }
    if binders > 1 {
        let value = format!("found {binders} extenders implementing bind");
        return Err(invalid("extenders", value, "only one extender can implement bind"));
    }
    if !ignored.is_empty() {
        for profile in profiles {
            let args = profile.args.entry("NodeResourcesFit".to_owned()).or_insert(Value::Null);
            if args.is_null() {
                *args = Value::Object(serde_json::Map::new());
            }
            if let Some(args) = args.as_object_mut() {
                args.insert("ignoredResources".to_owned(), ignored.clone().into());
            }
        }
    }
    Ok(extenders)
}

/// Whether it is the name of a resource that is none of Kubernetes' own: below a domain, which
/// quotas can name as well.
fn is_extended(name: &str) -> bool {
    let part = |part: &str, also: &str| {
        let ends = |end: Option<char>| end.is_some_and(|letter| letter.is_ascii_alphanumeric());
        part.len() <= 63
            && ends(part.chars().next())
            && ends(part.chars().last())
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
    };
    name.split_once('/').is_some_and(|(domain, rest)| {
        let lower = !domain.contains(|letter: char| letter.is_ascii_uppercase());
        !name.contains("kubernetes.io/")
            && !name.starts_with("requests.")
            && domain.len() <= 253
            && lower
            && domain.split('.').all(|label| part(label, "-"))
            && part(rest, "-_.")
    })
}

fn build(field: &str, api: Extender) -> Result<HttpExtender, ConfigError> {
    if !api.prioritize_verb.is_empty() && api.weight <= 0 {
        let field = format!("{field}.weight");
        return Err(invalid(field, api.weight, "must have a positive weight applied to it"));
    }
    // Without an authority upstream believes everybody, if it is told to use HTTPS.
    let mut tls = read_tls(&format!("{field}.tlsConfig"), api.tls_config)?;
    if api.enable_https && tls.ca.is_none() {
        tls = tls.insecure();
    }
    let mut extender = HttpExtender::with_tls(&api.url_prefix, &tls)
        .map_err(|error| wrong(&format!("{field}.urlPrefix"), error))?
        .filter(&api.filter_verb)
        .prioritize(&api.prioritize_verb, api.weight)
        .preempt(&api.preempt_verb)
        .bind(&api.bind_verb)
        .manages(api.managed_resources.into_iter().map(|resource| resource.name));
    if let Some(timeout) = timeout(field, api.http_timeout)? {
        extender = extender.timeout(timeout);
    }
    if api.node_cache_capable {
        extender = extender.node_cache_capable();
    }
    Ok(if api.ignorable { extender.ignorable() } else { extender })
}

/// Zero is how upstream says that there is none.
fn timeout(field: &str, text: Option<String>) -> Result<Option<Duration>, ConfigError> {
    match text.as_deref() {
        None | Some("" | "0" | "0s") => Ok(None),
        Some(text) => duration(text).map(Some).ok_or_else(|| {
            let field = format!("{field}.httpTimeout");
            invalid(field, text, "must be a duration such as 5s")
        }),
    }
}

fn read_tls(field: &str, api: Option<ExtenderTlsConfig>) -> Result<ExtenderTls, ConfigError> {
    let Some(api) = api else { return Ok(ExtenderTls::default()) };
    // Data wins over a file.
    let bytes = |name: &str, data: &str, file: &str| match (data, file) {
        ("", "") => Ok(None),
        ("", file) => std::fs::read(file)
            .map(Some)
            .map_err(|error| wrong(&format!("{field}.{name}File"), format!("{file}: {error}"))),
        (data, _) => STANDARD
            .decode(data)
            .map(Some)
            .map_err(|_| wrong(&format!("{field}.{name}Data"), "it is not in base64")),
    };
    let mut tls = ExtenderTls { insecure: api.insecure, ..ExtenderTls::default() };
    tls.server_name = Some(api.server_name).filter(|name| !name.is_empty());
    tls.ca = bytes("ca", &api.ca_data, &api.ca_file)?;
    let certificate = bytes("cert", &api.cert_data, &api.cert_file)?;
    let key = bytes("key", &api.key_data, &api.key_file)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(tls.identity_pem(certificate, key)),
        (None, None) => Ok(tls),
        _ => Err(wrong(field, "a certificate and its key are needed, or none of both")),
    }
}
