//! Taints, affinity to nodes, host ports and images.

use serde_json::{Value, json};

use super::{place, placed, refused, scores};
use crate::framework::{Args, Profile};
use crate::plugins::NodeAffinity;
use crate::testing::{Cluster, PodBuilder, node, pod};

const NO_MATCH: &str = "1 node(s) didn't match Pod's node affinity/selector";

#[test]
fn numbers_in_taints_are_compared() {
    for (operator, on_node, tolerated, fits) in [
        ("Gt", "950", "900", true),
        ("Gt", "900", "900", false),
        ("Gt", "-1", "-2", true),
        ("Lt", "850", "900", true),
        ("Lt", "900", "900", false),
        ("Gt", "many", "900", false),
        ("Lt", "850", "many", false),
    ] {
        let tainted = [node("a").taint("sla", on_node, "NoSchedule")];
        let toleration = json!({"key": "sla", "operator": operator, "value": tolerated});
        let found = place(&tainted, pod("p").toleration(toleration));
        assert_eq!(found.is_ok(), fits, "{on_node} {operator} {tolerated}");
    }
}

#[test]
fn soft_taints_count_where_they_are_not_tolerated() {
    let twice = node("twice").taint("a", "", "PreferNoSchedule").taint("b", "", "PreferNoSchedule");
    let once = node("once").taint("a", "", "PreferNoSchedule");
    let cluster = Cluster::new([node("free"), once, twice]);
    let given = |pod: PodBuilder| scores(&cluster, "TaintToleration", pod);
    assert_eq!(given(pod("p")), [Some(100), Some(50), Some(0)]);
    let tolerates = |toleration: Value| given(pod("p").toleration(toleration));
    let a = json!({"key": "a", "operator": "Exists"});
    assert_eq!(tolerates(a), [Some(100), Some(100), Some(0)]);
    // A toleration of harder effects says nothing of softer ones.
    let hard = json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(tolerates(hard), [Some(100), Some(50), Some(0)]);
    assert_eq!(scores(&Cluster::new([node("a")]), "TaintToleration", pod("p")), [None]);
}

fn required(term: Value) -> PodBuilder {
    pod("p").spec(
        "affinity",
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [term]}}}),
    )
}

#[test]
fn requirements_that_are_wrong_are_met_by_no_node() {
    let nodes = [node("a").label("size", "8").label("word", "many")];
    let label = |key: &str, operator: &str, values: Value| {
        required(
            json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
        )
    };
    for (pod, fits) in [
        (label("size", "In", json!(["8"])), true),
        (label("size", "In", json!([])), false),
        (label("other", "NotIn", json!(["8"])), true),
        (label("other", "NotIn", json!([])), false),
        (label("size", "Exists", json!(["8"])), false),
        (label("other", "DoesNotExist", json!(["8"])), false),
        (label("size", "Gt", json!(["7"])), true),
        (label("size", "Gt", json!(["8"])), false),
        (label("size", "Gt", json!(["7", "6"])), false),
        (label("size", "Gt", json!(["few"])), false),
        (label("word", "Gt", json!(["7"])), false),
        (label("word", "Lt", json!(["7"])), false),
        (label("other", "Lt", json!(["7"])), false),
        (label("size", "Near", json!(["8"])), false),
        (required(json!({})), false),
    ] {
        match place(&nodes, pod.clone()) {
            Ok(_) => assert!(fits, "{pod:?}"),
            Err(why) => {
                assert!(!fits, "{pod:?}");
                assert_eq!(why, format!("0/1 nodes are available: {NO_MATCH}."));
            }
        }
    }
}

#[test]
fn fields_are_names_one_at_a_time() {
    let nodes = [node("a"), node("b"), node("c")];
    let field = |key: &str, operator: &str, values: Value| {
        required(json!({"matchFields": [{"key": key, "operator": operator, "values": values}]}))
    };
    placed(&nodes, field("metadata.name", "In", json!(["b"])), "b");
    let two = [node("a"), node("b")];
    placed(&two, field("metadata.name", "NotIn", json!(["a"])), "b");
    for wrong in [
        field("metadata.name", "In", json!(["a", "b"])),
        field("metadata.name", "Exists", json!([])),
        field("metadata.uid", "NotIn", json!(["a"])),
    ] {
        assert!(place(&nodes, wrong.clone()).is_err(), "{wrong:?}");
    }
    // Both of a term's kinds have to be met, and one of several terms.
    let both = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}],
        "matchExpressions": [{"key": "x", "operator": "Exists"}]});
    refused(&[node("a")], required(both), NO_MATCH);
    let either = pod("p").spec(
        "affinity",
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["z"]}]},
                {"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["c"]}]}]}}}),
    );
    placed(&nodes, either, "c");
}

#[test]
fn names_that_contradict_each_other_are_told_at_once() {
    let name = |name: &str| json!({"key": "metadata.name", "operator": "In", "values": [name]});
    let both = required(json!({"matchFields": [name("a"), name("b")]}));
    let expected = "0/2 nodes are available: pod affinity terms conflict.";
    assert_eq!(place(&[node("a"), node("b")], both), Err(expected.to_owned()));
}

#[test]
fn affinity_that_a_profile_adds_is_asked_first_and_checked() {
    let added = |term: Value| {
        json!({"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [term]}}})
    };
    let wanted = |key: &str, operator: &str, values: Value| {
        let wanted = json!({"key": key, "operator": operator, "values": values});
        vec![wanted]
    };
    let label = |operator: &str, values: Value| {
        let wanted = wanted("pool", operator, values);
        json!({"matchExpressions": wanted})
    };
    let profile = Profile::default().args("NodeAffinity", added(label("In", json!(["batch"]))));
    let cluster = Cluster::new([node("a").label("pool", "web")]).profile(profile);
    let expected = "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node \
                    affinity.";
    let picky = pod("p").node_selector("pool", "none");
    assert_eq!(super::place_in(&cluster, picky), Err(expected.to_owned()));
    let path = "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]";
    let name = |operator: &str, values: Value| {
        let wanted = wanted("metadata.name", operator, values);
        json!({"matchFields": wanted})
    };
    for (args, at, expected) in [
        (label("In", json!([])), "matchExpressions", "values set can't be empty"),
        (label("Exists", json!(["a"])), "matchExpressions", "values set must be empty"),
        (label("Gt", json!(["1", "2"])), "matchExpressions", "exactly one value is required"),
        (label("Lt", json!(["few"])), "matchExpressions", "the value must be an integer"),
        (label("Near", json!(["a"])), "matchExpressions", "not a valid selector operator"),
        (name("In", json!(["a", "b"])), "matchFields", "must have one element"),
    ] {
        let error = NodeAffinity::new(&Args::new(added(args.clone()))).unwrap_err();
        assert!(error.starts_with(&format!("{path}.{at}[0]")), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let preferred = json!({"addedAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": label("In", json!([]))}]}});
    assert!(NodeAffinity::new(&Args::new(preferred)).unwrap_err().contains("[0].preference"));
}

#[test]
fn weights_of_preferences_add_up_with_those_of_the_profile() {
    let prefers = |weight: i64, zone: &str| {
        json!({"weight": weight, "preference": {"matchExpressions": [
            {"key": "zone", "operator": "In", "values": [zone]}]}})
    };
    let soft = "preferredDuringSchedulingIgnoredDuringExecution";
    let cluster = Cluster::new(["1", "2", "3"].map(|zone| node(zone).label("zone", zone)));
    let own = pod("p")
        .spec("affinity", json!({"nodeAffinity": {soft: [prefers(10, "1"), prefers(40, "2")]}}));
    let found = scores(&cluster, "NodeAffinity", own.clone());
    assert_eq!(found, [Some(25), Some(100), Some(0)]);
    let added = json!({"addedAffinity": {soft: [prefers(70, "1")]}});
    let cluster = cluster.profile(Profile::default().args("NodeAffinity", added));
    assert_eq!(scores(&cluster, "NodeAffinity", own), [Some(100), Some(50), Some(0)]);
    assert_eq!(scores(&cluster, "NodeAffinity", pod("p")), [Some(100), Some(0), Some(0)]);
}

#[test]
fn ports_are_taken_by_address_and_protocol() {
    let with = |name: &str, address: &str, protocol: &str, port: u16| {
        let mut entry = json!({"containerPort": 8080, "hostPort": port, "protocol": protocol});
        if !address.is_empty() {
            entry["hostIP"] = address.into();
        }
        pod(name).spec("containers", json!([{"name": "main", "ports": [entry]}]))
    };
    for (used, wanted, conflict) in [
        (("", "TCP"), ("", "TCP"), true),
        (("", "TCP"), ("", "UDP"), false),
        (("", "TCP"), ("127.0.0.1", "TCP"), true),
        (("0.0.0.0", "TCP"), ("127.0.0.1", "TCP"), true),
        (("127.0.0.1", "TCP"), ("0.0.0.0", "TCP"), true),
        (("127.0.0.1", "TCP"), ("", "TCP"), true),
        (("127.0.0.1", "TCP"), ("127.0.0.1", "TCP"), true),
        (("127.0.0.1", "TCP"), ("127.0.0.2", "TCP"), false),
        (("127.0.0.1", "TCP"), ("127.0.0.1", "SCTP"), false),
        (("0.0.0.0", "UDP"), ("127.0.0.1", "TCP"), false),
        // TCP unless it says otherwise.
        (("", ""), ("", "TCP"), true),
    ] {
        let cluster = Cluster::new([node("a")]).running(with("r", used.0, used.1, 80).on("a"));
        let found = cluster.place(with("p", wanted.0, wanted.1, 80));
        assert_eq!(found.is_err(), conflict, "{used:?} {wanted:?}");
        assert!(cluster.place(with("p", wanted.0, wanted.1, 81)).is_ok());
    }
}

const MB: i64 = 1024 * 1024;

#[test]
fn images_of_all_containers_and_volumes_count_by_how_many_nodes_have_them() {
    let image = |name: &str| json!({"name": name, "image": name});
    let volume = json!({"name": "model", "image": {"reference": "model:1"}});
    let cluster = Cluster::new([
        node("a").image("web:latest", 500 * MB).image("model:1", 1000 * MB),
        node("b").image("web:latest", 500 * MB).image("init:2", 300 * MB),
    ]);
    let given = |pod: PodBuilder| scores(&cluster, "ImageLocality", pod);
    // (500 - 23) of (1000 - 23): every node has it.
    assert_eq!(given(pod("p").image("web")), [Some(48), Some(48)]);
    let with_init = pod("p").image("web").spec("initContainers", json!([image("init:2")]));
    // (500 - 23) and (500 + 300 / 2 - 23) of (2000 - 23)
    assert_eq!(given(with_init), [Some(24), Some(31)]);
    let with_volume = pod("p").image("web").spec("volumes", json!([volume]));
    // (500 + 1000 / 2 - 23) and (500 - 23) of (2000 - 23)
    assert_eq!(given(with_volume), [Some(49), Some(24)]);
    assert_eq!(given(pod("p").image("other:1")), [None, None]);
    assert_eq!(given(pod("p").image("web:other")), [None, None]);
}

#[test]
fn images_count_between_what_is_quick_to_pull_and_what_is_not() {
    let of = |bytes: i64| {
        let cluster =
            Cluster::new([node("a").image("registry.example.com:5000/web:latest", bytes)]);
        scores(&cluster, "ImageLocality", pod("p").image("registry.example.com:5000/web"))[0]
    };
    for (bytes, expected) in
        [(MB, 0), (23 * MB, 0), (500 * MB, 48), (1000 * MB, 100), (4000 * MB, 100)]
    {
        assert_eq!(of(bytes), Some(expected), "{bytes}");
    }
}
