//! Table tests of the stock plugins.

mod features;
mod hints;
mod nodes;
mod preempting;
mod resources;
mod topology;
mod volume_hints;
mod volume_limits;
mod volume_places;
mod volume_scores;
mod volume_sharing;

use serde_json::{Value, json};

use super::NodeResourcesFit;
use crate::framework::{Args, Normalization, Profile};
use crate::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

/// Where a pod goes; or why nowhere, without what preemption has to say.
fn place_in(cluster: &Cluster, pod: PodBuilder) -> Result<String, String> {
    let first = |message: String| match message.split_once(" preemption: ") {
        Some((first, _)) => first.to_owned(),
        None => message,
    };
    cluster.place(pod).map_err(first)
}

fn place(nodes: &[NodeBuilder], pod: PodBuilder) -> Result<String, String> {
    place_in(&Cluster::new(nodes.iter().cloned()), pod)
}

/// What a plugin gives each node: nothing where it has nothing to say.
fn scores(cluster: &Cluster, plugin: &str, pod: PodBuilder) -> Vec<Option<i64>> {
    let explained = cluster.explain(pod).unwrap();
    let score = |node: crate::scheduler::explain::NodeExplanation| {
        let score = node.scores.into_iter().find(|score| &*score.plugin == plugin);
        score.map(|score| score.score)
    };
    explained.nodes.into_iter().map(score).collect()
}

fn refused(nodes: &[NodeBuilder], pod: PodBuilder, reasons: &str) {
    let expected = format!("0/{} nodes are available: {reasons}.", nodes.len());
    assert_eq!(place(nodes, pod), Err(expected));
}

fn placed(nodes: &[NodeBuilder], pod: PodBuilder, on: &str) {
    assert_eq!(place(nodes, pod), Ok(on.to_owned()));
}

#[test]
fn resources_that_are_missing_are_named() {
    let nodes = [node("a").cpu("1").memory("1Gi"), node("b").cpu("2").memory("1Gi")];
    placed(&nodes, pod("p").cpu("1500m"), "b");
    refused(&nodes, pod("p").cpu("3"), "2 Insufficient cpu");
    refused(
        &nodes,
        pod("p").cpu("1500m").memory("2Gi"),
        "1 Insufficient cpu, 2 Insufficient memory",
    );
    refused(&nodes, pod("p").request("a.b/c", "1"), "2 Insufficient a.b/c");
    let storage = pod("p").request("ephemeral-storage", "1");
    refused(&nodes, storage, "2 Insufficient ephemeral-storage");
    let full = node("full").cpu("1").resource("pods", "0");
    refused(&[full], pod("p"), "1 Too many pods");
}

#[test]
fn no_nodes_have_a_message_of_their_own() {
    assert_eq!(place(&[], pod("p")), Err("no nodes available to schedule pods".to_owned()));
}

#[test]
fn running_pods_take_their_room() {
    let cluster = Cluster::new([node("a").cpu("2")]).running(pod("r").cpu("1500m").on("a"));
    assert_eq!(cluster.place(pod("p").cpu("500m")), Ok("a".to_owned()));
    let reasons = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(place_in(&cluster, pod("p").cpu("501m")), Err(reasons.to_owned()));
}

#[test]
fn init_containers_sidecars_and_overhead_are_summed_as_documented() {
    let container = |cpu: &str, sidecar: bool| {
        let mut container = json!({"name": cpu, "resources": {"requests": {"cpu": cpu}}});
        if sidecar {
            container["restartPolicy"] = "Always".into();
        }
        container
    };
    let cpu = |init: Value, overhead: Value| {
        let pod = pod("p").cpu("1").spec("initContainers", init).spec("overhead", overhead);
        pod.info().requests().milli_cpu
    };
    for (init, overhead, expected) in [
        (json!([]), json!({}), 1000),
        (json!([container("3", false)]), json!({}), 3000),
        (json!([container("500m", false)]), json!({"cpu": "250m"}), 1250),
        // A sidecar runs on beside the containers, and beside the init containers after it.
        (json!([container("2", true), container("500m", false)]), json!({}), 3000),
        (json!([container("2", true), container("5", false)]), json!({}), 7000),
        (json!([container("5", false), container("2", true)]), json!({}), 5000),
    ] {
        assert_eq!(cpu(init.clone(), overhead), expected, "{init}");
    }
    let own = pod("p").cpu("1").spec("resources", json!({"requests": {"cpu": "4"}}));
    assert_eq!(own.info().requests().milli_cpu, 4000);
}

#[test]
fn a_pod_that_is_resized_counts_with_the_larger_amount() {
    let cpu = |given: &str, conditions: Value| {
        let status = json!([{"name": "main", "image": "i", "imageID": "i", "ready": true,
            "restartCount": 0, "resources": {"requests": {"cpu": given}}}]);
        let pod = pod("p").cpu("1").status("containerStatuses", status);
        pod.status("conditions", conditions).info().requests().milli_cpu
    };
    let pending =
        |reason: &str| json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    // It shrinks, and has not yet given back what it had; it grows, and is promised what it asked.
    assert_eq!(cpu("2", json!([])), 2000);
    assert_eq!(cpu("500m", pending("Deferred")), 1000);
    // The node will never give it more.
    assert_eq!(cpu("500m", pending("Infeasible")), 500);
    let mut templates = crate::snapshot::Templates::default();
    let mut signature = |given: &str| {
        let status = json!([{"name": "main", "image": "i", "imageID": "i", "ready": true,
            "restartCount": 0, "resources": {"requests": {"cpu": given}}}]);
        let pod = pod("p").cpu("1").status("containerStatuses", status).build();
        templates.read(pod).template().signature()
    };
    assert_eq!(signature("1"), signature("1"));
    assert_ne!(signature("1"), signature("2"));
}

#[test]
fn strategies_rank_by_what_is_left() {
    let cluster = |args: Value| {
        Cluster::new([node("full").cpu("4").memory("4Gi"), node("free").cpu("4").memory("4Gi")])
            .running(pod("r").cpu("2").memory("2Gi").on("full"))
            .profile(Profile::default().args("NodeResourcesFit", args))
    };
    let strategy = |name: &str| json!({"scoringStrategy": {"type": name}});
    let placed = |args: Value| cluster(args).place(pod("p").cpu("1").memory("1Gi")).unwrap();
    assert_eq!(placed(Value::Null), "free");
    assert_eq!(placed(strategy("MostAllocated")), "full");
    let shape = |low: i64, high: i64| {
        json!({"scoringStrategy": {"type": "RequestedToCapacityRatio",
            "requestedToCapacityRatio": {"shape": [
                {"utilization": 0, "score": low}, {"utilization": 100, "score": high}]}}})
    };
    assert_eq!(placed(shape(0, 10)), "full");
    assert_eq!(placed(shape(10, 0)), "free");
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (args, expected) in [
        (json!({"scoringStrategy": {"type": "Best"}}), "Unsupported value: \"Best\""),
        (json!({"scoringStrategy": {"type": "RequestedToCapacityRatio"}}), "at least one point"),
        (json!({"scoringStrategy": {"resources": [{"name": "cpu", "weight": 101}]}}), "101"),
        (json!({"ignoredResources": 7}), "invalid type"),
    ] {
        let error = NodeResourcesFit::new(&Args::new(args)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn taints_turn_away_those_that_do_not_tolerate_them() {
    let tainted = [node("a").taint("gpu", "yes", "NoSchedule")];
    refused(&tainted, pod("p"), "1 node(s) had untolerated taint(s)");
    for (toleration, fits) in [
        (json!({"operator": "Exists"}), true),
        (json!({"key": "gpu", "operator": "Exists"}), true),
        (json!({"key": "gpu", "value": "yes"}), true),
        (json!({"key": "gpu", "operator": "Equal", "value": "no"}), false),
        (json!({"key": "gpu", "value": "yes", "effect": "NoExecute"}), false),
        (json!({"key": "cpu", "operator": "Exists"}), false),
    ] {
        let outcome = place(&tainted, pod("p").toleration(toleration.clone()));
        assert_eq!(outcome.is_ok(), fits, "{toleration}");
    }
    let soft = [node("a").taint("slow", "", "PreferNoSchedule"), node("b")];
    placed(&soft, pod("p"), "b");
}

#[test]
fn cordoned_nodes_take_only_pods_that_tolerate_it() {
    let cordoned = [node("a").cordoned()];
    refused(&cordoned, pod("p"), "1 node(s) were unschedulable");
    let key = "node.kubernetes.io/unschedulable";
    placed(&cordoned, pod("p").toleration(json!({"key": key, "operator": "Exists"})), "a");
}

#[test]
fn node_selectors_and_affinity_match_labels_and_names() {
    let nodes = [node("a").label("zone", "1").label("size", "8"), node("b").label("zone", "2")];
    let no_match = "node(s) didn't match Pod's node affinity/selector";
    placed(&nodes, pod("p").node_selector("zone", "2"), "b");
    refused(&nodes, pod("p").node_selector("zone", "3"), &format!("2 {no_match}"));
    let required = |kind: &str, key: &str, operator: &str, values: Value| {
        let term = json!({kind: [{"key": key, "operator": operator, "values": values}]});
        pod("p").spec(
            "affinity",
            json!({"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}),
        )
    };
    let label = |key: &str, operator: &str, values: Value| {
        required("matchExpressions", key, operator, values)
    };
    placed(&nodes, label("zone", "In", json!(["1", "7"])), "a");
    placed(&nodes, label("zone", "NotIn", json!(["1"])), "b");
    placed(&nodes, label("size", "Exists", json!([])), "a");
    placed(&nodes, label("size", "DoesNotExist", json!([])), "b");
    placed(&nodes, label("size", "Gt", json!(["7"])), "a");
    refused(&nodes, label("size", "Lt", json!(["8"])), &format!("2 {no_match}"));
    let name = |name: &str| required("matchFields", "metadata.name", "In", json!([name]));
    placed(&nodes, name("b"), "b");
    refused(&nodes, name("c"), "2 node(s) didn't satisfy plugin(s) [NodeAffinity]");
    let preferred = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference":
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["2"]}]}}]}});
    placed(&nodes, pod("p").spec("affinity", preferred), "b");
}

#[test]
fn host_ports_are_taken_once() {
    let cluster = Cluster::new([node("a")]).running(pod("r").host_port(80).on("a"));
    assert!(cluster.place(pod("p").host_port(81)).is_ok());
    let reason = "1 node(s) didn't have free ports for the requested pod ports";
    let expected = format!("0/1 nodes are available: {reason}.");
    assert_eq!(place_in(&cluster, pod("p").host_port(80)), Err(expected));
}

#[test]
fn a_named_node_is_the_only_one() {
    let nodes = [node("a"), node("b")];
    placed(&nodes, pod("p").on("b"), "b");
    refused(&nodes, pod("p").on("c"), "2 node(s) didn't match the requested node name");
}

#[test]
fn gates_keep_a_pod_out_and_are_named_in_their_order() {
    let framework = Cluster::new([]).framework().unwrap();
    let gated = |gates: &[&str]| {
        let gates: Vec<Value> = gates.iter().map(|name| json!({"name": name})).collect();
        let gate = framework.gate(&pod("p").spec("schedulingGates", gates.into()).info());
        gate.map(|(plugin, status)| (plugin.to_string(), status.message()))
    };
    let by = |message: &str| Some(("SchedulingGates".to_owned(), message.to_owned()));
    assert_eq!(gated(&[]), None);
    assert_eq!(gated(&["a.b/c"]), by("waiting for scheduling gates: [a.b/c]"));
    assert_eq!(gated(&["z", "a"]), by("waiting for scheduling gates: [z a]"));
}

#[test]
fn scores_are_normalized_in_both_directions() {
    for (scores, reverse, expected) in
        [([0, 5, 10], false, [0, 50, 100]), ([0, 5, 10], true, [100, 50, 0])]
    {
        let mut scores = scores;
        Normalization::Highest { reverse }.all(&mut scores);
        assert_eq!(scores, expected);
    }
}

#[test]
fn the_draw_among_the_best_follows_the_seed() {
    let draw = |seed| {
        let nodes = (0..8).map(|at| node(&format!("n{at}")));
        Cluster::new(nodes).seed(seed).place(pod("p")).unwrap()
    };
    assert_eq!(draw(7), draw(7));
    let drawn: std::collections::BTreeSet<String> = (0..50).map(draw).collect();
    assert!(drawn.len() > 4, "{drawn:?}");
}
