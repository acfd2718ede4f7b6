//! Sandboxes of processes: an address and a directory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use super::record::{self, SANDBOX, SandboxRecord};
use super::state::Inner;
use super::{ProcessRuntime, blocking};
use crate::runtime::{
    ContainerId, Containers, SandboxConfig, SandboxFilter, SandboxId, SandboxState, SandboxStatus,
    SandboxSummary, Sandboxes,
};
use crate::{Error, Result};

#[async_trait]
impl Sandboxes for ProcessRuntime {
    async fn run(&self, config: SandboxConfig) -> Result<SandboxId> {
        let inner = self.inner.clone();
        blocking(move || inner.run_sandbox(config)).await
    }

    async fn stop(&self, id: &SandboxId) -> Result<()> {
        let (inner, sandbox) = (self.inner.clone(), id.clone());
        // Not ready first, so that no container is created while the others are killed.
        if blocking(move || inner.retire_sandbox(&sandbox)).await? {
            let stops = self.containers_of(id).into_iter().map(|container| async move {
                self.stop_container(&container, Duration::ZERO).await
            });
            join_all(stops).await.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    async fn remove(&self, id: &SandboxId) -> Result<()> {
        Sandboxes::stop(self, id).await?;
        let removals = self
            .containers_of(id)
            .into_iter()
            .map(|container| async move { Containers::remove(self, &container).await });
        join_all(removals).await.into_iter().collect::<Result<()>>()?;
        let (inner, id) = (self.inner.clone(), id.clone());
        blocking(move || inner.remove_sandbox(&id)).await
    }

    async fn status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        let state = self.inner.state.lock();
        let missing = || Error::NotFound { kind: "sandbox", id: id.to_string() };
        let record = state.sandboxes.get(id).ok_or_else(missing)?;
        Ok(SandboxStatus::new(summary(id, record), record.ips.clone()))
    }

    async fn list(&self, filter: SandboxFilter) -> Result<Vec<SandboxSummary>> {
        let state = self.inner.state.lock();
        let matching = state
            .sandboxes
            .iter()
            .filter(|(id, record)| filter.matches(id, record.state, &record.config.labels));
        Ok(matching.map(|(id, record)| summary(id, record)).collect())
    }
}

fn summary(id: &SandboxId, record: &SandboxRecord) -> SandboxSummary {
    SandboxSummary::new(id.clone(), &record.config, record.state, record.created_at)
}

impl ProcessRuntime {
    fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let state = self.inner.state.lock();
        let containers = state.containers.values();
        let of_it = containers.filter(|container| container.record.sandbox == *sandbox);
        of_it.map(|container| container.id.clone()).collect()
    }
}

impl Inner {
    fn run_sandbox(self: &Arc<Self>, config: SandboxConfig) -> Result<SandboxId> {
        if config.uid.is_empty() {
            return Err(super::launch::invalid("uid", "a sandbox needs its pod's uid".to_owned()));
        }
        let id = SandboxId::from(self.new_id());
        let record = {
            let mut state = self.state.lock();
            let same = |record: &SandboxRecord| {
                record.config.uid == config.uid && record.config.attempt == config.attempt
            };
            if state.sandboxes.values().any(same) {
                let name = format!(
                    "{}_{}_{}_{}",
                    config.name, config.namespace, config.uid, config.attempt
                );
                return Err(Error::AlreadyExists { kind: "sandbox", name });
            }
            let ips = match config.host_network {
                true => Vec::new(),
                false => vec![IpAddr::V4(state.addresses.allocate()?)],
            };
            let created_at = self.now();
            let record = SandboxRecord { config, created_at, state: SandboxState::Ready, ips };
            state.sandboxes.insert(id.clone(), record.clone());
            record
        };
        let dir = self.sandbox_dir(&id);
        let written = record::create_private_dir(&dir)
            .and_then(|()| record::write(&dir.join(SANDBOX), &record));
        if let Err(error) = written {
            let _ = self.remove_sandbox(&id);
            return Err(error);
        }
        Ok(id)
    }

    /// Makes a sandbox not ready; false if there is none.
    fn retire_sandbox(&self, id: &SandboxId) -> Result<bool> {
        let record = {
            let mut state = self.state.lock();
            let Some(record) = state.sandboxes.get_mut(id) else { return Ok(false) };
            if record.state == SandboxState::NotReady {
                return Ok(true);
            }
            record.state = SandboxState::NotReady;
            record.clone()
        };
        record::write(&self.sandbox_dir(id).join(SANDBOX), &record)?;
        Ok(true)
    }

    fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        record::remove_dir(&self.sandbox_dir(id))?;
        let mut state = self.state.lock();
        let Some(record) = state.sandboxes.remove(id) else { return Ok(()) };
        for ip in record.ips {
            if let IpAddr::V4(ip) = ip {
                state.addresses.release(ip);
            }
        }
        Ok(())
    }
}
