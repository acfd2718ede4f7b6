//! What the tests of the agent share: an API server in the process, a node on scripted
//! containers, and time that stands still.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DynClient, ListOptions, Patch};
use kcore::clock::Clock;
use kcore::component::{Distribution, Running};
use kcore::kind::Kind;
use kcore::random::Random;
use knode::fake::{FakeRuntime, Options};
use knode::{AgentOptions, NodeAgent};
use kstore::MemoryStore;
use serde_json::{Value, json};

/// A cluster of one node in one process.
pub struct Cluster {
    pub api: ApiServer,
    pub admin: DynClient,
    pub clock: Clock,
    pub runtime: FakeRuntime,
}

impl Cluster {
    /// Its node's containers do as `options` say.
    pub fn new(options: Options) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let server = ServerOptions::default().clock(clock.clone()).random(Random::seeded(1));
        let api = ApiServer::with(MemoryStore::new(), server);
        let admin: DynClient = Arc::new(api.client(Identity::admin()));
        let runtime = FakeRuntime::new(options.clock(Some(clock.clone())));
        Self { api, admin, clock, runtime }
    }

    /// Starts the node's agent.
    pub fn start(&self) -> Running {
        let client: DynClient = Arc::new(self.api.client(Identity::node("node-1")));
        let options = AgentOptions::default().name("node-1").prober(self.runtime.clone());
        let agent = NodeAgent::new(client, self.runtime.clone(), options);
        let distribution = Distribution::new().clock(self.clock.clone()).random(Random::seeded(2));
        distribution.with(agent).start()
    }

    pub fn of<K: Kind>(&self) -> Api<K> {
        Api::namespaced(Arc::clone(&self.admin), "default")
    }

    /// Creates a pod that is bound to the node.
    pub async fn create(&self, name: &str, mut spec: Value) -> Arc<Pod> {
        spec["nodeName"] = json!("node-1");
        let pod = json!({ "metadata": { "name": name }, "spec": spec });
        self.of::<Pod>().create(serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    pub async fn pod(&self, name: &str) -> Arc<Pod> {
        self.of::<Pod>().get(name).await.unwrap()
    }

    pub async fn patch<K: Kind>(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch.to_string().into());
        self.of::<K>().patch(name, patch).await.unwrap();
    }

    /// The reasons and messages of a pod's events, in the order they were made.
    pub async fn events(&self, pod: &str) -> Vec<String> {
        let mut events = self.of::<Event>().list(&ListOptions::default()).await.unwrap().items;
        events.retain(|event| event.involved_object.name.as_deref() == Some(pod));
        events.sort_by_key(|event| event.metadata.creation_timestamp.as_ref().map(|at| at.0));
        let text = |event: &Event| {
            let reason = event.reason.clone().unwrap_or_default();
            format!("{reason}: {}", event.message.clone().unwrap_or_default())
        };
        events.iter().map(|event| text(event)).collect()
    }

    /// Waits until the pod is as `test` says, for at most an hour of time that costs nothing.
    pub async fn wait(&self, name: &str, test: impl Fn(&Pod) -> bool) -> Arc<Pod> {
        for _ in 0..36_000 {
            if let Some(pod) = self.of::<Pod>().get_opt(name).await.unwrap()
                && test(&pod)
            {
                return pod;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let pod = self.of::<Pod>().get_opt(name).await.unwrap();
        let status = pod.as_ref().map(|pod| &pod.status);
        let events = self.events(name).await;
        panic!("{name} does not get there: {status:#?}\n{events:#?}");
    }

    /// Waits until there is no such pod.
    pub async fn wait_gone(&self, name: &str) {
        for _ in 0..36_000 {
            if self.of::<Pod>().get_opt(name).await.unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} does not go: {:#?}", self.pod(name).await.status);
    }
}

/// A pod's phase.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether a condition holds.
pub fn holds(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == kind && it.status == "True")
}

/// The status of a container, as JSON.
pub fn container(pod: &Pod, name: &str) -> Value {
    let status = serde_json::to_value(pod.status.as_ref().unwrap()).unwrap();
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut all = lists.iter().filter_map(|list| status[list].as_array()).flatten();
    all.find(|status| status["name"] == name).cloned().unwrap_or_default()
}

/// A container of an image that does not need to be pulled.
pub fn plain(name: &str, image: &str) -> Value {
    json!({ "name": name, "image": image })
}
