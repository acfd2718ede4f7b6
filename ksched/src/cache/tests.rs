//! The cache follows the server and its own assumptions.

use std::sync::Arc;

use super::Cache;
use crate::snapshot::{PodInfo, Snapshot, Templates};
use crate::testing::{PodBuilder, node, pod};

fn on(name: &str, node: &str) -> Arc<PodInfo> {
    Arc::new(pod(name).cpu("1").on(node).info())
}

fn cpu(cache: &mut Cache, snapshot: &mut Snapshot, node: &str) -> i64 {
    cache.update(snapshot);
    snapshot.get(node).map_or(-1, |node| node.requested().milli_cpu)
}

#[test]
fn assumed_pods_count_until_they_are_forgotten_and_stay_once_confirmed() {
    // C11
    let (mut cache, mut snapshot) = (Cache::default(), Snapshot::default());
    cache.set_node(node("a").cpu("4").build());
    let waiting = Arc::new(pod("p").cpu("1").info());
    assert!(cache.assume(&waiting, "a"));
    assert!(!cache.assume(&waiting, "a"), "twice");
    assert_eq!(cpu(&mut cache, &mut snapshot, "a"), 1000);
    cache.forget(waiting.uid());
    assert_eq!(cpu(&mut cache, &mut snapshot, "a"), 0);
    assert!(cache.assume(&waiting, "a"));
    cache.set_pod(on("p", "a"));
    cache.forget(waiting.uid());
    assert_eq!(cpu(&mut cache, &mut snapshot, "a"), 1000);
    assert_eq!(snapshot.columns().requested_milli_cpu, [1000]);
}

#[test]
fn a_pod_bound_elsewhere_moves_there() {
    let (mut cache, mut snapshot) = (Cache::default(), Snapshot::default());
    cache.set_node(node("a").cpu("4").build());
    cache.set_node(node("b").cpu("4").build());
    assert!(cache.assume(&Arc::new(pod("p").cpu("1").info()), "a"));
    cache.set_pod(on("p", "b"));
    assert_eq!(cpu(&mut cache, &mut snapshot, "a"), 0);
    assert_eq!(cpu(&mut cache, &mut snapshot, "b"), 1000);
}

#[test]
fn pods_seen_before_their_node_count_once_it_comes() {
    let (mut cache, mut snapshot) = (Cache::default(), Snapshot::default());
    cache.set_pod(on("p", "late"));
    assert_eq!(cpu(&mut cache, &mut snapshot, "late"), -1);
    cache.set_node(node("late").cpu("4").build());
    assert_eq!(cpu(&mut cache, &mut snapshot, "late"), 1000);
    cache.remove_node("late");
    assert_eq!(cpu(&mut cache, &mut snapshot, "late"), -1);
    cache.remove_pod(on("p", "late").uid());
    cache.set_node(node("late").cpu("4").build());
    assert_eq!(cpu(&mut cache, &mut snapshot, "late"), 0);
}

#[test]
fn incremental_snapshots_equal_rebuilt_ones() {
    let random = kcore::random::Random::seeded(11);
    let (mut cache, mut snapshot) = (Cache::default(), Snapshot::default());
    for _ in 0..5_000 {
        let name = format!("n{}", random.below(8));
        let uid = format!("p{}", random.below(30));
        match random.below(6) {
            0 => cache.set_node(node(&name).cpu("4").build()),
            1 => cache.remove_node(&name),
            2 => cache.set_pod(on(&uid, &name)),
            3 => drop(cache.remove_pod(on(&uid, &name).uid())),
            4 => drop(cache.assume(&Arc::new(pod(&uid).cpu("1").info()), &name)),
            _ => cache.forget(on(&uid, &name).uid()),
        }
        cache.update(&mut snapshot);
        let fresh = Snapshot::new(cache.known().map(|node| (**node).clone()).collect());
        let row = |snapshot: &Snapshot| -> Vec<(String, i64, usize)> {
            let nodes = snapshot.nodes().iter();
            nodes
                .map(|node| (node.name().into(), node.requested().milli_cpu, node.pods().len()))
                .collect()
        };
        assert_eq!(row(&snapshot), row(&fresh));
        let columns = snapshot.columns();
        assert_eq!(columns.requested_milli_cpu, fresh.columns().requested_milli_cpu);
        assert_eq!(columns.free_pods, fresh.columns().free_pods);
    }
}

#[test]
fn what_the_server_says_takes_the_place_of_the_assumption() {
    let (mut cache, mut snapshot) = (Cache::default(), Snapshot::default());
    cache.set_node(node("a").cpu("4").build());
    let mut templates = Templates::default();
    let mut read = |pod: PodBuilder| Arc::new(templates.read(pod.build()));
    let waiting = read(pod("p").cpu("1"));
    assert!(cache.assume(&waiting, "a"));
    cache.update(&mut snapshot);
    let mark = snapshot.mark();
    let bound = read(pod("p").cpu("1").on("a"));
    cache.set_pod(Arc::clone(&bound));
    cache.update(&mut snapshot);
    let known = snapshot.get("a").unwrap().pods().iter().next().unwrap();
    assert!(Arc::ptr_eq(known, &bound));
    assert_eq!(Arc::strong_count(&waiting), 1, "the state before is let go");
    let changed = snapshot.changes(&mark).unwrap().count();
    assert_eq!(changed, 0, "what was computed of the node is still right");
}
