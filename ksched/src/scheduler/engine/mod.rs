//! What is kept of one pod's cycle for the next pods of its signature.

mod entry;
mod groups;
mod members;

use kcore::collections::{HashMap, HashSet};

pub(super) use entry::{Asked, Entry};
pub(super) use groups::{Groups, Passed};

use crate::snapshot::Snapshot;

/// Signatures whose results are kept at once; the one not asked for longest goes first.
pub const MAX_SIGNATURES: usize = 256;
/// Nodes times signatures that are kept at once, which bounds the memory: some 40 bytes each.
pub const MAX_KEPT_RESULTS: usize = 20_000_000;

/// Results of filters and scores by signature and node, for one profile.
///
/// Replicas are alike: what a filter said of a node for one of them holds for the next, unless the
/// node has changed. So a cycle asks the plugins about the nodes that changed since the last pod
/// of the signature, and finds the best node in a tree of scores. Plugins whose answers depend on
/// more than signature and node are asked about every node for every pod, over columns.
#[derive(Debug, Default)]
pub struct Engine {
    entries: HashMap<u64, Entry>,
    clock: u64,
    /// Signatures that were seen once: keeping the results of one that never comes again would
    /// cost more than it saves.
    seen: HashSet<u64>,
    groups: Groups,
}

/// Signatures that are remembered as seen once.
const MAX_SEEN: usize = 65_536;

impl Engine {
    /// Takes the results of a signature out, to be put back after the cycle; `None` for one that
    /// was never seen before.
    pub(super) fn take(&mut self, signature: u64) -> Option<Entry> {
        if let Some(entry) = self.entries.remove(&signature) {
            return Some(entry);
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.clear();
        }
        (!self.seen.insert(signature)).then(Entry::default)
    }

    /// The nodes in groups, for a pod whose like was never seen; `None` if that is not worth it.
    pub(super) fn groups(&mut self, nodes: &Snapshot) -> Option<&Groups> {
        self.groups.follow(nodes).then_some(&self.groups)
    }

    /// Keeps the results of a signature.
    pub(super) fn put(&mut self, signature: u64, mut entry: Entry) {
        self.clock += 1;
        entry.used = self.clock;
        let nodes = entry.len().max(1);
        let most = (MAX_KEPT_RESULTS / nodes).clamp(1, MAX_SIGNATURES);
        while self.entries.len() >= most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(signature, _)| *signature) else { break };
            self.entries.remove(&oldest);
        }
        self.entries.insert(signature, entry);
    }
}
