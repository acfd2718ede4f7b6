//! Which events make pods come again that a plugin turned away.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::framework::{Action, ClusterEvent, EventObject, EventResource, Happening, Profile};
use crate::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

/// Whether what happened may help a pod that a plugin turned away.
pub(super) fn helps(plugin: &str, waiting: &PodBuilder, what: &Happening) -> bool {
    helps_with(Profile::default(), plugin, waiting, what)
}

fn helps_with(profile: Profile, plugin: &str, waiting: &PodBuilder, what: &Happening) -> bool {
    let framework = Cluster::new([]).profile(profile).framework().unwrap();
    framework.may_help(&waiting.clone().info(), &[Arc::from(plugin)].into(), what)
}

pub(super) fn nodes(
    action: Action,
    old: Option<NodeBuilder>,
    new: Option<NodeBuilder>,
) -> Happening {
    let object = |node: NodeBuilder| EventObject::Node(node.build());
    let event = ClusterEvent::new(EventResource::Node, action);
    Happening { event, old: old.map(object), new: new.map(object) }
}

pub(super) fn came(node: NodeBuilder) -> Happening {
    nodes(Action::ADD, None, Some(node))
}

fn pods(action: Action, old: Option<PodBuilder>, new: Option<PodBuilder>) -> Happening {
    let object = |pod: PodBuilder| EventObject::Pod(Arc::new(pod.info()));
    let event = ClusterEvent::new(EventResource::AssignedPod, action);
    Happening { event, old: old.map(object), new: new.map(object) }
}

fn arrived(pod: PodBuilder) -> Happening {
    pods(Action::ADD, None, Some(pod))
}

pub(super) fn left(pod: PodBuilder) -> Happening {
    pods(Action::DELETE, Some(pod), None)
}

fn relabeled(old: PodBuilder, new: PodBuilder) -> Happening {
    pods(Action::UPDATE_POD_LABEL, Some(old), Some(new))
}

#[test]
fn resources_help_where_there_is_more_of_what_is_asked_for() {
    let waiting = pod("p").cpu("2").request("example.com/gpu", "1");
    let has =
        |cpu: &str, gpus: &str| node("a").cpu(cpu).memory("1Gi").resource("example.com/gpu", gpus);
    let changed = |old: NodeBuilder, new: NodeBuilder| {
        nodes(Action::UPDATE_NODE_ALLOCATABLE, Some(old), Some(new))
    };
    for (what, expected) in [
        (came(has("2", "1")), true),
        (came(has("1", "1")), false),
        (came(has("2", "1").resource("pods", "0")), false),
        (changed(has("1", "1"), has("2", "1")), true),
        (changed(has("2", "0"), has("2", "1")), true),
        // It is as much as before, or still too little.
        (changed(has("2", "1"), has("2", "1").memory("2Gi")), false),
        (changed(has("4", "1"), has("2", "1")), false),
        (changed(has("1", "1"), has("1500m", "1")), false),
        (changed(has("2", "1"), has("2", "1").resource("pods", "111")), true),
    ] {
        assert_eq!(helps("NodeResourcesFit", &waiting, &what), expected, "{what:?}");
    }
    let shrunk = |old: PodBuilder, new: PodBuilder| {
        pods(Action::UPDATE_POD_SCALE_DOWN, Some(old.on("a")), Some(new.on("a")))
    };
    for (what, expected) in [
        (left(pod("r").on("a")), true),
        (shrunk(pod("r").cpu("2"), pod("r").cpu("1")), true),
        (shrunk(pod("r").memory("2Gi"), pod("r").memory("1Gi")), false),
        (shrunk(pod("r").cpu("1").memory("2Gi"), pod("r").cpu("1").memory("1Gi")), false),
        (arrived(pod("r").on("a")), false),
    ] {
        assert_eq!(helps("NodeResourcesFit", &waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn nodes_help_that_turned_the_pod_away_before_and_do_not_now() {
    let tainted = || node("a").taint("gpu", "yes", "NoSchedule");
    let softly = || node("a").taint("gpu", "yes", "PreferNoSchedule");
    let other = || node("a").taint("other", "", "NoExecute");
    let tolerant = pod("p").toleration(json!({"key": "gpu", "operator": "Exists"}));
    let changed =
        |action: Action, old: NodeBuilder, new: NodeBuilder| nodes(action, Some(old), Some(new));
    let taint = |old, new| changed(Action::UPDATE_NODE_TAINT, old, new);
    let label = |old, new| changed(Action::UPDATE_NODE_LABEL, old, new);
    let zone = |zone: &str| node("a").label("zone", zone);
    let picky = pod("p").node_selector("zone", "1");
    let cordoned = || node("a").cordoned();
    let excused = pod("p")
        .toleration(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule",
            "operator": "Exists"}));
    for (plugin, waiting, what, expected) in [
        ("TaintToleration", pod("p"), came(node("a")), true),
        ("TaintToleration", pod("p"), came(tainted()), false),
        ("TaintToleration", tolerant.clone(), came(tainted()), true),
        ("TaintToleration", pod("p"), taint(tainted(), node("a")), true),
        ("TaintToleration", pod("p"), taint(tainted(), softly()), true),
        ("TaintToleration", pod("p"), taint(tainted(), other()), false),
        ("TaintToleration", pod("p"), taint(softly(), node("a")), false),
        ("TaintToleration", tolerant.clone(), taint(other(), tainted()), true),
        ("TaintToleration", tolerant, taint(tainted(), node("a")), false),
        ("NodeUnschedulable", pod("p"), came(node("a")), true),
        ("NodeUnschedulable", pod("p"), came(cordoned()), false),
        ("NodeUnschedulable", pod("p"), taint(cordoned(), node("a")), true),
        ("NodeUnschedulable", pod("p"), taint(node("a"), tainted()), false),
        ("NodeUnschedulable", pod("p"), taint(cordoned(), cordoned()), false),
        ("NodeUnschedulable", excused, taint(cordoned(), node("a")), true),
        ("NodeAffinity", picky.clone(), came(zone("1")), true),
        ("NodeAffinity", picky.clone(), came(zone("2")), false),
        ("NodeAffinity", picky.clone(), label(zone("2"), zone("1")), true),
        ("NodeAffinity", picky.clone(), label(zone("1"), zone("1").label("x", "y")), false),
        ("NodeAffinity", picky, label(zone("1"), zone("2")), false),
        ("NodeName", pod("p").on("a"), came(node("a")), true),
        ("NodePorts", pod("p").host_port(80), came(node("a")), true),
    ] {
        assert_eq!(helps(plugin, &waiting, &what), expected, "{plugin} {what:?}");
    }
}

#[test]
fn nodes_that_the_profile_does_not_allow_help_nobody() {
    let only = json!({"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [
            {"key": "pool", "operator": "In", "values": ["batch"]}]}]}}});
    let profile = || Profile::default().args("NodeAffinity", only.clone());
    let in_pool = |pool: &str| node("a").label("zone", "1").label("pool", pool);
    let waiting = pod("p").node_selector("zone", "1");
    for (what, expected) in [
        (came(in_pool("batch")), true),
        (came(in_pool("web")), false),
        (nodes(Action::UPDATE_NODE_LABEL, Some(in_pool("web")), Some(in_pool("batch"))), true),
    ] {
        assert_eq!(helps_with(profile(), "NodeAffinity", &waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn a_pod_that_leaves_helps_with_the_ports_it_had() {
    let waiting = pod("p").host_port(80);
    for (what, expected) in [
        (left(pod("r").host_port(80).on("a")), true),
        (left(pod("r").host_port(81).on("a")), false),
        (left(pod("r").on("a")), false),
        // It was not bound after all.
        (left(pod("r").host_port(80)), true),
        (arrived(pod("r").host_port(80).on("a")), false),
    ] {
        assert_eq!(helps("NodePorts", &waiting, &what), expected, "{what:?}");
    }
}

fn constraint(key: &str, app: &str) -> Value {
    json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": app}}})
}

#[test]
fn pods_help_to_spread_that_count_as_they_did_not_before() {
    let waiting = pod("p").spread(constraint("zone", "web")).spread(constraint("rack", "db"));
    let web = || pod("r").label("app", "web").on("a");
    let other = || pod("r").label("app", "other").on("a");
    for (what, expected) in [
        (arrived(web()), true),
        (arrived(pod("r").label("app", "db").on("a")), true),
        (arrived(other()), false),
        (arrived(web().namespace("elsewhere")), false),
        (left(web()), true),
        (left(other()), false),
        (relabeled(web(), other()), true),
        (relabeled(other(), web()), true),
        (relabeled(web(), web().label("x", "y")), false),
        // One constraint counts it no more, and another one does.
        (relabeled(web(), pod("r").label("app", "db").on("a")), true),
    ] {
        assert_eq!(helps("PodTopologySpread", &waiting, &what), expected, "{what:?}");
    }
    // Whoever is spread by default may be helped by any pod of the namespace.
    assert!(helps("PodTopologySpread", &pod("p"), &arrived(other())));
    assert!(!helps("PodTopologySpread", &pod("p"), &arrived(other().namespace("elsewhere"))));
}

#[test]
fn nodes_help_to_spread_that_are_in_other_places_than_before() {
    let waiting = pod("p").spread(constraint("zone", "web")).spread(constraint("rack", "db"));
    let mut minds_taints = constraint("zone", "web");
    minds_taints["nodeTaintsPolicy"] = "Honor".into();
    let minds_taints = pod("p").spread(minds_taints);
    let place = |zone: &str, rack: &str| node("a").label("zone", zone).label("rack", rack);
    let half = || node("a").label("zone", "1");
    let tainted = || place("1", "1").taint("gpu", "", "NoSchedule");
    let changed =
        |old: NodeBuilder, new: NodeBuilder| nodes(Action::UPDATE_NODE_LABEL, Some(old), Some(new));
    for (waiting, what, expected) in [
        (&waiting, came(place("1", "1")), true),
        (&waiting, came(half()), false),
        (&waiting, nodes(Action::DELETE, Some(place("1", "1")), None), true),
        (&waiting, nodes(Action::DELETE, Some(half()), None), false),
        (&waiting, changed(place("1", "1"), place("1", "2")), true),
        (&waiting, changed(half(), place("1", "1")), true),
        (&waiting, changed(place("1", "1"), half()), true),
        (&waiting, changed(place("1", "1"), place("1", "1").label("x", "y")), false),
        (&waiting, changed(half(), half().label("x", "y")), false),
        (&waiting, nodes(Action::UPDATE_NODE_TAINT, Some(tainted()), Some(place("1", "1"))), false),
        (
            &minds_taints,
            nodes(Action::UPDATE_NODE_TAINT, Some(tainted()), Some(place("1", "1"))),
            true,
        ),
    ] {
        assert_eq!(helps("PodTopologySpread", waiting, &what), expected, "{what:?}");
    }
}

fn term(app: &str, tier: Option<&str>) -> Value {
    let mut labels = json!({"app": app});
    if let Some(tier) = tier {
        labels["tier"] = tier.into();
    }
    json!({"labelSelector": {"matchLabels": labels}, "topologyKey": "zone"})
}

#[test]
fn pods_help_affinity_that_are_meant_by_all_terms_as_they_were_not_before() {
    let near = pod("p").term("podAffinity", term("web", None)).term(
        "podAffinity",
        json!({
        "labelSelector": {"matchLabels": {"tier": "front"}}, "topologyKey": "zone"}),
    );
    let like_itself = near.clone().label("app", "web").label("tier", "front");
    let far = pod("p").term("podAntiAffinity", term("web", None));
    let web = || pod("r").label("app", "web").on("a");
    let front = || web().label("tier", "front");
    let shy = || pod("r").on("a").term("podAntiAffinity", term("web", None));
    for (waiting, what, expected) in [
        (&near, arrived(front()), true),
        (&near, arrived(web()), false),
        (&near, arrived(front().namespace("elsewhere")), false),
        (&near, relabeled(web(), front()), true),
        (&near, relabeled(front(), front().label("x", "y")), false),
        (&near, left(front()), false),
        // The last of its kind may be the first again.
        (&like_itself, left(front()), true),
        (&like_itself, left(web()), false),
        (&like_itself, relabeled(front(), web()), true),
        (&far, left(web()), true),
        (&far, left(pod("r").label("app", "db").on("a")), false),
        (&far, relabeled(web(), pod("r").on("a")), true),
        (&far, relabeled(web(), front()), false),
        (&far, arrived(web()), false),
        // It wanted to be alone.
        (&like_itself, left(shy()), true),
        (&pod("p").label("app", "web"), left(shy()), true),
        (&pod("p").label("app", "db"), left(shy()), false),
        (&pod("p").label("app", "web"), relabeled(shy(), shy().label("x", "y")), false),
    ] {
        assert_eq!(helps("InterPodAffinity", waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn terms_by_labels_of_namespaces_may_mean_pods_of_any() {
    let mut by_label = term("web", None);
    by_label["namespaceSelector"] = json!({"matchLabels": {"team": "a"}});
    let near = pod("p").term("podAffinity", by_label);
    let elsewhere = |app: &str| pod("r").namespace("elsewhere").label("app", app).on("a");
    assert!(helps("InterPodAffinity", &near, &arrived(elsewhere("web"))));
    assert!(!helps("InterPodAffinity", &near, &arrived(elsewhere("db"))));
}

#[test]
fn nodes_help_affinity_that_are_in_other_places_than_before() {
    let near = pod("p").term("podAffinity", term("web", None));
    let far = pod("p").term("podAntiAffinity", term("web", None));
    let zone = |zone: &str| node("a").label("zone", zone);
    let changed =
        |old: NodeBuilder, new: NodeBuilder| nodes(Action::UPDATE_NODE_LABEL, Some(old), Some(new));
    for (waiting, what, expected) in [
        (&near, came(zone("1")), true),
        (&near, came(node("a")), false),
        (&near, changed(node("a"), zone("1")), true),
        (&near, changed(zone("2"), zone("1")), true),
        (&near, changed(zone("1"), zone("1").label("x", "y")), false),
        (&far, came(node("a")), true),
        (&far, changed(zone("2"), zone("1")), true),
        (&far, changed(zone("1"), node("a")), true),
        // Pods that are there already cannot be nearer by it, or farther.
        (&far, changed(zone("1"), zone("1").label("x", "y")), false),
        (&far, nodes(Action::DELETE, Some(zone("1")), None), true),
    ] {
        assert_eq!(helps("InterPodAffinity", waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn a_pod_that_changes_itself_helps_itself_where_it_was_turned_away() {
    let itself = |action: Action, new: &PodBuilder| Happening {
        event: ClusterEvent::new(EventResource::UnscheduledPod, action),
        old: Some(EventObject::Pod(Arc::new(pod("p").info()))),
        new: Some(EventObject::Pod(Arc::new(new.clone().info()))),
    };
    let excused = pod("p")
        .toleration(json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}));
    let other = pod("p").toleration(json!({"key": "gpu", "operator": "Exists"}));
    let tolerates = Action::UPDATE_POD_TOLERATIONS;
    for (plugin, now, action, expected) in [
        ("NodeUnschedulable", &excused, tolerates, true),
        ("NodeUnschedulable", &other, tolerates, false),
        ("TaintToleration", &other, tolerates, true),
        ("NodeResourcesFit", &other, tolerates, false),
        ("NodeResourcesFit", &other, Action::UPDATE_POD_SCALE_DOWN, true),
        ("PodTopologySpread", &other, Action::UPDATE_POD_LABEL, true),
        ("InterPodAffinity", &other, Action::UPDATE_POD_LABEL, true),
        ("NodePorts", &other, Action::UPDATE_POD_LABEL, false),
        ("SchedulingGates", &other, Action::UPDATE_POD_GATES_ELIMINATED, true),
        ("SchedulingGates", &other, Action::UPDATE_POD_LABEL, false),
    ] {
        assert_eq!(helps(plugin, now, &itself(action, now)), expected, "{plugin} {action:?}");
    }
}
