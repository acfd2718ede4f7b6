//! The seam: what makes a node agree with a table of Services.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::Result;
use crate::table::{ChangeSet, Protocol, ServicePortName, ServiceTable};

/// Something of a table that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The port of the Service.
    pub service: ServicePortName,
    /// The address.
    pub address: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// Why, and what to do about it.
    pub why: String,
}

/// What came of a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReport {
    /// Addresses that are served now.
    pub served: usize,
    /// Addresses that could not be taken; all others work.
    pub failures: Vec<Failure>,
}

impl SyncReport {
    /// A report.
    #[must_use]
    pub fn new(served: usize, failures: Vec<Failure>) -> Self {
        Self { served, failures }
    }
}

/// Makes a node's data path agree with a table of Services.
///
/// **Contract**
/// - `routes_to_ready_endpoints`: a new connection to a Service's address reaches one of its usable
///   endpoints.
/// - `spreads_connections`: over many connections every usable endpoint gets some.
/// - `follows_endpoint_changes`: after a sync returned, new connections reach only endpoints of its
///   table.
/// - `refuses_without_endpoints`: a Service without usable endpoints refuses connections; it does
///   not swallow them.
/// - `forgets_removed_services`: after a sync without it, a Service's address is no longer served.
/// - `keeps_open_connections`: a connection lives on while its Service's other endpoints change.
/// - `keeps_clients_on_their_endpoint`: with session affinity a client reaches one endpoint again
///   and again while that is usable.
/// - `syncing_twice_changes_nothing`: the same table again breaks nothing.
/// - `reports_what_it_cannot_serve`: an address that cannot be taken stands in the report, and
///   everything else works.
/// - `routes_udp`: datagrams reach an endpoint, and its answers come back.
///
/// Dropping the future leaves the table before or the new one in force, or a mix that the next
/// sync mends; it never leaves an address that no sync releases.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot program a node's network",
    note = "implement `NetworkProgrammer`, or take `UserspaceProgrammer`"
)]
#[async_trait]
pub trait NetworkProgrammer: Debug + Send + Sync + 'static {
    /// Makes the node agree with `desired`, all of it. `changed` says what differs from the last
    /// table that was synced, for backends that can do with less.
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: NetworkProgrammer + ?Sized> NetworkProgrammer for Arc<P> {
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport> {
        (**self).sync(desired, changed).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: NetworkProgrammer + ?Sized> NetworkProgrammer for Box<P> {
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport> {
        (**self).sync(desired, changed).await
    }
}
