//! NodeResourcesFit: what a pod asks for has to be there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::shape::{Shape, ShapePoint, rounded_mean};
use super::volumes::hints::queue_if;
use crate::framework::{
    Action, Args, Candidates, Code, CycleState, EnqueueExtensions, EventObject, EventRegistration,
    EventResource, ExtensionPoints, FilterPlugin, GroupVerdict, Happening, MAX_NODE_SCORE,
    Normalization, QueueingHint, SchedulerPlugin, ScorePlugin, Status,
};
use crate::snapshot::{Amounts, NodeGroup, NodeInfo, PodInfo, Resources, Snapshot};

/// Turns away nodes without room for the pod's requests, and ranks the others by how full they
/// would be. <https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/>
#[derive(Debug, Clone)]
pub struct NodeResourcesFit {
    strategy: Strategy,
    ignored: BTreeSet<String>,
    ignored_groups: BTreeSet<String>,
    resources: Vec<Weighted>,
    /// The weights of CPU and memory, if they are all that counts.
    plain: Option<(i64, i64)>,
}

#[derive(Debug, Clone)]
enum Strategy {
    Least,
    Most,
    Shape(Shape),
}

#[derive(Debug, Clone, Deserialize)]
struct Weighted {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: ScoringStrategy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct ScoringStrategy {
    r#type: Option<String>,
    resources: Vec<Weighted>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ratio {
    shape: Vec<ShapePoint>,
}

/// Where the shape of a ratio is among the arguments.
const SHAPE: &str = "scoringStrategy.requestedToCapacityRatio.shape";

impl NodeResourcesFit {
    /// The plugin with `NodeResourcesFitArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or out of range.
    pub fn new(args: &Args) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let scoring = args.scoring_strategy;
        let strategy = match scoring.r#type.as_deref() {
            None | Some("LeastAllocated") => Strategy::Least,
            Some("MostAllocated") => Strategy::Most,
            Some("RequestedToCapacityRatio") => {
                let ratio = scoring.requested_to_capacity_ratio.unwrap_or_default();
                Strategy::Shape(Shape::new(SHAPE, &ratio.shape)?)
            }
            Some(other) => {
                return Err(format!(
                    "scoringStrategy.type: Unsupported value: {other:?}: supported values: \
                     \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\""
                ));
            }
        };
        let mut resources = scoring.resources;
        if resources.is_empty() {
            let weighted = |name: &str| Weighted { name: name.to_owned(), weight: 1 };
            resources = vec![weighted("cpu"), weighted("memory")];
        }
        for resource in &mut resources {
            if !(0..=100).contains(&resource.weight) {
                return Err(format!(
                    "scoringStrategy.resources: weight of {}: Invalid value: {}: resource weight \
                     not in valid range [1, 100]",
                    resource.name, resource.weight
                ));
            }
            resource.weight = resource.weight.max(1);
        }
        let plain = match &resources[..] {
            [a, b] if a.name == "cpu" && b.name == "memory" => Some((a.weight, b.weight)),
            _ => None,
        };
        Ok(Self {
            plain,
            strategy,
            ignored: args.ignored_resources.into_iter().collect(),
            ignored_groups: args.ignored_resource_groups.into_iter().collect(),
            resources,
        })
    }

    /// Only extended resources can be ignored.
    fn ignores(&self, name: &str) -> bool {
        if !is_extended(name) {
            return false;
        }
        let group = name.split_once('/').map(|(group, _)| group);
        self.ignored.contains(name)
            || group.is_some_and(|group| self.ignored_groups.contains(group))
    }

    /// What is missing on a node.
    fn missing(&self, pod: &PodInfo, node: &NodeInfo) -> Status {
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let mut never = false;
        let (asked, has) = (pod.requests(), node.allocatable());
        if i64::try_from(node.pods().len()).unwrap_or(i64::MAX) >= has.pods {
            reasons.push("Too many pods".into());
        }
        let fixed = [
            ("cpu", "Insufficient cpu"),
            ("memory", "Insufficient memory"),
            ("ephemeral-storage", "Insufficient ephemeral-storage"),
        ];
        for (name, reason) in fixed {
            let amount = asked.get(name);
            if amount > 0 && amount > node.free(name) {
                reasons.push(reason.into());
                never |= amount > has.get(name);
            }
        }
        for (name, amount) in &asked.scalar {
            if *amount > 0 && !self.ignores(name) && *amount > node.free(name) {
                reasons.push(format!("Insufficient {name}").into());
                never |= *amount > has.get(name);
            }
        }
        if reasons.is_empty() {
            return Status::success();
        }
        let code = if never { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable };
        Status::with_reasons(code, reasons)
    }

    /// Whether a pod fits where so much is used of nodes of one shape.
    fn fits(&self, pod: &PodInfo, shape: &NodeInfo, used: &Amounts) -> bool {
        let (asked, has) = (pod.requests(), shape.allocatable());
        let room =
            |asked: i64, has: i64, used: i64| asked <= 0 || asked <= has.saturating_sub(used);
        let scalar = |(name, amount): &(Arc<str>, i64)| {
            *amount <= 0 || self.ignores(name) || *amount <= shape.free(name)
        };
        used.pods < has.pods
            && room(asked.milli_cpu, has.milli_cpu, used.milli_cpu)
            && room(asked.memory, has.memory, used.memory)
            && room(asked.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage)
            && asked.scalar.iter().all(scalar)
    }

    /// The score where so much is used of nodes of one shape.
    fn score_of(&self, pod: &PodInfo, shape: &NodeInfo, used: &Amounts) -> i64 {
        let (cpu, memory) = pod.scoring_requests();
        if let Some(weights) = self.plain {
            let has = shape.allocatable();
            let amounts = [
                (used.scoring_milli_cpu + cpu, has.milli_cpu, weights.0),
                (used.scoring_memory + memory, has.memory, weights.1),
            ];
            return self.total(amounts.into_iter());
        }
        self.total(self.resources.iter().map(|Weighted { name, weight }| {
            let requested = match name.as_str() {
                "cpu" => used.scoring_milli_cpu + cpu,
                "memory" => used.scoring_memory + memory,
                "ephemeral-storage" => used.ephemeral_storage + pod.requests().ephemeral_storage,
                // One of the others that the pod does not ask for says nothing of where it fits.
                _ if pod.requests().get(name) == 0 => return (0, 0, 0),
                _ => shape.requested().get(name) + pod.requests().get(name),
            };
            (requested, shape.allocatable().get(name), *weight)
        }))
    }

    /// The score of a resource of which `requested`, the pod included, of `capacity` is used.
    fn rate(&self, requested: i64, capacity: i64) -> i64 {
        let within = requested <= capacity;
        match &self.strategy {
            Strategy::Least if within => (capacity - requested) * MAX_NODE_SCORE / capacity,
            Strategy::Least => 0,
            Strategy::Most => requested.min(capacity) * MAX_NODE_SCORE / capacity,
            Strategy::Shape(shape) => shape.rate(requested, capacity),
        }
    }

    fn total(&self, amounts: impl Iterator<Item = (i64, i64, i64)>) -> i64 {
        let (mut score, mut weights) = (0, 0);
        for (requested, capacity, weight) in amounts.filter(|(_, capacity, _)| *capacity > 0) {
            let rated = self.rate(requested, capacity);
            // Under a shape, what scores nothing does not count.
            if rated > 0 || !matches!(self.strategy, Strategy::Shape(_)) {
                score += rated * weight;
                weights += weight;
            }
        }
        match (&self.strategy, weights) {
            (_, 0) => 0,
            (Strategy::Shape(_), weights) => rounded_mean(score, weights),
            _ => score / weights,
        }
    }
}

impl SchedulerPlugin for NodeResourcesFit {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self.clone());
        points.score(self.clone());
        points.enqueue_extensions(self);
    }
}

impl FilterPlugin for NodeResourcesFit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        self.missing(pod, node)
    }

    fn filter_nodes(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        candidates: &mut Candidates,
    ) {
        let asked = pod.requests();
        let columns = nodes.columns();
        let plain = asked.ephemeral_storage == 0 && asked.scalar.is_empty();
        candidates.retain(|at| {
            let i = at as usize;
            let free_cpu = columns.allocatable_milli_cpu[i] - columns.requested_milli_cpu[i];
            let free_memory = columns.allocatable_memory[i] - columns.requested_memory[i];
            let fits = plain
                && columns.free_pods[i] > 0
                && (asked.milli_cpu == 0 || asked.milli_cpu <= free_cpu)
                && (asked.memory == 0 || asked.memory <= free_memory);
            if fits { Status::success() } else { self.missing(pod, nodes.node(at)) }
        });
    }

    fn keeps(&self) -> bool {
        true
    }

    fn filter_group(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<GroupVerdict> {
        let fits = |used: &Amounts| self.fits(pod, group.shape(), used);
        Some(match (fits(group.least()), fits(group.most())) {
            (true, true) => GroupVerdict::Pass,
            (false, _) => GroupVerdict::Reject,
            (true, false) => GroupVerdict::Mixed,
        })
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(self.score_of(pod, node, &Amounts::of(node)))
    }

    fn score_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        let Some(weights) = self.plain else {
            return feasible.iter().map(|at| self.score(state, pod, nodes.node(*at))).collect();
        };
        let (columns, (cpu, memory)) = (nodes.columns(), pod.scoring_requests());
        let scores = feasible.iter().map(|at| {
            let i = *at as usize;
            let amounts = [
                (columns.scoring_milli_cpu[i] + cpu, columns.allocatable_milli_cpu[i], weights.0),
                (columns.scoring_memory[i] + memory, columns.allocatable_memory[i], weights.1),
            ];
            self.total(amounts.into_iter())
        });
        Ok(scores.collect())
    }

    fn keeps(&self) -> Option<Normalization> {
        Some(Normalization::None)
    }

    fn score_group(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        group: &NodeGroup<'_>,
    ) -> Option<(i64, i64)> {
        let score = |used: &Amounts| self.score_of(pod, group.shape(), used);
        match self.strategy {
            _ if group.is_one_state() => Some((score(group.least()), score(group.least()))),
            // The fuller, the less, or the more.
            Strategy::Least => Some((score(group.most()), score(group.least()))),
            Strategy::Most => Some((score(group.least()), score(group.most()))),
            Strategy::Shape(_) => None,
        }
    }
}

/// Whether a resource is one that Kubernetes itself does not know.
/// <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources>
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Whether there is more than before of anything that a pod asks for, or it is one of the pods.
fn has_more(pod: &PodInfo, before: &Resources, after: &Resources) -> bool {
    let asked = pod.requests();
    let scalar = asked.scalar.iter().map(|(name, _)| &**name);
    let mut all = ["cpu", "memory", "ephemeral-storage"].into_iter().chain(scalar);
    after.pods > before.pods
        || all.any(|name| asked.get(name) > 0 && after.get(name) > before.get(name))
}

/// A pod that shrinks helps if it gives back what the other one asks for; one that leaves may give
/// back a place at least.
fn hint_of_pod(pod: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match what.pods() {
        (Some(before), Some(after)) => has_more(pod, after.requests(), before.requests()),
        _ => true,
    })
}

impl NodeResourcesFit {
    /// An empty node without room for the pod is no help; one with pods on it may be. It must have
    /// more than before.
    fn hint_of_node(&self, pod: &PodInfo, what: &Happening) -> QueueingHint {
        let read = |object: &Option<EventObject>| {
            let node = object.as_ref().and_then(|object| object.node());
            node.map(|node| NodeInfo::new(Arc::clone(node)))
        };
        let Some(node) = read(&what.new) else { return QueueingHint::Queue };
        let more = read(&what.old)
            .is_none_or(|before| has_more(pod, before.allocatable(), node.allocatable()));
        queue_if(more && self.missing(pod, &node).is_success())
    }
}

impl EnqueueExtensions for NodeResourcesFit {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        let this = self.clone();
        let actions = Action::ADD | Action::UPDATE_NODE_ALLOCATABLE;
        let node = EventRegistration::new(EventResource::Node, actions)
            .hint(move |pod, what| this.hint_of_node(pod, what));
        let pods = Action::DELETE | Action::UPDATE_POD_SCALE_DOWN;
        let own = Action::UPDATE_POD_SCALE_DOWN;
        vec![
            node,
            EventRegistration::new(EventResource::AssignedPod, pods).hint(hint_of_pod),
            EventRegistration::new(EventResource::UnscheduledPod, own),
        ]
    }
}
