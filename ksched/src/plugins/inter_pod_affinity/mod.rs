//! InterPodAffinity: pods say beside which others they want to be, and beside which not.

mod classes;
mod events;
mod index;
mod score;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use kcore::informer::{Lister, Registration};
use kcore::selector::LabelSelector;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::framework::{
    Args, Candidates, CycleState, ExtensionPoints, FilterClasses, FilterPlugin, Handle,
    PreFilterExtensions, PreFilterPlugin, PreFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot, Tally};
use index::{Index, Use};
use state::{Place, State};

const NO_AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
/// The heaviest that hard affinity may count in scores.
const MAX_HARD_WEIGHT: i64 = 100;

/// Required and preferred affinity and anti-affinity between pods, in both directions: what the
/// pod asks of those that are there, and what they ask of it.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>
///
/// How many pods of which terms are in which places is kept as nodes change, so a pod costs a pass
/// over the nodes' places and not over their pods.
pub struct InterPodAffinity {
    hard_weight: i64,
    ignore_preferred: bool,
    namespaces: Lister<Namespace>,
    changes: Arc<AtomicU64>,
    _registration: Registration,
    index: Mutex<Index>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    hard_pod_affinity_weight: i64,
    ignore_preferred_terms_of_existing_pods: bool,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
            _api_version: String::new(),
            _kind: String::new(),
        }
    }
}

impl InterPodAffinity {
    /// The plugin with `InterPodAffinityArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or out of range.
    pub fn new(args: &Args, handle: &Handle) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let hard_weight = args.hard_pod_affinity_weight;
        if !(0..=MAX_HARD_WEIGHT).contains(&hard_weight) {
            return Err(format!(
                "hardPodAffinityWeight: Invalid value: {hard_weight}: not in valid range \
                 [0-{MAX_HARD_WEIGHT}]"
            ));
        }
        let informer = handle.informers().of::<Namespace>();
        let changes = Arc::new(AtomicU64::new(1));
        let counter = Arc::clone(&changes);
        let _registration = informer.on_change(move |_| {
            counter.fetch_add(1, Ordering::Release);
        });
        Ok(Self {
            hard_weight,
            ignore_preferred: args.ignore_preferred_terms_of_existing_pods,
            namespaces: informer.lister(),
            changes,
            _registration,
            index: Mutex::default(),
        })
    }

    fn labels(&self) -> impl Fn(&str, &LabelSelector) -> bool {
        static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
        |name, selector| {
            let namespace = self.namespaces.get("", name);
            let labels = namespace.as_ref().and_then(|found| found.metadata.labels.as_ref());
            selector.matches(labels.unwrap_or(&NO_LABELS))
        }
    }

    /// The index, as far as the snapshot is.
    fn index(&self, nodes: &Snapshot) -> parking_lot::MutexGuard<'_, Index> {
        let mut index = self.index.lock();
        index.namespaces = self.changes.load(Ordering::Acquire);
        index.follow(nodes);
        index
    }
}

impl fmt::Debug for InterPodAffinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterPodAffinity")
            .field("hard_weight", &self.hard_weight)
            .finish_non_exhaustive()
    }
}

impl SchedulerPlugin for InterPodAffinity {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreFilterPlugin for InterPodAffinity {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult {
        let labels = self.labels();
        let mut index = self.index(nodes);
        let meaning = index.meaning(pod, &labels);
        let existing = meaning.into_iter().filter(|carried| carried.used == Use::RequiredAnti);
        let existing: Vec<Place> = existing
            .filter(|carried| !carried.tally.is_zero())
            .map(|carried| Place::new(&carried.term, &carried.tally))
            .collect();
        let wants = pod.affinities();
        if existing.is_empty() && wants.required.is_empty() && wants.required_anti.is_empty() {
            return Status::skip().into();
        }
        let mut place = |terms: &[&_], at: &_| {
            let tally =
                index.met(nodes, terms, crate::snapshot::AffinityTerm::topology_key(at), &labels);
            Place::new(at, &tally)
        };
        let anti = wants.required_anti.iter().map(|term| place(&[term], term)).collect();
        let all: Vec<_> = wants.required.iter().collect();
        let affinity: Vec<Place> = wants.required.iter().map(|term| place(&all, term)).collect();
        let own = |term: &crate::snapshot::AffinityTerm| {
            term.matches(pod.namespace(), pod.labels(), &labels)
        };
        let itself = wants.required.iter().all(own);
        let namespaces = index.namespaces;
        state.write_for_choice(State { existing, anti, affinity, itself, namespaces });
        Status::success().into()
    }

    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        Some(self)
    }
}

impl InterPodAffinity {
    /// A pod has come to the node, or left it.
    fn count(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeInfo,
        adds: i64,
    ) -> Status {
        let Some(state) = state.read_mut::<State>() else { return Status::success() };
        let labels = self.labels();
        for term in &other.affinities().required_anti {
            if !term.matches(pod.namespace(), pod.labels(), &labels) {
                continue;
            }
            let known = state.existing.iter().position(|place| place.is_of(term));
            let at = known.or_else(|| {
                let topology = self.index.lock().known_topology(term.topology_key())?;
                let tally = Arc::new(Tally::new(topology));
                state.existing.push(Place::new(term, &tally));
                Some(state.existing.len() - 1)
            });
            if let Some(at) = at {
                state.existing[at].count(node, adds);
            }
        }
        let meets = |term: &crate::snapshot::AffinityTerm| {
            term.matches(other.namespace(), other.labels(), &labels)
        };
        let wants = pod.affinities();
        for (term, place) in wants.required_anti.iter().zip(&mut state.anti) {
            if meets(term) {
                place.count(node, adds);
            }
        }
        if !wants.required.is_empty() && wants.required.iter().all(meets) {
            state.affinity.iter_mut().for_each(|place| place.count(node, adds));
        }
        Status::success()
    }
}

impl PreFilterExtensions for InterPodAffinity {
    fn add_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        added: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        self.count(state, pod, added, node, 1)
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        self.count(state, pod, removed, node, -1)
    }
}

impl FilterPlugin for InterPodAffinity {
    fn classes(&self) -> Option<&dyn FilterClasses> {
        Some(self)
    }

    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let Some(state) = state.read::<State>() else { return Status::success() };
        let counted = |place: &Place| place.at_node(node);
        if !state.has_affinity(counted) {
            return Status::unresolvable(NO_AFFINITY);
        }
        if state.anti.iter().any(|place| counted(place).is_some_and(|count| count > 0)) {
            return Status::unschedulable(ANTI_AFFINITY);
        }
        if state.existing.iter().any(|place| counted(place).is_some_and(|count| count > 0)) {
            return Status::unschedulable(EXISTING);
        }
        Status::success()
    }

    fn filter_nodes(
        &self,
        state: &CycleState,
        _: &PodInfo,
        _: &Snapshot,
        candidates: &mut Candidates,
    ) {
        let Some(state) = state.read::<State>() else { return };
        let [no_affinity, anti, existing] = [
            Status::unresolvable(NO_AFFINITY),
            Status::unschedulable(ANTI_AFFINITY),
            Status::unschedulable(EXISTING),
        ];
        let first = !state.affinity.is_empty() && !state.is_met() && state.itself;
        candidates.retain(|at| {
            let counted = |place: &Place| place.at_position(at);
            let some = |places: &[Place]| {
                places.iter().any(|place| counted(place).is_some_and(|count| count > 0))
            };
            let near = state
                .affinity
                .iter()
                .all(|place| counted(place).is_some_and(|count| first || count > 0));
            if !near {
                no_affinity.clone()
            } else if some(&state.anti) {
                anti.clone()
            } else if some(&state.existing) {
                existing.clone()
            } else {
                Status::success()
            }
        });
    }
}
