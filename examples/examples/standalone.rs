//! A server to use with kubectl: `standalone --data-dir D --listen 127.0.0.1:16443`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use kapi::auth::Identity;
use kapi::serve::{ClusterCa, Listener, kubeconfig};
use kapi::{ApiServer, ServerOptions};
use kcontrol::Controllers;
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::component::Distribution;
use knet::{ServiceRouter, UserspaceProgrammer};
use ksched::Scheduler;
use kstore::MemoryStore;

/// Where Services get their addresses from.
const SERVICE_CIDR: &str = "127.80.0.0/16";

/// What the command line says.
struct Arguments {
    data_dir: PathBuf,
    listen: SocketAddr,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut this =
            Self { data_dir: "data".into(), listen: SocketAddr::from(([127, 0, 0, 1], 16443)) };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--data-dir" => this.data_dir = value()?.into(),
                "--listen" => {
                    let text = value()?;
                    this.listen = text.parse().with_context(|| {
                        format!("--listen {text}: not an address like 127.0.0.1:16443")
                    })?;
                }
                other => {
                    bail!("{other} is not known; usage: standalone [--data-dir D] [--listen A:P]")
                }
            }
        }
        Ok(this)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse()?;
    let now = Clock::system().now();
    let ca = ClusterCa::open(&arguments.data_dir.join("pki"), now)?;
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let address = arguments.listen.ip();
    let certificate = ca.server("kube-apiserver", &names, &[address], now)?;
    let listener = Listener::bind(arguments.listen, &ca, &certificate).await?;
    // Cluster addresses out of the loopback range need no root.
    let options = ServerOptions::default().service_cidr(SERVICE_CIDR.parse()?);
    let api = ApiServer::with(MemoryStore::new(), options);
    api.advertise(listener.address()).await?;
    let admin = ca.client("kubernetes-admin", &["system:masters"], now)?;
    let path = arguments.data_dir.join("kubeconfig");
    let url = format!("https://{}", listener.address());
    kubeconfig(&path, &url, &ca, "kubernetes-admin", &admin)?;
    println!("kubeconfig: {}", path.display());
    let client = |name: &str| -> DynClient { Arc::new(api.client(Identity::component(name))) };
    let shutdown = async {
        // Without a signal handler the default one ends the process.
        let _ = tokio::signal::ctrl_c().await;
    };
    let router = ServiceRouter::new(client("proxy"), UserspaceProgrammer::new())
        .node_ips([arguments.listen.ip()]);
    let stopped = Distribution::new()
        .with(api.listen(listener))
        .with(Controllers::stock(client("controller-manager")).root_ca(ca.certificate_pem()))
        .with(Scheduler::new(client("scheduler")))
        .with(router)
        .run(shutdown)
        .await;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}
