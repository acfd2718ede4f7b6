//! A `Runtime` from scratch under a real node agent: containers that are functions.
//!
//! `cargo test -p kubrick-examples --example custom_runtime` runs the seam's whole suite against
//! [`FunctionRuntime`]; run as a program a pod of it is created, runs and is deleted.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DeleteOptions, DynClient};
use kcore::clock::Clock;
use kcore::component::Distribution;
use knode::{AgentOptions, NodeAgent};
use kstore::MemoryStore;
use kubrick_examples::function_runtime::{Call, Function, FunctionRuntime};
use serde_json::json;

/// Greets, goes on until it is asked to end, and says goodbye.
async fn greeter(mut call: Call) -> i32 {
    let name = call.env.get("NAME").cloned().unwrap_or_default();
    call.print(&format!("hello, {name}"));
    call.asked_to_end().await;
    call.print(&format!("goodbye, {name}"));
    0
}

/// Waits for what the pod's status says, or for the pod to be gone.
async fn wait(pods: &Api<Pod>, phase: Option<&str>) -> anyhow::Result<()> {
    let reached = async {
        loop {
            let pod = pods.get_opt("greeter").await?;
            let now = pod.as_ref().and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            if now == phase && pod.is_some() == phase.is_some() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await?
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("kubrick-").tempdir()?;
    let api = ApiServer::new(MemoryStore::new());
    let client = |identity: Identity| -> DynClient { Arc::new(api.client(identity)) };
    let runtime = FunctionRuntime::new(Clock::system(), [("greeter:1", Function::new(greeter))]);
    let options =
        AgentOptions::default().name("node-1").data_dir(Some(directory.path().join("node")));
    let agent = NodeAgent::new(client(Identity::node("node-1")), runtime, options);
    let running = Distribution::new().with(agent).start();

    let pods: Api<Pod> = Api::namespaced(client(Identity::admin()), "default");
    let env = json!([{"name": "NAME", "value": "world"}]);
    let containers = json!([{"name": "main", "image": "greeter:1", "env": env}]);
    let spec = json!({"nodeName": "node-1", "containers": containers});
    let pod = json!({"metadata": {"name": "greeter"}, "spec": spec});
    pods.create(serde_json::from_value(pod)?).await?;
    wait(&pods, Some("Running")).await?;
    println!("the pod runs");
    pods.delete("greeter", &DeleteOptions::default()).await?;
    wait(&pods, None).await?;
    println!("the pod is gone");
    anyhow::ensure!(running.stop().await.is_clean());
    println!("custom_runtime: ok");
    Ok(())
}

#[cfg(test)]
mod tests;
