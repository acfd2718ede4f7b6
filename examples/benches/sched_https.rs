//! How many pods a second the scheduler binds over HTTPS.
//!
//! The server is the example `standalone` as a process of its own, without its own scheduler,
//! controllers and node. This process is its scheduler, and creates the pods through another
//! client while they are bound. Prints a table and writes `target/bench/sched_https.json`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::{Api, DynClient, KubeClient, ListOptions};
use kcore::clock::Clock;
use kcore::component::{Component as _, Context};
use kcore::random::Random;
use kcore::selector::FieldSelector;
use kcore::stop::StopToken;
use ksched::Scheduler;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::time::Instant;

/// As the example `scheduler` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs; the one with the median rate counts.
const RUNS: usize = 3;
const NODES: usize = 5_000;
/// Pods that are there before anything is measured.
const INIT: usize = 1_000;
const PODS: usize = 30_000;
/// Creates under way at once.
const AT_ONCE: usize = 64;
const TARGET: f64 = 3_000.0;
/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(300);
/// Clock ticks a second, as Linux counts processor time.
const TICKS: f64 = 100.0;

/// The server, and where it says how to reach it.
struct Server {
    child: Child,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let this = std::env::current_exe().unwrap();
        let program = this.ancestors().nth(2).unwrap().join("examples/standalone");
        assert!(program.exists(), "it is not built; run `cargo xtask bench sched`");
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen", "127.0.0.1:0", "--disable", "controllers,scheduler,node"])
            .args(["--pod-cidr", "127.96.0.0/16", "--service-cidr", "127.97.0.0/16"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("kubeconfig: "), "{line}");
        Self { child, directory }
    }

    async fn client(&self, kubeconfig: &str) -> DynClient {
        let config = Kubeconfig::read_from(self.directory.path().join(kubeconfig)).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        Arc::new(KubeClient::new(kube::Client::try_from(config).unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The most memory a process had, in MiB.
fn peak_mebibytes(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Seconds of processor time a process has used.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

fn node(name: &str) -> Node {
    let room = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    let ready = json!({"type": "Ready", "status": "True"});
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }))
    .unwrap()
}

fn pod(name: &str) -> Pod {
    let room = json!({"cpu": "100m", "memory": "500Mi"});
    let container = json!({"name": "pause", "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80}], "resources": {"limits": room, "requests": room}});
    serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"containers": [container]},
    }))
    .unwrap()
}

async fn create_nodes(client: &DynClient) {
    let nodes: Api<Node> = Api::all(Arc::clone(client));
    futures::stream::iter(0..NODES)
        .for_each_concurrent(AT_ONCE, |at| {
            let (nodes, mut wanted) = (nodes.clone(), node(&format!("node-{at}")));
            async move {
                let created = nodes.create(wanted.clone()).await.unwrap();
                wanted.metadata = created.metadata.clone();
                nodes.update_status(wanted).await.unwrap();
            }
        })
        .await;
}

/// Creates pods and waits until none is without a node. Seconds from the first create on.
async fn create_pods(client: &DynClient, prefix: &str, count: usize) -> f64 {
    let api: Api<Pod> = Api::namespaced(Arc::clone(client), "default");
    let began = Instant::now();
    futures::stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |at| {
            let (api, pod) = (api.clone(), pod(&format!("{prefix}-{at}")));
            async move { drop(api.create(pod).await.unwrap()) }
        })
        .await;
    let waiting = FieldSelector::equals("spec.nodeName", "");
    let waiting = ListOptions::default().fields(waiting).limit(1);
    while !api.list(&waiting).await.unwrap().items.is_empty() {
        assert!(began.elapsed() < LIMIT, "not all pods were bound in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed().as_secs_f64()
}

/// Runs the workload once.
async fn run() -> Value {
    let server = Server::start();
    let id = server.child.id().to_string();
    let admin = server.client("kubeconfig").await;
    create_nodes(&admin).await;
    let stop = StopToken::new();
    let ctx = Context::new(Clock::system(), Random::seeded(1)).with_stop(stop.clone());
    let health = ctx.health().clone();
    let scheduler = Scheduler::new(server.client("scheduler.kubeconfig").await);
    let metrics = Arc::clone(scheduler.metrics());
    let running = tokio::spawn(async move { scheduler.run(ctx).await });
    while !health.current().is_ready() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    create_pods(&admin, "init", INIT).await;
    metrics.reset();
    let before = [cpu_seconds("self"), cpu_seconds(&id)];
    let seconds = create_pods(&admin, "pod", PODS).await;
    let cores = |now: f64, before: f64| (now - before) / seconds;
    let micros = |part: f64| metrics.quantile(part).as_secs_f64() * 1e6;
    let measured = json!({
        "rate": PODS as f64 / seconds, "p50_us": micros(0.5), "p99_us": micros(0.99),
        "cores": cores(cpu_seconds("self"), before[0]),
        "server_cores": cores(cpu_seconds(&id), before[1]),
        "memory_mib": peak_mebibytes("self"), "server_memory_mib": peak_mebibytes(&id),
    });
    stop.stop();
    running.await.unwrap().unwrap();
    measured
}

fn main() {
    let mut results: Vec<Value> = (0..RUNS)
        .map(|_| {
            let tokio = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            tokio.block_on(run())
        })
        .collect();
    let number = |result: &Value, name: &str| result[name].as_f64().unwrap();
    results.sort_by(|a, b| number(a, "rate").total_cmp(&number(b, "rate")));
    let result = results.swap_remove(RUNS / 2);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load: {}", load.trim());
    let name = format!("SchedulingBasic/{NODES}Nodes_{PODS}Pods, over HTTPS");
    println!(
        "{:58} {:>8} {:>8} {:>9} {:>9} {:>13} {:>13}",
        "workload", "pods/s", "target", "p50 µs", "p99 µs", "cores c+s", "MiB c+s"
    );
    println!(
        "{name:58} {:>8.0} {TARGET:>8} {:>9.1} {:>9.1} {:>6.2}+{:<6.2} {:>6.0}+{:<6.0}",
        number(&result, "rate"),
        number(&result, "p50_us"),
        number(&result, "p99_us"),
        number(&result, "cores"),
        number(&result, "server_cores"),
        number(&result, "memory_mib"),
        number(&result, "server_memory_mib"),
    );
    let lower = |what: &str, unit: &str, field: &str, target: u32| {
        json!({"name": format!("{name}: {what}"), "unit": unit, "value": result[field],
            "better": "lower", "target": target})
    };
    let rows = json!([
        {"name": name, "unit": "pods/s", "value": result["rate"], "better": "higher",
            "target": TARGET},
        lower("p50 of an attempt", "µs", "p50_us", 1_000),
        lower("p99 of an attempt", "µs", "p99_us", 1_000),
        lower("peak memory of scheduler and load", "MiB", "memory_mib", 1_024),
        lower("peak memory of the server", "MiB", "server_memory_mib", 1_024),
    ]);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("sched_https.json"), rows.to_string()).unwrap();
}
