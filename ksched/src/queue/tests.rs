//! The queue loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{
    EARLY_ATTEMPTS, IN_FLIGHT_EVENTS, LEAST_FAULT_BACKOFF, MAX_BACKOFF, SchedulingQueue,
    UNSCHEDULABLE_FLUSH,
};
use crate::framework::{
    Action, ClusterEvent, EventObject, EventResource, ExtensionPoints, Framework, Happening,
    PreEnqueuePlugin, SchedulerPlugin, Status, plugin_fn,
};
use crate::snapshot::PodInfo;
use crate::testing::{Cluster, PodBuilder, node, pod};

fn framework() -> Arc<Framework> {
    Arc::new(Cluster::new([]).framework().unwrap())
}

fn info(pod: PodBuilder) -> Arc<PodInfo> {
    Arc::new(pod.info())
}

fn by(plugin: &str) -> BTreeSet<Arc<str>> {
    [Arc::from(plugin)].into()
}

fn node_comes(cpu: &str) -> Happening {
    Happening {
        event: ClusterEvent::new(EventResource::Node, Action::ADD),
        old: None,
        new: Some(EventObject::Node(node("new").cpu(cpu).build())),
    }
}

fn popped(queue: &mut SchedulingQueue, now: Instant) -> Option<String> {
    queue.pop(now).map(|popped| popped.pod.name().to_owned())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn higher_priority_is_tried_first_then_who_came_first() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    for (at, (name, priority)) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)].into_iter().enumerate() {
        let now = now + SECOND * u32::try_from(at).unwrap();
        queue.set(info(pod(name).priority(priority)), &framework, now);
    }
    queue.remove("default/a");
    let order: Vec<String> = std::iter::from_fn(|| popped(&mut queue, now)).collect();
    assert_eq!(order, ["b", "d", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_may_help_requeues_after_the_backoff_and_no_other_does() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    queue.set(info(pod("p").cpu("2")), &framework, now);
    let tried = queue.pop(now).unwrap();
    queue.put_back(&tried, by("NodeResourcesFit"), now);
    queue.happened(&node_comes("1"), now);
    assert_eq!((queue.lengths().unschedulable, queue.lengths().backoff), (1, 0));
    queue.happened(&node_comes("2"), now);
    assert_eq!((queue.lengths().unschedulable, queue.lengths().backoff), (0, 1));
    assert_eq!(queue.next_due(), Some(now + SECOND));
    // Whoever else can be tried goes first; with nobody there it need not wait.
    queue.set(info(pod("q")), &framework, now);
    assert_eq!(popped(&mut queue, now).as_deref(), Some("q"));
    assert_eq!(popped(&mut queue, now).as_deref(), Some("p"));
    assert_eq!(popped(&mut queue, now), None);
}

#[tokio::test(start_paused = true)]
async fn pods_that_wake_each_other_wait_in_the_end() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    queue.set(info(pod("p").cpu("2")), &framework, now);
    let mut attempts = 0;
    while let Some(tried) = queue.pop(now) {
        attempts += 1;
        assert!(attempts < 100, "it is tried for ever");
        queue.put_back(&tried, by("NodeResourcesFit"), now);
        queue.happened(&node_comes("2"), now);
    }
    assert_eq!((attempts, queue.lengths().backoff), (EARLY_ATTEMPTS + 1, 1));
    assert!(queue.pop(now + MAX_BACKOFF).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_event_while_a_pod_is_tried_is_not_missed() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    for (cpu, helps) in [("1", false), ("2", true)] {
        queue.set(info(pod("p").cpu("2")), &framework, now);
        let tried = queue.pop(now).unwrap();
        queue.happened(&node_comes(cpu), now);
        queue.put_back(&tried, by("NodeResourcesFit"), now);
        assert_eq!(queue.lengths().backoff == 1, helps, "{cpu}");
        assert_eq!(queue.meanwhile.len(), 0, "events are kept only while a pod is in flight");
        queue.remove(tried.pod.uid());
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_their_bound_events_are_forgotten_and_the_pod_is_tried_again() {
    for own in [true, false] {
        let (mut queue, framework) = (SchedulingQueue::default(), framework());
        let now = Instant::now();
        let happens = |queue: &mut SchedulingQueue| match own {
            true => queue.happened_to("default/p", &node_comes("1"), now),
            false => queue.happened(&node_comes("1"), now),
        };
        queue.set(info(pod("p").cpu("2")), &framework, now);
        let tried = queue.pop(now).unwrap();
        for _ in 0..IN_FLIGHT_EVENTS {
            happens(&mut queue);
        }
        assert_eq!(queue.meanwhile.len(), IN_FLIGHT_EVENTS);
        assert!(queue.meanwhile.since(0).is_some());
        happens(&mut queue);
        assert_eq!(queue.meanwhile.len(), IN_FLIGHT_EVENTS);
        assert!(queue.meanwhile.since(0).is_none());
        queue.put_back(&tried, by("NodeResourcesFit"), now);
        assert_eq!(queue.lengths().backoff, 1, "what was forgotten could have helped");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_doubles_up_to_its_limit_and_errors_come_back_by_themselves() {
    let (mut queue, framework) = (SchedulingQueue::default(), framework());
    let mut now = Instant::now();
    queue.set(info(pod("p")), &framework, now);
    for expected in [1, 2, 4, 8, 10, 10] {
        let tried = queue.pop(now).unwrap();
        queue.put_back(&tried, BTreeSet::new(), now);
        let due = queue.next_due().unwrap();
        assert_eq!(due - now, SECOND * expected);
        assert!(due - now <= MAX_BACKOFF);
        now = due;
    }
}

#[tokio::test(start_paused = true)]
async fn unschedulable_pods_are_flushed_in_the_end() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    queue.set(info(pod("p")), &framework, now);
    let tried = queue.pop(now).unwrap();
    queue.put_back(&tried, by("NodeName"), now);
    assert_eq!(popped(&mut queue, now + UNSCHEDULABLE_FLUSH - SECOND), None);
    assert_eq!(popped(&mut queue, now + UNSCHEDULABLE_FLUSH).as_deref(), Some("p"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_while_it_is_tried_does_not_come_back() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    queue.set(info(pod("p")), &framework, now);
    let tried = queue.pop(now).unwrap();
    queue.remove(tried.pod.uid());
    assert!(queue.current(&tried).is_none());
    // One of the same key that came since is not mistaken for it.
    queue.set(info(pod("p")), &framework, now);
    queue.put_back(&tried, BTreeSet::new(), now);
    assert_eq!(queue.lengths().active, 1);
}

#[tokio::test(start_paused = true)]
async fn gated_pods_wait_for_their_gates() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    let gates = serde_json::json!([{"name": "example.com/wait"}]);
    queue.set(info(pod("p").spec("schedulingGates", gates)), &framework, now);
    assert_eq!((popped(&mut queue, now), queue.lengths().gated), (None, 1));
    assert_eq!(queue.next_due(), None);
    queue.set(info(pod("p")), &framework, now);
    assert_eq!(popped(&mut queue, now).as_deref(), Some("p"));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_a_node_kept_waits_for_pods_to_leave_that_node() {
    let (mut queue, framework, now) = (SchedulingQueue::default(), framework(), Instant::now());
    let leaves = |node: &str| Happening {
        event: ClusterEvent::new(EventResource::AssignedPod, Action::DELETE),
        old: Some(EventObject::Pod(info(pod("victim").on(node)))),
        new: None,
    };
    queue.set(info(pod("p").cpu("2")), &framework, now);
    let tried = queue.pop(now).unwrap();
    queue.nominated.set(&tried.pod, "a");
    queue.put_back(&tried, by("NodeResourcesFit"), now);
    queue.happened(&leaves("b"), now);
    assert_eq!(queue.lengths().unschedulable, 1, "another node");
    queue.happened(&leaves("a"), now);
    assert_eq!((queue.lengths().unschedulable, queue.lengths().backoff), (0, 1));
    let tried = queue.pop(now).unwrap();
    queue.put_back(&tried, by("NodeResourcesFit"), now);
    // Once the node is not kept for it any more it looks elsewhere.
    let kept = pod("p").cpu("2").status("nominatedNodeName", "a".into());
    queue.set(info(kept), &framework, now);
    assert_eq!(queue.lengths().unschedulable, 1);
    queue.set(info(pod("p").cpu("2")), &framework, now);
    assert_eq!((queue.lengths().unschedulable, queue.lengths().backoff), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn any_sequence_keeps_each_pod_in_one_place() {
    let random = kcore::random::Random::seeded(3);
    let (mut queue, framework, mut now) = (SchedulingQueue::default(), framework(), Instant::now());
    let (mut flying, mut alive) = (Vec::new(), BTreeSet::new());
    for _ in 0..5_000 {
        now += Duration::from_millis(random.below(400));
        let name = format!("p{}", random.below(20));
        match random.below(6) {
            0 | 1 => {
                alive.insert(name.clone());
                queue.set(info(pod(&name).cpu("2")), &framework, now);
            }
            2 => {
                alive.remove(&name);
                queue.remove(&format!("default/{name}"));
            }
            3 => flying.extend(queue.pop(now)),
            4 if !flying.is_empty() => {
                let at = random.below(flying.len() as u64);
                let tried = flying.swap_remove(usize::try_from(at).unwrap());
                let plugins = if random.chance(0.5) { by("NodeResourcesFit") } else { by("x") };
                queue.put_back(&tried, plugins, now);
            }
            _ => queue.happened(&node_comes(if random.chance(0.5) { "2" } else { "1" }), now),
        }
        let lengths = queue.lengths();
        assert_eq!(
            (queue.backoff.len() + queue.patient.len(), queue.parked.len()),
            (lengths.backoff, lengths.unschedulable)
        );
        assert_eq!(queue.in_flight.len(), lengths.in_flight);
        let grouped: usize = queue.groups.values().map(|group| group.pods.len()).sum();
        let grouped = grouped + queue.rooms.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(grouped, lengths.unschedulable + lengths.gated);
        assert_eq!(queue.slots.len(), alive.len());
    }
    // In the end each pod is tried.
    for tried in flying {
        queue.put_back(&tried, BTreeSet::new(), now);
    }
    let tried: BTreeSet<String> =
        std::iter::from_fn(|| popped(&mut queue, now + UNSCHEDULABLE_FLUSH)).collect();
    assert_eq!(tried, alive);
}

/// Panics on its first pods, or says that something went wrong.
#[derive(Debug)]
struct Broken {
    calls: Arc<AtomicUsize>,
    failures: usize,
}

impl SchedulerPlugin for Broken {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_enqueue(self);
    }
}

impl PreEnqueuePlugin for Broken {
    fn pre_enqueue(&self, _: &PodInfo) -> Status {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(call >= self.failures || call % 2 == 1, "it was asked to");
        if call < self.failures { Status::error("it cannot tell") } else { Status::success() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_a_gate_fails_on_comes_again_after_ever_longer_waits() {
    const FAILURES: usize = 8;
    let calls: Arc<AtomicUsize> = Arc::default();
    let counter = Arc::clone(&calls);
    let broken = plugin_fn("Broken", move |_, _| {
        Ok(Broken { calls: Arc::clone(&counter), failures: FAILURES })
    });
    let framework = Arc::new(Cluster::new([]).plugin(broken).framework().unwrap());
    let (mut queue, start) = (SchedulingQueue::default(), Instant::now());
    queue.set(info(pod("p")), &framework, start);
    let (mut now, mut waits) = (start, Vec::new());
    let prefix = "profile \"default-scheduler\": plugin \"Broken\": pod \"default/p\": ";
    loop {
        if let Some(tried) = queue.pop(now) {
            assert!(queue.pop(now).is_none());
            queue.done(&tried);
            break;
        }
        let what =
            if waits.len() % 2 == 0 { "panicked: it was asked to" } else { "it cannot tell" };
        let told: Vec<String> =
            queue.take_faults().into_iter().map(|(_, status)| status.message()).collect();
        assert_eq!(told, [format!("{prefix}{what}")]);
        assert!(!queue.has_faults(), "it is told once");
        // No event makes it come earlier, and asking for it does not either.
        queue.happened(&node_comes("9"), now);
        assert!(queue.pop(now).is_none());
        assert_eq!(calls.load(Ordering::Relaxed), waits.len() + 1);
        let next = queue.next_due().unwrap();
        waits.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10, 10]);
    assert_eq!(queue.next_due(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_a_gate_fails_on_waits_even_where_others_do_not() {
    let broken =
        plugin_fn("Broken", move |_, _| Ok(Broken { calls: Arc::default(), failures: usize::MAX }));
    let framework = Arc::new(Cluster::new([]).plugin(broken).framework().unwrap());
    let (mut queue, now) = (SchedulingQueue::new(Duration::ZERO, Duration::ZERO), Instant::now());
    queue.set(info(pod("p")), &framework, now);
    assert!(queue.pop(now).is_none());
    assert_eq!(queue.next_due(), Some(now + LEAST_FAULT_BACKOFF));
    // One that is gone is not told.
    queue.remove("default/p");
    assert!(!queue.has_faults() && queue.next_due().is_none());
}
