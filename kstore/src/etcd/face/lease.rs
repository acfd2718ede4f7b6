//! The methods of `Lease`.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::super::convert::{lease as named, lease_id};
use super::super::proto::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use super::super::text;
use super::super::text::server;
use super::Shared;
use super::refuse::{no_leases, status};
use crate::{Error, LeaseId, Leases};

/// etcd's longest time to live, in seconds.
const MAX_TTL: i64 = 9_000_000_000;

/// Whole seconds; a part of one counts.
fn seconds(duration: Duration) -> i64 {
    let part = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(part)).unwrap_or(i64::MAX)
}

/// The lease that a client names.
fn lease(id: i64) -> Result<LeaseId, Status> {
    named(id).ok_or_else(|| Status::not_found(text::LEASE_NOT_FOUND))
}

impl Shared {
    fn leases(&self) -> Result<&dyn Leases, Status> {
        self.store.leases().ok_or_else(no_leases)
    }

    pub(super) async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Status> {
        if request.ttl > MAX_TTL {
            return Err(Status::out_of_range("etcdserver: too large lease TTL"));
        }
        let leases = self.leases()?;
        if let Some(chosen) = named(request.id) {
            return match leases.time_to_live(chosen).await {
                Ok(_) => Err(Status::failed_precondition(server::LEASE_EXISTS)),
                Err(_) => Err(Status::unimplemented(
                    "a lease whose name the client chooses is not supported by this server",
                )),
            };
        }
        // etcd takes whatever is less than its shortest for that.
        let ttl = u64::try_from(request.ttl.max(1)).unwrap_or(1);
        let granted = leases.grant(Duration::from_secs(ttl)).await.map_err(status)?;
        Ok(LeaseGrantResponse {
            header: self.header_now().await.map_err(status)?,
            id: lease_id(Some(granted)),
            ttl: i64::try_from(ttl).unwrap_or(i64::MAX),
            error: String::new(),
        })
    }

    pub(super) async fn lease_revoke(
        &self,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, Status> {
        self.leases()?.revoke(lease(request.id)?).await.map_err(status)?;
        Ok(LeaseRevokeResponse { header: self.header_now().await.map_err(status)? })
    }

    /// Renews a lease; of one that is gone etcd says that it has no time left.
    pub(super) async fn lease_keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, Status> {
        let left = match self.leases()?.keep_alive(LeaseId(request.id.cast_unsigned())).await {
            Ok(left) => left,
            Err(Error::LeaseNotFound { .. }) => Duration::ZERO,
            Err(error) => return Err(status(error)),
        };
        let header = self.header_now().await.map_err(status)?;
        Ok(LeaseKeepAliveResponse { header, id: request.id, ttl: seconds(left) })
    }

    pub(super) async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, Status> {
        let left = self.leases()?.time_to_live(LeaseId(request.id.cast_unsigned())).await;
        let header = self.header_now().await.map_err(status)?;
        let gone =
            LeaseTimeToLiveResponse { header, id: request.id, ttl: -1, ..Default::default() };
        match left {
            Ok(left) => Ok(LeaseTimeToLiveResponse {
                ttl: seconds(left.remaining),
                granted_ttl: seconds(left.granted),
                keys: if request.keys { left.keys } else { Vec::new() },
                ..gone
            }),
            Err(Error::LeaseNotFound { .. }) => Ok(gone),
            Err(error) => Err(status(error)),
        }
    }

    pub(super) async fn lease_leases(&self) -> Result<LeaseLeasesResponse, Status> {
        let leases = self.leases()?.list().await.map_err(status)?;
        let leases = leases.into_iter().map(|lease| LeaseStatus { id: lease_id(Some(lease)) });
        let header = self.header_now().await.map_err(status)?;
        Ok(LeaseLeasesResponse { header, leases: leases.collect() })
    }
}

/// Renews each lease that is named, for as long as the client names some.
pub(super) fn serve(
    shared: Arc<Shared>,
    requests: Streaming<LeaseKeepAliveRequest>,
) -> impl Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send + 'static {
    requests.then(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.lease_keep_alive(request?).await }
    })
}
