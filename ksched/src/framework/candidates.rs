//! The nodes that are left, and why the others are not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Code, Rejections, Status};

/// The nodes that passed the filters so far, as positions in the snapshot, and what was said of
/// the others.
#[derive(Debug, Default)]
pub struct Candidates {
    feasible: Vec<u32>,
    rejected: Rejections,
    plugin: Option<Arc<str>>,
    failed: Option<Status>,
}

impl Candidates {
    /// The first `count` nodes of a snapshot.
    #[must_use]
    pub fn all(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self { feasible: (0..count).collect(), ..Self::default() }
    }

    /// Only these nodes.
    #[must_use]
    pub fn of(feasible: Vec<u32>) -> Self {
        Self { feasible, ..Self::default() }
    }

    /// Those that passed so far, and what was said of the others.
    pub(crate) fn begun(feasible: Vec<u32>, rejected: Rejections) -> Self {
        Self { feasible, rejected, ..Self::default() }
    }

    /// Whether a node is left.
    pub(crate) fn has(&self, at: u32) -> bool {
        self.feasible.binary_search(&at).is_ok()
    }

    /// Takes nodes out, that are given in the order of their positions.
    pub(crate) fn reject(&mut self, nodes: Vec<(u32, Arc<str>, Status)>) {
        let mut nodes = nodes.into_iter().peekable();
        let Self { feasible, rejected, .. } = self;
        if nodes.peek().is_none() {
            return;
        }
        feasible.retain(|at| {
            while nodes.peek().is_some_and(|(rejected, ..)| rejected < at) {
                nodes.next();
            }
            match nodes.next_if(|(rejected, ..)| rejected == at) {
                Some((at, plugin, status)) => {
                    rejected.push(at, &plugin, status);
                    false
                }
                None => true,
            }
        });
    }

    /// The nodes that are left, in the snapshot's order.
    #[must_use]
    pub fn feasible(&self) -> &[u32] {
        &self.feasible
    }

    /// Takes out every node that `verdict` turns away. After an error no node is asked.
    pub fn retain(&mut self, mut verdict: impl FnMut(u32) -> Status) {
        let name = self.plugin.clone().unwrap_or_else(|| Arc::from(""));
        let Self { feasible, rejected, failed, .. } = self;
        feasible.retain(|at| {
            if failed.is_some() {
                return true;
            }
            let status = verdict(*at);
            if status.is_success() {
                return true;
            }
            if status.is_rejected() {
                rejected.push(*at, &name, status);
            } else {
                *failed = Some(status);
            }
            false
        });
    }

    pub(crate) fn begin(&mut self, plugin: &Arc<str>) {
        self.plugin = Some(Arc::clone(plugin));
    }

    pub(crate) fn failed(&mut self) -> Option<Status> {
        self.failed.take()
    }

    pub(crate) fn into_parts(self) -> (Vec<u32>, Rejections) {
        (self.feasible, self.rejected)
    }
}

/// Why no node took a pod.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// The nodes that were turned away, by which plugin, and why.
    pub rejected: Rejections,
    /// Why all nodes were turned away at once, by PreFilter.
    pub pre_filter: Option<Status>,
    /// What PostFilter said.
    pub post_filter: String,
    /// The plugins that turned nodes away.
    pub plugins: BTreeSet<Arc<str>>,
    /// The plugins among them that wait for something outside.
    pub pending: BTreeSet<Arc<str>>,
}

impl Diagnosis {
    /// A plugin turned nodes away.
    pub(crate) fn blame(&mut self, plugin: &Arc<str>, code: Code) {
        if !self.plugins.contains(plugin) {
            self.plugins.insert(Arc::clone(plugin));
        }
        if code == Code::Pending {
            self.pending.insert(Arc::clone(plugin));
        }
    }

    /// In upstream's words: `0/5 nodes are available: 3 Insufficient cpu, 2 …`.
    #[must_use]
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut message = format!("0/{} nodes are available:", self.nodes);
        if let Some(status) = &self.pre_filter {
            message.push_str(&format!(" {}.", status.message()));
        } else {
            let kinds = self.rejected.kinds().map(|(_, status, count)| (status, count));
            message = summary(self.nodes, kinds);
        }
        if !self.post_filter.is_empty() {
            message.push_str(&format!(" {}", self.post_filter));
        }
        message
    }
}

/// How many nodes have which reasons, in upstream's words.
pub(crate) fn summary<'a>(
    nodes: usize,
    kinds: impl Iterator<Item = (&'a Status, usize)>,
) -> String {
    let mut counts: BTreeMap<&Cow<'static, str>, usize> = BTreeMap::new();
    for (status, count) in kinds {
        for reason in status.reasons() {
            *counts.entry(reason).or_default() += count;
        }
    }
    let mut parts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    let mut message = format!("0/{nodes} nodes are available:");
    if !parts.is_empty() {
        message.push_str(&format!(" {}.", parts.join(", ")));
    }
    message
}
