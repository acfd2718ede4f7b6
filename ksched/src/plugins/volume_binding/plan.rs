//! Which volume goes to which claim on a node: a plain function.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::{CSIStorageCapacity, StorageClass};
use kcore::quantity::Quantity;
use kcore::selector::LabelSelector;

use crate::plugins::node_affinity;
use crate::plugins::volumes::{NO_PROVISIONER, annotation, class_name, volume_spec};
use crate::snapshot::NodeInfo;

/// Says to the provisioner which node was chosen.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub(super) const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
pub(super) const NO_SPACE: &str = "node(s) did not have enough free storage";
pub(super) const WRONG_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";

/// A claim that is bound once the node is chosen.
#[derive(Debug, Clone)]
pub(super) struct Unbound {
    pub(super) claim: Arc<PersistentVolumeClaim>,
    pub(super) class: Arc<StorageClass>,
    /// What there is to make its volume from, if its driver says that.
    /// <https://kubernetes.io/docs/concepts/storage/storage-capacity/>
    pub(super) capacities: Option<Vec<Arc<CSIStorageCapacity>>>,
}

impl Unbound {
    fn size(&self) -> Option<Quantity> {
        let resources = self.claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        let requests = resources.and_then(|resources| resources.requests.as_ref())?;
        Quantity::from_api(requests.get("storage")?).ok()
    }

    /// Whether there is enough to make its volume where a node can reach it.
    fn has_room(&self, node: &NodeInfo) -> bool {
        let (Some(capacities), Some(size)) = (&self.capacities, self.size()) else { return true };
        let nothing = std::collections::BTreeMap::new();
        let labels = node.node().metadata.labels.as_ref().unwrap_or(&nothing);
        capacities.iter().any(|capacity| {
            let largest = capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref());
            let largest = largest.and_then(|largest| Quantity::from_api(largest).ok());
            let reach = capacity.node_topology.as_ref();
            let reach = reach.and_then(|reach| LabelSelector::from_api(Some(reach)).ok());
            largest.is_some_and(|largest| largest >= size)
                && reach.is_some_and(|reach| reach.matches(labels))
        })
    }
}

/// What is to be done for a pod's claims on one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Volumes that are there already.
    pub(super) bindings: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims whose volumes are to be made.
    pub(super) provisions: Vec<Arc<PersistentVolumeClaim>>,
}

/// Whether a volume can be used on a node.
pub(super) fn reachable(spec: &PersistentVolumeSpec, node: &NodeInfo) -> bool {
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| node_affinity::selects(selector, node))
}

fn storage(
    list: Option<
        &std::collections::BTreeMap<
            String,
            k8s_openapi::apimachinery::pkg::api::resource::Quantity,
        >,
    >,
) -> Quantity {
    let quantity = list.and_then(|list| list.get("storage"));
    quantity.and_then(|quantity| Quantity::from_api(quantity).ok()).unwrap_or_default()
}

fn key(claim: &PersistentVolumeClaim) -> (&str, &str) {
    let meta = &claim.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// Whether a volume suits a claim, wherever it is. A volume that is set aside for a claim by name
/// suits that claim alone.
fn suits(spec: &PersistentVolumeSpec, claim: &PersistentVolumeClaim) -> Option<bool> {
    let empty = PersistentVolumeClaimSpec::default();
    let wanted = claim.spec.as_ref().unwrap_or(&empty);
    let modes = |modes: &Option<Vec<String>>| modes.clone().unwrap_or_default();
    let offered = modes(&spec.access_modes);
    let class = spec.storage_class_name.as_deref().unwrap_or_default();
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let asked = wanted.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let fits = modes(&wanted.access_modes).iter().all(|mode| offered.contains(mode))
        && mode(&spec.volume_mode) == mode(&wanted.volume_mode)
        && storage(spec.capacity.as_ref()) >= storage(asked)
        && class == class_name(claim).unwrap_or_default();
    if !fits {
        return None;
    }
    match &spec.claim_ref {
        Some(reference) => {
            let named = (
                reference.namespace.as_deref().unwrap_or_default(),
                reference.name.as_deref().unwrap_or_default(),
            );
            let uid = reference.uid.as_deref().filter(|uid| !uid.is_empty());
            let same = uid.is_none_or(|uid| claim.metadata.uid.as_deref() == Some(uid));
            (named == key(claim) && same).then_some(true)
        }
        None => Some(false),
    }
}

/// The volume for a claim on a node: one that is set aside for it, else the smallest.
fn find(
    volumes: &[Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    node: &NodeInfo,
    taken: &BTreeSet<&str>,
) -> Option<Arc<PersistentVolume>> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = wanted.map(|selector| LabelSelector::from_api(Some(selector)));
    let mut smallest: Option<(&Arc<PersistentVolume>, Quantity)> = None;
    for volume in volumes {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let gone = volume.metadata.deletion_timestamp.is_some();
        let spec = volume_spec(volume);
        let Some(set_aside) = suits(&spec, claim) else { continue };
        if taken.contains(name) || gone || !reachable(&spec, node) {
            continue;
        }
        if set_aside {
            return Some(Arc::clone(volume));
        }
        let labels = volume.metadata.labels.clone().unwrap_or_default();
        let selected = match &selector {
            None => true,
            Some(Ok(selector)) => selector.matches(&labels),
            Some(Err(_)) => false,
        };
        let available = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if !selected || available.is_some_and(|phase| phase != "Available") {
            continue;
        }
        let size = storage(spec.capacity.as_ref());
        if smallest.as_ref().is_none_or(|(_, least)| size < *least) {
            smallest = Some((volume, size));
        }
    }
    smallest.map(|(volume, _)| Arc::clone(volume))
}

/// Whether a class's volumes can be made for a node.
fn allows(class: &StorageClass, node: &NodeInfo) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    terms.is_empty()
        || terms.iter().any(|term| {
            let mut expressions = term.match_label_expressions.iter().flatten();
            expressions.all(|wanted| {
                node.label(&wanted.key)
                    .is_some_and(|value| wanted.values.iter().any(|allowed| allowed == value))
            })
        })
}

/// What is to be done for these claims on a node.
///
/// # Errors
/// Why it cannot be done.
pub(super) fn plan(
    unbound: &[Unbound],
    volumes: &[Arc<PersistentVolume>],
    reserved: &BTreeSet<String>,
    node: &NodeInfo,
) -> Result<Plan, &'static str> {
    let mut plan = Plan::default();
    let taken: BTreeSet<&str> = reserved.iter().map(String::as_str).collect();
    // The smallest claims first, so that they do not take what larger ones need.
    let mut unbound: Vec<&Unbound> = unbound.iter().collect();
    unbound.sort_by_key(|unbound| unbound.size().unwrap_or_default());
    let mut names: Vec<Arc<PersistentVolume>> = Vec::new();
    for wanted in unbound {
        let Unbound { claim, class, .. } = wanted;
        if let Some(chosen) = annotation(&claim.metadata, SELECTED_NODE) {
            // Its volume is being made for that node already.
            if chosen != node.name() {
                return Err(NO_VOLUME);
            }
            plan.provisions.push(Arc::clone(claim));
            continue;
        }
        let own: BTreeSet<&str> =
            names.iter().filter_map(|volume| volume.metadata.name.as_deref()).collect();
        let all: BTreeSet<&str> = taken.iter().copied().chain(own).collect();
        match find(volumes, claim, node, &all) {
            Some(volume) => {
                names.push(Arc::clone(&volume));
                plan.bindings.push((volume, Arc::clone(claim)));
            }
            None => {
                let made = !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER;
                if !made || !allows(class, node) {
                    return Err(NO_VOLUME);
                }
                if !wanted.has_room(node) {
                    return Err(NO_SPACE);
                }
                plan.provisions.push(Arc::clone(claim));
            }
        }
    }
    Ok(plan)
}
