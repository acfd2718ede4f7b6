//! How lists and maps of the built-in types merge.
//!
//! The facts are those of the OpenAPI document that Kubernetes 1.37 publishes
//! (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type`, `-patch-merge-key`,
//! `-patch-strategy`), by type and field.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>

use std::sync::OnceLock;

use kcore::collections::HashMap;
use serde::Deserialize;

const PUBLISHED: &str = include_str!("merge-keys.json");

/// How one field merges; all empty for most fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Facts {
    /// `atomic`, `set` or `map`.
    #[serde(default)]
    pub(crate) list_type: Option<String>,
    /// The members that tell a list's elements apart.
    #[serde(default)]
    pub(crate) list_map_keys: Vec<String>,
    /// `atomic` or `granular`.
    #[serde(default)]
    pub(crate) map_type: Option<String>,
    /// The member by which a strategic merge patch tells elements apart.
    #[serde(default)]
    pub(crate) patch_merge_key: Option<String>,
    /// `merge`, `replace`, `retainKeys`, or several, separated by commas.
    #[serde(default)]
    pub(crate) patch_strategy: Option<String>,
}

impl Facts {
    /// Whether a strategic merge patch has a strategy for the field.
    pub(crate) fn has_strategy(&self, strategy: &str) -> bool {
        self.patch_strategy.as_deref().is_some_and(|all| all.split(',').any(|s| s == strategy))
    }
}

type Published = HashMap<String, HashMap<String, Facts>>;

/// The facts of a type, by field; those of the type itself under the empty name.
pub(crate) fn of_type(name: &str) -> Option<&'static HashMap<String, Facts>> {
    static FACTS: OnceLock<Published> = OnceLock::new();
    // An immutable table; the test below proves that it parses.
    FACTS.get_or_init(|| serde_json::from_str(PUBLISHED).unwrap_or_default()).get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_facts_are_read() {
        let published: Published = serde_json::from_str(PUBLISHED).unwrap();
        assert!(published.len() > 200, "{}", published.len());
        let pod = of_type("io.k8s.api.core.v1.PodSpec").unwrap();
        let volumes = &pod["volumes"];
        assert_eq!(volumes.patch_merge_key.as_deref(), Some("name"));
        assert!(volumes.has_strategy("merge") && volumes.has_strategy("retainKeys"));
        assert_eq!(pod["nodeSelector"].map_type.as_deref(), Some("atomic"));
    }
}
