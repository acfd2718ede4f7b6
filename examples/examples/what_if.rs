//! Where would these Pods go, and why not elsewhere? The scheduler's engine over a made-up cluster,
//! without an API server: `what_if --nodes 5000 --pods pods.yaml`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use ksched::scheduler::explain::Explanation;
use ksched::what_if::{Simulation, WhatIf};
use serde_json::json;
use tokio::time::Instant;

/// Nodes of the made-up cluster, unless an argument says otherwise.
const NODES: usize = 5_000;
/// Rows of an explanation that are printed.
const ROWS: usize = 5;
/// Pods to ask about, unless an argument names a file.
const PODS: &str = "
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: c, image: nginx, resources: {requests: {cpu: 500m, memory: 1Gi}}}]
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: kubernetes.io/hostname
          labelSelector: {matchLabels: {app: web}}
---
metadata: {name: train}
spec:
  containers: [{name: c, image: train, resources: {requests: {cpu: '2', nvidia.com/gpu: '4'}}}]
---
metadata: {name: huge}
spec:
  containers: [{name: c, image: huge, resources: {requests: {cpu: '64'}}}]
";

/// What the program is asked to do.
struct Arguments {
    nodes: usize,
    pods: String,
}

fn arguments(mut all: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let mut found = Arguments { nodes: NODES, pods: PODS.to_owned() };
    while let Some(name) = all.next() {
        let value = all.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--nodes" => found.nodes = value.parse().context("--nodes needs a number")?,
            "--pods" => {
                found.pods = std::fs::read_to_string(&value)
                    .with_context(|| format!("{value} cannot be read"))?;
            }
            _ => bail!("{name} is unknown: there are --nodes and --pods"),
        }
    }
    Ok(found)
}

/// The Pods of a file with one document each.
fn read(text: &str) -> anyhow::Result<Vec<Pod>> {
    let documents = text.split("\n---").map(str::trim).filter(|text| !text.is_empty());
    documents.map(|text| Ok(serde_saphyr::from_str(text)?)).collect()
}

/// Nodes in three zones; every tenth has GPUs, and keeps those off that do not tolerate it.
fn node(at: usize) -> serde_json::Result<Node> {
    let mut allocatable = json!({"cpu": "16", "memory": "64Gi", "pods": "110"});
    let mut taints = json!([]);
    if at.is_multiple_of(10) {
        allocatable["nvidia.com/gpu"] = "8".into();
    } else if at % 10 == 1 {
        taints = json!([{"key": "maintenance", "effect": "NoSchedule"}]);
    }
    let name = format!("node-{at}");
    let zone = format!("zone-{}", at % 3);
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "spec": {"taints": taints}, "status": {"allocatable": allocatable}}))
}

fn cluster(nodes: usize) -> anyhow::Result<Simulation> {
    let mut what_if = WhatIf::new();
    for at in 0..nodes {
        what_if = what_if.node(node(at)?);
    }
    Ok(what_if.build()?)
}

/// The best nodes plugin by plugin, and how many nodes were turned away for which reason.
fn table(explanation: &Explanation) -> String {
    let mut text = String::new();
    let ranked = explanation.ranked();
    for node in ranked.iter().filter(|node| node.rejected.is_none()).take(ROWS) {
        let scores = node.scores.iter();
        let scores =
            scores.map(|score| format!("{} {}x{}", score.plugin, score.score, score.weight));
        let scores: Vec<String> = scores.collect();
        let total = node.total().unwrap_or_default();
        text.push_str(&format!("  {:12} {total:>5}  {}\n", node.node, scores.join(", ")));
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (plugin, status) in ranked.iter().filter_map(|node| node.rejected.as_ref()) {
        *reasons.entry(format!("{plugin}: {status}")).or_default() += 1;
    }
    for (reason, count) in reasons {
        text.push_str(&format!("  {count:>12}     - {reason}\n"));
    }
    text
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments(std::env::args().skip(1))?;
    let mut cluster = cluster(arguments.nodes)?;
    for pod in read(&arguments.pods)? {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let explanation =
            cluster.explain(pod.clone()).map_err(|status| anyhow::anyhow!("{status}"))?;
        let began = Instant::now();
        let answer = cluster.place(pod);
        let took = began.elapsed();
        match &answer.node {
            Some(node) => {
                println!("{name} -> {node}, one of {} that could ({took:.0?})", answer.feasible);
            }
            None => println!("{name} -> nowhere: {}", answer.message),
        }
        print!("{}", table(&explanation));
    }
    println!("what_if: ok");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_pods_go_where_they_fit() {
        let mut cluster = cluster(20).unwrap();
        let pods = read(PODS).unwrap();
        let answers: Vec<_> = pods.iter().map(|pod| cluster.place(pod.clone())).collect();
        assert!(answers[0].node.is_some());
        assert!(["node-0", "node-10"].contains(&answers[1].node.as_deref().unwrap()));
        assert!(answers[2].message.starts_with("0/20 nodes are available: 18 Insufficient cpu"));
        // The second replica keeps away from the first.
        let replica = cluster.explain(pods[0].clone()).unwrap();
        let apart = "node(s) didn't match pod anti-affinity rules";
        assert!(table(&replica).contains(apart), "{}", table(&replica));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let message = |all: &[&str]| {
            let all = all.iter().map(|text| (*text).to_owned());
            arguments(all).err().unwrap().to_string()
        };
        assert_eq!(message(&["--nodes"]), "--nodes needs a value");
        assert_eq!(message(&["--nope", "1"]), "--nope is unknown: there are --nodes and --pods");
    }
}
