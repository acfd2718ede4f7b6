//! What the volume plugins know of claims and volumes.

pub(super) mod hints;
pub(super) mod migration;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
    Volume,
};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use kcore::informer::Lister;
use kcore::object::controller_of;
use kcore::quantity::Quantity;

use crate::framework::{Handle, Status};
use crate::snapshot::PodInfo;

/// Marks a claim whose binding is complete.
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The provisioner of classes whose volumes are made by hand.
pub(super) const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// A value that some versions of the API's types have as it is, and others as an option.
pub(super) fn specified<T>(value: impl Into<Option<T>>) -> Option<T> {
    value.into()
}

/// A claim that a pod mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) name: String,
    /// Whether it is made for the pod, from a template in it.
    pub(super) ephemeral: bool,
}

/// The claim of one of a pod's volumes, if it is one of a claim.
pub(super) fn claim_of(pod: &PodInfo, volume: &Volume) -> Option<Claim> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(Claim { name: claim.claim_name.clone(), ephemeral: false });
    }
    let name = || format!("{}-{}", pod.name(), volume.name);
    volume.ephemeral.as_ref().map(|_| Claim { name: name(), ephemeral: true })
}

/// The claims that a pod mentions.
pub(super) fn claims(pod: &PodInfo) -> Vec<Claim> {
    pod.attached_volumes().iter().filter_map(|volume| claim_of(pod, volume)).collect()
}

/// Reads claims, volumes and classes.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) claims: Lister<PersistentVolumeClaim>,
    pub(super) volumes: Lister<PersistentVolume>,
    pub(super) classes: Lister<StorageClass>,
    pub(super) csi_nodes: Lister<CSINode>,
    pub(super) drivers: Lister<CSIDriver>,
    capacities: Lister<CSIStorageCapacity>,
}

impl Storage {
    pub(super) fn new(handle: &Handle) -> Self {
        let informers = handle.informers();
        Self {
            claims: informers.of::<PersistentVolumeClaim>().lister(),
            volumes: informers.of::<PersistentVolume>().lister(),
            classes: informers.of::<StorageClass>().lister(),
            csi_nodes: informers.of::<CSINode>().lister(),
            drivers: informers.of::<CSIDriver>().lister(),
            capacities: informers.of::<CSIStorageCapacity>().lister(),
        }
    }

    /// A claim of a pod.
    ///
    /// # Errors
    /// Why the pod cannot be scheduled without it.
    pub(super) fn claim(
        &self,
        pod: &PodInfo,
        claim: &Claim,
    ) -> Result<Arc<PersistentVolumeClaim>, Status> {
        let name = &claim.name;
        let Some(found) = self.claims.get(pod.namespace(), name) else {
            return Err(Status::unresolvable(if claim.ephemeral {
                format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim \
                     {name:?}"
                )
            } else {
                format!("persistentvolumeclaim {name:?} not found")
            }));
        };
        let owner = controller_of(&found.metadata).map(|owner| owner.uid.as_str());
        if claim.ephemeral && owner != Some(pod.uid()) {
            return Err(Status::unresolvable(format!(
                "PVC {}/{name} was not created for pod {} (pod is not owner)",
                pod.namespace(),
                pod.key()
            )));
        }
        Ok(found)
    }

    /// The class of a claim, if it names one that exists.
    pub(super) fn class(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        self.classes.get("", class_name(claim)?)
    }

    /// What there is to make volumes of a class from, if its driver wants that to count.
    pub(super) fn capacities(&self, class: &StorageClass) -> Option<Vec<Arc<CSIStorageCapacity>>> {
        let driver = self.drivers.get("", &class.provisioner)?;
        driver.spec.storage_capacity.filter(|counts| *counts)?;
        let mut capacities = self.capacities.list();
        let name = class.metadata.name.as_deref();
        capacities.retain(|capacity| Some(capacity.storage_class_name.as_str()) == name);
        Some(capacities)
    }

    /// The volume that a claim is bound to.
    pub(super) fn volume(&self, claim: &PersistentVolumeClaim) -> Option<Arc<PersistentVolume>> {
        self.volumes.get("", volume_name(claim)?)
    }

    /// Whether a claim is to be bound only once a node is chosen.
    pub(super) fn waits_for_consumer(&self, claim: &PersistentVolumeClaim) -> bool {
        let class = self.class(claim);
        let mode = class.and_then(|class| class.volume_binding_mode.clone());
        mode.as_deref() == Some("WaitForFirstConsumer")
    }
}

/// Older than the field that names a class, and before it.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The name of a claim's class.
pub(super) fn class_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotation = annotation(&claim.metadata, OLD_CLASS);
    annotation.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

/// The name of a volume's class; empty if it has none.
pub(super) fn class_of<'a>(
    volume: &'a PersistentVolume,
    spec: &'a PersistentVolumeSpec,
) -> &'a str {
    let annotation = annotation(&volume.metadata, OLD_CLASS);
    annotation.or(spec.storage_class_name.as_deref()).unwrap_or_default()
}

/// The amount of storage in a list of resources, if it names one.
pub(super) fn storage_in(list: Option<&BTreeMap<String, ApiQuantity>>) -> Option<Quantity> {
    Quantity::from_api(list?.get("storage")?).ok()
}

/// How much storage a claim asks for, if it says so.
pub(super) fn asked_storage(spec: Option<&PersistentVolumeClaimSpec>) -> Option<Quantity> {
    storage_in(spec?.resources.as_ref()?.requests.as_ref())
}

/// The name of the volume of a claim.
pub(super) fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether the binding of a claim is complete.
pub(super) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// An annotation.
pub(super) fn annotation<'a>(
    meta: &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    key: &str,
) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A volume's spec.
pub(super) fn volume_spec(volume: &PersistentVolume) -> PersistentVolumeSpec {
    specified(volume.spec.clone()).unwrap_or_default()
}
