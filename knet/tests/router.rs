//! The router over a real API server: Services lead to what is behind them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DeleteOptions, DynClient, Patch};
use kcore::clock::Clock;
use kcore::component::Distribution;
use kcore::kind::Kind;
use kcore::random::Random;
use knet::{RecordingProgrammer, ServiceRouter};
use kstore::MemoryStore;
use serde_json::{Value, json};

fn object<K: Kind>(json: Value) -> K {
    serde_json::from_value(json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_table_follows_the_cluster() {
    let options = ServerOptions::default()
        .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
        .random(Random::seeded(1))
        .service_cidr("127.80.0.0/24".parse().unwrap())
        .loopback_pod_cidr("127.64.0.0/16".parse().unwrap());
    let api = ApiServer::with(MemoryStore::new(), options);
    let admin: DynClient = Arc::new(api.client(Identity::admin()));
    let programmer = RecordingProgrammer::new();
    // The router's own identity must do: its role is part of what is tested.
    let client: DynClient = Arc::new(api.client(Identity::component("proxy")));
    let router = ServiceRouter::new(client, programmer.clone()).node("n1");
    let running = Distribution::new().random(Random::seeded(2)).with(router).start();
    running.ready().await;
    let table = || programmer.table().unwrap().to_string();
    assert_eq!(
        table(),
        "default/kubernetes:https 127.80.0.1:443 TCP -> refused: no usable endpoint\n"
    );

    let nodes: Api<Node> = Api::all(Arc::clone(&admin));
    let services: Api<Service> = Api::namespaced(Arc::clone(&admin), "default");
    let slices: Api<EndpointSlice> = Api::namespaced(Arc::clone(&admin), "default");
    let addresses = json!([{"type": "InternalIP", "address": "127.0.0.7"}]);
    let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": addresses}});
    nodes.create(object(node)).await.unwrap();
    let spec = json!({"clusterIP": "127.80.0.9", "type": "NodePort",
        "ports": [{"port": 80, "nodePort": 30080}]});
    services.create(object(json!({"metadata": {"name": "web"}, "spec": spec}))).await.unwrap();
    let slice = json!({"metadata": {"name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["127.64.0.1"]}]});
    slices.create(object(slice)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let web: Vec<String> =
        table().lines().filter(|line| line.contains("web")).map(ToOwned::to_owned).collect();
    assert_eq!(
        web,
        [
            "default/web 127.80.0.9:80 TCP -> 127.64.0.1:8080",
            "default/web 127.0.0.7:30080 TCP -> 127.64.0.1:8080"
        ]
    );

    let leaving = r#"{"endpoints":[{"addresses":["127.64.0.1"],"conditions":
        {"ready":false,"serving":false,"terminating":true}}]}"#;
    slices.patch("web-1", Patch::Merge(leaving.into())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(table().contains("127.80.0.9:80 TCP -> refused"), "N8: {}", table());
    services.delete("web", &DeleteOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!table().contains("web"));
    assert!(running.stop().await.is_clean());
}
