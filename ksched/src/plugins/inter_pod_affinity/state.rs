//! What one pod's filter goes by.

use std::sync::Arc;

use crate::snapshot::{AffinityTerm, NO_VALUE, NodeInfo, Tally, Topology};

/// In place of a place where there is none.
const NOWHERE: i64 = -1;

/// Pods by place for one term, with what a simulation has changed.
#[derive(Debug, Clone)]
pub(super) struct Place {
    term: Arc<str>,
    key: Arc<str>,
    tally: Arc<Tally>,
    changed: Vec<(u32, i64)>,
}

impl Place {
    pub(super) fn new(term: &AffinityTerm, tally: &Arc<Tally>) -> Self {
        let (key, tally) = (Arc::clone(term.topology_key()), Arc::clone(tally));
        Self { term: Arc::clone(term.key()), key, tally, changed: Vec::new() }
    }

    pub(super) fn is_of(&self, term: &AffinityTerm) -> bool {
        self.term == *term.key()
    }

    /// More pods, or fewer, where a node is.
    pub(super) fn count(&mut self, node: &NodeInfo, adds: i64) {
        let value = node.label(&self.key).and_then(|value| self.tally.topology().value(value));
        let Some(value) = value else { return };
        match self.changed.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum += adds,
            None => self.changed.push((value, adds)),
        }
    }

    fn sum(&self, value: u32) -> i64 {
        let changed = self.changed.iter().find(|(known, _)| *known == value);
        self.tally.sum(value) + changed.map_or(0, |(_, adds)| *adds)
    }

    /// How many pods there are where a node is; `None` if it is in no place.
    pub(super) fn at_node(&self, node: &NodeInfo) -> Option<i64> {
        let value = node.label(&self.key)?;
        Some(self.tally.topology().value(value).map_or(0, |value| self.sum(value)))
    }

    /// The same for the node at a position of the snapshot.
    pub(super) fn at_position(&self, at: u32) -> Option<i64> {
        let value = self.tally.topology().at(at);
        (value != NO_VALUE).then(|| self.sum(value))
    }

    pub(super) fn term(&self) -> &Arc<str> {
        &self.term
    }

    pub(super) fn topology(&self) -> &Arc<Topology> {
        self.tally.topology()
    }

    /// What makes the class of the node at a position: where each place is one node, whether there
    /// are pods; else the place. [`NOWHERE`] if it is in no place.
    pub(super) fn class(&self, at: u32) -> i64 {
        match self.topology().at(at) {
            NO_VALUE => NOWHERE,
            place if self.topology().is_of_single_nodes() => i64::from(self.sum(place) > 0),
            place => i64::from(place),
        }
    }

    /// Whether there are pods where the nodes of a class are; `None` if they are in no place.
    pub(super) fn at_class(&self, class: i64) -> Option<bool> {
        if class == NOWHERE {
            return None;
        }
        let single = self.topology().is_of_single_nodes();
        let place = || u32::try_from(class).unwrap_or(NO_VALUE);
        Some(if single { class > 0 } else { self.sum(place()) > 0 })
    }

    fn total(&self) -> i64 {
        self.tally.total() + self.changed.iter().map(|(_, adds)| adds).sum::<i64>()
    }
}

/// Where there are pods that matter.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Pods whose own anti-affinity means this one.
    pub(super) existing: Vec<Place>,
    /// Pods that each of its anti-affinity terms means.
    pub(super) anti: Vec<Place>,
    /// Pods that all of its affinity terms mean, by the places of each.
    pub(super) affinity: Vec<Place>,
    /// Whether its affinity means the pod itself.
    pub(super) itself: bool,
    /// The labels of namespaces had changed so often.
    pub(super) namespaces: u64,
}

impl State {
    /// Whether any pod that is meant is in any place.
    pub(super) fn is_met(&self) -> bool {
        self.affinity.iter().any(|place| place.total() > 0)
    }

    /// Whether the pods that must be near are. The first of a group of pods that want to be
    /// together would wait for ever: it may go wherever there is a place.
    pub(super) fn has_affinity(&self, counted: impl Fn(&Place) -> Option<i64>) -> bool {
        let mut far = false;
        for place in &self.affinity {
            match counted(place) {
                None => return false,
                Some(count) => far |= count <= 0,
            }
        }
        !far || (!self.is_met() && self.itself)
    }
}
