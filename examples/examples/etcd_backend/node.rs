//! The node: an agent and a router that see the cluster over HTTPS, whichever server answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kapi::serve::{Certificate, ClusterCa, kubeconfig};
use kcore::client::{DynClient, KubeClient};
use kcore::clock::Clock;
use kcore::component::Distribution;
use knet::{ServiceRouter, UserspaceProgrammer};
use knode::server::{Listener as NodeListener, ServerTls};
use knode::{AgentOptions, NodeAgent};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubrick_examples::program::{asked_to_stop, process_runtime};

use crate::flags::Flags;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NODE: &str = "worker";
/// How long processes have to end when the node does.
const STOP_GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let (directory, now) = (&flags.data_dir, Clock::system().now());
    let ca = ClusterCa::open(&directory.join("pki"), now)?;
    let url = format!("https://{}", flags.front()?);
    let agent = ca.node_client(NODE, now)?;
    let agent = client(&directory.join("node.kubeconfig"), &url, &ca, NODE, &agent).await?;
    let proxy = ca.client("system:kube-proxy", &[], now)?;
    let proxy =
        client(&directory.join("proxy.kubeconfig"), &url, &ca, "kube-proxy", &proxy).await?;
    let serving = ca.node_server(NODE, &[], &[HERE], now)?;
    let tls = ServerTls::new(&serving, Some(ca.certificate_pem()))?;
    let listener = NodeListener::bind(SocketAddr::new(HERE, 0), tls).await?;
    let runtime = process_runtime(&directory.join("runtime"), &flags.pod_cidr)?;
    let options = AgentOptions::default().name(NODE).data_dir(directory.join("node"));
    let stopped = Distribution::new()
        .with(NodeAgent::new(agent, runtime.clone(), options).listen(listener))
        .with(ServiceRouter::new(proxy, UserspaceProgrammer::new()).node(NODE))
        .run(asked_to_stop())
        .await;
    // What still runs would go on without its agent, for a successor to adopt.
    runtime.shutdown(STOP_GRACE).await?;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}

/// A client of the servers behind `url`.
async fn client(
    path: &Path,
    url: &str,
    ca: &ClusterCa,
    user: &str,
    certificate: &Certificate,
) -> anyhow::Result<DynClient> {
    kubeconfig(path, url, ca, user, certificate)?;
    let config = Kubeconfig::read_from(path).context("a kubeconfig cannot be read back")?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await?;
    Ok(Arc::new(KubeClient::new(kube::Client::try_from(config)?)))
}
