//! A thousand nodes in one process, on scripted containers: everything but the containers is real.
//!
//! `simulated_nodes [--nodes 1000] [--pods 10000]` scales a Deployment up and waits until all of
//! its pods run. The part it swaps is the runtime: [`FakeRuntime`] in place of processes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kapi::ApiServer;
use kapi::auth::Identity;
use kcontrol::Controllers;
use kcore::client::{Api, DynClient, ListOptions};
use kcore::component::Distribution;
use knode::fake::{FakeRuntime, Options};
use knode::{AgentOptions, NodeAgent};
use ksched::Scheduler;
use kstore::MemoryStore;
use serde_json::json;
use tokio::time::Instant;

/// Objects are made by one thread and dropped by another all the time: the allocator matters.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What the command line says.
struct Arguments {
    nodes: u32,
    pods: u32,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut this = Self { nodes: 1000, pods: 10_000 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            let number = || value.parse().with_context(|| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--nodes" => this.nodes = number()?,
                "--pods" => this.pods = number()?,
                other => {
                    bail!("{other} is not known; usage: simulated_nodes [--nodes N] [--pods N]")
                }
            }
        }
        Ok(this)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let Arguments { nodes, pods } = Arguments::parse()?;
    let api = ApiServer::new(MemoryStore::new());
    let client = |identity: Identity| -> DynClient { Arc::new(api.client(identity)) };
    let component = |name: &str| client(Identity::component(name));
    let mut cluster = Distribution::new()
        .with(Controllers::stock(component("controller-manager")))
        .with(Scheduler::new(component("scheduler")));
    for number in 0..nodes {
        cluster = cluster.with(agent(number, &client));
    }
    let admin = client(Identity::admin());
    let began = Instant::now();
    let running = cluster.start();
    let all: Api<Node> = Api::all(Arc::clone(&admin));
    wait_for("all nodes are Ready", async || {
        let list = all.list(&ListOptions::default()).await?;
        Ok(list.items.iter().filter(|node| is_ready(node)).count() == nodes as usize)
    })
    .await?;
    println!("{nodes} nodes Ready after {:.2} s", began.elapsed().as_secs_f64());

    let began = Instant::now();
    let deployments: Api<Deployment> = Api::namespaced(admin, "default");
    deployments.create(deployment(pods)?).await?;
    wait_for("all pods run", async || {
        let status = deployments.get("load").await?.status.clone().unwrap_or_default();
        Ok(status.available_replicas == i32::try_from(pods).ok())
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    println!("{pods} pods of one Deployment Running after {took:.2} s");
    let stopped = running.stop().await;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}

/// The agent of one node, whose pods have addresses of their own.
fn agent(number: u32, client: &dyn Fn(Identity) -> DynClient) -> NodeAgent {
    let name = format!("node-{number}");
    // 256 addresses for each node, beginning at 10.0.0.1.
    let first = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + (number << 8));
    let runtime = FakeRuntime::new(Options::default().first_address(first));
    let options = AgentOptions::default()
        .name(name.as_str())
        .capacity([("cpu", "32"), ("memory", "64Gi"), ("ephemeral-storage", "100Gi")])
        .prober(runtime.clone());
    NodeAgent::new(client(Identity::node(&name)), runtime, options)
}

fn deployment(pods: u32) -> anyhow::Result<Deployment> {
    let container = json!({"name": "main", "image": "load:1",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}});
    let template =
        json!({"metadata": {"labels": {"app": "load"}}, "spec": {"containers": [container]}});
    let spec = json!({"replicas": pods, "selector": {"matchLabels": {"app": "load"}},
        "template": template});
    Ok(serde_json::from_value(json!({"metadata": {"name": "load"}, "spec": spec}))?)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

async fn wait_for(what: &str, test: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !test().await? {
        anyhow::ensure!(Instant::now() < deadline, "this did not come true in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
