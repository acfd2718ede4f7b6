//! A profile's filters, asked about nodes that were changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::runtime::Failed;
use super::{Framework, Status};
use crate::framework::CycleState;
use crate::queue::Kept;
use crate::snapshot::{NodeInfo, PodInfo};

/// What a PostFilter plugin asks: would the pod fit, if that node were otherwise?
///
/// Work on copies of the cycle's state and of the node: change the node with
/// [`NodeInfo::add_pod`] and [`NodeInfo::remove_pod`], and let the state follow with
/// [`pod_added`](Self::pod_added) and [`pod_removed`](Self::pod_removed).
#[derive(Debug, Clone, Copy)]
pub struct Filters<'a> {
    framework: &'a Framework,
    pod: &'a PodInfo,
    skipped: &'a BTreeSet<Arc<str>>,
    kept: &'a Kept,
}

/// What a simulation has done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Added,
    Removed,
}

impl<'a> Filters<'a> {
    pub(crate) fn new(
        framework: &'a Framework,
        pod: &'a PodInfo,
        skipped: &'a BTreeSet<Arc<str>>,
        kept: &'a Kept,
    ) -> Self {
        Self { framework, pod, skipped, kept }
    }

    /// The nodes that are kept for pods, to ask what has changed of them.
    #[must_use]
    pub fn kept(&self) -> &'a Kept {
        self.kept
    }

    /// Whether extenders choose among the nodes on which room can be made: then a plugin that
    /// makes some returns a [`Proposal`](super::Proposal).
    #[must_use]
    pub fn extenders_choose(&self) -> bool {
        self.framework.extenders.preempt(self.pod)
    }

    /// The nodes that are kept for others of at least the pod's priority, in their order.
    pub fn kept_positions(&self) -> impl Iterator<Item = u32> {
        self.kept.positions(self.pod)
    }

    /// The pods of at least the pod's own priority that the node at a position is kept for.
    #[must_use]
    pub fn kept_at(&self, at: u32) -> Vec<Arc<PodInfo>> {
        self.kept.at(at, self.pod)
    }

    /// Every other pod that the node at a position is kept for.
    #[must_use]
    pub fn all_kept_at(&self, at: u32) -> &'a [Arc<PodInfo>] {
        self.kept.all_at(at)
    }

    /// Whether what the filters say of a node depends on the pod's signature, that node, and the
    /// pods it is kept for, alone: then it can be remembered until the node changes.
    #[must_use]
    pub fn are_kept(&self) -> bool {
        let filters = self.framework.points.filter.iter();
        let mut active = filters.filter(|plugged| !self.skipped.contains(&plugged.name));
        active.all(|plugged| plugged.plugin.keeps())
    }

    /// Whether the pod fits on a node, as it is given; asked with the pods it is kept for, and
    /// without them.
    #[must_use]
    pub fn fits(&self, state: &CycleState, node: &NodeInfo, kept: &[Arc<PodInfo>]) -> Status {
        if !kept.is_empty()
            && let Err((_, status)) = self.with(state, node, kept)
        {
            return status;
        }
        self.run(state, node).err().map(|(_, status)| status).unwrap_or_default()
    }

    /// Whether the pod fits beside those that the node is kept for; or who turns it away.
    pub(crate) fn with(
        &self,
        state: &CycleState,
        node: &NodeInfo,
        kept: &[Arc<PodInfo>],
    ) -> Result<(), Failed> {
        let (mut state, mut node) = (state.clone(), node.clone());
        for other in kept {
            node.add_pod(Arc::clone(other));
            self.follow(&mut state, other, &node, Moved::Added)?;
        }
        self.run(&state, &node)
    }

    fn run(&self, state: &CycleState, node: &NodeInfo) -> Result<(), Failed> {
        for plugged in &self.framework.points.filter {
            if self.skipped.contains(&plugged.name) {
                continue;
            }
            let call = || Ok(plugged.plugin.filter(state, self.pod, node));
            let status = self.framework.guard(&plugged.name, self.pod, call);
            let status = status.unwrap_or_else(|status| status);
            if !status.is_success() {
                return Err((Arc::clone(&plugged.name), status));
            }
        }
        Ok(())
    }

    /// `added` was put on the node.
    #[must_use]
    pub fn pod_added(&self, state: &mut CycleState, added: &PodInfo, node: &NodeInfo) -> Status {
        self.follow(state, added, node, Moved::Added)
            .err()
            .map(|(_, status)| status)
            .unwrap_or_default()
    }

    /// `removed` was taken off the node.
    #[must_use]
    pub fn pod_removed(
        &self,
        state: &mut CycleState,
        removed: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        let followed = self.follow(state, removed, node, Moved::Removed);
        followed.err().map(|(_, status)| status).unwrap_or_default()
    }

    fn follow(
        &self,
        state: &mut CycleState,
        other: &PodInfo,
        node: &NodeInfo,
        moved: Moved,
    ) -> Result<(), Failed> {
        for plugged in &self.framework.points.pre_filter {
            let Some(extensions) = plugged.plugin.extensions() else { continue };
            if self.skipped.contains(&plugged.name) {
                continue;
            }
            let call = || {
                Ok(match moved {
                    Moved::Added => extensions.add_pod(state, self.pod, other, node),
                    Moved::Removed => extensions.remove_pod(state, self.pod, other, node),
                })
            };
            let status = self.framework.guard(&plugged.name, self.pod, call);
            let status = status.unwrap_or_else(|status| status);
            if !status.is_success() {
                return Err((Arc::clone(&plugged.name), status));
            }
        }
        Ok(())
    }
}
