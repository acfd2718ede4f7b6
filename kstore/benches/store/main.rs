//! How fast the stores are: medians of five, as a table and as `target/bench/store.json`.
//!
//! `cargo bench -p kstore --bench store`
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

mod journal;
mod measure;
mod memory;
mod million;

use kstore::Bytes;
use tokio::time::Instant;

use self::journal::journal;
use self::measure::{Measure, write_json};
use self::memory::{KEYS, fan_out, gets, idle_watcher, list, puts};

const RUNS: usize = 5;
const VALUE_BYTES: usize = 1024;
const PREFIXES: usize = 100;

fn key(n: usize) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace-{:03}/pod-{n:06}", n % PREFIXES))
}

fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

fn rate(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    if million::is_child() {
        return million::child();
    }
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
    let million = million::measure();
    let mut measures = Vec::from(measures);
    measures.extend(million);
    println!("{:<36} {:>14} {:>8} {:>14}", "name", "median of five", "unit", "target");
    for measure in &measures {
        let (value, met) = (measure.median(), if measure.met() { "met" } else { "MISSED" });
        let Measure { name, unit, target, .. } = measure;
        println!("{name:<36} {value:>14.3} {unit:>8} {target:>14} {met}");
    }
    println!("written to {}", write_json(&measures).display());
}
