//! Volumes that are attached to nodes, whoever needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::storage::v1::VolumeAttachment;
use kcore::collections::HashMap;
use kcore::informer::{Index, Lister, Registration};
use parking_lot::Mutex;

use super::Volume;
use crate::framework::Handle;
use crate::plugins::volumes::{Storage, volume_spec};

/// How many volumes are attached to which node.
#[derive(Debug, Default)]
struct Counts {
    by_node: HashMap<String, usize>,
    /// How many nodes have so many.
    nodes: BTreeMap<usize, usize>,
}

impl Counts {
    fn moved(&mut self, from: usize, to: usize) {
        if let Some(nodes) = self.nodes.get_mut(&from) {
            *nodes -= 1;
            if *nodes == 0 {
                self.nodes.remove(&from);
            }
        }
        if to > 0 {
            *self.nodes.entry(to).or_default() += 1;
        }
    }

    fn add(&mut self, node: &str) {
        let count = self.by_node.entry(node.to_owned()).or_default();
        *count += 1;
        let to = *count;
        self.moved(to - 1, to);
    }

    fn remove(&mut self, node: &str) {
        let Some(count) = self.by_node.get_mut(node) else { return };
        *count -= 1;
        let to = *count;
        if to == 0 {
            self.by_node.remove(node);
        }
        self.moved(to + 1, to);
    }
}

/// The VolumeAttachments of each node.
/// <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1/>
pub(super) struct Attachments {
    lister: Lister<VolumeAttachment>,
    by_node: Index,
    counts: Arc<Mutex<Counts>>,
    _registration: Registration,
}

impl Attachments {
    pub(super) fn new(handle: &Handle) -> Self {
        let informer = handle.informers().of::<VolumeAttachment>();
        let by_node = informer.add_index("spec.nodeName", |attachment: &VolumeAttachment| {
            vec![attachment.spec.node_name.clone()]
        });
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let follow = Arc::clone(&counts);
        // An attachment's node never changes.
        let _registration = informer.on_change(move |change| {
            let node = &change.latest().spec.node_name;
            match (change.before(), change.after()) {
                (None, Some(_)) => follow.lock().add(node),
                (Some(_), None) => follow.lock().remove(node),
                _ => {}
            }
        });
        Self { lister: informer.lister(), by_node, counts, _registration }
    }

    /// The most that any node has.
    pub(super) fn most(&self) -> usize {
        self.counts.lock().nodes.last_key_value().map_or(0, |(count, _)| *count)
    }

    /// How many a node has.
    pub(super) fn count(&self, node: &str) -> usize {
        self.counts.lock().by_node.get(node).copied().unwrap_or_default()
    }

    /// The volumes that are attached to a node, by driver.
    pub(super) fn of(&self, node: &str, storage: &Storage) -> BTreeMap<String, BTreeSet<Volume>> {
        let mut all: BTreeMap<String, BTreeSet<Volume>> = BTreeMap::new();
        for attachment in self.lister.by_index(self.by_node, node) {
            let spec = &attachment.spec;
            let name = spec.source.persistent_volume_name.as_deref();
            let volume = name.and_then(|name| storage.volumes.get("", name));
            let Some(csi) = volume.and_then(|volume| volume_spec(&volume).csi) else { continue };
            if !spec.attacher.is_empty() {
                let volume = Volume::Handle(csi.volume_handle);
                all.entry(spec.attacher.clone()).or_default().insert(volume);
            }
        }
        all
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachments").field("most", &self.most()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn the_most_follows_what_comes_and_goes() {
        let mut counts = Counts::default();
        let most = |counts: &Counts| counts.nodes.last_key_value().map(|(count, _)| *count);
        for (node, expected) in [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("b", 3)] {
            counts.add(node);
            assert_eq!(most(&counts), Some(expected), "{node}");
        }
        for (node, expected) in [("b", Some(2)), ("a", Some(2)), ("b", Some(1)), ("b", Some(1))] {
            counts.remove(node);
            assert_eq!(most(&counts), expected, "{node}");
        }
        counts.remove("a");
        counts.remove("a");
        assert_eq!(most(&counts), None);
        assert!(counts.by_node.is_empty());
    }
}
