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
    PostFilterResult, SchedulerPlugin, Status,
};
use crate::snapshot::{PodInfo, Snapshot};
use budget::Budgets;
use table::{Row, Tables};
use victims::{Outcome, Victims};

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
        let tables = Mutex::default();
        Ok(Self { handle: handle.clone(), budgets, changes, _registration, tables })
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
        let mut rejected = diagnosis.rejected.iter();
        let said = rejected.find(|(rejected, ..)| *rejected == at).map(|(.., status)| status);
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
        let budgets = Budgets::new(self.budgets.list());
        let mut tables = self.tables.lock();
        let signature = pod.template().signature().filter(|_| filters.are_kept());
        let mut table = tables.take(signature, nodes, version);
        let mut best: Option<(u32, &Victims)> = None;
        let helpful: Vec<u32> = diagnosis
            .rejected
            .iter()
            .filter(|(.., status)| status.code() != Code::UnschedulableAndUnresolvable)
            .map(|(at, ..)| at)
            .collect();
        let mut crowded = filters.kept_positions().peekable();
        for at in &helpful {
            while crowded.next_if(|kept| kept < at).is_some() {}
            let kept = match crowded.next_if(|kept| kept == at) {
                Some(_) => filters.kept_at(*at),
                None => Vec::new(),
            };
            if !table.has(*at, &kept) {
                let outcome =
                    victims::select(state, pod, nodes.node(*at), &kept, &budgets, filters);
                table.set(*at, Row::new(&kept, outcome));
            }
        }
        let candidates = helpful.iter().filter_map(|at| match table.outcome(*at) {
            Some(Outcome::Victims(victims)) => Some((*at, victims)),
            _ => None,
        });
        if filters.extenders_choose() && candidates.clone().next().is_some() {
            let proposal = propose::propose(&self.handle, pod, nodes, candidates, filters);
            tables.put(signature, table);
            return proposal;
        }
        for at in &helpful {
            if let Some(Outcome::Victims(victims)) = table.outcome(*at)
                && best.is_none_or(|(_, best)| victims.hurts_less(best))
            {
                best = Some((*at, victims));
            }
        }
        let result = match best {
            Some((at, victims)) => {
                let node = nodes.node(at).name();
                let lesser = filters.all_kept_at(at).iter();
                let lesser = lesser.filter(|other| other.priority() < pod.priority());
                let effect = evict::effect(&self.handle, pod, node, victims.pods(), lesser);
                PostFilterResult::nominate(node, Some(effect))
            }
            None => {
                let status = refusal(diagnosis, &helpful, |at| table.outcome(at));
                PostFilterResult { nominated_node: Some(String::new()), ..status.into() }
            }
        };
        tables.put(signature, table);
        result
    }
}

/// Why preemption helps on no node, in upstream's words.
fn refusal<'a>(
    diagnosis: &Diagnosis,
    helpful: &[u32],
    outcome: impl Fn(u32) -> Option<&'a Outcome>,
) -> Status {
    let mut said = Diagnosis { nodes: diagnosis.nodes, ..Diagnosis::default() };
    let plugin: Arc<str> = Arc::from("DefaultPreemption");
    let not_helpful = Status::unresolvable(NOT_HELPFUL);
    for at in helpful {
        if let Some(Outcome::Status(status)) = outcome(*at) {
            said.rejected.push(*at, &plugin, status.clone());
        }
    }
    // Whoever was turned away at once, by PreFilter, counts as not helpful too.
    for at in (0_u32..).take(diagnosis.nodes.saturating_sub(said.rejected.len())) {
        said.rejected.push(at, &plugin, not_helpful.clone());
    }
    Status::unschedulable(format!("preemption: {}", said.message()))
}
