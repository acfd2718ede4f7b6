//! How many pods a second the scheduler binds, with an API server in the same process: run with
//! `cargo xtask bench sched`. Each workload runs in a process of its own, so that its memory is
//! its own; a part of a name as an argument chooses workloads.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

mod engine;
mod extras;
mod meter;
mod run;
mod templates;
mod workloads;

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

/// What a program that ships a scheduler would choose: objects are made by one thread and dropped
/// by another, all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each workload; the median counts.
const RUNS: usize = 3;
/// A workload beyond this runs once.
const MANY_NODES: usize = 50_000;
/// Says that one workload is to be run in this process.
const ONE: &str = "--one";

fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes / 1024.0
}

/// Runs one workload here, and prints what was measured as a line of JSON.
fn one(name: &str) {
    if let Some(engine) = engine::ALL.iter().find(|engine| engine.name == name) {
        let measured = engine::run(engine);
        let line = json!({"rate": measured.rate, "p50_us": measured.p50_us,
            "p99_us": measured.p99_us, "cores": [1.0, 0.0, 1.0], "memory_mib": peak_mebibytes()});
        return say(&line);
    }
    let all = workloads::all();
    let workload = all.iter().find(|workload| workload.name == name).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let measured = runtime.block_on(run::run(workload));
    let micros = |duration: std::time::Duration| duration.as_secs_f64() * 1e6;
    let line = json!({"rate": measured.rate, "p50_us": micros(measured.p50),
        "p99_us": micros(measured.p99), "cores": measured.cores,
        "memory_mib": peak_mebibytes()});
    say(&line);
}

fn say(line: &Value) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
}

/// Runs a workload in processes of its own: the run with the median rate.
fn measure(name: &str, nodes: usize) -> Value {
    let runs = if nodes >= MANY_NODES { 1 } else { RUNS };
    let mut results: Vec<Value> = (0..runs)
        .map(|_| {
            let program = std::env::current_exe().unwrap();
            let output = Command::new(program).args([ONE, name]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{name}: {error}"))
        })
        .collect();
    results.sort_by(|a, b| number(a, "rate").total_cmp(&number(b, "rate")));
    results.swap_remove(runs / 2)
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap()
}

fn cores(value: &Value, at: usize) -> f64 {
    value["cores"][at].as_f64().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = &arguments[..]
        && first == ONE
    {
        return one(name);
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:68} {:>8} {:>8} {:>7} {:>9} {:>9} {:>6} {:>6} {:>6} {:>9}",
        "workload, in process",
        "pods/s",
        "target",
        "floor",
        "p50 µs",
        "p99 µs",
        "cores",
        "API",
        "loop",
        "MiB"
    )
    .unwrap();
    let mut rows = Vec::new();
    let chosen = |name: &str| filter.is_none_or(|part| name.contains(part.as_str()));
    for workload in workloads::all() {
        if chosen(workload.name) {
            let result = measure(workload.name, workload.nodes);
            let (name, floor) = (workload.name, workload.floor);
            show(&mut out, name, workload.target, floor, &result);
            rows.extend(report(&format!("{name}, in process"), workload.target, floor, &result));
        }
    }
    for engine in engine::ALL.iter().filter(|engine| chosen(engine.name)) {
        let result = measure(engine.name, engine.nodes);
        show(&mut out, engine.name, engine.target, None, &result);
        rows.extend(report(engine.name, engine.target, None, &result));
    }
    let own = "a filter for one node at a time, its own work included";
    if chosen(own) {
        let cost = engine::own_plugin_ns();
        writeln!(out, "{own:68} {cost:>8.1} ns per node, target 20").unwrap();
        rows.push(json!({"name": own, "unit": "ns per node", "value": cost, "better": "lower",
            "target": 20}));
    }
    if filter.is_none() {
        write(&rows);
    }
}

fn show(out: &mut impl Write, name: &str, target: f64, floor: Option<f64>, result: &Value) {
    let floor = floor.map_or_else(|| "-".to_owned(), |floor| floor.to_string());
    writeln!(
        out,
        "{name:68} {:>8.0} {target:>8.0} {floor:>7} {:>9.1} {:>9.1} {:>6.2} {:>6.2} {:>6.2} \
         {:>9.0}",
        number(result, "rate"),
        number(result, "p50_us"),
        number(result, "p99_us"),
        cores(result, 0),
        cores(result, 1),
        cores(result, 2),
        number(result, "memory_mib"),
    )
    .unwrap();
}

/// The rows of the report.
fn report(name: &str, target: f64, floor: Option<f64>, result: &Value) -> Vec<Value> {
    let mut rate = json!({"name": name, "unit": "pods/s", "value": result["rate"],
        "better": "higher", "target": target});
    if let Some(floor) = floor {
        rate["peer"] = "pass mark of scheduler_perf".into();
        rate["peer_value"] = floor.into();
    }
    let lower = |what: &str, unit: &str, field: &str, target: u32| {
        json!({"name": format!("{name}: {what}"), "unit": unit, "value": result[field],
            "better": "lower", "target": target})
    };
    vec![
        rate,
        lower("p50 of an attempt", "µs", "p50_us", 1_000),
        lower("p99 of an attempt", "µs", "p99_us", 1_000),
        lower("peak memory", "MiB", "memory_mib", 6_144),
    ]
}

fn write(rows: &[Value]) {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "../target".to_owned());
    let folder = std::path::Path::new(&target).join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("sched.json"), Value::from(rows).to_string()).unwrap();
}
