//! Thousands of small histories, each from its own seed: what clients and watchers were told is
//! what a correct store could have told them (S6, S11).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod evidence;

use std::time::Duration;

use evidence::say;
use kcore::random::Random;
use kstore::conformance::{Capabilities, Explored, Suite};
use kstore::journal::simulated::SimulatedDisk;
use kstore::{Faults, FaultyStore, JournalOptions, JournalStore, MemoryStore, Store};

/// Histories of each kind of store: `KUBRICK_HISTORIES` for longer runs.
fn histories() -> u64 {
    std::env::var("KUBRICK_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2500)
}

fn explore<M, S>(name: &str, make: impl Fn() -> M + 'static) -> Explored
where
    M: Future<Output = ((), S)> + Send + 'static,
    S: Store,
{
    let suite = Suite::new(Capabilities::default().virtual_time(), make);
    let explored = suite.explore(0..histories());
    let Explored { histories, operations, events, cuts, .. } = explored;
    say(format!(
        "{name}: {histories} histories, {operations} operations, {events} events, {cuts} cuts"
    ));
    assert!(explored.operations > 10 * explored.histories, "clients did something");
    assert!(explored.events > explored.histories, "watchers were told something");
    assert!(explored.cuts > explored.histories / 2, "watches were cut");
    explored
}

fn slow() -> Faults {
    Faults::default().delay(0.5, Duration::from_millis(3))
}

fn journal() -> JournalStore {
    let options = JournalOptions::default().random(Random::seeded(1)).segment_bytes(8192).inline();
    JournalStore::on(SimulatedDisk::new(), options.snapshot_bytes(16 << 10)).unwrap()
}

#[test]
fn histories_of_memory_are_correct() {
    explore("memory", || async {
        ((), FaultyStore::new(MemoryStore::new(), Random::seeded(2), slow()))
    });
}

#[test]
fn histories_of_a_journal_are_correct() {
    explore("journal", || async { ((), FaultyStore::new(journal(), Random::seeded(3), slow())) });
}

#[test]
fn histories_of_a_store_that_fails_are_correct() {
    let faults = || slow().before(0.1).after(0.1).cut(0.1);
    explore("faulty", move || async move {
        ((), FaultyStore::new(MemoryStore::new(), Random::seeded(4), faults()))
    });
}

#[test]
fn histories_of_a_layered_store_are_correct() {
    explore("limited over metered", || async {
        let mut registry = prometheus_client::registry::Registry::default();
        let metered = kstore::MeteredStore::new(MemoryStore::new(), &mut registry);
        let limits = kstore::Limits::default().requests(5000.0, 3).watchers(100);
        let limited = kstore::LimitedStore::new(metered, limits);
        ((), FaultyStore::new(limited, Random::seeded(5), slow()))
    });
}
