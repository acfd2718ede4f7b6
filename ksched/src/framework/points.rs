//! The extension points: one trait each.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/#interfaces>

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Candidates, CycleState, Diagnosis, EventRegistration, Feasible, FilterClasses, Filters,
    GroupVerdict, Normalization, Proposal, ScoreClasses, Status,
};
use crate::queue::QueuedPod;
use crate::snapshot::{NodeGroup, NodeInfo, PodInfo, Snapshot};

/// The highest score a plugin may give.
pub const MAX_NODE_SCORE: i64 = 100;
/// The lowest score a plugin may give.
pub const MIN_NODE_SCORE: i64 = 0;
/// The longest that a Permit plugin may let a pod wait.
pub const MAX_PERMIT_WAIT: Duration = Duration::from_secs(15 * 60);

/// Orders the pods that wait to be tried.
///
/// **Contract**: `compare` is a total order that changes only with its arguments; `Less` is tried
/// first.
pub trait QueueSortPlugin: Debug + Send + Sync + 'static {
    /// Which of two pods is tried first.
    fn compare(&self, a: &QueuedPod, b: &QueuedPod) -> Ordering;
}

/// Keeps pods out of the queue until they may be tried.
///
/// **Contract**: a rejected pod costs nothing until it changes or an event that the plugin
/// registered happens.
pub trait PreEnqueuePlugin: Debug + Send + Sync + 'static {
    /// Whether the pod may be tried.
    fn pre_enqueue(&self, pod: &PodInfo) -> Status;
}

/// What a PreFilter plugin found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PreFilterResult {
    /// Success, Skip (the plugin's Filter is left out for this pod), or a rejection of all nodes.
    pub status: Status,
    /// The only nodes that can be meant, where the pod names them; `None` for all.
    pub nodes: Option<BTreeSet<String>>,
}

impl PreFilterResult {
    /// Only these nodes can be meant.
    #[must_use]
    pub fn narrow(nodes: BTreeSet<String>) -> Self {
        Self { status: Status::success(), nodes: Some(nodes) }
    }
}

impl From<Status> for PreFilterResult {
    fn from(status: Status) -> Self {
        Self { status, nodes: None }
    }
}

/// Looks at a pod once, before its nodes.
///
/// **Contract**: pure but for the state it writes; Skip means that Filter would pass every node.
pub trait PreFilterPlugin: Debug + Send + Sync + 'static {
    /// Prepares what Filter needs.
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult;
    /// How the state follows pods that come or go in a simulation; needed if Filter depends on
    /// other pods through the state.
    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        None
    }
}

/// Keeps a PreFilter's state right while pods are added and removed in a simulation.
///
/// **Contract**: `remove_pod` undoes `add_pod` of the same pod, and the other way round.
pub trait PreFilterExtensions: Debug + Send + Sync {
    /// `added` is on the node now.
    fn add_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        added: &PodInfo,
        node: &NodeInfo,
    ) -> Status;
    /// `removed` has left the node.
    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) -> Status;
}

/// Says on which nodes a pod can run.
///
/// **Contract**: pure; both forms answer alike; a rejection carries a reason.
pub trait FilterPlugin: Debug + Send + Sync + 'static {
    /// Whether the pod can run on a node.
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status;
    /// The same over all candidates at once. Override it where a pass over the snapshot's
    /// columns is quicker.
    fn filter_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        candidates: &mut Candidates,
    ) {
        candidates.retain(|at| self.filter(state, pod, nodes.node(at)));
    }
    /// Whether what it says of a node depends on the pod's
    /// [signature](crate::snapshot::PodTemplate::signature) and that node alone. Then its answers
    /// are kept for the next pods of the signature, and only nodes that changed are asked again.
    fn keeps(&self) -> bool {
        false
    }
    /// Its classes of nodes, if its answers depend on other nodes and it does not
    /// [`keep`](Self::keeps) them.
    fn classes(&self) -> Option<&dyn FilterClasses> {
        None
    }
    /// What it says of a whole group of nodes, so that a cluster of many nodes need not be looked
    /// at node by node; `None` if that cannot be told. Of a group [in one
    /// state](NodeGroup::is_one_state) it says either that all pass or that none does.
    fn filter_group(
        &self,
        _state: &CycleState,
        _pod: &PodInfo,
        _group: &NodeGroup<'_>,
    ) -> Option<GroupVerdict> {
        None
    }
}

/// Work that a decision asks for, done beside the scheduling of other pods.
pub type Effect = Pin<Box<dyn Future<Output = Status> + Send>>;

/// What a PostFilter plugin found.
#[non_exhaustive]
pub struct PostFilterResult {
    /// Success if the pod can be scheduled later on the nominated node; a rejection's reasons
    /// are added to the pod's message.
    pub status: Status,
    /// The node that is to be kept for the pod.
    pub nominated_node: Option<String>,
    /// What has to be done for that, such as evicting victims; or, with a rejection, because of it.
    pub effect: Option<Effect>,
    /// The pods that this makes leave, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// What could be done, where extenders choose: the rest says nothing then.
    pub proposal: Option<Proposal>,
}

impl PostFilterResult {
    /// A node is nominated.
    #[must_use]
    pub fn nominate(node: impl Into<String>, effect: Option<Effect>) -> Self {
        Self { nominated_node: Some(node.into()), effect, ..Status::success().into() }
    }

    /// Extenders choose.
    #[must_use]
    pub fn propose(proposal: Proposal) -> Self {
        Self { proposal: Some(proposal), ..Status::success().into() }
    }
}

impl From<Status> for PostFilterResult {
    fn from(status: Status) -> Self {
        Self { status, nominated_node: None, effect: None, victims: Vec::new(), proposal: None }
    }
}

impl Debug for PostFilterResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostFilterResult")
            .field("status", &self.status)
            .field("nominated_node", &self.nominated_node)
            .finish_non_exhaustive()
    }
}

/// Is asked when no node passed the filters; preemption is one.
///
/// **Contract**: pure: what has to be done is returned as an effect.
pub trait PostFilterPlugin: Debug + Send + Sync + 'static {
    /// Whether room can be made. `filters` are those of the profile, to ask what they would say of
    /// nodes that were changed.
    fn post_filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &Diagnosis,
        filters: &Filters<'_>,
    ) -> PostFilterResult;
}

/// Looks at a pod and its feasible nodes once, before they are scored.
///
/// **Contract**: pure but for the state it writes; Skip leaves the plugin's Score out.
pub trait PreScorePlugin: Debug + Send + Sync + 'static {
    /// Prepares what Score needs.
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &Feasible<'_>,
    ) -> Status;
}

/// Ranks the feasible nodes.
///
/// **Contract**: pure; after normalization each score is from [`MIN_NODE_SCORE`] to
/// [`MAX_NODE_SCORE`]; both forms answer alike.
pub trait ScorePlugin: Debug + Send + Sync + 'static {
    /// A node's score.
    ///
    /// # Errors
    /// A status that ends the pod's cycle.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<i64, Status>;
    /// The scores of all feasible nodes at once, in their order.
    ///
    /// # Errors
    /// A status that ends the pod's cycle.
    fn score_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        feasible.iter().map(|at| self.score(state, pod, nodes.node(*at))).collect()
    }
    /// Brings the scores into range, where they are not yet.
    fn normalize(&self, _state: &CycleState, _pod: &PodInfo, _scores: &mut [i64]) -> Status {
        Status::success()
    }
    /// Some if a node's score, before it is normalized, depends on the pod's
    /// [signature](crate::snapshot::PodTemplate::signature) and that node alone; and what
    /// `normalize` does. Then scores are kept for the next pods of the signature, and only nodes
    /// that changed are asked again.
    fn keeps(&self) -> Option<Normalization> {
        None
    }
    /// Its classes of nodes, if its scores depend on other nodes and it does not
    /// [`keep`](Self::keeps) them.
    fn classes(&self) -> Option<&dyn ScoreClasses> {
        None
    }
    /// The lowest and the highest score that a node of a group may have, before they are
    /// normalized; `None` if that cannot be told. They are the same for a group [in one
    /// state](NodeGroup::is_one_state), and, if scores are normalized, for all of a shape. It is
    /// asked only if [`keeps`](Self::keeps) is some.
    fn score_group(
        &self,
        _state: &CycleState,
        _pod: &PodInfo,
        _group: &NodeGroup<'_>,
    ) -> Option<(i64, i64)> {
        None
    }
}

/// Keeps something for a pod on the node that was chosen.
///
/// **Contract**: `unreserve` is idempotent, also without a `reserve` before it, and cannot fail;
/// it is called in reverse order for every Reserve plugin if anything later fails.
pub trait ReservePlugin: Debug + Send + Sync + 'static {
    /// Takes what the pod needs.
    fn reserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) -> Status;
    /// Gives it back.
    fn unreserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str);
}

/// What a Permit plugin decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Go on.
    Allow,
    /// Wait for [`WaitingPods::allow`](super::WaitingPods::allow), at most so long (and at most
    /// [`MAX_PERMIT_WAIT`]).
    Wait(Duration),
    /// The pod is not to be bound.
    Reject(Status),
}

/// Holds a pod back between choosing its node and binding it.
///
/// **Contract**: dropping the future decides nothing.
#[async_trait]
pub trait PermitPlugin: Debug + Send + Sync + 'static {
    /// Whether the pod may be bound now.
    async fn permit(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Permit;
}

/// Prepares the world for a pod on its node.
///
/// **Contract**: can be repeated: a pod whose binding fails comes again.
#[async_trait]
pub trait PreBindPlugin: Debug + Send + Sync + 'static {
    /// Prepares.
    async fn pre_bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Status;
}

/// Binds a pod to its node. Of several in a profile the first that does not skip the pod binds it,
/// and the others are not asked.
///
/// **Contract**: Skip lets the next plugin bind; success means that the API server has stored it.
#[async_trait]
pub trait BindPlugin: Debug + Send + Sync + 'static {
    /// Binds.
    async fn bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Status;
    /// Whether it never skips a pod. A profile with a bind plugin behind such a one is refused:
    /// it would never be asked.
    fn binds_every_pod(&self) -> bool {
        false
    }
}

/// Is told of pods that were bound.
pub trait PostBindPlugin: Debug + Send + Sync + 'static {
    /// The pod is bound.
    fn post_bind(&self, state: &CycleState, pod: &PodInfo, node: &str);
}

/// Says which events may help a pod that this plugin turned away.
///
/// **Contract**: sound: an event it declares useless never would have helped. A plugin without
/// it hears everything.
pub trait EnqueueExtensions: Debug + Send + Sync + 'static {
    /// The events.
    fn events_to_register(&self) -> Vec<EventRegistration>;
}
