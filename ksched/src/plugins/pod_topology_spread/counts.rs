//! Pods that are spread, by place, kept as nodes change.

use std::sync::Arc;

use kcore::collections::HashMap;

use super::constraint::{Constraint, Constraints, Unlabeled};
use crate::snapshot::{Mark, NO_VALUE, NodeInfo, PodInfo, Snapshot, Tally, Topology};

/// Signatures whose counts are kept at once; beyond, all are counted anew.
const MAX_SIGNATURES: usize = 256;

/// What is known of the pods of one signature.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) constraints: Arc<Constraints>,
    services: u64,
    hard: Vec<Counted>,
    soft: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    tally: Arc<Tally>,
    mark: Option<Mark>,
}

/// The counts of all signatures.
#[derive(Debug, Default)]
pub(super) struct Counts {
    known: HashMap<u64, Known>,
}

impl Known {
    pub(super) fn new(constraints: Constraints, services: u64) -> Self {
        Self::of(Arc::new(constraints), services)
    }

    pub(super) fn of(constraints: Arc<Constraints>, services: u64) -> Self {
        Self { constraints, services, hard: Vec::new(), soft: Vec::new() }
    }

    /// The pods of each hard constraint.
    pub(super) fn hard(&mut self, pod: &PodInfo, nodes: &Snapshot) -> Vec<Arc<Tally>> {
        let all = Arc::clone(&self.constraints);
        follow(&mut self.hard, &all.hard, Unlabeled::LeftOut, pod, nodes)
    }

    /// The pods of each soft constraint.
    pub(super) fn soft(&mut self, pod: &PodInfo, nodes: &Snapshot) -> Vec<Arc<Tally>> {
        let all = Arc::clone(&self.constraints);
        follow(&mut self.soft, &all.soft, all.unlabeled, pod, nodes)
    }
}

impl Counts {
    /// What is known of a signature, unless Services have changed since.
    pub(super) fn take(&mut self, signature: Option<u64>, services: u64) -> Option<Known> {
        let known = self.known.remove(&signature?)?;
        (known.services == services).then_some(known)
    }

    pub(super) fn put(&mut self, signature: Option<u64>, known: Known) {
        let Some(signature) = signature else { return };
        if self.known.len() >= MAX_SIGNATURES {
            self.known.clear();
        }
        self.known.insert(signature, known);
    }
}

/// The place of a node for a constraint, if it takes part.
fn place<'n>(
    constraint: &Constraint,
    all: &[Constraint],
    unlabeled: Unlabeled,
    pod: &PodInfo,
    node: &'n NodeInfo,
) -> Option<&'n str> {
    let value = node.label(&constraint.key)?;
    let takes_part = unlabeled.admits(all, node) && constraint.includes(pod, node);
    takes_part.then_some(value)
}

/// Brings the counts of these constraints up to date.
fn follow(
    counted: &mut Vec<Counted>,
    all: &[Constraint],
    unlabeled: Unlabeled,
    pod: &PodInfo,
    nodes: &Snapshot,
) -> Vec<Arc<Tally>> {
    let namespace = pod.namespace();
    for (at, constraint) in all.iter().enumerate() {
        let place = |node| place(constraint, all, unlabeled, pod, node);
        if let Some(known) = counted.get_mut(at) {
            let mark = known.mark.take();
            if let Some(changes) = mark.as_ref().and_then(|mark| nodes.changes(mark)) {
                let tally = Arc::make_mut(&mut known.tally);
                let mut moved = false;
                for at in changes {
                    let node = nodes.node(at);
                    moved |= has_moved(tally.topology(), at, place(node));
                    tally.set(at, constraint.count(namespace, node));
                }
                if moved {
                    tally.regroup(&Arc::new(Topology::new(nodes, place)));
                }
                known.mark = Some(nodes.mark());
                continue;
            }
        }
        let mut tally = Tally::new(Arc::new(Topology::new(nodes, place)));
        for (at, node) in (0_u32..).zip(nodes.nodes()) {
            tally.set(at, constraint.count(namespace, node));
        }
        let fresh = Counted { tally: Arc::new(tally), mark: Some(nodes.mark()) };
        match counted.get_mut(at) {
            Some(known) => *known = fresh,
            None => counted.push(fresh),
        }
    }
    counted.iter().map(|counted| Arc::clone(&counted.tally)).collect()
}

fn has_moved(topology: &Topology, at: u32, place: Option<&str>) -> bool {
    match place {
        None => topology.at(at) != NO_VALUE,
        Some(value) => topology.value(value) != Some(topology.at(at)),
    }
}
