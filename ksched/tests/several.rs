//! Gangs, shards, and several schedulers on one cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::World;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use kapi::ServerOptions;
use kcore::client::{Api, DeleteOptions, Patch};
use kcore::clock::Clock;
use kcore::component::{Component, Context};
use kcore::leader::Elected;
use kcore::random::Random;
use kcore::stop::StopToken;
use ksched::Scheduler;
use ksched::config::SchedulerConfig;
use ksched::framework::Profile;
use ksched::plugins::{MIN_AVAILABLE_LABEL, POD_GROUP_LABEL, gang_scheduling, node_claims};
use ksched::testing::{PodBuilder, node, pod};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn two_schedulers_that_do_not_know_of_each_other_over_commit_no_node() {
    // C11
    let world = World::new();
    for at in 0..8 {
        world.node(node(&format!("n{at}")).cpu("1")).await;
    }
    let of = |name: &str| {
        let scheduler = Scheduler::new(world.client()).plugin(node_claims());
        world.run(scheduler.profile(Profile::new(name)))
    };
    let _running = [of("one"), of("two")];
    for at in 0..20 {
        for name in ["one", "two"] {
            let pod = pod(&format!("{name}-{at}")).cpu("300m").scheduler(name);
            world.pod(pod).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut used: BTreeMap<String, (i64, usize)> = BTreeMap::new();
    let mut schedulers: BTreeMap<String, usize> = BTreeMap::new();
    for pod in world.pods().list(&Default::default()).await.unwrap().items {
        let spec = pod.spec.as_ref().unwrap();
        let Some(node) = &spec.node_name else { continue };
        let used = used.entry(node.clone()).or_default();
        *used = (used.0 + 300, used.1 + 1);
        *schedulers.entry(spec.scheduler_name.clone().unwrap()).or_default() += 1;
    }
    assert!(used.values().all(|(cpu, _)| *cpu <= 1000), "over-committed: {used:?}");
    // They use all the room there is, and both have a part in it.
    assert_eq!(used.values().map(|(_, pods)| pods).sum::<usize>(), 24, "{used:?}");
    assert_eq!(schedulers.len(), 2, "{schedulers:?}");
}

#[tokio::test(start_paused = true)]
async fn shards_have_nodes_of_their_own() {
    let world = World::new();
    for at in 0..8 {
        world.node(node(&format!("n{at}")).cpu("1")).await;
    }
    let shard = |index: u64, name: &str| {
        let scheduler = Scheduler::new(world.client()).shard(index, 2);
        world.run(scheduler.profile(Profile::new(name)))
    };
    let _running = [shard(0, "one"), shard(1, "two")];
    for at in 0..8 {
        for name in ["one", "two"] {
            world.pod(pod(&format!("{name}-{at}")).cpu("1").scheduler(name)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut nodes: BTreeMap<String, String> = BTreeMap::new();
    for pod in world.pods().list(&Default::default()).await.unwrap().items {
        let spec = pod.spec.as_ref().unwrap();
        if let Some(node) = &spec.node_name {
            let other = nodes.insert(node.clone(), spec.scheduler_name.clone().unwrap());
            assert_eq!(other, None, "{node} was chosen twice");
        }
    }
    assert_eq!(nodes.len(), 8, "{nodes:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_copies_one_schedules_and_the_other_takes_over() {
    let file = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: true}
";
    let config = SchedulerConfig::from_yaml(file).unwrap();
    let world = World::new();
    world.node(node("a").cpu("4")).await;
    let copy = |identity: &str| {
        let scheduler = Scheduler::new(world.client()).config(&config);
        let metrics = Arc::clone(scheduler.metrics());
        let election = config.leader_election(identity).unwrap();
        let elected = Elected::new(world.client(), election, scheduler);
        let stop = StopToken::new();
        let ctx = Context::new(Clock::system(), Random::seeded(5)).with_stop(stop.clone());
        tokio::spawn(async move { elected.run(ctx).await });
        (stop.stop_on_drop(), metrics)
    };
    let (first, by_first) = copy("first");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_second, by_second) = copy("second");
    world.pod(pod("p")).await;
    world.bound("p").await;
    assert_eq!((by_first.scheduled(), by_second.scheduled()), (1, 0));
    drop(first);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.pod(pod("q")).await;
    world.bound("q").await;
    assert_eq!((by_first.scheduled(), by_second.scheduled()), (1, 1));
}

fn grouped(name: &str) -> PodBuilder {
    pod(name).cpu("1").spec("schedulingGroup", json!({"podGroupName": "g"}))
}

#[tokio::test(start_paused = true)]
async fn a_pod_group_of_the_api_says_how_many_of_its_pods_run_together() {
    let world = World::with(ServerOptions::default().pod_groups());
    world.node(node("a").cpu("2")).await;
    let profile = Profile::default().args("GangScheduling", json!({"podGroups": true}));
    let scheduler = Scheduler::new(world.client()).plugin(gang_scheduling()).profile(profile);
    let _running = world.run(scheduler);
    for at in 0..3 {
        world.pod(grouped(&format!("m{at}"))).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bound(&world).await, 0, "the group does not exist yet");
    let groups: Api<PodGroup> = Api::namespaced(Arc::clone(&world.admin), "default");
    let group = |policy: serde_json::Value| {
        serde_json::from_value::<PodGroup>(json!({"metadata": {"name": "g"},
            "spec": {"schedulingPolicy": policy}}))
        .unwrap()
    };
    let wrong = groups.create(group(json!({"gang": {"minCount": 0}}))).await.unwrap_err();
    assert!(wrong.to_string().contains("spec.schedulingPolicy.gang.minCount"), "{wrong}");
    groups.create(group(json!({"gang": {"minCount": 3}}))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bound(&world).await, 0, "there is no room for all");
    // Two are enough now, and that many fit.
    let fewer = r#"{"spec": {"schedulingPolicy": {"gang": {"minCount": 2}}}}"#;
    groups.patch("g", Patch::Merge(fewer.into())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bound(&world).await, 2);
}

#[tokio::test]
async fn a_server_has_pod_groups_only_if_it_is_asked_to() {
    let world = World::new();
    let groups: Api<PodGroup> = Api::namespaced(Arc::clone(&world.admin), "default");
    assert!(groups.list(&Default::default()).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_gang_and_one_nobody_asked_about_hold_no_pod_back() {
    for follows in [true, false] {
        let world = World::with(ServerOptions::default().pod_groups());
        world.node(node("a").cpu("2")).await;
        let groups: Api<PodGroup> = Api::namespaced(Arc::clone(&world.admin), "default");
        let policy = if follows { json!({"basic": {}}) } else { json!({"gang": {"minCount": 9}}) };
        let group = json!({"metadata": {"name": "g"}, "spec": {"schedulingPolicy": policy}});
        groups.create(serde_json::from_value(group).unwrap()).await.unwrap();
        let profile = Profile::default().args("GangScheduling", json!({"podGroups": follows}));
        let scheduler = Scheduler::new(world.client()).plugin(gang_scheduling()).profile(profile);
        let _running = world.run(scheduler);
        world.pod(grouped("m")).await;
        world.bound("m").await;
    }
}

fn member(name: &str, least: &str) -> PodBuilder {
    pod(name).cpu("1").label(POD_GROUP_LABEL, "g").label(MIN_AVAILABLE_LABEL, least)
}

async fn bound(world: &World) -> usize {
    let pods = world.pods().list(&Default::default()).await.unwrap().items;
    pods.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_gang_is_bound_together_or_not_at_all() {
    let world = World::new();
    world.node(node("a").cpu("2")).await;
    world.bound_pod(pod("other").cpu("1"), "a").await;
    let _running = world.run(Scheduler::new(world.client()).plugin(gang_scheduling()));
    world.pod(member("m0", "3")).await;
    world.pod(member("m1", "3")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bound(&world).await, 1, "two of three are not tried");
    world.pod(member("m2", "3")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bound(&world).await, 1, "there is no room for all");
    // What a gang holds while it waits can be taken from it.
    world.priority_class("high", 10).await;
    world.pod(pod("small").cpu("1").spec("priorityClassName", "high".into())).await;
    world.bound("small").await;
    let now = DeleteOptions::default().grace_period_seconds(0);
    world.pods().delete("small", &now).await.unwrap();
    world.node(node("b").cpu("2")).await;
    for name in ["m0", "m1", "m2"] {
        world.bound(name).await;
    }
}
