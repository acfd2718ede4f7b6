//! Preemption: who leaves, where, and what is told of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::World;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use ksched::Scheduler;
use ksched::framework::{
    CycleState, ExtensionPoints, FilterPlugin, PreFilterExtensions, PreFilterPlugin,
    PreFilterResult, SchedulerPlugin, Status, plugin_fn,
};
use ksched::snapshot::{NodeInfo, PodInfo, Snapshot};
use ksched::testing::{Cluster, PodBuilder, node, pod};
use serde_json::json;

fn running(name: &str, on: &str, cpu: &str, priority: i32) -> PodBuilder {
    pod(name).cpu(cpu).priority(priority).on(on)
}

#[test]
fn the_node_is_chosen_where_it_hurts_least() {
    let nodes = || ["a", "b"].map(|name| node(name).cpu("4"));
    let started = |pod: PodBuilder, at: &str| pod.status("startTime", at.into());
    let check = |running: Vec<PodBuilder>, expected: &str| {
        let cluster = running.into_iter().fold(Cluster::new(nodes()), Cluster::running);
        let chosen = cluster.nominate(pod("new").cpu("3").priority(100));
        assert_eq!(chosen.as_deref(), Ok(expected), "{cluster:?}");
    };
    // The least important most important victim.
    check(vec![running("x", "a", "3", 5), running("y", "b", "3", 4)], "b");
    // The smallest sum of priorities, and so fewer victims of one priority.
    let two = [running("x", "a", "2", 5), running("y", "a", "2", 5)];
    check([&two[..], &[running("z", "b", "3", 5)]].concat(), "b");
    let with_less = [running("x", "a", "2", 5), running("y", "a", "2", 1)];
    let with_more = [running("z", "b", "2", 5), running("w", "b", "2", 3)];
    check([with_less, with_more].concat(), "a");
    // Those that have run for the shortest time.
    let old = started(running("x", "a", "3", 5), "2020-01-01T00:00:00Z");
    let new = started(running("y", "b", "3", 5), "2021-01-01T00:00:00Z");
    check(vec![old.clone(), new.clone()], "b");
    check(vec![new.clone().on("a"), old.on("b")], "a");
}

#[test]
fn budgets_are_kept_where_that_is_possible() {
    let budget = |allowed: i32| {
        json!({"metadata": {"name": "b", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "db"}}},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1,
                "expectedPods": 1}})
    };
    let chosen = |allowed: i32| {
        Cluster::new(["a", "b"].map(|name| node(name).cpu("4")))
            .json::<PodDisruptionBudget>(budget(allowed))
            .running(running("cheap", "a", "3", 1).label("app", "db"))
            .running(running("dear", "b", "3", 9))
            .nominate(pod("new").cpu("3").priority(100))
    };
    assert_eq!(chosen(0).as_deref(), Ok("b"));
    assert_eq!(chosen(1).as_deref(), Ok("a"));
}

#[test]
fn pods_that_must_not_or_cannot_help_stay() {
    let cluster = Cluster::new([node("a").cpu("4"), node("b").cpu("4").cordoned()])
        .running(running("x", "a", "3", 5));
    let refused = |pod: PodBuilder| cluster.nominate(pod).unwrap_err();
    let message = refused(pod("new").cpu("3").priority(5));
    let expected = "preemption: 0/2 nodes are available: 1 No preemption victims found for \
                    incoming pod, 1 Preemption is not helpful for scheduling.";
    assert!(message.ends_with(expected), "{message}");
    let never = pod("new").cpu("3").priority(9).spec("preemptionPolicy", "Never".into());
    let expected = "preemption: not eligible due to preemptionPolicy=Never.";
    assert!(refused(never).ends_with(expected));
    // Anti-affinity with a pod that would have to go is resolved by its going.
    let cluster =
        Cluster::new([node("a").cpu("4")]).running(running("x", "a", "1", 5).label("app", "web"));
    let apart = pod("new").priority(9).apart_from("app", "web", "kubernetes.io/hostname");
    assert_eq!(cluster.nominate(apart).as_deref(), Ok("a"));
}

#[tokio::test(start_paused = true)]
async fn victims_leave_the_pod_takes_their_place_and_both_are_told() {
    let world = World::new();
    for name in ["a", "b"] {
        world.node(node(name).cpu("4")).await;
    }
    let grace = |pod: PodBuilder| pod.spec("terminationGracePeriodSeconds", 0.into());
    let _running = world.run(Scheduler::new(world.client()));
    for at in 0..8 {
        world.pod(grace(pod(&format!("low-{at}")).cpu("900m"))).await;
    }
    for at in 0..8 {
        world.bound(&format!("low-{at}")).await;
    }
    world.priority_class("high", 10).await;
    world.pod(pod("high").cpu("3").spec("priorityClassName", "high".into())).await;
    let on = world.bound("high").await;
    let left = world.pods().list(&Default::default()).await.unwrap().items;
    let here = left.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.as_ref() == Some(&on));
    assert_eq!((left.len(), here.count()), (6, 2), "three had to leave, and no more");
    let uid = world.pods().get("high").await.unwrap().metadata.uid.clone().unwrap();
    let events = world.events("Preempted").await;
    assert_eq!(events.len(), 3, "{events:?}");
    let expected = format!("Preempted by pod {uid} on node {on}");
    assert!(events.iter().all(|message| *message == expected), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_kept_for_who_made_room_until_its_victims_have_left() {
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    let _running = world.run(Scheduler::new(world.client()));
    // It takes its time to leave: nobody runs the node's agent.
    world.bound_pod(pod("low").cpu("3"), "a").await;
    world.priority_class("high", 10).await;
    let high = |name: &str| pod(name).cpu("3").spec("priorityClassName", "high".into());
    world.pod(high("first")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let nominated = world.pods().get("first").await.unwrap();
    let nominated = nominated.status.as_ref().unwrap().nominated_node_name.clone();
    assert_eq!(nominated.as_deref(), Some("a"));
    let low = world.pods().get("low").await.unwrap();
    assert!(low.metadata.deletion_timestamp.is_some());
    let mut conditions = low.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = conditions.find(|c| c.type_ == "DisruptionTarget").unwrap();
    assert_eq!(told.reason.as_deref(), Some("PreemptionByScheduler"));
    // Whoever comes later does not take the room.
    world.pod(pod("later").cpu("3")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = kcore::client::DeleteOptions::default().grace_period_seconds(0);
    world.pods().delete("low", &now).await.unwrap();
    assert_eq!(world.bound("first").await, "a");
    assert_eq!(world.node_of("later").await, "");
}

/// What is taken in each rack: only the extensions can keep it right, for a filter that looks at
/// one node sees nothing of the others.
#[derive(Debug, Clone, Default)]
struct Taken(BTreeMap<String, i64>);

impl Taken {
    fn count(&mut self, node: &NodeInfo, seats: i64) {
        *self.0.entry(rack(node)).or_default() += seats;
    }
}

fn rack(node: &NodeInfo) -> String {
    node.label("rack").unwrap_or_default().to_owned()
}

fn seats(pod: &PodInfo) -> i64 {
    pod.requests().get("example.com/seats")
}

/// Keeps the pods of a rack's nodes together within its ten seats.
#[derive(Debug)]
struct Seats;

impl SchedulerPlugin for Seats {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self);
    }
}

impl PreFilterPlugin for Seats {
    fn pre_filter(&self, state: &mut CycleState, _: &PodInfo, nodes: &Snapshot) -> PreFilterResult {
        let mut taken = Taken::default();
        for node in nodes.nodes() {
            node.pods().iter().for_each(|pod| taken.count(node, seats(pod)));
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

/// Racks of nodes: `a` with two of them and ten seats taken, `b` full of important pods, `c` with
/// a node that takes nobody.
#[test]
fn filters_that_look_beyond_one_node_are_asked_with_the_victims_gone() {
    let node = |name: &str, rack: &str| {
        node(name).cpu("4").resource("example.com/seats", "100").label("rack", rack)
    };
    let seated = |name: &str, on: &str, seats: &str, priority: i32| {
        pod(name).request("example.com/seats", seats).cpu("100m").priority(priority).on(on)
    };
    let nodes = [node("a1", "a"), node("a2", "a"), node("b1", "b"), node("c1", "c").cordoned()];
    let running = [
        seated("low", "a1", "2", 1),
        seated("middle", "a1", "3", 5),
        seated("other", "a2", "5", 7),
        seated("high", "b1", "10", 100),
        seated("lost", "c1", "1", 0),
    ];
    let cluster = Cluster::new(nodes).plugin(plugin_fn("Seats", |_, _| Ok(Seats)));
    let cluster = running.into_iter().fold(cluster, Cluster::running);
    let nominate = |seats: &str, priority: i32| {
        cluster.nominate(pod("new").request("example.com/seats", seats).priority(priority))
    };
    // Two seats of rack `a` are enough, and the rack's other node keeps its pod.
    assert_eq!(nominate("2", 50).as_deref(), Ok("a1"));
    assert_eq!(nominate("5", 50).as_deref(), Ok("a1"));
    // Whoever is more important than all of them comes at the price of the least important ones.
    assert_eq!(nominate("9", 1000).as_deref(), Ok("b1"));
    // Nobody leaves where that would not help.
    for (seats, priority) in [("2", 1), ("9", 50), ("11", 1000)] {
        let message = nominate(seats, priority).unwrap_err();
        assert!(message.contains("3 too few seats"), "{message}");
    }
}
