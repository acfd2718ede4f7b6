//! How many pods a second the scheduler binds, in process: run with `cargo xtask bench sched`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DynClient, WatchEvent, WatchOptions};
use kcore::clock::Clock;
use kcore::component::{Component as _, Context};
use kcore::random::Random;
use kcore::stop::StopToken;
use ksched::Scheduler;
use kstore::MemoryStore;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Runs of each measurement; the median counts.
const RUNS: usize = 3;
const NODES: usize = 5_000;
const PODS: usize = 10_000;
/// Creates under way at once.
const AT_ONCE: usize = 32;
/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

struct Row {
    name: &'static str,
    unit: &'static str,
    value: f64,
    target: f64,
}

fn node(at: usize) -> Node {
    serde_json::from_value(json!({"metadata": {"name": format!("node-{at}"),
        "labels": {"kubernetes.io/hostname": format!("node-{at}")}},
        "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"},
            "capacity": {"cpu": "4", "memory": "32Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}))
    .unwrap()
}

fn pod(at: usize) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": format!("pod-{at}")},
        "spec": {"containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]}}))
    .unwrap()
}

async fn create_nodes(client: &DynClient) {
    let nodes: Api<Node> = Api::all(Arc::clone(client));
    for at in 0..NODES {
        let mut wanted = node(at);
        let created = nodes.create(wanted.clone()).await.unwrap();
        wanted.metadata = created.metadata.clone();
        nodes.update_status(wanted).await.unwrap();
    }
}

/// Pods a second, from the first create to the last binding.
async fn scheduling_basic() -> f64 {
    let api = ApiServer::new(MemoryStore::new());
    let admin: DynClient = Arc::new(api.client(Identity::admin()));
    create_nodes(&admin).await;
    let stop = StopToken::new();
    let ctx = Context::new(Clock::system(), Random::seeded(1)).with_stop(stop.clone());
    let health = ctx.health().clone();
    let scheduler = Scheduler::new(api.client(Identity::component("scheduler")));
    let running = tokio::spawn(async move { scheduler.run(ctx).await });
    while !health.current().is_ready() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pods: Api<Pod> = Api::namespaced(Arc::clone(&admin), "default");
    let version = pods.list(&Default::default()).await.unwrap().resource_version;
    let mut events = pods.watch(&WatchOptions::default().after(version)).await.unwrap();
    let watcher = tokio::spawn(async move {
        let mut bound = 0;
        while bound < PODS {
            for event in events.next().await.unwrap().unwrap().iter() {
                if let WatchEvent::Modified(object) = event {
                    let pod = object.view::<Pod>().unwrap();
                    bound += usize::from(pod.spec.as_ref().unwrap().node_name.is_some());
                }
            }
        }
        Instant::now()
    });
    let prepared: Vec<Pod> = (0..PODS).map(pod).collect();
    let began = Instant::now();
    futures::stream::iter(prepared)
        .for_each_concurrent(AT_ONCE, |pod| {
            let pods = pods.clone();
            async move {
                pods.create(pod).await.unwrap();
            }
        })
        .await;
    let ended = tokio::time::timeout(LIMIT, watcher).await.expect("all pods are bound").unwrap();
    stop.stop();
    running.await.unwrap().unwrap();
    PODS as f64 / ended.duration_since(began).as_secs_f64()
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    values.sort_by(f64::total_cmp);
    values[RUNS / 2]
}

fn main() {
    let rate = median(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(scheduling_basic())
    });
    let name = "SchedulingBasic, 5,000 nodes, in process";
    report("sched", &[Row { name, unit: "pods/s", value: rate, target: 15_000.0 }]);
}

fn report(area: &str, rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    for row in rows {
        let verdict = if row.value >= row.target { "met" } else { "missed" };
        writeln!(
            out,
            "{:44} {:>14.2} {:6} target >= {:<12} {verdict}",
            row.name, row.value, row.unit, row.target
        )
        .unwrap();
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({"name": row.name, "unit": row.unit, "value": row.value,
                "better": "higher", "target": row.target})
        })
        .collect();
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "../target".to_owned());
    let folder = std::path::Path::new(&target).join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{area}.json")), Value::from(json).to_string()).unwrap();
}
