//! Seeded clusters and what happens to them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::random::Random;
use ksched::cache::Cache;
use ksched::snapshot::{PodInfo, Snapshot, Templates};
use ksched::testing::{PodBuilder, draw_node, draw_pod};

use crate::naive::Namespaces;

/// Shapes of pods and states of nodes that are drawn before the steps begin.
const SHAPES: usize = 60;
/// Pods that are there at most.
const PODS: usize = 24;

/// A cluster that changes step by step.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) cache: Cache,
    pub(crate) snapshot: Snapshot,
    pub(crate) templates: Templates,
    pub(crate) namespaces: Namespaces,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    running: Vec<String>,
    uids: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_pods(seed, draw_pod)
    }

    /// The same with pods that `draw` makes.
    pub(crate) fn with_pods(seed: u64, draw: impl Fn(&Random) -> PodBuilder) -> Self {
        let random = Random::seeded(seed);
        let nodes = (0..SHAPES).map(|_| draw_node(&random).build()).collect();
        let pods = (0..SHAPES).map(|_| draw(&random).build()).collect();
        let labels = |team: &str| [("team".to_owned(), team.to_owned())].into();
        let namespaces =
            [("a".to_owned(), labels("x")), ("b".to_owned(), labels("y"))].into_iter().collect();
        Self {
            random,
            cache: Cache::default(),
            snapshot: Snapshot::default(),
            templates: Templates::default(),
            namespaces,
            nodes,
            pods,
            running: Vec::new(),
            uids: 0,
        }
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    /// Something happens: a node comes, changes or goes; a pod goes.
    pub(crate) fn happen(&mut self) {
        match self.random.below(8) {
            0..3 => {
                let node = Arc::clone(&self.nodes[self.below(SHAPES)]);
                self.cache.set_node(node);
            }
            3 if self.random.chance(0.3) => {
                let name = format!("n{}", self.random.below(ksched::testing::DRAWN_NODES));
                self.cache.remove_node(&name);
            }
            _ if !self.running.is_empty() => {
                let at = self.below(self.running.len());
                let uid = self.running.swap_remove(at);
                self.cache.remove_pod(&uid);
            }
            _ => {}
        }
        while self.running.len() > PODS {
            let uid = self.running.remove(0);
            self.cache.remove_pod(&uid);
        }
        self.cache.update(&mut self.snapshot);
    }

    /// A pod to place, of one of the shapes.
    pub(crate) fn pod(&mut self) -> Arc<PodInfo> {
        let shape = Arc::clone(&self.pods[self.below(SHAPES)]);
        self.uids += 1;
        Arc::new(self.templates.read(shape).replica(&format!("uid-{}", self.uids)))
    }

    /// The pod is on that node now.
    pub(crate) fn place(&mut self, pod: &Arc<PodInfo>, node: &str) {
        assert!(self.cache.assume(pod, node), "{node}");
        self.running.push(pod.uid().to_owned());
        self.cache.update(&mut self.snapshot);
    }
}
