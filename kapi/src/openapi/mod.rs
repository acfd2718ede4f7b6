//! The OpenAPI v3 documents that clients validate and explain by.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>
//!
//! One document per group-version, made of the kinds' schemas and of a description of every path.
//! They are built when somebody first asks, and kept.

mod paths;
mod schemas;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kcore::collections::HashMap;
use serde_json::{Map, Value, json};

use crate::registry::{Registry, Row};

/// The documents of a registry, built once.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    by_path: OnceLock<HashMap<String, Document>>,
}

#[derive(Debug)]
struct Document {
    bytes: Bytes,
    hash: String,
}

impl Documents {
    fn all(&self, registry: &Registry) -> &HashMap<String, Document> {
        self.by_path.get_or_init(|| {
            let mut groups: HashMap<String, Vec<&Arc<Row>>> = HashMap::default();
            for row in registry.rows() {
                let path = path_of(&row.resource.group, &row.resource.version);
                groups.entry(path).or_default().push(row);
            }
            let everything = schemas::Everything::of(registry);
            groups
                .into_iter()
                .map(|(path, rows)| {
                    let bytes = Bytes::from(build(&everything, &rows).to_string());
                    let hash = hash(&bytes);
                    (path, Document { bytes, hash })
                })
                .collect()
        })
    }
}

/// `/openapi/v3`: where each group-version's document is. The address names the content, so that
/// clients may keep what they have.
pub(crate) fn index(registry: &Registry) -> Value {
    let paths: Map<String, Value> = registry
        .openapi
        .all(registry)
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The document of a group-version.
pub(crate) fn document(registry: &Registry, group: &str, version: &str) -> Option<Bytes> {
    let all = registry.openapi.all(registry);
    all.get(&path_of(group, version)).map(|document| document.bytes.clone())
}

fn path_of(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

fn build(everything: &schemas::Everything, rows: &[&Arc<Row>]) -> Value {
    let mut described = Map::new();
    for row in rows {
        paths::describe(row, &mut described);
    }
    let described = Value::Object(described);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "components": {
            "schemas": everything.reachable(&described),
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "name": "authorization", "in": "header",
                "description": "Bearer Token authentication"}},
        },
        "paths": described,
    })
}

/// Names a document's content: FNV-1a over 128 bits, which differs where the content does.
fn hash(bytes: &[u8]) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let hash =
        bytes.iter().fold(start, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:032X}")
}
