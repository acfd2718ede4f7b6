//! What a cycle comes to.

use std::sync::Arc;

use crate::framework::{CycleState, Diagnosis, Effect, Proposal, Status};
use crate::snapshot::PodInfo;

/// A node was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The node.
    pub node: Arc<str>,
    /// Where it is in the snapshot.
    pub position: u32,
    /// What the plugins noted.
    pub state: CycleState,
    /// How many nodes could have taken the pod.
    pub feasible: usize,
    /// The weighted sum of the node's scores; zero if there was no choice.
    pub score: i64,
}

/// No node was found.
#[non_exhaustive]
pub struct Unplaced {
    /// What was said of the nodes.
    pub diagnosis: Diagnosis,
    /// A rejection if the pod does not fit, or the error that ended the cycle.
    pub status: Status,
    /// The node that is to be kept for the pod.
    pub nominated: Option<String>,
    /// What has to be done for that.
    pub effect: Option<Effect>,
    /// The pods that this makes leave, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// What extenders have to be asked first.
    pub(in crate::scheduler) proposal: Option<Proposal>,
}

impl std::fmt::Debug for Unplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unplaced")
            .field("status", &self.status)
            .field("diagnosis", &self.diagnosis)
            .finish_non_exhaustive()
    }
}

impl Unplaced {
    /// What the pod's owner is told.
    #[must_use]
    pub fn message(&self) -> String {
        if self.status.is_rejected() { self.diagnosis.message() } else { self.status.message() }
    }

    pub(in crate::scheduler) fn error(status: Status) -> Box<Self> {
        let diagnosis = Diagnosis::default();
        let (nominated, effect, victims, proposal) = (None, None, Vec::new(), None);
        Box::new(Self { diagnosis, status, nominated, effect, victims, proposal })
    }
}
