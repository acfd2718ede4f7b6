//! A sketch that holds the seams to their promise: preemption is a plugin like any other.
//!
//! It tries on a copy of the cycle's state what would happen if pods left a node, lets PreFilter's
//! extensions follow, asks the filters again, gives back what need not go, nominates a node, and
//! leaves the evictions to an effect.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use kcore::random::Random;
use ksched::framework::{
    Code, CycleState, Diagnosis, ExtensionPoints, FilterPlugin, Filters, PostFilterPlugin,
    PostFilterResult, PreFilterExtensions, PreFilterPlugin, PreFilterResult, Profile,
    SchedulerPlugin, Status, plugin_fn,
};
use ksched::scheduler::cycle::{Kept, schedule};
use ksched::snapshot::{NodeInfo, PodInfo, Snapshot};
use ksched::testing::{Cluster, PodBuilder, node, pod};
use parking_lot::Mutex;

/// How many seats a pod takes of those that its rack has for all its nodes together.
fn seats(pod: &PodInfo) -> i64 {
    pod.requests().get("example.com/seats")
}

fn rack(node: &NodeInfo) -> String {
    let labels = node.node().metadata.labels.clone().unwrap_or_default();
    labels.get("rack").cloned().unwrap_or_default()
}

/// What is taken in each rack: only the extensions can keep it right, for a filter that looks at
/// one node sees nothing of the others.
#[derive(Debug, Clone, Default, PartialEq)]
struct Taken(BTreeMap<String, i64>);

impl Taken {
    fn count(&mut self, node: &NodeInfo, seats: i64) {
        *self.0.entry(rack(node)).or_default() += seats;
    }
}

/// Keeps a rack's nodes within its ten seats.
#[derive(Debug)]
struct Seats;

impl PreFilterPlugin for Seats {
    fn pre_filter(&self, state: &mut CycleState, _: &PodInfo, nodes: &Snapshot) -> PreFilterResult {
        let mut taken = Taken::default();
        for node in nodes.nodes() {
            for pod in node.pods().iter() {
                taken.count(node, seats(pod));
            }
        }
        state.write(taken);
        Status::success().into()
    }

    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        Some(self)
    }
}

impl PreFilterExtensions for Seats {
    fn add_pod(
        &self,
        state: &mut CycleState,
        _: &PodInfo,
        added: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        state.read_mut::<Taken>().unwrap().count(node, seats(added));
        Status::success()
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        _: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) -> Status {
        state.read_mut::<Taken>().unwrap().count(node, -seats(removed));
        Status::success()
    }
}

impl FilterPlugin for Seats {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let taken = state.read::<Taken>().unwrap().0.get(&rack(node)).copied().unwrap_or_default();
        match taken + seats(pod) > 10 {
            true => Status::unschedulable("too few seats"),
            false => Status::success(),
        }
    }
}

/// What was evicted, in the order it was.
type Evicted = Arc<Mutex<Vec<String>>>;

/// Makes room for pods of a higher priority.
#[derive(Debug)]
struct Preemption {
    evicted: Evicted,
}

/// A node as it would be, and the state that goes with it.
#[derive(Clone)]
struct WhatIf {
    state: CycleState,
    node: NodeInfo,
}

impl Preemption {
    /// Who would have to leave the node, the most important first; `None` if that does not help.
    fn victims(
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
        filters: &Filters<'_>,
    ) -> Option<Vec<Arc<PodInfo>>> {
        let mut what_if = WhatIf { state: state.clone(), node: node.clone() };
        let lesser = node.pods().iter().filter(|other| other.priority() < pod.priority());
        let mut lesser: Vec<Arc<PodInfo>> = lesser.cloned().collect();
        for other in &lesser {
            what_if.node.remove_pod(other.uid());
            if !filters.pod_removed(&mut what_if.state, other, &what_if.node).is_success() {
                return None;
            }
        }
        let fits = |what_if: &WhatIf| filters.fits(&what_if.state, &what_if.node, &[]).is_success();
        if !fits(&what_if) {
            return None;
        }
        // As many as can stay do, the most important first.
        lesser.sort_by_key(|other| (-other.priority(), other.name().to_owned()));
        lesser.retain(|other| {
            let mut spared = what_if.clone();
            spared.node.add_pod(Arc::clone(other));
            let added = filters.pod_added(&mut spared.state, other, &spared.node);
            let stays = added.is_success() && fits(&spared);
            if stays {
                what_if = spared;
            }
            !stays
        });
        Some(lesser)
    }
}

impl PostFilterPlugin for Preemption {
    fn post_filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &Diagnosis,
        filters: &Filters<'_>,
    ) -> PostFilterResult {
        // A node that turns the pod away whoever leaves it is not worth a try.
        let worth = diagnosis
            .rejected
            .iter()
            .filter(|(.., status)| status.code() != Code::UnschedulableAndUnresolvable);
        let mut plans: Vec<(&NodeInfo, Vec<Arc<PodInfo>>)> = worth
            .map(|(at, ..)| nodes.node(at))
            .filter_map(|node| Some((node, Self::victims(state, pod, node, filters)?)))
            .collect();
        plans.sort_by_key(|(node, victims)| {
            let worst = victims.iter().map(|victim| victim.priority()).max();
            (worst, victims.len(), node.name().to_owned())
        });
        let Some((node, victims)) = plans.into_iter().next() else {
            return Status::unschedulable("preemption is not helpful for scheduling").into();
        };
        let (evicted, names) = (Arc::clone(&self.evicted), victims.into_iter());
        let names: Vec<String> = names.map(|victim| victim.name().to_owned()).collect();
        let effect = async move {
            evicted.lock().extend(names);
            Status::success()
        };
        PostFilterResult::nominate(node.name(), Some(Box::pin(effect)))
    }
}

/// Both plugins as one, as a profile would list them.
#[derive(Debug)]
struct SeatsWithPreemption(Evicted);

impl SchedulerPlugin for SeatsWithPreemption {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        let seats = Arc::new(Seats);
        points.pre_filter(seats.clone());
        points.filter(seats);
        points.post_filter(Arc::new(Preemption { evicted: Arc::clone(&self.0) }));
    }
}

fn seated(name: &str, on: &str, seats: &str, priority: i32) -> PodBuilder {
    pod(name).request("example.com/seats", seats).cpu("100m").priority(priority).on(on)
}

/// Racks of nodes: `a` with two of them and ten seats taken, `b` full of important pods, `c` with
/// a node that takes nobody.
fn snapshot() -> Snapshot {
    let node = |name: &str, rack: &str| {
        node(name).cpu("4").resource("example.com/seats", "100").label("rack", rack)
    };
    let mut nodes: Vec<NodeInfo> =
        [node("a1", "a"), node("a2", "a"), node("b1", "b"), node("c1", "c").cordoned()]
            .map(|node| NodeInfo::new(node.build()))
            .into();
    for running in [
        seated("low", "a1", "2", 1),
        seated("middle", "a1", "3", 5),
        seated("other", "a2", "5", 7),
        seated("high", "b1", "10", 100),
        seated("lost", "c1", "1", 0),
    ] {
        let pod = Arc::new(running.info());
        let node = nodes.iter_mut().find(|node| node.name() == pod.node_name()).unwrap();
        *node = node.with_pod(pod);
    }
    Snapshot::new(nodes)
}

/// The node that is nominated for a pod, and who is evicted for it; else what its owner is told.
async fn preempt(pod: PodBuilder) -> Result<(String, Vec<String>), String> {
    let evicted = Evicted::default();
    let plugin = Arc::clone(&evicted);
    let factory = plugin_fn("Seats", move |_, _| Ok(SeatsWithPreemption(Arc::clone(&plugin))));
    let framework = Cluster::new([])
        .plugin(factory)
        .profile(Profile::default().disable("DefaultPreemption"))
        .framework()
        .unwrap();
    let (snapshot, random) = (snapshot(), Random::seeded(1));
    let unplaced = schedule(&framework, &snapshot, &Kept::new(), &pod.info(), &random);
    let mut unplaced = unplaced.expect_err("there is no room");
    let Some(node) = unplaced.nominated.take() else { return Err(unplaced.message()) };
    assert!(evicted.lock().is_empty(), "a decision does nothing");
    assert!(unplaced.effect.take().unwrap().await.is_success());
    let names = evicted.lock().clone();
    Ok((node, names))
}

fn wants(seats: &str, priority: i32) -> PodBuilder {
    pod("new").request("example.com/seats", seats).priority(priority)
}

#[tokio::test]
async fn the_least_important_pods_leave_and_only_as_many_as_must() {
    let check = async |seats: &str, priority: i32, node: &str, victims: &[&str]| {
        let (nominated, evicted) = preempt(wants(seats, priority)).await.unwrap();
        assert_eq!(nominated, node, "{seats} seats");
        assert_eq!(evicted, victims, "{seats} seats");
    };
    // Two seats of rack `a` are enough, and the rack's other node keeps its pod.
    check("2", 50, "a1", &["low"]).await;
    // The most important pod that can stay does.
    check("3", 50, "a1", &["middle"]).await;
    check("5", 50, "a1", &["middle", "low"]).await;
    // Whoever is more important than all of them comes at the price of the least important ones.
    check("9", 1000, "b1", &["high"]).await;
}

#[tokio::test]
async fn nobody_leaves_where_that_would_not_help() {
    for (seats, priority) in [("2", 1), ("9", 50), ("11", 1000)] {
        let message = preempt(wants(seats, priority)).await.unwrap_err();
        assert!(message.contains("3 too few seats"), "{message}");
        assert!(message.ends_with("preemption is not helpful for scheduling"), "{message}");
    }
}
