//! What waits for the disk and what need not.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DynClient};
use kstore::journal::simulated::SimulatedDisk;
use kstore::{JournalOptions, JournalStore};

fn named(name: &str) -> ObjectMeta {
    let (name, namespace) = (Some(name.to_owned()), Some("default".to_owned()));
    ObjectMeta { name, namespace, ..ObjectMeta::default() }
}

/// A node's heartbeat is answered while the disk is busy; what a user asks for is not.
#[tokio::test(flavor = "multi_thread")]
async fn leases_wait_for_no_sync_and_config_maps_do() {
    let disk = SimulatedDisk::new();
    let store = JournalStore::on(disk.clone(), JournalOptions::default()).expect("it opens");
    let api = ApiServer::new(store);
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    let leases = Api::<Lease>::namespaced(client.clone(), "default");
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    let lease = Lease { metadata: named("node"), spec: None };
    // The first one reserves revisions, durably.
    let created = leases.create(lease).await.expect("it is created");
    disk.hold_syncs();
    let mut renewed = Lease::clone(&created);
    renewed.spec = Some(LeaseSpec { holder_identity: Some("me".into()), ..LeaseSpec::default() });
    leases.update(renewed).await.expect("it is answered without a sync");
    let map = ConfigMap { metadata: named("map"), ..ConfigMap::default() };
    let creating = tokio::spawn(async move { maps.create(map).await });
    while disk.syncs_held() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!creating.is_finished(), "it is not synced");
    disk.release_syncs();
    creating.await.expect("it ends").expect("it is created");
}
