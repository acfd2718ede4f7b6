//! The OpenAPI v3 documents that clients validate and explain by.
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>
//!
//! One document per group-version, made of the kinds' schemas and of a description of every path.
//! They are built when somebody first asks, and kept.

mod paths;
mod schemas;

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use kcore::collections::HashMap;
use serde_json::{Map, Value, json};

use crate::registry::{Registry, Row};

/// The documents of a registry, built once.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    by_path: OnceLock<HashMap<String, Document>>,
}

/// One document. Only its compressed form is kept, a tenth of the whole.
#[derive(Debug)]
pub(crate) struct Document {
    gzip: Bytes,
    hash: String,
}

impl Document {
    fn new(json: &[u8]) -> Self {
        let mut gzip = Vec::new();
        // Reading from memory does not fail.
        let _ = GzEncoder::new(json, Compression::default()).read_to_end(&mut gzip);
        Self { gzip: gzip.into(), hash: hash(json) }
    }

    /// What names its content.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The document, compressed.
    pub(crate) fn packed(&self) -> Bytes {
        self.gzip.clone()
    }

    /// The document.
    ///
    /// # Errors
    /// If the compressed form were damaged.
    pub(crate) fn plain(&self) -> std::io::Result<Vec<u8>> {
        let mut json = Vec::new();
        GzDecoder::new(&*self.gzip).read_to_end(&mut json)?;
        Ok(json)
    }
}

impl Documents {
    /// Whether they have been built: it takes some 50 ms, so an async task leaves it to a thread.
    pub(crate) fn are_ready(&self) -> bool {
        self.by_path.get().is_some()
    }

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
                    let json = build(&everything, &rows).to_string();
                    (path, Document::new(json.as_bytes()))
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
pub(crate) fn document<'a>(
    registry: &'a Registry,
    group: &str,
    version: &str,
) -> Option<&'a Document> {
    registry.openapi.all(registry).get(&path_of(group, version))
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
