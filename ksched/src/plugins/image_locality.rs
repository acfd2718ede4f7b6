//! ImageLocality: nodes that have a pod's images already.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kcore::collections::HashMap;
use parking_lot::Mutex;

use crate::framework::{
    CycleState, ExtensionPoints, Feasible, MAX_NODE_SCORE, PreScorePlugin, SchedulerPlugin,
    ScorePlugin, Status,
};
use crate::snapshot::{Mark, NodeInfo, PodInfo, Snapshot};

/// Images below this size in bytes are quick to pull anywhere.
const MIN_BYTES: i64 = 23 * 1024 * 1024;
/// What an image counts at most, in bytes.
const MAX_BYTES: i64 = 1000 * 1024 * 1024;

/// Prefers nodes that have the images of the pod's containers and volumes; an image that is on few
/// nodes counts less, so that pods do not heap up where one happened to be pulled first.
/// <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>
#[derive(Debug, Default)]
pub struct ImageLocality {
    index: Mutex<Index>,
}

/// How many nodes have which image.
#[derive(Debug, Default)]
struct Index {
    mark: Option<Mark>,
    nodes: Vec<Arc<Node>>,
    counts: HashMap<String, u32>,
}

impl Index {
    fn follow(&mut self, nodes: &Snapshot) {
        let changes = self.mark.as_ref().and_then(|mark| nodes.changes(mark));
        match changes {
            Some(changes) => {
                for at in changes {
                    let node = nodes.node(at).node();
                    if !Arc::ptr_eq(node, &self.nodes[at as usize]) {
                        let before = std::mem::replace(&mut self.nodes[at as usize], node.clone());
                        self.count(&before, -1);
                        self.count(node, 1);
                    }
                }
            }
            None => {
                *self = Self::default();
                for node in nodes.nodes() {
                    self.nodes.push(Arc::clone(node.node()));
                    self.count(node.node(), 1);
                }
            }
        }
        self.mark = Some(nodes.mark());
    }

    fn count(&mut self, node: &Node, adds: i32) {
        let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
        for name in images.flat_map(|image| image.names.iter().flatten()) {
            let count = self.counts.entry(name.clone()).or_default();
            *count = count.saturating_add_signed(adds);
            if *count == 0 {
                self.counts.remove(name);
            }
        }
    }
}

/// The pod's images that any node has, each with the part of the nodes that have it.
#[derive(Debug, Clone)]
struct Wanted {
    images: Vec<(String, f64)>,
    /// How many the pod has in all.
    count: i64,
}

/// An image as nodes name it: with a tag.
fn normalized(image: &str) -> String {
    let tagged = image.rfind(':').is_some_and(|colon| Some(colon) > image.rfind('/'));
    if tagged { image.to_owned() } else { format!("{image}:latest") }
}

impl SchedulerPlugin for ImageLocality {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_score(self.clone());
        points.score(self);
    }
}

impl PreScorePlugin for ImageLocality {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        let mut index = self.index.lock();
        index.follow(nodes);
        // Where no node has any image every node would score nothing.
        if index.counts.is_empty() {
            return Status::skip();
        }
        let spec = pod.spec();
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let containers = containers.map(|container| container.image.as_deref());
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref());
        let all = containers.chain(volumes.map(|image| image.reference.as_deref()));
        let count = i64::try_from(all.clone().count()).unwrap_or(i64::MAX);
        let named = all.flatten();
        #[allow(clippy::cast_precision_loss, reason = "nodes are far fewer")]
        let total = nodes.len() as f64;
        let images: Vec<(String, f64)> = named
            .filter_map(|image| {
                let image = normalized(image);
                let count = index.counts.get(&image)?;
                Some((image, f64::from(*count) / total))
            })
            .collect();
        if images.is_empty() {
            return Status::skip();
        }
        state.write_for_choice(Wanted { images, count });
        Status::success()
    }
}

impl ScorePlugin for ImageLocality {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        let Some(Wanted { images, count }) = state.read() else { return Ok(0) };
        let sizes = images.iter().filter_map(|(image, part)| {
            let bytes = node.image_bytes(image)?;
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            Some((bytes as f64 * part) as i64)
        });
        let most = MAX_BYTES.saturating_mul(*count);
        let sum = sizes.sum::<i64>().clamp(MIN_BYTES, most);
        Ok(MAX_NODE_SCORE * (sum - MIN_BYTES) / (most - MIN_BYTES))
    }
}
