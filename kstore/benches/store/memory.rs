//! The store in memory.

use std::hint::black_box;
use std::time::Duration;

use futures::StreamExt;
use kcore::random::Random;
use kstore::{Bytes, KeyRange, MemoryStore, Store, StoreExt, WatchBatch, WatchOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::{key, rate, value};

pub(crate) const KEYS: usize = 100_000;
const WATCHERS: usize = 1000;
const PREFIXES: usize = crate::PREFIXES;
/// Events per second offered to the watchers, and for how long.
const EVENTS_PER_SECOND: usize = 100_000;
const FAN_OUT: Duration = Duration::from_secs(2);
const IDLE_WATCHERS: usize = 100_000;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Creates, then updates in random order, on one core.
pub(crate) fn puts() -> f64 {
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
pub(crate) fn gets(span: usize) -> f64 {
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
pub(crate) fn list() -> f64 {
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
pub(crate) fn fan_out() -> (f64, f64, f64) {
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
        let mut body = vec![b'v'; crate::VALUE_BYTES];
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
pub(crate) fn idle_watcher() -> f64 {
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
