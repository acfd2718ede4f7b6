//! The whole cluster in one process, and a tour of it: `quickstart [--once]`.
//!
//! This is the canonical distribution: every other example swaps one part of it. No root, nothing
//! installed; pods are processes of this machine, and what they run is this program again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use kapi::auth::Identity;
use kapi::serve::{ClusterCa, Listener, kubeconfig};
use kapi::{ApiServer, ServerOptions};
use kcontrol::Controllers;
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::component::{Distribution, Running};
use knet::{ServiceRouter, UserspaceProgrammer};
use knode::process::ProcessRuntime;
use knode::{AgentOptions, NodeAgent};
use ksched::Scheduler;
use kstore::JournalStore;
use kubrick_examples::program::{asked_to_stop, process_runtime, start};
use kubrick_examples::tour::Tour;
use tokio::time::Instant;

/// Where Services and pods get their addresses from: loopback ranges, which need no root.
const SERVICE_CIDR: &str = "127.81.0.0/16";
const POD_CIDR: &str = "127.65.0.0/16";
const NODE: &str = "quickstart";

fn main() -> ExitCode {
    start("quickstart", run)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let began = Instant::now();
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(other) => bail!("{other} is not known; usage: quickstart [--once]"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let directory = tempfile::Builder::new().prefix("kubrick-").tempdir()?;
    let runtime = process_runtime(&directory.path().join("runtime"), POD_CIDR)?;
    let (admin, running) = cluster(directory.path(), &runtime).await?;
    let toured = kcore::select! {
        toured = async { Tour::new(admin).since(began).take().await } => toured,
        () = asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    if toured.is_ok() && !once {
        let path = directory.path().join("kubeconfig");
        println!("the cluster stays up until Ctrl-C; to use it:");
        println!("  kubectl --kubeconfig {} get all -A", path.display());
        asked_to_stop().await;
    }
    let stopped = running.stop().await;
    // What still runs would go on without its agent, for a successor to adopt.
    runtime.shutdown(std::time::Duration::from_secs(10)).await?;
    toured?;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    println!("quickstart: ok");
    Ok(())
}

/// Assembles the cluster and starts it; the administrator's client is its front door.
async fn cluster(
    directory: &Path,
    runtime: &ProcessRuntime,
) -> anyhow::Result<(DynClient, Running)> {
    let now = Clock::system().now();
    let ca = ClusterCa::open(&directory.join("pki"), now)?;
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let certificate = ca.server("kube-apiserver", &["localhost", "kubernetes"], &[here], now)?;
    let listener = Listener::bind(SocketAddr::new(here, 0), &ca, &certificate).await?;
    let admin = ca.client("kubernetes-admin", &["system:masters"], now)?;
    let url = format!("https://{}", listener.address());
    kubeconfig(&directory.join("kubeconfig"), &url, &ca, "kubernetes-admin", &admin)?;

    let options = ServerOptions::default()
        .service_cidr(SERVICE_CIDR.parse()?)
        .loopback_pod_cidr(POD_CIDR.parse()?);
    let store = JournalStore::open(directory.join("store"))?;
    let api = ApiServer::with(store, options);
    api.advertise(listener.address()).await?;
    let client = |identity: Identity| -> DynClient { Arc::new(api.client(identity)) };
    let component = |name: &str| client(Identity::component(name));
    let controllers =
        Controllers::stock(component("controller-manager")).root_ca(ca.certificate_pem());
    let agent = AgentOptions::default().name(NODE).data_dir(directory.join("node"));
    let running = Distribution::new()
        .with(api.listen(listener))
        .with(controllers)
        .with(Scheduler::new(component("scheduler")))
        .with(NodeAgent::new(client(Identity::node(NODE)), runtime.clone(), agent))
        .with(ServiceRouter::new(component("proxy"), UserspaceProgrammer::new()).node(NODE))
        .start();
    Ok((client(Identity::admin()), running))
}
