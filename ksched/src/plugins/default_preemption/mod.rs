//! DefaultPreemption: pods of a lower priority make room.

mod budget;
mod evict;
mod propose;
mod table;
mod victims;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kcore::informer::{Lister, Registration};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::framework::{
    Args, Code, CycleState, Diagnosis, ExtensionPoints, Filters, Handle, PostFilterPlugin,
    PostFilterResult, SchedulerPlugin, Status, summary,
};
use crate::snapshot::{PodInfo, Snapshot};
use crate::telling::Telling;
use budget::Budgets;
use table::{Sources, Table, Tables};

/// Why a node is not looked at.
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
/// Why a node without pods of a lower priority is left.
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Evicts pods of a lower priority where that lets a pod be scheduled: on the node where it hurts
/// least, and no more of them than must go.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
///
/// Every node is a candidate: what would have to leave it is remembered by signature until the
/// node changes, so there is no need to look at a sample. The arguments that size upstream's
/// sample are read, checked, and have no effect.
pub struct DefaultPreemption {
    handle: Handle,
    budgets: Lister<PodDisruptionBudget>,
    changes: Arc<AtomicU64>,
    _registration: Registration,
    tables: Mutex<Tables>,
    telling: Arc<Telling>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Arguments {
    min_candidate_nodes_percentage: i64,
    min_candidate_nodes_absolute: i64,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            min_candidate_nodes_percentage: 10,
            min_candidate_nodes_absolute: 100,
            _api_version: String::new(),
            _kind: String::new(),
        }
    }
}

impl DefaultPreemption {
    /// The plugin with `DefaultPreemptionArgs`.
    ///
    /// # Errors
    /// If the arguments are none, or out of range.
    pub fn new(args: &Args, handle: &Handle) -> Result<Self, String> {
        let args: Arguments = args.parse()?;
        let (part, count) =
            (args.min_candidate_nodes_percentage, args.min_candidate_nodes_absolute);
        if !(0..=100).contains(&part) {
            return Err(format!(
                "minCandidateNodesPercentage: Invalid value: {part}: not in valid range [0, 100]"
            ));
        }
        if count < 0 {
            return Err(format!(
                "minCandidateNodesAbsolute: Invalid value: {count}: not in valid range [0, inf)"
            ));
        }
        if part == 0 && count == 0 {
            return Err("cannot have both minCandidateNodesPercentage and \
                        minCandidateNodesAbsolute be zero"
                .to_owned());
        }
        let informer = handle.informers().of::<PodDisruptionBudget>();
        let changes = Arc::new(AtomicU64::new(1));
        let counter = Arc::clone(&changes);
        let _registration = informer.on_change(move |_| {
            counter.fetch_add(1, Ordering::Release);
        });
        let budgets = informer.lister();
        let (handle, tables, telling) = (handle.clone(), Mutex::default(), Arc::default());
        Ok(Self { handle, budgets, changes, _registration, tables, telling })
    }

    /// Why a pod may not make others leave, if it may not.
    fn not_eligible(
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &Diagnosis,
    ) -> Option<&'static str> {
        if pod.spec().preemption_policy.as_deref() == Some("Never") {
            return Some("not eligible due to preemptionPolicy=Never.");
        }
        let at = nodes.position(pod.nominated_node())?;
        let said = diagnosis.rejected.of(at);
        if said.is_some_and(|status| status.code() == Code::UnschedulableAndUnresolvable) {
            return None;
        }
        let leaving = nodes.node(at).pods().iter().any(|other| {
            other.priority() < pod.priority() && other.is_terminating() && was_preempted(other)
        });
        leaving.then_some("not eligible due to a terminating pod on the nominated node.")
    }
}

/// Whether a scheduler made a pod leave.
fn was_preempted(pod: &PodInfo) -> bool {
    if !pod.is_disrupted() {
        return false;
    }
    let conditions = pod.pod().status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut disrupted = conditions.filter(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    disrupted.any(|condition| condition.reason.as_deref() == Some(evict::REASON))
}

impl fmt::Debug for DefaultPreemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultPreemption").finish_non_exhaustive()
    }
}

impl SchedulerPlugin for DefaultPreemption {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.post_filter(self);
    }
}

impl PostFilterPlugin for DefaultPreemption {
    fn post_filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &Diagnosis,
        filters: &Filters<'_>,
    ) -> PostFilterResult {
        if let Some(why) = Self::not_eligible(pod, nodes, diagnosis) {
            return Status::unschedulable(format!("preemption: {why}")).into();
        }
        let version = self.changes.load(Ordering::Acquire);
        let mut tables = self.tables.lock();
        let budgets = tables.budgets(version, || Budgets::new(self.budgets.list()));
        let sources = Sources { nodes, rejected: &diagnosis.rejected, filters };
        let look = |at: u32| {
            let kept = filters.kept_at(at);
            victims::select(state, pod, nodes.node(at), &kept, &budgets, filters)
        };
        // What was said of all nodes for the whole signature is remembered with what follows.
        let lasts = filters.are_kept() && diagnosis.rejected.are_shared(nodes.len());
        let signature = pod.template().signature().filter(|_| lasts);
        let known = signature.and_then(|signature| tables.take(signature));
        let mut table = known.unwrap_or_else(|| Table::new(nodes.len(), Arc::clone(&budgets)));
        match signature {
            Some(_) => table.follow(sources, &budgets, look),
            None => table.fill(sources, look),
        }
        if filters.extenders_choose() && table.best().is_some() {
            let candidates = table.candidates();
            let tellers = (&self.handle, &self.telling);
            let proposal = propose::propose(tellers, pod, nodes, candidates, filters);
            if let Some(signature) = signature {
                tables.put(signature, table);
            }
            return proposal;
        }
        let result = match table.best() {
            Some((at, victims)) => {
                let node = nodes.node(at).name();
                let lesser = filters.all_kept_at(at).iter();
                let lesser = lesser.filter(|other| other.priority() < pod.priority());
                let effect =
                    evict::effect((&self.handle, &self.telling), pod, node, victims, lesser);
                let victims = victims.to_vec();
                PostFilterResult { victims, ..PostFilterResult::nominate(node, Some(effect)) }
            }
            None => {
                let status = refusal(diagnosis.nodes, &table);
                PostFilterResult { nominated_node: Some(String::new()), ..status.into() }
            }
        };
        if let Some(signature) = signature {
            tables.put(signature, table);
        }
        result
    }
}

/// Why preemption helps on no node, in upstream's words.
fn refusal(nodes: usize, table: &Table) -> Status {
    let said: usize = table.reasons().map(|(_, count)| count).sum();
    // Whoever was turned away at once, by PreFilter, counts as not helpful too.
    let not_helpful = Status::unresolvable(NOT_HELPFUL);
    let others = (nodes.saturating_sub(said) > 0).then(|| (&not_helpful, nodes - said));
    let message = summary(nodes, table.reasons().chain(others));
    Status::unschedulable(format!("preemption: {message}"))
}
