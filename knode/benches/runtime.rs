//! What a container costs: `cargo bench -p knode --bench runtime`.
//!
//! Prints a table and writes `target/bench/runtime.json`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks and may break")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use knode::fake::{FakeRuntime, Options as FakeOptions};
use knode::process::{Options, ProcessRuntime};
use knode::runtime::{
    ContainerConfig, ContainerId, PullOptions, Runtime, SandboxConfig, SandboxId,
};
use tokio::time::Instant;

const CONTAINERS: usize = 100;
const FAKE_PODS: usize = 100_000;

struct Row {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

async fn pod(runtime: &dyn Runtime, name: &str, logs: &Path) -> SandboxId {
    let config = SandboxConfig::default().name(name).uid(name).log_directory(logs.to_owned());
    runtime.sandboxes().run(config).await.unwrap()
}

async fn created(runtime: &dyn Runtime, pod: &SandboxId, image: &str) -> ContainerId {
    let config = ContainerConfig::default().name("c").image(image).log_path("c.log");
    let config = config.command(["sleep", "3600"]);
    runtime.containers().create(pod, config).await.unwrap()
}

/// Resident and private memory of all shims below `root`, in KiB each.
fn shim_memory(root: &Path) -> (f64, f64) {
    let marker = format!("KUBRICK_SHIM={}", root.display()).into_bytes();
    let (mut resident, mut private, mut count) = (0.0, 0.0, 0.0);
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if !environ.starts_with(&marker) {
            continue;
        }
        let rollup = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap();
        let field = |name: &str| -> f64 {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
        };
        resident += field("Rss:");
        private += field("Private_Clean:") + field("Private_Dirty:");
        count += 1.0;
    }
    (resident / count, private / count)
}

async fn processes(rows: &mut Vec<Row>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("runtime");
    let options = || Options::default().shim_path(PathBuf::from(env!("CARGO_BIN_EXE_knode-shim")));
    let runtime = ProcessRuntime::new(&root, options()).unwrap();
    let (mut starts, mut removals, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CONTAINERS {
        let pod = pod(&runtime, &format!("p{number}"), &dir.path().join("logs")).await;
        let container = created(&runtime, &pod, "host").await;
        let began = Instant::now();
        runtime.containers().start(&container).await.unwrap();
        starts.push(ms(began));
        pods.push(pod);
    }
    let (resident, private) = shim_memory(&std::fs::canonicalize(&root).unwrap());
    drop(runtime);
    let began = Instant::now();
    let runtime = ProcessRuntime::new(&root, options()).unwrap();
    let adoption = ms(began);
    for pod in pods {
        let began = Instant::now();
        runtime.sandboxes().remove(&pod).await.unwrap();
        removals.push(ms(began));
    }
    let row = |name, unit, value| Row { name, unit, value };
    rows.push(row("process: start a container, median", "ms", median(starts)));
    rows.push(row("process: kill and remove a pod, median", "ms", median(removals)));
    rows.push(row("process: adopt 100 containers", "ms", adoption));
    rows.push(row("process: resident memory of a shim", "KiB", resident));
    rows.push(row("process: private memory of a shim", "KiB", private));
}

async fn scripted(rows: &mut Vec<Row>) {
    let runtime = FakeRuntime::new(FakeOptions::default());
    runtime.images().pull("web", PullOptions::default()).await.unwrap();
    let mut rate = Vec::new();
    for round in 0..5 {
        let began = Instant::now();
        for number in 0..FAKE_PODS / 100 {
            let pod = pod(&runtime, &format!("p{round}-{number}"), Path::new("/")).await;
            let container = created(&runtime, &pod, "web").await;
            runtime.containers().start(&container).await.unwrap();
        }
        rate.push((FAKE_PODS / 100) as f64 / began.elapsed().as_secs_f64());
    }
    rows.push(Row { name: "fake: pods run, median", unit: "1/s", value: median(rate) });
}

fn main() {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rows = Vec::new();
    tokio.block_on(async {
        processes(&mut rows).await;
        scripted(&mut rows).await;
    });
    tokio.shutdown_timeout(Duration::from_secs(1));
    let mut json = Vec::new();
    for Row { name, unit, value } in rows {
        println!("{name:<45} {value:>12.1} {unit}");
        let better = if unit == "1/s" { "higher" } else { "lower" };
        json.push(serde_json::json!({
            "name": name, "unit": unit, "value": value, "better": better,
        }));
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("runtime.json"), serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}
