//! The scheduler over an API server in this process, under paused time.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::World;
use k8s_openapi::api::core::v1::Binding;
use kcore::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, DynClient, GetOptions, List,
    ListOptions, Patch, Path, WatchOptions, WatchStream, WriteOptions,
};
use kcore::object::Object;
use kcore::{Error, Result};
use ksched::Scheduler;
use ksched::framework::{
    CycleState, ExtensionPoints, SchedulerPlugin, ScorePlugin, Status, plugin_fn,
};
use ksched::snapshot::{NodeInfo, PodInfo};
use ksched::testing::{node, pod};

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_never_beyond_what_a_node_has() {
    // C11: the cache is stale while twelve pods are created at once.
    let world = World::new();
    let _running = world.run(Scheduler::new(world.client()));
    for name in ["a", "b", "c"] {
        world.node(node(name).cpu("4")).await;
    }
    for at in 0..12 {
        world.pod(pod(&format!("p{at}")).cpu("1")).await;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for at in 0..12 {
        *counts.entry(world.bound(&format!("p{at}")).await).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    let events = world.events("Scheduled").await;
    let node = world.node_of("p0").await;
    assert!(events.contains(&format!("Successfully assigned default/p0 to {node}")), "{events:?}");
    assert_eq!(world.condition("p0").await.0, "True");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_says_why_and_waits_for_a_node() {
    let world = World::new();
    world.node(node("small").cpu("1")).await;
    world.node(node("tainted").cpu("8").taint("gpu", "yes", "NoSchedule")).await;
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(pod("p").cpu("2")).await;
    let message = "0/2 nodes are available: 1 Insufficient cpu, \
                   1 node(s) had untolerated taint(s). preemption: 0/2 nodes are \
                   available: 2 Preemption is not helpful for scheduling.";
    let expected = ("False".to_owned(), "Unschedulable".to_owned(), message.to_owned());
    // The server's own default comes first, if there is one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.condition("p").await, expected);
    assert_eq!(world.events("FailedScheduling").await, [message]);
    world.node(node("large").cpu("4")).await;
    assert_eq!(world.bound("p").await, "large");
    assert_eq!(world.condition("p").await.0, "True");
}

#[tokio::test(start_paused = true)]
async fn room_that_a_deleted_pod_leaves_is_used() {
    let world = World::new();
    world.node(node("a").cpu("1")).await;
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(pod("first").cpu("1")).await;
    world.bound("first").await;
    world.pod(pod("second").cpu("1")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.node_of("second").await, "");
    let now = DeleteOptions::default().grace_period_seconds(0);
    world.pods().delete("first", &now).await.unwrap();
    assert_eq!(world.bound("second").await, "a");
}

#[tokio::test(start_paused = true)]
async fn pods_of_another_scheduler_and_gated_pods_are_left_alone() {
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    let _running = world.run(Scheduler::new(world.client()));
    world.pod(pod("other").scheduler("else")).await;
    let gates = serde_json::json!([{"name": "example.com/wait"}]);
    world.pod(pod("gated").spec("schedulingGates", gates)).await;
    world.pod(pod("mine")).await;
    world.bound("mine").await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(world.node_of("other").await, "");
    assert_eq!(world.node_of("gated").await, "");
    let open = Patch::Merge(r#"{"spec":{"schedulingGates":[]}}"#.into());
    world.pods().patch("gated", open).await.unwrap();
    assert_eq!(world.bound("gated").await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_restart_schedules_once_and_another_uid_is_refused() {
    // C11
    let world = World::new();
    world.node(node("a").cpu("1")).await;
    let bindings = Arc::new(AtomicUsize::new(0));
    let hanging = Faulty {
        inner: world.client(),
        fault: Fault::Hangs,
        left: AtomicUsize::new(usize::MAX),
        bindings: Arc::clone(&bindings),
    };
    let first = world.run(Scheduler::new(hanging));
    world.pod(pod("p").cpu("1")).await;
    // The pod is assumed, and its binding is under way and goes nowhere.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bindings.load(Ordering::SeqCst), 1, "assumptions do not expire by time");
    assert_eq!(world.node_of("p").await, "");
    drop(first);
    let _second = world.run(Scheduler::new(world.client()));
    assert_eq!(world.bound("p").await, "a");
    world.pod(pod("late").cpu("1")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.node_of("late").await, "");
    assert_eq!(world.events("Scheduled").await.len(), 1);
    let mut binding = Binding::default();
    binding.metadata.name = Some("late".to_owned());
    binding.metadata.uid = Some("another".to_owned());
    binding.target.name = Some("a".to_owned());
    let error = world.pods().post("late", "binding", binding).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
}

/// How a faulty client fails a binding.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It never reaches the server.
    Lost,
    /// It is done, but the answer is lost.
    AnswerLost,
    /// It never ends.
    Hangs,
}

/// Fails the first bindings.
#[derive(Debug)]
struct Faulty {
    inner: DynClient,
    fault: Fault,
    left: AtomicUsize,
    bindings: Arc<AtomicUsize>,
}

#[async_trait]
impl Client for Faulty {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        self.inner.get(path, options).await
    }
    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.inner.list(path, options).await
    }
    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        self.inner.watch(path, options).await
    }
    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        if path.subresource != "binding" {
            return self.inner.create(path, body, options).await;
        }
        self.bindings.fetch_add(1, Ordering::SeqCst);
        let fails = self.left.load(Ordering::SeqCst) > 0;
        if !fails {
            return self.inner.create(path, body, options).await;
        }
        self.left.fetch_sub(1, Ordering::SeqCst);
        if self.fault == Fault::Hangs {
            std::future::pending::<()>().await;
        }
        if self.fault == Fault::AnswerLost {
            self.inner.create(path, body, options).await?;
        }
        Err(Error::Transport("injected".into()))
    }
    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.inner.update(path, body, options).await
    }
    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        self.inner.patch(path, patch, options).await
    }
    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        self.inner.delete(path, options).await
    }
    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        self.inner.delete_collection(path, options, list).await
    }
    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        self.inner.discover().await
    }
}

async fn with_fault(fault: Fault, failures: usize) -> (World, usize) {
    let world = World::new();
    world.node(node("a").cpu("1")).await;
    let bindings = Arc::new(AtomicUsize::new(0));
    let faulty = Faulty {
        inner: world.client(),
        fault,
        left: AtomicUsize::new(failures),
        bindings: Arc::clone(&bindings),
    };
    let _running = world.run(Scheduler::new(faulty));
    world.pod(pod("p").cpu("1")).await;
    assert_eq!(world.bound("p").await, "a");
    world.pod(pod("second").cpu("1")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.node_of("second").await, "", "C11: over-committed");
    let count = bindings.load(Ordering::SeqCst);
    (world, count)
}

#[tokio::test(start_paused = true)]
async fn a_failed_bind_forgets_and_requeues() {
    // C11: the room was given back, or the pod would not fit a second time.
    let (world, bindings) = with_fault(Fault::Lost, 2).await;
    assert_eq!(bindings, 3);
    let events = world.events("FailedScheduling").await;
    assert!(events.iter().any(|message| message.contains("default/p")), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bind_whose_answer_is_lost_keeps_its_room() {
    // C11
    let (_world, bindings) = with_fault(Fault::AnswerLost, 1).await;
    assert_eq!(bindings, 1);
}

/// What a user writes: nodes with free GPUs score higher.
#[derive(Debug)]
struct FreeGpus;

impl SchedulerPlugin for FreeGpus {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.score(self);
    }
}

impl ScorePlugin for FreeGpus {
    fn score(&self, _: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(node.free("nvidia.com/gpu").min(100))
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_of_a_user_ranks_nodes() {
    let world = World::new();
    for (name, gpus) in [("none", "0"), ("many", "64"), ("few", "2")] {
        world.node(node(name).cpu("8").resource("nvidia.com/gpu", gpus)).await;
    }
    let gpus = plugin_fn("FreeGpus", |_, _| Ok(FreeGpus));
    let _running = world.run(Scheduler::new(world.client()).plugin(gpus));
    for name in ["p", "q"] {
        world.pod(pod(name).cpu("1")).await;
        assert_eq!(world.bound(name).await, "many");
    }
}

/// Panics, or scores out of range, for pods whose name says so.
#[derive(Debug)]
struct Bad;

impl SchedulerPlugin for Bad {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.score(self);
    }
}

impl ScorePlugin for Bad {
    fn score(&self, _: &CycleState, pod: &PodInfo, _: &NodeInfo) -> Result<i64, Status> {
        assert!(pod.name() != "panics", "it was asked to");
        Ok(if pod.name() == "wild" { 1000 } else { 1 })
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_plugin_is_named_and_the_scheduler_lives() {
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    world.node(node("b").cpu("4")).await;
    let bad = plugin_fn("Bad", |_, _| Ok(Bad));
    let _running = world.run(Scheduler::new(world.client()).plugin(bad));
    for (name, what) in [
        ("panics", "panicked: it was asked to"),
        ("wild", "returns an invalid score 1000, it should in the range of [0, 100]"),
    ] {
        world.pod(pod(name)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (status, reason, message) = world.condition(name).await;
        assert_eq!((status.as_str(), reason.as_str()), ("False", "SchedulerError"));
        let who = format!(
            "profile \"default-scheduler\": plugin \"Bad\": pod \"default/{name}\": {what}"
        );
        assert!(message.starts_with(&who), "{message}");
    }
    world.pod(pod("fine")).await;
    world.bound("fine").await;
}
