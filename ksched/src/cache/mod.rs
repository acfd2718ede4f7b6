//! What the scheduler knows of nodes and of the pods on them, assumptions included.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kcore::collections::HashMap;

use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// Nodes and the pods on them: as the API server told, plus the pods that were assumed to be on
/// the node that was chosen for them. An assumption ends when the server confirms it or when it
/// is forgotten, never by time (C11).
///
/// Changes are remembered by node, so a snapshot is brought up to date at the cost of what
/// changed.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: Vec<Entry>,
    positions: HashMap<Arc<str>, usize>,
    /// Where each pod is, by uid.
    pods: HashMap<Arc<str>, Placed>,
    dirty: Vec<usize>,
    /// Nodes with pods in a newer state that counts alike.
    refreshed: Vec<usize>,
    /// Nodes came or went: positions have changed.
    reordered: bool,
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    info: Arc<NodeInfo>,
    /// Whether the node itself is known, or only pods on it.
    known: bool,
    dirty: bool,
}

#[derive(Debug)]
struct Placed {
    node: Arc<str>,
    pod: Arc<PodInfo>,
    standing: Standing,
}

/// Who says that a pod is on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The scheduler, which has chosen it.
    Assumed,
    /// The API server.
    Confirmed,
}

impl Cache {
    /// A node is new or has changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let at = self.entry(&name);
        let entry = &mut self.nodes[at];
        self.reordered |= !entry.known;
        entry.known = true;
        Arc::make_mut(&mut entry.info).set_node(node);
        self.touch(at);
    }

    /// A node is gone. What is on it stays known until its pods go.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(at) = self.positions.get(name).copied() {
            self.nodes[at].known = false;
            self.reordered = true;
            self.drop_if_empty(at);
        }
    }

    /// The server says that a pod is on its node. An assumption of it is confirmed.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>) {
        if !self.refresh(&pod) {
            drop(self.remove_pod(pod.uid()));
            let node = pod.node_name().to_owned();
            self.place_on(pod, &node, Standing::Confirmed);
        }
    }

    /// Confirms or renews a pod that counts as it did before. Nothing that is computed of its
    /// node is out of date then, so most of what a server tells costs no more than this; and what
    /// was known of the pod before is let go.
    fn refresh(&mut self, pod: &Arc<PodInfo>) -> bool {
        let Some(placed) = self.pods.get_mut(pod.uid()) else { return false };
        let known = &placed.pod;
        let alike = &*placed.node == pod.node_name()
            && Arc::ptr_eq(known.template(), pod.template())
            && known.is_terminating() == pod.is_terminating();
        if !alike {
            return false;
        }
        placed.standing = Standing::Confirmed;
        placed.pod = Arc::clone(pod);
        if let Some(at) = self.positions.get(&placed.node).copied() {
            Arc::make_mut(&mut self.nodes[at].info).replace_pod(pod);
            self.refreshed.push(at);
        }
        true
    }

    /// A pod is gone, whether it was assumed or not. Returns it if it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(uid)?;
        if let Some(at) = self.positions.get(&placed.node).copied() {
            Arc::make_mut(&mut self.nodes[at].info).remove_pod(uid);
            self.touch(at);
            self.drop_if_empty(at);
        }
        Some(placed.pod)
    }

    /// A pod that the server says is on a node.
    #[must_use]
    pub fn confirmed(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        let placed = self.pods.get(uid)?;
        (placed.standing == Standing::Confirmed).then_some(&placed.pod)
    }

    /// A node was chosen for a pod: from now on the pod counts there. False, and nothing
    /// changes, if the pod is on a node already.
    #[must_use]
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str) -> bool {
        if self.pods.contains_key(pod.uid()) {
            return false;
        }
        self.place_on(Arc::clone(pod), node, Standing::Assumed);
        true
    }

    /// The assumption was wrong. What the server has confirmed stays.
    pub fn forget(&mut self, uid: &str) {
        if self.is_assumed(uid) {
            drop(self.remove_pod(uid));
        }
    }

    /// Whether a pod is assumed and not yet confirmed.
    #[must_use]
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.standing == Standing::Assumed)
    }

    /// How many pods are on nodes.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Brings a snapshot of this cache up to date.
    pub fn update(&mut self, snapshot: &mut Snapshot) {
        if std::mem::take(&mut self.reordered) {
            self.compact();
            snapshot.rebuild(self.known().cloned());
        } else {
            for at in &self.refreshed {
                let Some(entry) = self.nodes.get(*at).filter(|e| e.known && !e.dirty) else {
                    continue;
                };
                if let Some(position) = snapshot.position(entry.info.name()) {
                    snapshot.replace_quietly(position as usize, Arc::clone(&entry.info));
                }
            }
            for at in &self.dirty {
                let Some(entry) = self.nodes.get_mut(*at) else { continue };
                entry.dirty = false;
                if entry.known {
                    let position = snapshot.position(entry.info.name());
                    if let Some(position) = position {
                        snapshot.replace(position as usize, Arc::clone(&entry.info));
                    }
                }
            }
        }
        self.dirty.clear();
        self.refreshed.clear();
    }

    fn known(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.nodes.iter().filter(|entry| entry.known).map(|entry| &entry.info)
    }

    /// Takes out what is neither a known node nor holds pods.
    fn compact(&mut self) {
        self.nodes.retain(|entry| entry.known || !entry.info.pods().is_empty());
        self.dirty.clear();
        self.positions.clear();
        for (at, entry) in self.nodes.iter_mut().enumerate() {
            entry.dirty = false;
            self.positions.insert(entry.info.name().into(), at);
        }
    }

    fn place_on(&mut self, pod: Arc<PodInfo>, node: &str, standing: Standing) {
        let at = self.entry(node);
        let node = self.nodes[at].info.shared_name();
        let placed = Placed { node, pod: Arc::clone(&pod), standing };
        self.pods.insert(Arc::clone(pod.shared_uid()), placed);
        Arc::make_mut(&mut self.nodes[at].info).add_pod(pod);
        self.touch(at);
    }

    fn entry(&mut self, name: &str) -> usize {
        if let Some(at) = self.positions.get(name) {
            return *at;
        }
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        let info = Arc::new(NodeInfo::new(Arc::new(node)));
        self.nodes.push(Entry { info, known: false, dirty: false });
        self.positions.insert(name.into(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn touch(&mut self, at: usize) {
        self.generation += 1;
        let entry = &mut self.nodes[at];
        Arc::make_mut(&mut entry.info).set_generation(self.generation);
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(at);
        }
    }

    fn drop_if_empty(&mut self, at: usize) {
        let entry = &self.nodes[at];
        // Its position is given up when the next snapshot is taken.
        self.reordered |= !entry.known && entry.info.pods().is_empty();
    }
}
