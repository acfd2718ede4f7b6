//! The memory store passes the suite, as a value and in pointers.

use std::sync::Arc;

use kstore::conformance::{Capabilities, suite};
use kstore::{MemoryOptions, MemoryStore, Store};

const QUOTA: u64 = 1 << 20;
const BACKLOG: usize = 256;
const MAX_VALUE: usize = 128 << 10;

fn capabilities() -> Capabilities {
    Capabilities::default()
        .virtual_time()
        .leases()
        .quota(QUOTA)
        .watch_backlog(BACKLOG)
        .max_value_bytes(MAX_VALUE)
}

fn store() -> MemoryStore {
    let options = MemoryOptions::default()
        .quota_bytes(QUOTA)
        .watch_backlog(BACKLOG)
        .max_value_bytes(MAX_VALUE);
    MemoryStore::with_options(options)
}

suite!(memory_store, capabilities(), || async { ((), store()) });
suite!(boxed_store, capabilities(), || async { ((), Box::new(store()) as Box<dyn Store>) });
suite!(shared_store, capabilities(), || async { ((), Arc::new(store()) as Arc<dyn Store>) });
