//! Extenders behind real HTTP: what they are asked, what becomes of their answers, and of none.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod preemption;
mod stub;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::World;
use k8s_openapi::api::core::v1::Binding;
use kcore::stop::StopGuard;
use ksched::Scheduler;
use ksched::config::SchedulerConfig;
use ksched::testing::{node, pod};
use serde_json::{Value, json};
use stub::{Answer, Stub};

/// A scheduler with one extender, that is described in YAML's short form.
fn run(world: &World, stub: &Stub, extender: &str) -> StopGuard {
    let file = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
extenders: [{{urlPrefix: 'http://{}/scheduler/', {extender}}}]
",
        stub.address
    );
    let config = SchedulerConfig::from_yaml(&file).unwrap();
    world.run(Scheduler::new(world.client()).config(&config))
}

async fn nodes(world: &World, names: &[&str]) {
    for name in names {
        world.node(node(name).cpu("4")).await;
    }
}

fn names(question: &Value) -> Vec<String> {
    let names = question["NodeNames"].as_array().unwrap();
    let mut names: Vec<String> = names.iter().map(|n| n.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn nodes_are_filtered_and_ranked_by_name() {
    let stub = Stub::start(|verb, _| match verb {
        // As a program writes it that is not in Go.
        "filter" => Answer::Json(json!({"nodenames": ["a", "b"], "failedNodes": {"c": "dry"}})),
        _ => Answer::Json(json!([{"host": "a", "score": 1}, {"Host": "b", "Score": 2}])),
    })
    .await;
    let world = World::new();
    nodes(&world, &["a", "b", "c"]).await;
    // The other plugins like the emptier node better.
    world.bound_pod(pod("there").cpu("2"), "b").await;
    let verbs = "filterVerb: filter, prioritizeVerb: rank, weight: 100, nodeCacheCapable: true";
    let _running = run(&world, &stub, verbs);
    world.pod(pod("p").cpu("1")).await;
    assert_eq!(world.bound("p").await, "b");
    assert_eq!(stub.verbs(), ["filter", "rank"]);
    let asked = stub.asked.lock().clone();
    assert_eq!(names(&asked[0].1), ["a", "b", "c"]);
    assert_eq!(names(&asked[1].1), ["a", "b"]);
    assert_eq!(asked[0].1["Nodes"], Value::Null);
    assert_eq!(asked[0].1["Pod"]["metadata"]["name"], "p");
}

#[tokio::test]
async fn an_extender_without_a_cache_is_told_whole_nodes() {
    let stub = Stub::start(|_, question| {
        let items = question["Nodes"]["items"].as_array().unwrap();
        let roomy = |node: &&Value| node["metadata"]["labels"]["disk"] == "large";
        let items: Vec<&Value> = items.iter().filter(roomy).collect();
        Answer::Json(json!({"Nodes": {"metadata": {}, "items": items}, "Error": ""}))
    })
    .await;
    let world = World::new();
    world.node(node("small").cpu("8")).await;
    world.node(node("large").cpu("4").label("disk", "large")).await;
    let _running = run(&world, &stub, "filterVerb: filter");
    world.pod(pod("p").cpu("1")).await;
    assert_eq!(world.bound("p").await, "large");
    // There was one node left, so nobody had to rank it.
    assert_eq!(stub.verbs(), ["filter"]);
    assert_eq!(stub.asked.lock()[0].1["NodeNames"], Value::Null);
}

#[tokio::test]
async fn who_is_turned_away_everywhere_is_told_why_and_tried_again() {
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let stub = Stub::start(move |_, question| match is_open.load(Ordering::SeqCst) {
        true => Answer::Json(json!({"NodeNames": question["NodeNames"]})),
        false => Answer::Json(json!({"NodeNames": [], "FailedNodes": {"a": "no license"},
            "FailedAndUnresolvableNodes": {"b": "wrong vendor"}})),
    })
    .await;
    let world = World::new();
    nodes(&world, &["a", "b"]).await;
    world.node(node("tiny").cpu("1")).await;
    let _running = run(&world, &stub, "filterVerb: filter, nodeCacheCapable: true");
    world.pod(pod("p").cpu("2")).await;
    let expected = "0/3 nodes are available: 1 Insufficient cpu, 1 no license, 1 wrong vendor. \
                    preemption: 0/3 nodes are available: 1 No preemption victims found for \
                    incoming pod, 2 Preemption is not helpful for scheduling.";
    assert_eq!(world.told("p").await, ("Unschedulable".to_owned(), expected.to_owned()));
    assert_eq!(names(&stub.asked.lock()[0].1), ["a", "b"], "what fits is asked about");
    // Nobody knows what can help against an extender's word, so anything may.
    open.store(true, Ordering::SeqCst);
    world.node(node("unrelated").cpu("1")).await;
    assert!(["a", "b"].contains(&&*world.bound("p").await));
}

#[tokio::test]
async fn pods_without_a_managed_resource_are_no_business_of_its() {
    let stub =
        Stub::start(|_, question| Answer::Json(json!({"NodeNames": question["NodeNames"]}))).await;
    let world = World::new();
    nodes(&world, &["a"]).await;
    let managed = "filterVerb: filter, nodeCacheCapable: true, managedResources: \
                   [{name: example.com/license, ignoredByScheduler: true}]";
    let _running = run(&world, &stub, managed);
    world.pod(pod("plain").cpu("1")).await;
    world.bound("plain").await;
    assert!(stub.verbs().is_empty());
    // No node says that it has some: the extender alone keeps account of it.
    world.pod(pod("licensed").request("example.com/license", "1")).await;
    world.bound("licensed").await;
    assert_eq!(stub.verbs(), ["filter"]);
}

#[tokio::test]
async fn an_extender_binds_in_place_of_the_plugins() {
    let world = World::new();
    nodes(&world, &["a"]).await;
    let (pods, busy) = (world.pods(), Arc::new(AtomicBool::new(true)));
    let stub = Stub::with(None, move |verb, question| {
        let (pods, busy) = (pods.clone(), busy.swap(false, Ordering::SeqCst));
        Box::pin(async move {
            assert_eq!(verb, "bind");
            if busy {
                return Answer::Json(json!({"Error": "no hurry"}));
            }
            let text = |name: &str| question[name].as_str().map(str::to_owned);
            let mut binding = Binding::default();
            binding.metadata.name = text("PodName");
            binding.metadata.uid = text("PodUID");
            binding.target.name = text("Node");
            pods.post(&text("PodName").unwrap(), "binding", binding).await.unwrap();
            Answer::Json(json!({}))
        })
    })
    .await;
    let _running = run(&world, &stub, "bindVerb: bind");
    world.pod(pod("p").cpu("1")).await;
    // The first time it refuses, and the pod comes again.
    assert_eq!(world.bound("p").await, "a");
    assert_eq!(stub.verbs(), ["bind", "bind"]);
    assert_eq!(stub.asked.lock()[0].1["PodNamespace"], "default");
    let events = world.events("FailedScheduling").await;
    let who = "pod \"default/p\": no hurry";
    assert!(events.iter().any(|event| event.ends_with(who)), "{events:?}");
}
