//! Registers the node, says how it is, and renews its Lease.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#management>

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kcore::backoff::{Backoff, BackoffPolicy};
use kcore::client::Api;
use kcore::quantity::Quantity;
use kcore::stop::StopToken;
use tokio::sync::watch;

use super::hub::Hub;
use super::machine::Pressure;
use super::node::{NodeView, compute_node, compute_node_status, labels, says_the_same, written_at};
use super::options::{
    LEASE_DURATION_SECONDS, LEASE_RENEW_INTERVAL, STATUS_INTERVAL, STATUS_REPORT_INTERVAL,
};
use crate::runtime::RuntimeStatus;

/// Where agents renew their Leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How registering, and what goes wrong on the way, is tried again.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(std::time::Duration::from_millis(100), std::time::Duration::from_secs(7))
        .jitter(0.2);

/// What a node has and is, as read when its agent started.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) info: NodeSystemInfo,
    pub(super) capacity: BTreeMap<String, Quantity>,
}

/// Registers the node and keeps its status and its Lease until `stop`.
///
/// `ready` is given once the node is there; `troubled` says why the node is not ready.
pub(super) async fn run(
    hub: Arc<Hub>,
    facts: Facts,
    troubled: watch::Receiver<Option<String>>,
    ready: impl Fn(),
    stop: StopToken,
) {
    let heart = Heart { hub, facts, troubled };
    kcore::select! {
        () = stop.stopped() => return,
        () = heart.register() => {}
    }
    ready();
    let (leases, statuses) = (heart.keep_lease(), heart.keep_status());
    kcore::select! {
        () = stop.stopped() => {}
        () = leases => {}
        () = statuses => {}
    }
}

struct Heart {
    hub: Arc<Hub>,
    facts: Facts,
    troubled: watch::Receiver<Option<String>>,
}

impl Heart {
    fn api(&self) -> Api<Node> {
        Api::all(Arc::clone(&self.hub.client))
    }

    /// Registers the node, however long that takes.
    async fn register(&self) {
        let mut retry = Backoff::new(RETRY, self.hub.random.fork());
        while let Err(error) = self.try_register().await {
            tracing::warn!(node = self.hub.name, %error, "the node cannot be registered");
            retry.wait().await;
        }
        tracing::info!(node = self.hub.name, "the node is registered");
    }

    async fn try_register(&self) -> kcore::Result<()> {
        let node = self.node(&NodeStatus::default()).await;
        match self.api().create(node).await {
            Ok(_) => return self.renew().await,
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        // It is there from an earlier life: its labels are ours to keep, the rest is others'.
        let known = self.api().get(&self.hub.name).await?;
        let wanted = labels(&self.hub.name, &self.hub.options);
        let has = known.metadata.labels.clone().unwrap_or_default();
        if wanted.iter().any(|(name, value)| has.get(name) != Some(value)) {
            let mut next = Node::clone(&known);
            next.metadata.labels.get_or_insert_default().extend(wanted);
            self.api().update(next).await?;
        }
        self.report(SignedDuration::ZERO).await?;
        self.renew().await
    }

    /// The Node as it is now, with what others keep of `before`.
    async fn node(&self, before: &NodeStatus) -> Node {
        let hub = &self.hub;
        let images = hub.runtime.images().list().await.unwrap_or_default();
        let trouble = self.trouble().await;
        let pressure = hub.options.data_dir.as_deref().map(Pressure::read).unwrap_or_default();
        let view = NodeView {
            name: &hub.name,
            options: &hub.options,
            info: &self.facts.info,
            capacity: &self.facts.capacity,
            allocatable: &hub.node.quantities,
            images: &images,
            pressure,
            trouble: trouble.as_deref(),
            now: hub.now(),
        };
        let mut node = compute_node(&view);
        node.status = Some(compute_node_status(&view, before));
        node
    }

    /// Why the node is not ready, in upstream's words.
    async fn trouble(&self) -> Option<String> {
        let own = self.troubled.borrow().clone();
        match self.hub.runtime.status().await {
            Ok(status) => own.or_else(|| runtime_trouble(&status)),
            Err(error) => Some(format!("container runtime is down: {error}")),
        }
    }

    /// Says how the node is, if that is another than before or was said `after` ago.
    async fn report(&self, after: SignedDuration) -> kcore::Result<()> {
        let known = self.api().get(&self.hub.name).await?;
        let before = known.status.clone().unwrap_or_default();
        let status = self.node(&before).await.status.unwrap_or_default();
        let due = written_at(&before).is_none_or(|at| self.hub.now().duration_since(at) >= after);
        if says_the_same(&before, &status) && !due {
            return Ok(());
        }
        let mut next = Node::clone(&known);
        next.status = Some(status);
        self.api().update_status(next).await.map(drop)
    }

    async fn keep_status(&self) {
        let after = SignedDuration::try_from(STATUS_REPORT_INTERVAL).unwrap_or(SignedDuration::MAX);
        let mut troubled = self.troubled.clone();
        loop {
            let pause = self.hub.random.jitter(STATUS_INTERVAL, 0.04);
            kcore::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = troubled.changed() => {}
            }
            match self.report(after).await {
                Ok(()) => {}
                // Somebody deleted the node: it comes back, as upstream's does when restarted.
                Err(error) if error.is_not_found() => self.register().await,
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    tracing::warn!(node = self.hub.name, %error, "the status is not written");
                }
            }
        }
    }

    async fn keep_lease(&self) {
        loop {
            let pause = self.hub.random.jitter(LEASE_RENEW_INTERVAL, 0.04);
            tokio::time::sleep(pause).await;
            let mut retry = Backoff::new(RETRY, self.hub.random.fork());
            while let Err(error) = self.renew().await {
                tracing::warn!(node = self.hub.name, %error, "the Lease is not renewed");
                retry.wait().await;
            }
        }
    }

    async fn renew(&self) -> kcore::Result<()> {
        let api: Api<Lease> = Api::namespaced(Arc::clone(&self.hub.client), LEASE_NAMESPACE);
        let (name, now) = (&self.hub.name, self.hub.now());
        match api.get_opt(name).await? {
            Some(known) => {
                let mut lease = Lease::clone(&known);
                let spec = lease.spec.take().unwrap_or_default();
                lease.spec = Some(held(spec, name, now));
                match api.update(lease).await {
                    // Another write came between; the next one will see it.
                    Err(error) if !error.is_conflict() => Err(error),
                    _ => Ok(()),
                }
            }
            None => {
                let node = self.api().get_opt(name).await?;
                let mut lease = Lease::default();
                lease.metadata.name = Some(name.clone());
                lease.metadata.namespace = Some(LEASE_NAMESPACE.to_owned());
                lease.metadata.owner_references = node.map(|node| vec![owner(&node)]);
                lease.spec = Some(held(LeaseSpec::default(), name, now));
                match api.create(lease).await {
                    Err(error) if !error.is_already_exists() => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn runtime_trouble(status: &RuntimeStatus) -> Option<String> {
    let half = |kind: &str, condition: &crate::runtime::RuntimeCondition| {
        (!condition.ready).then(|| {
            let (reason, message) = (&condition.reason, &condition.message);
            format!("container runtime {kind} not ready: reason:{reason} message:{message}")
        })
    };
    half("network", &status.network).or_else(|| half("status", &status.runtime))
}

fn held(spec: LeaseSpec, name: &str, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(LEASE_DURATION_SECONDS),
        renew_time: Some(MicroTime(now)),
        ..spec
    }
}

/// The node owns its Lease, so that both go together.
fn owner(node: &Node) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}
