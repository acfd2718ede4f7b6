//! The store over real etcd passes the suite, as a value and in pointers. To open it again means
//! that etcd was killed in between.
#![cfg(feature = "etcd")]

mod real_etcd;

use std::sync::Arc;

use kstore::conformance::{Capabilities, suite};
use kstore::{EtcdOptions, EtcdStore, Store};
use real_etcd::Etcd;
use tokio::sync::Mutex;

const BACKLOG: usize = 256;
const MAX_VALUE: usize = 128 << 10;

type Guard = Arc<Mutex<Etcd>>;

fn options(etcd: &Etcd) -> EtcdOptions {
    etcd.options().watch_backlog(BACKLOG).max_value_bytes(MAX_VALUE)
}

/// Kills etcd, starts it over the same data, and connects anew.
async fn reopen(guard: Guard) -> EtcdStore {
    let mut etcd = guard.lock().await;
    etcd.kill(0);
    etcd.start().await;
    EtcdStore::connect(options(&etcd)).await.expect("etcd serves again")
}

fn capabilities() -> Capabilities {
    let all = Capabilities::default()
        .leases()
        .watch_backlog(BACKLOG)
        .max_value_bytes(MAX_VALUE)
        .coarse_bytes()
        .durable(|guard: &Guard| reopen(Arc::clone(guard)));
    match real_etcd::tool("KUBRICK_ETCD") {
        Some(_) => all,
        None => all.missing("KUBRICK_ETCD is not set"),
    }
}

async fn store() -> (Guard, EtcdStore) {
    let etcd = Etcd::one().await.expect("the suite is only run where there is an etcd");
    let store = EtcdStore::connect(options(&etcd)).await.expect("etcd serves");
    (Arc::new(Mutex::new(etcd)), store)
}

suite!(etcd_store, capabilities(), store);
suite!(boxed_store, capabilities(), || async {
    let (etcd, store) = store().await;
    (etcd, Box::new(store) as Box<dyn Store>)
});
suite!(shared_store, capabilities(), || async {
    let (etcd, store) = store().await;
    (etcd, Arc::new(store) as Arc<dyn Store>)
});
