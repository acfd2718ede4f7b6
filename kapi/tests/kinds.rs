//! Kinds with rules of their own, through the local client.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Binding, Endpoints, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::IPAddress;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DeleteOptions, DynClient, ListOptions, Patch};
use kcore::clock::Clock;
use kcore::kind::Kind;
use kcore::random::Random;
use kcore::status::Reason;
use kstore::MemoryStore;
use serde_json::{Value, json};

fn client() -> DynClient {
    let options = ServerOptions::default()
        .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
        .random(Random::seeded(1))
        .service_cidr("127.80.0.0/24".parse().unwrap())
        .node_ports(30_000..=30_002);
    Arc::new(ApiServer::with(MemoryStore::new(), options).client(Identity::admin()))
}

fn api<K: Kind>(client: &DynClient) -> Api<K> {
    Api::namespaced(Arc::clone(client), "default")
}

fn object<K: Kind>(json: Value) -> K {
    serde_json::from_value(json).unwrap()
}

fn pod(name: &str) -> Pod {
    object(json!({"metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "web"}]}}))
}

fn service(name: &str, kind: &str) -> Service {
    object(json!({"metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": "a"}, "ports": [{"port": 80}]}}))
}

#[tokio::test(start_paused = true)]
async fn a_new_pod_is_defaulted_and_admitted() {
    let pods = api::<Pod>(&client());
    let created = pods.create(pod("a")).await.unwrap();
    let spec = created.spec.as_ref().unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.priority, Some(0));
    assert_eq!(spec.tolerations.as_ref().unwrap().len(), 2, "C12");
    let status = created.status.as_ref().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(created.metadata.generation, Some(1));
}

#[tokio::test(start_paused = true)]
async fn status_and_the_rest_are_written_apart() {
    // A4.
    let pods = api::<Pod>(&client());
    pods.create(pod("a")).await.unwrap();
    let patch = r#"{"spec":{"activeDeadlineSeconds":5},"status":{"phase":"Running"}}"#;
    let changed = pods.patch("a", Patch::Merge(patch.into())).await.unwrap();
    assert_eq!(changed.status.as_ref().unwrap().phase.as_deref(), Some("Pending"));
    assert_eq!(changed.metadata.generation, Some(2));
    let patch = r#"{"spec":{"activeDeadlineSeconds":4},"status":{"phase":"Running"}}"#;
    let changed = pods.patch_status("a", Patch::Merge(patch.into())).await.unwrap();
    assert_eq!(changed.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(changed.spec.as_ref().unwrap().active_deadline_seconds, Some(5));
    assert_eq!(changed.metadata.generation, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    // C11.
    let pods = api::<Pod>(&client());
    let created = pods.create(pod("a")).await.unwrap();
    let binding = |uid: &str, node: &str| {
        object::<Binding>(json!({"metadata": {"name": "a", "uid": uid},
            "target": {"kind": "Node", "name": node}}))
    };
    let error = pods.post("a", "binding", binding("another", "n1")).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let uid = created.metadata.uid.clone().unwrap();
    pods.post("a", "binding", binding(&uid, "n1")).await.unwrap();
    let error = pods.post("a", "binding", binding(&uid, "n2")).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let options = ListOptions::default().fields("spec.nodeName=n1".parse().unwrap());
    assert_eq!(pods.list(&options).await.unwrap().items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn services_never_share_an_address_or_a_port() {
    let client = client();
    let services = api::<Service>(&client);
    let addresses: Api<IPAddress> = Api::all(Arc::clone(&client));
    let kubernetes = services.get("kubernetes").await.unwrap();
    let spec = |service: &Service| service.spec.clone().unwrap();
    assert_eq!(spec(&kubernetes).cluster_ip.as_deref(), Some("127.80.0.1"));
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..3 {
        let created = services.create(service(&format!("s{at}"), "NodePort")).await.unwrap();
        assert!(seen.insert(spec(&created).cluster_ip.unwrap()));
        assert!(seen.insert(spec(&created).ports.unwrap()[0].node_port.unwrap().to_string()));
    }
    let error = services.create(service("full", "NodePort")).await.unwrap_err();
    assert!(error.to_string().contains("range is full"), "{error}");
    let mut taken = service("taken", "ClusterIP");
    taken.spec.as_mut().unwrap().cluster_ip = Some("127.80.0.1".into());
    let error = services.create(taken).await.unwrap_err();
    assert!(error.is(Reason::Invalid), "{error}");
    assert!(error.to_string().contains("already allocated"), "{error}");
    assert_eq!(addresses.list(&ListOptions::default()).await.unwrap().items.len(), 4);
    services.delete("s0", &DeleteOptions::default()).await.unwrap();
    assert_eq!(addresses.list(&ListOptions::default()).await.unwrap().items.len(), 3);
    services.create(service("again", "NodePort")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn concurrent_services_take_different_addresses() {
    let client = client();
    let created = futures::future::join_all((0..40).map(|at| {
        let services = api::<Service>(&client);
        async move { services.create(service(&format!("s{at}"), "ClusterIP")).await.unwrap() }
    }))
    .await;
    let addresses: std::collections::BTreeSet<_> =
        created.iter().map(|s| s.spec.as_ref().unwrap().cluster_ip.clone()).collect();
    assert_eq!(addresses.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_terminating_namespace_takes_nothing_new() {
    // D7.
    let client = client();
    let namespaces: Api<Namespace> = Api::all(Arc::clone(&client));
    namespaces.create(object(json!({"metadata": {"name": "x"}}))).await.unwrap();
    let missing = api::<Service>(&client).within("nowhere");
    let error = missing.create(service("a", "ClusterIP")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    namespaces.delete("x", &DeleteOptions::default()).await.unwrap();
    let going = namespaces.get("x").await.unwrap();
    assert_eq!(going.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    let inside = api::<Service>(&client).within("x");
    let error = inside.create(service("a", "ClusterIP")).await.unwrap_err();
    assert!(error.is(Reason::Forbidden), "{error}");
    let mut empty = (*going).clone();
    empty.spec.as_mut().unwrap().finalizers = None;
    namespaces.update_subresource("finalize", empty).await.unwrap();
    assert!(namespaces.get("x").await.unwrap_err().is_not_found());
    let error = namespaces.delete("default", &DeleteOptions::default()).await.unwrap_err();
    assert!(error.is(Reason::Forbidden), "{error}");
}

#[tokio::test(start_paused = true)]
async fn eviction_respects_the_budget() {
    let client = client();
    let pods = api::<Pod>(&client);
    let budgets = api::<PodDisruptionBudget>(&client);
    pods.create(pod("a")).await.unwrap();
    let running =
        r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    pods.patch_status("a", Patch::Merge(running.into())).await.unwrap();
    let budget = json!({"metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    budgets.create(object(budget)).await.unwrap();
    let evict = || object::<Eviction>(json!({"metadata": {"name": "a"}}));
    let error = pods.post("a", "eviction", evict()).await.unwrap_err();
    assert!(error.is(Reason::TooManyRequests), "{error}");
    let allowed = r#"{"status":{"observedGeneration":1,"disruptionsAllowed":1,"currentHealthy":2,
        "desiredHealthy":1,"expectedPods":2}}"#;
    budgets.patch_status("b", Patch::Merge(allowed.into())).await.unwrap();
    pods.post("a", "eviction", evict()).await.unwrap();
    assert!(pods.get("a").await.unwrap_err().is_not_found());
    let spent = budgets.get("b").await.unwrap();
    assert_eq!(spent.status.as_ref().unwrap().disruptions_allowed, Some(0));
}

#[tokio::test(start_paused = true)]
async fn whoever_may_evict_need_not_be_allowed_to_read_or_delete() {
    let server = ApiServer::new(MemoryStore::new());
    let admin: DynClient = Arc::new(server.client(Identity::admin()));
    let role = json!({"metadata": {"name": "evictor"}, "rules": [
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}]});
    let binding = json!({"metadata": {"name": "evictor"}, "roleRef": {"kind": "ClusterRole",
        "apiGroup": "rbac.authorization.k8s.io", "name": "evictor"},
        "subjects": [{"kind": "User", "name": "evictor"}]});
    Api::<ClusterRole>::all(Arc::clone(&admin)).create(object(role)).await.unwrap();
    Api::<ClusterRoleBinding>::all(Arc::clone(&admin)).create(object(binding)).await.unwrap();
    api::<Pod>(&admin).create(pod("a")).await.unwrap();
    let evictor = Identity::user("evictor", [] as [String; 0]);
    let pods = api::<Pod>(&(Arc::new(server.client(evictor)) as DynClient));
    assert!(pods.get("a").await.unwrap_err().is(Reason::Forbidden));
    let evict = |name: &str| object::<Eviction>(json!({"metadata": {"name": name}}));
    pods.post("a", "eviction", evict("a")).await.unwrap();
    assert!(api::<Pod>(&admin).get("a").await.unwrap_err().is_not_found());
    assert!(pods.post("a", "eviction", evict("a")).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn loopback_endpoints_are_refused_but_for_the_named_range() {
    let slice = |name: &str, address: &str| {
        object::<EndpointSlice>(json!({"metadata": {"name": name}, "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}]}))
    };
    let endpoints = |name: &str, address: &str| {
        object::<Endpoints>(json!({"metadata": {"name": name},
            "subsets": [{"addresses": [{"ip": address}]}]}))
    };
    let own = "127.0.0.1:6443".parse().unwrap();
    let plain = ApiServer::new(MemoryStore::new());
    let error = plain.advertise(own).await.unwrap_err();
    assert!(error.is(Reason::Invalid), "{error}");
    let range = "127.64.0.0/10".parse().unwrap();
    let ranged =
        ApiServer::with(MemoryStore::new(), ServerOptions::default().loopback_pod_cidr(range));
    ranged.advertise(own).await.unwrap();
    ranged.advertise(own).await.unwrap();
    for (server, address, fine) in [
        (&plain, "10.0.0.1", true),
        (&plain, "127.64.0.1", false),
        (&ranged, "127.64.0.1", true),
        (&ranged, "127.0.0.1", false),
    ] {
        let client: DynClient = Arc::new(server.client(Identity::admin()));
        let created = api::<EndpointSlice>(&client).create(slice("a", address)).await;
        let older = api::<Endpoints>(&client).create(endpoints("a", address)).await;
        assert_eq!((created.is_ok(), older.is_ok()), (fine, fine), "{address}");
        if let Err(error) = created {
            let words = "EndpointSlice.discovery.k8s.io \"a\" is invalid: \
                endpoints[0].addresses[0]: Invalid value: \"ADDRESS\": may not be in the loopback \
                range (127.0.0.0/8, ::1/128)";
            assert_eq!(error.to_string(), words.replace("ADDRESS", address));
        }
        let known = api::<Endpoints>(&client).get_opt("kubernetes").await.unwrap();
        assert_eq!(known.is_some(), std::ptr::eq(server, &ranged));
    }
}
