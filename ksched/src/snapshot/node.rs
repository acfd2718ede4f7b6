//! A node, with what runs on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use super::template::NO_LABELS;
use super::{HostPort, PodInfo, Pods, Resources, declared_features};

/// A node, the pods on it, and their sums.
#[derive(Clone)]
pub struct NodeInfo {
    name: Arc<str>,
    node: Arc<Node>,
    pods: Pods,
    /// Those of them that have terms of affinity.
    affine: Pods,
    requested: Resources,
    scoring: (i64, i64),
    /// How many volumes its pods have that may be attached to it.
    volumes: i64,
    allocatable: Resources,
    /// None while its pods take none, as those of most nodes.
    ports: Option<Arc<Vec<HostPort>>>,
    generation: u64,
}

impl NodeInfo {
    /// A node without pods.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            name: node.metadata.name.as_deref().unwrap_or_default().into(),
            allocatable: allocatable(&node),
            node,
            pods: Pods::default(),
            affine: Pods::default(),
            requested: Resources::default(),
            scoring: (0, 0),
            volumes: 0,
            ports: None,
            generation: 0,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The pods on it, those that are only assumed to be included.
    #[must_use]
    pub fn pods(&self) -> &Pods {
        &self.pods
    }

    /// Those of its pods that have terms of affinity to or from others.
    #[must_use]
    pub fn pods_with_affinity(&self) -> &Pods {
        &self.affine
    }

    /// What its pods ask for; `pods` is not counted here.
    #[must_use]
    pub fn requested(&self) -> &Resources {
        &self.requested
    }

    /// CPU in thousandths and memory in bytes its pods count with when nodes are scored.
    #[must_use]
    pub fn scoring_requested(&self) -> (i64, i64) {
        self.scoring
    }

    /// How many volumes its pods have that may be attached to it: those of claims, and those of
    /// drivers that CSI drivers have taken the place of. One that several have counts as often.
    #[must_use]
    pub fn volume_count(&self) -> usize {
        usize::try_from(self.volumes).unwrap_or_default()
    }

    /// What it has for pods.
    #[must_use]
    pub fn allocatable(&self) -> &Resources {
        &self.allocatable
    }

    /// How much of a resource is left: CPU in thousandths, the others in units.
    #[must_use]
    pub fn free(&self, resource: &str) -> i64 {
        self.allocatable.get(resource).saturating_sub(self.requested.get(resource))
    }

    /// The host ports its pods take.
    #[must_use]
    pub fn used_ports(&self) -> &[HostPort] {
        self.ports.as_ref().map_or(&[], |ports| ports.as_slice())
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        self.node.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(String::as_str)
    }

    /// Its taints.
    #[must_use]
    pub fn taints(&self) -> &[Taint] {
        let spec = self.node.spec.as_ref();
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Whether it is cordoned.
    #[must_use]
    pub fn unschedulable(&self) -> bool {
        self.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
    }

    /// The features it declares; none where the API is that of Kubernetes 1.34 or before.
    /// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features/>
    #[must_use]
    pub fn declared_features(&self) -> &[String] {
        declared_features(&self.node)
    }

    /// The size in bytes of an image it has.
    #[must_use]
    pub fn image_bytes(&self, image: &str) -> Option<i64> {
        let images = self.node.status.as_ref().and_then(|status| status.images.as_ref());
        let has = |names: &Option<Vec<String>>| names.iter().flatten().any(|name| name == image);
        images.into_iter().flatten().find(|found| has(&found.names))?.size_bytes
    }

    /// Whether another node is of the same shape, as those of a
    /// [group](crate::snapshot::NodeGroup) are.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        // Since when a taint is there makes no difference.
        fn taint(taint: &Taint) -> (&str, Option<&str>, &str) {
            (&taint.key, taint.value.as_deref(), &taint.effect)
        }
        let extended = || self.requested.extended() == other.requested.extended();
        self.allocatable == other.allocatable
            && self.unschedulable() == other.unschedulable()
            && self.taints().iter().map(taint).eq(other.taints().iter().map(taint))
            && (self.requested.scalar == other.requested.scalar || extended())
    }

    /// Grows with every change of the node in its cache.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same node with one more pod, as simulations need it.
    #[must_use]
    pub fn with_pod(&self, pod: Arc<PodInfo>) -> Self {
        let mut this = self.clone();
        this.add_pod(pod);
        this
    }

    /// Puts a pod on this copy of the node.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.count(&pod, 1);
        if !pod.host_ports().is_empty() {
            let ports = self.ports.get_or_insert_default();
            Arc::make_mut(ports).extend_from_slice(pod.host_ports());
        }
        if !pod.affinities().is_empty() {
            self.affine.push(Arc::clone(&pod));
        }
        self.pods.push(pod);
    }

    /// Takes a pod off this copy of the node; `None` if it is not there.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        if !pod.affinities().is_empty() {
            self.affine.remove(uid);
        }
        self.count(&pod, -1);
        for port in pod.host_ports() {
            let Some(ports) = &mut self.ports else { break };
            if let Some(at) = ports.iter().position(|used| used == port) {
                Arc::make_mut(ports).swap_remove(at);
            }
        }
        Some(pod)
    }

    /// Puts a newer state of a pod in the place of the one before, where both count alike.
    pub(crate) fn replace_pod(&mut self, pod: &Arc<PodInfo>) {
        self.pods.replace(pod);
        if !pod.affinities().is_empty() {
            self.affine.replace(pod);
        }
    }

    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = allocatable(&node);
        self.node = node;
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    fn count(&mut self, pod: &PodInfo, sign: i64) {
        self.requested.add(pod.requests(), sign);
        let (cpu, memory) = pod.scoring_requests();
        self.scoring.0 += sign * cpu;
        self.scoring.1 += sign * memory;
        let volumes = i64::try_from(pod.attached_volumes().len()).unwrap_or(i64::MAX);
        self.volumes += sign * volumes;
    }
}

impl fmt::Debug for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeInfo")
            .field("name", &self.name)
            .field("pods", &self.pods.len())
            .finish_non_exhaustive()
    }
}

fn allocatable(node: &Node) -> Resources {
    let status = node.status.as_ref();
    Resources::from_list(status.and_then(|status| status.allocatable.as_ref()))
}
