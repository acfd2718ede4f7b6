//! Where PodTopologySpread and InterPodAffinity let pods go.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kcore::clock::Clock;
use kcore::informer::Informers;
use kcore::object::Object;
use kcore::random::Random;
use serde_json::{Value, json};

use super::{place_in, scores};
use crate::framework::{
    Args, CycleState, Feasible, Handle, PreFilterPlugin, PreScorePlugin, Profile, Status,
};
use crate::offline::NoServer;
use crate::plugins::PodTopologySpread;
use crate::snapshot::{NodeInfo, Snapshot};
use crate::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

#[test]
fn what_selects_a_pod_is_looked_up_once_in_its_cycle() {
    let service = || {
        let json = json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}}});
        Object::from_typed(serde_json::from_value::<Service>(json).unwrap()).unwrap()
    };
    let snapshot = Snapshot::new(vec![NodeInfo::new(node("a").build())]);
    // One that is picked by a Service, one that a ReplicaSet nobody knows yet will pick, and one
    // that nothing picks.
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1",
        "controller": true}]);
    let owned = pod("p").label("app", "web").metadata("ownerReferences", owner);
    for (pod, before, after) in [
        (pod("p").label("app", "web"), true, Status::success()),
        (pod("p").label("app", "web"), false, Status::skip()),
        (owned, false, Status::skip()),
        (pod("p"), true, Status::skip()),
    ] {
        let informers = Informers::new(Arc::new(NoServer), Random::seeded(0));
        let handle = Handle::new("default", Arc::new(NoServer), Clock::system(), Random::seeded(0))
            .with_informers(informers.clone());
        let plugin = PodTopologySpread::new(&Args::default(), &handle).unwrap();
        let services = informers.of::<Service>();
        let (mut state, pod) = (CycleState::default(), pod.info());
        if before {
            services.objects().indexer().put(service());
        }
        assert_eq!(plugin.pre_filter(&mut state, &pod, &snapshot).status, Status::skip());
        // Nobody hears of it, so that only another look would find it.
        services.objects().indexer().put(service());
        let list = || vec![0];
        let found = plugin.pre_score(&mut state, &pod, &snapshot, &Feasible::new(1, &list));
        assert_eq!(found, after, "{:?}", pod.pod());
    }
}

const SPREAD: &str = "PodTopologySpread";
const AFFINITY: &str = "InterPodAffinity";
const UNEVEN: &str = "1 node(s) didn't match pod topology spread constraints";

fn in_zone(name: &str, zone: &str) -> NodeBuilder {
    node(name).label("zone", zone)
}

/// A constraint of one pod more at most in any zone, with other fields.
fn spread(fields: Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}});
    for (name, value) in fields.as_object().unwrap() {
        constraint[name] = value.clone();
    }
    constraint
}

fn web(name: &str, on: &str) -> PodBuilder {
    pod(name).uid(name).label("app", "web").on(on)
}

fn spreading(fields: Value) -> PodBuilder {
    pod("p").label("app", "web").spread(spread(fields))
}

/// The nodes on which a pod may be.
fn allowed(cluster: &Cluster, pod: PodBuilder) -> Vec<String> {
    let explained = cluster.explain(pod).unwrap();
    let fine = explained.nodes.into_iter().filter(|node| node.rejected.is_none());
    fine.map(|node| node.node.to_string()).collect()
}

#[test]
fn fewer_places_than_asked_for_count_as_empty_ones() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")])
        .running(web("r", "a"))
        .running(web("s", "b"));
    for (least, expected) in [(None, 2), (Some(1), 2), (Some(2), 2), (Some(3), 0)] {
        let fields = least.map_or(json!({}), |least: i32| json!({"minDomains": least}));
        assert_eq!(allowed(&cluster, spreading(fields)).len(), expected, "{least:?}");
    }
    let full = place_in(&cluster, spreading(json!({"minDomains": 3}))).unwrap_err();
    assert_eq!(
        full,
        "0/2 nodes are available: 2 node(s) didn't match pod topology spread \
                      constraints."
    );
}

#[test]
fn policies_say_which_nodes_are_counted() {
    // The empty zone is one where the pod cannot be: whether it counts decides about the others.
    let cluster = |empty: NodeBuilder| {
        Cluster::new([in_zone("a", "1").label("disk", "ssd"), empty]).running(web("r", "a"))
    };
    let other_disk = || cluster(in_zone("b", "2").label("disk", "hdd"));
    let picky = |fields: Value| spreading(fields).node_selector("disk", "ssd");
    for (policy, expected) in [(None, true), (Some("Honor"), true), (Some("Ignore"), false)] {
        let fields = json!({"nodeAffinityPolicy": policy});
        assert_eq!(place_in(&other_disk(), picky(fields)).is_ok(), expected, "{policy:?}");
    }
    let tainted = || cluster(in_zone("b", "2").taint("gpu", "", "NoSchedule"));
    for (policy, expected) in [(None, false), (Some("Ignore"), false), (Some("Honor"), true)] {
        let fields = json!({"nodeTaintsPolicy": policy});
        assert_eq!(place_in(&tainted(), spreading(fields)).is_ok(), expected, "{policy:?}");
    }
}

#[test]
fn only_pods_with_the_same_values_of_given_labels_are_counted() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")])
        .running(web("r", "a").label("version", "1"))
        .running(web("s", "b").label("version", "2"));
    let with = |version: &str| {
        spreading(json!({"matchLabelKeys": ["version", "missing"]})).label("version", version)
    };
    assert_eq!(allowed(&cluster, with("1")), ["b"]);
    assert_eq!(allowed(&cluster, with("2")), ["a"]);
    assert_eq!(allowed(&cluster, with("3")), ["a", "b"]);
    assert_eq!(allowed(&cluster, spreading(json!({}))), ["a", "b"]);
}

#[test]
fn pods_that_leave_or_are_elsewhere_are_not_counted() {
    let leaving = web("r", "a").metadata("deletionTimestamp", "2026-01-02T03:04:05Z".into());
    for (other, expected) in [
        (web("r", "a"), vec!["b"]),
        (leaving, vec!["a", "b"]),
        (web("r", "a").namespace("elsewhere"), vec!["a", "b"]),
        (pod("r").label("app", "db").on("a"), vec!["a", "b"]),
    ] {
        let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")]).running(other.clone());
        assert_eq!(allowed(&cluster, spreading(json!({}))), expected, "{other:?}");
    }
    // No selector selects nobody, an empty one everybody.
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")])
        .running(pod("r").on("a"))
        .running(pod("s").on("a"));
    assert_eq!(allowed(&cluster, spreading(json!({"labelSelector": null}))), ["a", "b"]);
    assert_eq!(allowed(&cluster, spreading(json!({"labelSelector": {}}))), ["b"]);
}

#[test]
fn nodes_without_a_label_are_no_place() {
    let cluster = Cluster::new([in_zone("a", "1"), node("b")]);
    let message = place_in(
        &cluster,
        spreading(json!({"labelSelector": {}})).node_selector("kubernetes.io/hostname", "b"),
    );
    let expected = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                    1 node(s) didn't match pod topology spread constraints (missing required \
                    label).";
    assert_eq!(message, Err(expected.to_owned()));
}

#[test]
fn the_allowed_skew_is_between_the_fullest_and_the_emptiest() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")])
        .running(web("r", "a"))
        .running(web("s", "a"));
    for (skew, expected) in [(1, vec!["b"]), (2, vec!["b"]), (3, vec!["a", "b"])] {
        assert_eq!(allowed(&cluster, spreading(json!({"maxSkew": skew}))), expected, "{skew}");
    }
    // A pod that is not one of them itself adds nothing.
    let stranger = pod("p").label("app", "db").spread(spread(json!({"maxSkew": 2})));
    assert_eq!(allowed(&cluster, stranger), ["a", "b"]);
    let full = Cluster::new([in_zone("a", "1")]).running(web("r", "a"));
    assert_eq!(place_in(&full, spreading(json!({}))), Ok("a".to_owned()), "one place is even");
    let uneven = place_in(&cluster, spreading(json!({})).on("a")).unwrap_err();
    assert!(uneven.contains(UNEVEN), "{uneven}");
}

#[test]
fn default_constraints_are_for_pods_without_their_own_that_something_selects() {
    let service = json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}}});
    let replica_set = json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"tier": "front"}}}});
    let hard = json!({"defaultingType": "List", "defaultConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]});
    let none = json!({"defaultingType": "List", "defaultConstraints": []});
    let cluster = |args: &Value| {
        let profile = match args {
            Value::Null => Profile::default(),
            args => Profile::default().args(SPREAD, args.clone()),
        };
        let zone =
            |name: &str, zone: &str| in_zone(name, zone).label("topology.kubernetes.io/zone", zone);
        Cluster::new([zone("a", "1"), zone("b", "2")])
            .running(web("r", "a").label("tier", "front"))
            .json::<Service>(service.clone())
            .json::<ReplicaSet>(replica_set.clone())
            .profile(profile)
    };
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1",
        "controller": true}]);
    let (selected, strange) = (pod("p").label("app", "web"), pod("p").label("app", "db"));
    let owned = pod("p").label("tier", "front").metadata("ownerReferences", owner);
    let loose = strange.clone().spread(spread(json!({"topologyKey": "other",
        "whenUnsatisfiable": "ScheduleAnyway"})));
    for (pod, expected) in [
        (&selected, vec!["b"]),
        (&owned, vec!["b"]),
        (&strange, vec!["a", "b"]),
        // Its own take their place.
        (&loose.clone().label("app", "web"), vec!["a", "b"]),
    ] {
        assert_eq!(allowed(&cluster(&hard), pod.clone()), expected, "{pod:?}");
    }
    // Upstream's own are soft, and an empty list is none.
    let given = |args: &Value, pod: &PodBuilder| scores(&cluster(args), SPREAD, pod.clone());
    for args in [Value::Null, json!({"defaultingType": "System"})] {
        let found = given(&args, &selected);
        assert!(found[0] < found[1], "{args}: {found:?}");
        assert_eq!(given(&args, &strange), [None, None], "{args}");
    }
    assert_eq!(given(&none, &selected), [None, None]);
}

#[test]
fn defaults_that_are_wrong_are_refused() {
    let constraint = |fields: Value| {
        let mut constraint =
            json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        for (name, value) in fields.as_object().unwrap() {
            constraint[name] = value.clone();
        }
        constraint
    };
    let list = |fields: Value| {
        let constraints = [constraint(fields)];
        json!({"defaultingType": "List", "defaultConstraints": constraints})
    };
    for (args, expected) in [
        (json!({"defaultingType": "Own"}), "defaultingType: Unsupported value: \"Own\""),
        (json!({"defaultConstraints": [constraint(json!({}))]}), "must be empty"),
        (list(json!({"maxSkew": 0})), "defaultConstraints[0].maxSkew: Invalid value: 0"),
        (list(json!({"topologyKey": ""})), "topologyKey: Required value: can not be empty"),
        (list(json!({"whenUnsatisfiable": "Never"})), "Unsupported value: \"Never\""),
        (list(json!({"labelSelector": {}})), "constraint must not define a selector"),
    ] {
        let profile = Profile::default().args(SPREAD, args.clone());
        let error = Cluster::new([]).profile(profile).framework().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(expected), "{args}: {error}");
    }
}

fn term(fields: Value) -> Value {
    let mut term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
    for (name, value) in fields.as_object().unwrap() {
        term[name] = value.clone();
    }
    term
}

#[test]
fn terms_mean_pods_of_the_namespaces_they_name() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2"), in_zone("c", "3")])
        .json::<Namespace>(json!({"metadata": {"name": "default", "labels": {"team": "x"}}}))
        .json::<Namespace>(json!({"metadata": {"name": "other", "labels": {"team": "y"}}}))
        .running(web("r", "a"))
        .running(web("s", "b").namespace("other"))
        .running(web("t", "c").namespace("third"));
    for (fields, expected) in [
        // Without either, the pod's own.
        (json!({}), vec!["a"]),
        (json!({"namespaceSelector": null}), vec!["a"]),
        (json!({"namespaces": []}), vec!["a"]),
        (json!({"namespaces": ["other"]}), vec!["b"]),
        (json!({"namespaces": ["other", "default"]}), vec!["a", "b"]),
        // An empty selector is every namespace, also one that nobody has told of.
        (json!({"namespaceSelector": {}}), vec!["a", "b", "c"]),
        (json!({"namespaceSelector": {"matchLabels": {"team": "y"}}}), vec!["b"]),
        (
            json!({"namespaceSelector": {"matchLabels": {"team": "y"}}, "namespaces": ["third"]}),
            vec!["b", "c"],
        ),
        (json!({"labelSelector": null, "namespaceSelector": {}}), vec![]),
        (json!({"labelSelector": {}, "namespaceSelector": {}}), vec!["a", "b", "c"]),
    ] {
        let near = pod("p").term("podAffinity", term(fields.clone()));
        assert_eq!(allowed(&cluster, near), expected, "{fields}");
        let far = pod("p").term("podAntiAffinity", term(fields.clone()));
        let others = ["a", "b", "c"].into_iter().filter(|node| !expected.contains(node));
        assert_eq!(allowed(&cluster, far), others.collect::<Vec<_>>(), "not {fields}");
    }
}

#[test]
fn terms_mean_pods_with_the_same_or_other_values_of_given_labels() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2"), in_zone("c", "3")])
        .running(web("r", "a").label("version", "1"))
        .running(web("s", "b").label("version", "2"))
        .running(web("t", "c"));
    for (fields, expected) in [
        (json!({"matchLabelKeys": ["version"]}), vec!["a"]),
        (json!({"mismatchLabelKeys": ["version"]}), vec!["b", "c"]),
        // A label that the pod lacks is no matter.
        (json!({"matchLabelKeys": ["missing"]}), vec!["a", "b", "c"]),
        (json!({"mismatchLabelKeys": ["missing"]}), vec!["a", "b", "c"]),
        // Without a selector there is nothing to narrow.
        (json!({"matchLabelKeys": ["version"], "labelSelector": null}), vec![]),
    ] {
        let near = pod("p").label("version", "1").term("podAffinity", term(fields.clone()));
        assert_eq!(allowed(&cluster, near), expected, "{fields}");
    }
}

#[test]
fn one_pod_has_to_meet_all_terms_and_the_first_of_its_kind_may_be_alone() {
    let nodes = || Cluster::new([in_zone("a", "1").label("rack", "1"), in_zone("b", "2")]);
    let both = |labels: &[(&str, &str)]| {
        let front = term(json!({"labelSelector": {"matchLabels": {"tier": "front"}}}));
        let pod = labels.iter().fold(pod("p"), |pod, (key, value)| pod.label(key, value));
        pod.term("podAffinity", term(json!({}))).term("podAffinity", front)
    };
    let apart = nodes().running(web("r", "a")).running(pod("s").label("tier", "front").on("a"));
    let none: [&str; 0] = [];
    assert_eq!(allowed(&apart, both(&[])), none);
    let one = nodes().running(web("r", "a").label("tier", "front"));
    assert_eq!(allowed(&one, both(&[])), ["a"]);
    assert_eq!(allowed(&nodes(), both(&[])), none);
    assert_eq!(allowed(&nodes(), both(&[("app", "web"), ("tier", "front")])), ["a", "b"]);
    assert_eq!(allowed(&nodes(), both(&[("app", "web")])), none);
    // Alone it may be, but in a place.
    let racked =
        pod("p").label("app", "web").term("podAffinity", term(json!({"topologyKey": "rack"})));
    assert_eq!(allowed(&nodes(), racked), ["a"]);
}

#[test]
fn running_pods_keep_others_away() {
    let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "1"), in_zone("c", "2")])
        .running(pod("r").on("a").term("podAntiAffinity", term(json!({}))));
    assert_eq!(allowed(&cluster, pod("p").label("app", "web")), ["c"]);
    assert_eq!(allowed(&cluster, pod("p").label("app", "db")), ["a", "b", "c"]);
    let elsewhere = pod("p").label("app", "web").namespace("elsewhere");
    assert_eq!(allowed(&cluster, elsewhere), ["a", "b", "c"]);
    let one = Cluster::new([in_zone("a", "1")])
        .running(pod("r").on("a").term("podAntiAffinity", term(json!({}))));
    let expected = "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity \
                    rules.";
    assert_eq!(place_in(&one, pod("p").label("app", "web")), Err(expected.to_owned()));
}

#[test]
fn what_running_pods_want_counts_as_the_profile_says() {
    let args = |args: Value| Profile::default().args(AFFINITY, args);
    let wishes = |profile: Profile| {
        let liking = pod("r").on("a").preferred_term("podAffinity", 10, term(json!({})));
        let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")]).profile(profile);
        scores(&cluster.running(liking), AFFINITY, pod("p").label("app", "web"))
    };
    let ignore = |ignore: bool| args(json!({"ignorePreferredTermsOfExistingPods": ignore}));
    assert_eq!(wishes(Profile::default()), [Some(100), Some(0)]);
    assert_eq!(wishes(ignore(false)), [Some(100), Some(0)]);
    assert_eq!(wishes(ignore(true)), [None, None]);
    // A pod with wishes of its own is scored by those alone.
    let own = |profile: Profile| {
        let liking = web("r", "a").preferred_term("podAffinity", 10, term(json!({})));
        let disliked = web("s", "b").preferred_term("podAffinity", 90, term(json!({})));
        let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")]).profile(profile);
        let picky = term(json!({"labelSelector": {"matchLabels": {"name": "r"}}}));
        let pod = pod("p").label("app", "web").preferred_term("podAffinity", 5, picky);
        scores(&cluster.running(liking.label("name", "r")).running(disliked), AFFINITY, pod)
    };
    assert_eq!(own(ignore(false)), [Some(0), Some(100)]);
    assert_eq!(own(ignore(true)), [Some(100), Some(0)]);
    // Hard affinity of pods that are there counts softly, by its own weight.
    let hard = |profile: Profile| {
        let needing = pod("r").on("a").term("podAffinity", term(json!({})));
        let liking = pod("s").on("b").preferred_term("podAffinity", 2, term(json!({})));
        let cluster = Cluster::new([in_zone("a", "1"), in_zone("b", "2")]).profile(profile);
        let cluster = cluster.running(needing).running(liking);
        scores(&cluster, AFFINITY, pod("p").label("app", "web"))
    };
    let weight = |weight: i64| args(json!({"hardPodAffinityWeight": weight}));
    assert_eq!(hard(Profile::default()), [Some(0), Some(100)], "one against two");
    assert_eq!(hard(weight(3)), [Some(100), Some(0)]);
    assert_eq!(hard(weight(0)), [Some(0), Some(100)]);
    for wrong in [-1, 101] {
        let error = Cluster::new([]).profile(weight(wrong)).framework().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("not in valid range [0-100]"), "{error}");
    }
}
