//! Volumes of drivers that were part of Kubernetes, as the CSI drivers that took their place know
//! them.
//!
//! Upstream translates more kinds than these, but its scheduler counts and places only these five
//! by their CSI drivers; the others it takes as they are written.
//! <https://kubernetes.io/docs/concepts/storage/volumes/#csi-migration>

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeSpec, Volume,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::CSINode;

use super::{annotation, volume_spec};

/// Says which drivers a node has handed over, separated by commas.
pub(in crate::plugins) const MIGRATED_PLUGINS: &str =
    "storage.alpha.kubernetes.io/migrated-plugins";

const ZONE: &str = "topology.kubernetes.io/zone";
const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const OLD_REGION: &str = "failure-domain.beta.kubernetes.io/region";
/// Stands between the zones of a volume that is in several.
const BETWEEN_ZONES: &str = "__";
/// In place of what a disk's name does not say.
const UNSPECIFIED: &str = "UNSPECIFIED";

/// A driver that was part of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugins) enum InTree {
    AwsEbs,
    GcePd,
    AzureDisk,
    Cinder,
    Portworx,
}

/// All of them.
const ALL: [InTree; 5] =
    [InTree::AwsEbs, InTree::GcePd, InTree::AzureDisk, InTree::Cinder, InTree::Portworx];

/// Drivers whose classes are known too, but which the scheduler never takes as migrated.
const NEVER: [&str; 2] = ["kubernetes.io/azure-file", "kubernetes.io/vsphere-volume"];

impl InTree {
    /// Its name, as provisioners and nodes have it.
    pub(in crate::plugins) const fn name(self) -> &'static str {
        match self {
            Self::AwsEbs => "kubernetes.io/aws-ebs",
            Self::GcePd => "kubernetes.io/gce-pd",
            Self::AzureDisk => "kubernetes.io/azure-disk",
            Self::Cinder => "kubernetes.io/cinder",
            Self::Portworx => "kubernetes.io/portworx-volume",
        }
    }

    /// The CSI driver in its place.
    pub(in crate::plugins) const fn driver(self) -> &'static str {
        match self {
            Self::AwsEbs => "ebs.csi.aws.com",
            Self::GcePd => "pd.csi.storage.gke.io",
            Self::AzureDisk => "disk.csi.azure.com",
            Self::Cinder => "cinder.csi.openstack.org",
            Self::Portworx => "pxd.portworx.com",
        }
    }

    /// The node label by which that driver knows zones, if volumes are in some.
    const fn zone(self) -> Option<&'static str> {
        match self {
            Self::AwsEbs => Some("topology.ebs.csi.aws.com/zone"),
            Self::GcePd => Some("topology.gke.io/zone"),
            Self::Cinder => Some("topology.cinder.csi.openstack.org/zone"),
            Self::AzureDisk | Self::Portworx => None,
        }
    }

    /// Whether a node has handed it over to its CSI driver.
    pub(in crate::plugins) fn is_migrated(self, node: Option<&CSINode>) -> bool {
        let plugins = node.and_then(|node| annotation(&node.metadata, MIGRATED_PLUGINS));
        plugins.is_some_and(|plugins| plugins.split(',').any(|plugin| plugin == self.name()))
    }
}

/// Who makes the volumes of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugins) enum Provisioner<'a> {
    /// A driver by its own name.
    Named(&'a str),
    /// One that was part of Kubernetes.
    InTree(InTree),
    /// One that was part of Kubernetes, whose volumes are never counted by another's name.
    Uncounted,
}

/// Reads the provisioner of a class.
pub(in crate::plugins) fn provisioner(name: &str) -> Provisioner<'_> {
    match ALL.into_iter().find(|plugin| plugin.name() == name) {
        Some(plugin) => Provisioner::InTree(plugin),
        None if NEVER.contains(&name) => Provisioner::Uncounted,
        None => Provisioner::Named(name),
    }
}

/// A volume of a driver that was part of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugins) struct Migrated {
    pub(in crate::plugins) plugin: InTree,
    /// As its CSI driver names it; `None` if what is written is no name of that driver's.
    pub(in crate::plugins) handle: Option<String>,
}

/// Reads a PersistentVolume of such a driver; `None` for others.
pub(in crate::plugins) fn of_volume(volume: &PersistentVolume) -> Option<Migrated> {
    let spec = volume_spec(volume);
    let (plugin, handle) = if let Some(ebs) = &spec.aws_elastic_block_store {
        (InTree::AwsEbs, ebs_volume(&ebs.volume_id))
    } else if let Some(disk) = &spec.gce_persistent_disk {
        (InTree::GcePd, gce_disk(&disk.pd_name, zones_label(volume)))
    } else if let Some(disk) = &spec.azure_disk {
        (InTree::AzureDisk, Some(disk.disk_uri.clone()))
    } else if let Some(cinder) = &spec.cinder {
        (InTree::Cinder, Some(cinder.volume_id.clone()))
    } else {
        let portworx = spec.portworx_volume.as_ref()?;
        (InTree::Portworx, Some(portworx.volume_id.clone()))
    };
    Some(Migrated { plugin, handle })
}

/// Reads a volume of such a driver that a pod has in its own spec; `None` for others.
pub(in crate::plugins) fn of_inline(volume: &Volume) -> Option<Migrated> {
    let (plugin, handle) = if let Some(ebs) = &volume.aws_elastic_block_store {
        (InTree::AwsEbs, ebs_volume(&ebs.volume_id))
    } else if let Some(disk) = &volume.gce_persistent_disk {
        (InTree::GcePd, gce_disk(&disk.pd_name, ""))
    } else if let Some(disk) = &volume.azure_disk {
        (InTree::AzureDisk, Some(disk.disk_uri.clone()))
    } else if let Some(cinder) = &volume.cinder {
        (InTree::Cinder, Some(cinder.volume_id.clone()))
    } else {
        let portworx = volume.portworx_volume.as_ref()?;
        (InTree::Portworx, Some(portworx.volume_id.clone()))
    };
    Some(Migrated { plugin, handle })
}

/// `vol-1` and `aws://zone/vol-1` are one volume. What is no URL is taken as it is.
fn ebs_volume(id: &str) -> Option<String> {
    let Some(rest) = id.strip_prefix("aws://") else { return Some(id.to_owned()) };
    let (_zone, volume) = rest.split_once('/')?;
    let volume = volume.trim_matches('/');
    let known = volume.starts_with("vol-") && !volume.contains('/');
    known.then(|| volume.to_owned())
}

fn zones_label(volume: &PersistentVolume) -> &str {
    let labels = volume.metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    value(ZONE).filter(|zones| !zones.is_empty()).or_else(|| value(OLD_ZONE)).unwrap_or_default()
}

/// A disk by its zone, or by the region of its zones.
fn gce_disk(name: &str, zones: &str) -> Option<String> {
    let all: Vec<&str> = zones.split(BETWEEN_ZONES).collect();
    let place = match all.as_slice() {
        [""] => format!("zones/{UNSPECIFIED}"),
        [zone] => format!("zones/{zone}"),
        several => format!("regions/{}", region_of(several)?),
    };
    Some(format!("projects/{UNSPECIFIED}/{place}/disks/{name}"))
}

/// The one region that zones such as `europe-west1-b` are in.
fn region_of<'a>(zones: &[&'a str]) -> Option<&'a str> {
    let region = |zone: &&'a str| {
        (zone.split('-').count() == 3).then(|| zone.rsplit_once('-')).flatten().map(|(of, _)| of)
    };
    let first = region(zones.first()?)?;
    zones.iter().all(|zone| region(zone) == Some(first)).then_some(first)
}

/// A volume's node affinity as the CSI driver of a node that has it migrated says it: nodes of that
/// driver have the zone in a label of its own.
pub(in crate::plugins) fn affinity_of(
    volume: &PersistentVolume,
    spec: &PersistentVolumeSpec,
) -> Option<VolumeNodeAffinity> {
    let mut affinity = spec.node_affinity.clone();
    let Some(zone) = of_volume(volume).and_then(|migrated| migrated.plugin.zone()) else {
        return affinity;
    };
    let (old_zone, old_region) = topology_labels(volume, &affinity);
    if mentions(&affinity, old_zone) {
        rename(&mut affinity, old_zone, zone);
    } else if let Some(value) = volume.metadata.labels.iter().flatten().find(|l| l.0 == old_zone) {
        require(&mut affinity, zone, value.1);
    }
    // Nodes need not have the older name of the label any more.
    if old_region == OLD_REGION {
        rename(&mut affinity, OLD_REGION, REGION);
    }
    affinity
}

/// The labels by which a volume says its zone and region.
fn topology_labels(
    volume: &PersistentVolume,
    affinity: &Option<VolumeNodeAffinity>,
) -> (&'static str, &'static str) {
    let labelled =
        |key: &str| volume.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(key));
    let old = !mentions(affinity, ZONE)
        && (mentions(affinity, OLD_ZONE) || (!labelled(ZONE) && labelled(OLD_ZONE)));
    if old { (OLD_ZONE, OLD_REGION) } else { (ZONE, REGION) }
}

fn terms(affinity: &Option<VolumeNodeAffinity>) -> &[NodeSelectorTerm] {
    let required = affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    required.map_or(&[], |selector| &selector.node_selector_terms)
}

fn mentions(affinity: &Option<VolumeNodeAffinity>, key: &str) -> bool {
    let mut all = terms(affinity).iter().flat_map(|term| term.match_expressions.iter().flatten());
    all.any(|wanted| wanted.key == key)
}

fn rename(affinity: &mut Option<VolumeNodeAffinity>, old: &str, new: &str) {
    let required = affinity.as_mut().and_then(|affinity| affinity.required.as_mut());
    let terms = required.into_iter().flat_map(|selector| &mut selector.node_selector_terms);
    for wanted in terms.flat_map(|term| term.match_expressions.iter_mut().flatten()) {
        if wanted.key == old {
            new.clone_into(&mut wanted.key);
        }
    }
}

/// Every term asks for one of the zones, too.
fn require(affinity: &mut Option<VolumeNodeAffinity>, key: &str, zones: &str) {
    let mut values: Vec<String> = zones.split(BETWEEN_ZONES).map(|z| z.trim().to_owned()).collect();
    values.retain(|zone| !zone.is_empty());
    values.sort();
    values.dedup();
    if values.is_empty() {
        return;
    }
    let selector = affinity.get_or_insert_default().required.get_or_insert_default();
    if selector.node_selector_terms.is_empty() {
        selector.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut selector.node_selector_terms {
        term.match_expressions.get_or_insert_default().push(NodeSelectorRequirement {
            key: key.to_owned(),
            operator: "In".to_owned(),
            values: Some(values.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{InTree, Migrated, Provisioner, affinity_of, of_inline, of_volume, provisioner};
    use crate::plugins::volumes::volume_spec;
    use k8s_openapi::api::core::v1::PersistentVolume;

    fn volume(labels: Value, spec: Value) -> PersistentVolume {
        let metadata = json!({"name": "v", "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn handle(plugin: InTree, handle: Option<&str>) -> Option<Migrated> {
        Some(Migrated { plugin, handle: handle.map(ToOwned::to_owned) })
    }

    #[test]
    fn volumes_get_the_handles_that_their_csi_drivers_know() {
        let ebs = |id: &str| json!({"awsElasticBlockStore": {"volumeID": id}});
        let gce = json!({"gcePersistentDisk": {"pdName": "d"}});
        let zone = |zones: &str| json!({"topology.kubernetes.io/zone": zones});
        let old = json!({"failure-domain.beta.kubernetes.io/zone": "us-east1-b"});
        let none = || json!({});
        for (labels, spec, expected) in [
            (none(), ebs("vol-1"), handle(InTree::AwsEbs, Some("vol-1"))),
            (none(), ebs("aws://us-east-1a/vol-1"), handle(InTree::AwsEbs, Some("vol-1"))),
            (none(), ebs("aws:///vol-1"), handle(InTree::AwsEbs, Some("vol-1"))),
            (none(), ebs("anything"), handle(InTree::AwsEbs, Some("anything"))),
            (none(), ebs("aws://us-east-1a/disk-1"), handle(InTree::AwsEbs, None)),
            (none(), ebs("aws://vol-1"), handle(InTree::AwsEbs, None)),
            (
                none(),
                gce.clone(),
                handle(InTree::GcePd, Some("projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d")),
            ),
            (
                zone("us-east1-c"),
                gce.clone(),
                handle(InTree::GcePd, Some("projects/UNSPECIFIED/zones/us-east1-c/disks/d")),
            ),
            (
                old,
                gce.clone(),
                handle(InTree::GcePd, Some("projects/UNSPECIFIED/zones/us-east1-b/disks/d")),
            ),
            (
                zone("us-east1-b__us-east1-c"),
                gce.clone(),
                handle(InTree::GcePd, Some("projects/UNSPECIFIED/regions/us-east1/disks/d")),
            ),
            (zone("us-east1-b__us-east2-c"), gce.clone(), handle(InTree::GcePd, None)),
            (zone("here__there"), gce, handle(InTree::GcePd, None)),
            (
                none(),
                json!({"azureDisk": {"diskName": "n", "diskURI": "/sub/d"}}),
                handle(InTree::AzureDisk, Some("/sub/d")),
            ),
            (none(), json!({"cinder": {"volumeID": "c"}}), handle(InTree::Cinder, Some("c"))),
            (
                none(),
                json!({"portworxVolume": {"volumeID": "p"}}),
                handle(InTree::Portworx, Some("p")),
            ),
            (none(), json!({"azureFile": {"secretName": "s", "shareName": "f"}}), None),
            (none(), json!({"vsphereVolume": {"volumePath": "[ds] v"}}), None),
            (none(), json!({"csi": {"driver": "d", "volumeHandle": "h"}}), None),
        ] {
            assert_eq!(of_volume(&volume(labels, spec.clone())), expected, "{spec}");
        }
    }

    #[test]
    fn inline_volumes_are_read_without_labels() {
        let inline = |source: &str, fields: Value| {
            let volume = json!({"name": "v", source: fields});
            of_inline(&serde_json::from_value(volume).unwrap())
        };
        let ebs = inline("awsElasticBlockStore", json!({"volumeID": "aws://z/vol-2"}));
        assert_eq!(ebs, handle(InTree::AwsEbs, Some("vol-2")));
        let gce = inline("gcePersistentDisk", json!({"pdName": "d"}));
        let expected = "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d";
        assert_eq!(gce, handle(InTree::GcePd, Some(expected)));
        let azure = inline("azureDisk", json!({"diskName": "n", "diskURI": "/d"}));
        assert_eq!(azure, handle(InTree::AzureDisk, Some("/d")));
        let cinder = inline("cinder", json!({"volumeID": "c"}));
        assert_eq!(cinder, handle(InTree::Cinder, Some("c")));
        let portworx = inline("portworxVolume", json!({"volumeID": "p"}));
        assert_eq!(portworx, handle(InTree::Portworx, Some("p")));
        assert_eq!(inline("azureFile", json!({"secretName": "s", "shareName": "f"})), None);
        assert_eq!(inline("emptyDir", json!({})), None);
    }

    #[test]
    fn provisioners_are_told_apart() {
        for (name, expected) in [
            ("kubernetes.io/aws-ebs", Provisioner::InTree(InTree::AwsEbs)),
            ("kubernetes.io/gce-pd", Provisioner::InTree(InTree::GcePd)),
            ("kubernetes.io/azure-disk", Provisioner::InTree(InTree::AzureDisk)),
            ("kubernetes.io/cinder", Provisioner::InTree(InTree::Cinder)),
            ("kubernetes.io/portworx-volume", Provisioner::InTree(InTree::Portworx)),
            ("kubernetes.io/azure-file", Provisioner::Uncounted),
            ("kubernetes.io/vsphere-volume", Provisioner::Uncounted),
            ("ebs.csi.aws.com", Provisioner::Named("ebs.csi.aws.com")),
        ] {
            assert_eq!(provisioner(name), expected, "{name}");
        }
    }

    /// The keys that a volume's only term asks for once it is translated, with their values.
    fn asked(labels: Value, source: Value, expressions: Value) -> Vec<(String, Vec<String>)> {
        let mut spec = source;
        if expressions != Value::Null {
            let terms = json!([{"matchExpressions": expressions}]);
            spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
        }
        let volume = volume(labels, spec);
        let affinity = affinity_of(&volume, &volume_spec(&volume));
        let required = affinity.and_then(|affinity| affinity.required).unwrap_or_default();
        let terms = required.node_selector_terms;
        assert!(terms.len() < 2, "{terms:?}");
        let all = terms.into_iter().flat_map(|term| term.match_expressions.unwrap_or_default());
        all.map(|wanted| (wanted.key, wanted.values.unwrap_or_default())).collect()
    }

    #[test]
    fn zones_of_volumes_become_the_zones_of_their_csi_drivers() {
        let is_in = |key: &str| json!([{"key": key, "operator": "In", "values": ["z"]}]);
        let ebs = || json!({"awsElasticBlockStore": {"volumeID": "vol-1"}});
        let azure = || json!({"azureDisk": {"diskName": "n", "diskURI": "/d"}});
        let (zone, old) = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
        let one = |key: &str, values: &[&str]| {
            vec![(key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())]
        };
        let of_ebs = "topology.ebs.csi.aws.com/zone";
        for key in [zone, old] {
            assert_eq!(asked(json!({}), ebs(), is_in(key)), one(of_ebs, &["z"]), "{key}");
            let labels = json!({key: "b__a__b"});
            assert_eq!(asked(labels, ebs(), Value::Null), one(of_ebs, &["a", "b"]), "{key}");
        }
        // What the affinity says comes before what the labels say.
        let both = asked(json!({zone: "other"}), ebs(), is_in(zone));
        assert_eq!(both, one(of_ebs, &["z"]));
        let gce = json!({"gcePersistentDisk": {"pdName": "d"}});
        assert_eq!(asked(json!({}), gce, is_in(zone)), one("topology.gke.io/zone", &["z"]));
        let cinder = json!({"cinder": {"volumeID": "c"}});
        let expected = one("topology.cinder.csi.openstack.org/zone", &["z"]);
        assert_eq!(asked(json!({}), cinder, is_in(zone)), expected);
        // Nothing says where the disks of the others are.
        assert_eq!(asked(json!({zone: "z"}), azure(), is_in(zone)), one(zone, &["z"]));
        assert_eq!(asked(json!({}), ebs(), Value::Null), vec![]);
        let region = json!([
            {"key": old, "operator": "In", "values": ["z"]},
            {"key": "failure-domain.beta.kubernetes.io/region", "operator": "In", "values": ["r"]},
        ]);
        let both = [one(of_ebs, &["z"]), one("topology.kubernetes.io/region", &["r"])].concat();
        assert_eq!(asked(json!({}), ebs(), region), both);
    }
}
