//! What a node should route where: a pure value.

mod build;
mod changes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use build::{Node, build};
pub use changes::ChangeSet;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Reads the API's name; TCP if it is none.
    #[must_use]
    pub fn from_api(name: Option<&str>) -> Self {
        match name {
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            _ => Self::Tcp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Which endpoints traffic may go to.
/// <https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-policies>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those on this node.
    Local,
}

/// Where traffic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// From inside the cluster, through the cluster address.
    Internal,
    /// From outside, through a node port, an external address or a load balancer.
    External,
}

/// One port of one Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortName {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The port's name; empty if it has none.
    pub port: String,
}

impl fmt::Display for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A place behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it still answers, though it may be leaving.
    pub serving: bool,
    /// Whether it is leaving.
    pub terminating: bool,
    /// Whether it is on this node.
    pub local: bool,
}

impl Endpoint {
    /// A ready endpoint on another node.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, ready: true, serving: true, terminating: false, local: false }
    }

    /// The same endpoint on this node.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// The same endpoint, leaving but still serving.
    #[must_use]
    pub fn terminating(mut self) -> Self {
        self.ready = false;
        self.terminating = true;
        self
    }
}

/// Where one port of a Service is reached, and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The cluster addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// The port on them.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on every node, if there is one.
    pub node_port: Option<u16>,
    /// Addresses outside the cluster that lead here: external ones and load balancers'.
    pub external_ips: Vec<IpAddr>,
    /// How long a client stays with its endpoint after its last connection, if it does.
    pub affinity: Option<Duration>,
    /// For traffic from inside.
    pub internal_policy: TrafficPolicy,
    /// For traffic from outside.
    pub external_policy: TrafficPolicy,
    /// What is behind it, in the order of the addresses.
    pub endpoints: Vec<Endpoint>,
}

impl ServicePort {
    /// A port on a cluster address with nothing behind it.
    #[must_use]
    pub fn new(cluster_ip: IpAddr, port: u16, protocol: Protocol) -> Self {
        Self {
            cluster_ips: vec![cluster_ip],
            port,
            protocol,
            node_port: None,
            external_ips: Vec::new(),
            affinity: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            endpoints: Vec::new(),
        }
    }

    /// The endpoints that take new connections: those that are ready or, if there is none, those
    /// that are leaving and still serve.
    /// <https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-to-terminating-endpoints>
    #[must_use]
    pub fn usable(&self, scope: Scope) -> Vec<&Endpoint> {
        let policy = match scope {
            Scope::Internal => self.internal_policy,
            Scope::External => self.external_policy,
        };
        let near = |endpoint: &&Endpoint| policy == TrafficPolicy::Cluster || endpoint.local;
        let pick = |wanted: fn(&Endpoint) -> bool| -> Vec<&Endpoint> {
            self.endpoints.iter().filter(near).filter(|endpoint| wanted(endpoint)).collect()
        };
        let ready = pick(|endpoint| endpoint.ready && !endpoint.terminating);
        if ready.is_empty() {
            return pick(|endpoint| endpoint.serving && endpoint.terminating);
        }
        ready
    }
}

/// An address that a table asks to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

/// What a node should route where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceTable {
    /// The node's own addresses: node ports are served on them.
    pub node_ips: Vec<IpAddr>,
    /// The ports of all Services that have addresses.
    pub services: BTreeMap<ServicePortName, ServicePort>,
}

impl ServiceTable {
    /// Every address the table asks for, with the Service's port and where its traffic comes from.
    pub fn addresses(
        &self,
    ) -> impl Iterator<Item = (Frontend, Scope, &ServicePortName, &ServicePort)> {
        self.services.iter().flat_map(|(name, port)| {
            let frontend = |ip: IpAddr, number: u16| Frontend {
                address: SocketAddr::new(ip, number),
                protocol: port.protocol,
            };
            let inside = port.cluster_ips.iter().map(move |ip| (*ip, port.port, Scope::Internal));
            let outside = port.external_ips.iter().map(move |ip| (*ip, port.port, Scope::External));
            let nodes = port.node_port.into_iter().flat_map(|number| {
                self.node_ips.iter().map(move |ip| (*ip, number, Scope::External))
            });
            inside
                .chain(outside)
                .chain(nodes)
                .map(move |(ip, number, scope)| (frontend(ip, number), scope, name, port))
        })
    }
}

impl fmt::Display for ServiceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (frontend, scope, name, port) in self.addresses() {
            write!(f, "{name} {} {} ->", frontend.address, frontend.protocol)?;
            let usable = port.usable(scope);
            if usable.is_empty() {
                f.write_str(" refused: no usable endpoint")?;
            }
            for endpoint in usable {
                write!(f, " {}", endpoint.address)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
