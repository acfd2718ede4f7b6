//! Which nodes are kept for pods that are not on them yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use kcore::collections::HashMap;

use crate::snapshot::PodInfo;

/// The pods that nodes are kept for, by node.
#[derive(Debug, Default)]
pub struct Nominator {
    by_node: BTreeMap<String, Vec<Arc<PodInfo>>>,
    by_pod: HashMap<Arc<str>, String>,
}

impl Nominator {
    /// `node` is kept for a pod; none if it is empty.
    pub fn set(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove(pod.uid());
        if !node.is_empty() {
            self.by_pod.insert(Arc::clone(pod.shared_uid()), node.to_owned());
            self.by_node.entry(node.to_owned()).or_default().push(Arc::clone(pod));
        }
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
    }

    /// Every node that is kept for pods, with those pods.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &[Arc<PodInfo>])> {
        self.by_node.iter().map(|(node, pods)| (node.as_str(), pods.as_slice()))
    }
}
