//! NodeClaims: several schedulers, and no node is over-committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::{Api, ListOptions};
use serde::{Deserialize, Serialize};

use super::{NodePorts, NodeResourcesFit};
use crate::framework::{
    Args, CycleState, ExtensionPoints, FilterPlugin, Handle, PreBindPlugin, SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo};

/// Where the claims are.
const NAMESPACE: &str = "kube-system";
/// The annotation of a node's Lease that holds the claims.
const CLAIMS: &str = "ksched.kubrick.dev/claims";
/// How often a claim is tried against others before the pod goes back to the queue.
const TRIES: usize = 8;
/// A claim of a pod that is still unbound after so long is given up: requests to the API server
/// do not last as long.
const CLAIM_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Serializes bindings by node: before a pod is bound, it is written into a Lease that the node
/// has for this, on the condition that nobody else has written meanwhile, and only if the node has
/// room for it beside the pods that the API server has there *now* and those that are claimed but
/// not yet bound. So schedulers that do not know of each other, or whose caches are old, never
/// over-commit a node (C11). Every scheduler on the cluster must run it.
///
/// It costs three requests for each binding, and is not enabled by default: add
/// [`node_claims`](super::node_claims) to the scheduler.
#[derive(Debug)]
pub struct NodeClaims {
    handle: Handle,
    fit: NodeResourcesFit,
}

/// A pod that is about to be bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claim {
    namespace: String,
    name: String,
    /// Seconds since 1970.
    since: i64,
}

type Claims = BTreeMap<String, Claim>;

impl NodeClaims {
    /// The plugin.
    ///
    /// # Errors
    /// Never: it has no arguments.
    pub fn new(_: &Args, handle: &Handle) -> Result<Self, String> {
        Ok(Self { handle: handle.clone(), fit: NodeResourcesFit::new(&Args::default())? })
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(Arc::clone(self.handle.client()), NAMESPACE)
    }

    fn now(&self) -> i64 {
        self.handle.clock().now().as_second()
    }

    /// The node as the API server has it now, with its pods.
    async fn live(&self, node: &str) -> kcore::Result<NodeInfo> {
        let client = self.handle.client();
        let nodes: Api<Node> = Api::all(Arc::clone(client));
        let mut info = NodeInfo::new(nodes.get(node).await?);
        let pods: Api<Pod> = Api::all(Arc::clone(client));
        // A name never holds what would end the selector.
        let Ok(fields) = format!("spec.nodeName={node}").parse() else { return Ok(info) };
        for pod in pods.list(&ListOptions::default().fields(fields)).await?.items {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if !matches!(phase, Some("Succeeded" | "Failed")) {
                info.add_pod(Arc::new(PodInfo::new(pod)));
            }
        }
        Ok(info)
    }

    /// Leaves the claims that still count, and puts their pods on the node.
    async fn settle(
        &self,
        claims: Claims,
        own: &PodInfo,
        node: &mut NodeInfo,
    ) -> kcore::Result<Claims> {
        let mut left = Claims::new();
        for (uid, claim) in claims {
            let bound = node.pods().iter().any(|pod| pod.uid() == uid);
            if bound || uid == own.uid() {
                continue;
            }
            let pods: Api<Pod> =
                Api::namespaced(Arc::clone(self.handle.client()), &*claim.namespace);
            let Some(pod) = pods.get_opt(&claim.name).await? else { continue };
            let pod = PodInfo::new(pod);
            if pod.uid() != uid || (!pod.node_name().is_empty() && pod.node_name() != node.name()) {
                continue;
            }
            let age = u64::try_from(self.now() - claim.since).unwrap_or_default();
            if pod.node_name().is_empty() && Duration::from_secs(age) > CLAIM_LIFETIME {
                continue;
            }
            node.add_pod(Arc::new(pod));
            left.insert(uid, claim);
        }
        Ok(left)
    }

    /// Claims room for a pod. The second is false if another was quicker.
    async fn claim(&self, pod: &PodInfo, node: &str) -> kcore::Result<(Status, bool)> {
        let name = format!("ksched-{node}");
        let known = self.leases().get_opt(&name).await?;
        let annotations = known.as_ref().and_then(|lease| lease.metadata.annotations.clone());
        let text = annotations.as_ref().and_then(|all| all.get(CLAIMS));
        let claims: Claims =
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let mut live = self.live(node).await?;
        let mut claims = self.settle(claims, pod, &mut live).await?;
        let state = CycleState::default();
        for status in [self.fit.filter(&state, pod, &live), NodePorts.filter(&state, pod, &live)] {
            if !status.is_success() {
                return Ok((Status::unschedulable(status.message()), true));
            }
        }
        let claim = Claim {
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            since: self.now(),
        };
        claims.insert(pod.uid().to_owned(), claim);
        let mut lease = known.map(|lease| (*lease).clone()).unwrap_or_default();
        lease.metadata.name = Some(name);
        let text = serde_json::to_string(&claims).unwrap_or_default();
        lease.metadata.annotations.get_or_insert_default().insert(CLAIMS.to_owned(), text);
        let written = match lease.metadata.resource_version {
            Some(_) => self.leases().update(lease).await,
            None => self.leases().create(lease).await,
        };
        match written {
            Ok(_) => Ok((Status::success(), true)),
            Err(error) if error.is_conflict() || error.is_already_exists() => {
                Ok((Status::success(), false))
            }
            Err(error) => Err(error),
        }
    }
}

impl SchedulerPlugin for NodeClaims {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_bind(self);
    }
}

#[async_trait]
impl PreBindPlugin for NodeClaims {
    async fn pre_bind(&self, _: &CycleState, pod: &PodInfo, node: &str) -> Status {
        for _ in 0..TRIES {
            match self.claim(pod, node).await {
                Ok((status, true)) => return status,
                Ok((_, false)) => {}
                Err(error) => return Status::error(format!("claiming node {node:?}: {error}")),
            }
        }
        Status::error(format!("claiming node {node:?}: others were quicker {TRIES} times"))
    }
}
