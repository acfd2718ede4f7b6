//! Several servers over one store are one cluster.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServicePort, ServiceSpec};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DeleteOptions, DynClient, ListOptions};
use kcore::clock::Clock;
use kcore::random::Random;
use kcore::status::Reason;
use kstore::{
    KeyRange, Leases, MemoryStore, Page, RangeOptions, Revision, Store, StoreExt as _, StoreStatus,
    Txn, TxnResult, WatchOptions, WatchStream,
};

/// A store whose watches tell everything late.
#[derive(Debug)]
struct Late(MemoryStore);

#[async_trait]
impl Store for Late {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> kstore::Result<Page> {
        self.0.range(range, options).await
    }

    async fn txn(&self, txn: Txn) -> kstore::Result<TxnResult> {
        self.0.txn(txn).await
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> kstore::Result<WatchStream> {
        let watch = self.0.watch(range, options).await?;
        Ok(watch.map_batches(|batches| {
            batches.then(|batch| async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                batch
            })
        }))
    }

    async fn compact(&self, through: Revision) -> kstore::Result<()> {
        self.0.compact(through).await
    }

    async fn status(&self) -> kstore::Result<StoreStatus> {
        self.0.status().await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.0.leases()
    }
}

/// Two servers over one store, with a client of each; the second hears of everything late.
fn two() -> (MemoryStore, [DynClient; 2]) {
    let store = MemoryStore::new();
    let client = |seed: u64, store: Arc<dyn Store>| -> DynClient {
        let options = ServerOptions::default()
            .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
            .random(Random::seeded(seed))
            .shared_store();
        Arc::new(ApiServer::with(store, options).client(Identity::admin()))
    };
    let clients = [client(1, Arc::new(store.clone())), client(2, Arc::new(Late(store.clone())))];
    (store, clients)
}

fn config_map(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object
}

/// C4, over servers.
#[tokio::test(start_paused = true)]
async fn what_one_server_wrote_the_other_knows() {
    let (_store, [a, b]) = two();
    for n in 0..20 {
        let mut namespace = Namespace::default();
        let name = format!("n{n}");
        namespace.metadata.name = Some(name.clone());
        Api::<Namespace>::all(Arc::clone(&a)).create(namespace).await.unwrap();
        // Each step goes to the other server, at once.
        let here = Api::<ConfigMap>::namespaced(Arc::clone(&a), &name);
        let there = Api::<ConfigMap>::namespaced(Arc::clone(&b), &name);
        there.create(config_map("c")).await.unwrap();
        let mut found = ConfigMap::clone(&*here.get("c").await.unwrap());
        found.data = Some([("k".to_owned(), "v".to_owned())].into());
        let updated = here.update(found).await.unwrap();
        let listed = there.list(&ListOptions::default()).await.unwrap();
        let version = |map: &ConfigMap| map.metadata.resource_version.clone();
        let seen = listed.items.iter().find(|map| map.metadata.name.as_deref() == Some("c"));
        assert_eq!(seen.map(|map| version(map)), Some(version(&updated)));
        there.delete("c", &DeleteOptions::default()).await.unwrap();
        let gone = here.get("c").await.unwrap_err();
        assert_eq!(gone.status().map(|status| status.code), Some(404), "{gone}");
        let again = here.delete("c", &DeleteOptions::default()).await.unwrap_err();
        assert_eq!(again.status().map(|status| status.code), Some(404), "{again}");
    }
}

/// A4's sibling: of two servers that hand out addresses, none hands one out twice.
#[tokio::test(start_paused = true)]
async fn servers_hand_out_no_address_twice() {
    let (_store, clients) = two();
    let mut addresses = BTreeSet::new();
    for n in 0..60 {
        let create = clients.iter().enumerate().map(|(at, client)| {
            let mut service = Service::default();
            service.metadata.name = Some(format!("s{n}-{at}"));
            let port = ServicePort { port: 80, ..ServicePort::default() };
            let spec = ServiceSpec {
                type_: Some("NodePort".to_owned()),
                ports: Some(vec![port]),
                ..ServiceSpec::default()
            };
            service.spec = Some(spec);
            let api = Api::<Service>::namespaced(Arc::clone(client), "default");
            async move { api.create(service).await.unwrap() }
        });
        for service in futures::future::join_all(create).await {
            let spec = service.spec.as_ref().unwrap();
            let port = spec.ports.as_ref().unwrap()[0].node_port.unwrap();
            assert!(addresses.insert(spec.cluster_ip.clone().unwrap()), "an address came twice");
            assert!(addresses.insert(format!("port {port}")), "a port came twice");
        }
    }
}

/// What others keep in the same store moves its revision, and no read waits for it for ever.
#[tokio::test(start_paused = true)]
async fn a_read_does_not_wait_for_what_is_not_the_servers() {
    let (store, [a, b]) = two();
    let here = Api::<ConfigMap>::namespaced(a, "default");
    let there = Api::<ConfigMap>::namespaced(b, "default");
    for n in 0..10 {
        here.create(config_map(&format!("c{n}"))).await.unwrap();
        store.put("somebody/else", n.to_string()).await.unwrap();
        let name = format!("c{n}");
        let reading = there.get(&name);
        let read = tokio::time::timeout(Duration::from_secs(1), reading).await;
        read.expect("the read is answered").unwrap();
        store.put("somebody/else", "again").await.unwrap();
        let taken = there.create(config_map(&format!("c{n}")));
        let taken = tokio::time::timeout(Duration::from_secs(1), taken).await;
        let taken = taken.expect("the write is answered").unwrap_err();
        let reason = taken.status().map(|status| status.reason);
        assert_eq!(reason, Some(Reason::AlreadyExists), "{taken}");
    }
}
