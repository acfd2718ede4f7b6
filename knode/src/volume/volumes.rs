//! Makes volumes ready on the host, keeps them current, and takes them away.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use kcore::clock::Clock;
use kcore::collections::{HashMap, HashSet};
use parking_lot::Mutex;

use super::gate::{POD_DIRECTORY_MODE, compute_users, guard};
use super::sub_path::{descriptor_path, open_sub_path, real_path};
use super::writer::{make_visible_dir, write_payload};
use super::{Content, PlannedMount, PodVolumes, VolumePlan, compute_mounts, plan_volumes};
use crate::env::PodFacts;
use crate::runtime::Mount;
use crate::sources::PodSources;
use crate::{Error, Result};

/// What an `emptyDir` lets everybody do, as upstream has it.
const EMPTY_DIR_MODE: u32 = 0o777;
/// The directories of all pods, and within a pod's own, which keeps strangers out.
const PODS_DIRECTORY_MODE: u32 = 0o750;
const PLUGIN_DIRECTORY_MODE: u32 = 0o755;
/// What is made in a directory belongs to the directory's group.
const SET_GROUP_ID: u32 = 0o2000;

/// How a resolved `subPath` is handed to the runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SubPaths {
    /// By its path, which a container that shares the volume could replace by a link before the
    /// runtime looks: for a runtime that does not confine containers, where nothing is lost.
    #[default]
    ByPath,
    /// By a descriptor of this process, below `/proc`, so that the runtime mounts exactly what
    /// was resolved (X7): for a runtime on this host that mounts before its start returns.
    ByDescriptor,
}

/// The volumes of a node's pods, below one directory.
///
/// All methods are idempotent. A future that is dropped finishes what it had begun, and the next
/// call for that pod waits for it; what a crash left is finished by the next
/// [`set_up`](Self::set_up), or found by [`orphans`](Self::orphans) and taken away by
/// [`tear_down`](Self::tear_down) (N4).
#[derive(Debug, Clone)]
pub struct Volumes {
    root: PathBuf,
    clock: Clock,
    sub_paths: SubPaths,
    locks: Arc<Mutex<HashMap<String, Arc<Mutex<()>>>>>,
}

/// The mounts of a container.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ContainerMounts {
    /// What the runtime is given.
    pub mounts: Vec<Mount>,
    /// What keeps the mounts' paths good with [`SubPaths::ByDescriptor`]: hold it until the
    /// container has started.
    pub pins: Vec<OwnedFd>,
}

impl Volumes {
    /// Volumes below `root`, as `/var/lib/kubelet`. The clock names the directories of updates.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, clock: Clock) -> Self {
        let (root, sub_paths) = (root.into(), SubPaths::default());
        Self { root, clock, sub_paths, locks: Arc::default() }
    }

    /// How a resolved `subPath` is handed to the runtime.
    #[must_use]
    pub fn sub_paths(mut self, sub_paths: SubPaths) -> Self {
        self.sub_paths = sub_paths;
        self
    }

    /// The directory of a pod.
    #[must_use]
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// Makes the pod's volumes ready, or brings their files up to date. A running container sees
    /// the new files, except through a `subPath`.
    ///
    /// # Errors
    /// [`Mount`](Error::Mount) for the first volume that could not be made ready; the others are.
    pub async fn set_up(
        &self,
        pod: &Pod,
        sources: &PodSources,
        facts: &PodFacts,
    ) -> Result<PodVolumes> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        check_name("metadata.uid", &uid)?;
        let (plans, users) = (plan_volumes(pod, sources, facts), compute_users(pod));
        let volumes = self.clone();
        let work = move || {
            volumes.make_pod_dir(&uid, &users)?;
            volumes.apply(&uid, plans)
        };
        self.locked(pod.metadata.uid.clone().unwrap_or_default(), work).await
    }

    /// Makes the directory of a pod, for the node and the users of its containers.
    fn make_pod_dir(&self, uid: &str, users: &BTreeSet<u32>) -> Result<()> {
        fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        // The pods' directory is the node's alone to list, as upstream has it.
        make_visible_dir(&self.root.join("pods"), PODS_DIRECTORY_MODE, None)?;
        let dir = self.pod_dir(uid);
        make_visible_dir(&dir, POD_DIRECTORY_MODE, None)?;
        guard(&dir, users)
    }

    fn apply(&self, uid: &str, plans: Vec<(String, Result<VolumePlan>)>) -> Result<PodVolumes> {
        let (mut ready, mut failed) = (PodVolumes::default(), None);
        for (name, plan) in plans {
            let path = plan.and_then(|plan| self.apply_one(uid, &plan));
            match path {
                Ok((path, read_only)) => ready = ready.volume(name, path, read_only),
                Err(error) => {
                    let source = Box::new(error);
                    failed.get_or_insert(Error::Mount { volume: name, source });
                }
            }
        }
        failed.map_or(Ok(ready), Err)
    }

    /// Where the volume is, and whether only the node writes to it.
    fn apply_one(&self, uid: &str, plan: &VolumePlan) -> Result<(PathBuf, bool)> {
        check_name("spec.volumes.name", &plan.name)?;
        let plugin = match &plan.content {
            Content::Host { path, kind } => {
                kind.ensure(path)?;
                return Ok((path.clone(), false));
            }
            content => content.plugin().unwrap_or_default(),
        };
        let mut dir = self.pod_dir(uid);
        for part in ["volumes", plugin] {
            dir.push(part);
            make_visible_dir(&dir, PLUGIN_DIRECTORY_MODE, None)?;
        }
        dir.push(&plan.name);
        match &plan.content {
            Content::Files { payload, access, .. } => {
                if write_payload(&dir, payload, *access, self.clock.now())? {
                    tracing::debug!(pod = uid, volume = plan.name, "a volume's files were written");
                }
                Ok((dir, true))
            }
            Content::Empty { group, .. } => {
                let mode = EMPTY_DIR_MODE | group.map_or(0, |_| SET_GROUP_ID);
                make_visible_dir(&dir, mode, *group).map(|()| (dir, false))
            }
            Content::Host { path, .. } => Ok((path.clone(), false)),
        }
    }

    /// What `container` is to see of the pod's volumes, with every `subPath` resolved in its
    /// volume (X7). Missing directories are made.
    ///
    /// # Errors
    /// Those of [`compute_mounts`], and [`InvalidConfig`](Error::InvalidConfig) for a `subPath`
    /// that leads out of its volume. It does not say where to, which is the host's business.
    pub async fn mounts(
        &self,
        container: &Container,
        volumes: &PodVolumes,
        env: &[(String, String)],
    ) -> Result<ContainerMounts> {
        let plans = compute_mounts(container, volumes, env)?;
        let (name, sub_paths) = (container.name.clone(), self.sub_paths);
        let resolve = move || {
            let mut resolved = ContainerMounts::default();
            for plan in plans {
                let (path, pin) = resolve(&plan, sub_paths, &name)?;
                let mount = Mount::new(path, plan.container_path).read_only(plan.read_only);
                resolved.mounts.push(mount);
                resolved.pins.extend(pin);
            }
            Ok(resolved)
        };
        in_background(resolve).await
    }

    /// Removes the pod's directory and all that is in it. A pod without one is fine.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if something could not be removed; call again.
    pub async fn tear_down(&self, uid: &str) -> Result<()> {
        check_name("metadata.uid", uid)?;
        let dir = self.pod_dir(uid);
        self.locked(uid.to_owned(), move || remove_tree(&dir)).await
    }

    /// The uids of the pods that have a directory and are not `known`, sorted.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the directory cannot be read.
    pub async fn orphans(&self, known: &HashSet<String>) -> Result<Vec<String>> {
        let dir = self.root.join("pods");
        let mut uids = in_background(move || names_in(&dir)).await?;
        uids.retain(|uid| !known.contains(uid));
        Ok(uids)
    }

    /// Runs `work` when no other work of the pod runs.
    async fn locked<T: Send + 'static>(
        &self,
        uid: String,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let locks = self.locks.clone();
        in_background(move || {
            let lock = locks.lock().entry(uid.clone()).or_default().clone();
            let done = {
                let _alone = lock.lock();
                work()
            };
            let mut locks = locks.lock();
            // The map's and ours: nobody waits for it.
            if Arc::strong_count(&lock) == 2 {
                locks.remove(&uid);
            }
            done
        })
        .await
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Backend {
        what: "the work on a volume broke off".into(),
        source: Box::new(error),
    })?
}

fn resolve(
    plan: &PlannedMount,
    sub_paths: SubPaths,
    container: &str,
) -> Result<(PathBuf, Option<OwnedFd>)> {
    let Some(sub_path) = &plan.sub_path else { return Ok((plan.volume_path.clone(), None)) };
    let opened = open_sub_path(&plan.volume_path, sub_path);
    let opened = opened.and_then(|open| real_path(&open).map(|path| (open, path)));
    let (descriptor, path) = opened.map_err(|error| {
        // What is on the host is no business of the pod's owner, so the reason stays here.
        tracing::warn!(%error, source = ?std::error::Error::source(&error), "a subPath is refused");
        let volume = &plan.volume;
        Error::InvalidConfig {
            field: format!("{}.subPath", plan.field),
            reason: format!(
                "failed to prepare subPath for volumeMount {volume:?} of container {container:?}"
            ),
        }
    })?;
    Ok(match sub_paths {
        SubPaths::ByDescriptor => {
            let pid = std::process::id().to_string();
            (descriptor_path(&pid, &descriptor), Some(descriptor))
        }
        // Containers cannot put links there, and the real path dies with the next update.
        SubPaths::ByPath if plan.api_owned => (plan.volume_path.join(sub_path), None),
        SubPaths::ByPath => (path, None),
    })
}

/// A name that becomes a directory's must be one.
fn check_name(field: &str, name: &str) -> Result<()> {
    if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::InvalidConfig {
        field: field.to_owned(),
        reason: format!("{name:?} cannot name a directory"),
    })
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Removes a directory, also when a container took rights away from directories in it.
fn remove_tree(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => open_directories(dir)?,
        Err(error) => return Err(Error::io("remove", dir)(error)),
    }
    fs::remove_dir_all(dir).map_err(Error::io("remove", dir))
}

fn open_directories(dir: &Path) -> Result<()> {
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("set the mode of", &dir))?;
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
