//! Whole clusters: how soon one is there, what it costs when nothing happens, how many nodes it
//! carries.
//!
//! It measures the examples `standalone` and `simulated_nodes` as they were built for release.
//! Prints a table and writes `target/bench/cluster.json`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::time::Instant;

/// How often each figure is taken; the median counts.
const ROUNDS: usize = 5;
/// How long an idle cluster is watched, in seconds.
const IDLE_SECONDS: u64 = 20;
/// Clock ticks a second, as Linux counts processor time.
const TICKS: f64 = 100.0;

struct Row {
    name: &'static str,
    unit: &'static str,
    value: f64,
    target: f64,
}

fn main() {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load before: {}", load.trim());
    let mut rows = tokio.block_on(standalone());
    rows.extend(simulated());
    let mut json = Vec::new();
    for Row { name, unit, value, target } in rows {
        println!("{name:<58} {value:>10.2} {unit:<3} (target {target})");
        json.push(json!({
            "name": name, "unit": unit, "value": value, "better": "lower", "target": target,
        }));
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("cluster.json"), serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}

/// An example's program, as `cargo xtask bench` has built it.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built; run `cargo xtask bench cluster`", path.display());
    path
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A cluster in a process of its own.
struct Cluster {
    child: Child,
    _directory: tempfile::TempDir,
    client: kube::Client,
    ready_ms: f64,
    began: Instant,
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let mut child = Command::new(example("standalone"))
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen", "127.0.0.1:0", "--pod-cidr", "127.98.0.0/16"])
            .args(["--service-cidr", "127.99.0.0/16"])
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let path = line.trim().strip_prefix("kubeconfig: ").unwrap();
        let config = Kubeconfig::read_from(path).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let ready = || http::Request::get("/readyz").body(Vec::new()).unwrap();
        while client.request_text(ready()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ready_ms = began.elapsed().as_secs_f64() * 1e3;
        Self { child, _directory: directory, client, ready_ms, began }
    }

    /// Applies a Deployment of three and waits until they are ready. Seconds since the start.
    async fn deploy(&self) -> f64 {
        let container = json!({"name": "main", "image": "host", "command": ["sleep", "1000"]});
        let labels = json!({"app": "web"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
        let spec =
            json!({"replicas": 3, "selector": {"matchLabels": labels}, "template": template});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web"}, "spec": spec});
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), "default");
        let deployment = serde_json::from_value(deployment).unwrap();
        deployments.create(&PostParams::default(), &deployment).await.unwrap();
        loop {
            let status = deployments.get("web").await.unwrap().status.unwrap_or_default();
            if status.ready_replicas == Some(3) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = self.began.elapsed().as_secs_f64();
        deployments.delete("web", &DeleteParams::default()).await.unwrap();
        took
    }

    /// Resident memory in MB, and the processor time spent so far in seconds.
    fn use_of(&self) -> (f64, f64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<f64> =
            fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        // Fields 14, 15 and 24 of the whole line; these begin with the third.
        let pages = fields[21];
        (pages * 4096.0 / 1e6, (fields[11] + fields[12]) / TICKS)
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

async fn standalone() -> Vec<Row> {
    let (mut ready, mut pods) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cluster = Cluster::start().await;
        ready.push(cluster.ready_ms);
        pods.push(cluster.deploy().await);
        cluster.stop();
    }
    let cluster = Cluster::start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, before) = cluster.use_of();
    tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
    let (memory, after) = cluster.use_of();
    cluster.stop();
    let core = (after - before) / IDLE_SECONDS as f64 * 100.0;
    let row = |name, unit, value, target| Row { name, unit, value, target };
    vec![
        row("standalone: start to /readyz", "ms", median(ready), 300.0),
        row("standalone: start to three Ready pods of a Deployment", "s", median(pods), 3.0),
        row("standalone: resident memory when idle", "MB", memory, 50.0),
        row("standalone: share of a core when idle", "%", core, 1.0),
    ]
}

/// A thousand nodes and ten thousand pods, by the word of the example.
fn simulated() -> Vec<Row> {
    let runs: Vec<f64> = (0..3)
        .map(|_| {
            let output = Command::new(example("simulated_nodes")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            let line = text.lines().find(|line| line.contains("Running after")).unwrap();
            line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
        })
        .collect();
    let name = "1,000 simulated nodes: 10,000 pods of one Deployment Running";
    vec![Row { name, unit: "s", value: median(runs), target: 10.0 }]
}
