//! From the cluster to the programmer: watch, build, sync.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node as ApiNode, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kcore::backoff::{Backoff, BackoffPolicy};
use kcore::client::DynClient;
use kcore::component::{self, Component, Context};
use kcore::informer::Informers;
use kcore::selector::LabelSelector;
use tokio::sync::Notify;

use crate::table::{ChangeSet, Node, ServiceTable, build};
use crate::{NetworkProgrammer, SyncReport};

/// How long changes gather before they are synced.
const GATHER: Duration = Duration::from_millis(10);
/// How often everything is synced although nothing changed (N7).
const RESYNC: Duration = Duration::from_secs(30);
/// First and longest pause before a sync that failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Keeps a node's data path in step with the cluster's Services.
///
/// What is programmed stays in force while the API server cannot be reached (N5).
#[derive(Debug)]
pub struct ServiceRouter<P> {
    client: DynClient,
    programmer: P,
    node: Node,
}

impl<P: NetworkProgrammer> ServiceRouter<P> {
    /// A router that programs through `programmer`.
    pub fn new(client: DynClient, programmer: P) -> Self {
        Self { client, programmer, node: Node::default() }
    }

    /// The node it is for: its endpoints count as local, and its addresses, read from the Node
    /// object, serve node ports.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node.name = name.into();
        self
    }

    /// Addresses that serve node ports besides those of the Node object.
    #[must_use]
    pub fn node_ips(mut self, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        self.node.ips.extend(ips);
        self
    }

    /// The node as the cluster knows it.
    fn node_now(&self, informers: &Informers) -> Node {
        let mut node = self.node.clone();
        let known = informers.of::<ApiNode>().lister().get("", &node.name);
        let addresses = known.iter().filter_map(|known| known.status.as_ref()).flat_map(|status| {
            let all = status.addresses.iter().flatten();
            all.filter(|address| address.type_ == "InternalIP" || address.type_ == "ExternalIP")
        });
        for ip in addresses.filter_map(|address| address.address.parse().ok()) {
            if !node.ips.contains(&ip) {
                node.ips.push(ip);
            }
        }
        node
    }

    fn desired(&self, informers: &Informers) -> ServiceTable {
        let all = LabelSelector::everything();
        let services = informers.of::<Service>().lister().select(None, &all);
        let slices = informers.of::<EndpointSlice>().lister().select(None, &all);
        build(&self.node_now(informers), &services, &slices)
    }

    async fn keep_synced(&self, ctx: &Context, informers: &Informers, changed: &Notify) {
        informers.wait_for_sync().await;
        let mut before = ServiceTable::default();
        let policy = BackoffPolicy::new(RETRY.0, RETRY.1);
        let mut backoff = Backoff::new(policy, ctx.random().fork());
        let mut failures = Vec::new();
        loop {
            let desired = self.desired(informers);
            let changes = ChangeSet::between(&before, &desired);
            match self.programmer.sync(&desired, &changes).await {
                Ok(report) => {
                    tell(&report, &mut failures);
                    before = desired;
                    backoff.reset();
                    ctx.health().ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "Services cannot be programmed, trying again");
                    ctx.health().not_ready(error.to_string());
                    backoff.wait().await;
                    continue;
                }
            }
            // A change that comes in while this waits is seen at once; the rest gathers.
            let _ = tokio::time::timeout(RESYNC, changed.notified()).await;
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Says what could not be served, once.
fn tell(report: &SyncReport, known: &mut Vec<crate::Failure>) {
    for failure in report.failures.iter().filter(|failure| !known.contains(failure)) {
        tracing::warn!(
            service = %failure.service,
            address = %failure.address,
            why = failure.why,
            "address cannot be served"
        );
    }
    known.clone_from(&report.failures);
}

#[async_trait]
impl<P: NetworkProgrammer> Component for ServiceRouter<P> {
    fn name(&self) -> &'static str {
        "kube-proxy"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        ctx.health().not_ready("nothing has been programmed yet");
        let informers = Informers::new(Arc::clone(&self.client), ctx.random().fork());
        let changed = Arc::new(Notify::new());
        let wake = || {
            let changed = Arc::clone(&changed);
            move || changed.notify_one()
        };
        let (services, slices, nodes) = (wake(), wake(), wake());
        let _registrations = (
            informers.of::<Service>().on_change(move |_| services()),
            informers.of::<EndpointSlice>().on_change(move |_| slices()),
            informers.of::<ApiNode>().on_change(move |_| nodes()),
        );
        kcore::select! {
            () = ctx.stop().stopped() => {}
            () = informers.run(ctx.stop().clone()) => {}
            () = self.keep_synced(&ctx, &informers, &changed) => {}
        }
        Ok(())
    }
}
