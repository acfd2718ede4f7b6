//! Preemption said again, step by step as it is documented: who would have to leave each node, and
//! where that hurts least. It asks the reference's own filters, keeps nothing, and shares nothing
//! with the crate's own plugin.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ksched::snapshot::{NodeInfo, PodInfo};

use crate::FILTERS;
use crate::naive::{Namespaces, Question, selected};

/// A cluster at one moment with nodes that are kept for pods, and the pod that needs room.
pub(crate) struct Need<'a> {
    pub(crate) nodes: &'a [Arc<NodeInfo>],
    pub(crate) pod: &'a PodInfo,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) budgets: &'a [PodDisruptionBudget],
    /// Pods that nodes are kept for, by the names of those.
    pub(crate) kept: &'a [(Arc<str>, Arc<PodInfo>)],
}

/// A plugin turned a node away.
struct Refusal {
    /// It does so whoever leaves.
    lasting: bool,
}

/// What making room on one node takes.
struct Room {
    node: String,
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

fn started(pod: &PodInfo) -> Option<Time> {
    pod.pod().status.as_ref().and_then(|status| status.start_time.clone())
}

/// Whether the first one has run longer than the second one; who has not started has run least.
fn is_older(a: &Option<Time>, b: &Option<Time>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.0 < b.0,
        (a, b) => a.is_some() && b.is_none(),
    }
}

/// Whether a pod is to be spared before another one.
fn is_more_important(a: &PodInfo, b: &PodInfo) -> bool {
    let (of_a, of_b) = (started(a), started(b));
    if a.priority() != b.priority() {
        return a.priority() > b.priority();
    }
    if is_older(&of_a, &of_b) || is_older(&of_b, &of_a) {
        return is_older(&of_a, &of_b);
    }
    a.uid() < b.uid()
}

/// The most important one first, by picking it again and again.
fn ordered(mut pods: Vec<Arc<PodInfo>>) -> Vec<Arc<PodInfo>> {
    let mut list = Vec::new();
    while !pods.is_empty() {
        let first = (0..pods.len())
            .find(|at| !pods.iter().any(|other| is_more_important(other, &pods[*at])))
            .unwrap();
        list.push(pods.remove(first));
    }
    list
}

impl Room {
    /// When the first of the most important victims started.
    fn earliest(&self) -> Option<Time> {
        let highest = self.victims[0].priority();
        let most = self.victims.iter().filter(|pod| pod.priority() == highest);
        let times = most.map(|pod| started(pod));
        times.reduce(|a, b| if is_older(&b, &a) { b } else { a }).unwrap()
    }
}

impl Need<'_> {
    /// The plugins that are asked: who has nothing to say of the cluster as it is, without pods
    /// that nodes are kept for, is not asked any more.
    fn asked(&self) -> Vec<&'static str> {
        let (nodes, pod, namespaces) = (self.nodes, self.pod, self.namespaces);
        let minds_others = Question { nodes, pod, namespaces }.minds_others();
        FILTERS.iter().copied().filter(|name| minds_others || *name != "InterPodAffinity").collect()
    }

    /// Why the plugins turn a node in this state away, if they do.
    fn refuses(&self, asked: &[&str], at: usize, node: &NodeInfo) -> Option<Refusal> {
        let mut nodes = self.nodes.to_vec();
        nodes[at] = Arc::new(node.clone());
        let question = Question { nodes: &nodes, pod: self.pod, namespaces: self.namespaces };
        let never_fits = || {
            ["cpu", "memory", "ephemeral-storage", "example.com/gpu"]
                .iter()
                .any(|name| self.pod.requests().get(name) > node.allocatable().get(name))
        };
        asked.iter().find_map(|plugin| {
            let said = question.filter(plugin, &nodes[at])?;
            let lasting = match *plugin {
                "NodePorts" => false,
                "NodeResourcesFit" => never_fits(),
                "PodTopologySpread" => said.contains("missing required label"),
                "InterPodAffinity" => said.contains("pod affinity rules"),
                _ => true,
            };
            Some(Refusal { lasting })
        })
    }

    /// The same with the pods there that the node is kept for and that are as important; and then,
    /// if it takes the pod, without them.
    fn refuses_beside_kept(&self, asked: &[&str], at: usize, node: &NodeInfo) -> Option<Refusal> {
        let mut beside = node.clone();
        for (on, other) in self.kept {
            let there = **on == *node.name() && other.uid() != self.pod.uid();
            if there && other.priority() >= self.pod.priority() {
                beside.add_pod(Arc::clone(other));
            }
        }
        let crowded = beside.pods().len() > node.pods().len();
        let refusal = if crowded { self.refuses(asked, at, &beside) } else { None };
        refusal.or_else(|| self.refuses(asked, at, node))
    }

    /// Which of the pods break a budget if all of them leave, one by one.
    fn breaking(&self, pods: &[Arc<PodInfo>]) -> Vec<bool> {
        let allowed = |budget: &PodDisruptionBudget| {
            let status = budget.status.as_ref().unwrap();
            status.disruptions_allowed.unwrap_or_default()
        };
        let mut left: Vec<i32> = self.budgets.iter().map(allowed).collect();
        let mut all = Vec::new();
        for pod in pods {
            let mut breaks = false;
            for (budget, left) in self.budgets.iter().zip(&mut left) {
                if protects(budget, pod) {
                    *left -= 1;
                    breaks = breaks || *left < 0;
                }
            }
            all.push(breaks);
        }
        all
    }

    /// What making room on a node takes, if that can be done.
    fn room(&self, asked: &[&str], at: usize) -> Option<Room> {
        let mut node = NodeInfo::clone(&self.nodes[at]);
        let all: Vec<Arc<PodInfo>> = node.pods().iter().cloned().collect();
        let is_lesser = |other: &Arc<PodInfo>| other.priority() < self.pod.priority();
        let lesser: Vec<Arc<PodInfo>> = all.into_iter().filter(is_lesser).collect();
        for other in &lesser {
            node.remove_pod(other.uid());
        }
        if lesser.is_empty() || self.refuses_beside_kept(asked, at, &node).is_some() {
            return None;
        }
        let lesser = ordered(lesser);
        let breaking = self.breaking(&lesser);
        let (mut victims, mut violations) = (Vec::new(), 0);
        for turn in [true, false] {
            for (other, _) in lesser.iter().zip(&breaking).filter(|(_, breaks)| **breaks == turn) {
                let mut spared = node.clone();
                spared.add_pod(Arc::clone(other));
                if self.refuses_beside_kept(asked, at, &spared).is_none() {
                    node = spared;
                } else {
                    victims.push(Arc::clone(other));
                    violations += usize::from(turn);
                }
            }
        }
        Some(Room { node: node.name().to_owned(), victims: ordered(victims), violations })
    }

    /// The node to make room on, and who has to leave it, the most important first.
    pub(crate) fn answer(&self) -> Option<(String, Vec<String>)> {
        if self.pod.spec().preemption_policy.as_deref() == Some("Never") {
            return None;
        }
        let asked = &self.asked()[..];
        let mut rooms: Vec<Room> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let refusal = self.refuses_beside_kept(asked, at, node);
            if refusal.is_some_and(|refusal| !refusal.lasting) {
                rooms.extend(self.room(asked, at));
            }
        }
        narrow(&mut rooms, |room| room.violations);
        narrow(&mut rooms, |room| room.victims[0].priority());
        narrow(&mut rooms, |room| {
            let shifted = room.victims.iter().map(|pod| i64::from(pod.priority()) + (1 << 31));
            shifted.sum::<i64>()
        });
        narrow(&mut rooms, |room| room.victims.len());
        let times: Vec<Option<Time>> = rooms.iter().map(Room::earliest).collect();
        let latest = (0..rooms.len()).find(|at| !times.iter().any(|t| is_older(&times[*at], t)))?;
        let room = &rooms[latest];
        Some((room.node.clone(), room.victims.iter().map(|pod| pod.uid().to_owned()).collect()))
    }
}

/// Leaves those of which there is least, in their order.
fn narrow<T: Ord>(rooms: &mut Vec<Room>, of: impl Fn(&Room) -> T) {
    if let Some(least) = rooms.iter().map(&of).min() {
        rooms.retain(|room| of(room) == least);
    }
}

/// Whether a budget minds that a pod leaves. An empty selector selects nobody here.
fn protects(budget: &PodDisruptionBudget, pod: &PodInfo) -> bool {
    let selector = &budget.spec.as_ref().unwrap().selector;
    let wanted = selector.as_ref().unwrap().match_labels.as_ref();
    budget.metadata.namespace.as_deref() == Some(pod.namespace())
        && wanted.is_some_and(|wanted| !wanted.is_empty())
        && selected(selector, pod.labels())
}
