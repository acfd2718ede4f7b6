//! Carries a plan out: binds volumes, has others made, and waits for both.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kcore::client::{Api, Patch};
use kcore::informer::Lister;
use kcore::kind::Kind;
use serde_json::json;
use tokio::sync::Notify;

use super::plan::{Plan, SELECTED_NODE};
use crate::framework::Handle;
use crate::plugins::volumes::{annotation, is_bound, volume_name};

/// Why volumes were not bound.
pub(super) type Why = String;

fn names(claim: &PersistentVolumeClaim) -> (&str, &str) {
    let meta = &claim.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// Writes what was decided, and waits until every claim is bound.
pub(super) async fn bind(handle: &Handle, plan: &Plan, node: &str) -> Result<(), Why> {
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    let informer = handle.informers().of::<PersistentVolumeClaim>();
    let _registration = informer.on_change(move |_| wake.notify_one());
    for (volume, claim) in &plan.bindings {
        set_aside(handle, volume, claim).await?;
    }
    for claim in &plan.provisions {
        have_made(handle, claim, node).await?;
    }
    let lister = informer.lister();
    let bindings = plan.bindings.iter().map(|(volume, claim)| (claim, Some(volume)));
    let all: Vec<_> = bindings.chain(plan.provisions.iter().map(|claim| (claim, None))).collect();
    loop {
        let more = changed.notified();
        let mut waiting = false;
        for (claim, volume) in &all {
            waiting |= !has_volume(&lister, claim, volume.map(|volume| &**volume), node)?;
        }
        if !waiting {
            return Ok(());
        }
        more.await;
    }
}

/// The claim's name goes into the volume; its controller binds the two.
async fn set_aside(
    handle: &Handle,
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Result<(), Why> {
    let (namespace, name) = names(claim);
    let patch = json!({
        "metadata": {"resourceVersion": volume.metadata.resource_version,
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "spec": {"claimRef": {"kind": PersistentVolumeClaim::KIND, "apiVersion": "v1",
            "namespace": namespace, "name": name, "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version}},
    });
    let api: Api<PersistentVolume> = Api::all(Arc::clone(handle.client()));
    let volume = volume.metadata.name.as_deref().unwrap_or_default();
    let patched = api.patch(volume, Patch::Merge(patch.to_string().into())).await;
    patched.map(drop).map_err(|error| format!("volume {volume:?}: {error}"))
}

/// The node's name goes into the claim; whoever makes volumes of its class waits for that.
async fn have_made(handle: &Handle, claim: &PersistentVolumeClaim, node: &str) -> Result<(), Why> {
    if annotation(&claim.metadata, SELECTED_NODE) == Some(node) {
        return Ok(());
    }
    let (namespace, name) = names(claim);
    let patch = json!({"metadata": {"resourceVersion": claim.metadata.resource_version,
        "annotations": {SELECTED_NODE: node}}});
    let api: Api<PersistentVolumeClaim> = Api::namespaced(Arc::clone(handle.client()), namespace);
    let patched = api.patch(name, Patch::Merge(patch.to_string().into())).await;
    patched.map(drop).map_err(|error| format!("claim {namespace}/{name}: {error}"))
}

/// Whether a claim is bound by now.
fn has_volume(
    lister: &Lister<PersistentVolumeClaim>,
    claim: &PersistentVolumeClaim,
    volume: Option<&PersistentVolume>,
    node: &str,
) -> Result<bool, Why> {
    let (namespace, name) = names(claim);
    let Some(now) = lister.get(namespace, name) else {
        return Err(format!("claim {namespace}/{name} is gone"));
    };
    if is_bound(&now) {
        let expected = volume.and_then(|volume| volume.metadata.name.as_deref());
        return match expected.is_none_or(|expected| volume_name(&now) == Some(expected)) {
            true => Ok(true),
            false => Err(format!("claim {namespace}/{name} was bound to another volume")),
        };
    }
    // The cache may be older than what was written: only a newer state can take the node back.
    let version = |claim: &PersistentVolumeClaim| {
        claim.metadata.resource_version.as_deref().and_then(|text| text.parse::<u128>().ok())
    };
    let selected = annotation(&now.metadata, SELECTED_NODE);
    if volume.is_none() && selected != Some(node) && version(&now) > version(claim) {
        return Err(format!(
            "provisioning failed for PVC {name:?}: the selected node was taken back"
        ));
    }
    Ok(false)
}
