//! Cases of [`Store::watch`](crate::Store::watch) over seeded, recorded histories: one per
//! validator, so that a failure names the property that broke.

use futures::{FutureExt, StreamExt};
use kcore::random::Random;

use super::Suite;
use super::recording::write_randomly;
use super::subject::{Subject, drain, events, next, open, revision};
use crate::history::watch::{
    Told, atomic, bookmarkable, filter, is_create, ordered, previous_value, reliable, resumable,
    unique,
};
use crate::history::{Truth, Violation};
use crate::{KeyRange, Revision, WatchBatch, WatchOptions, WatchStream};

/// Histories checked by each case.
const SEEDS: u64 = 3;

/// Transactions of a history.
const WRITES: u64 = 200;

/// Watches of a history.
const WATCHES: u64 = 8;

/// A watch that is being recorded.
struct Open {
    told: Told,
    stream: WatchStream,
}

async fn start(store: &Subject, random: &Random) -> Open {
    let range = match random.below(5) {
        0 => KeyRange::prefix("history/a/"),
        1 => KeyRange::single("history/b/1"),
        2 => KeyRange::between("history/a/3", "history/b/3"),
        3 => KeyRange::all(),
        _ => KeyRange::prefix("history/"),
    };
    let now = revision(&**store).await;
    let after = Revision(now.0 - random.below(now.0.min(60)));
    let previous = random.chance(0.5);
    let mut options = WatchOptions::default().after(after);
    if previous {
        options = options.previous();
    }
    let stream = open(&**store, &range, options).await;
    let told = Told { range, after, previous, batches: Vec::new(), through: after };
    Open { told, stream }
}

/// A history of random writes with watches that start, read and ask for progress at random.
async fn record(suite: &Suite, seed: u64) -> (Truth, Vec<Told>) {
    let store = suite.fresh().await;
    let random = Random::seeded(seed);
    let mut truth = Truth::default();
    let mut watches: Vec<Open> = Vec::new();
    for n in 0..WRITES {
        write_randomly(&*store, &random, &mut truth).await;
        if n % (WRITES / WATCHES) == 0 {
            watches.push(start(&store, &random).await);
        }
        tokio::task::yield_now().await;
        for watch in &mut watches {
            if random.chance(0.05) {
                watch.stream.request_progress();
            }
            if random.chance(0.2)
                && let Some(batch) = watch.stream.next().now_or_never()
            {
                let batch = batch.expect("the watch goes on").expect("the watch is healthy");
                watch.told.batches.push(batch);
            }
        }
    }
    let through = revision(&*store).await;
    let mut all = Vec::new();
    for Open { mut told, mut stream } in watches {
        told.batches.extend(drain(&mut stream, through).await);
        told.through = through;
        all.push(told);
    }
    (truth, all)
}

async fn check(suite: &Suite, validate: impl Fn(&Told, &Truth) -> Result<(), Violation>) {
    for seed in 0..SEEDS {
        let (truth, all) = record(suite, seed).await;
        assert!(all.iter().any(|told| events(&told.batches).len() > 50), "a history has events");
        for told in all {
            if let Err(violation) = validate(&told, &truth) {
                panic!("seed {seed}, watch of {:?} after {}: {violation}", told.range, told.after);
            }
        }
    }
}

/// S6.
pub(super) async fn watch_is_filtered(suite: &Suite) {
    check(suite, |told, _| filter(told)).await;
}

/// S6.
pub(super) async fn watch_is_ordered(suite: &Suite) {
    check(suite, |told, _| ordered(told)).await;
}

/// S6.
pub(super) async fn watch_is_unique(suite: &Suite) {
    check(suite, |told, _| unique(told)).await;
}

/// S6.
pub(super) async fn watch_is_atomic(suite: &Suite) {
    check(suite, |told, _| atomic(told)).await;
}

/// S6.
pub(super) async fn watch_is_bookmarkable(suite: &Suite) {
    check(suite, |told, _| bookmarkable(told)).await;
}

/// S6.
pub(super) async fn watch_is_reliable(suite: &Suite) {
    check(suite, reliable).await;
}

/// S6.
pub(super) async fn watch_marks_creates(suite: &Suite) {
    check(suite, is_create).await;
}

/// S6.
pub(super) async fn watch_carries_previous_records(suite: &Suite) {
    check(suite, previous_value).await;
}

/// S6: a watch is cut after every batch and resumed after the revision it names, while writes go
/// on and the history before it is compacted.
pub(super) async fn watch_is_resumable(suite: &Suite) {
    for seed in 0..SEEDS {
        let store = suite.fresh().await;
        let random = Random::seeded(seed);
        let mut truth = Truth::default();
        let range = KeyRange::prefix("history/");
        let after = revision(&*store).await;
        let mut told = Told { range, after, previous: false, batches: Vec::new(), through: after };
        let mut seen = after;
        for _ in 0..WRITES / 8 {
            for _ in 0..8 {
                write_randomly(&*store, &random, &mut truth).await;
            }
            let target = Revision(revision(&*store).await.0 - random.below(6));
            while seen < target {
                let options = WatchOptions::default().after(seen);
                let mut stream = open(&*store, &told.range, options).await;
                let batch = next(&mut stream).await;
                seen = batch.revision();
                told.batches.push(batch);
            }
            store.compact(seen).await.expect("compaction succeeds");
        }
        told.through = seen;
        if let Err(violation) = resumable(&told, &truth) {
            panic!("seed {seed}: {violation}");
        }
        let whole = |batch: &WatchBatch| matches!(batch, WatchBatch::Events { .. });
        assert!(told.batches.iter().filter(|batch| whole(batch)).count() > 20, "it was cut often");
    }
}
