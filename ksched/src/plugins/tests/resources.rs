//! What pods ask for, and how nodes are ranked by it.

use serde_json::{Value, json};

use super::{refused, scores};
use crate::framework::{Args, Profile};
use crate::plugins::{NodeResourcesBalancedAllocation, NodeResourcesFit};
use crate::snapshot::pod_scoring_requests;
use crate::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

const FIT: &str = "NodeResourcesFit";
const BALANCED: &str = "NodeResourcesBalancedAllocation";

/// A pod with these resources of its own, and what its node says it has.
fn whole(asked: Value, given: Value, allocated: Value, reason: Option<&str>) -> PodBuilder {
    let mut pod = pod("p").cpu("1").spec("resources", json!({"requests": asked}));
    if !given.is_null() {
        pod = pod.status("resources", json!({"requests": given}));
    }
    if !allocated.is_null() {
        pod = pod.status("allocatedResources", allocated);
    }
    match reason {
        None => pod,
        Some(reason) => pod.status(
            "conditions",
            json!([{"type": "PodResizePending", "status": "True", "reason": reason}]),
        ),
    }
}

#[test]
fn what_a_pod_asks_for_itself_stands_in_place_of_its_containers_sum() {
    let overhead = json!({"cpu": "100m"});
    for (asked, cpu, memory, gpus) in [
        (json!({"cpu": "2"}), 2100, 0, 3),
        (json!({"memory": "1Ki"}), 1100, 1024, 3),
        (json!({"cpu": "500m", "memory": "1Ki"}), 600, 1024, 3),
        // Only CPU, memory and huge pages can be asked for so.
        (json!({"example.com/gpu": "7"}), 1100, 0, 3),
    ] {
        let pod = pod("p").cpu("1").request("example.com/gpu", "3");
        let pod = pod.spec("overhead", overhead.clone());
        let found = pod.spec("resources", json!({"requests": asked})).info();
        let requests = found.requests();
        let found = (requests.milli_cpu, requests.memory, requests.get("example.com/gpu"));
        assert_eq!(found, (cpu, memory, gpus), "{asked}");
    }
    let huge = pod("p").request("hugepages-2Mi", "4Mi");
    let huge = huge.spec("resources", json!({"requests": {"hugepages-2Mi": "8Mi"}}));
    assert_eq!(huge.info().requests().get("hugepages-2Mi"), 8 << 20);
}

k8s_openapi::k8s_if_ge_1_35! {
    #[test]
    fn a_whole_pod_that_is_resized_counts_with_the_largest_amount() {
        let cpu = |cpu: &str| json!({"cpu": cpu});
        for (given, allocated, reason, expected) in [
            (Value::Null, Value::Null, None, 2000),
            (cpu("3"), Value::Null, None, 3000),
            (cpu("1"), Value::Null, None, 2000),
            (cpu("1"), cpu("4"), None, 4000),
            (cpu("1"), cpu("500m"), Some("Deferred"), 2000),
            // The node will never give it more.
            (cpu("1"), cpu("500m"), Some("Infeasible"), 1000),
            (Value::Null, cpu("4"), None, 2000),
        ] {
            let pod = whole(cpu("2"), given.clone(), allocated.clone(), reason);
            let found = pod.info().requests().milli_cpu;
            assert_eq!(found, expected, "{given} {allocated} {reason:?}");
        }
        // Without anything of its own the pod counts by its containers.
        let none = whole(json!({}), cpu("4"), cpu("4"), None);
        assert_eq!(none.info().requests().milli_cpu, 1000);
        // Pods that have other amounts are of other shapes.
        let mut templates = crate::snapshot::Templates::default();
        let mut signature = |given: &str| {
            let pod = whole(cpu("2"), cpu(given), Value::Null, None);
            templates.read(pod.build()).template().signature()
        };
        assert_eq!(signature("3"), signature("3"));
        assert_ne!(signature("3"), signature("4"));
    }
}

#[test]
fn only_containers_that_run_on_are_resized() {
    let status = |name: &str| {
        json!([{"name": name, "image": "i", "imageID": "i", "ready": true, "restartCount": 0,
            "resources": {"requests": {"cpu": "4"}}, "allocatedResources": {"cpu": "3"}}])
    };
    let init = |policy: Option<&str>| {
        json!([{"name": "init", "restartPolicy": policy,
            "resources": {"requests": {"cpu": "2"}}}])
    };
    let cpu = |policy: Option<&str>| {
        let pod = pod("p").cpu("1").spec("initContainers", init(policy));
        pod.status("initContainerStatuses", status("init")).info().requests().milli_cpu
    };
    assert_eq!(cpu(Some("Always")), 5000);
    assert_eq!(cpu(None), 2000);
    // What was allocated counts beside what there is, and not alone.
    let with = |status: Value| {
        pod("p").cpu("1").status("containerStatuses", status).info().requests().milli_cpu
    };
    assert_eq!(with(status("main")), 4000);
    let mut alone = status("main");
    alone[0].as_object_mut().unwrap().remove("resources");
    assert_eq!(with(alone), 1000);
    assert_eq!(with(status("another")), 1000);
}

#[test]
fn containers_without_requests_count_a_little_when_nodes_are_scored() {
    let of = |pod: PodBuilder| {
        let found = pod_scoring_requests(&pod.build());
        (found.milli_cpu, found.memory)
    };
    assert_eq!(of(pod("p")), (100, 200 << 20));
    assert_eq!(of(pod("p").cpu("0").memory("1")), (0, 1), "zero is an amount");
    let own = pod("p").spec("resources", json!({"requests": {"cpu": "1"}}));
    assert_eq!(of(own), (1000, 200 << 20));
    // What it was given counts though it does not ask for it.
    let status = json!([{"name": "main", "image": "i", "imageID": "i", "ready": true,
        "restartCount": 0, "resources": {"requests": {"cpu": "2"}}}]);
    assert_eq!(of(pod("p").status("containerStatuses", status)), (2000, 200 << 20));
}

#[test]
fn only_extended_resources_are_ignored() {
    let cluster = |args: Value| {
        Cluster::new([node("a").cpu("1")]).profile(Profile::default().args(FIT, args))
    };
    let by_name = json!({"ignoredResources": ["cpu", "hugepages-2Mi", "example.com/gpu",
        "kubernetes.io/batch"]});
    let by_group = json!({"ignoredResourceGroups": ["example.com", "kubernetes.io"]});
    for (args, resource, fits) in [
        (&by_name, "example.com/gpu", true),
        (&by_name, "example.com/tpu", false),
        (&by_group, "example.com/gpu", true),
        (&by_group, "example.org/gpu", false),
        (&by_name, "hugepages-2Mi", false),
        (&by_name, "kubernetes.io/batch", false),
        (&by_group, "kubernetes.io/batch", false),
        (&by_name, "cpu", false),
    ] {
        let placed = cluster(args.clone()).place(pod("p").request(resource, "2"));
        assert_eq!(placed.is_ok(), fits, "{resource}: {placed:?}");
    }
}

fn strategy(kind: &str, resources: Value) -> Profile {
    Profile::default().args(FIT, json!({"scoringStrategy": {"type": kind, "resources": resources}}))
}

#[test]
fn ephemeral_storage_is_scored_of_every_pod_and_other_resources_of_those_that_ask() {
    let resources = json!([{"name": "ephemeral-storage"}, {"name": "example.com/gpu"}]);
    let with = |node: NodeBuilder| {
        node.resource("ephemeral-storage", "100").resource("example.com/gpu", "4")
    };
    let cluster = |kind: &str| {
        let used = pod("r").request("ephemeral-storage", "40").request("example.com/gpu", "1");
        Cluster::new([with(node("used")), with(node("free"))])
            .running(used.on("used"))
            .profile(strategy(kind, resources.clone()))
    };
    for (kind, asked, expected) in [
        ("LeastAllocated", pod("p"), [60, 100]),
        ("MostAllocated", pod("p"), [40, 0]),
        ("LeastAllocated", pod("p").request("ephemeral-storage", "20"), [40, 80]),
        // (60 + 50) / 2 and (100 + 75) / 2
        ("LeastAllocated", pod("p").request("example.com/gpu", "1"), [55, 87]),
    ] {
        let found = scores(&cluster(kind), FIT, asked.clone());
        assert_eq!(found, expected.map(Some), "{kind} {asked:?}");
    }
}

#[test]
fn a_ratio_counts_what_scores_and_rounds_the_mean() {
    let args = json!({"scoringStrategy": {"type": "RequestedToCapacityRatio",
        "resources": [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 2}],
        "requestedToCapacityRatio": {"shape": [
            {"utilization": 0, "score": 0}, {"utilization": 50, "score": 10},
            {"utilization": 100, "score": 0}]}}});
    let cluster = |cpu: &str, memory: &str| {
        Cluster::new([node("a").cpu(cpu).memory(memory), node("b")])
            .profile(Profile::default().args(FIT, args.clone()))
    };
    let asks = || pod("p").cpu("1").memory("1Gi");
    for (cpu, memory, expected) in [
        ("2", "2Gi", 100),
        ("4", "2Gi", 83),
        ("4", "4Gi", 50),
        // All of it is used, which scores nothing and does not count.
        ("1", "2Gi", 100),
        ("1", "1Gi", 0),
    ] {
        let found = scores(&cluster(cpu, memory), FIT, asks())[0];
        assert_eq!(found, Some(expected), "{cpu} {memory}");
    }
}

#[test]
fn balance_is_kept_among_many_resources() {
    let names: Vec<String> = (0..9).map(|at| format!("example.com/r{at}")).collect();
    let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let with = |node: NodeBuilder, last: &str| {
        let all = names.iter().take(8).fold(node, |node, name| node.resource(name, "8"));
        all.resource(&names[8], last)
    };
    let cluster = Cluster::new([with(node("even"), "8"), with(node("odd"), "2")])
        .profile(Profile::default().args(BALANCED, json!({"resources": list})));
    let asks = names.iter().fold(pod("p"), |pod, name| pod.request(name, "2"));
    let found = scores(&cluster, BALANCED, asks);
    assert!(found[0] > found[1], "the ninth is as much a resource as the others: {found:?}");
    assert_eq!(found[0], Some(75));
}

#[test]
fn balance_says_nothing_of_pods_that_ask_for_nothing() {
    let cluster =
        Cluster::new([node("a").cpu("4").memory("4Gi"), node("b").cpu("4").memory("4Gi")])
            .running(pod("r").cpu("2").on("a"));
    assert_eq!(scores(&cluster, BALANCED, pod("p")), [None, None]);
    // On `a` memory evens out what CPU is used already.
    let found = scores(&cluster, BALANCED, pod("p").memory("2Gi"));
    assert_eq!(found, [Some(87), Some(62)]);
}

#[test]
fn amounts_that_can_never_fit_are_told_apart_from_those_that_may() {
    let nodes = [node("a").cpu("2")];
    refused(&nodes, pod("p").cpu("3"), "1 Insufficient cpu");
    // Nobody's leaving would help, so nobody is looked for.
    let cluster = Cluster::new(nodes).running(pod("r").cpu("2").on("a"));
    let never = cluster.nominate(pod("p").cpu("3").priority(9)).unwrap_err();
    assert!(never.contains("1 Preemption is not helpful for scheduling"), "{never}");
    assert_eq!(cluster.nominate(pod("p").cpu("2").priority(9)).as_deref(), Ok("a"));
}

#[test]
fn weights_of_balance_are_all_one() {
    let args = json!({"resources": [{"name": "cpu", "weight": 2}]});
    let error = NodeResourcesBalancedAllocation::new(&Args::new(args)).unwrap_err();
    assert!(error.contains("weight"), "{error}");
    let args = json!({"scoringStrategy": {"type": "RequestedToCapacityRatio",
        "requestedToCapacityRatio": {"shape": [{"utilization": 101, "score": 0}]}}});
    let error = NodeResourcesFit::new(&Args::new(args)).unwrap_err();
    let expected = "scoringStrategy.requestedToCapacityRatio.shape[0].utilization: Invalid value: \
                    101: not in valid range [0, 100]";
    assert_eq!(error, expected);
}
