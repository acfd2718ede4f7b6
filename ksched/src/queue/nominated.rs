//! Which nodes are kept for pods that are not on them yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kcore::collections::HashMap;

use crate::snapshot::{Log, Mark, PodInfo, Snapshot};

/// The pods that nodes are kept for, by node.
#[derive(Debug, Default)]
pub struct Nominator {
    by_node: BTreeMap<Arc<str>, Vec<Arc<PodInfo>>>,
    by_pod: HashMap<Arc<str>, Arc<str>>,
    /// Nodes whose pods changed since they were last copied.
    changed: BTreeSet<Arc<str>>,
}

impl Nominator {
    /// `node` is kept for a pod; none if it is empty.
    pub fn set(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove(pod.uid());
        if !node.is_empty() {
            let node: Arc<str> = node.into();
            self.by_pod.insert(Arc::clone(pod.shared_uid()), Arc::clone(&node));
            self.by_node.entry(Arc::clone(&node)).or_default().push(Arc::clone(pod));
            self.changed.insert(node);
        }
    }

    /// The node that is kept for a pod, if one is.
    #[must_use]
    pub fn node_of(&self, uid: &str) -> Option<&Arc<str>> {
        self.by_pod.get(uid)
    }

    /// No node is kept for a pod any more.
    pub fn remove(&mut self, uid: &str) {
        let Some(node) = self.by_pod.remove(uid) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|pod| pod.uid() != uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
        self.changed.insert(node);
    }

    /// Every node that is kept for pods, with those pods.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &[Arc<PodInfo>])> {
        self.by_node.iter().map(|(node, pods)| (&**node, pods.as_slice()))
    }

    /// Brings a copy up to date, at the cost of what changed.
    pub fn copy_to(&mut self, kept: &mut Kept, nodes: &Snapshot) {
        let same = kept.mark.as_ref().is_some_and(|mark| nodes.changes(mark).is_some());
        kept.mark = Some(nodes.mark());
        let changed = std::mem::take(&mut self.changed);
        if !same {
            kept.pods.clear();
            kept.log.restart();
            for (node, pods) in &self.by_node {
                if let Some(at) = nodes.position(node) {
                    kept.pods.insert(at, pods.clone());
                }
            }
            return;
        }
        for node in changed {
            let Some(at) = nodes.position(&node) else { continue };
            match self.by_node.get(&node) {
                Some(pods) => drop(kept.pods.insert(at, pods.clone())),
                None => drop(kept.pods.remove(&at)),
            }
            kept.log.push(at);
        }
    }
}

/// The pods that nodes are kept for, by the nodes' positions in a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    pods: BTreeMap<u32, Vec<Arc<PodInfo>>>,
    mark: Option<Mark>,
    log: Log,
    /// The node that is kept for the pod to schedule.
    own: Option<u32>,
}

impl Kept {
    /// No node is kept for anybody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The node at a position is kept for these pods.
    pub fn keep(&mut self, at: u32, pods: Vec<Arc<PodInfo>>) {
        self.pods.insert(at, pods);
        self.log.push(at);
    }

    /// The node at a position is kept for nobody any more.
    pub fn release(&mut self, at: u32) {
        self.pods.remove(&at);
        self.log.push(at);
    }

    /// The state it is in, to ask for [`changes`](Self::changes) later.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// The positions of the nodes that are kept for other pods than at `mark`, some perhaps more
    /// than once; `None` if that is not known. Whose own the node of the pod to schedule is, is
    /// not counted among the changes.
    #[must_use]
    pub fn changes<'a>(&'a self, mark: &Mark) -> Option<impl Iterator<Item = u32> + use<'a>> {
        self.log.since(mark)
    }

    /// The node that is kept for the pod to schedule, if one is.
    #[must_use]
    pub fn own(&self) -> Option<u32> {
        self.own
    }

    /// This node is kept for the pod to schedule, or none is.
    pub fn set_own(&mut self, own: Option<u32>) {
        self.own = own;
    }

    /// Every node that is kept for others of at least a pod's priority.
    pub fn positions<'a>(&'a self, pod: &'a PodInfo) -> impl Iterator<Item = u32> + 'a {
        let for_others = self.pods.iter().filter(|(_, pods)| pods.iter().any(|o| is_ahead(o, pod)));
        for_others.map(|(at, _)| *at)
    }

    /// The others of at least a pod's priority that a node is kept for.
    #[must_use]
    pub fn at(&self, at: u32, pod: &PodInfo) -> Vec<Arc<PodInfo>> {
        let pods = self.pods.get(&at).into_iter().flatten();
        pods.filter(|other| is_ahead(other, pod)).cloned().collect()
    }

    /// Every other that a node is kept for.
    #[must_use]
    pub fn all_at(&self, at: u32) -> &[Arc<PodInfo>] {
        self.pods.get(&at).map_or(&[], Vec::as_slice)
    }

    /// Whether no node is kept for anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

fn is_ahead(other: &PodInfo, pod: &PodInfo) -> bool {
    other.priority() >= pod.priority() && other.uid() != pod.uid()
}
