//! What the tests of controllers share: an API server in the process, and a cluster's chores.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DynClient, ListOptions, Patch};
use kcore::clock::Clock;
use kcore::component::{Component, Distribution, Running};
use kcore::kind::Kind;
use kcore::random::Random;
use kstore::MemoryStore;
use serde_json::{Value, json};

/// A cluster in one process: its API, and whatever components run over it.
pub struct Cluster {
    pub api: ApiServer,
    pub admin: DynClient,
    pub clock: Clock,
}

impl Cluster {
    pub fn new() -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let options = ServerOptions::default().clock(clock.clone()).random(Random::seeded(1));
        let api = ApiServer::with(MemoryStore::new(), options);
        let admin: DynClient = Arc::new(api.client(Identity::admin()));
        Self { api, admin, clock }
    }

    /// The controller manager's client.
    pub fn manager(&self) -> DynClient {
        Arc::new(self.api.client(Identity::component("controller-manager")))
    }

    /// Runs a component.
    pub fn run(&self, component: impl Component) -> Running {
        let distribution = Distribution::new().clock(self.clock.clone()).random(Random::seeded(2));
        distribution.with(component).start()
    }

    pub fn of<K: Kind>(&self) -> Api<K> {
        Api::namespaced(Arc::clone(&self.admin), "default")
    }

    pub async fn create<K: Kind>(&self, json: Value) -> Arc<K> {
        self.of::<K>().create(serde_json::from_value(json).unwrap()).await.unwrap()
    }

    pub async fn list<K: Kind>(&self) -> Vec<Arc<K>> {
        self.of::<K>().list(&ListOptions::default()).await.unwrap().items
    }

    pub async fn pods(&self) -> Vec<Arc<Pod>> {
        self.list().await
    }

    /// Patches the status as JSON merge patch.
    pub async fn status<K: Kind>(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }).to_string().into());
        self.of::<K>().patch_status(name, patch).await.unwrap();
    }

    pub async fn patch<K: Kind>(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch.to_string().into());
        self.of::<K>().patch(name, patch).await.unwrap();
    }

    /// Makes every pod that is not, and that a filter lets through, ready.
    pub async fn make_ready(&self, filter: impl Fn(&Pod) -> bool) {
        for (at, pod) in self.pods().await.iter().enumerate() {
            let ready = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).is_some();
            if ready || !filter(pod) {
                continue;
            }
            let name = pod.metadata.name.as_deref().unwrap();
            let number = pod.metadata.resource_version.as_deref().unwrap();
            let number: u64 = number.parse().unwrap();
            let ip = format!("10.{at}.{}.{}", number / 250 % 250, number % 250 + 1);
            self.status::<Pod>(name, ready_status(&ip, &self.clock)).await;
        }
    }

    /// Waits until `test` holds, for at most ten minutes of simulated time.
    pub async fn until<T: Future<Output = bool>>(&self, what: &str, test: impl Fn() -> T) {
        for _ in 0..6000 {
            if test().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("this never came true: {what}");
    }

    /// The highest resource version of all objects of the kinds that controllers write.
    pub async fn versions(&self) -> Vec<Option<String>> {
        let mut all = Vec::new();
        all.extend(self.pods().await.iter().map(|one| one.metadata.resource_version.clone()));
        let sets = self.list::<ReplicaSet>().await;
        all.extend(sets.iter().map(|one| one.metadata.resource_version.clone()));
        let deployments = self.list::<Deployment>().await;
        all.extend(deployments.iter().map(|one| one.metadata.resource_version.clone()));
        let nodes: Api<Node> = Api::all(Arc::clone(&self.admin));
        let nodes = nodes.list(&ListOptions::default()).await.unwrap().items;
        all.extend(nodes.iter().map(|one| one.metadata.resource_version.clone()));
        all
    }

    /// Asserts that nothing is written for five minutes (C1).
    pub async fn assert_quiet(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = self.versions().await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(self.versions().await, before, "C1: nothing changed, yet something was written");
    }
}

/// The status of a pod that runs and is ready.
pub fn ready_status(ip: &str, clock: &Clock) -> Value {
    json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": clock.now().to_string()}]})
}

/// A pod template.
pub fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image,
            "ports": [{"name": "http", "containerPort": 8080}]}]}})
}

/// A ReplicaSet.
pub fn replica_set(name: &str, replicas: i32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("web:1")}})
}

/// A Deployment.
pub fn deployment(name: &str, replicas: i32, strategy: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "strategy": strategy,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("web:1")}})
}
