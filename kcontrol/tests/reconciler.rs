//! The reconciler's own promises, over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kcontrol::reconciler::{Action, Context, Controller, Reconciler, reconciler_fn};
use kcore::client::DeleteOptions;
use kcore::name::NamespacedName;
use serde_json::json;

async fn make(cluster: &Cluster, name: &str) {
    cluster.create::<ConfigMap>(json!({"metadata": {"name": name}, "data": {"n": "0"}})).await;
}

async fn number(cluster: &Cluster, name: &str) -> u32 {
    let map = cluster.of::<ConfigMap>().get(name).await.unwrap();
    map.data.as_ref().unwrap()["n"].parse().unwrap()
}

/// Counts a ConfigMap up to 50, from what the cache shows.
async fn counter(key: NamespacedName, ctx: Context) -> kcore::Result<Action> {
    let Some(map) = ctx.lister::<ConfigMap>().get_key(&key) else {
        return Ok(Action::await_change());
    };
    let count: u32 = map.data.as_ref().map_or(50, |data| data["n"].parse().unwrap());
    if count >= 50 {
        return Ok(Action::await_change());
    }
    let mut next = (*map).clone();
    next.data.as_mut().unwrap().insert("n".into(), (count + 1).to_string());
    // No version: a write from a stale read would go through, and count wrong.
    next.metadata.resource_version = None;
    ctx.api::<ConfigMap>(&key.namespace).update(next).await?;
    Ok(Action::requeue_after(Duration::from_nanos(1)))
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_sees_what_the_keys_last_one_wrote_c4() {
    let cluster = Cluster::new();
    make(&cluster, "a").await;
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let reconciler = reconciler_fn("counter", move |key: NamespacedName, ctx: Context| {
        if key.name == "a" && key.namespace == "default" {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        async move {
            let other = key.name != "a";
            if other { Ok(Action::await_change()) } else { counter(key, ctx).await }
        }
    });
    let controller = Controller::<ConfigMap>::new(cluster.manager(), reconciler).resync(None);
    let _running = cluster.run(controller);
    cluster.until("fifty", || async { number(&cluster, "a").await == 50 }).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Each count takes one reconcile by requeue and at most one by the change itself.
    assert!(writes.load(Ordering::Relaxed) <= 102, "C4: a stale read was written again");
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_an_error_come_back_and_hold_nobody_up() {
    let cluster = Cluster::new();
    make(&cluster, "bad").await;
    make(&cluster, "good").await;
    let tries = Arc::new(AtomicUsize::new(0));
    let tried = Arc::clone(&tries);
    let reconciler = reconciler_fn("moody", move |key: NamespacedName, ctx: Context| {
        let tried = Arc::clone(&tried);
        async move {
            match key.name.as_str() {
                "bad" => match tried.fetch_add(1, Ordering::Relaxed) {
                    0 => panic!("the first try panics"),
                    1 => Err("the second try fails".to_owned()),
                    _ => counter(key, ctx).await.map_err(|error| error.to_string()),
                },
                "good" => counter(key, ctx).await.map_err(|error| error.to_string()),
                _ => Ok(Action::await_change()),
            }
        }
    });
    let _running =
        cluster.run(Controller::<ConfigMap>::new(cluster.manager(), reconciler).workers(1));
    cluster.until("good", || async { number(&cluster, "good").await == 50 }).await;
    cluster.until("bad", || async { number(&cluster, "bad").await == 50 }).await;
    assert!(tries.load(Ordering::Relaxed) >= 3);
}

#[tokio::test(start_paused = true)]
async fn owners_mapped_keys_and_resyncs_are_reconciled() {
    #[derive(Debug)]
    struct Count(Arc<AtomicUsize>);
    #[async_trait::async_trait]
    impl Reconciler for Count {
        type Error = kcore::Error;
        fn name(&self) -> &str {
            "count"
        }
        async fn reconcile(&self, key: &NamespacedName, _: &Context) -> kcore::Result<Action> {
            self.0.fetch_add(usize::from(key.name == "root"), Ordering::Relaxed);
            Ok(Action::await_change())
        }
    }
    let cluster = Cluster::new();
    make(&cluster, "root").await;
    let root = cluster.of::<ConfigMap>().get("root").await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = || count.load(Ordering::Relaxed);
    let controller = Controller::<ConfigMap>::new(cluster.manager(), Count(Arc::clone(&count)))
        .owns::<ConfigMap>()
        .resync(Some(Duration::from_secs(1000)));
    let _running = cluster.run(controller);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen(), 1);
    let owner = kcore::object::controller_reference(&*root);
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "child", "ownerReferences": [owner]}}))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen(), 2, "a child that is new");
    cluster.of::<ConfigMap>().delete("child", &DeleteOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen(), 3, "a child that is gone");
    tokio::time::sleep(Duration::from_secs(1300)).await;
    assert_eq!(seen(), 4, "a resync");
}
