//! How fast etcd is, and our face with the same client: durable puts of 1 KiB on one disk, medians
//! of five interleaved runs, as a table and as `target/bench/etcd.json`.
//!
//! `cargo bench -p kstore --features etcd,etcd-server --bench etcd`; `cargo xtask bench store`
//! fetches the etcd that it needs.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "../tests/real_etcd/mod.rs"]
mod real_etcd;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kstore::{Bytes, EtcdFace, EtcdOptions, EtcdStore, JournalStore, MemoryStore, Store, StoreExt};
use real_etcd::Etcd;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const RUNS: usize = 5;
const VALUE_BYTES: usize = 1024;
/// Clients at once, and keys they write over and over.
const CLIENTS: usize = 64;
const KEYS: usize = 10_000;
/// How long one run writes.
const RUN: Duration = Duration::from_secs(3);

/// A number with the peer's, measured beside it.
struct Measure {
    name: &'static str,
    /// Of ours, and of etcd.
    values: [Vec<f64>; 2],
    /// How many times etcd's it has to be.
    target: f64,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A directory on the disk that is measured: where cargo builds, not where memory is mounted.
fn disk() -> TempDir {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    std::fs::create_dir_all(&target).unwrap();
    tempfile::Builder::new().prefix("bench-").tempdir_in(target).unwrap()
}

/// Puts a second, by as many clients over one store.
async fn puts(store: impl Store + Clone, clients: usize) -> f64 {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let begun = Instant::now();
    let writers = (0..clients).map(|client| {
        let (store, value) = (store.clone(), value.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while begun.elapsed() < RUN {
                let n = (client + count * clients) % KEYS;
                let key = format!("/registry/pods/default/pod-{n:06}");
                store.put(key, value.clone()).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let counts = futures::future::join_all(writers).await;
    let count: usize = counts.into_iter().map(Result::unwrap).sum();
    count as f64 / begun.elapsed().as_secs_f64()
}

/// A face for a store, and the same client that etcd gets.
async fn through(store: impl Store) -> EtcdStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(EtcdFace::new(store).serve(listener, std::future::pending()));
    EtcdStore::connect(EtcdOptions::new([endpoint])).await.unwrap()
}

/// Both client counts, over real etcd on a fresh directory.
async fn etcd() -> Option<[f64; 2]> {
    let mut etcd = Etcd::new(1, disk())?;
    etcd.start().await;
    let store = EtcdStore::connect(etcd.options()).await.unwrap();
    Some([puts(store.clone(), CLIENTS).await, puts(store, 1).await])
}

async fn journal_in_process() -> [f64; 2] {
    let dir = disk();
    let store = JournalStore::open(dir.path()).unwrap();
    [puts(store.clone(), CLIENTS).await, puts(store, 1).await]
}

async fn face_of_journal() -> [f64; 2] {
    let dir = disk();
    let store = through(JournalStore::open(dir.path()).unwrap()).await;
    [puts(store.clone(), CLIENTS).await, puts(store, 1).await]
}

/// What the wire alone costs.
async fn face_of_memory() -> [f64; 2] {
    let store = through(MemoryStore::new()).await;
    [puts(store.clone(), CLIENTS).await, puts(store, 1).await]
}

/// A runtime of its own for each measurement, whose tasks end with it.
fn run<T>(measured: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(measured)
}

fn main() {
    let measure = |name, target| Measure { name, values: [Vec::new(), Vec::new()], target };
    let mut measures = [
        measure("journal_in_process_put_64_clients", 5.0),
        measure("journal_in_process_put_1_client", 1.0),
        measure("etcd_face_of_journal_put_64_clients", 1.5),
        measure("etcd_face_of_journal_put_1_client", 1.0),
        measure("etcd_face_of_memory_put_64_clients", 0.0),
        measure("etcd_face_of_memory_put_1_client", 0.0),
    ];
    for _ in 0..RUNS {
        let Some(peer) = run(etcd()) else { return };
        let ours = [run(journal_in_process()), run(face_of_journal()), run(face_of_memory())];
        for (at, measure) in measures.iter_mut().enumerate() {
            measure.values[0].push(ours[at / 2][at % 2]);
            measure.values[1].push(peer[at % 2]);
        }
    }
    println!(
        "{:<38} {:>12} {:>12} {:>8} {:>8}",
        "durable puts/s", "ours", "etcd", "ratio", "target"
    );
    let mut json = Vec::new();
    for Measure { name, values, target } in &measures {
        let (ours, peer) = (median(&values[0]), median(&values[1]));
        let (ratio, met) = (ours / peer, if ours >= target * peer { "met" } else { "MISSED" });
        println!("{name:<38} {ours:>12.0} {peer:>12.0} {ratio:>8.2} {target:>8} {met}");
        json.push(format!(
            "  {{\"name\": \"{name}\", \"unit\": \"1/s\", \"value\": {ours:.1}, \"better\": \
             \"higher\", \"target\": {:.1}, \"peer\": \"etcd\", \"peer_value\": {peer:.1}}}",
            target * peer
        ));
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let path = write(&target.join("bench"), &json);
    println!("written to {}", path.display());
}

fn write(folder: &Path, lines: &[String]) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("etcd.json");
    std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
    path
}
