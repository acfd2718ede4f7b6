//! What the server serves, as clients ask for it before anything else.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::ALL_VERBS;
use crate::registry::{Registry, Row, Subresource, Verbs};

/// The order in which kubectl prefers groups: upstream's priorities for the built-in ones.
const GROUP_ORDER: [&str; 22] = [
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
    "internal.apiserver.k8s.io",
];

type Rows<'a> = Vec<&'a Arc<Row>>;

/// Rows by group and version; versions in order of preference.
fn groups(registry: &Registry) -> Vec<(String, Vec<(String, Rows<'_>)>)> {
    let mut groups: BTreeMap<String, Vec<(String, Rows<'_>)>> = BTreeMap::new();
    for row in registry.rows() {
        let versions = groups.entry(row.resource.group.clone().into_owned()).or_default();
        match versions.iter_mut().find(|(version, _)| *version == row.resource.version) {
            Some((_, rows)) => rows.push(row),
            None => versions.push((row.resource.version.clone().into_owned(), vec![row])),
        }
    }
    for versions in groups.values_mut() {
        // All served versions are stable ones: the higher number goes first.
        versions.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (_, rows) in versions {
            rows.sort_by(|a, b| a.resource.plural.cmp(&b.resource.plural));
        }
    }
    let rank = |group: &str| GROUP_ORDER.iter().position(|known| *known == group);
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(group, _)| rank(group).unwrap_or(GROUP_ORDER.len()));
    groups
}

/// The verbs of a subresource, and the kind it speaks.
fn subresource(row: &Row, sub: Subresource) -> (Vec<&'static str>, String, String, String) {
    let (group, version) = (row.resource.group.to_string(), row.resource.version.to_string());
    let own = (row.resource.kind.to_string(), group, version);
    let kind = |kind: &str, group: &str, version: &str| {
        (kind.to_owned(), group.to_owned(), version.to_owned())
    };
    let write = vec!["get", "patch", "update"];
    let (verbs, (kind, group, version)) = match sub {
        Subresource::Status
        | Subresource::EphemeralContainers
        | Subresource::Resize
        | Subresource::Approval => (write, own),
        Subresource::Scale => (write, kind("Scale", "autoscaling", "v1")),
        Subresource::Binding => (vec!["create"], kind("Binding", "", "v1")),
        Subresource::Eviction => (vec!["create"], kind("Eviction", "policy", "v1")),
        Subresource::Token => (vec!["create"], kind("TokenRequest", "authentication.k8s.io", "v1")),
        Subresource::Finalize => (vec!["update"], own),
        Subresource::Log => (vec!["get"], own),
    };
    (verbs, kind, group, version)
}

fn verbs(row: &Row) -> Vec<&'static str> {
    match row.verbs {
        Verbs::All => ALL_VERBS.to_vec(),
        Verbs::CreateOnly => vec!["create"],
    }
}

/// `/api`.
pub(super) fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`.
pub(super) fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = groups(registry)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_value(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(super) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let groups = groups(registry);
    let (group, versions) = groups.iter().find(|(g, _)| g == name && !g.is_empty())?;
    let mut value = group_value(group, versions);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Some(value)
}

fn group_value(group: &str, versions: &[(String, Rows<'_>)]) -> Value {
    let version = |version: &String| {
        let group_version = format!("{group}/{version}");
        json!({"groupVersion": group_version, "version": version})
    };
    let all: Vec<Value> = versions.iter().map(|(name, _)| version(name)).collect();
    json!({"name": group, "versions": all, "preferredVersion": all[0]})
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    let groups = groups(registry);
    let (_, versions) = groups.iter().find(|(known, _)| known == group)?;
    let (_, rows) = versions.iter().find(|(known, _)| known == version)?;
    for row in rows {
        resources.push(legacy(row));
        for sub in &row.subresources {
            let (verbs, kind, sub_group, sub_version) = subresource(row, *sub);
            let mut value = json!({
                "name": format!("{}/{}", row.resource.plural, sub.name()),
                "singularName": "",
                "namespaced": row.resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            if (sub_group.as_str(), sub_version.as_str()) != (group, version) {
                value["group"] = json!(sub_group);
                value["version"] = json!(sub_version);
            }
            resources.push(value);
        }
    }
    let group_version = kcore::name::api_version(group, version);
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources,
    }))
}

fn legacy(row: &Row) -> Value {
    let mut value = json!({
        "name": row.resource.plural,
        "singularName": row.singular,
        "namespaced": row.resource.namespaced,
        "kind": row.resource.kind,
        "verbs": verbs(row),
    });
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
    value
}

/// `/api` or `/apis` in one document, for clients that ask for the aggregated form.
pub(super) fn aggregated(registry: &Registry, core: bool) -> Value {
    let items: Vec<Value> = groups(registry)
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, rows)| {
                    let resources: Vec<Value> = rows.iter().map(|row| entry(row)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

fn entry(row: &Row) -> Value {
    let response = |group: &str, version: &str, kind: &str| {
        let kind = json!(kind);
        json!({"group": group, "version": version, "kind": kind})
    };
    let resource = &row.resource;
    let subresources: Vec<Value> = row
        .subresources
        .iter()
        .map(|sub| {
            let (verbs, name, group, version) = subresource(row, *sub);
            json!({
                "subresource": sub.name(), "verbs": verbs,
                "responseKind": response(&group, &version, &name),
            })
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural,
        "responseKind": response(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": verbs(row),
    });
    for (name, list) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
        if !list.is_empty() {
            value[name] = json!(list);
        }
    }
    if !subresources.is_empty() {
        value["subresources"] = json!(subresources);
    }
    value
}
