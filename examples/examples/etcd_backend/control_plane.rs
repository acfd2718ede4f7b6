//! One of several API servers, with controllers and a scheduler that work while they lead.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use kapi::auth::{Identity, ServiceAccountTokens};
use kapi::nodes::AddressType;
use kapi::serve::{ClusterCa, HttpsNodes, Listener, ServiceAccountKey};
use kapi::{ApiServer, ServerOptions};
use kcontrol::Controllers;
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::component::Distribution;
use kcore::leader::{Elected, LeaderConfig};
use ksched::Scheduler;
use kstore::{Compaction, EtcdOptions, EtcdStore};
use kubrick_examples::program::asked_to_stop;

use crate::flags::Flags;

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn etcd_options(flags: &Flags) -> anyhow::Result<EtcdOptions> {
    let mut options = EtcdOptions::new(flags.endpoints.iter());
    let [ca, cert, key] = &flags.tls;
    if let Some(ca) = ca {
        options = options.ca_pem(read(ca)?);
    }
    if let (Some(cert), Some(key)) = (cert, key) {
        options = options.identity_pem(read(cert)?, read(key)?);
    }
    Ok(options)
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let address = *flags.listen.first().context("an address to listen on is needed")?;
    let (directory, now) = (&flags.data_dir, Clock::system().now());
    let ca = ClusterCa::open(&directory.join("pki"), now)?;
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let front = flags.balancer.unwrap_or(address);
    let certificate = ca.server("kube-apiserver", &names, &[address.ip(), front.ip()], now)?;
    let store = EtcdStore::connect(etcd_options(flags)?).await?;
    let listener = Listener::bind(address, &ca, &certificate).await?;
    // All servers sign with one key: a token of one is one of the others.
    let key = ServiceAccountKey::open(&directory.join("pki"))?;
    let tokens = ServiceAccountTokens::new(ServiceAccountTokens::DEFAULT_ISSUER, key);
    let options = ServerOptions::default()
        .service_account_tokens(tokens)
        .service_cidr(flags.service_cidr.parse()?)
        .loopback_pod_cidr(flags.pod_cidr.parse()?)
        .nodes(HttpsNodes::new(&ca, now)?)
        .node_addresses([AddressType::InternalIp])
        .shared_store();
    let api = ApiServer::with(store.clone(), options);
    api.advertise(front).await?;

    let client = |name: &str| -> DynClient { Arc::new(api.client(Identity::component(name))) };
    let election = |name: &str| {
        LeaderConfig::new("kube-system", name, format!("{address}-{}", std::process::id()))
    };
    let controllers =
        Controllers::stock(client("controller-manager")).root_ca(ca.certificate_pem());
    let controllers = Elected::new(
        client("controller-manager"),
        election("kube-controller-manager"),
        controllers,
    );
    let scheduler = Scheduler::new(client("scheduler"));
    let scheduler = Elected::new(client("scheduler"), election("kube-scheduler"), scheduler);
    let stopped = Distribution::new()
        .with(api.listen(listener))
        .with(controllers)
        .with(scheduler)
        .with(Compaction::new(store))
        .run(asked_to_stop())
        .await;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}
