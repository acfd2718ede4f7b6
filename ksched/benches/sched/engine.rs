//! The engine alone: a snapshot that is fed directly, without an API server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::random::Random;
use ksched::framework::{
    Candidates, CycleState, ExtensionPoints, FilterPlugin, SchedulerPlugin, Status,
};
use ksched::scheduler::cycle::{Kept, schedule_with};
use ksched::scheduler::engine::Engine;
use ksched::snapshot::{NodeInfo, PodInfo, Resources, Snapshot, Templates};
use ksched::testing::Cluster;
use serde_json::json;
use tokio::time::Instant;

/// One measurement of the engine.
pub(crate) struct Alone {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pods: usize,
    /// How many pods differ from all others.
    signatures: usize,
    pub(crate) target: f64,
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) const ALL: [Alone; 4] = [
    Alone {
        name: "engine alone: 5,000 nodes, 100,000 pods, one signature",
        nodes: 5_000,
        pods: 100_000,
        signatures: 1,
        target: 100_000.0,
    },
    Alone {
        name: "engine alone: 1,000,000 nodes, 1,000,000 pods, one signature",
        nodes: 1_000_000,
        pods: 1_000_000,
        signatures: 1,
        target: 14_000.0,
    },
    Alone {
        name: "engine alone: 1,000,000 nodes, 1,000,000 pods, ten signatures",
        nodes: 1_000_000,
        pods: 1_000_000,
        signatures: 10,
        target: 14_000.0,
    },
    Alone {
        name: "engine alone: 1,000,000 nodes, 1,000,000 pods that all differ",
        nodes: 1_000_000,
        pods: 1_000_000,
        signatures: 1_000_000,
        target: 800.0,
    },
];

fn node(at: usize) -> NodeInfo {
    let name = format!("node-{at}");
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}}}))
    .unwrap();
    NodeInfo::new(Arc::new(node))
}

/// What a pod asks for. No two of a million are alike: from 50 to 1,049 thousandths of a CPU, and
/// from 64 MiB to about 2 GiB of memory.
fn requests(at: usize) -> Resources {
    let at = i64::try_from(at).unwrap();
    let (milli_cpu, kibibytes) = (50 + at * 7 % 1_000, 65_536 + at * 7_919 % 2_000_003);
    Resources { milli_cpu, memory: kibibytes * 1_024, ..Resources::default() }
}

fn pod(at: usize) -> Pod {
    let asked = requests(at);
    let (cpu, memory) = (format!("{}m", asked.milli_cpu), asked.memory.to_string());
    let requests = json!({"cpu": cpu, "memory": memory});
    serde_json::from_value(json!({"metadata": {"name": "pod", "namespace": "default"},
        "spec": {"containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": requests}}]}}))
    .unwrap()
}

/// Shapes that are made before the clock runs; more of them are made as they are needed.
const MOST_SHAPES: usize = 10;

/// Places pod after pod.
#[allow(clippy::cast_precision_loss, reason = "counts are far smaller")]
pub(crate) fn run(alone: &Alone) -> Measured {
    let framework = Cluster::new([]).framework().unwrap();
    let mut snapshot: Snapshot = (0..alone.nodes).map(node).collect();
    let mut templates = Templates::default();
    let few = alone.signatures.min(MOST_SHAPES);
    let shapes: Vec<PodInfo> = (0..few).map(|at| templates.read(Arc::new(pod(at)))).collect();
    let (mut engine, kept, random) = (Engine::default(), Kept::new(), Random::seeded(1));
    let mut durations: Vec<f64> = Vec::with_capacity(alone.pods);
    let began = Instant::now();
    for at in 0..alone.pods {
        let (shape, uid) = (&shapes[at % shapes.len()], format!("uid-{at}"));
        let pod = Arc::new(match alone.signatures {
            count if count <= MOST_SHAPES => shape.replica(&uid),
            _ => templates.variant(shape, &uid, requests(at)),
        });
        let attempt = Instant::now();
        let placed = schedule_with(&mut engine, &framework, &snapshot, &kept, &pod, &random);
        let placed = placed.expect("there is room");
        durations.push(attempt.elapsed().as_secs_f64() * 1e6);
        snapshot.place(placed.position, pod);
    }
    let seconds = began.elapsed().as_secs_f64();
    durations.sort_by(f64::total_cmp);
    let quantile = |part: usize| durations[durations.len() * part / 100];
    Measured { rate: alone.pods as f64 / seconds, p50_us: quantile(50), p99_us: quantile(99) }
}

/// A filter of a user's: the form for one node, that depends on more than pod and node.
#[derive(Debug)]
struct Own;

impl SchedulerPlugin for Own {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self);
    }
}

impl FilterPlugin for Own {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        let full = pod.priority() < 0 && node.pods().is_empty();
        if full { Status::unschedulable("no") } else { Status::success() }
    }
}

/// What a per-node plugin costs, in nanoseconds for each node, its own work included.
#[allow(clippy::cast_precision_loss, reason = "counts are far smaller")]
pub(crate) fn own_plugin_ns() -> f64 {
    const NODES: usize = 5_000;
    const PASSES: usize = 2_000;
    let snapshot = Snapshot::new((0..NODES).map(node).collect());
    let pod = PodInfo::new(Arc::new(pod(0)));
    let (state, own) = (CycleState::default(), Own);
    let mut left = 0;
    let began = Instant::now();
    for _ in 0..PASSES {
        let mut candidates = Candidates::all(NODES);
        own.filter_nodes(&state, &pod, &snapshot, &mut candidates);
        left += candidates.feasible().len();
    }
    assert_eq!(left, NODES * PASSES);
    began.elapsed().as_secs_f64() * 1e9 / (NODES * PASSES) as f64
}
