//! Seeded nodes and pods.

use kcore::random::Random;
use serde_json::{Value, json};

use super::{NodeBuilder, PodBuilder, node, pod};

const HOSTNAME: &str = "kubernetes.io/hostname";
/// How many names drawn nodes have: `n0` and so on.
pub const DRAWN_NODES: u64 = 7;

fn pick<'a>(random: &Random, from: &[&'a str]) -> &'a str {
    // A draw below the length is an index.
    from[usize::try_from(random.below(from.len() as u64)).unwrap_or_default()]
}

/// Draws a node: one of [`DRAWN_NODES`] names, with some room, labels, taints and images.
#[must_use]
pub fn draw_node(random: &Random) -> NodeBuilder {
    let mut node = node(&format!("n{}", random.below(DRAWN_NODES)))
        .cpu(pick(random, &["2", "4", "4", "8"]))
        .memory(pick(random, &["4Gi", "8Gi"]))
        .resource("pods", pick(random, &["4", "20"]))
        .resource("example.com/gpu", pick(random, &["0", "2"]));
    if random.chance(0.8) {
        node = node.label("zone", pick(random, &["1", "2", "3"]));
    }
    if random.chance(0.5) {
        node = node.label("disk", pick(random, &["ssd", "hdd"]));
    }
    for (key, chance) in [("gpu", 0.15), ("old", 0.2)] {
        if random.chance(chance) {
            let effect = pick(random, &["NoSchedule", "NoExecute", "PreferNoSchedule"]);
            node = node.taint(key, pick(random, &["", "yes"]), effect);
        }
    }
    if random.chance(0.1) {
        node = node.cordoned();
    }
    for (image, bytes) in [("web:latest", 400), ("db:latest", 1500)] {
        if random.chance(0.4) {
            node = node.image(image, bytes * 1024 * 1024);
        }
    }
    node
}

/// Draws a pod that asks for some of everything there is to ask for.
#[must_use]
pub fn draw_pod(random: &Random) -> PodBuilder {
    let mut pod = pod("p").namespace(pick(random, &["a", "b"]));
    if random.chance(0.8) {
        pod = pod.label("app", pick(random, &["web", "db"]));
    }
    if random.chance(0.5) {
        pod = pod.label("version", pick(random, &["1", "2"]));
    }
    if random.chance(0.7) {
        pod = pod.cpu(pick(random, &["100m", "500m", "1", "3"]));
    }
    if random.chance(0.7) {
        pod = pod.memory(pick(random, &["64Mi", "1Gi", "3Gi"]));
    }
    if random.chance(0.1) {
        pod = pod.request("example.com/gpu", "1");
    }
    if random.chance(0.2) {
        pod = pod.host_port(if random.chance(0.5) { 80 } else { 81 });
    }
    for key in ["gpu", "old", "node.kubernetes.io/unschedulable"] {
        if random.chance(0.3) {
            pod = pod.toleration(json!({"key": key, "operator": "Exists"}));
        }
    }
    if random.chance(0.2) {
        pod = pod.node_selector("zone", pick(random, &["1", "2"]));
    }
    pod = pod.image(pick(random, &["web", "db"]));
    pod = draw_node_affinity(random, pod);
    pod = draw_affinity(random, pod);
    draw_spread(random, pod)
}

fn draw_node_affinity(random: &Random, pod: PodBuilder) -> PodBuilder {
    let expression = |random: &Random| {
        let key = pick(random, &["zone", "disk"]);
        match random.below(4) {
            0 => json!({"key": key, "operator": "In", "values": ["1", "ssd"]}),
            1 => json!({"key": key, "operator": "NotIn", "values": ["2", "hdd"]}),
            2 => json!({"key": key, "operator": "Exists"}),
            _ => json!({"key": key, "operator": "DoesNotExist"}),
        }
    };
    let term = |random: &Random| json!({"matchExpressions": [expression(random)]});
    let mut affinity = json!({});
    if random.chance(0.2) {
        let terms = json!([term(random), term(random)]);
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms});
    }
    if random.chance(0.3) {
        let preferred =
            |random: &Random| json!({"weight": 1 + random.below(9), "preference": term(random)});
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([preferred(random), preferred(random)]);
    }
    if affinity == json!({}) {
        pod
    } else {
        pod.spec("affinity", json!({"nodeAffinity": affinity}))
    }
}

fn draw_term(random: &Random) -> Value {
    let mut term = json!({"topologyKey": pick(random, &["zone", HOSTNAME])});
    term["labelSelector"] = match random.below(3) {
        0 => json!({"matchLabels": {"app": "web"}}),
        1 => json!({"matchLabels": {"app": "db"}}),
        _ => json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
    };
    match random.below(5) {
        0 => term["namespaces"] = json!(["a", "b"]),
        1 => term["namespaceSelector"] = json!({"matchLabels": {"team": "x"}}),
        2 => term["namespaceSelector"] = json!({}),
        _ => {}
    }
    if random.chance(0.2) {
        term["matchLabelKeys"] = json!(["version"]);
    } else if random.chance(0.1) {
        term["mismatchLabelKeys"] = json!(["version"]);
    }
    term
}

fn draw_affinity(random: &Random, mut pod: PodBuilder) -> PodBuilder {
    for (kind, chance) in [("podAffinity", 0.15), ("podAntiAffinity", 0.2)] {
        while random.chance(chance) {
            pod = pod.term(kind, draw_term(random));
        }
        while random.chance(chance) {
            let weight = 1 + i64::try_from(random.below(20)).unwrap_or_default();
            pod = pod.preferred_term(kind, weight, draw_term(random));
        }
    }
    pod
}

fn draw_spread(random: &Random, mut pod: PodBuilder) -> PodBuilder {
    while random.chance(0.3) {
        let key = pick(random, &["zone", HOSTNAME, "disk"]);
        let hard = random.chance(0.5);
        let mut constraint = json!({"topologyKey": key, "maxSkew": 1 + random.below(3),
            "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
            "labelSelector": {"matchLabels": {"app": pick(random, &["web", "db"])}}});
        if hard && random.chance(0.3) {
            constraint["minDomains"] = json!(1 + random.below(3));
        }
        if random.chance(0.2) {
            constraint["matchLabelKeys"] = json!(["version"]);
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if random.chance(0.3) {
                constraint[field] = pick(random, &["Honor", "Ignore"]).into();
            }
        }
        pod = pod.spread(constraint);
    }
    pod
}
