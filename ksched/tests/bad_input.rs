//! A plugin that panics at any extension point, answers nonsense, or stands in another's way: the
//! error names profile, plugin and pod, the pod comes again, and the scheduler lives.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool, AtomicUsize};
use std::time::Duration;

use async_trait::async_trait;
use common::World;
use kcore::stop::StopGuard;
use ksched::Scheduler;
use ksched::framework::{
    Action, BindPlugin, CycleState, Diagnosis, EnqueueExtensions, EventRegistration, EventResource,
    ExtensionPoints, Feasible, FilterPlugin, Filters, Permit, PermitPlugin, Point, PostBindPlugin,
    PostFilterPlugin, PostFilterResult, PreBindPlugin, PreEnqueuePlugin, PreFilterExtensions,
    PreFilterPlugin, PreFilterResult, PreScorePlugin, Profile, QueueSortPlugin, ReservePlugin,
    SchedulerPlugin, ScorePlugin, Status, plugin_fn,
};
use ksched::queue::QueuedPod;
use ksched::snapshot::{NodeInfo, PodInfo, Snapshot};
use ksched::testing::{Cluster, node, pod};

/// Panics where the pod's name says, as long as it is broken.
#[derive(Debug)]
struct Bad {
    broken: Arc<AtomicBool>,
}

impl Bad {
    fn is_asked(&self, pod: &PodInfo, point: &str) -> bool {
        self.broken.load(atomic::Ordering::SeqCst) && pod.name() == point
    }

    fn meet(&self, pod: &PodInfo, point: &str) {
        assert!(!self.is_asked(pod, point), "it was asked to");
    }
}

impl SchedulerPlugin for Bad {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_enqueue(self.clone());
        points.queue_sort(self.clone());
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.post_filter(self.clone());
        points.pre_score(self.clone());
        points.score(self.clone());
        points.reserve(self.clone());
        points.permit(self.clone());
        points.pre_bind(self.clone());
        points.bind(self.clone());
        points.post_bind(self.clone());
        points.enqueue_extensions(self);
    }
}

impl PreEnqueuePlugin for Bad {
    fn pre_enqueue(&self, pod: &PodInfo) -> Status {
        self.meet(pod, "pre-enqueue");
        Status::success()
    }
}

impl QueueSortPlugin for Bad {
    fn compare(&self, a: &QueuedPod, b: &QueuedPod) -> Ordering {
        self.meet(&a.pod, "queue-sort");
        self.meet(&b.pod, "queue-sort");
        a.since.cmp(&b.since)
    }
}

impl PreFilterPlugin for Bad {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        self.meet(pod, "pre-filter");
        Status::success().into()
    }

    fn extensions(&self) -> Option<&dyn PreFilterExtensions> {
        Some(self)
    }
}

impl PreFilterExtensions for Bad {
    fn add_pod(&self, _: &mut CycleState, _: &PodInfo, _: &PodInfo, _: &NodeInfo) -> Status {
        Status::success()
    }

    fn remove_pod(&self, _: &mut CycleState, pod: &PodInfo, _: &PodInfo, _: &NodeInfo) -> Status {
        self.meet(pod, "extensions");
        Status::success()
    }
}

impl FilterPlugin for Bad {
    fn filter(&self, _: &CycleState, pod: &PodInfo, _: &NodeInfo) -> Status {
        self.meet(pod, "filter");
        match self.is_asked(pod, "hint") {
            true => Status::unschedulable("not yet"),
            false => Status::success(),
        }
    }
}

impl PostFilterPlugin for Bad {
    fn post_filter(
        &self,
        _: &CycleState,
        pod: &PodInfo,
        _: &Snapshot,
        _: &Diagnosis,
        _: &Filters<'_>,
    ) -> PostFilterResult {
        self.meet(pod, "post-filter");
        Status::unschedulable("").into()
    }
}

impl PreScorePlugin for Bad {
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
        _: &Feasible<'_>,
    ) -> Status {
        self.meet(pod, "pre-score");
        Status::success()
    }
}

impl ScorePlugin for Bad {
    fn score(&self, _: &CycleState, pod: &PodInfo, _: &NodeInfo) -> Result<i64, Status> {
        self.meet(pod, "score");
        match pod.name() {
            "too-high" if self.is_asked(pod, "too-high") => Ok(101),
            "negative" if self.is_asked(pod, "negative") => Ok(-1),
            _ => Ok(1),
        }
    }

    fn score_nodes(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        feasible: &[u32],
    ) -> Result<Vec<i64>, Status> {
        let asked = if self.is_asked(pod, "too-few") { &feasible[1..] } else { feasible };
        asked.iter().map(|at| self.score(state, pod, nodes.node(*at))).collect()
    }

    fn normalize(&self, _: &CycleState, pod: &PodInfo, _: &mut [i64]) -> Status {
        self.meet(pod, "normalize");
        Status::success()
    }
}

impl ReservePlugin for Bad {
    fn reserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) -> Status {
        self.meet(pod, "reserve");
        Status::success()
    }

    fn unreserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) {
        self.meet(pod, "unreserve");
    }
}

#[async_trait]
impl PermitPlugin for Bad {
    async fn permit(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Permit {
        self.meet(pod, "permit");
        match self.is_asked(pod, "unreserve") {
            true => Permit::Reject(Status::error("refused")),
            false => Permit::Allow,
        }
    }
}

#[async_trait]
impl PreBindPlugin for Bad {
    async fn pre_bind(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Status {
        self.meet(pod, "pre-bind");
        Status::success()
    }
}

#[async_trait]
impl BindPlugin for Bad {
    async fn bind(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Status {
        self.meet(pod, "bind");
        Status::skip()
    }
}

impl PostBindPlugin for Bad {
    fn post_bind(&self, _: &CycleState, pod: &PodInfo, _: &str) {
        assert!(pod.name() != "post-bind", "it was asked to");
    }
}

impl EnqueueExtensions for Bad {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![EventRegistration::new(EventResource::Node, Action::ADD).hint(|pod, _| {
            assert!(pod.name() != "hint", "it was asked to");
            ksched::framework::QueueingHint::Queue
        })]
    }
}

fn profile() -> Profile {
    // Two would sort the queue, and whoever is to skip pods must come first.
    Profile::default().disable("PrioritySort").enable_at(Point::Bind, "Bad")
}

async fn world() -> (World, Arc<AtomicBool>, StopGuard) {
    let world = World::new();
    for name in ["a", "b"] {
        world.node(node(name).cpu("8")).await;
    }
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let bad = plugin_fn("Bad", move |_, _| Ok(Bad { broken: Arc::clone(&switch) }));
    let scheduler = Scheduler::new(world.client()).plugin(bad).profile(profile());
    let running = world.run(scheduler);
    (world, broken, running)
}

fn who(pod: &str) -> String {
    format!("profile \"default-scheduler\": plugin \"Bad\": pod \"default/{pod}\": ")
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_any_point_is_named_and_the_pod_comes_again() {
    let panicked = "panicked: it was asked to";
    let range = "it should in the range of [0, 100] after normalizing";
    for (name, what) in [
        ("pre-enqueue", panicked.to_owned()),
        ("pre-filter", panicked.to_owned()),
        ("filter", panicked.to_owned()),
        ("pre-score", panicked.to_owned()),
        ("score", panicked.to_owned()),
        ("normalize", panicked.to_owned()),
        ("reserve", panicked.to_owned()),
        ("permit", panicked.to_owned()),
        ("pre-bind", panicked.to_owned()),
        ("bind", panicked.to_owned()),
        ("too-high", format!("returns an invalid score 101, {range}")),
        ("negative", format!("returns an invalid score -1, {range}")),
        ("too-few", "returned 1 scores for 2 nodes".to_owned()),
    ] {
        let (world, broken, _running) = world().await;
        world.pod(pod(name).cpu("1")).await;
        let (reason, message) = world.told(name).await;
        assert_eq!((reason.as_str(), message), ("SchedulerError", who(name) + &what));
        let events = world.events("FailedScheduling").await;
        assert!(events.contains(&(who(name) + &what)), "{name}: {events:?}");
        // The next one is scheduled, and so is this one once the plugin is mended: without any
        // event, after its backoff.
        world.pod(pod("next").cpu("1")).await;
        world.bound("next").await;
        assert_eq!(world.node_of(name).await, "");
        broken.store(false, atomic::Ordering::SeqCst);
        world.bound(name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_room_is_made_is_named() {
    let (world, broken, _running) = world().await;
    world.pod(pod("post-filter").cpu("9")).await;
    let (_, message) = world.told("post-filter").await;
    assert_eq!(message, who("post-filter") + "panicked: it was asked to");
    world.priority_class("high", 10).await;
    for on in ["a", "b"] {
        world.bound_pod(pod(&format!("low-{on}")).cpu("5"), on).await;
    }
    world.pod(pod("extensions").cpu("5").spec("priorityClassName", "high".into())).await;
    let (_, message) = world.told("extensions").await;
    let named = format!("2 {}panicked: it was asked to", who("extensions"));
    assert!(message.contains(&named), "{message}");
    world.pod(pod("next").cpu("1")).await;
    world.bound("next").await;
    broken.store(false, atomic::Ordering::SeqCst);
    world.node(node("c").cpu("20")).await;
    for name in ["post-filter", "extensions"] {
        world.bound(name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn panics_that_nobody_waits_for_change_nothing() {
    let (world, broken, _running) = world().await;
    // The pod is bound already; two of them, so that the queue compares.
    for name in ["post-bind", "queue-sort", "one", "two"] {
        world.pod(pod(name).cpu("100m")).await;
    }
    for name in ["post-bind", "queue-sort", "one", "two"] {
        world.bound(name).await;
    }
    // What it could not give back is its own; the room is free again.
    world.pod(pod("unreserve").cpu("7")).await;
    assert_eq!(world.told("unreserve").await.1, "refused");
    // A hint that panics might have missed something.
    world.pod(pod("hint").cpu("100m")).await;
    let (reason, message) = world.told("hint").await;
    assert!(reason == "Unschedulable" && message.contains("2 not yet"), "{message}");
    world.pod(pod("pre-enqueue").cpu("100m")).await;
    world.pod(pod("next").cpu("100m")).await;
    world.bound("next").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.node_of("pre-enqueue").await, "", "what cannot be asked keeps it out");
    broken.store(false, atomic::Ordering::SeqCst);
    world.node(node("c").cpu("9")).await;
    for name in ["unreserve", "hint", "pre-enqueue"] {
        world.bound(name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_always_panics_is_asked_ever_less_often() {
    let world = World::new();
    world.node(node("a").cpu("8")).await;
    let calls: Arc<AtomicUsize> = Arc::default();
    let counter = Arc::clone(&calls);
    let gate = plugin_fn("Gate", move |_, _| Ok(Gate { calls: Arc::clone(&counter) }));
    let _running = world.run(Scheduler::new(world.client()).plugin(gate));
    world.pod(pod("p")).await;
    let (reason, message) = world.told("p").await;
    let expected =
        "profile \"default-scheduler\": plugin \"Gate\": pod \"default/p\": panicked: no";
    assert_eq!((reason.as_str(), message.as_str()), ("SchedulerError", expected));
    tokio::time::sleep(Duration::from_secs(60)).await;
    // After 0, 1, 3, 7, 15, 25, 35, 45 and 55 seconds; what is written of it is no reason to ask.
    let calls = calls.load(atomic::Ordering::Relaxed);
    assert!((8..=10).contains(&calls), "{calls}");
}

/// Keeps pods out by a panic.
#[derive(Debug)]
struct Gate {
    calls: Arc<AtomicUsize>,
}

impl SchedulerPlugin for Gate {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_enqueue(self);
    }
}

impl PreEnqueuePlugin for Gate {
    fn pre_enqueue(&self, _: &PodInfo) -> Status {
        self.calls.fetch_add(1, atomic::Ordering::Relaxed);
        panic!("no");
    }
}

#[test]
fn a_gate_that_panics_is_named() {
    let bad = plugin_fn("Bad", |_, _| Ok(Bad { broken: Arc::new(AtomicBool::new(true)) }));
    let cluster = Cluster::new([node("a")]).plugin(bad).profile(profile());
    let gated = cluster.framework().unwrap().gate(&pod("pre-enqueue").info()).unwrap();
    assert_eq!(
        (&*gated.0, gated.1.message()),
        ("Bad", who("pre-enqueue") + "panicked: it was asked to")
    );
}

/// Binds pods, or so it says.
#[derive(Debug)]
struct Binder(Status);

impl SchedulerPlugin for Binder {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.bind(self);
    }
}

#[async_trait]
impl BindPlugin for Binder {
    async fn bind(&self, _: &CycleState, _: &PodInfo, _: &str) -> Status {
        self.0.clone()
    }
}

#[test]
fn a_bind_plugin_that_no_pod_would_come_to_is_refused() {
    let cluster = |profile: Profile| {
        let binder = plugin_fn("Binder", |_, _| Ok(Binder(Status::skip())));
        Cluster::new([node("a")]).plugin(binder).profile(profile).framework()
    };
    let error = cluster(Profile::new("batch")).unwrap_err().to_string();
    let expected = "profile \"batch\": bind plugin \"Binder\" is behind \"DefaultBinder\", which \
                    binds every pod";
    assert!(error.starts_with(expected), "{error}");
    cluster(Profile::default().enable_at(Point::Bind, "Binder")).unwrap();
    cluster(Profile::default().disable_at(Point::Bind, "DefaultBinder")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_every_bind_plugin_skips_says_so_and_comes_again() {
    let world = World::new();
    world.node(node("a").cpu("1")).await;
    let binder = plugin_fn("Binder", |_, _| Ok(Binder(Status::skip())));
    let alone = Profile::default().disable_at(Point::Bind, "DefaultBinder");
    let _running = world.run(Scheduler::new(world.client()).plugin(binder).profile(alone));
    world.pod(pod("p").cpu("1")).await;
    let (reason, message) = world.told("p").await;
    let expected = "profile \"default-scheduler\": pod \"default/p\": every bind plugin skipped it";
    assert_eq!((reason.as_str(), message.as_str()), ("SchedulerError", expected));
}
