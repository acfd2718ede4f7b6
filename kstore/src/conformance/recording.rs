//! Seeded clients whose history is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use kcore::random::Random;
use parking_lot::Mutex;

use crate::history::{Action, Operation, Recorder, Truth};
use crate::{Error, KeyRange, Op, OpResult, Record, Revision, Store, StoreExt, Txn, TxnResult};

/// Clients of a linearizability history.
const CLIENTS: u64 = 4;

/// Operations of each of them.
const OPERATIONS: u64 = 15;

/// The keys they share.
const KEYS: u64 = 3;

/// Lets others run a random number of times.
pub(super) async fn yield_randomly(random: &Random) {
    for _ in 0..random.below(4) {
        tokio::task::yield_now().await;
    }
}

/// A revision, the key it wrote, and the value, or none if it deleted it.
type Write = (Revision, Bytes, Option<Bytes>);

/// What clients did, and what they were told of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    recorder: Recorder,
    /// The writes whose revision is known.
    writes: Arc<Mutex<Vec<Write>>>,
    /// Whether there are writes that may have been done.
    unknown: Arc<AtomicBool>,
}

impl Log {
    /// All that was done, if that is known.
    pub(super) fn truth(&self) -> Option<Truth> {
        if self.unknown.load(Ordering::Relaxed) {
            return None;
        }
        let mut writes = self.writes.lock().clone();
        writes.sort_by_key(|(revision, ..)| *revision);
        let mut truth = Truth::default();
        for (revision, key, value) in writes {
            match value {
                Some(value) => truth.put(revision, key, value),
                None => truth.delete(revision, &KeyRange::single(key)),
            }
        }
        Some(truth)
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        self.recorder.operations()
    }
}

/// What concurrent clients asked and were answered, their interleaving drawn from `seed`.
pub(super) async fn linear_history(store: &Arc<dyn Store>, seed: u64) -> Vec<Operation> {
    let log = Log::default();
    run_clients(store, seed, &log).await;
    log.operations()
}

/// Lets concurrent clients work, their interleaving drawn from `seed`.
pub(super) async fn run_clients(store: &Arc<dyn Store>, seed: u64, log: &Log) {
    let random = Random::seeded(seed);
    let clients = (0..CLIENTS).map(|client| {
        let (store, log, random) = (Arc::clone(store), log.clone(), random.fork());
        tokio::spawn(async move {
            let mut known: Option<Record> = None;
            for n in 0..OPERATIONS {
                let key = Bytes::from(format!("linear/{}", random.below(KEYS)));
                let value = Bytes::from(format!("{client}.{n}"));
                known = operate(&*store, &log, &random, key, value, known).await;
                yield_randomly(&random).await;
            }
        })
    });
    for joined in join_all(clients).await {
        joined.expect("a client ends");
    }
}

/// One random operation; returns the record that a later swap can build on.
async fn operate(
    store: &dyn Store,
    log: &Log,
    random: &Random,
    key: Bytes,
    value: Bytes,
    known: Option<Record>,
) -> Option<Record> {
    let called = log.recorder.tick();
    match random.below(8) {
        0 | 1 => {
            let result = store.put(key.clone(), value.clone()).await.map(Some);
            note_write(log, key, called, Some(value), result);
        }
        2 => {
            let txn = Txn::default().and_then(Op::delete(key.clone()));
            let result = store.txn(txn).await.map(deleted_at);
            note_write(log, key, called, None, result);
        }
        3 => {
            let result = store.create(key.clone(), value.clone()).await;
            note_swap(log, key, called, (None, Some(value)), result);
        }
        4 | 5 if let Some(known) = &known => {
            let swap = store.compare_and_swap(known.key.clone(), known.modified, value.clone());
            let result = swap.await;
            let from = Some(known.value.bytes.clone());
            note_swap(log, known.key.clone(), called, (from, Some(value)), result);
        }
        6 if let Some(known) = &known => {
            let result = store.delete_if(known.key.clone(), known.modified).await;
            let from = Some(known.value.bytes.clone());
            note_swap(log, known.key.clone(), called, (from, None), result);
        }
        _ => {
            // A read that failed tells nothing.
            if let Ok(record) = store.get(key.clone()).await {
                let seen = record.as_ref().map(|record| record.value.bytes.clone());
                log.recorder.returned(key, called, Action::Read(seen));
                return record;
            }
        }
    }
    known
}

/// The revision that deleted something, if one did.
fn deleted_at(result: TxnResult) -> Option<Revision> {
    match result.responses.first() {
        Some(OpResult::Delete { deleted }) if !deleted.is_empty() => Some(result.revision),
        _ => None,
    }
}

fn note_write(
    log: &Log,
    key: Bytes,
    called: u64,
    value: Option<Bytes>,
    result: Result<Option<Revision>, Error>,
) {
    match result {
        Ok(revision) => {
            if let Some(revision) = revision {
                log.writes.lock().push((revision, key.clone(), value.clone()));
            }
            log.recorder.returned(key, called, Action::Write(value));
        }
        Err(error) if error.is_ambiguous() => {
            log.unknown.store(true, Ordering::Relaxed);
            log.recorder.unknown(key, called, Action::Write(value));
        }
        Err(error) => panic!("a write failed: {error}"),
    }
}

fn note_swap(
    log: &Log,
    key: Bytes,
    called: u64,
    (expected, value): (Option<Bytes>, Option<Bytes>),
    result: Result<Revision, Error>,
) {
    match result {
        Ok(revision) => {
            log.writes.lock().push((revision, key.clone(), value.clone()));
            log.recorder.returned(key, called, Action::Swap { expected, value });
        }
        Err(Error::Conflict { current, .. }) => {
            let seen = current.map(|record| record.value.bytes);
            log.recorder.returned(key, called, Action::Refused { expected, seen });
        }
        Err(error) if error.is_ambiguous() => {
            log.unknown.store(true, Ordering::Relaxed);
            log.recorder.unknown(key, called, Action::Swap { expected, value });
        }
        Err(error) => panic!("a swap failed: {error}"),
    }
}

/// A random txn under `history/`, applied to the store and to the truth.
pub(super) async fn write_randomly(store: &dyn Store, random: &Random, truth: &mut Truth) {
    let key = || {
        let group = ["a", "b", "c"][random.below(3) as usize];
        Bytes::from(format!("history/{group}/{}", random.below(5)))
    };
    let value = || Bytes::from(random.next_u64().to_string());
    let mut puts = std::collections::BTreeMap::new();
    let mut deletes = Vec::new();
    match random.below(10) {
        0..5 => drop(puts.insert(key(), value())),
        5..7 => deletes.push(KeyRange::single(key())),
        7..9 => {
            for _ in 0..=random.below(4) {
                puts.insert(key(), value());
            }
            let gone = key();
            if !puts.contains_key(&gone) {
                deletes.push(KeyRange::single(gone));
            }
        }
        _ => deletes.push(KeyRange::prefix("history/c/")),
    }
    let mut txn = Txn::default();
    for (key, value) in &puts {
        txn = txn.and_then(Op::put(key.clone(), value.clone()));
    }
    for range in &deletes {
        txn = txn.and_then(Op::delete_range(range.clone()));
    }
    let result = store.txn(txn).await.expect("a txn succeeds");
    for range in &deletes {
        truth.delete(result.revision, range);
    }
    for (key, value) in puts {
        truth.put(result.revision, key, value);
    }
}
