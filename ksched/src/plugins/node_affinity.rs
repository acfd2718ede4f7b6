//! NodeAffinity: pods say which nodes they want by labels and names.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    NodeAffinity as Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};
use serde::Deserialize;

use super::volumes::hints::queue_if;
use crate::framework::{
    Action, Args, CycleState, EnqueueExtensions, EventObject, EventRegistration, EventResource,
    ExtensionPoints, Feasible, FilterPlugin, Normalization, PreFilterPlugin, PreFilterResult,
    PreScorePlugin, SchedulerPlugin, ScorePlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";
const NO_MATCH_ADDED: &str = "node(s) didn't match scheduler-enforced node affinity";

const BY_HIGHEST: Normalization = Normalization::Highest { reverse: false };

/// `nodeSelector`, required and preferred node affinity, by labels and by name.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>
#[derive(Debug, Clone, Default)]
pub struct NodeAffinity {
    added: Option<Affinity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    added_affinity: Option<Affinity>,
}

impl NodeAffinity {
    /// The plugin; its argument `addedAffinity` is required of every pod besides its own.
    ///
    /// # Errors
    /// If the arguments are no `NodeAffinityArgs`, or a term in them can match nothing.
    pub fn new(args: &Args) -> Result<Self, String> {
        let added = args.parse::<Arguments>()?.added_affinity;
        added.iter().try_for_each(validate)?;
        Ok(Self { added })
    }
}

impl SchedulerPlugin for NodeAffinity {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
        points.enqueue_extensions(self);
    }
}

fn affinity(pod: &PodInfo) -> Option<&Affinity> {
    pod.spec().affinity.as_ref()?.node_affinity.as_ref()
}

fn required(affinity: Option<&Affinity>) -> Option<&NodeSelector> {
    affinity?.required_during_scheduling_ignored_during_execution.as_ref()
}

/// What makes a requirement on a label one that is never met, in upstream's words.
fn fault(wanted: &NodeSelectorRequirement) -> Option<&'static str> {
    let values = wanted.values.as_deref().unwrap_or_default();
    match wanted.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            Some("values set must be empty for exists and does not exist")
        }
        "Gt" | "Lt" if values.len() != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        "Gt" | "Lt" if values[0].parse::<i64>().is_err() => {
            Some("for 'Gt', 'Lt' operators, the value must be an integer")
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => None,
        _ => Some("not a valid selector operator"),
    }
}

/// The same of a requirement on a field.
fn fault_of_field(wanted: &NodeSelectorRequirement) -> Option<&'static str> {
    match wanted.operator.as_str() {
        _ if wanted.key != NAME => Some("not a valid field selector key"),
        "In" | "NotIn" if wanted.values.as_ref().map_or(0, Vec::len) == 1 => None,
        "In" | "NotIn" => Some("must have one element"),
        _ => Some("not a valid selector operator"),
    }
}

/// The only field by which terms may mean nodes.
const NAME: &str = "metadata.name";

/// Whether every requirement of an affinity can be met.
fn validate(affinity: &Affinity) -> Result<(), String> {
    let check = |field: &str, term: &NodeSelectorTerm| {
        let labels = term.match_expressions.iter().flatten();
        let labels = labels.enumerate().map(|(at, wanted)| {
            (format!("matchExpressions[{at}]"), wanted.key.as_str(), fault(wanted))
        });
        let names = term.match_fields.iter().flatten();
        let names = names.enumerate().map(|(at, wanted)| {
            (format!("matchFields[{at}]"), wanted.key.as_str(), fault_of_field(wanted))
        });
        let mut faults = labels.chain(names);
        match faults.find_map(|(at, key, fault)| Some((at, key, fault?))) {
            None => Ok(()),
            Some((at, key, fault)) => {
                Err(format!("addedAffinity.{field}.{at}: Invalid value: {key:?}: {fault}"))
            }
        }
    };
    let hard = "requiredDuringSchedulingIgnoredDuringExecution";
    let soft = "preferredDuringSchedulingIgnoredDuringExecution";
    let terms = required(Some(affinity)).map_or(&[][..], |all| &all.node_selector_terms);
    for (at, term) in terms.iter().enumerate() {
        check(&format!("{hard}.nodeSelectorTerms[{at}]"), term)?;
    }
    let all = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (at, preferred) in all.enumerate() {
        check(&format!("{soft}[{at}].preference"), &preferred.preference)?;
    }
    Ok(())
}

/// Whether a label, or the lack of it, meets a requirement. One that is wrong is never met.
fn requirement(found: Option<&str>, wanted: &NodeSelectorRequirement) -> bool {
    if fault(wanted).is_some() {
        return false;
    }
    let values = wanted.values.as_deref().unwrap_or_default();
    let is_in = |found: &str| values.iter().any(|value| value == found);
    let numbers = || Some((found?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match wanted.operator.as_str() {
        "In" => found.is_some_and(is_in),
        "NotIn" => !found.is_some_and(is_in),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => numbers().is_some_and(|(found, bound)| found > bound),
        "Lt" => numbers().is_some_and(|(found, bound)| found < bound),
        _ => false,
    }
}

/// A term without any requirement matches nothing.
fn term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let labels = node.node().metadata.labels.as_ref();
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    expressions.iter().all(|wanted| requirement(label(&wanted.key), wanted))
        && fields.iter().all(|wanted| {
            fault_of_field(wanted).is_none() && requirement(Some(node.name()), wanted)
        })
}

/// Whether one of a selector's terms means a node.
pub(super) fn selects(selector: &NodeSelector, node: &NodeInfo) -> bool {
    selector.node_selector_terms.iter().any(|each| term(each, node))
}

/// Whether a pod's node selector and required node affinity allow a node.
pub(super) fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.node().metadata.labels.as_ref();
    let has = |key: &String, value: &String| {
        labels.is_some_and(|labels| labels.get(key).is_some_and(|found| found == value))
    };
    pod.spec().node_selector.iter().flatten().all(|(key, value)| has(key, value))
        && required(affinity(pod)).is_none_or(|selector| selects(selector, node))
}

/// The only nodes that the terms can mean, if each of them names nodes.
fn named(selector: &NodeSelector) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for term in &selector.node_selector_terms {
        let fields = term.match_fields.iter().flatten();
        let names = fields
            .filter(|field| field.key == NAME && field.operator == "In")
            .map(|field| field.values.iter().flatten().cloned().collect::<BTreeSet<_>>())
            .reduce(|a, b| a.intersection(&b).cloned().collect())?;
        all.extend(names);
    }
    Some(all)
}

impl PreFilterPlugin for NodeAffinity {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let selector = required(affinity(pod));
        let by_label = pod.spec().node_selector.as_ref().is_some_and(|labels| !labels.is_empty());
        if selector.is_none() && !by_label && required(self.added.as_ref()).is_none() {
            return Status::skip().into();
        }
        let terms = selector.filter(|selector| !selector.node_selector_terms.is_empty());
        match terms.and_then(named) {
            Some(names) if names.is_empty() => {
                Status::unresolvable("pod affinity terms conflict").into()
            }
            Some(names) => PreFilterResult::narrow(names),
            None => Status::success().into(),
        }
    }
}

impl FilterPlugin for NodeAffinity {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        if required(self.added.as_ref()).is_some_and(|selector| !selects(selector, node)) {
            return Status::unresolvable(NO_MATCH_ADDED);
        }
        if matches(pod, node) { Status::success() } else { Status::unresolvable(NO_MATCH) }
    }

    fn keeps(&self) -> bool {
        true
    }
}

impl NodeAffinity {
    fn preferred<'a>(
        &'a self,
        pod: &'a PodInfo,
    ) -> impl Iterator<Item = (&'a NodeSelectorTerm, i32)> {
        let all = affinity(pod).into_iter().chain(&self.added);
        all.flat_map(|affinity| {
            affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten()
        })
        .map(|preferred| (&preferred.preference, preferred.weight))
    }
}

impl PreScorePlugin for NodeAffinity {
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        if self.preferred(pod).next().is_none() { Status::skip() } else { Status::success() }
    }
}

impl ScorePlugin for NodeAffinity {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let matching = self.preferred(pod).filter(|(wanted, _)| term(wanted, node));
        Ok(matching.map(|(_, weight)| i64::from(weight)).sum())
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) -> Status {
        BY_HIGHEST.all(scores);
        Status::success()
    }

    fn keeps(&self) -> Option<Normalization> {
        Some(BY_HIGHEST)
    }
}

impl EnqueueExtensions for NodeAffinity {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let added = self.clone();
        let actions = Action::ADD | Action::UPDATE_NODE_LABEL;
        let node = EventRegistration::new(EventResource::Node, actions);
        vec![node.hint(move |pod, happening| {
            let fits = |object: &Option<EventObject>| {
                object.as_ref().and_then(|object| object.node()).is_some_and(|node| {
                    let node = NodeInfo::new(Arc::clone(node));
                    added.filter(&CycleState::default(), pod, &node).is_success()
                })
            };
            // It means the node now, and has not before.
            queue_if(fits(&happening.new) && !fits(&happening.old))
        })]
    }
}
