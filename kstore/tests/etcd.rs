//! The store over real etcd passes the suite, as a value and in pointers.
#![cfg(feature = "etcd")]

mod real_etcd;

use std::sync::Arc;

use kstore::conformance::{Capabilities, suite};
use kstore::{EtcdStore, Store};
use real_etcd::Etcd;

const BACKLOG: usize = 256;
const MAX_VALUE: usize = 128 << 10;

fn capabilities() -> Capabilities {
    let all = Capabilities::default()
        .leases()
        .watch_backlog(BACKLOG)
        .max_value_bytes(MAX_VALUE)
        .coarse_bytes();
    match real_etcd::tool("KUBRICK_ETCD") {
        Some(_) => all,
        None => all.missing("KUBRICK_ETCD is not set"),
    }
}

async fn store() -> (Etcd, EtcdStore) {
    let etcd = Etcd::one().await.expect("the suite is only run where there is an etcd");
    let options = etcd.options().watch_backlog(BACKLOG).max_value_bytes(MAX_VALUE);
    let store = EtcdStore::connect(options).await.expect("etcd serves");
    (etcd, store)
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
