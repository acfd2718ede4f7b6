//! The engine beside a slow and obviously right reference, on seeded clusters and what happens to
//! them: the same nodes, the same reasons, the same scores, and the same draw among the best.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod naive;
mod preempting;
mod strangers;
mod victims;
mod world;

use std::fmt::Display;
use std::io::Write as _;

use k8s_openapi::api::core::v1::Namespace;
use kcore::random::Random;
use ksched::framework::{Framework, Profile};
use ksched::scheduler::cycle::{Kept, schedule, schedule_with};
use ksched::scheduler::engine::Engine;
use ksched::scheduler::explain::{Explanation, explain};
use ksched::snapshot::NodeInfo;
use ksched::testing::Cluster;
use naive::Question;
use serde_json::json;
use world::World;

/// Steps for each plugin.
const STEPS: usize = 20_000;

/// The plugins that decide, in the order they run.
const PLUGINS: [&str; 9] = [
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
];

/// Those of them that turn nodes away.
const FILTERS: &[&str] = PLUGINS.first_chunk::<7>().unwrap();

/// Says what was tried. The test runner keeps what tests print to itself unless they fail, so this
/// does not print.
fn say(what: impl Display) {
    // Numbers that cannot be written are no reason to fail.
    let _ = writeln!(std::io::stderr(), "evidence: {what}");
}

/// A profile with these plugins alone.
fn framework(world: &World, plugins: &[&str]) -> Framework {
    let others = PLUGINS.iter().filter(|plugin| !plugins.contains(plugin));
    let profile = others.fold(Profile::default(), |profile, plugin| profile.disable(*plugin));
    let mut cluster = Cluster::new([]).profile(profile);
    for (name, labels) in &world.namespaces {
        cluster = cluster.json::<Namespace>(json!({"metadata": {"name": name, "labels": labels}}));
    }
    cluster.framework().unwrap()
}

fn compare(question: &Question<'_>, plugins: &[&str], found: &Explanation, step: usize) {
    let mut feasible: Vec<(usize, &NodeInfo)> = Vec::new();
    for (at, node) in question.nodes.iter().enumerate() {
        let expected = plugins.iter().find_map(|plugin| {
            question.filter(plugin, node).map(|reason| ((*plugin).to_owned(), reason))
        });
        let said = found.nodes[at].rejected.as_ref();
        let said = said.map(|(plugin, status)| (plugin.to_string(), status.message()));
        assert_eq!(said, expected, "step {step}: {} on {}", question.pod.key(), node.name());
        if expected.is_none() {
            feasible.push((at, node));
        }
    }
    let nodes: Vec<&NodeInfo> = feasible.iter().map(|(_, node)| *node).collect();
    for plugin in plugins {
        let Some(expected) = question.score(plugin, &nodes) else { continue };
        let said: Vec<Option<i64>> = feasible
            .iter()
            .map(|(at, _)| {
                let scores = &found.nodes[*at].scores;
                scores.iter().find(|score| &*score.plugin == *plugin).map(|score| score.score)
            })
            .collect();
        if said.iter().all(Option::is_none) {
            // Whoever has nothing to say would have said the same of all.
            let same = expected.windows(2).all(|pair| pair[0] == pair[1]);
            assert!(same, "step {step}: {plugin} skipped {expected:?}");
            continue;
        }
        let expected: Vec<Option<i64>> = expected.into_iter().map(Some).collect();
        assert_eq!(said, expected, "step {step}: scores of {plugin}");
    }
}

/// Runs the steps: how many pods were placed, and how many were not.
fn run(seed: u64, plugins: &[&str]) -> (usize, usize) {
    let mut world = World::new(seed);
    let framework = framework(&world, plugins);
    let mut engine = Engine::default();
    let (mut placed, mut refused) = (0, 0);
    for step in 0..STEPS {
        if world.random.chance(0.35) {
            world.happen();
            continue;
        }
        let pod = world.pod();
        if world.snapshot.is_empty() {
            continue;
        }
        let draw = world.random.next_u64();
        let found = explain(&framework, &world.snapshot, &Kept::new(), &pod).unwrap();
        let (nodes, namespaces) = (world.snapshot.nodes(), &world.namespaces);
        compare(&Question { nodes, pod: &pod, namespaces }, plugins, &found, step);
        let (snapshot, kept) = (&world.snapshot, Kept::new());
        let plain = schedule(&framework, snapshot, &kept, &pod, &Random::seeded(draw));
        let seeded = Random::seeded(draw);
        let quick = schedule_with(&mut engine, &framework, snapshot, &kept, &pod, &seeded);
        match (plain, quick) {
            (Ok(plain), Ok(quick)) => {
                let both = |of: &ksched::scheduler::cycle::Placement| {
                    (of.node.clone(), of.feasible, of.score)
                };
                assert_eq!(both(&quick), both(&plain), "seed {seed}, step {step}");
                placed += 1;
                world.place(&pod, &plain.node);
            }
            (Err(plain), Err(quick)) => {
                assert_eq!(quick.message(), plain.message(), "seed {seed}, step {step}");
                refused += 1;
            }
            (plain, quick) => panic!("seed {seed}, step {step}: {plain:?} but {quick:?}"),
        }
    }
    let names = plugins.join(", ");
    say(format_args!("seed {seed}: {STEPS} steps, {placed} placed, {refused} refused: {names}"));
    (placed, refused)
}

macro_rules! plugin_agrees {
    ($($test:ident: $seed:literal, $plugin:literal, $refuses:literal;)*) => {$(
        #[test]
        fn $test() {
            let (placed, refused) = run($seed, &[$plugin]);
            assert!(placed > 1_000 && (refused > 5) == $refuses, "{placed} and {refused}");
        }
    )*};
}

plugin_agrees! {
    node_unschedulable_agrees_with_the_reference: 1, "NodeUnschedulable", false;
    taint_toleration_agrees_with_the_reference: 2, "TaintToleration", false;
    node_affinity_agrees_with_the_reference: 3, "NodeAffinity", true;
    node_ports_agree_with_the_reference: 4, "NodePorts", true;
    node_resources_fit_agrees_with_the_reference: 5, "NodeResourcesFit", true;
    pod_topology_spread_agrees_with_the_reference: 6, "PodTopologySpread", true;
    inter_pod_affinity_agrees_with_the_reference: 7, "InterPodAffinity", true;
    balanced_allocation_agrees_with_the_reference: 8, "NodeResourcesBalancedAllocation", false;
    image_locality_agrees_with_the_reference: 9, "ImageLocality", false;
}

#[test]
fn all_plugins_together_agree_with_the_reference() {
    let (placed, refused) = run(10, &PLUGINS);
    assert!(placed > 1_000 && refused > 1_000, "{placed} and {refused}");
}
