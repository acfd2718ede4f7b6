//! The face passes the suite through `EtcdStore`, over a store that forgets and one that survives:
//! what goes through etcd's messages in both directions is the contract still.
#![cfg(all(feature = "etcd", feature = "etcd-server"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore::conformance::{Capabilities, suite};
use kstore::{
    EtcdFace, EtcdFaceOptions, EtcdOptions, EtcdStore, JournalOptions, JournalStore, MemoryOptions,
    MemoryStore, Store,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const QUOTA: u64 = 1 << 20;
const BACKLOG: usize = 256;
const MAX_VALUE: usize = 128 << 10;

fn capabilities() -> Capabilities {
    Capabilities::default().leases().quota(QUOTA).watch_backlog(BACKLOG).max_value_bytes(MAX_VALUE)
}

/// A face that is served until this is dropped.
struct Served(JoinHandle<std::io::Result<()>>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves `store`, in small fragments, and connects to it.
async fn through(store: impl Store) -> (Served, EtcdStore) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let options = EtcdFaceOptions::default().fragment_bytes(500);
    let face = EtcdFace::with_options(store, options);
    let served = Served(tokio::spawn(face.serve(listener, std::future::pending())));
    let options = EtcdOptions::new([endpoint]).watch_backlog(BACKLOG).max_value_bytes(MAX_VALUE);
    (served, EtcdStore::connect(options).await.unwrap())
}

suite!(face_of_memory, capabilities(), || async {
    through(MemoryStore::with_options(MemoryOptions::default().quota_bytes(QUOTA))).await
});

suite!(face_of_a_journal, capabilities(), || async {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryOptions::default().quota_bytes(QUOTA);
    let options = JournalOptions::default().memory(memory);
    let store = JournalStore::with(dir.path(), options).unwrap();
    let (served, store) = through(store).await;
    ((served, dir), store)
});
