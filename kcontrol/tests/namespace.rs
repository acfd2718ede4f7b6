//! Namespaces and what each has, over an API server in the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Cluster, deployment};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kcontrol::Controllers;
use kcore::client::{Api, DeleteOptions, ListOptions};
use kcore::kind::Kind;
use kcore::status::Reason;
use serde_json::json;

fn within<K: Kind>(cluster: &Cluster) -> Api<K> {
    Api::namespaced(Arc::clone(&cluster.admin), "team")
}

fn namespaces(cluster: &Cluster) -> Api<Namespace> {
    Api::all(Arc::clone(&cluster.admin))
}

async fn make_team(cluster: &Cluster) {
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces(cluster).create(team).await.unwrap();
    let there =
        || async { within::<ServiceAccount>(cluster).get_opt("default").await.unwrap().is_some() };
    cluster.until("the default ServiceAccount", there).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_its_account_and_certificate_and_gets_them_back() {
    let cluster = Cluster::new();
    let _running = cluster.run(Controllers::stock(cluster.manager()).root_ca("PEM"));
    make_team(&cluster).await;
    let maps = within::<ConfigMap>(&cluster);
    let has = |map: Option<Arc<ConfigMap>>| {
        map.and_then(|map| map.data.clone()).is_some_and(|data| data["ca.crt"] == "PEM")
    };
    let maps = &maps;
    let there = || async move { has(maps.get_opt("kube-root-ca.crt").await.unwrap()) };
    cluster.until("the certificate", there).await;
    maps.delete("kube-root-ca.crt", &DeleteOptions::default()).await.unwrap();
    cluster.until("the certificate again", there).await;
    let accounts = within::<ServiceAccount>(&cluster);
    accounts.delete("default", &DeleteOptions::default()).await.unwrap();
    let accounts = &accounts;
    let back = || async move { accounts.get_opt("default").await.unwrap().is_some() };
    cluster.until("the account again", back).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_is_emptied_and_goes_d7() {
    let cluster = Cluster::new();
    let _running = cluster.run(Controllers::stock(cluster.manager()));
    make_team(&cluster).await;
    let web = deployment("web", 2, &json!({"type": "RollingUpdate"}));
    within::<Deployment>(&cluster).create(serde_json::from_value(web).unwrap()).await.unwrap();
    let pods = within::<Pod>(&cluster);
    let pods = &pods;
    let count = || async move { pods.list(&ListOptions::default()).await.unwrap().items.len() };
    cluster.until("two pods", || async { count().await == 2 }).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    let maps = within::<ConfigMap>(&cluster);
    maps.create(serde_json::from_value(held).unwrap()).await.unwrap();
    namespaces(&cluster).delete("team", &DeleteOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(count().await, 0);
    let team = namespaces(&cluster).get("team").await.unwrap();
    let said = team.status.clone().unwrap().conditions.unwrap();
    let remaining = said.iter().find(|one| one.type_ == "NamespaceContentRemaining").unwrap();
    assert!(remaining.message.as_ref().unwrap().contains("configmaps has 1 resource"));
    let fresh = serde_json::from_value(json!({"metadata": {"name": "late"}})).unwrap();
    let refused = maps.create(fresh).await.unwrap_err();
    assert!(refused.is(Reason::Forbidden), "D7: {refused}");
    let free = json!({"metadata": {"finalizers": null}}).to_string();
    maps.patch("held", kcore::client::Patch::Merge(free.into())).await.unwrap();
    let gone = || async { namespaces(&cluster).get_opt("team").await.unwrap().is_none() };
    cluster.until("the namespace is gone", gone).await;
}
