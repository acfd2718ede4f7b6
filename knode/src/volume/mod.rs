//! A pod's volumes: what is in them, where they are on the host, what containers see of them.
//!
//! [`plan_volumes`] and [`compute_mounts`] decide; [`Volumes`] does, below
//! `<root>/pods/<uid>/volumes/<plugin>/<name>` as the kubelet does, so that another agent finds
//! everything. Known are `emptyDir`, `configMap`, `secret`, `downwardAPI`, `projected` (of those
//! three and of `serviceAccountToken`) and `hostPath`; any other type is an error that names it.
//! <https://kubernetes.io/docs/concepts/storage/volumes/>
//!
//! Nothing is mounted, as that takes rights a node may not have: an `emptyDir` of medium `Memory`
//! and a Secret are plain directories. The files have the mode the pod asks for, and the pod's own
//! directory keeps out whoever is neither the node nor a user of the pod's containers (X8).

mod gate;
mod host_path;
mod mounts;
mod payload;
mod plan;
mod sub_path;
mod volumes;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use gate::compute_users;
pub use host_path::HostPathType;
pub use mounts::{PlannedMount, compute_mounts};
pub use payload::{FileProjection, MAX_FILE_NAME_BYTES, MAX_PATH_BYTES, Payload};
pub use plan::{Access, Content, DEFAULT_FILE_MODE, Medium, VolumePlan, plan_volume, plan_volumes};
pub use sub_path::{MAX_RESOLVE_ATTEMPTS, open_sub_path};
pub use volumes::{ContainerMounts, SubPaths, Volumes};
pub use writer::{MAX_NAME_ATTEMPTS, write_payload};

/// The volumes of a pod that are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodVolumes {
    /// By the volume's name in the pod.
    pub volumes: BTreeMap<String, ReadyVolume>,
}

/// A volume on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadyVolume {
    /// Where it is.
    pub host_path: PathBuf,
    /// What the API server decides is in it: containers may only read it.
    pub read_only: bool,
}

impl PodVolumes {
    /// Adds the volume `name`.
    #[must_use]
    pub fn volume(
        mut self,
        name: impl Into<String>,
        host_path: impl Into<PathBuf>,
        read_only: bool,
    ) -> Self {
        self.volumes.insert(name.into(), ReadyVolume { host_path: host_path.into(), read_only });
        self
    }
}
