//! Carries a plan out: binds volumes, has others made, and waits for both.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kcore::client::{Api, Patch};
use kcore::kind::Kind;
use serde_json::json;
use tokio::sync::Notify;

use super::VolumeBinding;
use super::plan::{Bound, Plan, SELECTED_NODE};
use crate::plugins::volumes::{annotation, is_bound, volume_name, volume_spec};
use crate::snapshot::{NodeInfo, PodInfo};

/// Why volumes were not bound.
pub(super) type Why = String;

/// How often it is looked whether anything but the claims has changed.
const POLL: Duration = Duration::from_secs(1);

fn names(claim: &PersistentVolumeClaim) -> (&str, &str) {
    let meta = &claim.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What was written of a plan, as the server has it since.
#[derive(Debug, Default)]
struct Written {
    bindings: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    provisions: Vec<Arc<PersistentVolumeClaim>>,
}

/// Whether the cache has an object as new as one that was written.
fn is_as_new(cached: Option<&String>, written: Option<&String>) -> bool {
    let version = |text: Option<&String>| text.and_then(|text| text.parse::<u128>().ok());
    version(cached) >= version(written)
}

/// One pod's volumes on their way to a node.
pub(super) struct Binding<'a> {
    plugin: &'a VolumeBinding,
    pod: &'a PodInfo,
    node: &'a str,
}

impl<'a> Binding<'a> {
    pub(super) fn new(plugin: &'a VolumeBinding, pod: &'a PodInfo, node: &'a str) -> Self {
        Self { plugin, pod, node }
    }

    /// Writes what was decided, and waits until every claim is bound.
    pub(super) async fn carry_out(&self, plan: &Plan) -> Result<(), Why> {
        let written = self.write(plan).await?;
        self.wait(&written).await.map_err(|why| format!("binding volumes: {why}"))
    }

    async fn write(&self, plan: &Plan) -> Result<Written, Why> {
        let mut written = Written::default();
        for (volume, claim) in &plan.bindings {
            let volume = self.set_aside(&volume.volume, claim).await?;
            written.bindings.push((volume, Arc::clone(claim)));
        }
        for made in &plan.provisions {
            written.provisions.push(self.have_made(&made.claim).await?);
        }
        Ok(written)
    }

    /// The claim's name goes into the volume; its controller binds the two.
    async fn set_aside(
        &self,
        volume: &Arc<PersistentVolume>,
        claim: &PersistentVolumeClaim,
    ) -> Result<Arc<PersistentVolume>, Why> {
        let (namespace, name) = names(claim);
        let patch = json!({
            "metadata": {"resourceVersion": volume.metadata.resource_version,
                "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
            "spec": {"claimRef": {"kind": PersistentVolumeClaim::KIND, "apiVersion": "v1",
                "namespace": namespace, "name": name, "uid": claim.metadata.uid,
                "resourceVersion": claim.metadata.resource_version}},
        });
        let api: Api<PersistentVolume> = Api::all(Arc::clone(self.plugin.handle.client()));
        let volume = volume.metadata.name.as_deref().unwrap_or_default();
        let patched = api.patch(volume, Patch::Merge(patch.to_string().into())).await;
        patched.map_err(|error| format!("volume {volume:?}: {error}"))
    }

    /// The node's name goes into the claim; whoever makes volumes of its class waits for that.
    async fn have_made(
        &self,
        claim: &Arc<PersistentVolumeClaim>,
    ) -> Result<Arc<PersistentVolumeClaim>, Why> {
        if annotation(&claim.metadata, SELECTED_NODE) == Some(self.node) {
            return Ok(Arc::clone(claim));
        }
        let (namespace, name) = names(claim);
        let patch = json!({"metadata": {"resourceVersion": claim.metadata.resource_version,
            "annotations": {SELECTED_NODE: self.node}}});
        let client = Arc::clone(self.plugin.handle.client());
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client, namespace);
        let patched = api.patch(name, Patch::Merge(patch.to_string().into())).await;
        patched.map_err(|error| format!("claim {namespace}/{name}: {error}"))
    }

    async fn wait(&self, written: &Written) -> Result<(), Why> {
        let changed = Arc::new(Notify::new());
        let wake = Arc::clone(&changed);
        let informer = self.plugin.handle.informers().of::<PersistentVolumeClaim>();
        let _registration = informer.on_change(move |_| wake.notify_one());
        loop {
            let more = changed.notified();
            if self.is_done(written)? {
                return Ok(());
            }
            kcore::select! {
                () = more => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Whether every claim is bound by now.
    ///
    /// # Errors
    /// Why one of them will not be: the pod has to look for another node.
    fn is_done(&self, written: &Written) -> Result<bool, Why> {
        let Some(node) = self.plugin.nodes.get("", self.node).map(NodeInfo::new) else {
            return Err(format!("failed to get node {:?}: it is gone", self.node));
        };
        let now = self.plugin.pods.get(self.pod.namespace(), self.pod.name());
        if now.is_none_or(|now| now.metadata.uid != self.pod.pod().metadata.uid) {
            return Err(format!("pod does not exist any more: {}", self.pod.key()));
        }
        let mut done = true;
        for (volume, claim) in &written.bindings {
            done &= self.is_taken(volume, claim, &node)?;
        }
        for claim in &written.provisions {
            done &= self.is_made(claim, &node)?;
        }
        Ok(done)
    }

    /// Whether a volume that was there is bound to its claim.
    fn is_taken(
        &self,
        written: &PersistentVolume,
        claim: &PersistentVolumeClaim,
        node: &NodeInfo,
    ) -> Result<bool, Why> {
        let name = written.metadata.name.as_deref().unwrap_or_default();
        let Some(volume) = self.plugin.storage.volumes.get("", name) else {
            return Err(format!("failed to check binding: persistentvolume {name:?} not found"));
        };
        let now = self.now(claim, "failed to check binding")?;
        let meta = (&volume.metadata.resource_version, &written.metadata.resource_version);
        if !is_as_new(meta.0.as_ref(), meta.1.as_ref()) {
            return Ok(false);
        }
        self.is_reached(&volume, node)?;
        let spec = volume_spec(&volume);
        let reference = spec.claim_ref.and_then(|reference| reference.uid);
        if reference.is_none_or(|uid| uid.is_empty()) {
            return Err(format!("ClaimRef got reset for pv {name:?}"));
        }
        Ok(is_bound(&now))
    }

    /// Whether a claim has the volume that was made for it.
    fn is_made(&self, written: &PersistentVolumeClaim, node: &NodeInfo) -> Result<bool, Why> {
        let now = self.now(written, "failed to check provisioning pvc")?;
        let meta = (&now.metadata.resource_version, &written.metadata.resource_version);
        if !is_as_new(meta.0.as_ref(), meta.1.as_ref()) {
            return Ok(false);
        }
        if annotation(&now.metadata, SELECTED_NODE) != Some(self.node) {
            // Whoever could not make it has taken the node back.
            return Err(format!("provisioning failed for PVC {:?}", names(written).1));
        }
        if volume_name(&now).is_some() {
            let Some(volume) = self.plugin.storage.volume(&now) else { return Ok(false) };
            self.is_reached(&volume, node)?;
        }
        Ok(is_bound(&now))
    }

    /// A claim as it is now.
    fn now(
        &self,
        claim: &PersistentVolumeClaim,
        what: &str,
    ) -> Result<Arc<PersistentVolumeClaim>, Why> {
        let (namespace, name) = names(claim);
        let now = self.plugin.storage.claims.get(namespace, name);
        now.ok_or_else(|| format!("{what}: persistentvolumeclaim \"{namespace}/{name}\" not found"))
    }

    /// Whether the node reaches a volume, as it may not once its labels are others.
    fn is_reached(&self, volume: &PersistentVolume, node: &NodeInfo) -> Result<(), Why> {
        let csi_node = || self.plugin.storage.csi_nodes.get("", node.name());
        if Bound::new(volume).is_reached(node, csi_node) {
            return Ok(());
        }
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        Err(format!("pv {name:?} node affinity doesn't match node {:?}", node.name()))
    }
}
