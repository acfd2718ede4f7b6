//! An API server in this process, and what tests ask of it.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of several tests")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DynClient, ListOptions};
use kcore::clock::Clock;
use kcore::component::{Component, Context};
use kcore::random::Random;
use kcore::stop::{StopGuard, StopToken};
use ksched::Scheduler;
use ksched::testing::{NodeBuilder, PodBuilder};
use kstore::MemoryStore;

pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) admin: DynClient,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(ServerOptions::default())
    }

    pub(crate) fn with(options: ServerOptions) -> Self {
        let api = ApiServer::with(MemoryStore::new(), options);
        let admin = Arc::new(api.client(Identity::admin()));
        Self { api, admin }
    }

    pub(crate) fn client(&self) -> DynClient {
        Arc::new(self.api.client(Identity::component("scheduler")))
    }

    /// Runs a scheduler until the guard is dropped.
    pub(crate) fn run(&self, scheduler: Scheduler) -> StopGuard {
        let stop = StopToken::new();
        let ctx = Context::new(Clock::system(), Random::seeded(5)).with_stop(stop.clone());
        tokio::spawn(async move { scheduler.run(ctx).await.unwrap() });
        stop.stop_on_drop()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(Arc::clone(&self.admin), "default")
    }

    pub(crate) async fn node(&self, node: NodeBuilder) {
        let node = (*node.build()).clone();
        let api: Api<Node> = Api::all(Arc::clone(&self.admin));
        let created = api.create(node.clone()).await.unwrap();
        let mut node = node;
        node.metadata = created.metadata.clone();
        api.update_status(node).await.unwrap();
    }

    pub(crate) async fn pod(&self, pod: PodBuilder) {
        self.pods().create((*pod.build()).clone()).await.unwrap();
    }

    /// A pod that is on its node already.
    pub(crate) async fn bound_pod(&self, pod: PodBuilder, node: &str) {
        let mut object = (*pod.build()).clone();
        object.spec.as_mut().unwrap().node_name = Some(node.to_owned());
        self.pods().create(object).await.unwrap();
    }

    pub(crate) async fn priority_class(&self, name: &str, value: i32) {
        let class = serde_json::json!({"metadata": {"name": name}, "value": value});
        let api: Api<PriorityClass> = Api::all(Arc::clone(&self.admin));
        api.create(serde_json::from_value(class).unwrap()).await.unwrap();
    }

    pub(crate) async fn node_of(&self, pod: &str) -> String {
        let pod = self.pods().get(pod).await.unwrap();
        pod.spec.as_ref().unwrap().node_name.clone().unwrap_or_default()
    }

    /// Waits for a pod to be bound, for two simulated minutes.
    pub(crate) async fn bound(&self, pod: &str) -> String {
        for _ in 0..1200 {
            let node = self.node_of(pod).await;
            if !node.is_empty() {
                return node;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{pod} was not bound");
    }

    pub(crate) async fn condition(&self, pod: &str) -> (String, String, String) {
        for _ in 0..1200 {
            let found = self.pods().get(pod).await.unwrap();
            let conditions = found.status.iter().flat_map(|s| s.conditions.iter().flatten());
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let mut scheduled = conditions.filter(|c| c.type_ == "PodScheduled");
            if let Some(c) = scheduled.next() {
                return (c.status.clone(), text(&c.reason), text(&c.message));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{pod} has no condition");
    }

    /// Waits until a pod is told why it has no node: the reason and the message.
    pub(crate) async fn told(&self, pod: &str) -> (String, String) {
        for _ in 0..1200 {
            let (status, reason, message) = self.condition(pod).await;
            if status == "False" && !message.is_empty() {
                return (reason, message);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{pod} was told nothing");
    }

    pub(crate) async fn events(&self, reason: &str) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let api: Api<Event> = Api::namespaced(Arc::clone(&self.admin), "default");
        let events = api.list(&ListOptions::default()).await.unwrap().items;
        let events = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
        events.map(|event| event.message.clone().unwrap_or_default()).collect()
    }
}
