//! Terms of affinity between pods, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm as ApiTerm, WeightedPodAffinityTerm};
use kcore::selector::{LabelOperator, LabelSelector};

/// One term of affinity or anti-affinity between pods, in the form it is matched in.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>
#[derive(Debug, Clone)]
pub struct AffinityTerm {
    key: Arc<str>,
    topology_key: Arc<str>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    selector: LabelSelector,
}

impl AffinityTerm {
    /// Reads a term of a pod in `namespace` with `labels`. The pod's own values of
    /// `matchLabelKeys` and `mismatchLabelKeys` become part of the selector, as the API server
    /// has done before already; a selector that cannot be read selects nothing.
    #[must_use]
    pub fn new(term: &ApiTerm, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let mut selector = LabelSelector::from_api(term.label_selector.as_ref())
            .unwrap_or_else(|_| LabelSelector::nothing());
        if term.label_selector.is_some() {
            let keys = [
                (&term.match_label_keys, LabelOperator::In),
                (&term.mismatch_label_keys, LabelOperator::NotIn),
            ];
            for (keys, operator) in keys {
                narrow(&mut selector, keys.iter().flatten(), operator, labels);
            }
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        let namespace_selector = term.namespace_selector.as_ref().map(|selector| {
            LabelSelector::from_api(Some(selector)).unwrap_or_else(|_| LabelSelector::nothing())
        });
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        let list: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let by_selector = namespace_selector.as_ref().map(selector_text);
        let (selected, topology) = (selector_text(&selector), &term.topology_key);
        let key = format!(
            "{topology}\n{selected}\n{}\n{}",
            list.join(","),
            by_selector.as_deref().unwrap_or("-")
        );
        Self {
            key: key.into(),
            topology_key: term.topology_key.as_str().into(),
            namespaces,
            namespace_selector,
            selector,
        }
    }

    /// A text that equal terms, and only they, share.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The node label whose values are the places.
    #[must_use]
    pub fn topology_key(&self) -> &Arc<str> {
        &self.topology_key
    }

    /// Whether labels of namespaces decide.
    #[must_use]
    pub fn selects_namespaces(&self) -> bool {
        self.namespace_selector.is_some()
    }

    /// Whether a pod in `namespace` with `labels` is meant; `of_namespace` says whether a selector
    /// matches the labels of that namespace, and is asked only where they decide.
    #[must_use]
    pub fn matches(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        of_namespace: &dyn Fn(&str, &LabelSelector) -> bool,
    ) -> bool {
        self.selector.matches(labels)
            && (self.namespaces.contains(namespace)
                || self.namespace_selector.as_ref().is_some_and(|selector| {
                    selector.is_empty() || of_namespace(namespace, selector)
                }))
    }
}

/// A selector in text; the one that selects nothing has no written form of its own.
fn selector_text(selector: &LabelSelector) -> String {
    if *selector == LabelSelector::nothing() { "!".to_owned() } else { selector.to_string() }
}

/// Adds a comparison with the pod's own value of each key; keys that it lacks are left out.
pub(crate) fn narrow<'a>(
    selector: &mut LabelSelector,
    keys: impl Iterator<Item = &'a String>,
    operator: LabelOperator,
    labels: &BTreeMap<String, String>,
) {
    if *selector == LabelSelector::nothing() {
        return;
    }
    for key in keys {
        let Some(value) = labels.get(key) else { continue };
        let values: BTreeSet<String> = [value.clone()].into();
        let known = selector
            .requirements()
            .iter()
            .any(|known| known.key == *key && known.operator == operator && known.values == values);
        if !known {
            // One value goes with either operator.
            let _ = selector.push(key.clone(), operator, values);
        }
    }
}

/// All terms of a pod.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Affinities {
    /// Pods it must be beside.
    pub required: Vec<AffinityTerm>,
    /// Pods it must not be beside.
    pub required_anti: Vec<AffinityTerm>,
    /// Pods it would rather be beside, by weight; or rather not, by a negative one.
    pub preferred: Vec<(AffinityTerm, i64)>,
}

impl Affinities {
    /// Reads a pod's terms.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
        let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
        let Some(affinity) = affinity else { return Self::default() };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS);
        let read = |term: &ApiTerm| AffinityTerm::new(term, namespace, labels);
        let all = |terms: &Option<Vec<ApiTerm>>| terms.iter().flatten().map(read).collect();
        let mut this = Self::default();
        let mut weigh = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let terms = terms.iter().flatten();
            let weighed = terms.map(|weighted| {
                (read(&weighted.pod_affinity_term), sign * i64::from(weighted.weight))
            });
            this.preferred.extend(weighed);
        };
        if let Some(affinity) = &affinity.pod_affinity {
            weigh(&affinity.preferred_during_scheduling_ignored_during_execution, 1);
        }
        if let Some(anti) = &affinity.pod_anti_affinity {
            weigh(&anti.preferred_during_scheduling_ignored_during_execution, -1);
        }
        if let Some(affinity) = &affinity.pod_affinity {
            this.required = all(&affinity.required_during_scheduling_ignored_during_execution);
        }
        if let Some(anti) = &affinity.pod_anti_affinity {
            this.required_anti = all(&anti.required_during_scheduling_ignored_during_execution);
        }
        this
    }

    /// Whether there is no term at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.required_anti.is_empty() && self.preferred.is_empty()
    }
}
