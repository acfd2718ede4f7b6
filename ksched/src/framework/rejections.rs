//! The nodes that were turned away, with the reasons that they share.

use std::sync::Arc;

use super::{Status, Verdicts};

/// Kinds that a new rejection is compared with before it becomes a kind of its own.
const COMPARED: usize = 32;

/// By which plugin nodes were turned away, and why.
pub(super) type Kind = (Arc<str>, Status);

/// The number of a reason among `kinds`, which it joins if it is new.
pub(super) fn number_of(kinds: &mut Vec<Kind>, plugin: &Arc<str>, status: Status) -> u32 {
    let mut known = kinds.iter().rev().take(COMPARED);
    let known = known.position(|(name, known)| name == plugin && *known == status);
    let at = match known {
        Some(back) => kinds.len() - 1 - back,
        None => {
            kinds.push((Arc::clone(plugin), status));
            kinds.len() - 1
        }
    };
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Nodes that were turned away: by which plugin, and why. Most share a few reasons, which are
/// kept once.
#[derive(Debug, Clone, Default)]
pub struct Rejections {
    /// What was known of all nodes before.
    base: Option<Arc<Verdicts>>,
    kinds: Vec<Kind>,
    nodes: Vec<(u32, u32)>,
}

impl Rejections {
    /// What is known of all nodes: it is shared, not copied.
    pub(crate) fn shared(verdicts: Arc<Verdicts>) -> Self {
        Self { base: Some(verdicts), ..Self::default() }
    }

    /// Whether all there is to say is what was known of this many nodes, by position.
    pub(crate) fn are_shared(&self, nodes: usize) -> bool {
        self.nodes.is_empty() && self.base.as_ref().is_some_and(|base| base.len() == nodes)
    }

    /// The node at a position was turned away.
    pub fn push(&mut self, at: u32, plugin: &Arc<str>, status: Status) {
        let kind = number_of(&mut self.kinds, plugin, status);
        self.nodes.push((at, kind));
    }

    /// What was said of each of so many nodes.
    pub(crate) fn into_verdicts(self, nodes: usize) -> Verdicts {
        let mut verdicts = Verdicts::passed(nodes);
        for (at, plugin, status) in self.iter() {
            let verdict = verdicts.verdict(plugin, status.clone());
            verdicts.set(at, verdict);
        }
        verdicts
    }

    /// Every node that was turned away: its position in the snapshot, by which plugin, and why.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<str>, &Status)> {
        let base = self.base.iter().flat_map(|base| base.rejected());
        base.chain(self.nodes.iter().map(|(at, kind)| {
            let (plugin, status) = &self.kinds[*kind as usize];
            (*at, plugin, status)
        }))
    }

    /// Why the node at a position was turned away, if it was.
    #[must_use]
    pub fn of(&self, at: u32) -> Option<&Status> {
        let known = self.base.as_ref().and_then(|base| base.of(at));
        known.map(|(_, status)| status).or_else(|| {
            let (_, kind) = self.nodes.iter().find(|(rejected, _)| *rejected == at)?;
            Some(&self.kinds[*kind as usize].1)
        })
    }

    /// Every reason that any node has: by which plugin, why, and how many nodes. One that was
    /// said twice may come twice.
    pub fn kinds(&self) -> impl Iterator<Item = (&Arc<str>, &Status, usize)> {
        let mut counts = vec![0_usize; self.kinds.len()];
        for (_, kind) in &self.nodes {
            counts[*kind as usize] += 1;
        }
        let kinds = self.kinds.iter().zip(counts).filter(|(_, count)| *count > 0);
        let kinds = kinds.map(|((plugin, status), count)| (plugin, status, count));
        self.base.iter().flat_map(|base| base.kinds()).chain(kinds)
    }

    /// How many nodes were turned away.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() + self.base.as_ref().map_or(0, |base| base.rejections())
    }

    /// Whether no node was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the nodes in the order of their positions.
    pub(crate) fn sort(&mut self) {
        if self.base.is_some() && !self.nodes.is_empty() {
            let mut all = Self::default();
            for (at, plugin, status) in self.iter() {
                all.push(at, plugin, status.clone());
            }
            *self = all;
        }
        self.nodes.sort_unstable();
    }
}
