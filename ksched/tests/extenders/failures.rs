//! Extenders that fail: the error names them, the pod comes again, and the scheduler lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ksched::Scheduler;
use ksched::framework::{Extender, ExtenderError, Filtered, Verbs};
use ksched::snapshot::{NodeInfo, PodInfo};
use ksched::testing::pod;
use serde_json::json;

use crate::common::World;
use crate::stub::{Answer, Stub};
use crate::{nodes, run};

const MANAGED: &str =
    "managedResources: [{name: example.com/license, ignoredByScheduler: true}], httpTimeout: 300ms";

/// Every way to fail, and what is said of it.
fn failures() -> Vec<(Answer, &'static str)> {
    vec![
        (Answer::Code(500), "failed filter with extender at URL"),
        (Answer::Text("{\"NodeNames\": ["), "no JSON"),
        (Answer::Text("[]"), "no ExtenderFilterResult"),
        (Answer::Json(json!({"NodeNames": [7]})), "a name of NodeNames is no text"),
        (Answer::Json(json!({"NodeNames": "a"})), "NodeNames is no list"),
        (Answer::Json(json!({"NodeNames": ["z"]})), "claims a filtered node \"z\" which is not"),
        (Answer::Json(json!({"Error": "out of licenses"})), "out of licenses"),
        (Answer::Endless, "it is larger than 67108864 bytes"),
        (Answer::Nothing, "has not answered within 300ms"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_named_and_the_scheduler_lives() {
    for (answer, expected) in failures() {
        let fails = Arc::new(AtomicBool::new(true));
        let (failing, large) = (Arc::clone(&fails), matches!(answer, Answer::Endless));
        let stub = Stub::start(move |_, question| match failing.load(Ordering::SeqCst) {
            true => answer.clone(),
            false => Answer::Json(json!({"NodeNames": question["NodeNames"]})),
        })
        .await;
        let world = World::new();
        nodes(&world, &["a", "b"]).await;
        // What is too large is to be found out by its size, however slow the machine.
        let managed = if large { MANAGED.replace("300ms", "120s") } else { MANAGED.to_owned() };
        let verbs = format!("filterVerb: filter, nodeCacheCapable: true, {managed}");
        let _running = run(&world, &stub, &verbs);
        world.pod(pod("p").request("example.com/license", "1")).await;
        let (reason, message) = world.told("p").await;
        assert_eq!(reason, "SchedulerError");
        let who = format!(
            "profile \"default-scheduler\": extender \"http://{}/scheduler\": pod \"default/p\": ",
            stub.address
        );
        assert!(message.starts_with(&who) && message.contains(expected), "{message}");
        // Others are none of its business, and it is asked again.
        world.pod(pod("other").cpu("1")).await;
        world.bound("other").await;
        fails.store(false, Ordering::SeqCst);
        world.bound("p").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_be_done_without_is_skipped_while_it_fails() {
    for (answer, _) in failures() {
        if matches!(answer, Answer::Endless) {
            continue;
        }
        // What is no word of an error to a binder is taken for success, as upstream takes it.
        let stub = Stub::start(move |verb, _| match verb {
            "bind" => Answer::Code(503),
            _ => answer.clone(),
        })
        .await;
        let world = World::new();
        nodes(&world, &["a", "b"]).await;
        let verbs = format!(
            "filterVerb: filter, prioritizeVerb: rank, weight: 1, bindVerb: bind, ignorable: \
             true, nodeCacheCapable: true, {MANAGED}"
        );
        let _running = run(&world, &stub, &verbs);
        world.pod(pod("p").request("example.com/license", "1")).await;
        world.bound("p").await;
        assert_eq!(stub.verbs()[..3], ["filter", "rank", "bind"]);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_an_error() {
    let stub = Stub::start(|_, _| Answer::Code(500)).await;
    let world = World::new();
    nodes(&world, &["a"]).await;
    let address = stub.address;
    let _running = run(&world, &stub, "filterVerb: filter");
    drop(stub);
    world.pod(pod("p")).await;
    let (reason, message) = world.told("p").await;
    assert_eq!(reason, "SchedulerError");
    let expected = format!("extender at URL http://{address}/scheduler/filter cannot be reached");
    assert!(message.contains(&expected), "{message}");
}

#[tokio::test]
async fn ranks_that_fail_add_nothing() {
    let stub = Stub::start(|_, _| Answer::Json(json!([{"Host": 7}]))).await;
    let world = World::new();
    nodes(&world, &["a", "b"]).await;
    let _running = run(&world, &stub, "prioritizeVerb: rank, weight: 1");
    world.pod(pod("p")).await;
    world.bound("p").await;
    assert_eq!(stub.verbs(), ["rank"]);
}

/// An extender in this process.
#[derive(Debug)]
struct Panics;

#[async_trait]
impl Extender for Panics {
    fn name(&self) -> &str {
        "Panics"
    }

    fn verbs(&self) -> Verbs {
        let mut verbs = Verbs::default();
        verbs.filter = true;
        verbs
    }

    fn is_interested(&self, pod: &PodInfo) -> bool {
        pod.name() == "p"
    }

    async fn filter(&self, _: &PodInfo, _: &[Arc<NodeInfo>]) -> Result<Filtered, ExtenderError> {
        panic!("it was asked to")
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_is_named() {
    let world = World::new();
    nodes(&world, &["a"]).await;
    let _running = world.run(Scheduler::new(world.client()).extender(Panics));
    world.pod(pod("p")).await;
    let (_, message) = world.told("p").await;
    let who = "profile \"default-scheduler\": extender \"Panics\": pod \"default/p\"";
    assert_eq!(message, format!("{who}: panicked: it was asked to"));
    world.pod(pod("other")).await;
    world.bound("other").await;
}
