//! A million keys of a kilobyte in a journal: memory, reopening, compaction under writes.
//!
//! In a process of its own, whose memory nothing else has touched.

use std::path::Path;
use std::process::Command;

use kstore::{JournalOptions, JournalStore, MemoryOptions, Store, StoreExt};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::measure::Measure;
use crate::{key, value};

const MILLION: usize = 1_000_000;
const WRITERS: usize = 64;
/// Set in the child: where its journal is.
const CHILD: &str = "KUBRICK_MILLION";

const GIB: f64 = (1_u64 << 30) as f64;

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the child and reads its figures.
pub(crate) fn measure() -> Vec<Measure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let text = String::from_utf8(child.stdout).unwrap();
    let mut figures = text.split_whitespace().map(|figure| figure.parse().unwrap());
    let names = [
        ("million_keys_resident", "GiB", 1.6),
        ("million_keys_reopen", "s", 5.0),
        ("million_keys_compaction_put_p99.9", "ms", 20.0),
        ("million_keys_compaction_put_max", "ms", 1e9),
        ("million_keys_history_left", "GiB", 0.01),
    ];
    names
        .into_iter()
        .map(|(name, unit, target)| {
            let mut measure = Measure::new(name, unit, "lower", target);
            measure.values.push(figures.next().unwrap());
            measure
        })
        .collect()
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

fn options() -> JournalOptions {
    // All history is kept until it is compacted.
    JournalOptions::default().memory(MemoryOptions::default().retain_all())
}

/// Puts the keys of a range, many at once.
async fn put_all(store: &JournalStore, keys: std::ops::Range<usize>) {
    let each = keys.len() / WRITERS;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, from) = (store.clone(), keys.start + writer * each);
            tokio::spawn(async move {
                for n in from..from + each {
                    // Values of their own, as a client's would be.
                    store.put(key(n), value().to_vec()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

pub(crate) fn child() {
    let directory = std::env::var_os(CHILD).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let directory = Path::new(&directory);
    let place = directory.join("journal");
    let before = resident();
    runtime.block_on(async {
        let store = JournalStore::with(&place, options()).unwrap();
        put_all(&store, 0..MILLION).await;
        let memory = (resident() - before) / GIB;
        let live = store.status().await.unwrap().bytes;
        put_all(&store, 0..MILLION / 2).await;
        let (p999, max) = compact_under_writes(&store).await;
        let left = (store.status().await.unwrap().bytes - live) as f64 / GIB;
        store.save().await.unwrap();
        drop(store);
        let start = Instant::now();
        let store = JournalStore::with(&place, options()).unwrap();
        let reopen = start.elapsed().as_secs_f64();
        assert!(store.status().await.unwrap().keys >= (MILLION / WRITERS * WRITERS) as u64);
        println!("{memory} {reopen} {p999} {max} {left}");
    });
}

/// How long puts take while half of a million keys' history is compacted, in milliseconds: the
/// 99.9th percentile and the longest.
async fn compact_under_writes(store: &JournalStore) -> (f64, f64) {
    let through = store.status().await.unwrap().revision;
    let compaction = tokio::spawn({
        let store = store.clone();
        async move { store.compact(through).await.unwrap() }
    });
    let mut took = Vec::new();
    while !compaction.is_finished() || took.len() < 2000 {
        let start = Instant::now();
        store.put("canary", "1").await.unwrap();
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    compaction.await.unwrap();
    took.sort_by(f64::total_cmp);
    (took[took.len() * 999 / 1000], took[took.len() - 1])
}
