//! Which terms the pods of each place carry, and which pods terms meet there.

use std::collections::BTreeMap;
use std::sync::Arc;

use kcore::collections::HashMap;
use kcore::selector::LabelSelector;

use crate::snapshot::{AffinityTerm, Mark, NodeInfo, PodInfo, Snapshot, Tally, Topology};

/// Terms of waiting pods whose counts are kept at once; beyond, all are counted anew.
const MAX_MET: usize = 512;
/// Signatures of which is remembered which carried terms mean them.
const MAX_MEANT: usize = 4_096;

/// What a term that a pod carries is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Use {
    RequiredAnti,
    Required,
    Preferred,
}

/// A term that pods on nodes carry, and in which places: how many of them do, or the sum of their
/// weights for it.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) term: AffinityTerm,
    pub(super) used: Use,
    pub(super) tally: Arc<Tally>,
}

/// Pods that terms of a waiting pod mean, by place.
#[derive(Debug)]
struct Met {
    tally: Arc<Tally>,
    mark: Option<Mark>,
    namespaces: u64,
}

/// Whether a selector matches the labels of a namespace.
pub(super) type Labels<'a> = &'a dyn Fn(&str, &LabelSelector) -> bool;

/// Everything that is counted, kept as nodes change.
#[derive(Debug, Default)]
pub(super) struct Index {
    mark: Option<Mark>,
    topologies: BTreeMap<Arc<str>, Arc<Topology>>,
    carried: Vec<Carried>,
    numbers: HashMap<(Use, Arc<str>), usize>,
    /// Of each node: the terms carried there, by their numbers, and how much.
    rows: Vec<Vec<(usize, i64)>>,
    met: HashMap<String, Met>,
    meant: HashMap<u64, (usize, u64, Vec<usize>)>,
    /// The labels of namespaces have changed so often.
    pub(super) namespaces: u64,
}

impl Index {
    /// Brings it up to date.
    pub(super) fn follow(&mut self, nodes: &Snapshot) {
        let changes = self.mark.as_ref().and_then(|mark| nodes.changes(mark));
        match changes {
            Some(changes) => {
                let mut moved = false;
                for at in changes {
                    let node = nodes.node(at);
                    moved |= self.topologies.iter().any(|(key, topology)| {
                        let value = node.label(key).and_then(|value| topology.value(value));
                        value.unwrap_or(crate::snapshot::NO_VALUE) != topology.at(at)
                            || (value.is_none() && node.label(key).is_some())
                    });
                    self.read(nodes, at, node);
                }
                if moved {
                    self.regroup(nodes);
                }
            }
            None => {
                let namespaces = self.namespaces;
                *self = Self { rows: vec![Vec::new(); nodes.len()], namespaces, ..Self::default() };
                for (at, node) in (0_u32..).zip(nodes.nodes()) {
                    self.read(nodes, at, node);
                }
            }
        }
        self.mark = Some(nodes.mark());
    }

    /// The places by a node label.
    pub(super) fn topology(&mut self, nodes: &Snapshot, key: &Arc<str>) -> Arc<Topology> {
        if let Some(known) = self.topologies.get(key) {
            return Arc::clone(known);
        }
        let topology = Arc::new(Topology::new(nodes, |node| node.label(key)));
        self.topologies.insert(Arc::clone(key), Arc::clone(&topology));
        topology
    }

    /// The places by a node label, if they were ever asked for.
    pub(super) fn known_topology(&self, key: &str) -> Option<Arc<Topology>> {
        self.topologies.get(key).cloned()
    }

    fn regroup(&mut self, nodes: &Snapshot) {
        for (key, topology) in &mut self.topologies {
            *topology = Arc::new(Topology::new(nodes, |node| node.label(key)));
        }
        for carried in &mut self.carried {
            if let Some(topology) = self.topologies.get(carried.term.topology_key()) {
                Arc::make_mut(&mut carried.tally).regroup(topology);
            }
        }
    }

    /// Reads what the pods of a node carry.
    fn read(&mut self, nodes: &Snapshot, at: u32, node: &NodeInfo) {
        let mut row: Vec<(usize, i64)> = Vec::new();
        for pod in node.pods_with_affinity().iter() {
            let all = pod.affinities();
            let anti = all.required_anti.iter().map(|term| (term, Use::RequiredAnti, 1));
            let required = all.required.iter().map(|term| (term, Use::Required, 1));
            let preferred = all.preferred.iter().map(|(term, w)| (term, Use::Preferred, *w));
            for (term, used, adds) in anti.chain(required).chain(preferred) {
                let number = self.number(nodes, term, used);
                match row.iter_mut().find(|(known, _)| *known == number) {
                    Some((_, sum)) => *sum += adds,
                    None => row.push((number, adds)),
                }
            }
        }
        let before = std::mem::take(&mut self.rows[at as usize]);
        if before == row {
            self.rows[at as usize] = row;
            return;
        }
        for (number, _) in &before {
            if !row.iter().any(|(known, _)| known == number) {
                Arc::make_mut(&mut self.carried[*number].tally).set(at, 0);
            }
        }
        for (number, adds) in &row {
            Arc::make_mut(&mut self.carried[*number].tally).set(at, *adds);
        }
        self.rows[at as usize] = row;
    }

    fn number(&mut self, nodes: &Snapshot, term: &AffinityTerm, used: Use) -> usize {
        let key = (used, Arc::clone(term.key()));
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let topology = self.topology(nodes, term.topology_key());
        let tally = Arc::new(Tally::new(topology));
        self.carried.push(Carried { term: term.clone(), used, tally });
        self.numbers.insert(key, self.carried.len() - 1);
        self.carried.len() - 1
    }

    /// The carried terms that mean a pod.
    pub(super) fn meaning(&mut self, pod: &PodInfo, labels: Labels<'_>) -> Vec<&Carried> {
        let signature = pod.template().signature();
        let known = signature.and_then(|signature| self.meant.remove(&signature));
        let (from, mut numbers) = match known {
            Some((len, namespaces, numbers)) if namespaces == self.namespaces => (len, numbers),
            _ => (0, Vec::new()),
        };
        for (number, carried) in self.carried.iter().enumerate().skip(from) {
            if carried.term.matches(pod.namespace(), pod.labels(), labels) {
                numbers.push(number);
            }
        }
        if let Some(signature) = signature {
            if self.meant.len() >= MAX_MEANT {
                self.meant.clear();
            }
            let remembered = (self.carried.len(), self.namespaces, numbers.clone());
            self.meant.insert(signature, remembered);
        }
        numbers.into_iter().map(|number| &self.carried[number]).collect()
    }

    /// How many pods all of `terms` mean, by the places of the label `key`.
    pub(super) fn met(
        &mut self,
        nodes: &Snapshot,
        terms: &[&AffinityTerm],
        key: &Arc<str>,
        labels: Labels<'_>,
    ) -> Arc<Tally> {
        let topology = self.topology(nodes, key);
        let keys: Vec<&str> = terms.iter().map(|term| &**term.key()).collect();
        let name = format!("{key}\n\n{}", keys.join("\n\n"));
        let by_namespace = terms.iter().any(|term| term.selects_namespaces());
        let mut met = self.met.remove(&name).unwrap_or_else(|| Met {
            tally: Arc::new(Tally::new(Arc::clone(&topology))),
            mark: None,
            namespaces: self.namespaces,
        });
        let valid = met.mark.take().filter(|_| !by_namespace || met.namespaces == self.namespaces);
        let count = |node: &NodeInfo| {
            let pods = node.pods().iter().filter(|pod| {
                let means =
                    |term: &&AffinityTerm| term.matches(pod.namespace(), pod.labels(), labels);
                terms.iter().all(means)
            });
            i64::try_from(pods.count()).unwrap_or(i64::MAX)
        };
        let tally = Arc::make_mut(&mut met.tally);
        match valid.as_ref().and_then(|mark| nodes.changes(mark)) {
            Some(changes) => {
                tally.regroup(&topology);
                changes.for_each(|at| tally.set(at, count(nodes.node(at))));
            }
            None => {
                *tally = Tally::new(topology);
                for (at, node) in (0_u32..).zip(nodes.nodes()) {
                    tally.set(at, count(node));
                }
            }
        }
        met.mark = Some(nodes.mark());
        met.namespaces = self.namespaces;
        let tally = Arc::clone(&met.tally);
        if self.met.len() >= MAX_MET {
            self.met.clear();
        }
        self.met.insert(name, met);
        tally
    }
}
