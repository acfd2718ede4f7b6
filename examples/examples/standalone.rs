//! A server to use with kubectl: `standalone --data-dir D --listen 127.0.0.1:16443`.
//!
//! A control plane and one node in one process. Its state is in a journal, so it survives being
//! killed, and its pods do too: they are processes of this machine. The image `host` runs their
//! commands from its `PATH`.
//!
//! `--disable scheduler` leaves room for schedulers of their own, such as the example `scheduler`,
//! and writes `scheduler.kubeconfig` for them. `controllers` and `node` can be left out as well.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kapi::auth::{Identity, ServiceAccountTokens};
use kapi::nodes::AddressType;
use kapi::serve::{ClusterCa, HttpsNodes, Listener, ServiceAccountKey, kubeconfig};
use kapi::{ApiServer, ServerOptions};
use kcontrol::Controllers;
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::component::Distribution;
use knet::{ServiceRouter, UserspaceProgrammer};
use knode::server::{Listener as NodeListener, ServerTls};
use knode::{AgentOptions, NodeAgent};
use ksched::Scheduler;
use kstore::JournalStore;
use kubrick_examples::program::{asked_to_stop, process_runtime, start};

/// Objects are made by one thread and dropped by another all the time: the allocator matters.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const USAGE: &str = "usage: standalone [--data-dir D] [--listen A:P] [--service-cidr 127.80.0.0/16]
                  [--pod-cidr 127.64.0.0/16] [--node NAME]
                  [--disable controllers,scheduler,node]";
/// What can be left out.
const PARTS: [&str; 3] = ["controllers", "scheduler", "node"];
/// How long processes have to end when the server does.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What the command line says. Addresses come out of loopback ranges, which need no root.
struct Arguments {
    data_dir: PathBuf,
    listen: SocketAddr,
    service_cidr: String,
    pod_cidr: String,
    node: String,
    disabled: Vec<String>,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut this = Self {
            data_dir: "data".into(),
            listen: SocketAddr::new(HERE, 16443),
            service_cidr: "127.80.0.0/16".to_owned(),
            pod_cidr: "127.64.0.0/16".to_owned(),
            node: "standalone".to_owned(),
            disabled: Vec::new(),
        };
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
                "--service-cidr" => this.service_cidr = value()?,
                "--pod-cidr" => this.pod_cidr = value()?,
                "--node" => this.node = value()?,
                "--disable" => {
                    this.disabled = value()?.split(',').map(str::to_owned).collect();
                    if let Some(other) = this.disabled.iter().find(|it| !PARTS.contains(&&***it)) {
                        bail!("--disable {other}: not one of {}", PARTS.join(", "));
                    }
                }
                other => bail!("{other} is not known; {USAGE}"),
            }
        }
        Ok(this)
    }

    fn runs(&self, part: &str) -> bool {
        !self.disabled.iter().any(|disabled| disabled == part)
    }
}

fn main() -> ExitCode {
    start("standalone", run)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse()?;
    let (directory, now) = (&arguments.data_dir, Clock::system().now());
    let ca = ClusterCa::open(&directory.join("pki"), now)?;
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let certificate = ca.server("kube-apiserver", &names, &[arguments.listen.ip()], now)?;
    let listener = Listener::bind(arguments.listen, &ca, &certificate).await?;
    let runtime = process_runtime(&directory.join("runtime"), &arguments.pod_cidr)?;

    let key = ServiceAccountKey::open(&directory.join("pki"))?;
    let tokens = ServiceAccountTokens::new(ServiceAccountTokens::DEFAULT_ISSUER, key);
    let options = ServerOptions::default()
        .service_account_tokens(tokens)
        .service_cidr(arguments.service_cidr.parse()?)
        .loopback_pod_cidr(arguments.pod_cidr.parse()?)
        .nodes(HttpsNodes::new(&ca, now)?)
        .node_addresses([AddressType::InternalIp]);
    let store = JournalStore::open(directory.join("store"))?;
    let api = ApiServer::with(store, options);
    api.advertise(listener.address()).await?;
    let admin = ca.client("kubernetes-admin", &["system:masters"], now)?;
    let path = directory.join("kubeconfig");
    let url = format!("https://{}", listener.address());
    kubeconfig(&path, &url, &ca, "kubernetes-admin", &admin)?;

    let client = |identity: Identity| -> DynClient { Arc::new(api.client(identity)) };
    let component = |name: &str| client(Identity::component(name));
    let mut cluster = Distribution::new().with(api.listen(listener));
    if arguments.runs("controllers") {
        let controllers = Controllers::stock(component("controller-manager"));
        cluster = cluster.with(controllers.root_ca(ca.certificate_pem()));
    }
    if arguments.runs("scheduler") {
        cluster = cluster.with(Scheduler::new(component("scheduler")));
    } else {
        let user = "system:kube-scheduler";
        let path = directory.join("scheduler.kubeconfig");
        kubeconfig(&path, &url, &ca, user, &ca.client(user, &[], now)?)?;
    }
    if arguments.runs("node") {
        let node = arguments.node.as_str();
        let agent = AgentOptions::default().name(node).data_dir(directory.join("node"));
        let agent = NodeAgent::new(client(Identity::node(node)), runtime.clone(), agent)
            .listen(node_listener(&ca, node).await?);
        let router = ServiceRouter::new(component("proxy"), UserspaceProgrammer::new()).node(node);
        cluster = cluster.with(agent).with(router);
    }
    // Everything has its address and its credentials by now.
    println!("kubeconfig: {}", path.display());
    let stopped = cluster.run(asked_to_stop()).await;
    // What still runs would go on without its agent, for a successor to adopt.
    runtime.shutdown(STOP_GRACE).await?;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}

/// The kubelet's API, where kubectl's logs come from; the Node tells its port.
async fn node_listener(ca: &ClusterCa, node: &str) -> anyhow::Result<NodeListener> {
    let serving = ca.node_server(node, &[], &[HERE], Clock::system().now())?;
    let tls = ServerTls::new(&serving, Some(ca.certificate_pem()))?;
    Ok(NodeListener::bind(SocketAddr::new(HERE, 0), tls).await?)
}
