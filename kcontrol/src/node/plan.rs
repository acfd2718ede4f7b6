//! What a node's silence and its conditions mean, as plain functions.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How long a node may be silent.
pub const GRACE: Duration = Duration::from_secs(50);
/// How long a node may be silent that has never said anything.
pub const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// Nodes a second, in a zone, that get a NoExecute taint.
pub const EVICTION_RATE: f64 = 0.1;
/// The same in a large zone of which much is down.
pub const SECONDARY_RATE: f64 = 0.01;
/// The share of a zone's nodes that makes it unhealthy.
pub const UNHEALTHY_SHARE: f64 = 0.55;
/// A zone of at most so many nodes is small: when it is unhealthy, nothing is evicted.
pub const LARGE_ZONE: usize = 50;
/// The taint of nodes that say they are not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of nodes that say nothing.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// What pods on a node need not tolerate to stay.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// What pods on a node need to tolerate to stay.
pub const NO_EXECUTE: &str = "NoExecute";

/// The conditions that a silent node's agent would have kept up.
const KEPT_BY_AGENT: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Which condition means which NoSchedule taint.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The status of a node's Ready condition; empty if it never had one.
#[must_use]
pub fn ready(node: &Node) -> &str {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|one| one.type_ == "Ready");
    ready.map_or("", |one| one.status.as_str())
}

/// The conditions of a node that fell silent: all its agent keeps are unknown. `None` if that is
/// what they say already.
#[must_use]
pub fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let known = node.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = known.unwrap_or_default();
    let before = conditions.clone();
    for kind in KEPT_BY_AGENT {
        let Some(one) = conditions.iter_mut().find(|one| one.type_ == kind) else {
            conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            });
            continue;
        };
        if one.status != "Unknown" {
            "Unknown".clone_into(&mut one.status);
            one.reason = Some("NodeStatusUnknown".to_owned());
            one.message = Some("Kubelet stopped posting node status.".to_owned());
            one.last_transition_time = Some(Time(now));
        }
    }
    (conditions != before).then_some(conditions)
}

/// The NoSchedule taints that a node's conditions and its cordon call for.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-nodes-by-condition>
#[must_use]
pub fn condition_taints(node: &Node) -> Vec<&'static str> {
    let mut keys = Vec::new();
    match ready(node) {
        "True" | "" => {}
        "False" => keys.push(NOT_READY),
        _ => keys.push(UNREACHABLE),
    }
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    for (kind, key) in PRESSURES {
        let on = |one: &NodeCondition| one.type_ == kind && one.status == "True";
        if conditions.into_iter().flatten().any(on) {
            keys.push(key);
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        keys.push(UNSCHEDULABLE);
    }
    keys
}

/// The NoExecute taint that a node's readiness calls for.
#[must_use]
pub fn eviction_taint(node: &Node) -> Option<&'static str> {
    match ready(node) {
        "True" | "" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    }
}

/// Whether a NoExecute taint for silence or unreadiness is on the node, and which.
#[must_use]
pub fn evicting(node: &Node) -> Option<&str> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let found = taints.into_iter().flatten().find(|taint| {
        taint.effect == NO_EXECUTE && (taint.key == NOT_READY || taint.key == UNREACHABLE)
    });
    found.map(|taint| taint.key.as_str())
}

/// The taints a node should have; `None` if it has them. Those of others stay. `evict` is the
/// NoExecute taint it is to have; one that is already there in that role keeps its time.
#[must_use]
pub fn plan_taints(node: &Node, evict: Option<&str>, now: Timestamp) -> Option<Vec<Taint>> {
    let known = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = condition_taints(node);
    let ours = |taint: &Taint| match taint.effect.as_str() {
        NO_SCHEDULE => {
            let pressure = PRESSURES.iter().any(|(_, key)| *key == taint.key);
            pressure || [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
        }
        NO_EXECUTE => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    };
    let keep = |taint: &Taint| match taint.effect.as_str() {
        _ if !ours(taint) => true,
        NO_SCHEDULE => wanted.contains(&taint.key.as_str()),
        _ => evict == Some(taint.key.as_str()),
    };
    let mut taints: Vec<Taint> = known.iter().filter(|taint| keep(taint)).cloned().collect();
    let has = |taints: &[Taint], key: &str, effect: &str| {
        taints.iter().any(|taint| taint.key == key && taint.effect == effect)
    };
    let new = |key: &str, effect: &str| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        value: None,
        time_added: Some(Time(now)),
    };
    for key in wanted {
        if !has(&taints, key, NO_SCHEDULE) {
            taints.push(new(key, NO_SCHEDULE));
        }
    }
    if let Some(key) = evict.filter(|key| !has(&taints, key, NO_EXECUTE)) {
        taints.push(new(key, NO_EXECUTE));
    }
    (taints != known).then_some(taints)
}

/// How bad it is in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    /// Little is down.
    Normal,
    /// Much is down.
    Partial,
    /// No node is ready.
    Full,
}

/// How bad it is in a zone with so many nodes ready and so many not. It takes more than two
/// nodes that are not ready to call a zone unhealthy.
#[must_use]
pub fn disruption(ready: usize, not_ready: usize) -> Disruption {
    #[allow(clippy::cast_precision_loss, reason = "clusters have far fewer than 2^52 nodes")]
    let share = not_ready as f64 / (ready + not_ready).max(1) as f64;
    match (ready, not_ready) {
        (0, 1..) => Disruption::Full,
        (_, 3..) if share >= UNHEALTHY_SHARE => Disruption::Partial,
        _ => Disruption::Normal,
    }
}

/// Nodes a second that a zone may lose. When every zone is down it is more likely that we are
/// cut off ourselves, and none does.
#[must_use]
pub fn rate(state: Disruption, nodes: usize, all_down: bool) -> f64 {
    match state {
        _ if all_down => 0.0,
        Disruption::Partial if nodes <= LARGE_ZONE => 0.0,
        Disruption::Partial => SECONDARY_RATE,
        Disruption::Normal | Disruption::Full => EVICTION_RATE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(ready: &str, more: Value) -> Node {
        let mut node = json!({"metadata": {"name": "n"}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        for (key, value) in more.as_object().into_iter().flatten() {
            node["spec"][key] = value.clone();
        }
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn taints_follow_conditions_and_those_of_others_stay() {
        let now = Timestamp::UNIX_EPOCH;
        let keys = |taints: Option<Vec<Taint>>| -> Vec<String> {
            let text = |taint: Taint| format!("{}:{}", taint.key, taint.effect);
            taints.unwrap_or_default().into_iter().map(text).collect()
        };
        assert_eq!(plan_taints(&node("True", json!({})), None, now), None);
        let silent = node("Unknown", json!({"unschedulable": true}));
        assert_eq!(
            keys(plan_taints(&silent, Some(UNREACHABLE), now)),
            [
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unschedulable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute",
            ]
        );
        let back = node(
            "True",
            json!({"taints": [
            {"key": "gpu", "effect": "NoExecute"},
            {"key": UNREACHABLE, "effect": "NoSchedule"},
            {"key": UNREACHABLE, "effect": "NoExecute"}]}),
        );
        assert_eq!(keys(plan_taints(&back, None, now)), ["gpu:NoExecute"]);
    }

    #[test]
    fn rates_follow_how_much_of_a_zone_is_down_c12() {
        let check = |ready, not_ready, expect: f64| {
            let state = disruption(ready, not_ready);
            let found = rate(state, ready + not_ready, false);
            assert!((found - expect).abs() < 1e-9, "{ready} ready, {not_ready} not: {found}");
        };
        check(10, 0, EVICTION_RATE);
        check(1, 2, EVICTION_RATE);
        check(45, 55, SECONDARY_RATE);
        check(46, 54, EVICTION_RATE);
        check(20, 30, 0.0);
        check(0, 5, EVICTION_RATE);
        assert!(rate(Disruption::Full, 5, true).abs() < 1e-9, "C12: every zone is down");
    }

    #[test]
    fn a_silent_node_is_unknown_once() {
        let mut node = node("True", json!({}));
        let said = silenced(&node, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(said.len(), KEPT_BY_AGENT.len());
        assert!(said.iter().all(|one| one.status == "Unknown"));
        assert_eq!(said[0].reason.as_deref(), Some("NodeStatusUnknown"));
        node.status.as_mut().unwrap().conditions = Some(said);
        assert_eq!(silenced(&node, Timestamp::UNIX_EPOCH), None);
    }
}
