//! Features that nodes declare, and pods cannot run without.

use std::sync::Arc;

use serde_json::{Value, json};

use super::hints::{came, helps, nodes};
use super::{placed, refused};
use crate::framework::{Action, ClusterEvent, EventObject, EventResource, Happening};
use crate::snapshot::Templates;
use crate::testing::{Cluster, PodBuilder, node, pod};

const NO_MATCH: &str = "1 node(s) didn't match Pod's required features";
const RESTART: &str = "RestartAllContainersOnContainerExits";
const USERS: &str = "UserNamespacesHostNetworkSupport";
const MOUNT: &str = "VolumeBindMountOptions";

fn restarting(action: &str) -> Value {
    json!([{"name": "main", "image": "image", "restartPolicyRules": [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}},
        {"action": action, "exitCodes": {"operator": "In", "values": [42]}}]}])
}

fn mounting(options: Value) -> Value {
    json!([{"name": "main", "image": "image", "volumeMounts": [
        {"name": "plain", "mountPath": "/plain"},
        {"name": "strict", "mountPath": "/strict", "bindMountOptions": options}]}])
}

fn with_users(network: Value, users: Value) -> PodBuilder {
    pod("p").spec("hostNetwork", network).spec("hostUsers", users)
}

#[test]
fn features_follow_from_what_the_spec_asks_for() {
    let with = |field: &str, value: Value| pod("p").spec(field, value);
    let none: &[&str] = &[];
    let both = with_users(true.into(), false.into());
    let all = both.clone().spec("containers", restarting("RestartAllContainers"));
    let all = all.spec("initContainers", mounting(json!(["noexec"])));
    for (pod, expected) in [
        (pod("p"), none),
        (with("containers", restarting("RestartAllContainers")), &[RESTART]),
        (with("initContainers", restarting("RestartAllContainers")), &[RESTART]),
        // Ephemeral containers have no rules that count.
        (with("ephemeralContainers", restarting("RestartAllContainers")), none),
        (with("containers", restarting("Restart")), none),
        (both, &[USERS]),
        (with_users(true.into(), true.into()), none),
        (with_users(true.into(), Value::Null), none),
        (with_users(false.into(), false.into()), none),
        (with_users(Value::Null, false.into()), none),
        (with("containers", mounting(json!(["noexec"]))), &[MOUNT]),
        (with("initContainers", mounting(json!(["nosuid"]))), &[MOUNT]),
        (with("ephemeralContainers", mounting(json!(["nodev"]))), &[MOUNT]),
        (with("containers", mounting(json!([]))), none),
        (with("containers", mounting(Value::Null)), none),
        (all, &[RESTART, USERS, MOUNT]),
    ] {
        let found: Vec<_> = pod.clone().info().required_features().names().collect();
        assert_eq!(found, expected, "{pod:?}");
        assert_eq!(pod.info().required_features().is_empty(), expected.is_empty());
    }
}

#[test]
fn pods_run_where_every_feature_is_declared() {
    let both = || {
        let pod = with_users(true.into(), false.into());
        pod.spec("containers", restarting("RestartAllContainers"))
    };
    let declares = |name: &str, features: &[&str]| {
        features.iter().fold(node(name), |node, feature| node.feature(feature))
    };
    for features in [&[][..], &[RESTART], &[USERS], &[MOUNT, "Another", USERS]] {
        refused(&[declares("a", features)], both(), NO_MATCH);
        placed(&[declares("a", features)], pod("p"), "a");
        let declared = declares("b", &[MOUNT, RESTART, USERS]);
        placed(&[declares("a", features), declared], both(), "b");
    }
}

#[test]
fn making_room_declares_no_feature() {
    let cluster = Cluster::new([node("a").cpu("1")]).running(pod("r").cpu("1").on("a"));
    let important = |pod: PodBuilder| pod.cpu("1").priority(1000);
    let users = important(with_users(true.into(), false.into()));
    assert_eq!(cluster.nominate(important(pod("p"))), Ok("a".to_owned()));
    assert!(cluster.nominate(users).is_err());
}

#[test]
fn pods_that_require_other_features_are_of_other_shapes() {
    let mut templates = Templates::default();
    let mut signature = |pod: PodBuilder| templates.read(pod.build()).template().signature();
    let restarts = |action: &str| pod("p").spec("containers", restarting(action));
    let own_users = |own: bool| with_users(true.into(), (!own).into());
    let mounts = |options: Value| pod("p").spec("containers", mounting(options));
    assert_ne!(signature(restarts("RestartAllContainers")), signature(restarts("Restart")));
    assert_ne!(signature(own_users(true)), signature(own_users(false)));
    assert_ne!(signature(mounts(json!(["noexec"]))), signature(mounts(json!([]))));
    // Which options it mounts with makes no difference to where it runs.
    assert_eq!(signature(mounts(json!(["noexec"]))), signature(mounts(json!(["nodev"]))));
}

#[test]
fn nodes_help_that_declare_all_that_was_missing() {
    let users = with_users(true.into(), false.into());
    let two = users.clone().spec("containers", restarting("RestartAllContainers"));
    let declares =
        |features: &[&str]| features.iter().fold(node("a"), |node, feature| node.feature(feature));
    let changed = |old: &[&str], new: &[&str]| {
        let action = Action::UPDATE_NODE_DECLARED_FEATURE;
        nodes(action, Some(declares(old)), Some(declares(new)))
    };
    for (waiting, what, expected) in [
        (&users, came(declares(&[USERS])), true),
        (&users, came(declares(&[RESTART])), false),
        (&users, changed(&[], &[USERS]), true),
        (&users, changed(&[RESTART], &[MOUNT]), false),
        (&users, changed(&[USERS], &[MOUNT, USERS]), false),
        (&users, changed(&[USERS], &[]), false),
        (&two, changed(&[], &[USERS]), false),
        (&two, changed(&[USERS], &[RESTART, USERS]), true),
        (&two, came(declares(&[RESTART, USERS])), true),
        (&users, nodes(Action::UPDATE_NODE_LABEL, None, Some(declares(&[USERS]))), false),
    ] {
        assert_eq!(helps("NodeDeclaredFeatures", waiting, &what), expected, "{what:?}");
    }
}

#[test]
fn a_pod_that_requires_other_features_than_before_is_tried_again() {
    let plain = || pod("p").spec("ephemeralContainers", mounting(json!([])));
    let strict = || pod("p").spec("ephemeralContainers", mounting(json!(["noexec"])));
    let itself = |old: PodBuilder, new: PodBuilder, action: Action| {
        let what = Happening {
            event: ClusterEvent::new(EventResource::UnscheduledPod, action),
            old: Some(EventObject::Pod(Arc::new(old.info()))),
            new: Some(EventObject::Pod(Arc::new(new.clone().info()))),
        };
        helps("NodeDeclaredFeatures", &new, &what)
    };
    assert!(itself(plain(), strict(), Action::UPDATE_OTHER));
    assert!(itself(strict(), plain(), Action::UPDATE_OTHER));
    assert!(!itself(strict(), strict(), Action::UPDATE_POD_LABEL));
    assert!(!itself(plain(), strict(), Action::ADD));
}
