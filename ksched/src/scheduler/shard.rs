//! A part of the nodes for each of several schedulers.

use std::hash::BuildHasher;

use kcore::collections::HashMap;

/// The nodes that are one scheduler's: those whose name hashes to its index. All of them, if there
/// is one scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) index: u64,
    pub(super) count: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// Whether a node is one of them. The hash is the same in every process.
    pub(super) fn has(self, node: &str) -> bool {
        self.count <= 1
            || HashMap::<(), ()>::default().hasher().hash_one(node) % self.count == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_in_one_shard_and_shards_are_of_about_one_size() {
        let mut sizes = [0; 4];
        for at in 0..4_000 {
            let name = format!("node-{at}");
            let shards = (0..4).map(|index| Shard { index, count: 4 });
            let own: Vec<u64> = shards.filter(|s| s.has(&name)).map(|s| s.index).collect();
            assert_eq!(own.len(), 1, "{name}");
            sizes[usize::try_from(own[0]).unwrap()] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
    }
}
