//! NodeVolumeLimits: a node takes only so many volumes of a driver.

mod attachments;
mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSINodeSpec};
use kcore::informer::Registration;
use parking_lot::Mutex;

use super::volumes::migration::{InTree, Provisioner, of_inline, of_volume, provisioner};
use super::volumes::{Storage, claim_of, specified, volume_spec};
use crate::framework::{
    CycleState, ExtensionPoints, FilterPlugin, Handle, PreFilterPlugin, PreFilterResult,
    SchedulerPlugin, Status,
};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};
use attachments::Attachments;

const TOO_MANY: &str = "node(s) exceed max volume count";

/// How many volumes there may be, by driver.
type Limits = BTreeMap<String, usize>;
/// Volumes by driver.
type Volumes = BTreeMap<String, BTreeSet<Volume>>;

/// Turns away nodes that have as many volumes of a driver attached as their CSINode allows, be it
/// for the pods on them or, as long as a VolumeAttachment says so, for pods that are gone; and
/// nodes without a driver that says that pods must not go where it is missing. Volumes of drivers
/// that were part of Kubernetes count on nodes that have them migrated to CSI drivers.
/// <https://kubernetes.io/docs/concepts/storage/storage-limits/>
#[derive(Debug)]
pub struct NodeVolumeLimits {
    storage: Storage,
    attachments: Attachments,
    /// Moves when a CSINode does.
    changes: Arc<AtomicU64>,
    _registration: Registration,
    /// The smallest limits of all nodes, and the changes they were read at.
    smallest: Mutex<(u64, Arc<Limits>)>,
}

/// A volume of a driver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Volume {
    /// As the driver knows it.
    Handle(String),
    /// It is not made yet, or not to be found: the claim stands for it.
    Claim(String),
}

/// A volume that a pod needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Needed {
    driver: String,
    volume: Volume,
    /// It counts only on nodes that have handed this driver over.
    migrated: Option<InTree>,
}

/// What the pod attaches.
#[derive(Debug, Clone)]
struct Wanted {
    volumes: Vec<Needed>,
    /// Drivers without which the pod must not be on a node.
    required: BTreeSet<String>,
    /// The smallest limits of all nodes.
    smallest: Arc<Limits>,
    /// The most that are attached to any node.
    most_attached: usize,
}

impl Wanted {
    /// Whether the pod has room wherever there are so many volumes, of whatever driver.
    fn fits_beside(&self, there: usize) -> bool {
        self.volumes.iter().all(|needed| {
            let limit = self.smallest.get(&needed.driver);
            limit.is_none_or(|limit| there + self.volumes.len() <= *limit)
        })
    }

    /// What counts on a node.
    fn on(&self, node: Option<&CSINode>) -> Volumes {
        let mut volumes = Volumes::new();
        self.volumes.iter().for_each(|needed| needed.count(node, &mut volumes));
        volumes
    }
}

impl Needed {
    fn new(driver: impl Into<String>, volume: Volume) -> Self {
        Self { driver: driver.into(), volume, migrated: None }
    }

    fn migrated(plugin: InTree, volume: Volume) -> Self {
        Self { driver: plugin.driver().to_owned(), volume, migrated: Some(plugin) }
    }

    fn count(&self, node: Option<&CSINode>, into: &mut Volumes) {
        if self.migrated.is_none_or(|plugin| plugin.is_migrated(node)) {
            into.entry(self.driver.clone()).or_default().insert(self.volume.clone());
        }
    }
}

/// The limits that a node has.
fn limits(node: &CSINode) -> impl Iterator<Item = (String, usize)> {
    let spec = specified::<CSINodeSpec>(node.spec.clone());
    spec.into_iter().flat_map(|spec| spec.drivers).filter_map(|driver| {
        let limit = driver.allocatable.and_then(|allocatable| allocatable.count)?;
        Some((driver.name, usize::try_from(limit).unwrap_or_default()))
    })
}

/// Whether a node has a driver.
fn has_driver(node: Option<&CSINode>, driver: &str) -> bool {
    let spec = node.and_then(|node| specified::<CSINodeSpec>(node.spec.clone()));
    spec.is_some_and(|spec| spec.drivers.iter().any(|known| known.name == driver))
}

/// Whether a driver keeps pods off nodes that lack it (KEP-5030).
fn is_required(driver: &CSIDriver) -> bool {
    k8s_openapi::k8s_if_ge_1_36! {
        if driver.spec.prevent_pod_scheduling_if_missing == Some(true) {
            return true;
        }
    }
    // Without the field nobody can ask for it.
    let _ = driver;
    false
}

/// What is wrong with one of a pod's volumes.
type Wrong = Status;

impl NodeVolumeLimits {
    /// The plugin.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        let informer = handle.informers().of::<CSINode>();
        let changes = Arc::new(AtomicU64::new(1));
        let counter = Arc::clone(&changes);
        let _registration = informer.on_change(move |_| {
            counter.fetch_add(1, Ordering::Release);
        });
        let (storage, attachments) = (Storage::new(handle), Attachments::new(handle));
        Self { storage, attachments, changes, _registration, smallest: Mutex::default() }
    }

    /// The smallest limit of any node, by driver.
    fn smallest(&self) -> Arc<Limits> {
        let version = self.changes.load(Ordering::Acquire);
        let mut known = self.smallest.lock();
        if known.0 != version {
            let mut smallest = Limits::new();
            let nodes = self.storage.csi_nodes.list();
            for (driver, limit) in nodes.iter().flat_map(|node| limits(node)) {
                let least = smallest.entry(driver).or_insert(limit);
                *least = limit.min(*least);
            }
            *known = (version, Arc::new(smallest));
        }
        Arc::clone(&known.1)
    }

    /// The volumes that a pod attaches; what is wrong with one goes to `wrong`.
    fn needed(&self, pod: &PodInfo, wrong: &mut dyn FnMut(Wrong)) -> Vec<Needed> {
        let mut all = Vec::new();
        for volume in pod.attached_volumes() {
            let Some(claim) = claim_of(pod, volume) else {
                let Some(migrated) = of_inline(volume) else { continue };
                match migrated.handle {
                    Some(id) => all.push(Needed::migrated(migrated.plugin, Volume::Handle(id))),
                    None => wrong(Status::error(format!(
                        "converting volume({}) from inline to csi: it is no volume of {}",
                        volume.name,
                        migrated.plugin.driver()
                    ))),
                }
                continue;
            };
            let (namespace, name) = (pod.namespace(), &claim.name);
            if self.storage.claims.get(namespace, name).is_none() {
                wrong(Status::unresolvable(format!(
                    "looking up PVC {namespace}/{name}: persistentvolumeclaim {name:?} not found"
                )));
                continue;
            }
            match self.storage.claim(pod, &claim) {
                Ok(found) => all.extend(self.of_claim(&found)),
                Err(status) => wrong(Status::error(status.message())),
            }
        }
        all
    }

    /// The volume of a claim. One that cannot be told is left out.
    fn of_claim(&self, claim: &PersistentVolumeClaim) -> Option<Needed> {
        let Some(volume) = self.storage.volume(claim) else { return self.of_class(claim) };
        if let Some(csi) = volume_spec(&volume).csi {
            return Some(Needed::new(csi.driver, Volume::Handle(csi.volume_handle)));
        }
        let migrated = of_volume(&volume)?;
        Some(Needed::migrated(migrated.plugin, Volume::Handle(migrated.handle?)))
    }

    /// The volume that will be made for a claim.
    fn of_class(&self, claim: &PersistentVolumeClaim) -> Option<Needed> {
        let class = self.storage.class(claim)?;
        let meta = &claim.metadata;
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let volume = Volume::Claim(format!("{}/{}", part(&meta.namespace), part(&meta.name)));
        match provisioner(&class.provisioner) {
            Provisioner::Named(driver) => Some(Needed::new(driver, volume)),
            Provisioner::InTree(plugin) => Some(Needed::migrated(plugin, volume)),
            Provisioner::Uncounted => None,
        }
    }

    /// Whether there is room on a node for what a pod attaches there.
    fn compute_room(&self, mut new: Volumes, node: &NodeInfo, own: &CSINode) -> Status {
        let mut there = Volumes::new();
        for other in node.pods().iter() {
            let needed = self.needed(other, &mut |_| {});
            needed.iter().for_each(|needed| needed.count(Some(own), &mut there));
        }
        let attached = self.attachments.of(node.name(), &self.storage);
        let limits: Limits = limits(own).collect();
        for (driver, volumes) in &mut new {
            let Some(limit) = limits.get(driver) else { continue };
            let nothing = BTreeSet::new();
            let used = there.get(driver).unwrap_or(&nothing);
            // As upstream counts: what is attached for nobody counts, even if the pod will use it.
            let left_over = attached.get(driver).unwrap_or(&nothing).difference(used).count();
            volumes.retain(|volume| !used.contains(volume));
            if !volumes.is_empty() && used.len() + left_over + volumes.len() > *limit {
                return Status::unschedulable(TOO_MANY);
            }
        }
        Status::success()
    }
}

impl SchedulerPlugin for NodeVolumeLimits {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.pre_filter(self.clone());
        points.filter(self.clone());
        points.enqueue_extensions(self);
    }
}

/// What keeps the pod from every node.
#[derive(Debug, Clone)]
struct Unusable(Status);

impl PreFilterPlugin for NodeVolumeLimits {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let mut problem = None;
        let mut volumes = self.needed(pod, &mut |wrong| {
            problem.get_or_insert(wrong);
        });
        if let Some(problem) = problem {
            state.write_for_choice(Unusable(problem));
            return Status::success().into();
        }
        let drivers: BTreeSet<&str> = volumes.iter().map(|needed| &*needed.driver).collect();
        let drivers = drivers.into_iter().filter_map(|name| self.storage.drivers.get("", name));
        let required: BTreeSet<String> = drivers
            .filter(|driver| is_required(driver))
            .filter_map(|driver| driver.metadata.name.clone())
            .collect();
        let smallest = self.smallest();
        volumes.retain(|needed| {
            smallest.contains_key(&needed.driver) || required.contains(&needed.driver)
        });
        if volumes.is_empty() {
            return Status::skip().into();
        }
        let most_attached = self.attachments.most();
        state.write_for_choice(Wanted { volumes, required, smallest, most_attached });
        Status::success().into()
    }
}

impl FilterPlugin for NodeVolumeLimits {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        if let Some(Unusable(status)) = state.read() {
            return status.clone();
        }
        let Some(wanted) = state.read::<Wanted>() else { return Status::success() };
        let there = node.volume_count();
        // Far from any limit nobody needs to know whose volumes those are.
        let far = wanted.fits_beside(there + wanted.most_attached)
            || wanted.fits_beside(there + self.attachments.count(node.name()));
        if far && wanted.required.is_empty() {
            return Status::success();
        }
        let own = self.storage.csi_nodes.get("", node.name());
        let new = wanted.on(own.as_deref());
        let mut required = new.keys().filter(|driver| wanted.required.contains(*driver));
        if let Some(driver) = required.find(|name| !has_driver(own.as_deref(), name)) {
            let why = format!("{driver} CSI driver is not installed on the node");
            return Status::unschedulable(why);
        }
        match own {
            Some(own) if !far => self.compute_room(new, node, &own),
            _ => Status::success(),
        }
    }
}
