//! Pods that all differ: what is found by bounds on groups of nodes is held against a pass over
//! every node.

use std::sync::Arc;

use kcore::random::Random;
use ksched::framework::Profile;
use ksched::scheduler::cycle::{Kept, Placement, Unplaced, schedule, schedule_with};
use ksched::scheduler::engine::Engine;
use ksched::snapshot::{NodeInfo, PodInfo, Snapshot, Templates};
use ksched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};
use serde_json::json;

use crate::{STEPS, say};

fn pick<'a>(random: &Random, from: &[&'a str]) -> &'a str {
    from[usize::try_from(random.below(from.len() as u64)).unwrap()]
}

/// Most nodes are of one shape, and the others of a few.
fn draw_node(random: &Random, at: usize) -> NodeBuilder {
    let name = format!("n{at}");
    let plain = node(&name).cpu("4").memory("8Gi").resource("pods", "20");
    if random.chance(0.8) {
        return plain;
    }
    let mut node = plain
        .cpu(pick(random, &["2", "4", "8"]))
        .resource("pods", pick(random, &["3", "20"]))
        .resource("ephemeral-storage", pick(random, &["1Gi", "10Gi"]))
        .resource("example.com/gpu", pick(random, &["0", "4"]));
    if random.chance(0.3) {
        let effect = pick(random, &["NoSchedule", "PreferNoSchedule"]);
        node = node.taint("old", pick(random, &["", "yes"]), effect);
    }
    if random.chance(0.1) { node.cordoned() } else { node }
}

/// A pod that asks for amounts of its own; small ones, so that many nodes are as good.
fn draw_pod(random: &Random, at: usize) -> PodBuilder {
    let milli = random.below(if random.chance(0.8) { 200 } else { 3_000 });
    let mebi = random.below(if random.chance(0.8) { 300 } else { 5_000 });
    let mut pod = pod(&format!("p{at}")).label("own", &at.to_string());
    if random.chance(0.95) {
        pod = pod.cpu(&format!("{milli}m"));
    }
    if random.chance(0.95) {
        pod = pod.memory(&format!("{mebi}Mi"));
    }
    if random.chance(0.1) {
        pod = pod.request("example.com/gpu", "1");
    }
    if random.chance(0.1) {
        pod = pod.request("ephemeral-storage", &format!("{mebi}Mi"));
    }
    if random.chance(0.3) {
        pod = pod.toleration(json!({"key": "old", "operator": "Exists"}));
    }
    if random.chance(0.02) {
        // Labels are nothing that the nodes of a group share.
        pod = pod.node_selector("kubernetes.io/hostname", &format!("n{}", random.below(9)));
    }
    pod
}

fn told(outcome: &Result<Placement, Box<Unplaced>>) -> String {
    match outcome {
        Ok(placed) => format!("{} of {}: {}", placed.node, placed.feasible, placed.score),
        Err(unplaced) => unplaced.message(),
    }
}

/// Runs the steps: how many pods were placed, and how many were not.
fn run(seed: u64, nodes: usize, steps: usize, strategy: &str) -> (usize, usize) {
    let random = Random::seeded(seed);
    let strategy = json!({"scoringStrategy": {"type": strategy}});
    let profile = Profile::default().args("NodeResourcesFit", strategy);
    let framework = Cluster::new([]).profile(profile).framework().unwrap();
    let drawn = (0..nodes).map(|at| NodeInfo::new(draw_node(&random, at).build()));
    let empty: Vec<NodeInfo> = drawn.collect();
    let mut snapshot = Snapshot::new(empty.clone());
    let (mut engine, mut templates) = (Engine::default(), Templates::default());
    let (mut placed, mut refused) = (0, 0);
    for step in 0..steps {
        let pod: Arc<PodInfo> =
            Arc::new(templates.read(draw_pod(&random, step).uid(&format!("u{step}")).build()));
        let (kept, draw) = (Kept::new(), random.next_u64());
        let plain = schedule(&framework, &snapshot, &kept, &pod, &Random::seeded(draw));
        let seeded = Random::seeded(draw);
        let quick = schedule_with(&mut engine, &framework, &snapshot, &kept, &pod, &seeded);
        assert_eq!(told(&quick), told(&plain), "seed {seed}, step {step}: {:?}", pod.requests());
        let Ok(plain) = plain else {
            refused += 1;
            // A cluster that is full begins anew.
            if random.chance(0.02) {
                snapshot = Snapshot::new(empty.clone());
            }
            continue;
        };
        placed += 1;
        snapshot.place(plain.position, pod);
    }
    say(format_args!(
        "seed {seed}: {steps} steps on {nodes} nodes, {placed} placed, {refused} refused: pods \
         that all differ"
    ));
    (placed, refused)
}

#[test]
fn groups_of_nodes_give_the_answer_of_a_pass_over_every_node() {
    let (placed, refused) = run(21, 60, STEPS, "LeastAllocated");
    assert!(placed > 1_000 && refused > 100, "{placed} and {refused}");
}

#[test]
fn groups_of_nodes_give_the_answer_of_a_pass_where_pods_are_packed() {
    let (placed, refused) = run(22, 60, STEPS, "MostAllocated");
    assert!(placed > 1_000 && refused > 100, "{placed} and {refused}");
}

/// Enough of them that a state has its members by rank.
#[test]
fn many_nodes_in_groups_give_the_answer_of_a_pass_over_every_node() {
    let (placed, _) = run(23, 2_000, 2_000, "LeastAllocated");
    assert!(placed > 1_000, "{placed}");
}

/// Places that are more than it is worth to tell apart, and then fewer: a label of its own for most
/// nodes, with preferences and constraints for it.
#[test]
fn more_classes_of_nodes_than_are_kept_give_the_same_answer() {
    const NODES: usize = 1_400;
    let random = Random::seeded(24);
    let framework = Cluster::new([]).framework().unwrap();
    let mut nodes: Vec<NodeInfo> = Vec::new();
    for at in 0..NODES {
        // Two nodes share a place, so that a place is more than its node.
        let rack = (at / 2).max(100).to_string();
        let slot = at.to_string();
        let built = node(&format!("n{at}")).cpu("4").label("rack", &rack).label("slot", &slot);
        nodes.push(NodeInfo::new(built.label("zone", pick(&random, &["1", "2"])).build()));
    }
    let mut snapshot = Snapshot::new(nodes);
    let (mut engine, mut templates) = (Engine::default(), Templates::default());
    let keys = ["rack", "slot", "zone", "kubernetes.io/hostname"];
    let mut shapes: Vec<PodBuilder> = Vec::new();
    for key in keys {
        let selector = json!({"matchLabels": {"app": "web"}});
        let spread = |when: &str| {
            json!({"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": when,
                "labelSelector": selector})
        };
        let term = json!({"topologyKey": key, "labelSelector": selector});
        let base = || pod(&format!("p-{key}")).label("app", "web").cpu("100m");
        shapes.push(base().spread(spread("DoNotSchedule")));
        shapes.push(base().spread(spread("ScheduleAnyway")));
        shapes.push(base().preferred_term("podAntiAffinity", 5, term.clone()));
        shapes.push(base().preferred_term("podAffinity", 1, term));
    }
    for step in 0..400 {
        let shape = shapes[usize::try_from(random.below(shapes.len() as u64)).unwrap()].clone();
        let pod = Arc::new(templates.read(shape.build()).replica(&format!("u{step}")));
        let (kept, draw) = (Kept::new(), random.next_u64());
        let plain = schedule(&framework, &snapshot, &kept, &pod, &Random::seeded(draw));
        let seeded = Random::seeded(draw);
        let quick = schedule_with(&mut engine, &framework, &snapshot, &kept, &pod, &seeded);
        assert_eq!(told(&quick), told(&plain), "step {step}: {}", pod.key());
        snapshot.place(plain.unwrap().position, pod);
    }
}
