//! Which volume goes to which claim on a node: a plain function.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::{CSINode, CSIStorageCapacity, StorageClass};
use kcore::quantity::Quantity;
use kcore::selector::LabelSelector;

use crate::plugins::node_affinity;
use crate::plugins::volumes::migration::{InTree, affinity_of, of_volume};
use crate::plugins::volumes::{
    NO_PROVISIONER, asked_storage, class_name, class_of, storage_in, volume_spec,
};
use crate::snapshot::NodeInfo;

/// Says to the provisioner which node was chosen.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub(super) const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
pub(super) const NO_SPACE: &str = "node(s) did not have enough free storage";
pub(super) const WRONG_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
pub(super) const NOT_THERE: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// A volume that one of the pod's claims is bound to.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    affinity: Option<VolumeNodeAffinity>,
    /// Where its nodes may have it migrated to a CSI driver: its affinity on those that have.
    migrated: Option<(InTree, Option<VolumeNodeAffinity>)>,
}

impl Bound {
    pub(super) fn new(volume: &PersistentVolume) -> Self {
        let spec = volume_spec(volume);
        let plugin = of_volume(volume).map(|migrated| migrated.plugin);
        let migrated = plugin.map(|plugin| (plugin, affinity_of(volume, &spec)));
        Self { affinity: spec.node_affinity, migrated }
    }

    /// Whether every node reaches it, whatever it is migrated to.
    pub(super) fn is_everywhere(&self) -> bool {
        let migrated = self.migrated.as_ref().and_then(|(_, affinity)| affinity.as_ref());
        self.affinity.is_none() && migrated.is_none()
    }

    /// Whether a node reaches it.
    pub(super) fn is_reached(
        &self,
        node: &NodeInfo,
        csi_node: impl FnOnce() -> Option<Arc<CSINode>>,
    ) -> bool {
        match &self.migrated {
            Some((plugin, affinity)) if plugin.is_migrated(csi_node().as_deref()) => {
                allows_node(affinity.as_ref(), node)
            }
            _ => allows_node(self.affinity.as_ref(), node),
        }
    }
}

fn allows_node(affinity: Option<&VolumeNodeAffinity>, node: &NodeInfo) -> bool {
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| node_affinity::selects(selector, node))
}

/// A claim that is bound once the node is chosen.
#[derive(Debug, Clone)]
pub(super) struct Unbound {
    pub(super) claim: Arc<PersistentVolumeClaim>,
    pub(super) class: Arc<StorageClass>,
    /// What there is to make its volume from, if its driver says that.
    /// <https://kubernetes.io/docs/concepts/storage/storage-capacity/>
    pub(super) capacities: Option<Vec<Arc<CSIStorageCapacity>>>,
    /// The only node that it can be on, where its volume is being made for one already.
    pub(super) selected: Option<String>,
}

/// The largest volume that can be made from a capacity, if that is known.
pub(in crate::plugins) fn largest(capacity: &CSIStorageCapacity) -> Option<Quantity> {
    let largest = capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref())?;
    Quantity::from_api(largest).ok()
}

impl Unbound {
    pub(super) fn size(&self) -> Option<Quantity> {
        asked_storage(self.claim.spec.as_ref())
    }

    /// What its volume can be made from where a node reaches it.
    ///
    /// # Errors
    /// If there is too little.
    fn room(&self, node: &NodeInfo) -> Result<Option<Arc<CSIStorageCapacity>>, &'static str> {
        let (Some(capacities), Some(size)) = (&self.capacities, self.size()) else {
            return Ok(None);
        };
        let found = capacities.iter().find(|capacity| {
            let reach = capacity.node_topology.as_ref();
            let reach = reach.and_then(|reach| LabelSelector::from_api(Some(reach)).ok());
            largest(capacity).is_some_and(|largest| largest.units() >= size.units())
                && reach.is_some_and(|reach| reach.matches(node.labels()))
        });
        found.map(|found| Some(Arc::clone(found))).ok_or(NO_SPACE)
    }

    /// Whether its volume can be made for a node at all.
    fn can_be_made(&self, node: &NodeInfo) -> bool {
        let by = self.class.provisioner.as_str();
        !by.is_empty() && by != NO_PROVISIONER && allows(&self.class, node)
    }
}

/// A volume that is there for claims to take.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) volume: Arc<PersistentVolume>,
    pub(super) spec: PersistentVolumeSpec,
    pub(super) size: Quantity,
}

impl Candidate {
    /// The volume, if it is one that a claim of these classes might take.
    pub(super) fn new(volume: Arc<PersistentVolume>, classes: &BTreeSet<&str>) -> Option<Self> {
        let spec = volume_spec(&volume);
        let gone = volume.metadata.deletion_timestamp.is_some();
        if gone || !classes.contains(class_of(&volume, &spec)) {
            return None;
        }
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        // Whoever is not available yet may still be set aside for one claim.
        if spec.claim_ref.is_none() && phase != Some("Available") {
            return None;
        }
        let size = storage_in(spec.capacity.as_ref()).unwrap_or_default();
        Some(Self { volume, spec, size })
    }

    fn name(&self) -> &str {
        self.volume.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is set aside for a claim; `None` if for another one.
    fn is_for(&self, claim: &PersistentVolumeClaim) -> Option<bool> {
        let Some(reference) = &self.spec.claim_ref else { return Some(false) };
        let uid = reference.uid.as_deref().filter(|uid| !uid.is_empty());
        let same = reference.namespace == claim.metadata.namespace
            && reference.name == claim.metadata.name
            && uid.is_none_or(|uid| claim.metadata.uid.as_deref() == Some(uid));
        same.then_some(true)
    }

    /// Whether it is as large as a claim asks, and of the kind.
    fn suits(&self, wanted: &PersistentVolumeClaimSpec) -> bool {
        let mode = |mode: &Option<String>| mode.as_deref().unwrap_or("Filesystem").to_owned();
        let class = |name: &Option<String>| name.as_deref().unwrap_or_default().to_owned();
        self.size >= asked_storage(Some(wanted)).unwrap_or_default()
            && mode(&self.spec.volume_mode) == mode(&wanted.volume_mode)
            && class(&self.spec.volume_attributes_class_name)
                == class(&wanted.volume_attributes_class_name)
    }

    fn has_modes(&self, wanted: &PersistentVolumeClaimSpec) -> bool {
        let offered = self.spec.access_modes.as_deref().unwrap_or_default();
        wanted.access_modes.iter().flatten().all(|mode| offered.contains(mode))
    }
}

/// A claim whose volume is to be made, and what it is made from, if that is known.
#[derive(Debug, Clone)]
pub(super) struct Provision {
    pub(super) claim: Arc<PersistentVolumeClaim>,
    pub(super) class: Arc<StorageClass>,
    pub(super) capacity: Option<Arc<CSIStorageCapacity>>,
}

/// What is to be done for a pod's claims on one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Volumes that are there already.
    pub(super) bindings: Vec<(Candidate, Arc<PersistentVolumeClaim>)>,
    /// Claims whose volumes are to be made.
    pub(super) provisions: Vec<Provision>,
}

/// The volume for a claim on a node: one that is set aside for it, or none if a node does not reach
/// that one; else the smallest.
fn find<'c>(
    volumes: &'c [Candidate],
    claim: &PersistentVolumeClaim,
    node: &NodeInfo,
    taken: impl Fn(&str) -> bool,
) -> Option<&'c Candidate> {
    let nothing = PersistentVolumeClaimSpec::default();
    let wanted = claim.spec.as_ref().unwrap_or(&nothing);
    let selector = wanted.selector.as_ref();
    let selector = selector.map(|selector| LabelSelector::from_api(Some(selector)));
    let class = class_name(claim).unwrap_or_default();
    let mut smallest: Option<&Candidate> = None;
    for candidate in volumes {
        let Some(set_aside) = candidate.is_for(claim) else { continue };
        let (volume, spec) = (&candidate.volume, &candidate.spec);
        if taken(candidate.name()) || class_of(volume, spec) != class || !candidate.suits(wanted) {
            continue;
        }
        let reached = || allows_node(spec.node_affinity.as_ref(), node);
        if set_aside {
            return reached().then_some(candidate);
        }
        let selected = match &selector {
            None => true,
            Some(Ok(selector)) => {
                let labels = volume.metadata.labels.clone().unwrap_or_default();
                selector.matches(&labels)
            }
            Some(Err(_)) => false,
        };
        let smaller = smallest.is_none_or(|smallest| candidate.size < smallest.size);
        if smaller && selected && candidate.has_modes(wanted) && reached() {
            smallest = Some(candidate);
        }
    }
    smallest
}

/// Whether a class's volumes can be made for a node.
fn allows(class: &StorageClass, node: &NodeInfo) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    terms.is_empty()
        || terms.iter().any(|term| {
            let mut expressions = term.match_label_expressions.iter().flatten();
            // A term that asks for nothing means no node.
            !term.match_label_expressions.as_ref().is_none_or(Vec::is_empty)
                && expressions.all(|wanted| {
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
    volumes: &[Candidate],
    reserved: &BTreeSet<String>,
    node: &NodeInfo,
) -> Result<Plan, &'static str> {
    let mut plan = Plan::default();
    let elsewhere = |on: &str| on != node.name();
    if unbound.iter().any(|wanted| wanted.selected.as_deref().is_some_and(elsewhere)) {
        return Err(NO_VOLUME);
    }
    let (mut made, mut found): (Vec<&Unbound>, Vec<&Unbound>) =
        unbound.iter().partition(|wanted| wanted.selected.is_some());
    // The smallest claims first, so that they do not take what larger ones need.
    found.sort_by_key(|wanted| wanted.size().unwrap_or_default());
    for wanted in found {
        let bindings = &plan.bindings;
        let taken = |name: &str| {
            reserved.contains(name) || bindings.iter().any(|(volume, _)| volume.name() == name)
        };
        match find(volumes, &wanted.claim, node, taken) {
            Some(volume) => plan.bindings.push((volume.clone(), Arc::clone(&wanted.claim))),
            None => made.push(wanted),
        }
    }
    for wanted in made {
        if !wanted.can_be_made(node) {
            return Err(NO_VOLUME);
        }
        let capacity = wanted.room(node)?;
        let (claim, class) = (Arc::clone(&wanted.claim), Arc::clone(&wanted.class));
        plan.provisions.push(Provision { claim, class, capacity });
    }
    Ok(plan)
}
