//! What each volume of a pod is to be: a plain function.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, HostPathVolumeSource, Pod, ProjectedVolumeSource, SecretVolumeSource,
    Volume, VolumeMount, VolumeProjection,
};

use super::HostPathType;
use super::payload::{
    FileProjection, Payload, Shape, add_config_map, add_downward_api, add_secret, mode_of,
};
use crate::env::PodFacts;
use crate::sources::{Need, PodSources, TokenWish};
use crate::{Error, Result};

/// The mode of a file where neither the item nor the volume says.
pub const DEFAULT_FILE_MODE: u32 = 0o644;

/// A volume that is to be made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumePlan {
    /// Its name in the pod.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Nothing at first; containers write to it.
    Empty {
        /// What it should be on.
        medium: Medium,
        /// The pod's `fsGroup`, which it belongs to.
        group: Option<u32>,
    },
    /// Files that the API decides about, of the plugin with this directory name.
    Files {
        /// As `kubernetes.io~configmap`.
        plugin: &'static str,
        /// The files.
        payload: Payload,
        /// Who may look at them.
        access: Access,
    },
    /// Something of the host.
    Host {
        /// Where.
        path: PathBuf,
        /// What must be there.
        kind: HostPathType,
    },
}

impl Content {
    /// The directory name of the plugin; none for what is not the node's to make.
    #[must_use]
    pub fn plugin(&self) -> Option<&'static str> {
        match self {
            Self::Empty { .. } => Some("kubernetes.io~empty-dir"),
            Self::Files { plugin, .. } => Some(plugin),
            Self::Host { .. } => None,
        }
    }
}

/// What an `emptyDir` should be on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Medium {
    /// The node's disk.
    #[default]
    Default,
    /// Memory.
    Memory,
}

/// Who may look into a volume of files, beside those whom the modes of its files let.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// The pod's `fsGroup`, which its files belong to and which can read them.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
    pub group: Option<u32>,
}

impl Access {
    /// The mode of its directories. Strangers are kept out of the pod's directory above.
    #[must_use]
    pub fn directory_mode(self) -> u32 {
        DIRECTORY_MODE | self.group.map_or(0, |_| GROUP_DIRECTORY_MODE)
    }
}

/// What everybody may do with a directory of the API's, as upstream has it.
const DIRECTORY_MODE: u32 = 0o755;

/// What a pod's group may do with a directory; what is made in it belongs to the group too.
const GROUP_DIRECTORY_MODE: u32 = 0o2550;
/// What the owner may do with a token.
const PRIVATE_FILE_MODE: u32 = 0o600;
/// What a pod's group may do with a file of the API's.
const GROUP_FILE_MODE: u32 = 0o440;

/// The plan of each volume that a container of the pod mounts, or why there is none. Volumes that
/// nobody mounts are left alone, as upstream does.
#[must_use]
pub fn plan_volumes(
    pod: &Pod,
    sources: &PodSources,
    facts: &PodFacts,
) -> Vec<(String, Result<VolumePlan>)> {
    let used = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).enumerate();
    let used = volumes.filter(|(_, volume)| used.contains(volume.name.as_str()));
    used.map(|(index, volume)| {
        let field = format!("spec.volumes[{index}]");
        (volume.name.clone(), plan_volume(volume, &field, pod, sources, facts))
    })
    .collect()
}

fn mounted_names(pod: &Pod) -> BTreeSet<&str> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ordinary = ordinary.map(|container| &container.volume_mounts);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| &container.volume_mounts);
    let mounts = ordinary.chain(ephemeral).flat_map(|mounts| mounts.iter().flatten());
    mounts.map(|mount: &VolumeMount| mount.name.as_str()).collect()
}

/// The plan of one volume; `field` is where it stands.
///
/// # Errors
/// [`InvalidConfig`](Error::InvalidConfig) naming the field for what this node cannot give;
/// [`NotFound`](Error::NotFound) or [`Unavailable`](Error::Unavailable) for what is not there.
pub fn plan_volume(
    volume: &Volume,
    field: &str,
    pod: &Pod,
    sources: &PodSources,
    facts: &PodFacts,
) -> Result<VolumePlan> {
    let group = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.fs_group);
    let group = group.and_then(|group| u32::try_from(group).ok());
    let planner = Planner { pod, sources, facts, group };
    let content = if let Some(empty) = &volume.empty_dir {
        let medium = empty.medium.as_deref().unwrap_or_default();
        let medium = medium_of(medium, &format!("{field}.emptyDir"))?;
        Content::Empty { medium, group }
    } else if let Some(map) = &volume.config_map {
        planner.config_map(map, &format!("{field}.configMap"))?
    } else if let Some(secret) = &volume.secret {
        planner.secret(secret, &format!("{field}.secret"))?
    } else if let Some(downward) = &volume.downward_api {
        let mut payload = Payload::default();
        let mode = mode_of(downward.default_mode).unwrap_or(DEFAULT_FILE_MODE);
        let items = downward.items.as_deref().unwrap_or_default();
        let field = format!("{field}.downwardAPI");
        add_downward_api(&mut payload, items, mode, (pod, facts), &field)?;
        planner.files("kubernetes.io~downward-api", payload)
    } else if let Some(projected) = &volume.projected {
        planner.projected(projected, &format!("{field}.projected"))?
    } else if let Some(host) = &volume.host_path {
        host_path(host, &format!("{field}.hostPath"))?
    } else {
        return Err(unsupported(volume, field));
    };
    Ok(VolumePlan { name: volume.name.clone(), content })
}

fn medium_of(medium: &str, field: &str) -> Result<Medium> {
    match medium {
        "" => Ok(Medium::Default),
        "Memory" => Ok(Medium::Memory),
        other => Err(Error::InvalidConfig {
            field: format!("{field}.medium"),
            reason: format!("{other:?} is not supported by this node, use \"\" or \"Memory\""),
        }),
    }
}

fn host_path(source: &HostPathVolumeSource, field: &str) -> Result<Content> {
    let path = PathBuf::from(&source.path);
    if !path.is_absolute() || source.path.split('/').any(|part| part == "..") {
        return Err(Error::InvalidConfig {
            field: format!("{field}.path"),
            reason: format!("{:?} must be an absolute path without '..'", source.path),
        });
    }
    let kind = HostPathType::parse(source.type_.as_deref().unwrap_or_default());
    let kind =
        kind.map_err(|reason| Error::InvalidConfig { field: format!("{field}.type"), reason })?;
    Ok(Content::Host { path, kind })
}

/// Names the type that the volume has, by looking at the only other field that is set.
fn unsupported(volume: &Volume, field: &str) -> Error {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let mut fields = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let kind = fields.find(|name| *name != "name").unwrap_or("without a type").to_owned();
    let field = if kind.contains(' ') { field.to_owned() } else { format!("{field}.{kind}") };
    Error::InvalidConfig {
        field,
        reason: format!(
            "volume {:?} is {kind}, which is not supported by this node, use emptyDir, configMap, \
             secret, downwardAPI, projected or hostPath",
            volume.name
        ),
    }
}

struct Planner<'a> {
    pod: &'a Pod,
    sources: &'a PodSources,
    facts: &'a PodFacts,
    group: Option<u32>,
}

impl Planner<'_> {
    fn files(&self, plugin: &'static str, mut payload: Payload) -> Content {
        if self.group.is_some() {
            payload.allow(GROUP_FILE_MODE);
        }
        let access = Access { group: self.group };
        Content::Files { plugin, payload, access }
    }

    fn config_map(&self, source: &ConfigMapVolumeSource, field: &str) -> Result<Content> {
        let mut payload = Payload::default();
        if let Some(map) = self.sources.find_config_map(&source.name, Need::of(source.optional))? {
            let shape = Shape {
                items: source.items.as_deref().unwrap_or_default(),
                default_mode: mode_of(source.default_mode).unwrap_or(DEFAULT_FILE_MODE),
                optional: source.optional.unwrap_or_default(),
                field,
            };
            add_config_map(&mut payload, map, shape)?;
        }
        Ok(self.files("kubernetes.io~configmap", payload))
    }

    fn secret(&self, source: &SecretVolumeSource, field: &str) -> Result<Content> {
        let mut payload = Payload::default();
        let name = source.secret_name.as_deref().unwrap_or_default();
        if let Some(secret) = self.sources.find_secret(name, Need::of(source.optional))? {
            let shape = Shape {
                items: source.items.as_deref().unwrap_or_default(),
                default_mode: mode_of(source.default_mode).unwrap_or(DEFAULT_FILE_MODE),
                optional: source.optional.unwrap_or_default(),
                field,
            };
            add_secret(&mut payload, secret, shape)?;
        }
        Ok(self.files("kubernetes.io~secret", payload))
    }

    fn projected(&self, volume: &ProjectedVolumeSource, field: &str) -> Result<Content> {
        let mut payload = Payload::default();
        let mode = mode_of(volume.default_mode).unwrap_or(DEFAULT_FILE_MODE);
        for (index, source) in volume.sources.iter().flatten().enumerate() {
            let field = format!("{field}.sources[{index}]");
            self.projection(&mut payload, source, mode, &field)?;
        }
        Ok(self.files("kubernetes.io~projected", payload))
    }

    fn projection(
        &self,
        payload: &mut Payload,
        source: &VolumeProjection,
        default_mode: u32,
        field: &str,
    ) -> Result<()> {
        if let Some(map) = &source.config_map {
            let (optional, field) = (map.optional, &*format!("{field}.configMap"));
            let items = map.items.as_deref().unwrap_or_default();
            let shape = Shape { items, default_mode, optional: optional == Some(true), field };
            match self.sources.find_config_map(&map.name, Need::of(optional))? {
                Some(map) => add_config_map(payload, map, shape),
                None => Ok(()),
            }
        } else if let Some(secret) = &source.secret {
            let (optional, field) = (secret.optional, &*format!("{field}.secret"));
            let items = secret.items.as_deref().unwrap_or_default();
            let shape = Shape { items, default_mode, optional: optional == Some(true), field };
            match self.sources.find_secret(&secret.name, Need::of(optional))? {
                Some(secret) => add_secret(payload, secret, shape),
                None => Ok(()),
            }
        } else if let Some(downward) = &source.downward_api {
            let items = downward.items.as_deref().unwrap_or_default();
            let field = format!("{field}.downwardAPI");
            add_downward_api(payload, items, default_mode, (self.pod, self.facts), &field)
        } else if let Some(token) = &source.service_account_token {
            let found = self.sources.find_token(&TokenWish::of(token))?;
            // Who has a group of its own reads it by that one alone, as upstream has it.
            let mode = if self.group.is_some() { PRIVATE_FILE_MODE } else { default_mode };
            let file = FileProjection::new(found.text.clone(), mode);
            payload.put(&token.path, file, &format!("{field}.serviceAccountToken.path"))
        } else {
            Err(unsupported_projection(source, field))
        }
    }
}

fn unsupported_projection(source: &VolumeProjection, field: &str) -> Error {
    let value = serde_json::to_value(source).unwrap_or_default();
    let kind = value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).next();
    let kind = kind.unwrap_or_else(|| "source".into());
    Error::InvalidConfig {
        field: format!("{field}.{kind}"),
        reason: "is not supported by this node, use configMap, secret, downwardAPI or \
                 serviceAccountToken"
            .into(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
