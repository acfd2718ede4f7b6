//! What a container sees of its pod's volumes: a plain function.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::PodVolumes;
use crate::env::compute_sub_path;
use crate::{Error, Result};

/// A mount that is to be made; its `sub_path` is not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedMount {
    /// The volume's name in the pod.
    pub volume: String,
    /// The volume on the host.
    pub volume_path: PathBuf,
    /// The part of the volume that is seen, relative to it; `None` for all of it.
    pub sub_path: Option<PathBuf>,
    /// Where the container sees it, absolute.
    pub container_path: PathBuf,
    /// The container may only read it.
    pub read_only: bool,
    /// Nobody but the node writes to the volume.
    pub api_owned: bool,
    /// Where the mount stands, for errors.
    pub field: String,
}

/// The mounts of `container`, in the order of its specification, with `env` put in where a
/// `subPathExpr` asks for it.
/// <https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath>
///
/// # Errors
/// [`InvalidConfig`](Error::InvalidConfig) naming the field: a volume that is not ready, a
/// `subPath` that is absolute or climbs, a variable without a value, what this node cannot do.
pub fn compute_mounts(
    container: &Container,
    volumes: &PodVolumes,
    env: &[(String, String)],
) -> Result<Vec<PlannedMount>> {
    let home = format!("spec.containers{{{}}}", container.name);
    if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(Error::InvalidConfig {
            field: format!("{home}.volumeDevices"),
            reason: "block devices are not supported by this node, use volumeMounts".into(),
        });
    }
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts
        .map(|(index, mount)| {
            let field = format!("{home}.volumeMounts[{index}]");
            plan_mount(mount, container, volumes, env, field)
        })
        .collect()
}

fn plan_mount(
    mount: &VolumeMount,
    container: &Container,
    volumes: &PodVolumes,
    env: &[(String, String)],
    field: String,
) -> Result<PlannedMount> {
    let fail = |name: &str, reason: String| Error::InvalidConfig {
        field: format!("{field}.{name}"),
        reason,
    };
    let Some(volume) = volumes.volumes.get(&mount.name) else {
        let (volume, container) = (&mount.name, &container.name);
        let reason = format!("cannot find volume {volume:?} to mount into container {container:?}");
        return Err(fail("name", reason));
    };
    let propagation = mount.mount_propagation.as_deref().unwrap_or_default();
    if !matches!(propagation, "" | "None") {
        let reason = format!("{propagation:?} is not supported by this node, use \"None\"");
        return Err(fail("mountPropagation", reason));
    }
    if mount.recursive_read_only.as_deref() == Some("Enabled") {
        let reason = "\"Enabled\" is not supported by this node, use \"IfPossible\"".into();
        return Err(fail("recursiveReadOnly", reason));
    }
    let expression = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty());
    let (sub_path, name) = match expression {
        Some(text) => {
            (compute_sub_path(text, env, &format!("{field}.subPathExpr"))?, "subPathExpr")
        }
        None => (mount.sub_path.clone().unwrap_or_default(), "subPath"),
    };
    check_sub_path(&sub_path).map_err(|reason| fail(name, reason))?;
    Ok(PlannedMount {
        volume: mount.name.clone(),
        volume_path: volume.host_path.clone(),
        sub_path: (!sub_path.is_empty()).then(|| sub_path.into()),
        container_path: Path::new("/").join(&mount.mount_path),
        read_only: mount.read_only.unwrap_or_default() || volume.read_only,
        api_owned: volume.read_only,
        field,
    })
}

fn check_sub_path(sub_path: &str) -> Result<(), String> {
    let path = Path::new(sub_path);
    if path.is_absolute() {
        return Err(format!("error SubPath `{sub_path}` must not be an absolute path"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("unable to provision SubPath `{sub_path}`: must not contain '..'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compute(mount: Value) -> Result<PlannedMount> {
        let container = json!({"name": "c", "volumeMounts": [mount]});
        let container: Container = serde_json::from_value(container).unwrap();
        let volumes = PodVolumes::default().volume("data", "/v/data", false);
        let volumes = volumes.volume("cm", "/v/cm", true);
        let env = [("A".to_owned(), "a".to_owned()), ("UP".into(), "../x".into())];
        compute_mounts(&container, &volumes, &env).map(|mut mounts| mounts.remove(0))
    }

    #[test]
    fn mounts_are_planned_in_full() {
        let check = |mount: Value, expect: (&str, &str, &str, bool)| {
            let found = compute(mount.clone()).unwrap();
            let sub_path = found.sub_path.unwrap_or_default();
            let shown = (
                found.volume_path.to_str().unwrap(),
                sub_path.to_str().unwrap(),
                found.container_path.to_str().unwrap(),
                found.read_only,
            );
            assert_eq!(shown, expect, "{mount}");
        };
        let base = json!({"name": "data", "mountPath": "/d"});
        let with = |more: Value| {
            let mut mount = base.clone();
            mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            mount
        };
        check(base.clone(), ("/v/data", "", "/d", false));
        check(with(json!({"readOnly": true})), ("/v/data", "", "/d", true));
        check(with(json!({"name": "cm"})), ("/v/cm", "", "/d", true));
        check(with(json!({"mountPath": "rel/d"})), ("/v/data", "", "/rel/d", false));
        check(with(json!({"subPath": "x/y"})), ("/v/data", "x/y", "/d", false));
        check(with(json!({"subPathExpr": "x/$(A)"})), ("/v/data", "x/a", "/d", false));
        check(with(json!({"mountPropagation": "None"})), ("/v/data", "", "/d", false));
        let maybe = json!({"recursiveReadOnly": "IfPossible", "readOnly": true});
        check(with(maybe), ("/v/data", "", "/d", true));
    }

    #[test]
    fn what_cannot_be_mounted_names_its_field() {
        let check = |mount: Value, expect: &str| {
            let error = compute(mount).unwrap_err().to_string();
            assert_eq!(error, format!("spec.containers{{c}}.volumeMounts[0].{expect}"));
        };
        check(
            json!({"name": "x", "mountPath": "/x"}),
            "name: cannot find volume \"x\" to mount into container \"c\"",
        );
        let data =
            |name: &str, value: &str| json!({"name": "data", "mountPath": "/d", name: value});
        check(
            data("subPath", "/etc"),
            "subPath: error SubPath `/etc` must not be an absolute path",
        );
        check(
            data("subPath", "a/../b"),
            "subPath: unable to provision SubPath `a/../b`: must not contain '..'",
        );
        check(
            data("subPathExpr", "$(UP)"),
            "subPathExpr: unable to provision SubPath `../x`: must not contain '..'",
        );
        check(data("subPathExpr", "$(NO)"), "subPathExpr: missing value for NO");
        check(
            data("mountPropagation", "Bidirectional"),
            "mountPropagation: \"Bidirectional\" is not supported by this node, use \"None\"",
        );
        check(
            data("recursiveReadOnly", "Enabled"),
            "recursiveReadOnly: \"Enabled\" is not supported by this node, use \"IfPossible\"",
        );
    }
}
