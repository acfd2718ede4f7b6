//! Extenders that have a say in who makes room.

use std::time::Duration;

use ksched::testing::pod;
use serde_json::{Value, json};

use crate::common::World;
use crate::stub::{Answer, Stub};
use crate::{nodes, run};

/// Two nodes that are full of pods of which `a`'s are the less important.
async fn full() -> World {
    let world = World::new();
    nodes(&world, &["a", "b"]).await;
    world.priority_class("low", 1).await;
    world.priority_class("middle", 2).await;
    world.priority_class("high", 10).await;
    for (name, class, node) in [("on-a", "low", "a"), ("on-b", "middle", "b")] {
        let pod = pod(name).cpu("3").spec("priorityClassName", class.into());
        world.bound_pod(pod.spec("terminationGracePeriodSeconds", 0.into()), node).await;
    }
    world
}

async fn high(world: &World) {
    world.pod(pod("high").cpu("3").spec("priorityClassName", "high".into())).await;
}

#[tokio::test]
async fn the_nodes_that_it_leaves_are_chosen_from() {
    for by_uid in [true, false] {
        let world = full().await;
        let stub = Stub::start(move |_, question| {
            let by_name = if by_uid { "NodeNameToMetaVictims" } else { "NodeNameToVictims" };
            let victims = &question[by_name];
            let nodes: Vec<&String> = victims.as_object().unwrap().keys().collect();
            assert_eq!(nodes, ["a", "b"]);
            let pod = &victims["b"]["Pods"][0];
            let uid = if by_uid { &pod["UID"] } else { &pod["metadata"]["uid"] };
            let left = json!({"b": {"Pods": [{"UID": uid}], "NumPDBViolations": 0}});
            Answer::Json(json!({"NodeNameToMetaVictims": left}))
        })
        .await;
        let _running =
            run(&world, &stub, &format!("preemptVerb: preempt, nodeCacheCapable: {by_uid}"));
        high(&world).await;
        assert_eq!(world.bound("high").await, "b");
        let left = world.pods().list(&Default::default()).await.unwrap().items;
        let mut left: Vec<_> = left.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["high", "on-a"]);
        assert_eq!(stub.verbs(), ["preempt"]);
    }
}

#[tokio::test]
async fn nobody_leaves_where_it_leaves_no_node_or_talks_nonsense() {
    let victims = |uids: &[&str]| {
        let pods: Vec<Value> = uids.iter().map(|uid| json!({"UID": uid})).collect();
        json!({"NodeNameToMetaVictims": {"a": {"Pods": pods}}})
    };
    for (answer, reason, expected) in [
        (
            json!({}),
            "Unschedulable",
            "0/2 nodes are available: 2 Insufficient cpu. preemption: no candidate node for \
             preemption",
        ),
        (victims(&["nobody"]), "SchedulerError", "claims to preempt pod (UID: nobody) on node: a"),
        (victims(&[]), "SchedulerError", "expected at least one victim pod on node \"a\""),
        (json!({"NodeNameToMetaVictims": {"z": {"Pods": [{"UID": "1"}]}}}), "SchedulerError", "z"),
    ] {
        let world = full().await;
        let stub = Stub::start(move |_, _| Answer::Json(answer.clone())).await;
        let _running = run(&world, &stub, "preemptVerb: preempt, nodeCacheCapable: true");
        high(&world).await;
        let (said, message) = world.told("high").await;
        assert!(said == reason && message.contains(expected), "{said}: {message}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.pods().list(&Default::default()).await.unwrap().items.len(), 3);
    }
}
