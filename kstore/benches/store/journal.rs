//! The journal beside what its disk can do.

use std::path::Path;

use kstore::{JournalStore, StoreExt};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::{VALUE_BYTES, key, rate, value};

/// Syncs of the disk that are timed one after another.
const SYNCS: usize = 2000;

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
pub(crate) fn journal() -> [f64; 6] {
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
