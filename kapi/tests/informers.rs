//! Informers over the local client: what components stand on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DeleteOptions, DynClient};
use kcore::clock::Clock;
use kcore::informer::{Change, InformerOptions, InitialState, SharedInformer};
use kcore::random::Random;
use kcore::stop::StopToken;
use kstore::{Faults, FaultyStore, MemoryStore};
use parking_lot::Mutex;

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object.data = Some([("k".to_owned(), value.to_owned())].into());
    object
}

fn options(seed: u64) -> ServerOptions {
    ServerOptions::default()
        .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
        .random(Random::seeded(seed))
}

/// Replays what a handler is told.
fn replay(informer: &SharedInformer<ConfigMap>) -> Arc<Mutex<BTreeMap<String, String>>> {
    let told: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let state = Arc::clone(&told);
    let registration = informer.on_change(move |change| {
        let object = change.latest();
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut state = state.lock();
        match change {
            Change::Deleted(_) => state.remove(&name),
            _ => {
                let data = object.data.as_ref().and_then(|data| data.get("k")).cloned();
                state.insert(name, data.unwrap_or_default())
            }
        };
    });
    // The handler lives as long as the test.
    std::mem::forget(registration);
    told
}

async fn follows(initial: InitialState) {
    let api = ApiServer::with(MemoryStore::new(), options(1));
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    let maps: Api<ConfigMap> = Api::namespaced(Arc::clone(&client), "default");
    maps.create(config_map("before", "1")).await.unwrap();
    let wanted = InformerOptions::default().namespace("default").initial(initial);
    let informer = SharedInformer::<ConfigMap>::new(client, wanted, Random::seeded(2));
    let told = replay(&informer);
    let stop = StopToken::new();
    let running = tokio::spawn({
        let (informer, stop) = (informer.clone(), stop.clone());
        async move { informer.run(stop).await }
    });
    informer.wait_for_sync().await;
    for at in 0..50 {
        let name = format!("m{}", at % 10);
        match maps.get_opt(&name).await.unwrap() {
            None => drop(maps.create(config_map(&name, &at.to_string())).await.unwrap()),
            Some(_) if at % 7 == 0 => {
                maps.delete(&name, &DeleteOptions::default()).await.unwrap();
            }
            Some(object) => {
                let mut object = (*object).clone();
                object.data.as_mut().unwrap().insert("k".into(), at.to_string());
                maps.update(object).await.unwrap();
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let list = maps.list(&Default::default()).await.unwrap();
    let real: BTreeMap<String, String> = list
        .items
        .iter()
        .map(|o| (o.metadata.name.clone().unwrap(), o.data.as_ref().unwrap()["k"].clone()))
        .collect();
    assert!(real.len() > 5);
    assert_eq!(*told.lock(), real);
    let cached = informer.lister().get("default", "before").unwrap();
    assert!(Arc::ptr_eq(&cached, &maps.get("before").await.unwrap()), "one shared view");
    stop.stop();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_informer_ends_at_the_servers_state_after_a_list() {
    follows(InitialState::List).await;
}

#[tokio::test(start_paused = true)]
async fn an_informer_ends_at_the_servers_state_after_a_stream() {
    follows(InitialState::Stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cuts_watches_loses_nothing() {
    // C5, C7: the cache lists again, and what changed meanwhile is told as changes.
    for seed in 0..20 {
        let faults = Faults::default().cut(0.05);
        let store = FaultyStore::new(MemoryStore::new(), Random::seeded(seed), faults);
        let api = ApiServer::with(store, options(seed));
        let client: DynClient = Arc::new(api.client(Identity::admin()));
        let maps: Api<ConfigMap> = Api::namespaced(Arc::clone(&client), "default");
        let wanted = InformerOptions::default().namespace("default");
        let informer = SharedInformer::<ConfigMap>::new(client, wanted, Random::seeded(seed));
        let told = replay(&informer);
        let stop = StopToken::new();
        let running = tokio::spawn({
            let (informer, stop) = (informer.clone(), stop.clone());
            async move { informer.run(stop).await }
        });
        informer.wait_for_sync().await;
        for at in 0..60 {
            let name = format!("m{}", at % 8);
            let _ = maps.delete(&name, &DeleteOptions::default()).await;
            maps.create(config_map(&name, &at.to_string())).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let told = told.lock().clone();
        assert_eq!(told.len(), 8, "seed {seed}: {told:?}");
        for (name, value) in told {
            let real = maps.get(&name).await.unwrap();
            assert_eq!(real.data.as_ref().unwrap()["k"], value, "seed {seed}");
        }
        stop.stop();
        running.await.unwrap();
    }
}
