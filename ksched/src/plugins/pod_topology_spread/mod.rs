//! PodTopologySpread: pods are spread over zones, nodes, or any other places.

mod classes;
mod constraint;
mod counts;
mod defaults;
mod events;
mod score;

use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::framework::{
    Args, Candidates, CycleState, ExtensionPoints, FilterClasses, FilterPlugin, Handle,
    PreFilterExtensions, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NO_VALUE, NodeInfo, PodInfo, Snapshot, Tally};
use constraint::{Constraint, Constraints, Unlabeled, has_all};
use counts::{Counts, Known};
use defaults::{Defaults, Selectors};

const TOO_MANY: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// Keeps pods evenly spread over places, as their `topologySpreadConstraints` say; those without
/// any are spread loosely with the other pods of their Services and controllers.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>
#[derive(Debug)]
pub struct PodTopologySpread {
    defaults: Defaults,
    selectors: Selectors,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

impl PodTopologySpread {
    /// The plugin with `PodTopologySpreadArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or contradict each other.
    pub fn new(args: &Args, handle: &Handle) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let list = args.default_constraints;
        let defaults = match args.defaulting_type.as_deref() {
            None | Some("System") if list.is_empty() => Defaults::System,
            None | Some("System") => {
                return Err("defaultConstraints: Invalid value: when .defaultingType is System, \
                            must be empty"
                    .to_owned());
            }
            Some("List") => Defaults::List(validated(list)?),
            Some(other) => {
                return Err(format!(
                    "defaultingType: Unsupported value: {other:?}: supported values: \"System\", \
                     \"List\""
                ));
            }
        };
        let (selectors, counts) = (Selectors::new(handle), Mutex::default());
        Ok(Self { defaults, selectors, counts })
    }

    /// Takes out what is known of a pod's signature, to be put back, and says whether it may be:
    /// what cannot be remembered is kept for the pod's own cycle.
    fn known(&self, counts: &mut Counts, state: &mut CycleState, pod: &PodInfo) -> (Known, bool) {
        let (signature, version) = (pod.template().signature(), self.selectors.version());
        if let Some(known) = counts.take(signature, version) {
            return (known, true);
        }
        if let Some(Told(constraints)) = state.read() {
            return (Known::of(Arc::clone(constraints), version), false);
        }
        let own = pod.spec().topology_spread_constraints.as_deref().unwrap_or_default();
        let (constraints, lasts) = if own.is_empty() {
            self.selectors.constraints(&self.defaults, pod)
        } else {
            let all = own.iter().map(|constraint| Constraint::new(constraint, pod.labels()));
            (Constraints::of(all, Unlabeled::LeftOut), true)
        };
        let known = Known::new(constraints, version);
        if !lasts || signature.is_none() {
            state.write_for_choice(Told(Arc::clone(&known.constraints)));
        }
        (known, lasts)
    }
}

/// The constraints of a pod, found in PreFilter and not to be looked up again.
#[derive(Debug, Clone)]
struct Told(Arc<Constraints>);

fn validated(list: Vec<TopologySpreadConstraint>) -> Result<Vec<TopologySpreadConstraint>, String> {
    for (at, constraint) in list.iter().enumerate() {
        let field = |name: &str| format!("defaultConstraints[{at}].{name}");
        if constraint.max_skew <= 0 {
            return Err(format!(
                "{}: Invalid value: {}: not in valid range (0, inf)",
                field("maxSkew"),
                constraint.max_skew
            ));
        }
        if constraint.topology_key.is_empty() {
            return Err(format!("{}: Required value: can not be empty", field("topologyKey")));
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&constraint.when_unsatisfiable.as_str()) {
            return Err(format!(
                "{}: Unsupported value: {:?}: supported values: \"DoNotSchedule\", \
                 \"ScheduleAnyway\"",
                field("whenUnsatisfiable"),
                constraint.when_unsatisfiable
            ));
        }
        if constraint.label_selector.is_some() {
            return Err(format!(
                "{}: Forbidden: constraint must not define a selector, as they deduced for each \
                 pod",
                field("labelSelector")
            ));
        }
    }
    Ok(list)
}

impl SchedulerPlugin for PodTopologySpread {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
        points.enqueue_extensions(self);
    }
}

/// The pods of one constraint by place, with what a simulation has changed.
#[derive(Debug, Clone)]
struct Spread {
    tally: Arc<Tally>,
    changed: Vec<(u32, i64)>,
    /// How many the emptiest place has.
    least: i64,
    /// One if the pod itself is counted once it is placed.
    itself: i64,
}

#[derive(Debug, Clone)]
struct State {
    constraints: Arc<Constraints>,
    spreads: Vec<Spread>,
}

impl Spread {
    fn new(constraint: &Constraint, tally: Arc<Tally>, pod: &PodInfo) -> Self {
        let itself = i64::from(constraint.selector.matches(pod.labels()));
        let mut this = Self { tally, changed: Vec::new(), least: 0, itself };
        this.settle(constraint);
        this
    }

    fn sum(&self, value: u32) -> i64 {
        let changed = self.changed.iter().find(|(known, _)| *known == value);
        self.tally.sum(value) + changed.map_or(0, |(_, adds)| *adds)
    }

    fn settle(&mut self, constraint: &Constraint) {
        let sums = self.tally.sums();
        let few = i64::try_from(sums.len()).unwrap_or(i64::MAX) < constraint.min_domains;
        let least = if self.changed.is_empty() {
            sums.iter().copied().min()
        } else {
            (0_u32..).zip(sums).map(|(value, _)| self.sum(value)).min()
        };
        // Without any place there is nothing to be uneven.
        self.least = if few { 0 } else { least.unwrap_or(i64::from(i32::MAX)) };
    }

    fn fits(&self, constraint: &Constraint, value: Option<u32>) -> bool {
        self.takes(constraint, value.map_or(0, |value| self.sum(value)))
    }

    /// Whether a place with so many pods can take one more.
    fn takes(&self, constraint: &Constraint, there: i64) -> bool {
        there + self.itself - self.least <= constraint.max_skew
    }
}

impl PreFilterPlugin for PodTopologySpread {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult {
        let mut counts = self.counts.lock();
        let (mut known, lasts) = self.known(&mut counts, state, pod);
        let constraints = Arc::clone(&known.constraints);
        let tallies = known.hard(pod, nodes);
        if lasts {
            counts.put(pod.template().signature(), known);
        }
        if constraints.hard.is_empty() {
            return Status::skip().into();
        }
        let spreads = constraints.hard.iter().zip(tallies);
        let spreads = spreads.map(|(constraint, tally)| Spread::new(constraint, tally, pod));
        state.write_for_choice(State { spreads: spreads.collect(), constraints });
        Status::success().into()
    }

    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        Some(self)
    }
}

/// A pod has come to the node, or left it.
fn follow(state: &mut CycleState, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, adds: i64) {
    let Some(State { constraints, spreads }) = state.read_mut::<State>() else { return };
    if !has_all(&constraints.hard, node) {
        return;
    }
    for (constraint, spread) in constraints.hard.iter().zip(spreads) {
        if !constraint.counts(pod.namespace(), other) || !constraint.includes(pod, node) {
            continue;
        }
        let value = node.label(&constraint.key);
        let value = value.and_then(|value| spread.tally.topology().value(value));
        let Some(value) = value else { continue };
        match spread.changed.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum += adds,
            None => spread.changed.push((value, adds)),
        }
        spread.settle(constraint);
    }
}

impl PreFilterExtensions for PodTopologySpread {
    fn add_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        added: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        follow(state, pod, added, node, 1);
        Status::success()
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        follow(state, pod, removed, node, -1);
        Status::success()
    }
}

impl FilterPlugin for PodTopologySpread {
    fn classes(&self) -> Option<&dyn FilterClasses> {
        Some(self)
    }

    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(State { constraints, spreads }) = state.read::<State>() else {
            return Status::success();
        };
        for (constraint, spread) in constraints.hard.iter().zip(spreads) {
            let Some(value) = node.label(&constraint.key) else {
                return Status::unresolvable(NO_LABEL);
            };
            if !spread.fits(constraint, spread.tally.topology().value(value)) {
                return Status::unschedulable(TOO_MANY);
            }
        }
        Status::success()
    }

    fn filter_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        candidates: &mut Candidates,
    ) {
        let Some(State { constraints, spreads }) = state.read::<State>() else { return };
        let too_many = Status::unschedulable(TOO_MANY);
        // Whether each place of each constraint can take one more.
        let all = constraints.hard.iter().zip(spreads);
        let fits: Vec<(&[u32], Vec<bool>)> = all
            .map(|(constraint, spread)| {
                let places = (0_u32..).take(spread.tally.sums().len());
                let fits = places.map(|value| spread.fits(constraint, Some(value)));
                (spread.tally.topology().numbers(), fits.collect())
            })
            .collect();
        candidates.retain(|at| {
            for (numbers, fits) in &fits {
                match numbers[at as usize] {
                    // It is not counted, but it may have the labels all the same.
                    NO_VALUE => return self.filter(state, pod, nodes.node(at)),
                    value if !fits[value as usize] => return too_many.clone(),
                    _ => {}
                }
            }
            Status::success()
        });
    }
}
