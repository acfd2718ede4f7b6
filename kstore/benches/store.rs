//! How fast the stores are: medians of five, as a table and as `target/bench/store.json`.
//!
//! `cargo bench -p kstore`
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use kcore::random::Random;
use kstore::{
    Bytes, JournalStore, KeyRange, MemoryStore, Store, StoreExt, WatchBatch, WatchOptions,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const RUNS: usize = 5;
const KEYS: usize = 100_000;
const VALUE_BYTES: usize = 1024;
const WATCHERS: usize = 1000;
const PREFIXES: usize = 100;
/// Events per second offered to the watchers, and for how long.
const EVENTS_PER_SECOND: usize = 100_000;
const FAN_OUT: Duration = Duration::from_secs(2);
const IDLE_WATCHERS: usize = 100_000;
/// Syncs of the disk that are timed one after another.
const SYNCS: usize = 2000;

struct Measure {
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    target: f64,
    values: Vec<f64>,
}

impl Measure {
    fn new(name: &'static str, unit: &'static str, better: &'static str, target: f64) -> Self {
        Self { name, unit, better, target, values: Vec::new() }
    }

    fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn met(&self) -> bool {
        match self.better {
            "higher" => self.median() >= self.target,
            _ => self.median() <= self.target,
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn key(n: usize) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace-{:03}/pod-{n:06}", n % PREFIXES))
}

fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

fn rate(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

/// Creates, then updates in random order, on one core.
fn puts() -> f64 {
    runtime().block_on(async {
        let (store, random, value) = (MemoryStore::new(), Random::seeded(1), value());
        let keys: Vec<Bytes> = (0..KEYS).map(key).collect();
        let order: Vec<usize> = (0..4 * KEYS).map(|_| random.below(KEYS as u64) as usize).collect();
        let start = Instant::now();
        for key in &keys {
            store.put(key.clone(), value.clone()).await.unwrap();
        }
        for n in order {
            store.put(keys[n].clone(), value.clone()).await.unwrap();
        }
        rate(5 * KEYS, start)
    })
}

async fn filled(keys: &[Bytes]) -> MemoryStore {
    let (store, value) = (MemoryStore::new(), value());
    for key in keys {
        store.put(key.clone(), value.clone()).await.unwrap();
    }
    store
}

/// Reads of random keys out of `span`.
fn gets(span: usize) -> f64 {
    runtime().block_on(async {
        let keys: Vec<Bytes> = (0..span).map(key).collect();
        let (store, random) = (filled(&keys).await, Random::seeded(2));
        let count = 1_000_000;
        let order: Vec<usize> = (0..count).map(|_| random.below(span as u64) as usize).collect();
        let start = Instant::now();
        for n in order {
            black_box(store.get(keys[n].clone()).await.unwrap().unwrap());
        }
        rate(count, start)
    })
}

/// Milliseconds for 10,000 records out of 100,000.
fn list() -> f64 {
    runtime().block_on(async {
        let keys: Vec<Bytes> =
            (0..KEYS).map(|n| Bytes::from(format!("/registry/{}/{n:06}", n % 10))).collect();
        let store = filled(&keys).await;
        let rounds = 20;
        let start = Instant::now();
        for round in 0..rounds {
            let page = store.list(KeyRange::prefix(format!("/registry/{}/", round % 10))).await;
            assert_eq!(black_box(page.unwrap()).records.len(), KEYS / 10);
        }
        start.elapsed().as_secs_f64() * 1000.0 / f64::from(rounds)
    })
}

/// CPU seconds this process has used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| after_name.split_whitespace().nth(at).and_then(|t| t.parse().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// One writer at a steady pace and a thousand watchers on another core: the rate, the p99 delivery
/// in milliseconds, and the cores used.
fn fan_out() -> (f64, f64, f64) {
    let (store, epoch, cpu) = (MemoryStore::new(), Instant::now(), cpu_seconds());
    let total = EVENTS_PER_SECOND * FAN_OUT.as_secs() as usize;
    let (ready, go) = std::sync::mpsc::channel();
    let readers = std::thread::spawn({
        let store = store.clone();
        move || {
            runtime().block_on(async {
                let mut tasks = Vec::new();
                for n in 0..WATCHERS {
                    let range = KeyRange::prefix(format!("/{:03}/", n % PREFIXES));
                    let mut watch = store.watch(range, WatchOptions::default()).await.unwrap();
                    tasks.push(tokio::spawn(async move {
                        let (mut told, mut delays) = (0, Vec::new());
                        while told < total / PREFIXES {
                            let batch = watch.next().await.unwrap().unwrap();
                            let now = epoch.elapsed().as_nanos() as u64;
                            let WatchBatch::Events { events, .. } = batch else { continue };
                            told += events.len();
                            for event in &events {
                                let sent = event.record.value.bytes[..8].try_into().unwrap();
                                delays.push((now - u64::from_le_bytes(sent)) as u32);
                            }
                        }
                        delays
                    }));
                }
                ready.send(()).unwrap();
                let mut delays = Vec::with_capacity(total * WATCHERS / PREFIXES);
                for task in tasks {
                    delays.extend(task.await.unwrap());
                }
                delays
            })
        }
    });
    go.recv().unwrap();
    let start = Instant::now();
    runtime().block_on(async {
        let mut body = vec![b'v'; VALUE_BYTES];
        for n in 0..total {
            let due = start + Duration::from_nanos((n * 1_000_000_000 / EVENTS_PER_SECOND) as u64);
            if n % 50 == 0 && due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            body[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
            let key = format!("/{:03}/{}", n % PREFIXES, n % 1000);
            store.put(key, Bytes::copy_from_slice(&body)).await.unwrap();
        }
    });
    let rate = rate(total, start);
    let mut delays = readers.join().unwrap();
    let cores = (cpu_seconds() - cpu) / start.elapsed().as_secs_f64();
    assert_eq!(delays.len(), total * WATCHERS / PREFIXES, "nothing is lost");
    delays.sort_unstable();
    (rate, f64::from(delays[delays.len() * 99 / 100]) / 1e6, cores)
}

/// Resident bytes for each of many watchers that have nothing to read.
fn idle_watcher() -> f64 {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
        pages.unwrap_or(0.0) * 4096.0
    };
    runtime().block_on(async {
        let store = MemoryStore::new();
        let mut watches = Vec::with_capacity(IDLE_WATCHERS);
        let before = resident();
        for n in 0..IDLE_WATCHERS {
            let range = KeyRange::prefix(format!("/{:04}/", n % (IDLE_WATCHERS / 10)));
            let mut watch = store.watch(range, WatchOptions::default()).await.unwrap();
            assert!(futures::FutureExt::now_or_never(watch.next()).is_none());
            watches.push(watch);
        }
        (resident() - before) / watches.len() as f64
    })
}

fn write_json(measures: &[Measure]) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let path = target.join("bench/store.json");
    let mut json = String::from("[\n");
    for (at, measure) in measures.iter().enumerate() {
        let Measure { name, unit, better, target, .. } = measure;
        let value = measure.median();
        let comma = if at + 1 < measures.len() { "," } else { "" };
        writeln!(
            json,
            "  {{\"name\": \"{name}\", \"unit\": \"{unit}\", \"value\": {value:.3}, \
             \"better\": \"{better}\", \"target\": {target}}}{comma}"
        )
        .unwrap();
    }
    json.push_str("]\n");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, json).unwrap();
    path
}

/// How long the disk takes to make one kilobyte durable that follows another, in seconds: what
/// every store on it has to live with.
fn raw_sync(directory: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = std::fs::File::create(directory.join("raw")).unwrap();
    file.write_all(&vec![0; SYNCS * 2 * VALUE_BYTES]).unwrap();
    file.sync_all().unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut took: Vec<f64> = (0..SYNCS)
        .map(|_| {
            file.write_all(&[7; 2 * VALUE_BYTES]).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            start.elapsed().as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[SYNCS / 2]
}

/// Durable puts a second of so many writers.
fn journal_puts(directory: &Path, writers: usize) -> f64 {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let store = JournalStore::open(directory.join(format!("journal-{writers}"))).unwrap();
    let each = if writers == 1 { SYNCS } else { 40_000 / writers };
    runtime.block_on(async {
        let start = Instant::now();
        let tasks = (0..writers).map(|writer| {
            let (store, value) = (store.clone(), value());
            tokio::spawn(async move {
                for n in 0..each {
                    store.put(key(writer * each + n), value.clone()).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        rate(writers * each, start)
    })
}

/// The journal beside what the disk can do: the rates of 64 writers and of one, and both in
/// syncs of that disk; then how long a journal of 40,000 keys takes to open, in milliseconds.
fn journal() -> [f64; 6] {
    // Beside the build, as the directory for temporary files may be memory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::tempdir_in(target).unwrap();
    let sync = raw_sync(directory.path());
    let many = journal_puts(directory.path(), 64);
    let one = journal_puts(directory.path(), 1);
    let start = Instant::now();
    let store = JournalStore::open(directory.path().join("journal-64")).unwrap();
    let open = start.elapsed().as_secs_f64() * 1e3;
    drop(store);
    [sync * 1e6, many, one, many * sync / 64.0, one * sync, open]
}

fn main() {
    let mut measures = [
        Measure::new("memory_store_put", "1/s", "higher", 500_000.0),
        Measure::new("memory_store_get_10k", "1/s", "higher", 2_000_000.0),
        // Beyond the processor's caches this measures the machine's memory.
        Measure::new("memory_store_get_100k", "1/s", "higher", 2_000_000.0),
        Measure::new("memory_store_list_10k", "ms", "lower", 2.0),
        Measure::new("memory_store_watch_events_in", "1/s", "higher", 100_000.0 * 0.99),
        Measure::new("memory_store_watch_p99", "ms", "lower", 50.0),
        Measure::new("memory_store_watch_cores", "cores", "lower", 2.0),
        Measure::new("memory_store_idle_watcher", "bytes", "lower", 1024.0),
        Measure::new("disk_sync_p50", "us", "lower", 1e9),
        Measure::new("journal_put_64_writers", "1/s", "higher", 0.0),
        Measure::new("journal_put_1_writer", "1/s", "higher", 0.0),
        Measure::new("journal_put_64_writers_per_sync", "x/64", "higher", 0.3),
        Measure::new("journal_put_1_writer_per_sync", "x", "higher", 0.7),
        Measure::new("journal_open_40k_keys", "ms", "lower", 200.0),
    ];
    // First, while the allocator is fresh.
    let idle = idle_watcher();
    for _ in 0..RUNS {
        let (rate, p99, cores) = fan_out();
        let memory = [puts(), gets(KEYS / 10), gets(KEYS), list(), rate, p99, cores, idle];
        let run = memory.into_iter().chain(journal());
        for (measure, value) in measures.iter_mut().zip(run) {
            measure.values.push(value);
        }
    }
    println!("{:<32} {:>14} {:>8} {:>14}", "name", "median of five", "unit", "target");
    for measure in &measures {
        let (value, met) = (measure.median(), if measure.met() { "met" } else { "MISSED" });
        let Measure { name, unit, target, .. } = measure;
        println!("{name:<32} {value:>14.3} {unit:>8} {target:>14} {met}");
    }
    println!("written to {}", write_json(&measures).display());
}
