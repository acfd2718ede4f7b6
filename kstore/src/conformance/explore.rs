//! Many small histories of concurrent clients and watchers, each from its own seed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kcore::random::Random;

use super::Suite;
use super::recording::{Log, run_clients};
use super::subject::soon;
use crate::history::watch::{
    Told, atomic, bookmarkable, filter, is_create, ordered, previous_value, reliable, resumable,
    unique,
};
use crate::history::{Violation, check_linearizable};
use crate::{Error, KeyRange, Revision, Store, StoreExt, WatchBatch, WatchOptions};

/// How long a watcher waits before it looks whether all is over.
const GLANCE: Duration = Duration::from_millis(2);

/// Watchers of a history.
const WATCHERS: u64 = 3;

/// What [`Suite::explore`] looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// Histories that were checked.
    pub histories: u64,
    /// Operations of their clients.
    pub operations: u64,
    /// Events that their watchers were told.
    pub events: u64,
    /// Watches that were cut and resumed.
    pub cuts: u64,
}

impl Suite {
    /// Checks one history per seed: concurrent clients whose answers must be linearizable per key
    /// (S11), and watchers that are cut and resumed, whose events must pass all nine validators
    /// (S6).
    ///
    /// Where a write may have been done although it failed, what watchers are told is held against
    /// their range, order and batches alone.
    ///
    /// # Panics
    /// With the seed, if a history is not what a correct store could have told.
    pub fn explore(&self, seeds: Range<u64>) -> Explored {
        let mut explored = Explored::default();
        for seed in seeds {
            let (log, watched) = self.runtime().block_on(self.history(seed));
            let operations = log.operations();
            explored.histories += 1;
            explored.operations += operations.len() as u64;
            let checked = check_linearizable(&operations)
                .and_then(|()| watched.iter().try_for_each(|(told, _)| check(told, &log)));
            if let Err(violation) = checked {
                panic!("seed {seed}: {violation}");
            }
            for (told, cuts) in watched {
                explored.cuts += cuts;
                explored.events += super::subject::events(&told.batches).len() as u64;
            }
        }
        explored
    }

    async fn history(&self, seed: u64) -> (Log, Vec<(Told, u64)>) {
        let (store, log) = (self.fresh().await, Log::default());
        let random = Random::seeded(!seed);
        let (over, ended) = tokio::sync::watch::channel(None);
        let start = insist(|| store.revision()).await;
        let watchers: Vec<_> = (0..WATCHERS)
            .map(|_| {
                let (store, random) = (Arc::clone(&store.store), random.fork());
                tokio::spawn(watch(store, random, start, ended.clone()))
            })
            .collect();
        run_clients(&store.store, seed, &log).await;
        over.send_replace(Some(insist(|| store.revision()).await));
        let mut watched = Vec::new();
        for watcher in watchers {
            watched.push(soon("the end of a watcher", watcher).await.expect("a watcher ends"));
        }
        (log, watched)
    }
}

/// Asks again what failed for no reason of the caller's.
async fn insist<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(Error::Unavailable { .. }) => tokio::time::sleep(GLANCE).await,
            Err(error) => panic!("a read failed: {error}"),
        }
    }
}

/// Watches a range through the end, cut now and then.
async fn watch(
    store: Arc<dyn Store>,
    random: Random,
    after: Revision,
    ended: tokio::sync::watch::Receiver<Option<Revision>>,
) -> (Told, u64) {
    let range = match random.below(3) {
        0 => KeyRange::single(format!("linear/{}", random.below(3))),
        1 => KeyRange::all(),
        _ => KeyRange::prefix("linear/"),
    };
    let previous = random.chance(0.5);
    let mut told = Told { range, after, previous, batches: Vec::new(), through: after };
    let (mut seen, mut cuts) = (after, 0);
    loop {
        let mut options = WatchOptions::default().after(seen);
        if previous {
            options = options.previous();
        }
        let mut stream = insist(|| store.watch(told.range.clone(), options.clone())).await;
        loop {
            let batch = match tokio::time::timeout(GLANCE, stream.next()).await {
                Err(_) => {
                    stream.request_progress();
                    continue;
                }
                Ok(None | Some(Err(Error::Unavailable { .. }))) => break,
                Ok(Some(batch)) => batch.expect("a watch is healthy"),
            };
            seen = seen.max(batch.revision());
            let progress = matches!(batch, WatchBatch::Progress(_));
            told.batches.push(batch);
            let over = *ended.borrow();
            if let Some(through) = over.filter(|through| progress && seen >= *through) {
                told.through = through;
                return (told, cuts);
            }
            if random.chance(0.1) {
                break;
            }
        }
        cuts += 1;
    }
}

fn check(told: &Told, log: &Log) -> Result<(), Violation> {
    for validate in [filter, ordered, unique, atomic, bookmarkable] {
        validate(told)?;
    }
    let Some(truth) = log.truth() else { return Ok(()) };
    for validate in [reliable, resumable, is_create, previous_value] {
        validate(told, &truth)?;
    }
    Ok(())
}
