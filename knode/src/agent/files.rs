//! What the agent keeps on disk for pods: their volumes, or nothing where the runtime runs nothing.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use kcore::clock::Clock;
use kcore::collections::HashSet;

use crate::env::PodFacts;
use crate::sources::PodSources;
use crate::volume::{ContainerMounts, PodVolumes, Volumes, compute_mounts, plan_volumes};
use crate::{Error, Result};

/// The pods' volumes.
#[derive(Debug)]
pub(super) enum Files {
    /// They are made below a directory.
    Kept(Volumes),
    /// They are planned, so that what is wrong with them is told, and not made.
    Planned,
}

impl Files {
    pub(super) fn new(root: Option<&Path>, clock: Clock) -> Self {
        root.map_or(Self::Planned, |root| Self::Kept(Volumes::new(root, clock)))
    }

    /// Makes a pod's volumes ready, or brings them up to date.
    pub(super) async fn set_up(
        &self,
        pod: &Pod,
        sources: &PodSources,
        facts: &PodFacts,
    ) -> Result<PodVolumes> {
        match self {
            Self::Kept(volumes) => volumes.set_up(pod, sources, facts).await,
            Self::Planned => plan_volumes(pod, sources, facts).into_iter().try_fold(
                PodVolumes::default(),
                |ready, (volume, plan)| match plan {
                    Ok(_) => Ok(ready.volume(volume.clone(), Path::new("/").join(volume), false)),
                    Err(error) => Err(Error::Mount { volume, source: Box::new(error) }),
                },
            ),
        }
    }

    /// What a container sees of its pod's volumes.
    pub(super) async fn mounts(
        &self,
        container: &Container,
        volumes: &PodVolumes,
        env: &[(String, String)],
    ) -> Result<ContainerMounts> {
        match self {
            Self::Kept(kept) => kept.mounts(container, volumes, env).await,
            Self::Planned => {
                compute_mounts(container, volumes, env).map(|_| ContainerMounts::default())
            }
        }
    }

    /// Removes a pod's directory.
    pub(super) async fn tear_down(&self, uid: &str) -> Result<()> {
        match self {
            Self::Kept(volumes) => volumes.tear_down(uid).await,
            Self::Planned => Ok(()),
        }
    }

    /// Removes the directories of pods that are not known (N4).
    pub(super) async fn remove_orphans(&self, known: &HashSet<String>) -> Result<()> {
        let Self::Kept(volumes) = self else { return Ok(()) };
        for uid in volumes.orphans(known).await? {
            tracing::info!(pod = uid, "removing an orphan's directory");
            volumes.tear_down(&uid).await?;
        }
        Ok(())
    }
}
