//! Nodes that are kept for pods, and pods that make others leave: what an engine and the tables of
//! preemption remember is held against cycles that remember nothing, and who has to leave which
//! node against a reference that shares nothing with them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kcore::random::Random;
use ksched::framework::{Framework, Profile};
use ksched::scheduler::cycle::{Kept, Placement, Unplaced, schedule, schedule_with};
use ksched::scheduler::engine::Engine;
use ksched::snapshot::PodInfo;
use ksched::testing::{Cluster, PodBuilder, draw_pod};
use serde_json::json;

use crate::victims::Need;
use crate::world::World;
use crate::{STEPS, say};

/// Nodes that are kept at once, at most.
const KEPT: usize = 4;

/// Pods of a few priorities, which started at some time; those that look at other pods are few.
fn draw(random: &Random) -> PodBuilder {
    let drawn = draw_pod(random);
    let pod = if random.chance(0.2) { drawn } else { plain(random) };
    let minute = random.below(3);
    let pod = pod.priority(i32::try_from(random.below(4)).unwrap());
    let pod = if random.chance(0.05) { pod.spec("preemptionPolicy", "Never".into()) } else { pod };
    if random.chance(0.1) {
        return pod;
    }
    pod.status("startTime", format!("2026-01-01T00:0{minute}:00Z").into())
}

fn plain(random: &Random) -> PodBuilder {
    let pick = |from: [&str; 3]| from[usize::try_from(random.below(3)).unwrap()].to_owned();
    ksched::testing::pod("p")
        .namespace(if random.chance(0.5) { "a" } else { "b" })
        .label("app", if random.chance(0.5) { "web" } else { "db" })
        .cpu(&pick(["500m", "1", "3"]))
        .memory(&pick(["64Mi", "1Gi", "3Gi"]))
}

/// A cluster with or without budgets for disruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budgets {
    None,
    Tight,
}

impl Budgets {
    /// In one namespace there are two, of which one protects few; in the other one that may be
    /// broken a little, and one that protects nobody.
    fn list(self) -> Vec<PodDisruptionBudget> {
        let budget = |name: &str, namespace: &str, selector: serde_json::Value, allowed: i32| {
            let budget = json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": selector},
                "status": {"disruptionsAllowed": allowed, "currentHealthy": 1,
                    "desiredHealthy": 1, "expectedPods": 1}});
            serde_json::from_value(budget).unwrap()
        };
        let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
        match self {
            Self::None => Vec::new(),
            Self::Tight => vec![
                budget("web", "a", labels("app", "web"), 0),
                budget("second", "a", labels("version", "2"), 1),
                budget("web", "b", labels("app", "web"), 1),
                budget("all", "b", json!({}), 0),
            ],
        }
    }
}

fn framework(world: &World, budgets: Budgets) -> Framework {
    let mut cluster = Cluster::new([]).profile(Profile::default());
    for (name, labels) in &world.namespaces {
        cluster = cluster.json::<Namespace>(json!({"metadata": {"name": name, "labels": labels}}));
    }
    let all = budgets.list().into_iter();
    all.fold(cluster, Cluster::object::<PodDisruptionBudget>).framework().unwrap()
}

/// Pods that nodes are kept for.
struct Keeping {
    kept: Kept,
    pods: Vec<(Arc<str>, Arc<PodInfo>)>,
}

impl Keeping {
    /// Tells anew whom a node is kept for.
    fn tell(&mut self, world: &World, node: &str) {
        let Some(at) = world.snapshot.position(node) else { return };
        let pods = self.pods.iter().filter(|(on, _)| &**on == node);
        let pods: Vec<Arc<PodInfo>> = pods.map(|(_, pod)| Arc::clone(pod)).collect();
        if pods.is_empty() { self.kept.release(at) } else { self.kept.keep(at, pods) }
    }

    /// The nodes' positions may be others.
    fn tell_all(&mut self, world: &World) {
        self.kept = Kept::new();
        for node in world.snapshot.nodes() {
            self.tell(world, node.name());
        }
    }

    /// One more node is kept for a pod.
    fn keep(&mut self, world: &World, node: &str, pod: &Arc<PodInfo>) {
        self.forget(world, pod.uid());
        self.pods.push((node.into(), Arc::clone(pod)));
        self.tell(world, node);
    }

    /// No node is kept for a pod any more.
    fn forget(&mut self, world: &World, uid: &str) {
        let Some(at) = self.pods.iter().position(|(_, pod)| pod.uid() == uid) else { return };
        let (node, _) = self.pods.remove(at);
        self.tell(world, &node);
    }
}

/// Holds who has to leave which node against the reference.
fn compare(need: &Need<'_>, unplaced: &Unplaced, step: usize) {
    let node = unplaced.nominated.clone().filter(|node| !node.is_empty());
    let victims = unplaced.victims.iter().map(|victim| victim.uid().to_owned()).collect();
    let found: Option<(String, Vec<String>)> = node.map(|node| (node, victims));
    assert_eq!(found, need.answer(), "step {step}: {}", need.pod.key());
}

fn told(outcome: &Result<Placement, Box<Unplaced>>) -> String {
    match outcome {
        Ok(placed) => format!("{} of {}: {}", placed.node, placed.feasible, placed.score),
        Err(unplaced) => format!("{:?}: {}", unplaced.nominated, unplaced.message()),
    }
}

/// Runs the steps: how many pods were placed, how many made others leave, and how many neither.
fn run(seed: u64, budgets: Budgets) -> [usize; 3] {
    let mut world = World::with_pods(seed, draw);
    let framework = framework(&world, budgets);
    let budgets = budgets.list();
    let (mut engine, mut counts) = (Engine::default(), [0; 3]);
    let mut keeping = Keeping { kept: Kept::new(), pods: Vec::new() };
    let mut names: Vec<Arc<str>> = Vec::new();
    for step in 0..STEPS {
        if world.random.chance(0.2) {
            world.happen();
        }
        let now: Vec<Arc<str>> =
            world.snapshot.nodes().iter().map(|node| node.name().into()).collect();
        if now != names {
            names = now;
            keeping.tell_all(&world);
        }
        if names.is_empty() {
            continue;
        }
        if keeping.pods.len() > KEPT || (!keeping.pods.is_empty() && world.random.chance(0.2)) {
            let (_, pod) = keeping.pods[0].clone();
            keeping.forget(&world, pod.uid());
        }
        // Some pods come again, to the node that is kept for them.
        let own = keeping.pods.last().filter(|_| world.random.chance(0.2)).cloned();
        let own_at = own.as_ref().and_then(|(node, _)| world.snapshot.position(node));
        let pod = own.map_or_else(|| world.pod(), |(_, pod)| pod);
        keeping.kept.set_own(own_at);
        let draw = world.random.next_u64();
        let (snapshot, kept) = (&world.snapshot, &keeping.kept);
        let plain = schedule(&framework, snapshot, kept, &pod, &Random::seeded(draw));
        let seeded = Random::seeded(draw);
        let quick = schedule_with(&mut engine, &framework, snapshot, kept, &pod, &seeded);
        assert_eq!(told(&quick), told(&plain), "seed {seed}, step {step}: {}", pod.key());
        match plain {
            Ok(placed) => {
                counts[0] += 1;
                keeping.forget(&world, pod.uid());
                world.place(&pod, &placed.node);
            }
            Err(unplaced) => {
                let (nodes, namespaces) = (world.snapshot.nodes(), &world.namespaces);
                let (budgets, kept) = (&budgets, &keeping.pods);
                let need = Need { nodes, pod: &pod, namespaces, budgets, kept };
                compare(&need, &unplaced, step);
                match unplaced.nominated.as_deref() {
                    Some(node) if !node.is_empty() => {
                        counts[1] += 1;
                        keeping.keep(&world, node, &pod);
                    }
                    _ => counts[2] += 1,
                }
            }
        }
    }
    let [placed, preempting, refused] = counts;
    say(format_args!(
        "seed {seed}: {STEPS} steps, {placed} placed, {preempting} made others leave, {refused} \
         refused: DefaultPreemption, nodes kept for pods, the same victims"
    ));
    counts
}

#[test]
fn preemption_agrees_with_the_reference_and_with_cycles_that_remember_nothing() {
    let counts = run(11, Budgets::None);
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}

#[test]
fn preemption_agrees_with_the_reference_where_budgets_protect_pods() {
    let counts = run(12, Budgets::Tight);
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}
