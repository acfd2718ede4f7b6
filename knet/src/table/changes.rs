//! What differs between two tables.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Protocol, ServicePortName, ServiceTable};

/// What differs from the table before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeSet {
    /// Ports that are new, or whose addresses, policies or endpoints differ.
    pub updated: BTreeSet<ServicePortName>,
    /// Ports that are gone.
    pub removed: BTreeSet<ServicePortName>,
    /// Endpoints that no longer take new connections: what a connection tracker must forget for
    /// protocols without connections.
    pub removed_endpoints: BTreeSet<(ServicePortName, Protocol, SocketAddr)>,
}

impl ChangeSet {
    /// What turns `old` into `new`.
    #[must_use]
    pub fn between(old: &ServiceTable, new: &ServiceTable) -> Self {
        let mut changes = Self::default();
        let moved = old.node_ips != new.node_ips;
        for (name, port) in &new.services {
            let same = old.services.get(name) == Some(port) && !(moved && port.node_port.is_some());
            if !same {
                changes.updated.insert(name.clone());
            }
        }
        for (name, before) in &old.services {
            let after = new.services.get(name);
            if after.is_none() {
                changes.removed.insert(name.clone());
            }
            for endpoint in &before.endpoints {
                let stays = after.is_some_and(|port| {
                    port.endpoints.iter().any(|other| other.address == endpoint.address)
                });
                if !stays {
                    let gone = (name.clone(), before.protocol, endpoint.address);
                    changes.removed_endpoints.insert(gone);
                }
            }
        }
        changes
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.updated.is_empty() && self.removed.is_empty() && self.removed_endpoints.is_empty()
    }
}
