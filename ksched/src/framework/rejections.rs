//! The nodes that were turned away, with the reasons that they share.

use std::sync::Arc;

use super::Status;

/// Kinds that a new rejection is compared with before it becomes a kind of its own.
const COMPARED: usize = 32;

/// Nodes that were turned away: by which plugin, and why. Most share a few reasons, which are
/// kept once.
#[derive(Debug, Clone, Default)]
pub struct Rejections {
    kinds: Vec<(Arc<str>, Status)>,
    nodes: Vec<(u32, u32)>,
}

impl Rejections {
    /// The node at a position was turned away.
    pub fn push(&mut self, at: u32, plugin: &Arc<str>, status: Status) {
        let kind = self.kind(plugin, status);
        self.nodes.push((at, kind));
    }

    /// The number of a reason, to be given to nodes.
    pub(crate) fn kind(&mut self, plugin: &Arc<str>, status: Status) -> u32 {
        let mut known = self.kinds.iter().rev().take(COMPARED);
        let known = known.position(|(name, known)| name == plugin && *known == status);
        let at = match known {
            Some(back) => self.kinds.len() - 1 - back,
            None => {
                self.kinds.push((Arc::clone(plugin), status));
                self.kinds.len() - 1
            }
        };
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The node at a position was turned away for the reason of this number.
    pub(crate) fn push_kind(&mut self, at: u32, kind: u32) {
        self.nodes.push((at, kind));
    }

    /// The reasons without the nodes.
    pub(crate) fn without_nodes(self) -> Self {
        Self { kinds: self.kinds, nodes: Vec::new() }
    }

    /// The nodes, each with the number of its reason.
    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (u32, u32)> {
        self.nodes.iter().copied()
    }

    /// How many reasons are kept.
    pub(crate) fn kinds_len(&self) -> usize {
        self.kinds.len()
    }

    /// Every node that was turned away: its position in the snapshot, by which plugin, and why.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<str>, &Status)> {
        self.nodes.iter().map(|(at, kind)| {
            let (plugin, status) = &self.kinds[*kind as usize];
            (*at, plugin, status)
        })
    }

    /// Every reason that any node has: by which plugin, why, and how many nodes.
    pub fn kinds(&self) -> impl Iterator<Item = (&Arc<str>, &Status, usize)> {
        let mut counts = vec![0_usize; self.kinds.len()];
        for (_, kind) in &self.nodes {
            counts[*kind as usize] += 1;
        }
        let kinds = self.kinds.iter().zip(counts).filter(|(_, count)| *count > 0);
        kinds.map(|((plugin, status), count)| (plugin, status, count))
    }

    /// How many nodes were turned away.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Puts the nodes in the order of their positions.
    pub(crate) fn sort(&mut self) {
        self.nodes.sort_unstable();
    }
}
