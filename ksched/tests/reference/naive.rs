//! The reference: each plugin said again, from the API objects, one node at a time, with nothing
//! kept and nothing shared with the crate's own plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    NodeSelectorTerm, Pod, PodAffinityTerm, Taint, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use ksched::snapshot::{NodeInfo, PodInfo};

/// The labels of each namespace.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// A cluster at one moment, and the pod to place.
pub(crate) struct Question<'a> {
    pub(crate) nodes: &'a [Arc<NodeInfo>],
    pub(crate) pod: &'a PodInfo,
    pub(crate) namespaces: &'a Namespaces,
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// What has no labels.
static NONE: BTreeMap<String, String> = BTreeMap::new();

fn labels_of(pod: &Pod) -> &BTreeMap<String, String> {
    pod.metadata.labels.as_ref().unwrap_or(&NONE)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    text(&toleration.operator) == "Exists"
        || (!key.is_empty() && text(&toleration.value) == text(&taint.value))
}

fn tolerated(pod: &Pod, taint: &Taint) -> bool {
    let spec = pod.spec.as_ref().unwrap();
    spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
}

fn hard_taint<'a>(pod: &Pod, node: &'a NodeInfo) -> Option<&'a Taint> {
    node.taints().iter().find(|taint| {
        ["NoSchedule", "NoExecute"].contains(&taint.effect.as_str()) && !tolerated(pod, taint)
    })
}

fn requirement(value: Option<&String>, operator: &str, values: &Option<Vec<String>>) -> bool {
    let values = values.as_deref().unwrap_or_default();
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        other => panic!("the generator makes no {other}"),
    }
}

fn term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    !expressions.is_empty()
        && expressions.iter().all(|wanted| {
            requirement(node.labels().get(&wanted.key), &wanted.operator, &wanted.values)
        })
}

fn node_affinity(pod: &Pod, node: &NodeInfo) -> bool {
    let spec = pod.spec.as_ref().unwrap();
    let selected = spec.node_selector.iter().flatten();
    if selected.into_iter().any(|(key, value)| node.labels().get(key) != Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|t| term(t, node)))
}

/// Whether a selector selects these labels.
pub(crate) fn selected(
    selector: &Option<LabelSelector>,
    labels: &BTreeMap<String, String>,
) -> bool {
    let Some(selector) = selector else { return false };
    let mut all = selector.match_labels.iter().flatten();
    all.all(|(key, value)| labels.get(key) == Some(value))
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|wanted| requirement(labels.get(&wanted.key), &wanted.operator, &wanted.values))
}

/// Whether a term of `owner` means `other`.
fn means(term: &PodAffinityTerm, owner: &Pod, other: &Pod, namespaces: &Namespaces) -> bool {
    let named = term.namespaces.as_deref().unwrap_or_default();
    let theirs = text(&other.metadata.namespace);
    let named_theirs = named.iter().any(|name| name == theirs);
    let in_namespace = match (&term.namespace_selector, named.is_empty()) {
        (None, true) => theirs == text(&owner.metadata.namespace),
        (None, false) => named_theirs,
        (selector, _) => {
            let labels = namespaces.get(theirs).unwrap_or(&NONE);
            named_theirs || selected(selector, labels)
        }
    };
    let labels = labels_of(other);
    let own = labels_of(owner);
    let keys = |keys: &Option<Vec<String>>, same: bool| {
        keys.iter()
            .flatten()
            .all(|key| own.get(key).is_none_or(|value| (labels.get(key) == Some(value)) == same))
    };
    in_namespace
        && selected(&term.label_selector, labels)
        && keys(&term.match_label_keys, true)
        && keys(&term.mismatch_label_keys, false)
}

/// Required and preferred terms of a pod: affinity, and anti-affinity with a negative weight.
type Terms<'a> = (&'a [PodAffinityTerm], &'a [PodAffinityTerm], Vec<(i64, &'a PodAffinityTerm)>);

fn terms(pod: &Pod) -> Terms<'_> {
    let (mut near, mut far, mut preferred): Terms<'_> = (&[], &[], Vec::new());
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    if let Some(all) = affinity.and_then(|affinity| affinity.pod_affinity.as_ref()) {
        near = all.required_during_scheduling_ignored_during_execution.as_deref().unwrap_or(near);
        for weighted in all.preferred_during_scheduling_ignored_during_execution.iter().flatten() {
            preferred.push((i64::from(weighted.weight), &weighted.pod_affinity_term));
        }
    }
    if let Some(all) = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref()) {
        far = all.required_during_scheduling_ignored_during_execution.as_deref().unwrap_or(far);
        for weighted in all.preferred_during_scheduling_ignored_during_execution.iter().flatten() {
            preferred.push((-i64::from(weighted.weight), &weighted.pod_affinity_term));
        }
    }
    (near, far, preferred)
}

impl Question<'_> {
    fn spec(&self) -> &k8s_openapi::api::core::v1::PodSpec {
        self.pod.pod().spec.as_ref().unwrap()
    }

    /// Why a plugin turns a node away, if it does.
    pub(crate) fn filter(&self, plugin: &str, node: &NodeInfo) -> Option<String> {
        let pod = self.pod.pod();
        match plugin {
            "NodeUnschedulable" => {
                let taint = Taint {
                    key: "node.kubernetes.io/unschedulable".into(),
                    effect: "NoSchedule".into(),
                    ..Taint::default()
                };
                let cordoned = node.node().spec.as_ref().and_then(|spec| spec.unschedulable);
                (cordoned == Some(true) && !tolerated(pod, &taint))
                    .then(|| "node(s) were unschedulable".into())
            }
            "TaintToleration" => {
                hard_taint(pod, node).map(|_| "node(s) had untolerated taint(s)".into())
            }
            "NodeAffinity" => (!node_affinity(pod, node))
                .then(|| "node(s) didn't match Pod's node affinity/selector".into()),
            "NodePorts" => self.ports(node),
            "NodeResourcesFit" => self.fit(node),
            "PodTopologySpread" => self.spread(node),
            "InterPodAffinity" => self.affinity(node),
            _ => None,
        }
    }

    fn ports(&self, node: &NodeInfo) -> Option<String> {
        fn ports(pod: &Pod) -> impl Iterator<Item = i32> {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let all = containers.flat_map(|container| container.ports.iter().flatten());
            all.filter_map(|port| port.host_port)
        }
        let own: Vec<i32> = ports(self.pod.pod()).collect();
        let mut others = node.pods().iter();
        let taken = !own.is_empty()
            && others.any(|other| ports(other.pod()).any(|port| own.contains(&port)));
        taken.then(|| "node(s) didn't have free ports for the requested pod ports".into())
    }

    fn fit(&self, node: &NodeInfo) -> Option<String> {
        let mut reasons = Vec::new();
        let has = node.allocatable();
        if i64::try_from(node.pods().len()).unwrap() >= has.pods {
            reasons.push("Too many pods".to_owned());
        }
        for name in ["cpu", "memory", "ephemeral-storage", "example.com/gpu"] {
            let used: i64 = node.pods().iter().map(|pod| pod.requests().get(name)).sum();
            let asked = self.pod.requests().get(name);
            if asked > 0 && used + asked > has.get(name) {
                reasons.push(format!("Insufficient {name}"));
            }
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    /// The running pods in the place of a node, by a label.
    fn in_place(&self, node: &NodeInfo, key: &str) -> Vec<&Arc<PodInfo>> {
        let Some(value) = node.labels().get(key) else { return Vec::new() };
        let same = self.nodes.iter().filter(|other| other.labels().get(key) == Some(value));
        same.flat_map(|other| other.pods().iter()).collect()
    }

    fn affinity(&self, node: &NodeInfo) -> Option<String> {
        let pod = self.pod.pod();
        let means = |term: &_, owner: &_, other: &_| means(term, owner, other, self.namespaces);
        let (near, far, _) = terms(pod);
        let all = |other: &Pod| near.iter().all(|term| means(term, pod, other));
        if !near.is_empty() {
            let labelled = near.iter().all(|term| node.labels().contains_key(&term.topology_key));
            let there = |term: &PodAffinityTerm| {
                self.in_place(node, &term.topology_key).iter().any(|other| all(other.pod()))
            };
            let anywhere = self.nodes.iter().any(|node| {
                near.iter().any(|term| node.labels().contains_key(&term.topology_key))
                    && node.pods().iter().any(|other| all(other.pod()))
            });
            let fine = near.iter().all(there) || (!anywhere && all(pod));
            if !labelled || !fine {
                return Some("node(s) didn't match pod affinity rules".into());
            }
        }
        for term in far {
            let others = self.in_place(node, &term.topology_key);
            if others.iter().any(|other| means(term, pod, other.pod())) {
                return Some("node(s) didn't match pod anti-affinity rules".into());
            }
        }
        let keys: BTreeSet<&String> = node.labels().keys().collect();
        for key in keys {
            for other in self.in_place(node, key) {
                let (_, theirs, _) = terms(other.pod());
                let mut theirs = theirs.iter().filter(|term| term.topology_key == *key);
                if theirs.any(|term| means(term, other.pod(), pod)) {
                    return Some("node(s) didn't satisfy existing pods anti-affinity rules".into());
                }
            }
        }
        None
    }

    /// Whether the pod minds others, or a running one minds it.
    pub(crate) fn minds_others(&self) -> bool {
        let pod = self.pod.pod();
        let (near, far, _) = terms(pod);
        let minds = |node: &NodeInfo, other: &Pod| {
            let (_, theirs, _) = terms(other);
            theirs.iter().any(|term| {
                node.labels().contains_key(&term.topology_key)
                    && means(term, other, pod, self.namespaces)
            })
        };
        let on = |node: &Arc<NodeInfo>| node.pods().iter().any(|other| minds(node, other.pod()));
        !near.is_empty() || !far.is_empty() || self.nodes.iter().any(on)
    }

    fn constraints(&self, action: &str) -> Vec<&TopologySpreadConstraint> {
        let all = self.spec().topology_spread_constraints.iter().flatten();
        all.filter(|constraint| constraint.when_unsatisfiable == action).collect()
    }

    fn spread_counts(&self, constraint: &TopologySpreadConstraint, other: &PodInfo) -> bool {
        let own = labels_of(self.pod.pod());
        let labels = labels_of(other.pod());
        let keys = constraint.match_label_keys.iter().flatten();
        let mut same = keys.filter_map(|key| Some((key, own.get(key)?)));
        other.namespace() == self.pod.namespace()
            && other.pod().metadata.deletion_timestamp.is_none()
            && selected(&constraint.label_selector, labels)
            && same.all(|(key, value)| labels.get(key) == Some(value))
    }

    fn included(&self, constraint: &TopologySpreadConstraint, node: &NodeInfo) -> bool {
        let pod = self.pod.pod();
        let by_affinity = constraint.node_affinity_policy.as_deref() == Some("Ignore")
            || node_affinity(pod, node);
        let by_taints = constraint.node_taints_policy.as_deref() != Some("Honor")
            || hard_taint(pod, node).is_none();
        by_affinity && by_taints
    }

    /// Pods of a constraint in each place that takes part.
    fn places(
        &self,
        constraint: &TopologySpreadConstraint,
        all: &[&TopologySpreadConstraint],
    ) -> BTreeMap<String, i64> {
        let mut places = BTreeMap::new();
        for node in self.nodes {
            let whole = all.iter().all(|other| node.labels().contains_key(&other.topology_key));
            let Some(value) = node.labels().get(&constraint.topology_key) else { continue };
            if whole && self.included(constraint, node) {
                let pods = node.pods().iter().filter(|pod| self.spread_counts(constraint, pod));
                *places.entry(value.clone()).or_default() += i64::try_from(pods.count()).unwrap();
            }
        }
        places
    }

    fn spread(&self, node: &NodeInfo) -> Option<String> {
        let all = self.constraints("DoNotSchedule");
        for constraint in &all {
            let message = "node(s) didn't match pod topology spread constraints";
            let Some(value) = node.labels().get(&constraint.topology_key) else {
                return Some(format!("{message} (missing required label)"));
            };
            let places = self.places(constraint, &all);
            let domains = i32::try_from(places.len()).unwrap();
            let least = match places.values().min() {
                _ if domains < constraint.min_domains.unwrap_or(1) => 0,
                Some(least) => *least,
                None => i64::from(i32::MAX),
            };
            let itself = i64::from(self.spread_counts(constraint, self.pod));
            let there = places.get(value).copied().unwrap_or_default();
            if there + itself - least > i64::from(constraint.max_skew) {
                return Some(message.into());
            }
        }
        None
    }

    /// The normalized scores of feasible nodes; `None` from a plugin that does not score.
    pub(crate) fn score(&self, plugin: &str, feasible: &[&NodeInfo]) -> Option<Vec<i64>> {
        let each = |rate: &dyn Fn(&NodeInfo) -> i64| -> Vec<i64> {
            feasible.iter().map(|node| rate(node)).collect()
        };
        let highest = |scores: Vec<i64>, reverse: bool| -> Vec<i64> {
            let max = scores.iter().copied().max().unwrap_or_default();
            let scale = |score: i64| if max == 0 { 0 } else { score * 100 / max };
            let turn = |score: i64| if reverse { 100 - score } else { score };
            scores.into_iter().map(|score| turn(scale(score))).collect()
        };
        match plugin {
            "TaintToleration" => Some(highest(each(&|node| self.soft_taints(node)), true)),
            "NodeAffinity" => Some(highest(each(&|node| self.preferred(node)), false)),
            "NodeResourcesFit" => Some(each(&|node| self.least_allocated(node))),
            "NodeResourcesBalancedAllocation" => Some(each(&|node| self.balance(node))),
            "ImageLocality" => Some(each(&|node| self.images(node))),
            "InterPodAffinity" => Some(between(each(&|node| self.affinity_score(node)))),
            "PodTopologySpread" => Some(self.spread_scores(feasible)),
            _ => None,
        }
    }

    fn soft_taints(&self, node: &NodeInfo) -> i64 {
        let soft = node.taints().iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let count = soft.filter(|taint| !tolerated(self.pod.pod(), taint)).count();
        i64::try_from(count).unwrap()
    }

    fn preferred(&self, node: &NodeInfo) -> i64 {
        let affinity = self.spec().affinity.as_ref().and_then(|all| all.node_affinity.as_ref());
        let preferred = affinity.iter().flat_map(|affinity| {
            affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten()
        });
        let matching = preferred.filter(|preferred| term(&preferred.preference, node));
        matching.map(|preferred| i64::from(preferred.weight)).sum()
    }

    fn least_allocated(&self, node: &NodeInfo) -> i64 {
        let own = self.pod.scoring_requests();
        let used = node.pods().iter().map(|pod| pod.scoring_requests());
        let used = used.fold(own, |sum, pod| (sum.0 + pod.0, sum.1 + pod.1));
        let mut parts = Vec::new();
        for (used, name) in [(used.0, "cpu"), (used.1, "memory")] {
            let has = node.allocatable().get(name);
            if has > 0 {
                parts.push(if used > has { 0 } else { (has - used) * 100 / has });
            }
        }
        let count = i64::try_from(parts.len()).unwrap();
        if count == 0 { 0 } else { parts.iter().sum::<i64>() / count }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn balance(&self, node: &NodeInfo) -> i64 {
        let rate = |own: bool| {
            let mut parts = Vec::new();
            for name in ["cpu", "memory"] {
                let has = node.allocatable().get(name);
                let used: i64 = node.pods().iter().map(|pod| pod.requests().get(name)).sum();
                let own = if own { self.pod.requests().get(name) } else { 0 };
                if has > 0 {
                    parts.push(((used + own) as f64 / has as f64).min(1.0));
                }
            }
            let apart = if let [a, b] = parts[..] { (a - b).abs() / 2.0 } else { 0.0 };
            ((1.0 - apart) * 100.0) as i64
        };
        50 + (50 + rate(true) - rate(false)) / 2
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn images(&self, node: &NodeInfo) -> i64 {
        const MEGA: i64 = 1024 * 1024;
        let mut sum = 0;
        for container in &self.spec().containers {
            let image = format!("{}:latest", text(&container.image));
            let Some(bytes) = node.image_bytes(&image) else { continue };
            let having = self.nodes.iter().filter(|node| node.image_bytes(&image).is_some());
            sum += (bytes as f64 * (having.count() as f64 / self.nodes.len() as f64)) as i64;
        }
        let most = 1000 * MEGA * i64::try_from(self.spec().containers.len()).unwrap();
        100 * (sum.clamp(23 * MEGA, most) - 23 * MEGA) / (most - 23 * MEGA)
    }

    fn affinity_score(&self, node: &NodeInfo) -> i64 {
        let pod = self.pod.pod();
        let means = |term: &_, owner: &_, other: &_| means(term, owner, other, self.namespaces);
        let mut score = 0;
        let (_, _, own) = terms(pod);
        for (weight, term) in &own {
            let others = self.in_place(node, &term.topology_key);
            let met = others.iter().filter(|other| means(term, pod, other.pod())).count();
            score += weight * i64::try_from(met).unwrap();
        }
        for key in node.labels().keys() {
            for other in self.in_place(node, key) {
                let (near, _, preferred) = terms(other.pod());
                let hard = near.iter().map(|term| (1, term));
                for (weight, term) in preferred.into_iter().chain(hard) {
                    if term.topology_key == *key && means(term, other.pod(), pod) {
                        score += weight;
                    }
                }
            }
        }
        score
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn spread_scores(&self, feasible: &[&NodeInfo]) -> Vec<i64> {
        let all = self.constraints("ScheduleAnyway");
        let whole = |node: &NodeInfo| {
            all.iter().all(|constraint| node.labels().contains_key(&constraint.topology_key))
        };
        let taking_part: Vec<&&NodeInfo> = feasible.iter().filter(|node| whole(node)).collect();
        let rate = |node: &NodeInfo| -> i64 {
            let mut score = 0.0;
            for constraint in &all {
                let value = &node.labels()[&constraint.topology_key];
                let by_node = constraint.topology_key == "kubernetes.io/hostname";
                let values: BTreeSet<&String> =
                    taking_part.iter().map(|n| &n.labels()[&constraint.topology_key]).collect();
                let places = if by_node { taking_part.len() } else { values.len() };
                let pods = if by_node {
                    let pods = node.pods().iter().filter(|p| self.spread_counts(constraint, p));
                    i64::try_from(pods.count()).unwrap()
                } else {
                    self.places(constraint, &all).get(value).copied().unwrap_or_default()
                };
                let weight = (places as f64 + 2.0).ln();
                score += pods as f64 * weight + f64::from(constraint.max_skew - 1);
            }
            score.round() as i64
        };
        let raw: Vec<Option<i64>> =
            feasible.iter().map(|node| whole(node).then(|| rate(node))).collect();
        let counted = raw.iter().flatten();
        let (least, most) = (counted.clone().min().copied(), counted.max().copied());
        let scale = |score: i64| match (least, most) {
            (Some(least), Some(most)) if most > 0 => 100 * (most + least - score) / most,
            _ => 100,
        };
        raw.into_iter().map(|score| score.map_or(0, scale)).collect()
    }
}

/// From the lowest to the highest.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn between(scores: Vec<i64>) -> Vec<i64> {
    let least = scores.iter().copied().min().unwrap_or_default();
    let range = scores.iter().copied().max().unwrap_or_default() - least;
    let scale = |score: i64| (100.0 * ((score - least) as f64 / range as f64)) as i64;
    scores.into_iter().map(|score| if range == 0 { 0 } else { scale(score) }).collect()
}
