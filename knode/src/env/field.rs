//! `fieldRef`: a field of the pod as text.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#downwardapi-fieldRef>

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ObjectFieldSelector, Pod};

use super::PodFacts;
use crate::{Error, Result};

/// The value of the field that `selector` names, as an environment variable has it; `field` is
/// where the selector stands, for errors.
pub(super) fn compute_field(
    selector: &ObjectFieldSelector,
    pod: &Pod,
    facts: &PodFacts,
    field: &str,
) -> Result<String> {
    let version = selector.api_version.as_deref().unwrap_or_default();
    if !matches!(version, "" | "v1") {
        let reason = format!("unsupported pod version: {version}");
        return Err(Error::InvalidConfig { field: format!("{field}.apiVersion"), reason });
    }
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    Ok(match selector.field_path.as_str() {
        "spec.nodeName" => {
            let named = spec.and_then(|spec| spec.node_name.clone());
            named.filter(|name| !name.is_empty()).unwrap_or_else(|| facts.node_name.clone())
        }
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "spec.host" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => all(&facts.host_ips),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => all(&facts.pod_ips),
        _ => return compute_metadata_field(selector, pod, field),
    })
}

/// The value of a field of the pod's metadata, which is all that a volume can show.
pub(crate) fn compute_metadata_field(
    selector: &ObjectFieldSelector,
    pod: &Pod,
    field: &str,
) -> Result<String> {
    let path = selector.field_path.as_str();
    let fail =
        |reason: String| Error::InvalidConfig { field: format!("{field}.fieldPath"), reason };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscripted(path) {
        // The API lowers an annotation's key before it looks at it, and a label's not.
        let (values, checked) = match map {
            "metadata.annotations" => (&metadata.annotations, key.to_ascii_lowercase()),
            "metadata.labels" => (&metadata.labels, key.to_owned()),
            _ => return Err(fail(format!("fieldPath {path:?} does not support subscript"))),
        };
        if !is_qualified_name(&checked) {
            let reason = format!("invalid key subscript in {path}: must be a qualified name");
            return Err(fail(reason));
        }
        let value = values.as_ref().and_then(|values| values.get(key));
        return Ok(value.cloned().unwrap_or_default());
    }
    match path {
        "metadata.annotations" => Ok(format_map(metadata.annotations.as_ref())),
        "metadata.labels" => Ok(format_map(metadata.labels.as_ref())),
        "metadata.name" => Ok(text(&metadata.name)),
        "metadata.namespace" => Ok(text(&metadata.namespace)),
        "metadata.uid" => Ok(text(&metadata.uid)),
        _ => Err(fail(format!("unsupported fieldPath: {path}"))),
    }
}

/// Whether `key` is what labels and annotations are called: `[prefix/]name`.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let framed = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && text.ends_with(|letter: char| letter.is_ascii_alphanumeric())
    };
    let good_name = framed(name)
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let good_label = |label: &str| {
        framed(label)
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    good_name
        && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(good_label))
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn all(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `metadata.labels['key']` as the map and the key.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    (!map.is_empty()).then_some((map, key))
}

/// One `key="value"` a line, in the order of the keys.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Quotes as Go does, which is what programs that read these files unquote.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            letter if is_printable(letter) => out.push(letter),
            letter => {
                let code = u32::from(letter);
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0x7f => write!(out, "\\x{code:02x}"),
                    0x80..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Rust escapes what cannot be printed; a letter in front keeps it from also escaping what
/// combines with nothing.
fn is_printable(letter: char) -> bool {
    let shown = String::from_iter(['a', letter]).escape_debug().to_string();
    !shown.contains("\\u{")
        && letter != '\0'
        && (letter == ' ' || !letter.is_whitespace())
        && !letter.is_control()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web-0", "namespace": "ns", "uid": "u-1",
                "labels": {"app": "web", "example.org/b": "c"},
                "annotations": {"Note": "a \"b\"\n\tä\u{7f}\u{1}\u{200b}\u{1f600}e\u{301}"},
            },
            "spec": {"nodeName": "n1", "serviceAccountName": "robot", "containers": []},
        }))
        .unwrap()
    }

    fn facts() -> PodFacts {
        let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        PodFacts::default()
            .node_name("n0")
            .host_ips(ips(&["192.0.2.1", "fd00::1"]))
            .pod_ips(ips(&["127.1.0.2", "fd00::2"]))
    }

    fn value(path: &str, version: Option<&str>) -> Result<String> {
        let selector = ObjectFieldSelector {
            api_version: version.map(str::to_owned),
            field_path: path.to_owned(),
        };
        compute_field(&selector, &pod(), &facts(), "f")
    }

    #[test]
    fn fields_are_shown_as_upstream_shows_them() {
        let check = |path: &str, expect: &str| {
            assert_eq!(value(path, Some("v1")).unwrap(), expect, "{path}");
        };
        check("metadata.name", "web-0");
        check("metadata.namespace", "ns");
        check("metadata.uid", "u-1");
        check("metadata.labels", "app=\"web\"\nexample.org/b=\"c\"");
        check("metadata.labels['app']", "web");
        check("metadata.labels['example.org/b']", "c");
        check("metadata.labels['absent']", "");
        check("metadata.annotations['Note']", &pod().metadata.annotations.unwrap()["Note"]);
        check(
            "metadata.annotations",
            "Note=\"a \\\"b\\\"\\n\\tä\\x7f\\x01\\u200b\u{1f600}e\u{301}\"",
        );
        check("spec.nodeName", "n1");
        check("spec.serviceAccountName", "robot");
        check("status.hostIP", "192.0.2.1");
        check("status.hostIPs", "192.0.2.1,fd00::1");
        check("status.podIP", "127.1.0.2");
        check("status.podIPs", "127.1.0.2,fd00::2");
    }

    #[test]
    fn fields_that_are_not_there_are_named() {
        let check = |path: &str, version: Option<&str>, expect: &str| {
            assert_eq!(value(path, version).unwrap_err().to_string(), expect);
        };
        check("spec.nope", None, "f.fieldPath: unsupported fieldPath: spec.nope");
        check("metadata.name", Some("v2"), "f.apiVersion: unsupported pod version: v2");
        check(
            "metadata.name['x']",
            None,
            "f.fieldPath: fieldPath \"metadata.name['x']\" does not support subscript",
        );
        check(
            "metadata.labels['a b']",
            None,
            "f.fieldPath: invalid key subscript in metadata.labels['a b']: must be a qualified \
             name",
        );
        check(
            "metadata.labels['x'",
            None,
            "f.fieldPath: unsupported fieldPath: metadata.labels['x'",
        );
    }

    #[test]
    fn a_pod_without_an_address_has_an_empty_one() {
        let selector =
            ObjectFieldSelector { field_path: "status.podIP".into(), ..Default::default() };
        let value = compute_field(&selector, &pod(), &PodFacts::default(), "f").unwrap();
        assert_eq!(value, "");
    }
}
