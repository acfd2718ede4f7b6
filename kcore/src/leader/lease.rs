//! Reads and writes the lease.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

use super::LeaderConfig;
use super::plan::{Observation, Step, plan};
use crate::client::{Api, DynClient};
use crate::clock::Clock;
use crate::{Error, Result};

/// The lease, as this replica last saw it.
#[derive(Debug)]
pub(super) struct LeaseHandle {
    api: Api<Lease>,
    config: LeaderConfig,
    clock: Clock,
    seen: Option<Observation>,
}

impl LeaseHandle {
    pub(super) fn new(client: DynClient, config: LeaderConfig, clock: Clock) -> Self {
        let api = Api::namespaced(client, config.namespace.clone());
        Self { api, config, clock, seen: None }
    }

    /// Tries to get or to keep the lease, for half of the renew deadline at most, so that a
    /// connection that hangs leaves time for another try. Returns when the try began if it is
    /// held now: others count from later. Dropping the future leaves the lease written or not.
    pub(super) async fn try_hold(&mut self) -> Result<Option<Instant>> {
        let limit = (self.config.renew_deadline - self.config.stop_margin()) / 2;
        tokio::time::timeout(limit, self.try_once())
            .await
            .unwrap_or_else(|late| Err(Error::Transport(Box::new(late))))
    }

    async fn try_once(&mut self) -> Result<Option<Instant>> {
        let began = Instant::now();
        let found = self.api.get_opt(&self.config.name).await?;
        let spec = found.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let now = Instant::now();
        self.seen = spec.map(|spec| Observation::next(self.seen.take(), &spec, now));
        let mut lease = match (plan(self.seen.as_ref(), &self.config, now), found) {
            (Step::Wait(_), _) => return Ok(None),
            (_, Some(lease)) => Arc::unwrap_or_clone(lease),
            (_, None) => {
                let mut lease = Lease::default();
                lease.metadata.name = Some(self.config.name.clone());
                lease.metadata.namespace = Some(self.config.namespace.clone());
                lease
            }
        };
        let spec = lease.spec.take().unwrap_or_default();
        lease.spec = Some(self.held(spec));
        self.write(lease).await?;
        Ok(Some(began))
    }

    /// Whether another replica was seen to hold the lease.
    pub(super) fn is_held_by_another(&self) -> bool {
        let holder = self.seen.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty() && holder != self.config.identity)
    }

    /// Gives the lease up, if it is still this replica's, so that another need not wait.
    pub(super) async fn release(&mut self) -> Result<()> {
        let Some(lease) = self.api.get_opt(&self.config.name).await? else { return Ok(()) };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.config.identity) {
            return Ok(());
        }
        let mut lease = Arc::unwrap_or_clone(lease);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(self.clock.now())),
            ..spec
        });
        self.write(lease).await
    }

    fn held(&self, before: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let ours = before.holder_identity.as_deref() == Some(&self.config.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        let first = before.holder_identity.is_none();
        LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: Some(self.config.lease_seconds()),
            acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(!ours && !first)),
            ..before
        }
    }

    /// Writes the lease as it was read: if another was faster, it is a conflict (C8).
    async fn write(&mut self, lease: Lease) -> Result<()> {
        let written = match lease.metadata.resource_version {
            Some(_) => self.api.update(lease).await?,
            None => self.api.create(lease).await?,
        };
        let spec = written.spec.clone().unwrap_or_default();
        self.seen = Some(Observation { spec, at: Instant::now() });
        Ok(())
    }
}
